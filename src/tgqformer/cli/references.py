"""The two reference points that stand beside every trained model: what no training reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.reference import Precomputed

TEXT_ONLY = "text only (frozen)"
CONCATENATION = "photo + text (frozen)"
BATCH = 256  # items whose tower states are held at once where nothing is cached


def reference_points(embedder: ItemEmbedder, catalog: Catalog) -> list[Precomputed]:
    """Return the frozen towers' vectors as embedders: the text's alone, and photo beside text.

    Both use the towers of `embedder` without anything trained. An item without a photo or without
    metadata has zeros in that part and is compared by the other.
    """
    import numpy as np

    from tgqformer.evaluation.reference import Precomputed, concat_normalised

    ids = [item.item_id for item in catalog.items]
    starts = range(0, len(catalog), BATCH)
    parts = [embedder.features.globals(catalog.items[i : i + BATCH]) for i in starts]
    text = concat_normalised([np.concatenate([part.text for part in parts])])
    photo = concat_normalised([np.concatenate([part.image for part in parts])])
    both = concat_normalised([photo, text])
    return [Precomputed(TEXT_ONLY, ids, text), Precomputed(CONCATENATION, ids, both)]
