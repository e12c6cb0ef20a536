"""Semantic ids: a few codes for each item, that items alike share from the front.

Residual quantisation (Chen et al., "Approximate Nearest Neighbor Search by Residual Vector
Quantization", Sensors 2010): each level's codebook quantises what the levels before it left, so the
first code is the coarsest. Such codes are the items of generative recommenders (TIGER: Rajput et
al., "Recommender Systems with Generative Retrieval", NeurIPS 2023), which learn them by an RQ-VAE;
here FAISS's `ResidualQuantizer` learns them from the vectors, without a network. As TIGER does, a
last code tells apart items that would share all of theirs.

The file of ids is Parquet: `item_id` and `codes` (a list of int32, the coarsest first). The
codebooks are safetensors: `level_0`, `level_1`, ..., each float32 [codes, D]; the sum of an item's
entries is its reconstruction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError, StorageError
from tgqformer.files import atomic_path
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import Vectors, as_vectors, blocks, unit

Codes = npt.NDArray[np.int32]

_BEAM = 8  # partial codes that encoding follows; FAISS learns with the same
_ENCODED_AT_ONCE = 8192
_MOST_LEVELS = 16
_MOST_CODES = 65_536
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Quality:
    """What a set of ids keeps of the vectors.

    Attributes:
        items: how many.
        levels, codes: of each id, and of each level.
        collisions: share of the items whose codes are another item's too, in 0..1; before the last
            code that tells them apart.
        largest: how many items share one id there, at most.
        error: squared distance to the reconstruction over that to the mean of all vectors, 0 where
            nothing is lost.
        recall: share of an item's ten nearest that are among its ten nearest by reconstructions.
        recall_queries: how many items that was asked of.
        used: of each level, the share of its codes that some item has.
        entropy: of each level, bits; log2(codes) where all are used alike.
    """

    items: int
    levels: int
    codes: int
    collisions: float
    largest: int
    error: float
    recall: float
    recall_queries: int
    used: tuple[float, ...]
    entropy: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


class SemanticIds:
    """Codebooks that were fitted to vectors.

    Attributes:
        codebooks: float32 [levels, codes, D].
    """

    def __init__(self, codebooks: Vectors) -> None:
        self.codebooks = codebooks

    @classmethod
    def fit(cls, vectors: npt.ArrayLike, *, levels: int = 3, codes: int = 256) -> SemanticIds:
        """Fit the codebooks; the same vectors give the same ones.

        Args:
            vectors: [N, D], taken by their direction.
            levels: 1 to 16.
            codes: of each level, a power of two from 2 to 65,536.

        Raises:
            ConfigError: an option breaks its rule, or there are fewer vectors than codes.
            StorageError: a value is not finite.
        """
        given = unit(as_vectors(vectors))
        if not 1 <= levels <= _MOST_LEVELS:
            raise ConfigError(f"levels is {levels}, but must lie in 1..{_MOST_LEVELS}.")
        if not 2 <= codes <= _MOST_CODES or codes & (codes - 1):
            raise ConfigError(
                f"codes is {codes}, but must be a power of two in 2..{_MOST_CODES:,}: 256, say."
            )
        if len(given) < codes:
            raise ConfigError(
                f"{len(given):,} vectors cannot fill {codes:,} codes a level; take {_below(given)} "
                "codes or fewer."
            )
        quantizer = _quantizer(given.shape[1], levels, codes)
        quantizer.train(given)
        return cls(_codebooks(quantizer, levels, codes))

    @property
    def levels(self) -> int:
        return len(self.codebooks)

    @property
    def codes(self) -> int:
        return int(self.codebooks.shape[1])

    def encode(self, vectors: npt.ArrayLike) -> Codes:
        """The codes of vectors [N, D]: int32 [N, levels], each in 0..codes-1."""
        given = unit(as_vectors(vectors))
        if given.shape[1] != self.codebooks.shape[2]:
            raise StorageError(
                f"vectors have {given.shape[1]} dimensions and the codebooks "
                f"{self.codebooks.shape[2]}, but both must come from one model; fit them again."
            )
        found = np.empty((len(given), self.levels), dtype=np.int32)
        import faiss

        quantizer = _quantizer(given.shape[1], self.levels, self.codes)
        faiss.copy_array_to_vector(self.codebooks.reshape(-1), quantizer.codebooks)
        quantizer.is_trained = True
        for start, stop in blocks(len(given), _ENCODED_AT_ONCE):
            packed = quantizer.compute_codes(given[start:stop])
            found[start:stop] = faiss.unpack_bitstrings(packed, self.levels, _bits(self.codes))
        return found

    def decode(self, codes: Codes) -> Vectors:
        """The reconstructions of codes [N, levels]: float32 [N, D]."""
        summed: Vectors = np.zeros((len(codes), self.codebooks.shape[2]), dtype=np.float32)
        for level, book in enumerate(self.codebooks):
            summed += book[codes[:, level]]
        return summed

    def judge(
        self, vectors: npt.ArrayLike, codes: Codes, *, queries: int = 2000, seed: int = 0
    ) -> Quality:
        """What `codes` of these vectors keep.

        Args:
            vectors: [N, D], two at least.
            codes: [N, levels], as `encode` gave them.
            queries: items whose neighbours are compared, drawn where there are more.
        """
        given = unit(as_vectors(vectors))
        rebuilt = self.decode(codes)
        lost = np.square(given - rebuilt, dtype=np.float64).sum()
        spread = np.square(given - given.mean(axis=0, dtype=np.float64)).sum()
        _, which, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        shared = sizes[which.ravel()]
        counts = [
            np.bincount(codes[:, level], minlength=self.codes) for level in range(self.levels)
        ]
        asked = np.arange(len(given))
        if len(given) > queries:
            asked = np.sort(np.random.default_rng(seed).choice(len(given), queries, replace=False))
        return Quality(
            items=len(given),
            levels=self.levels,
            codes=self.codes,
            collisions=float((shared > 1).mean()),
            largest=int(shared.max()),
            error=float(lost / spread) if spread else 0.0,
            recall=_kept(given, unit(rebuilt), asked),
            recall_queries=len(asked),
            used=tuple(float((count > 0).mean()) for count in counts),
            entropy=tuple(_entropy(count) for count in counts),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codebooks as safetensors; StorageError where they cannot be."""
        from safetensors.numpy import save_file

        tensors = {f"level_{level}": book.copy() for level, book in enumerate(self.codebooks)}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SemanticIds:
        """Read what `save` wrote; StorageError where it is something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(Path(path))
            return cls(np.stack([tensors[f"level_{level}"] for level in range(len(tensors))]))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StorageError(
                f"{path} holds no codebooks ({type(error).__name__}: {error}); run `tgqformer "
                "semantic-ids` again."
            ) from error


def told_apart(codes: Codes) -> Codes:
    """The codes with one more: 0, 1, 2, ... among items that share all of theirs, in their order.

    Args:
        codes: [N, levels].

    Returns:
        [N, levels + 1], no two rows equal.
    """
    _, which = np.unique(codes, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    first = np.searchsorted(which[order], which[order])
    place = np.empty(len(codes), dtype=np.int32)
    place[order] = np.arange(len(codes)) - first
    return np.column_stack([codes, place])


def write_ids(
    path: str | os.PathLike[str], ids: Sequence[str], codes: Codes, about: dict[str, str]
) -> None:
    """Write a Parquet of item_id and codes, with key-value metadata under "tgqformer."."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("codes", pa.list_(pa.int32()), nullable=False),
    ]
    schema = pa.schema(fields, metadata={f"tgqformer.{key}": v for key, v in about.items()})
    offsets = pa.array(np.arange(len(codes) + 1, dtype=np.int32) * codes.shape[1])
    column = pa.ListArray.from_arrays(offsets, pa.array(codes.reshape(-1)))
    table = pa.Table.from_arrays([pa.array(list(ids), pa.string()), column], schema=schema)
    with atomic_path(path, refusals=(pa.ArrowException,)) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _quantizer(dims: int, levels: int, codes: int) -> Any:
    import faiss

    quantizer = faiss.ResidualQuantizer(dims, levels, _bits(codes))
    quantizer.max_beam_size = _BEAM
    quantizer.cp.seed = 1
    quantizer.verbose = False
    return quantizer


def _codebooks(quantizer: Any, levels: int, codes: int) -> Vectors:
    import faiss

    flat: Vectors = faiss.vector_to_array(quantizer.codebooks)
    return flat.reshape(levels, codes, -1).copy()


def _bits(codes: int) -> int:
    return codes.bit_length() - 1


def _below(vectors: Vectors) -> int:
    return 1 << max(1, len(vectors).bit_length() - 1)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def _kept(vectors: Vectors, rebuilt: Vectors, asked: npt.NDArray[np.int64]) -> float:
    """Mean share of the exact ten nearest that the reconstructions have among theirs."""
    k = min(_NEIGHBOURS, len(vectors) - 1)
    if k < 1:
        return 1.0
    ids = [str(row) for row in range(len(vectors))]
    exact, found = (
        ExactIndex(ids, each).search(each[asked], k, exclude=asked)[1]
        for each in (vectors, rebuilt)
    )
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, found)]))
