"""From what a request tells of items to `Item`s with photos that decode."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from tgqformer.catalog.fetch import PORTS, DownloadConfig, Fetcher, FetchError, Pace, parse
from tgqformer.catalog.images import decode_image
from tgqformer.catalog.item_rules import id_fault
from tgqformer.catalog.items import ImageRef, Item
from tgqformer.catalog.text import item_text
from tgqformer.errors import ImageError
from tgqformer.retrieval.protocols import Filter, Metadata
from tgqformer.service.config import ServiceConfig
from tgqformer.service.failures import ApiError, fault_of, invalid
from tgqformer.service.failures import told as said
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

_URL_SAFE = str.maketrans("-_", "+/")  # base64's second alphabet
_PATH = re.compile(r"^(file:|[a-zA-Z]:\\|[~./\\])|\.[a-zA-Z0-9]{2,5}$")
_AROUND = " \t\r\n\u00a0\u200b\ufeff"  # what is not seen at the ends of an id
_CHECKED_AT = 64  # pixels: enough to read a file to its end, and quick for a JPEG


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
    fault = _unsupported(told)
    if fault is not None:
        raise ApiError(422, f"{param} is {fault}.", param=param)
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


def _unsupported(told: Any) -> str | None:
    """What an input is that no other reading fits, and what to send; None where one may."""
    if not isinstance(told, (str, ItemFields, Content, list, dict)):
        return (
            f"{said(told)}, which cannot be embedded; send a title (a text), an item (an object) "
            "or a list of content parts"
        )
    if isinstance(told, list) and told:
        if all(isinstance(one, int) and not isinstance(one, bool) for one in told):
            return "a list of token ids, which another model's tokenizer made; send the text itself"
        if all(isinstance(one, str) for one in told):
            return "a list of texts, but one input is one title; send them side by side in input"
    if isinstance(told, dict) and told.get("type") in ("text", "image_url"):
        return "a content part alone; put the parts of one input into a list"
    return None


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
        first, way, may = fault_of(error.errors(include_url=False), told, [param])
        known = getattr(kind._type, "model_fields", {}) if len(first["loc"]) == 1 else {}
        place = ".".join(way)
        raise ApiError(422, invalid(first, place, list(known), may), param=place) from None


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
    if item_id.strip(_AROUND) != item_id:
        raise ApiError(
            422,
            f"the id {item_id[:60]!r} has blanks around it, which a catalog leaves out; remove "
            "them.",
            param=param,
        )
    if "." in item_id.split("/"):
        raise ApiError(
            422,
            f"the id {item_id[:60]!r} holds the path component '.', which clients leave out of a "
            "URL; rename it.",
            param=param,
        )
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


def each_alone(read: Callable[[int], Item], count: int) -> list[Item | ApiError]:
    """The items of a batch, and in the place of one that cannot be used why not."""
    found: list[Item | ApiError] = []
    for row in range(count):
        try:
            found.append(read(row))
        except ApiError as error:
            found.append(error)
    return found


def refuse_if_all_failed(items: Sequence[Item | ApiError]) -> None:
    """Raise the first item's refusal where no item of a batch can be used."""
    failed = [item for item in items if isinstance(item, ApiError)]
    if len(failed) == len(items):
        raise failed[0]


def check_batch(size: int, config: ServiceConfig, param: str) -> None:
    """Raise ApiError (413) where a request holds too many items."""
    if size > config.max_batch:
        raise ApiError(
            413,
            f"the request holds {size} items, more than the {config.max_batch} allowed; "
            "send them in parts.",
            param=param,
        )


class Pictures:
    """Reads the photos of requests; threads may share it.

    A photo is base64, a data: URL or, where its host is allowed, an http(s) URL. Whatever comes is
    decoded once here, within bounds, so that a broken or huge one is an answer of its own and never
    an item that is quietly embedded without its photo.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._hosts = frozenset(host.lower() for host in config.image_hosts)
        options = DownloadConfig(
            workers=4, rate=1e6, timeout=config.image_timeout, max_bytes=config.max_image_bytes
        )
        self._fetcher = (
            Fetcher(options, Pace(options.rate), redirects=0, proxies=False)
            if self._hosts
            else None
        )

    def read_all(self, told: Sequence[str], param: str) -> tuple[bytes, ...]:
        """The encoded bytes of an item's photos, each of which decodes.

        Raises:
            ApiError: too many, or one of them cannot be used (422).
        """
        if len(told) > self._config.max_images:
            raise ApiError(
                422,
                f"the item has {len(told)} photos, more than the {self._config.max_images} "
                "allowed; send the best.",
                param=param,
            )
        return tuple(self.read(photo, f"{param}.{n}") for n, photo in enumerate(told))

    def read(self, told: str, param: str) -> bytes:
        """The encoded bytes of one photo, which decodes; ApiError (422) where it cannot be used."""
        try:
            data = self._fetch(told) if "://" in told[:16] else _decoded(told)
            decode_image(data, max_pixels=self._config.max_pixels, size_hint=_CHECKED_AT)
        except ImageError as error:
            raise ApiError(422, str(error), param=param, code="bad_image") from None
        return data

    def close(self) -> None:
        """Close connections."""
        if self._fetcher is not None:
            self._fetcher.close()

    def _fetch(self, url: str) -> bytes:
        if self._fetcher is None:
            raise ImageError(
                f"{url[:60]!r} is a URL, and photos are not fetched here; send the picture itself "
                "in base64."
            )
        target = parse(url)
        netloc = target.netloc.rsplit("@", 1)[-1].lower()
        usual = target.port == PORTS[target.scheme]
        if netloc not in self._hosts and not (usual and target.host.lower() in self._hosts):
            reason = f"the host {target.host[:100]!r} is not one that photos are fetched from"
            raise FetchError(url, "host not allowed", reason)
        return self._fetcher.fetch(url)


def thumbnail(ref: ImageRef, size: int, max_pixels: int) -> tuple[bytes, int, int]:
    """A photo as JPEG of at most `size` pixels on the longer side, with its width and height.

    Raises:
        ImageError: it cannot be read.
    """
    image = decode_image(ref, max_pixels=max_pixels, size_hint=size)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return jpeg(image), image.width, image.height


def jpeg(image: Image.Image) -> bytes:
    """An RGB picture as JPEG, with nothing of what a camera or a phone wrote beside it."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def _decoded(told: str) -> bytes:
    text = told = told.strip()
    if told[:5].lower() == "data:":
        head, comma, text = told.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ImageError('a data: URL must be in base64, as in "data:image/jpeg;base64,...".')
    try:
        return base64.b64decode("".join(text.split()).translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError):
        what = f"{told[:60]!r} is"
        if _PATH.search(told[:300]):
            what += " the path of a file, which is not opened here, and"
        raise ImageError(
            f"{what} no base64; send the bytes of the picture in base64, bare or as "
            "data:image/jpeg;base64,..."
        ) from None
