"""What a run computes from its catalog before a step, in closed form."""

from __future__ import annotations

import numpy as np
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head
from tgqformer.evaluation.evaluate import concat_normalised
from tgqformer.evaluation.metrics import per_query, rank_targets

HEAD_ITEMS = 256
BASE_ITEMS = 50_000
"""Items that the base is fitted to, at most: a random sample of a larger catalog."""

BALANCES = (1.0, 0.84, 0.71, 0.59, 0.5, 1.19, 1.41)
"""How much the photo may count against the metadata, in quarters of a power of two."""
LEAST_QUERIES, MOST_QUERIES, POOL = 100, 500, 5_000
"""Queries of training pairs that the balance is chosen by, and the items they are asked of."""


def fit_base(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> None:
    """Fit the frozen base, where there is one, to the items of the catalog."""
    base = embedder.model.base
    if base is None:
        return
    rows = np.arange(len(catalog))
    if len(rows) > BASE_ITEMS:
        rows = np.sort(np.random.default_rng([seed, 8]).permutation(rows)[:BASE_ITEMS])
    found = embedder.features.globals([catalog.items[row] for row in rows])
    has_image, has_text = found.presence.T
    base.fit(
        torch.from_numpy(found.image[has_image]),
        torch.from_numpy(found.text[has_text]),
        torch.from_numpy(found.words[has_text]),
    )
    base.balance(_balance(embedder, catalog, seed))


def _balance(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> float:
    """How much photos count against metadata: what finds the partners of training pairs best.

    1 where there are fewer than LEAST_QUERIES queries. A choice of one number among seven learns
    nothing by heart, so the pairs that are trained on may make it.
    """
    query, target, _ = catalog.pair_indices("train")
    rng = np.random.default_rng([seed, 9])
    asked = rng.permutation(np.unique(query))[:MOST_QUERIES]
    if len(asked) < LEAST_QUERIES:
        return BALANCES[0]
    asked = np.sort(asked)
    keep = np.isin(query, asked)
    query, target = query[keep], target[keep]
    named = np.union1d(query, target)
    others = rng.permutation(np.setdiff1d(np.arange(len(catalog)), named))
    rows = np.union1d(named, others[: max(0, POOL - len(named))])
    photo, metadata = embedder.base_parts([catalog.items[row] for row in rows])
    asks = np.searchsorted(rows, asked)
    pairs = np.searchsorted(asked, query), np.searchsorted(rows, target)

    def found(balance: float) -> float:
        vectors = concat_normalised([balance * photo + metadata])
        ranks = rank_targets(vectors[asks], vectors, *pairs, exclude=asks)
        return float(per_query(ranks, (10,))["ndcg@10"].mean())

    return max(BALANCES, key=found)


def start_head(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> None:
    """Set the head to where it starts, by some of the items that pairs name."""
    query, target, _ = catalog.pair_indices("train")
    named = np.unique(np.concatenate([query, target])) if len(query) else np.arange(len(catalog))
    rows = np.random.default_rng([seed, 4]).permutation(named)[:HEAD_ITEMS]
    batch = embedder.batch([catalog.items[row] for row in rows])
    training = embedder.model.training
    initialise_head(embedder.model.eval(), batch.to(embedder.device))
    embedder.model.train(training)
