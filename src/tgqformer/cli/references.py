"""The reference points beside a trained model: what no training reaches, and what a shop has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tgqformer.catalog.catalog import Catalog
    from tgqformer.embedder import ItemEmbedder
    from tgqformer.evaluation.ranks import Scorer
    from tgqformer.evaluation.reference import Precomputed
    from tgqformer.retrieval.scores import Rows

TEXT_ONLY = "text only (frozen)"
CONCATENATION = "photo + text (frozen)"
FOLDERS = {
    TEXT_ONLY: "text-only",
    CONCATENATION: "frozen",
    "popularity": "popularity",
    "item-to-item cosine": "item-cosine",
    "EASE": "ease",
}
"""Where `evaluate --out` keeps the figures of each."""
UNASKED_EASE = 5_000  # items: more take minutes, and are only inverted where they are asked for
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


def collaborative_points(
    catalog: Catalog,
    split: str,
    log_path: Path | None,
    *,
    user: str,
    item: str,
    time: str,
    wanted: bool | None,
) -> tuple[list[Scorer], Rows | None]:
    """Return popularity, item-to-item cosine and EASE, and how often each item was seen.

    Args:
        wanted: None takes them where the split has warm queries, and tells on stderr if EASE is
            left out for its size.

    Raises:
        CatalogError: there is nothing to learn from.
        ConfigError: EASE is asked for, and too many items were seen.
    """
    import numpy as np

    from tgqformer.cli.options import engagement_line, engagement_of
    from tgqformer.errors import ConfigError
    from tgqformer.evaluation.collaborative import REFERENCES
    from tgqformer.evaluation.evaluate import training_partners

    if split == "train":
        if wanted or log_path is not None:
            raise ConfigError(
                "split is 'train', but the collaborative references have learned its pairs; ask "
                "for val or test."
            )
        return [], None
    if wanted is None and log_path is None:
        queries = np.unique(catalog.pair_indices(split)[0])
        if not training_partners(catalog)[queries].any():
            return [], None
    engagement = engagement_of(catalog, log_path, user=user, item=item, time=time)
    click.echo(engagement_line(engagement, catalog, split), err=True)
    names, items = list(REFERENCES), int((engagement.counts > 0).sum())
    if wanted is None and items > UNASKED_EASE:
        names.remove("ease")
        click.echo(f"EASE of {items:,} items is left out; --collaborative asks for it", err=True)
    return [REFERENCES[name](engagement) for name in names], engagement.seen
