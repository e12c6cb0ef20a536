"""What a run computes from its catalog before a step, in closed form."""

from __future__ import annotations

import numpy as np
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head

HEAD_ITEMS = 256
BASE_ITEMS = 50_000
"""Items that the base is fitted to, at most: a random sample of a larger catalog."""


def fit_base(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> None:
    """Fit the frozen base, where there is one, to the items of the catalog."""
    base = embedder.model.base
    if base is None:
        return
    rows = np.arange(len(catalog))
    if len(rows) > BASE_ITEMS:
        rows = np.sort(np.random.default_rng([seed, 8]).permutation(rows)[:BASE_ITEMS])
    found = embedder.features.globals([catalog.items[row] for row in rows])
    base.fit(
        torch.from_numpy(found.image[found.presence[:, 0]]),
        torch.from_numpy(found.text[found.presence[:, 1]]),
    )


def start_head(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> None:
    """Set the head to where it starts, by some of the items that pairs name."""
    query, target, _ = catalog.pair_indices("train")
    named = np.unique(np.concatenate([query, target])) if len(query) else np.arange(len(catalog))
    rows = np.random.default_rng([seed, 4]).permutation(named)[:HEAD_ITEMS]
    batch = embedder.batch([catalog.items[row] for row in rows])
    training = embedder.model.training
    initialise_head(embedder.model.eval(), batch.to(embedder.device))
    embedder.model.train(training)
