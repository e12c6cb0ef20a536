"""From what a request tells of an item to an `Item` with photos that decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tgqformer.catalog.item_rules import id_fault
from tgqformer.catalog.items import Item
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.service.failures import ApiError
from tgqformer.service.pictures import Pictures
from tgqformer.service.schemas import (
    Conditions,
    Content,
    EmbeddingInput,
    ImagePart,
    ItemFields,
    TextPart,
)

QUERY = "query"
"""The id of items that have none; no model reads it."""


def item_of(told: ItemFields, pictures: Pictures, param: str, item_id: str = QUERY) -> Item:
    """An item as told, its photos read; ApiError (422) where one cannot be used."""
    photos = pictures.read_all(told.images, f"{param}.images" if param else "images")
    return Item(item_id, told.title, told.brand, told.category, told.attributes, told.price, photos)


def metadata_of(item: Item, *in_stock: bool | None) -> Metadata:
    """What the store keeps of an item; its stock is the first known of `in_stock`."""
    stock = next((said for said in in_stock if said is not None), None)
    return Metadata(item.title, item.brand, item.category, item.price, stock)


def input_item(told: EmbeddingInput, pictures: Pictures, param: str) -> Item:
    """One input of POST /v1/embeddings as an item."""
    if isinstance(told, str):
        return Item(QUERY, told)
    if isinstance(told, ItemFields):
        return item_of(told, pictures, param)
    parts: Sequence[TextPart | ImagePart] = told.content if isinstance(told, Content) else told
    title = " ".join(part.text for part in parts if isinstance(part, TextPart))
    urls = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
    return Item(QUERY, title, images=pictures.read_all(urls, param))


def filter_of(told: Conditions | None) -> Filter:
    """The filter that a request asks for."""
    if told is None:
        return Filter()
    return Filter(
        tuple(told.categories), tuple(told.brands), told.min_price, told.max_price, told.in_stock
    )


def check_id(item_id: str, param: str) -> None:
    """Raise ApiError (422) where an id would not be one in a catalog, or in no path."""
    fault = id_fault(item_id)
    if fault is not None:
        raise ApiError(422, f"{fault[1]}.", param=param)
    if item_id.endswith("/photo"):
        raise ApiError(
            422,
            "the id ends in /photo, under which no route could reach the item; rename it.",
            param=param,
        )


def merged(item: Item, changes: Mapping[str, object], photos: tuple[bytes, ...] | None) -> Item:
    """An item with the fields of a patch in place of its own; an explicit null empties a field."""

    def told(name: str, known: object) -> object:
        return changes.get(name, known)

    attributes = told("attributes", item.attributes) or {}
    price = told("price", item.price)
    assert isinstance(attributes, Mapping)
    assert price is None or isinstance(price, (int, float))
    return Item(
        item.item_id,
        str(told("title", item.title) or ""),
        str(told("brand", item.brand) or ""),
        str(told("category", item.category) or ""),
        attributes,
        None if price is None else float(price),
        item.images if photos is None else photos,
    )
