"""How much of the exact answer a sidecar finds, with how much effort, in what time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tgqformer.retrieval.exact import Neighbour
from tgqformer.retrieval.mirror import ExactMirror
from tgqformer.retrieval.scores import Vectors

if TYPE_CHECKING:
    from tgqformer.retrieval.sidecar import Sidecar, SidecarManifest

_RECALLS_AT = (10, 100)
_WANTED = 0.99  # of the exact neighbours, for an effort to be enough
_TIMED = 50  # queries, one alone at a time


def measured(
    sidecar: Sidecar, mirror: ExactMirror, efforts: Sequence[int], queries: int, seed: int
) -> SidecarManifest:
    """The sidecar's manifest with recall and time against the exact mirror.

    Args:
        efforts: tried in turn, until one finds `_WANTED` of the exact neighbours.
    """
    ids = mirror.ids()
    drawn = np.random.default_rng(seed).choice(len(ids), min(queries, len(ids)), replace=False)
    asked, vectors = mirror.present([ids[row] for row in np.sort(drawn)])
    exact = mirror.search(vectors, max(_RECALLS_AT), exclude=asked)
    for effort in efforts:
        sidecar.manifest = replace(sidecar.manifest, effort=effort)
        recall = {
            str(k): float(np.mean(_shares(sidecar, mirror, asked, vectors, exact, k)))
            for k in _RECALLS_AT
        }
        if min(recall.values()) >= _WANTED:
            break
    alone = [vector[None] for vector in vectors[:_TIMED]]
    k = min(_RECALLS_AT)

    def approximate(query: Vectors) -> None:
        mirror.judge(query, k, sidecar.candidates(query, k + 1))

    return replace(
        sidecar.manifest,
        recall=recall,
        queries=len(asked),
        milliseconds=_milliseconds(approximate, alone),
        exact_milliseconds=_milliseconds(lambda query: mirror.search(query, k), alone),
    )


def _shares(
    sidecar: Sidecar,
    mirror: ExactMirror,
    asked: Sequence[str],
    vectors: Vectors,
    exact: Sequence[Sequence[Neighbour]],
    k: int,
) -> list[float]:
    """Of each query the share of its exact `k` neighbours that the sidecar finds."""
    shares = []
    found = mirror.judge(vectors, k + 1, sidecar.candidates(vectors, k + 1))
    for own, near, true in zip(asked, found, exact):
        wanted = true[:k]
        # Any item that scores as high as the last exact one is as right an answer.
        right = [n for n in near if wanted and n.item_id != own and n.score >= wanted[-1].score]
        shares.append(min(len(right), len(wanted)) / len(wanted) if wanted else 1.0)
    return shares


def _milliseconds(search: Callable[[Vectors], object], queries: Sequence[Vectors]) -> float:
    start = time.perf_counter()
    for query in queries:
        search(query)
    return 1000 * (time.perf_counter() - start) / len(queries)
