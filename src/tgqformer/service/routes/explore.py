"""What the page asks beside searches: why, a map of the catalog, and photos under corruption."""

from __future__ import annotations

import asyncio
import base64
import math
from io import BytesIO
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from PIL import Image

from tgqformer.catalog.items import Item
from tgqformer.corruption import (
    CLUTTER,
    CORRUPTIONS,
    OVERLAYS,
    UNSEEN_CLUTTER,
    UNSEEN_OVERLAYS,
    corrupt,
)
from tgqformer.errors import ImageError
from tgqformer.service.context import Service, service_of
from tgqformer.service.explanation import Explanation
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import item_of, jpeg, thumbnail
from tgqformer.service.routes.items import stored
from tgqformer.service.schemas import (
    CorruptAnswer,
    Corruptions,
    CorruptRequest,
    ExplainAnswer,
    ExplainRequest,
    Gate,
    Heatmap,
    ItemFields,
    MapAnswer,
    MapPoint,
    Word,
)
from tgqformer.service.served import Served

router = APIRouter()

_MAP_LOOKS, _MAP_WAIT = 60, 0.05  # seconds: a first map is mostly there within the same request
_MAP_TITLE = 80  # characters of a title on the map, of which there are thousands


@router.post("/v1/explain", response_model=ExplainAnswer, tags=["explanations"])
async def explain(body: ExplainRequest, request: Request) -> ExplainAnswer:
    """Why an item's embedding is what it is; with another item, how their similarity comes about.

    409 where the model cannot explain itself.
    """
    service = service_of(request)
    model = service.model(body.model)
    if model.explainer is None:
        raise ApiError(
            409, f"{model.name} cannot explain itself; ask another model.", code="no_explainer"
        )
    item = await _item(service, model, body.id, body.item, "item")
    assert item is not None
    other = await _item(service, model, body.other_id, body.other, "other")
    return _answer_of(await service.explain(model, item, other), model.name)


def _answer_of(said: Explanation, model: str) -> ExplainAnswer:
    """An explanation as JSON can hold it: rounded, and without NaN."""
    return ExplainAnswer(
        heatmaps={
            name: Heatmap(
                rows=one.values.shape[0],
                columns=one.values.shape[1],
                values=np.nan_to_num(one.values.astype(np.float64)).round(6).tolist(),
                seen=_finite(one.seen),
                window=[_finite(edge) for edge in one.window],
            )
            for name, one in said.heatmaps.items()
        },
        gates={
            name: Gate(mean=_finite(gate.mean), values=[_finite(v) for v in gate.values])
            for name, gate in said.gates.items()
        },
        agreement=None if said.agreement is None else _finite(said.agreement),
        words=[Word(text=text, weight=_finite(weight)) for text, weight in said.words],
        similarity=None if said.similarity is None else _finite(said.similarity),
        shares={name: _finite(share) for name, share in said.shares.items()},
        notes=list(said.notes),
        model=model,
    )


def _finite(value: float) -> float:
    return round(float(value), 6) if math.isfinite(value) else 0.0


async def _item(
    service: Service, model: Served, item_id: str | None, told: ItemFields | None, param: str
) -> Item | None:
    if item_id is not None:
        return await service.aside(stored, model, item_id)
    if told is not None:
        return await service.aside(item_of, told, service.pictures, param)
    return None


@router.get("/v1/map", response_model=MapAnswer, tags=["page"])
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


@router.get("/v1/corruptions", response_model=Corruptions, tags=["page"])
async def corruptions() -> Corruptions:
    """The kinds of corruption, those that training may use first."""
    return Corruptions(overlays=[*OVERLAYS, *UNSEEN_OVERLAYS], clutter=[*CLUTTER, *UNSEEN_CLUTTER])


@router.post("/v1/corrupt", response_model=CorruptAnswer, tags=["page"])
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
