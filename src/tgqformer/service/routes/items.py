"""/v1/items: what is stored, one by one and in batches. What is answered is on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import Response

from tgqformer.catalog.items import Item
from tgqformer.errors import ImageError
from tgqformer.retrieval.protocols import Filter, Record, stock_of
from tgqformer.service.context import Service, service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import (
    STORED,
    check_batch,
    check_id,
    checked,
    each_alone,
    item_of,
    merged,
    metadata_of,
    refuse_if_all_failed,
    thumbnail,
)
from tgqformer.service.schemas import (
    MAX_ID,
    Deleted,
    ItemAnswer,
    ItemList,
    ItemPatch,
    ItemsAnswer,
    ItemsRequest,
    ItemStatus,
    Listed,
    StoredItem,
)
from tgqformer.service.served import Change, Served, details_of

router = APIRouter(tags=["items"])

ItemId = Annotated[str, Path(min_length=1, max_length=MAX_ID, description="May hold slashes.")]
Model = Annotated[str | None, Query(max_length=200, description="The first one where left out.")]
_PATCHED_WITHOUT_EMBEDDING = {"price", "in_stock"}
_LISTED = 1000
_TRIES = 3  # to change what another process changes, too


@router.post("/v1/items", response_model=ItemsAnswer, response_model_exclude_none=True)
async def upsert(body: ItemsRequest, request: Request) -> ItemsAnswer:
    """Insert items, or replace those of the same id, each whole; one status for each.

    One that cannot be used fails alone, and its status tells which field and why; where none can be
    used the answer is 422. Where an id comes twice, the last counts.
    """
    service = service_of(request)
    model = service.model(body.model)
    check_batch(len(body.items), service.config, "items")
    statuses: list[ItemStatus | None] = [None] * len(body.items)
    read = await service.aside(_read, body.items, service)
    refuse_if_all_failed(read)
    sound = [(row, item) for row, item in enumerate(read) if isinstance(item, Item)]
    for row, fault in enumerate(read):
        if isinstance(fault, ApiError):
            name = _id_of(body.items[row])
            statuses[row] = ItemStatus(id=name, status="failed", error=fault.told())
    vectors = await service.embed(model, [item for _, item in sound])
    changes = []
    for (row, item), vector in zip(sound, vectors):
        photos = [photo for photo in item.images if isinstance(photo, bytes)]
        details = details_of(dict(item.attributes), photos)
        known = metadata_of(item, body.items[row].in_stock, stock_of(item.attributes))
        changes.append(Change(item.item_id, Record(vector, known, details)))
    async with service.changing(model, [change.item_id for change in changes]):
        before = await service.write(model, changes)
    for (row, item), there in zip(sound, before):
        statuses[row] = ItemStatus(id=item.item_id, status="updated" if there else "created")
    told = [status for status in statuses if status is not None]
    return ItemsAnswer(
        items=told, failed=sum(status.status == "failed" for status in told), model=model.name
    )


@router.get("/v1/items", response_model=ItemList)
async def browse(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=_LISTED)] = 50,
    offset: Annotated[int, Query(ge=0, le=10**12)] = 0,
    category: Annotated[Sequence[str], Query(max_length=100)] = (),
    brand: Annotated[Sequence[str], Query(max_length=100)] = (),
    min_price: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    max_price: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    in_stock: Annotated[bool | None, Query()] = None,
    model: Model = None,
) -> ItemList:
    """Stored items in the order of their ids, perhaps those alone that pass filters."""
    service = service_of(request)
    served = service.model(model)
    where = Filter(tuple(category), tuple(brand), min_price, max_price, in_stock)

    def read() -> ItemList:
        ids, total = served.index.listed(where, offset, limit)
        known = served.index.metadata(ids)
        listed = [
            Listed(
                id=name,
                title=known[name].title,
                brand=known[name].brand,
                category=known[name].category,
                price=known[name].price,
                in_stock=known[name].in_stock,
            )
            for name in ids
            if name in known
        ]
        return ItemList(items=listed, total=total, model=served.name)

    return await service.aside(read)


@router.get(
    "/v1/items/{item_id:path}/photo",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "The photo as JPEG."}},
)
async def photo(
    item_id: ItemId,
    request: Request,
    size: Annotated[int, Query(ge=16, le=2048, description="Longer side, at most.")] = 384,
    n: Annotated[int, Query(ge=0, le=1000, description="Which photo, from 0.")] = 0,
    model: Model = None,
) -> Response:
    """An item's photo, scaled down."""
    service = service_of(request)
    served = service.model(model)

    def read() -> bytes:
        images = stored(served, item_id).images
        if n >= len(images):
            raise ApiError(404, f"the item has {len(images)} photos, none of them number {n}.")
        try:
            return thumbnail(images[n], size, service.config.max_pixels)[0]
        except ImageError:
            # Its sentence may name a path of this machine.
            raise ApiError(404, "the item's photo cannot be read; upload it again.") from None

    data = await service.aside(read)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


@router.api_route(
    "/v1/items/{item_id:path}/photo", methods=["PATCH", "DELETE"], include_in_schema=False
)
async def photo_is_read_only(item_id: str) -> None:
    """Ids may hold slashes: without this the path would be an item's whose id ends in /photo."""
    raise HTTPException(405)


@router.get("/v1/items/{item_id:path}", response_model=ItemAnswer, response_model_exclude_none=True)
async def read_item(
    item_id: ItemId,
    request: Request,
    vector: Annotated[bool, Query(description="Tell its vector too.")] = False,
    model: Model = None,
) -> ItemAnswer:
    """What is stored of an item."""
    service = service_of(request)
    served = service.model(model)

    def read() -> ItemAnswer:
        known = served.index.metadata([item_id]).get(item_id)
        if known is None:
            raise absent(item_id)
        attributes, images = served.details(item_id) or ({}, ())
        told = served.index.records([item_id]).get(item_id) if vector else None
        if vector and told is None:
            raise absent(item_id)
        return ItemAnswer(
            id=item_id,
            title=known.title,
            brand=known.brand,
            category=known.category,
            price=known.price,
            in_stock=known.in_stock,
            attributes=attributes,
            photos=len(images),
            vector=None if told is None else told.vector.tolist(),
            model=served.name,
        )

    return await service.aside(read)


@router.patch(
    "/v1/items/{item_id:path}", response_model=ItemAnswer, response_model_exclude_none=True
)
async def patch(item_id: ItemId, body: ItemPatch, request: Request) -> ItemAnswer:
    """Change fields of an item; it is embedded again unless only price and stock change."""
    service = service_of(request)
    served = service.model(body.model)
    async with service.changing(served, [item_id]):  # or of two at once one would be lost
        for _ in range(_TRIES):
            change = await _patched(service, served, item_id, body)
            (there,) = await service.write(served, [change])
            if there is not None:
                break
        else:
            raise ApiError(
                409,
                "another process changes this item again and again; send it once more.",
                code="item_changed",
            )
    if not there:
        raise absent(item_id)
    return await read_item(item_id, request, False, served.name)


@router.delete("/v1/items/{item_id:path}", response_model=Deleted)
async def delete(item_id: ItemId, request: Request, model: Model = None) -> Deleted:
    """Remove an item."""
    service = service_of(request)
    served = service.model(model)
    async with service.changing(served, [item_id]):
        there = await service.write(served, [Change(item_id)])
    if not there[0]:
        raise absent(item_id)
    return Deleted(id=item_id, model=served.name)


def stored(model: Served, item_id: str) -> Item:
    """A stored item; ApiError (404) where it is not."""
    item = model.item(item_id)
    if item is None:
        raise absent(item_id)
    return item


def absent(item_id: str) -> ApiError:
    """The answer for an id that is not stored."""
    return ApiError(404, f"no item {item_id[:100]!r} is stored; check the id.", param="id")


def _read(told: list[StoredItem | Any], service: Service) -> list[Item | ApiError]:
    def one(row: int) -> Item:
        param = f"items.{row}"
        entry = checked(told[row], STORED, param)
        check_id(entry.id, f"{param}.id")
        return item_of(entry, service.pictures, param, entry.id)

    return each_alone(one, len(told))


def _id_of(told: StoredItem | Any) -> str | None:
    found = told.get("id") if isinstance(told, dict) else getattr(told, "id", None)
    if not isinstance(found, str):
        return None
    return found[:MAX_ID].encode("utf-8", "replace").decode()  # a half UTF-16 pair is no answer's


async def _patched(service: Service, model: Served, item_id: str, body: ItemPatch) -> Change:
    changes = {name: getattr(body, name) for name in body.model_fields_set - {"model"}}
    if changes.keys() <= _PATCHED_WITHOUT_EMBEDDING:
        return Change(item_id, fields=changes)

    def read() -> tuple[Item, bool, Record]:
        before = model.index.records([item_id]).get(item_id)
        if before is None:
            raise absent(item_id)
        return stored(model, item_id), model.details(item_id) is not None, before

    item, whole, before = await service.aside(read)
    if not whole and not {"attributes", "images"} <= set(changes):
        raise ApiError(
            409,
            "photos and attributes of this item are not known here, so it cannot be embedded "
            "again; send it whole with POST /v1/items.",
            code="item_incomplete",
        )
    photos: tuple[bytes, ...] | None = None
    if "images" in changes:
        told = list(changes.pop("images") or [])
        photos = await service.aside(service.pictures.read_all, told, "images")
    item = merged(item, changes, photos)
    if "in_stock" in changes:
        known = metadata_of(item, changes["in_stock"])
    elif "attributes" in changes:
        known = metadata_of(item, stock_of(item.attributes), before.metadata.in_stock)
    else:
        known = metadata_of(item, before.metadata.in_stock)
    vector = (await service.embed(model, [item]))[0]
    kept = await service.aside(_bytes, item)
    details = details_of(dict(item.attributes), kept)
    return Change(item_id, Record(vector, known, details), must_exist=True, read=before)


def _bytes(item: Item) -> list[bytes]:
    from tgqformer.catalog.images import read_image_bytes

    return [read_image_bytes(photo) for photo in item.images]
