"""What the page asks beside searches: a map of the catalog, and photos under corruption."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from PIL import Image

from tgqformer.corruption import (
    CLUTTER,
    CORRUPTIONS,
    OVERLAYS,
    UNSEEN_CLUTTER,
    UNSEEN_OVERLAYS,
    corrupt,
)
from tgqformer.errors import ImageError
from tgqformer.service.context import service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import jpeg, thumbnail
from tgqformer.service.routes.items import stored
from tgqformer.service.schemas import (
    CorruptAnswer,
    Corruptions,
    CorruptRequest,
    MapAnswer,
    MapPoint,
)

router = APIRouter(tags=["page"])

_MAP_LOOKS, _MAP_WAIT = 60, 0.05  # seconds: a first map is mostly there within the same request
_MAP_TITLE = 80  # characters of a title on the map, of which there are thousands


@router.get("/v1/map", response_model=MapAnswer)
async def catalog_map(
    request: Request,
    response: Response,
    model: Annotated[str | None, Query(max_length=200)] = None,
) -> MapAnswer:
    """A sample of the catalog in two dimensions; 503 with Retry-After while it is drawn."""
    service = service_of(request)
    served = service.model(model)
    made = service.maps[served.name].current()
    for _ in range(_MAP_LOOKS):
        if made is not None:
            break
        await asyncio.sleep(_MAP_WAIT)
        made = service.maps[served.name].current()
    if made is None:
        raise ApiError(503, "the map is being drawn; ask again.", headers={"Retry-After": "1"})

    def read() -> MapAnswer:
        known = served.index.metadata(made.ids)
        points = [
            MapPoint(
                id=name,
                x=float(x),
                y=float(y),
                title=known[name].title[:_MAP_TITLE],
                category=known[name].category,
            )
            for name, (x, y) in zip(made.ids, made.points.round(4))
            if name in known
        ]
        explained = [round(share, 4) for share in made.explained]
        return MapAnswer(points=points, total=made.total, explained=explained, model=served.name)

    return await service.aside(read)


@router.get("/v1/corruptions", response_model=Corruptions)
async def corruptions() -> Corruptions:
    """The kinds of corruption, those that training may use first."""
    return Corruptions(overlays=[*OVERLAYS, *UNSEEN_OVERLAYS], clutter=[*CLUTTER, *UNSEEN_CLUTTER])


@router.post("/v1/corrupt", response_model=CorruptAnswer)
async def corrupted(body: CorruptRequest, request: Request) -> CorruptAnswer:
    """Lay a promotional overlay or clutter over a photo; the same seed gives the same picture."""
    service = service_of(request)
    served = service.model(body.model)
    if body.kind not in CORRUPTIONS:
        raise ApiError(
            422,
            f"corruption {body.kind!r} is unknown; choose one of: {', '.join(CORRUPTIONS)}.",
            param="kind",
        )

    def read() -> CorruptAnswer:
        try:
            if body.image is not None:
                source = service.pictures.read(body.image, "image")
            else:
                images = stored(served, str(body.id)).images
                if not images:
                    raise ApiError(404, "the item has no photo; choose another.", param="id")
                source = images[0]  # type: ignore[assignment]
            small = thumbnail(source, body.size, service.config.max_pixels)[0]
        except ImageError:
            raise ApiError(404, "the item's photo cannot be read; upload it again.") from None
        rng = np.random.default_rng(body.seed)
        image = corrupt(Image.open(BytesIO(small)), body.kind, body.severity, rng)
        return CorruptAnswer(
            image=base64.b64encode(jpeg(image)).decode(),
            width=image.width,
            height=image.height,
            kind=body.kind,
            severity=body.severity,
        )

    return await service.aside(read)
