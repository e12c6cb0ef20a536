"""How much of two items' similarity comes from their photos, and how much from their metadata.

Hide a part of one item, embed it again, and see how far it moves away from the other item. The two
parts interact, so hiding them one after the other gives another answer in each order; the mean of
both orders is the Shapley value (Shapley, 1953; Lundberg & Lee, arXiv 1705.07874), the only
division that adds up and treats both alike. With v(S) the cosine where only S is shown of one item,
averaged over which of the two items that is:

    image = (v(image) - v() + v(both) - v(text)) / 2,   text likewise
    v(both) = v() + image + text

It is a statement about this model and these two items. It is no cause in the world; an item with a
part hidden is one the model has seldom seen, if ever; and a part may count against the pair (below
zero). v() is the cosine with an item of which nothing is known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tgqformer.catalog.items import Item

if TYPE_CHECKING:
    from tgqformer.catalog.protocols import Embedder


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


def without_photo(item: Item) -> Item:
    """The item with its metadata alone."""
    return replace(item, images=())


def without_metadata(item: Item) -> Item:
    """The item with its photos alone."""
    return Item(item.item_id, images=item.images)


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
