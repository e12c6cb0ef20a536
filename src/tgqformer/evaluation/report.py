"""One self-contained HTML page of evaluations, with its galleries of queries and neighbours.

A gallery shows what a model finds for drawn queries, or where two models part.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import Item
from tgqformer.errors import ConfigError, ImageError
from tgqformer.evaluation.compare import compare, hangs_on_ties, metric_label, percent, points
from tgqformer.evaluation.evaluate import evaluate, known_partners
from tgqformer.evaluation.figures import curve_figure, interval_figure, write_page
from tgqformer.evaluation.intervals import Interval
from tgqformer.evaluation.result import Evaluation, describe_queries
from tgqformer.retrieval.exact import ExactIndex
from tgqformer.retrieval.scores import Vectors, as_vectors

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog

_THUMBNAIL = 192
"""Longest side of a thumbnail, in pixels: twice its size on the page, for sharp screens."""
_MOST_ROWS = 24
_MOST = 12
"""Queries of a gallery at most."""
_TITLES = {
    "category": "By category of the query",
    "noise": "By noise of the query",
    "faults": "By faults of the query's metadata",
    "missing": "By what the query lacks",
    "history": "By whether the query was seen in training",
    "interactions": "By how often the query was seen in training",
}
_PATTERNS = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True)
class GalleryCell:
    """One item.

    Attributes:
        image: a JPEG, or None where there is no photo that can be read.
        title: "" where unknown.
        subtitle: its category, say.
        score: of a neighbour; None for a query.
        right: whether a neighbour is a target of the query; None for a query.
    """

    image: bytes | None
    title: str
    subtitle: str = ""
    score: float | None = None
    right: bool | None = None

    @property
    def source(self) -> str | None:
        """The image as a data URI."""
        if self.image is None:
            return None
        return "data:image/jpeg;base64," + base64.b64encode(self.image).decode("ascii")


@dataclass(frozen=True)
class GalleryRow:
    """A query, its neighbours, best first, and a note such as its noise regime."""

    query: GalleryCell
    neighbours: tuple[GalleryCell, ...]
    note: str = ""


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


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    evaluations: Sequence[Evaluation],
    headline: str = "hit@10",
    metrics: Sequence[str] | None = None,
    curve: Sequence[Mapping[str, Any]] | None = None,
    levels: Mapping[str, float] | None = None,
    gallery: Sequence[GalleryRow] = (),
    facts: Mapping[str, object] | None = None,
    intro: str = "",
    next_steps: Sequence[str] = (),
    samples: int = 1000,
    seed: int = 0,
) -> None:
    """Write the report, whole or not at all.

    Args:
        path: the .html file to make.
        evaluations: the trained model first, its reference points after it; same queries, same
            pool.
        headline: the figure of the summary, the curve and the breakdown.
        metrics: columns of the table; None takes hit@K for each K, mrr and map@r.
        curve: the training log, see `curve_figure`.
        levels: name -> `headline` (0..1) of references on the curve's own validation sample.
        gallery: see `gallery_rows`.
        facts: name -> value, shown at the end: items, steps, time, versions.
        intro: a sentence or two under the title.
        next_steps: commands to try next.
        samples, seed: of the paired bootstrap.

    Raises:
        ConfigError: nothing to report, or evaluations that cannot be compared.
        StorageError: the file cannot be written.
    """
    if not evaluations:
        raise ConfigError("there is nothing to report; name at least one evaluation.")
    model = evaluations[0]
    write_page(
        path,
        "report.html",
        title=title,
        intro=intro,
        model=model,
        label=metric_label(headline),
        summary=_summary(evaluations, headline),
        table=_table(evaluations, metrics, samples, seed),
        ties=_ties(evaluations, headline),
        results_figure=interval_figure(_by_metric(evaluations, metrics), "All figures", "results"),
        curve_figure=curve_figure(
            curve or (), headline, levels or {}, [e.name for e in evaluations]
        ),
        breakdowns=[_breakdown(evaluations, headline, name) for name in model.breakdown],
        gallery=gallery,
        facts=[(name, str(value)) for name, value in (facts or {}).items()],
        next_steps=next_steps,
    )


def _summary(evaluations: Sequence[Evaluation], headline: str) -> list[dict[str, str]]:
    return [
        {
            "name": e.name,
            "value": f"{100 * e[headline]:.1f}",
            "interval": _range(e.metrics[headline]),
        }
        for e in evaluations
    ]


def _table(
    evaluations: Sequence[Evaluation], metrics: Sequence[str] | None, samples: int, seed: int
) -> dict[str, Any]:
    comparison = compare(evaluations, metrics, samples=samples, seed=seed)
    rows: list[dict[str, Any]] = []
    for name in comparison.names:
        values = [comparison.values[name][m] for m in comparison.metrics]
        rows.append(
            {"name": name, "gap": False, "cells": [_cell(value) for value in values]},
        )
        if name in comparison.differences:
            gaps = [points(comparison.differences[name][m]) for m in comparison.metrics]
            rows.append(
                {
                    "name": f"{comparison.names[0]} ahead by",
                    "gap": True,
                    "cells": [gap.partition(" ")[::2] for gap in gaps],
                }
            )
    return {
        "columns": [metric_label(metric) for metric in comparison.metrics],
        "rows": rows,
        "caption": comparison.caption(),
    }


def _by_metric(
    evaluations: Sequence[Evaluation], metrics: Sequence[str] | None
) -> dict[str, dict[str, Interval]]:
    columns = metrics or [*(f"hit@{k}" for k in evaluations[0].ks), "mrr", "map@r"]
    return {
        metric_label(metric): {e.name: e.metrics[metric] for e in evaluations} for metric in columns
    }


def _ties(evaluations: Sequence[Evaluation], headline: str) -> list[str]:
    """A sentence for each model whose headline figure hangs on the order of equal scores."""
    found = []
    for e in evaluations:
        if hangs_on_ties(e, headline):
            low, high = e.bounds[headline]
            found.append(
                f"{e.name}: {100 * e.ties['share']:.0f} % of its targets score exactly the same as "
                f"other items. {metric_label(headline)} is the mean over all orders of these; it "
                f"lies between {100 * low:.1f} (ties against it) and {100 * high:.1f} (for it)."
            )
    return found


def _breakdown(evaluations: Sequence[Evaluation], headline: str, name: str) -> dict[str, Any]:
    groups = evaluations[0].breakdown[name]
    shown = list(groups)[:_MOST_ROWS]
    parts = {
        value: {e.name: e.breakdown[name][value].metrics[headline] for e in evaluations}
        for value in shown
    }
    return {
        "title": _TITLES.get(name, name),
        "heading": name,
        "models": [e.name for e in evaluations],
        "rows": [
            {
                "value": value,
                "queries": groups[value].queries,
                "cells": [_cell(interval) for interval in intervals.values()],
            }
            for value, intervals in parts.items()
        ],
        "more": len(groups) - len(shown),
        "figure": interval_figure(parts, metric_label(headline), f"by-{name}"),
    }


def _cell(interval: Interval) -> tuple[str, str]:
    value, _, bounds = percent(interval).partition(" ")
    return value, bounds


def _range(interval: Interval) -> str:
    return _cell(interval)[1].strip("[]").replace(", ", " – ")


def gallery_rows(
    catalog: Catalog,
    vectors: npt.NDArray[Any],
    *,
    split: str = "test",
    count: int = 12,
    k: int = 5,
    seed: int = 0,
) -> list[GalleryRow]:
    """Draw `count` queries of `split` at random and look up their `k` neighbours in its pool.

    Args:
        vectors: [N, D] in the order of `catalog.items`.

    Queries are drawn, not chosen: a gallery of the best rows would say nothing. Those with a photo
    come first, since a gallery is there to be looked at.
    """
    stored = as_vectors(vectors)
    query, target, _ = catalog.pair_indices(split)
    pool = catalog.pool_indices(split)
    wanted = np.unique(query[np.isin(target, pool)])
    shuffled = np.random.default_rng(seed).permutation(wanted)
    drawn = sorted(shuffled.tolist(), key=lambda row: not catalog.items[row].images)[:count]
    if not drawn:
        return []
    answers = nearest(catalog, stored, drawn, split=split, k=k)
    notes = noise_notes([catalog.items[row] for row in drawn], catalog)
    gallery = []
    for row, found, note in zip(drawn, answers, notes):
        right = set(target[query == row].tolist())
        neighbours = [
            gallery_cell(catalog.items[other], score=score, right=other in right)
            for other, score in found
        ]
        gallery.append(GalleryRow(gallery_cell(catalog.items[row]), tuple(neighbours), note))
    return gallery


def nearest(
    catalog: Catalog, vectors: Vectors, rows: Sequence[int], *, split: str, k: int
) -> list[list[tuple[int, float]]]:
    """The `k` items of a split's pool that score highest with each of `rows`, and their scores.

    What `evaluate` ranks by: the query itself and its known partners of earlier splits are left
    out. `vectors` [N, D], `rows` and the answers are in the order of `catalog.items`.
    """
    pool = catalog.pool_indices(split)
    place = {int(row): position for position, row in enumerate(pool)}
    asking = np.unique(np.asarray(rows, dtype=np.int64))
    which, partner = known_partners(catalog, split, asking)
    most = int(np.bincount(which).max(initial=0))
    index = ExactIndex([catalog.items[row].item_id for row in pool], vectors[pool])
    exclude = [place.get(row, -1) for row in rows]
    scores, found = index.search(vectors[rows], k + most, exclude=exclude)
    answers = []
    for row, values, places in zip(rows, scores, found):
        known = set(partner[asking[which] == row].tolist())
        told = ((int(pool[p]), float(value)) for p, value in zip(places, values) if p >= 0)
        answers.append([one for one in told if one[0] not in known][:k])
    return answers


def gallery_cell(
    item: Item, *, score: float | None = None, right: bool | None = None
) -> GalleryCell:
    """`item` as it is shown: first readable photo, title, category."""
    return GalleryCell(thumbnail(item), item.title, item.category, score, right)


def thumbnail(item: Item) -> bytes | None:
    """The item's first readable photo as a small JPEG; None where there is none."""
    for photo in item.images:
        try:
            image = decode_image(photo, size_hint=_THUMBNAIL)
        except ImageError:
            continue
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=82, optimize=True)
        return buffer.getvalue()
    return None


def noise_notes(items: Sequence[Item], catalog: Catalog) -> list[str]:
    """The noise regime of each item, "" where the catalog's labels tell none."""
    described = describe_queries(items, catalog.labels)
    if "noise" not in described.columns:
        return [""] * len(items)
    return described["noise"].to_list()


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
    count: int = _MOST,
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
