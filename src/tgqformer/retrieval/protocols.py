"""What a shop asks of a store of vectors, whichever engine keeps them, and what goes in and out.

`open_store`, `open_index` and `build_store` take a folder, or an address
`qdrant://host:port/collection`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.scores import Vectors, as_vectors

if TYPE_CHECKING:
    from tgqformer.retrieval.qdrant import QdrantStore

SEPARATOR = " > "
"""Between the levels of a category, from broad to narrow, as catalogs write it."""

MirrorPrecision = Literal["float32", "int8"]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Attributes of one stored item; "" and None stand for unknown.

    Attributes:
        title: shown beside answers, never filtered by.
        brand: exactly as the catalog writes it.
        category: a path from broad to narrow, ``"Home > Lighting > Lamp"``.
        price: in the shop's currency; finite.
        in_stock: whether it can be bought now.
    """

    title: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None
    in_stock: bool | None = None

    def __post_init__(self) -> None:
        if self.price is not None and not math.isfinite(self.price):
            raise ConfigError(f"price is {self.price}, but must be a finite number or None.")


@dataclass(frozen=True, slots=True)
class Filter:
    """Items that meet every condition given; an empty condition lets all pass.

    It is made of values, never of text in a query language: what a shopper types can only be
    compared with. An unknown price lies in no range, and an item of unknown stock is neither in
    stock nor out.

    Attributes:
        categories: in one of these or below it: ``"Home"`` admits ``"Home > Lighting"``, not
            ``"Homeware"``.
        brands: one of these, exactly.
        min_price: inclusive.
        max_price: inclusive.
        in_stock: True or False for items known to be so; None for all.
    """

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool | None = None

    def __post_init__(self) -> None:
        for name in ("min_price", "max_price"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"{name} is {value}, but must be a finite number or None.")

    def __bool__(self) -> bool:
        return self != Filter()

    def matches(self, item: Metadata) -> bool:
        """The definition that every store's own filter must agree with."""
        if self.categories and not any(is_below(item.category, c) for c in self.categories):
            return False
        if self.brands and item.brand not in self.brands:
            return False
        if self.in_stock is not None and item.in_stock is not self.in_stock:
            return False
        if self.min_price is None and self.max_price is None:
            return True
        low = -math.inf if self.min_price is None else self.min_price
        high = math.inf if self.max_price is None else self.max_price
        return item.price is not None and low <= item.price <= high


def is_below(category: str, ancestor: str) -> bool:
    """Whether a category is `ancestor` or lies below it."""
    return category == ancestor or category.startswith(ancestor + SEPARATOR)


def stock_of(attributes: Mapping[str, str]) -> bool | None:
    """Whether an item's attribute ``in_stock`` says that it can be bought; None where unclear."""
    value = attributes.get("in_stock", "").strip().lower()
    if value in ("true", "yes", "1"):
        return True
    return False if value in ("false", "no", "0") else None


class Details(NamedTuple):
    """What is kept of an item that came by the API: attributes, and photos as encoded bytes."""

    attributes: Mapping[str, str]
    images: tuple[bytes, ...]


@dataclass(frozen=True)
class Record:
    """A stored item, or one to store: vector float32 [D], metadata, and details.

    Where it is written, details of None leave those that the item has; `Store.records` reads
    none, since photos are large.
    """

    vector: Vectors
    metadata: Metadata
    details: Details | None = None


Batches: TypeAlias = Iterable[tuple[Sequence[str], npt.ArrayLike, Sequence[Metadata] | None]]
"""Ids, vectors [n, D] and metadata, or None where nothing is known."""


class Rows(NamedTuple):
    """Rows that may be stored: ids, vectors float32 [n, D], metadata of each."""

    ids: list[str]
    vectors: Vectors
    metadata: list[Metadata]


def checked(
    ids: Sequence[str],
    vectors: npt.ArrayLike,
    metadata: Sequence[Metadata] | None,
    dims: int,
    details: Collection[Details | None] | None = None,
) -> Rows:
    """Rows that may be stored; without `metadata` nothing is known of any.

    Raises:
        StorageError: numbers or widths differ, an id comes twice, is empty or no Unicode, or a
            value is not finite.
    """
    names = list(ids)
    array = as_vectors(vectors) if names else np.empty((0, dims), np.float32)
    known = [Metadata()] * len(names) if metadata is None else list(metadata)
    counts = {len(array), len(known), len(names) if details is None else len(details)}
    if counts != {len(names)}:
        raise StorageError(
            f"{len(names)} ids came with {len(array)} vectors and metadata of {len(known)}, but "
            "each id needs exactly one of both."
        )
    if array.shape[1] != dims:
        raise StorageError(
            f"vectors have {array.shape[1]} dimensions and the store {dims}, but both must come "
            "from one model; build the store again from its embeddings."
        )
    check_ids(names)
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise StorageError(f"item {twice!r} comes twice in one batch, but ids must be unique.")
    return Rows(names, array, known)


def check_ids(ids: Iterable[str]) -> None:
    """Raise StorageError where an id is no text that can be stored."""
    for item_id in ids:
        if not isinstance(item_id, str) or not item_id:
            raise StorageError(f"item id {item_id!r} must be a text of at least one character.")
        try:
            item_id.encode()
        except UnicodeEncodeError:
            raise StorageError(
                f"item id {item_id!r} is not valid Unicode; rename the item."
            ) from None


class ItemStore(Protocol):
    """Ids, vectors and metadata that can be changed and read.

    An upsert or delete that has returned is seen by every later call, and survives the end of this
    process. All methods raise StorageError where the engine fails.
    """

    @property
    def dims(self) -> int:
        """Width of the vectors."""
        ...

    @property
    def model(self) -> str:
        """Digest of the model that made them, "" where unknown."""
        ...

    def __len__(self) -> int: ...

    def upsert(
        self,
        ids: Sequence[str],
        vectors: npt.ArrayLike,
        metadata: Sequence[Metadata] | None = None,
        details: Sequence[Details | None] | None = None,
    ) -> None:
        """Insert or replace items: vectors [N, dims], one for each of N different ids.

        Without `metadata` an item that is known keeps its own. Without `details` it loses its own,
        and keeps them where its entry is None.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items; ids that are not there are no error. Returns how many were there."""
        ...

    def metadata(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """Metadata of those of `ids` that are stored."""
        ...

    def info(self) -> Any:
        """Figures, as a dataclass with at least `items`, `dims`, `model` and `bytes`."""
        ...

    def optimize(self) -> tuple[int, int]:
        """Take no more room than is needed; bytes before and after."""
        ...

    def close(self) -> None:
        """Let go of files and connections; the store must not be used afterwards."""
        ...


class VectorStore(ItemStore, Protocol):
    """An `ItemStore` that can be searched and served."""

    @property
    def kind(self) -> str:
        """How it searches: "exact", "hnsw", "ivf" or "qdrant"."""
        ...

    def __contains__(self, item_id: object) -> bool: ...

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        where: Filter | None = None,
        *,
        exclude: Sequence[str | None] | None = None,
        exact: bool = False,
    ) -> list[list[Neighbour]]:
        """For each of queries [M, dims] the `k` items of highest inner product, best first.

        Args:
            exclude: [M], an id that each query must not find, or None.
            exact: leave an approximate index aside.
        """
        ...

    def similar(
        self, item_id: str, k: int = 10, where: Filter | None = None, *, exact: bool = False
    ) -> list[Neighbour]:
        """The `k` items nearest to a stored one, itself excluded, best first."""
        here, vector = self.vectors([item_id])
        if not here:
            raise StorageError(
                f"no vector for item {item_id!r} among {len(self)}; check the id or upsert the "
                "item."
            )
        return self.search(vector, k, where, exclude=[item_id], exact=exact)[0]

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], Vectors]:
        """Those of `ids` that are stored, in their order, and their vectors as searched."""
        ...

    def records(self, ids: Iterable[str]) -> dict[str, Record]:
        """Vector and metadata of those of `ids` that are stored."""
        ...

    def details(self, item_id: str) -> Details | None:
        """Attributes and photos of a stored item; None where nobody told them."""
        ...

    def listed(self, where: Filter, offset: int, limit: int) -> tuple[list[str], int]:
        """Ids of the items that pass a filter, sorted, from `offset` on; and how many there are."""
        ...

    def sample(self, count: int) -> tuple[list[str], Vectors]:
        """At most `count` items, the same ones from one start to the next, and their vectors."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Make the writes of the block one, where the engine can."""
        ...


Location: TypeAlias = "str | Path"
"""A folder, or ``"qdrant://host:port/collection"``."""


def is_qdrant(location: Location) -> bool:
    """Whether a store's place is a collection of Qdrant."""
    return str(location).startswith(("qdrant://", "qdrants://"))


def open_store(location: Location) -> ItemStore:
    """The store at a folder or address, to read and to change; StorageError where there is none."""
    from tgqformer.retrieval.store import Store

    return _qdrant()(str(location)) if is_qdrant(location) else Store(location)


def open_index(
    location: Location, *, precision: MirrorPrecision = "float32", tend: bool = False
) -> VectorStore:
    """The store at a folder or address, to search.

    Args:
        precision: of the vectors in memory, of a folder.
        tend: build and refresh a folder's approximate index in the background.
    """
    if is_qdrant(location):
        return _qdrant()(str(location))
    from tgqformer.retrieval.search import LocalIndex

    return LocalIndex(location, precision=precision, tend=tend)


def build_store(
    location: Location, batches: Batches, *, dims: int, model: str = "", replace: bool = False
) -> ItemStore:
    """Make a store at a folder or address; see `Store.build`."""
    from tgqformer.retrieval.store import Store

    made = _qdrant() if is_qdrant(location) else Store
    return made.build(str(location), batches, dims=dims, model=model, replace=replace)


def _qdrant() -> type[QdrantStore]:
    from tgqformer.retrieval.qdrant import QdrantStore

    return QdrantStore
