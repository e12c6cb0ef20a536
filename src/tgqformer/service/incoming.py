"""From what a request tells of an item to an `Item` with photos that decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tgqformer.catalog.item_rules import id_fault
from tgqformer.catalog.items import Item
from tgqformer.catalog.text import item_text
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.service.failures import ApiError, invalid
from tgqformer.service.pictures import Pictures
from tgqformer.service.schemas import (
    Conditions,
    Content,
    EmbeddingInput,
    ImagePart,
    ItemFields,
    Part,
    StoredItem,
    Text,
    TextPart,
)

_Model = TypeVar("_Model")

QUERY = "query"
"""The id of items that have none; no model reads it."""


def item_of(told: ItemFields, pictures: Pictures, param: str, item_id: str = QUERY) -> Item:
    """An item as told, its photos read; ApiError (422) where one cannot be used, or it is empty."""
    photos = pictures.read_all(told.images, f"{param}.images" if param else "images")
    known = told.title, told.brand, told.category, told.attributes, told.price
    item = Item(item_id, *known, photos)
    check_said(item, param)
    return item


def metadata_of(item: Item, *in_stock: bool | None) -> Metadata:
    """What the store keeps of an item; its stock is the first known of `in_stock`."""
    stock = next((said for said in in_stock if said is not None), None)
    return Metadata(item.title, item.brand, item.category, item.price, stock)


def input_item(told: EmbeddingInput | Any, pictures: Pictures, param: str) -> Item:
    """One input of POST /v1/embeddings as an item; ApiError (422) where it cannot be one."""
    if not isinstance(told, (str, ItemFields, Content, list, dict)):
        raise ApiError(
            422,
            f"{param} is none of what can be embedded; send a title (a text), an item (an object) "
            "or a list of content parts.",
            param=param,
        )
    if isinstance(told, str):
        item = Item(QUERY, checked(told, _TEXT, param))
    elif isinstance(told, ItemFields) or (isinstance(told, dict) and "content" not in told):
        return item_of(checked(told, _ITEM, param), pictures, param)
    else:
        parts = checked(told, _PARTS, param) if isinstance(told, list) else None
        if parts is None:
            parts = checked(told, _CONTENT, param).content
        title = " ".join(part.text for part in parts if isinstance(part, TextPart))
        urls = [part.image_url.url for part in parts if isinstance(part, ImagePart)]
        item = Item(QUERY, title, images=pictures.read_all(urls, param))
    check_said(item, param)
    return item


_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_ITEM: TypeAdapter[ItemFields] = TypeAdapter(ItemFields)
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)
_PARTS: TypeAdapter[list[TextPart | ImagePart]] = TypeAdapter(list[Part])
STORED: TypeAdapter[StoredItem] = TypeAdapter(StoredItem)


def checked(told: Any, kind: TypeAdapter[_Model], param: str) -> _Model:
    """`told` as what it should be.

    Raises:
        ApiError: it is not; the first fault with its place and field (422).
    """
    try:
        return kind.validate_python(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        known = getattr(kind._type, "model_fields", {}) if len(first["loc"]) == 1 else {}
        place = ".".join([param, *map(str, first["loc"])])
        raise ApiError(422, invalid(first, place, list(known)), param=place) from None


def check_said(item: Item, param: str) -> None:
    """Raise ApiError (422) where an item says nothing that a model could read."""
    if not (item.images or item_text(item).strip()):
        raise ApiError(
            422,
            f"{param or 'the item'} has neither text nor photo; send a title, or a photo in "
            "images.",
            param=param or None,
        )


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
