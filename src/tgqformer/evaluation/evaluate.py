"""The judge: every query of a split against the full pool, itself excluded.

Whatever encodes items is judged alike: a model, `Precomputed` vectors, the `FrozenEmbedder`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from tgqformer.catalog.items import Embedder, Item
from tgqformer.errors import CatalogError, ConfigError
from tgqformer.evaluation.intervals import CONFIDENCE, mean_intervals
from tgqformer.evaluation.metrics import Ranks, Scorer, Values, per_query, rank_scores
from tgqformer.evaluation.result import Evaluation, break_down, describe_history, describe_queries
from tgqformer.retrieval.scores import Rows, Vectors, as_vectors, inner_products, unit

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.towers.features import ItemFeatures

KS = (1, 10, 50, 100)
_BATCH = 256  # items whose tower states are held at once where nothing is cached
Known: TypeAlias = Literal["mask", "count"]
EARLIER = {"train": (), "val": ("train",), "test": ("train", "val")}
"""The splits whose pairs are known by the time that a split is asked for."""


def evaluate(
    vectors: npt.NDArray[Any] | Embedder | Scorer,
    catalog: Catalog,
    *,
    split: str = "test",
    name: str | None = None,
    query_vectors: npt.NDArray[Any] | None = None,
    known: Known = "mask",
    other_group: bool = False,
    seen: npt.NDArray[Any] | None = None,
    ks: Sequence[int] = KS,
    bootstrap: int = 1000,
    seed: int = 0,
    chunk: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Rank the targets of every query of `split` among the split's whole pool.

    Args:
        vectors: [N, D] in the order of `catalog.items`, or an `Embedder`, which then encodes the
            items of the pool and the queries, and no others. Scores are inner products, so rows
            of unit length are compared by cosine. Or a `Scorer`, which has scores and no vectors.
        name: of the model in tables; None takes the embedder's `name`, else "model".
        query_vectors: [N, D], the vectors that items ask with, where they differ from those that
            they are found by: corrupted photos against a clean pool, say.
        known: what becomes of a query's partners in the earlier splits (of "val" those in "train",
            of "test" those in "train" and "val"; in either direction of the pair) that are not its
            targets in this one. They are right answers that nobody asks for: "mask" leaves them
            out of the query's pool, the filtered setting of Bordes et al. (Translating Embeddings,
            NeurIPS 2013, section 4.2); "count" leaves them in, and counts them as wrong. Items that
            no earlier split holds have none, and nothing changes.
        other_group: finds are other products: a query's variants (label `item_group_id`) are left
            out of its pool, and its pairs with them do not count (`dropped` tells how many).
        seen: [N], how often each item was seen with others in training, by which the figures are
            broken down; None counts the different partners that its training pairs name.
        bootstrap: resamples for the 95 % intervals; 0 gives means only.
        chunk: queries at once; None bounds the memory. The figures do not depend on it.
        progress: shown while an embedder encodes.

    Raises:
        CatalogError: the split has no pair that can be ranked, or no item has a group where
            `other_group` asks for it.
        ConfigError: an option breaks its rule, or vectors and items differ in number.
    """
    if not ks or min(ks) < 1:
        raise ConfigError(f"ks is {tuple(ks)}, but must hold whole numbers from 1.")
    if bootstrap < 0:
        raise ConfigError(f"bootstrap is {bootstrap}, but must be 0 (no intervals) or more.")
    if known not in ("mask", "count"):
        raise ConfigError(f"known is {known!r}, but must be 'mask' or 'count'.")
    seen = training_partners(catalog) if seen is None else np.asarray(seen)
    if len(seen) != len(catalog.items):
        raise ConfigError(
            f"{len(seen)} counts came in `seen` for {len(catalog.items)} items, but each item "
            "needs one, in the order of the catalog."
        )
    pool = np.asarray(catalog.pool_indices(split), dtype=np.int64)
    query, target, dropped = _pairs(catalog, split, pool, other_group=other_group)
    rows, which = np.unique(query, return_inverse=True)
    place = np.full(len(catalog.items), -1, dtype=np.int64)
    place[pool] = np.arange(len(pool))
    score_of = _scores(vectors, query_vectors, catalog, rows, pool, progress=progress)
    masked = None
    if known == "mask" or other_group:
        left_out = [known_partners(catalog, split, rows)] if known == "mask" else []
        left_out += [variants_of(catalog, rows, pool)] if other_group else []
        told = np.unique(np.concatenate([np.stack(part) for part in left_out], axis=1), axis=1)
        masked = told[0], place[told[1]]
    ranks = rank_scores(
        score_of,
        len(rows),
        len(pool),
        which,
        place[target],
        exclude=place[rows],
        masked=masked,
        chunk=chunk,
    )
    figures = per_query(ranks, ks)
    items = [catalog.items[row] for row in rows]
    described = describe_queries(items, catalog.labels).hstack(describe_history(seen[rows]))
    table = _table(ranks, figures, described)
    worst, best = (per_query(ranks, ks, ties) for ties in ("pessimistic", "optimistic"))
    return Evaluation(
        name=name or str(getattr(vectors, "name", "model")),
        split=split,
        ks=tuple(ks),
        queries=ranks.queries,
        pool=len(pool),
        targets=len(ranks.rank),
        masked=0.0 if masked is None else len(masked[0]) / len(rows),
        metrics=mean_intervals(figures, samples=bootstrap, seed=seed),
        bounds={key: (float(worst[key].mean()), float(best[key].mean())) for key in figures},
        ties={
            "share": float((ranks.ties > 0).mean()),
            "mean": float(ranks.ties.mean()),
            "largest": int(ranks.ties.max()),
        },
        dropped=dropped,
        breakdown=break_down(table, list(figures), samples=bootstrap, seed=seed),
        settings={"bootstrap": bootstrap, "seed": seed, "confidence": CONFIDENCE},
        per_query=table,
    )


def training_partners(catalog: Catalog) -> Rows:
    """How many different items the training pairs name with each item, either way round: [N]."""
    ends = np.stack(catalog.pair_indices("train")[:2]).astype(np.int64)
    ends = ends[:, ends[0] != ends[1]]
    both = np.unique(np.concatenate([ends, ends[::-1]], axis=1), axis=1)
    return np.bincount(both[0], minlength=len(catalog.items)).astype(np.int64)


def known_partners(catalog: Catalog, split: str, queries: Rows) -> tuple[Rows, Rows]:
    """What an earlier split has taught of `queries`, and this one does not ask for.

    Args:
        queries: [M], positions in `catalog.items`, ascending, none twice.

    Returns:
        ([X], [X]): places in `queries`, and positions of the partners. Each is in the split's
        pool, is not the query, and is no target of the query in `split`; no pair is there twice.
    """
    count = len(catalog.items)
    pairs = [catalog.pair_indices(earlier)[:2] for earlier in EARLIER[split]]
    sides = [side for query, target in pairs for side in ((query, target), (target, query))]
    if not sides:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    query, partner = (np.concatenate(side).astype(np.int64) for side in zip(*sides))
    asked = np.isin(query, queries) & np.isin(partner, catalog.pool_indices(split))
    asked &= query != partner
    query_now, target_now, _ = catalog.pair_indices(split)
    keys = np.setdiff1d(
        query[asked] * count + partner[asked], query_now.astype(np.int64) * count + target_now
    )
    return np.searchsorted(queries, keys // count), keys % count


def variants_of(catalog: Catalog, queries: Rows, pool: Rows) -> tuple[Rows, Rows]:
    """The items of a pool that are variants of a query, itself left out.

    Args:
        queries: [M], positions in `catalog.items`.
        pool: [N'], such positions.

    Returns:
        ([X], [X]): places in `queries`, and positions of their variants.
    """
    groups = catalog.groups[pool]
    order = np.argsort(groups, kind="stable")
    wanted = catalog.groups[queries]
    first = np.searchsorted(groups[order], wanted)
    sizes = np.searchsorted(groups[order], wanted, "right") - first
    sizes[wanted < 0] = 0
    which = np.repeat(np.arange(len(queries)), sizes)
    start = np.repeat(first - (np.cumsum(sizes) - sizes), sizes)
    found = pool[order[start + np.arange(len(which))]]
    other = found != queries[which]
    return which[other], found[other]


def _pairs(
    catalog: Catalog, split: str, pool: Rows, *, other_group: bool
) -> tuple[Rows, Rows, dict[str, int]]:
    catalog.require_pairs(split)
    query, target, _ = catalog.pair_indices(split)
    pairs = np.unique(np.stack([query, target], axis=1).astype(np.int64), axis=0)
    to_self = pairs[:, 0] == pairs[:, 1]
    outside = ~np.isin(pairs[:, 1], pool) & ~to_self
    kept = pairs[~to_self & ~outside]
    alike = np.zeros(len(kept), dtype=np.bool_)
    if other_group:
        catalog.require_groups()
        group = catalog.groups[kept]
        alike = (group[:, 0] == group[:, 1]) & (group[:, 0] >= 0)
        if alike.all() and len(kept):
            raise CatalogError(
                f"all {len(kept)} pairs in split {split!r} are variants of one product, which "
                "--other-group leaves out; evaluate without it."
            )
        kept = kept[~alike]
    if not len(kept):
        raise CatalogError(
            f"none of the {len(pairs)} pairs in split {split!r} has its target in the pool; "
            "put the targets into the pool of that split."
        )
    dropped = {
        "pairs_to_self": int(to_self.sum()),
        "pairs_outside_pool": int(outside.sum()),
        **({"pairs_of_variants": int(alike.sum())} if other_group else {}),
        "queries": len(np.unique(pairs[:, 0])) - len(np.unique(kept[:, 0])),
    }
    return kept[:, 0], kept[:, 1], dropped


def _scores(
    source: npt.NDArray[Any] | Embedder | Scorer,
    query_vectors: npt.NDArray[Any] | None,
    catalog: Catalog,
    rows: Rows,
    pool: Rows,
    *,
    progress: bool,
) -> Callable[[int, int], Vectors]:
    """What scores a stretch of the queries at `rows` against the pool, for `rank_scores`."""
    if isinstance(source, Scorer):
        if query_vectors is not None:
            raise ConfigError(
                f"{source.name} has no vectors, so no others can ask; leave query_vectors out."
            )
        scorer = source
        return lambda start, stop: scorer.scores(rows[start:stop])[:, pool]
    stored = _vectors(source, catalog, np.union1d(pool, rows), progress=progress)
    asking = stored
    if query_vectors is not None:
        asking = _vectors(query_vectors, catalog, rows, progress=False)
    queries, candidates = asking[rows], stored[pool]
    return lambda start, stop: inner_products(queries[start:stop], candidates)


def _vectors(
    source: npt.NDArray[Any] | Embedder, catalog: Catalog, needed: Rows, *, progress: bool
) -> Vectors:
    """Float32 [N, D] in the order of the catalog; rows that are not needed may be zero."""
    if isinstance(source, np.ndarray):
        given = as_vectors(source)
        if len(given) != len(catalog.items):
            raise ConfigError(
                f"{len(given)} vectors came for {len(catalog.items)} items, but each item needs "
                "one, in the order of the catalog; embed this catalog again."
            )
        return given
    encoded = as_vectors(
        source.encode([catalog.items[row] for row in needed], progress=progress),
        "the embedder's output",
    )
    stored: Vectors = np.zeros((len(catalog.items), encoded.shape[1]), dtype=np.float32)
    stored[needed] = encoded
    return stored


def _table(ranks: Ranks, figures: dict[str, Values], described: pl.DataFrame) -> pl.DataFrame:
    first = np.lexsort((ranks.rank, ranks.query))
    first = first[np.searchsorted(ranks.query, np.arange(ranks.queries))]
    counts = pl.DataFrame(
        {
            "targets": np.bincount(ranks.query, minlength=ranks.queries),
            "rank": ranks.rank[first],
            "ties": ranks.ties[first],
        }
    )
    return pl.concat([described, counts, pl.DataFrame(figures)], how="horizontal")


class Precomputed:
    """An `Embedder` over vectors [N, D] that were made elsewhere, one for each of `ids`.

    Raises:
        ConfigError: ids and vectors differ in number.
        StorageError: a value is not finite.
    """

    def __init__(self, name: str, ids: Sequence[str], vectors: npt.ArrayLike) -> None:
        self.name = name
        self._vectors = as_vectors(vectors, f"{name}'s vectors")
        if len(ids) != len(self._vectors):
            raise ConfigError(
                f"{len(ids)} ids came with {len(self._vectors)} vectors of {name}, but each id "
                "needs exactly one."
            )
        self._row = {item_id: row for row, item_id in enumerate(ids)}

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Look the items up by id: float32 [len(items), D]; CatalogError for an unknown one."""
        try:
            rows = [self._row[item.item_id] for item in items]
        except KeyError as error:
            raise CatalogError(
                f"{self.name} has no vector for item {error.args[0]!r}; compute it for the whole "
                "catalog."
            ) from None
        found: Vectors = self._vectors[rows]
        return found


class FrozenEmbedder:
    """The towers' own vectors of an item, side by side; a missing part is zero."""

    def __init__(
        self, name: str, features: ItemFeatures, parts: Sequence[Literal["image", "text"]]
    ) -> None:
        self.name, self.features, self.parts = name, features, tuple(parts)

    def encode(self, items: Sequence[Item], *, progress: bool = False) -> Vectors:
        """Float32 [N, D], rows of unit length, or zero where an item has none of the parts."""
        self.features.fill(items, progress=progress)
        found = frozen_parts(self.features, items)
        return concat_normalised([found[part] for part in self.parts])


def frozen_parts(features: ItemFeatures, items: Sequence[Item]) -> dict[str, Vectors]:
    """The towers' global vectors, "image" [N, Di] and "text" [N, Dt], zero where absent."""
    starts = range(0, len(items), _BATCH)
    found = [features.globals(items[start : start + _BATCH]) for start in starts]
    return {name: np.concatenate([getattr(p, name) for p in found]) for name in ("image", "text")}


def concat_normalised(
    parts: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None
) -> Vectors:
    """Put several vectors of each item side by side, without any training.

    Each part [N, Di] is scaled to unit rows; a row of zeros stands for a missing part (no photo,
    no title) and stays zero. `weights`, equal unless given, are those of the parts' cosines in the
    score of two whole items. The result [N, sum of Di] has unit rows again, so that an item without
    a photo is compared by what it has; a row with no part at all stays zero.

    Raises:
        ConfigError: no parts, parts of different lengths, or weights that do not fit.
    """
    arrays = [as_vectors(part, f"part {number}") for number, part in enumerate(parts)]
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) != 1:
        raise ConfigError(
            f"the parts have {lengths} rows, but all need the same number, and one part at least."
        )
    shares = np.ones(len(arrays)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(arrays),) or not (shares >= 0).all() or not shares.any():
        raise ConfigError(
            f"weights are {weights}, but must be {len(arrays)} numbers from 0, not all of them 0."
        )
    # The score multiplies both sides, so each carries the root of the weight.
    return unit(np.hstack([unit(a) * np.sqrt(w) for a, w in zip(arrays, shares)]))
