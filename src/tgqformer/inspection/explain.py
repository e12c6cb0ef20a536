"""Why an item is embedded as it is, and why two are found alike, as plain data.

How much of two items' similarity comes from their photos, and how much from their metadata: hide a
part of one item, embed it again, and see how far it moves away from the other item. The two parts
interact, so hiding them one after the other gives another answer in each order; the mean of both
orders is the Shapley value (Shapley, 1953; Lundberg & Lee, arXiv 1705.07874), the only division
that adds up and treats both alike. With v(S) the cosine where only S is shown of one item, averaged
over which of the two items that is:

    image = (v(image) - v() + v(both) - v(text)) / 2,   text likewise
    v(both) = v() + image + text

It is a statement about this model and these two items. It is no cause in the world; an item with a
part hidden is one the model has seldom seen, if ever; and a part may count against the pair (below
zero). v() is the cosine with an item of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from tgqformer.catalog.images import decode_image
from tgqformer.catalog.items import Item
from tgqformer.errors import ImageError
from tgqformer.inspection.heatmap import Heatmap, gate_range, heatmap, layout_of
from tgqformer.towers.hashing import word_spans

if TYPE_CHECKING:
    from PIL import Image

    from tgqformer.catalog.items import Embedder
    from tgqformer.connectors.base import ConnectorOutput
    from tgqformer.embedder import ItemEmbedder

_SEPARATORS = ";:,"


@dataclass(frozen=True)
class Explanation:
    """What a model says of one item, and of a pair where another was named.

    Attributes:
        item: the item.
        text: its metadata as the model reads it.
        photo: the photo that was read, None where there is none that can be.
        heatmaps: by stream, "anchored" and "exploratory" for TGQ-Former, "visual" for a rival;
            empty where there is no photo or the connector has no attention over it.
        words: the words of the metadata by their share in the anchored queries; empty where the
            connector makes none of them, or there is no metadata.
        gates: by stream, [D] what each channel is scaled by, in (0, 2); 1 leaves it as it is.
        agreement: of photo and metadata, a cosine; None where the connector asks for none or the
            item lacks either.
        notes: what is not there, and why.
        contributions: of photo and metadata to the similarity with `other`.
        other: the other item of the pair.
    """

    item: Item
    text: str
    photo: Image.Image | None
    heatmaps: Mapping[str, Heatmap]
    words: Sequence[Word]
    gates: Mapping[str, npt.NDArray[np.float32]]
    agreement: float | None
    notes: Sequence[str]
    contributions: Contributions | None = None
    other: Explanation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON: no photo, and of each gate its mean and middle 80 %."""
        return {
            "item_id": self.item.item_id,
            "text": self.text,
            "heatmaps": {name: one.to_dict() for name, one in self.heatmaps.items()},
            "words": [{"text": w.text, "start": w.start, "weight": w.weight} for w in self.words],
            "gates": {name: gate_range(gate) for name, gate in self.gates.items()},
            "agreement": self.agreement,
            "notes": list(self.notes),
            "contributions": self.contributions.to_dict() if self.contributions else None,
            "other": self.other.to_dict() if self.other else None,
        }


@dataclass(frozen=True)
class Word:
    """A word of an item's text.

    Attributes:
        text: as it stands there, without what separates the fields behind it.
        start: its first character.
        weight: its share of the attention to all words, in [0, 1].
    """

    text: str
    start: int
    weight: float


@dataclass(frozen=True)
class Contributions:
    """A pair's similarity, taken apart: similarity = baseline + image + text.

    Attributes:
        similarity: cosine of the two items.
        baseline: mean cosine of each with an item of which nothing is known.
        image, text: what photo and metadata add to it, below zero where they set the items apart.
        image_only, text_only: the mean cosine where one item shows this part alone.
    """

    similarity: float
    baseline: float
    image: float
    text: float
    image_only: float
    text_only: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def explain(embedder: ItemEmbedder, item: Item, other: Item | None = None) -> Explanation:
    """Ask a model about an item.

    Args:
        embedder: with any connector.
        other: also take the similarity of the two apart, and explain this one too.
    """
    items = [item] if other is None else [item, other]
    outputs = connector_output(embedder, items)
    first, *rest = (_explain_one(embedder, one, outputs, row) for row, one in enumerate(items))
    if other is None:
        return first
    return replace(first, contributions=contributions(embedder, item, other), other=rest[0])


def _explain_one(
    embedder: ItemEmbedder, item: Item, output: ConnectorOutput, row: int
) -> Explanation:
    photo, text = photo_of(item), embedder.features.text_of(item)
    heatmaps = heatmaps_of(embedder, item, photo, output, row) if photo else {}
    words: tuple[Word, ...] = ()
    if text and "anchored" in output.text_attention:
        spans = embedder.features.text_tower.spans(text)
        words = read_words(
            text, spans, output.text_attention["anchored"][row].float().cpu().numpy()
        )
    gates = {name: 1 + gate[row].float().cpu().numpy() for name, gate in output.gates.items()}
    agreement = None
    if output.agreement is not None and photo and text:
        agreement = float(output.agreement[row])
    kind = embedder.config.connector.kind
    read = len(embedder.features.photo_spans(item)) if len(item.images) > 1 else 1
    missing = {
        "this item has no photo that can be read, so nothing looks at one": photo is None,
        "this item has no metadata": not text,
        f"the connector {kind!r} has no attention over the photo, so it has no heatmap": (
            photo is not None and not output.attention
        ),
        "the tower's tokens are no grid, so they cannot be laid over the photo": (
            photo is not None and bool(output.attention) and not heatmaps
        ),
        f"the connector {kind!r} has no anchored queries, so no words are shown": (
            bool(text) and "anchored" not in output.text_attention
        ),
        "this model has no gates": not gates,
        f"{read} photos are read together, and the heatmap is of the first": (
            read > 1 and bool(heatmaps)
        ),
    }
    notes = [f"{note[0].upper()}{note[1:]}." for note, there in missing.items() if there]
    return Explanation(item, text, photo, heatmaps, words, gates, agreement, notes)


def connector_output(embedder: ItemEmbedder, items: Sequence[Item]) -> ConnectorOutput:
    """What the connector says of a few items, attention included, on the CPU's side of a call."""
    embedder.model.eval()
    towers = embedder.features.batch(items).to(embedder.device)
    with torch.inference_mode():
        return embedder.model.connect(towers, return_attention=True)


def photo_of(item: Item, *, size_hint: int | None = None) -> Image.Image | None:
    """The first photo that can be read, which is the one that is shown.

    Args:
        size_hint: see `catalog.images.decode_image`.
    """
    for ref in item.images:
        try:
            return decode_image(ref, size_hint=size_hint)
        except ImageError:
            continue
    return None


def heatmaps_of(
    embedder: ItemEmbedder, item: Item, photo: Image.Image, output: ConnectorOutput, row: int
) -> dict[str, Heatmap]:
    """The map of each stream over an item's first photo; none where the tokens are no grid.

    Args:
        photo: what `photo_of` says of the item.
        row: the item's place in the batch that `output` is of.
    """
    start = 0
    if len(item.images) > 1:
        spans = embedder.features.photo_spans(item)
        start = min(((item.images.index(ref), first) for ref, first, _ in spans), default=(0, 0))[1]
    found = {}
    for name, attention in output.attention.items():
        own = attention[row, :, start:]
        layout = layout_of(embedder.features.image_tower, photo, own.shape[-1])
        if layout is not None:
            found[name] = heatmap(own.float().cpu().numpy(), layout)
    return found


def read_words(
    text: str, spans: Sequence[tuple[int, int]], attention: npt.NDArray[Any]
) -> tuple[Word, ...]:
    """Sum the attention to tokens over the words that they are part of, in the text's order.

    Special tokens, the null token and what the text tower cut off count for no word.

    Args:
        text: the metadata.
        spans: of its tokens, see `TextTower.spans`; none where the tower cannot tell.
        attention: [Q, T] over the tokens.

    Returns:
        Words whose weights sum to 1; empty where no token belongs to one.
    """
    words = word_spans(text)
    if not words or not spans:
        return ()
    starts = np.array([start for start, _ in words])
    sums = np.zeros(len(words))
    for (start, stop), weight in zip(spans, attention.mean(axis=0)):
        if start < stop:
            # a tokenizer may count the space before a word to it
            sums[np.searchsorted(starts, stop - 1, side="right") - 1] += weight
    total = sums.sum()
    if not total > 0:
        return ()
    return tuple(
        Word(text[start:stop].rstrip(_SEPARATORS) or text[start:stop], start, float(weight))
        for (start, stop), weight in zip(words, sums / total)
    )


def contributions(embedder: Embedder, item: Item, other: Item) -> Contributions:
    """Take a pair's similarity apart; eight embeddings."""
    views = [
        view
        for one in (item, other)
        for view in (one, without_metadata(one), without_photo(one), Item(one.item_id))
    ]
    vectors = embedder.encode(views).astype(np.float64)
    a, b = vectors[:4], vectors[4:]  # both, image, text, nothing
    values = (a @ b[0] + b @ a[0]) / 2
    both, image, text, nothing = (float(value) for value in values)
    return Contributions(
        similarity=both,
        baseline=nothing,
        image=(image - nothing + both - text) / 2,
        text=(text - nothing + both - image) / 2,
        image_only=image,
        text_only=text,
    )


def without_photo(item: Item) -> Item:
    """The item with its metadata alone."""
    return replace(item, images=())


def without_metadata(item: Item) -> Item:
    """The item with its photos alone."""
    return Item(item.item_id, images=item.images)
