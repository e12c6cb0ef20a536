"""Other metadata than an item's own, for the connector alone or for the backbone too.

Where a connector that is guided by wrong or poorer metadata finds as much as before, the guidance
does not guide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tgqformer.catalog.items import Item
from tgqformer.catalog.text import TEXT_FIELDS, item_text
from tgqformer.embedder.item_embedder import ItemEmbedder
from tgqformer.embedder.model import ItemBatch

SEED = 5


@dataclass(frozen=True)
class Metadata:
    """What takes the place of the items' own metadata.

    Attributes:
        label: as tables show it.
        fields: of which the text is made; none of them is no metadata at all.
        shuffle: each item that has a text is given another one's.
        backbone: the backbone reads it too, not only the connector.
        note: one sentence.
    """

    label: str
    fields: tuple[str, ...] = TEXT_FIELDS
    shuffle: bool = False
    backbone: bool = False
    note: str = ""

    def texts(self, items: Sequence[Item]) -> dict[str, str]:
        """Item id to text; the same for the same items in the same order."""
        told = {item.item_id: item_text(item, fields=self.fields) for item in items}
        if self.shuffle:
            known = [item_id for item_id, text in told.items() if text]
            order = np.random.default_rng(SEED).permutation(len(known))
            moved = {known[i]: told[known[j]] for i, j in zip(order, np.roll(order, 1))}
            told |= moved
        return told


class OtherMetadata(ItemEmbedder):
    """An embedder that reads `given` texts; an item whose metadata is hidden stays without.

    Attributes:
        given: item id to text; items that are not in it keep their own.
        backbone: the backbone reads them too.
    """

    def __init__(self, embedder: ItemEmbedder, given: dict[str, str], *, backbone: bool) -> None:
        """The model of `embedder`, shared with it; `given` is encoded at once."""
        super().__init__(embedder.config, embedder.features, embedder.model)
        self.given, self.backbone, self.facts = given, backbone, embedder.facts
        self.features.fill([], texts=sorted(set(given.values())))

    def connector_text(self, item: Item, text: str) -> str:
        """The item's given text; "" where its metadata is hidden."""
        return self.given.get(item.item_id, text) if text else ""

    def batch(
        self,
        items: Sequence[Item],
        *,
        texts: Sequence[str] | None = None,
        prompt_texts: Sequence[str] | None = None,
    ) -> ItemBatch:
        """As `ItemEmbedder.batch`; the backbone too reads the given texts, if it is to."""
        texts = [self.text(item) for item in items] if texts is None else texts
        prompts = texts if prompt_texts is None else prompt_texts
        if self.backbone:
            prompts = [self.connector_text(i, text) for i, text in zip(items, prompts, strict=True)]
        return super().batch(items, texts=texts, prompt_texts=prompts)


def builder(metadata: Metadata | None, items: Sequence[Item]) -> Callable[..., ItemEmbedder]:
    """`ItemEmbedder.from_config`, or one that reads other metadata."""
    if metadata is None:
        return ItemEmbedder.from_config
    return partial(_build, metadata, items)


def _build(metadata: Metadata, items: Sequence[Item], *args: Any, **options: Any) -> ItemEmbedder:
    embedder = ItemEmbedder.from_config(*args, **options)
    return with_metadata(embedder, metadata, items)


def with_metadata(
    embedder: ItemEmbedder, metadata: Metadata | None, items: Sequence[Item]
) -> ItemEmbedder:
    """`embedder` reading the `metadata` of `items`; itself where there is none."""
    if metadata is None:
        return embedder
    return OtherMetadata(embedder, metadata.texts(items), backbone=metadata.backbone)


SHUFFLED = Metadata(
    "shuffled for the connector",
    shuffle=True,
    note="the connector is guided by another item's metadata; the backbone reads the right one",
)
SHUFFLED_BOTH = Metadata(
    "shuffled for both", shuffle=True, backbone=True, note="connector and backbone are misled"
)
TITLE_ONLY = Metadata(
    "title only for the connector", fields=("title",), note="the backbone reads all"
)
CATEGORY_ONLY = Metadata(
    "category only for the connector", fields=("category",), note="the backbone reads all"
)
NO_METADATA = Metadata(
    "no metadata for the connector", fields=(), note="the backbone reads all of it"
)
CONDITIONS: dict[str, Metadata] = {
    "judged_title": TITLE_ONLY,
    "judged_category": CATEGORY_ONLY,
    "judged_no_metadata": NO_METADATA,
    "judged_shuffled": SHUFFLED,
    "judged_shuffled_both": SHUFFLED_BOTH,
}
