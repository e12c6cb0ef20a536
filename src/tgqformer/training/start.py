"""What a run computes from its training pairs before the first step, in closed form."""

from __future__ import annotations

import numpy as np
import torch

from tgqformer.catalog.catalog import Catalog
from tgqformer.embedder.frozen_view import statistics
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import initialise_head
from tgqformer.errors import CatalogError

HEAD_ITEMS = 256
VIEW_ITEMS = 8192
BATCH = 256


def prepare_model(embedder: ItemEmbedder, catalog: Catalog, seed: int) -> None:
    """Set the head to where it starts, and fit the frozen view where there is one.

    Raises:
        CatalogError: the frozen view finds no training pair whose items both have a photo.
    """
    query, target, _ = catalog.pair_indices("train")
    rng = np.random.default_rng([seed, 4])
    rows = rng.permutation(np.unique(np.concatenate([query, target])))
    head = [catalog.items[i] for i in rows[:HEAD_ITEMS]]
    initialise_head(embedder.model, embedder.batch(head).to(embedder.device))
    view = embedder.model.frozen_view
    if view is None:
        return
    place = np.full(len(catalog), -1)
    seen: list[torch.Tensor] = []
    for start in range(0, min(len(rows), VIEW_ITEMS), BATCH):
        part = rows[start : min(start + BATCH, VIEW_ITEMS)]
        batch = embedder.features.batch([catalog.items[i] for i in part])
        has_image = batch.presence[:, 0]
        kept = part[has_image.numpy()]
        place[kept] = np.arange(len(kept)) + sum(len(x) for x in seen)
        seen.append(statistics(batch)[has_image])
    both = (place[query] >= 0) & (place[target] >= 0)
    if not both.any():
        raise CatalogError(
            "The frozen view (embedder.frozen_view) is fitted to training pairs whose items both "
            "have a photo, and there is none; set embedder.frozen_view=0."
        )
    pairs = [torch.from_numpy(place[rows][both]) for rows in (query, target)]
    view.fit(torch.cat(seen), pairs[0], pairs[1])
