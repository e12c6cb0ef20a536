"""What a service asks of a store of vectors, whichever engine keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy.typing as npt

from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.filters import Filter, Metadata


class VectorStore(Protocol):
    """Ids, vectors and metadata that can be changed and searched.

    An upsert or delete that has returned is seen by every later search of the same store, and
    survives the end of this process. All methods raise StorageError where the engine fails.
    """

    @property
    def dims(self) -> int:
        """Width of the vectors."""
        ...

    def __len__(self) -> int: ...

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
    ) -> None:
        """Insert or replace items: vectors [N, dims], one for each of N different ids.

        Without `metadata` an item that is known keeps its own.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items; ids that are not there are no error. Returns how many were there."""
        ...

    def search(
        self, queries: npt.ArrayLike, k: int, where: Filter | None = None
    ) -> list[list[Neighbour]]:
        """For each of queries [M, dims] the `k` items of highest inner product, best first."""
        ...

    def close(self) -> None:
        """Let go of files and connections; the store must not be used afterwards."""
        ...
