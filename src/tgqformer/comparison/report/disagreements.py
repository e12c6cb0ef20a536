"""Queries that one model answers and another does not, with what both find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.errors import ConfigError
from tgqformer.evaluation.evaluate import evaluate
from tgqformer.evaluation.report.gallery import GalleryCell, gallery_cell, nearest, noise_notes
from tgqformer.retrieval.scores import as_vectors

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

MOST = 12
"""Queries of a gallery at most."""


@dataclass(frozen=True)
class Disagreement:
    """A query that exactly one of two models answers.

    Attributes:
        query: the query.
        answers: what ours finds, best first, then what the other finds.
        ranks: of the first right item by ours, then by the other; 1 is best.
        note: the query's noise regime, "" where unknown.
    """

    query: GalleryCell
    answers: tuple[tuple[GalleryCell, ...], tuple[GalleryCell, ...]]
    ranks: tuple[int, int]
    note: str = ""


@dataclass(frozen=True)
class Disagreements:
    """Where two models part on one catalog.

    Attributes:
        catalog: its name.
        models: ours and the other, as they are shown.
        k: a query is answered where a right item is among the first k.
        counts: queries that both answer, ours alone, the other alone, neither.
        ours, other: drawn at random from those that only the one answers; as many of each.
    """

    catalog: str
    models: tuple[str, str]
    k: int
    counts: tuple[int, int, int, int]
    ours: tuple[Disagreement, ...]
    other: tuple[Disagreement, ...]


def disagreements(
    catalog: Catalog,
    ours: npt.NDArray[Any],
    other: npt.NDArray[Any],
    *,
    name: str,
    models: tuple[str, str],
    split: str = "test",
    k: int = 10,
    shown: int = 5,
    count: int = MOST,
    seed: int = 0,
) -> Disagreements:
    """Find where `ours` and `other` part, and draw at most `count` such queries, half of each kind.

    Args:
        ours, other: [N, D] and [N, E] in the order of `catalog.items`.
        name: of the catalog.
        shown: neighbours of each query and model.

    Queries are drawn, not chosen, those with a photo first; where one kind is rarer than
    `count` / 2, so few of the other are shown as well.

    Raises:
        ConfigError: vectors that are not those of the catalog's items.
        CatalogError: the split has no pair that can be ranked.
    """
    vectors = (as_vectors(ours), as_vectors(other))
    for model, found in zip(models, vectors):
        if len(found) != len(catalog.items):
            raise ConfigError(
                f"{model} came with {len(found)} vectors for {len(catalog.items)} items; "
                "encode the whole catalog, in its order."
            )
    tables = [evaluate(v, catalog, split=split, ks=(k,), bootstrap=0).per_query for v in vectors]
    queries = tables[0]["query_id"].to_list()
    ranks = np.stack([table["rank"].to_numpy() for table in tables], axis=1)
    hits = ranks <= k
    counts = [int(np.sum((hits == pattern).all(axis=1))) for pattern in _PATTERNS]
    each = min(count // 2, counts[1], counts[2])
    kinds = []
    for pattern in _PATTERNS[1:3]:
        places = np.flatnonzero((hits == pattern).all(axis=1))
        shuffled = np.random.default_rng(seed).permutation(places).tolist()
        rows = sorted(shuffled, key=lambda p: not catalog.items[catalog.index[queries[p]]].images)
        kinds.append(
            _rows(catalog, vectors, [queries[p] for p in rows[:each]], split, shown) if each else []
        )
    by_query = dict(zip(queries, ranks.tolist()))
    filled = [
        tuple(
            Disagreement(cell, answers, (int(by_query[q][0]), int(by_query[q][1])), note)
            for q, cell, answers, note in rows
        )
        for rows in kinds
    ]
    return Disagreements(
        name, models, k, (counts[0], counts[1], counts[2], counts[3]), filled[0], filled[1]
    )


_PATTERNS = ((True, True), (True, False), (False, True), (False, False))


def _rows(
    catalog: Catalog,
    vectors: Sequence[npt.NDArray[Any]],
    queries: Sequence[str],
    split: str,
    shown: int,
) -> list[tuple[str, GalleryCell, tuple[tuple[GalleryCell, ...], tuple[GalleryCell, ...]], str]]:
    query, target, _ = catalog.pair_indices(split)
    rows = [catalog.index[q] for q in queries]
    found = [nearest(catalog, stored, rows, split=split, k=shown) for stored in vectors]
    notes = noise_notes([catalog.items[row] for row in rows], catalog)
    out = []
    for number, row in enumerate(rows):
        right = set(target[query == row].tolist())
        cells = [
            tuple(
                gallery_cell(catalog.items[other], score=score, right=other in right)
                for other, score in answers[number]
            )
            for answers in found
        ]
        out.append(
            (
                queries[number],
                gallery_cell(catalog.items[row]),
                (cells[0], cells[1]),
                notes[number],
            )
        )
    return out
