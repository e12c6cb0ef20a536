"""POST /v1/similar: neighbours of stored items, of an item that is told, or of a vector."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request

from tgqformer.retrieval.protocols import Metadata
from tgqformer.service.context import Service, service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import filter_of, item_of
from tgqformer.service.schemas import Hit, Known, SimilarAnswer, SimilarRequest
from tgqformer.service.served import Query, Served

router = APIRouter(tags=["search"])


@router.post("/v1/similar", response_model=SimilarAnswer, response_model_exclude_none=True)
async def similar(body: SimilarRequest, request: Request) -> SimilarAnswer:
    """The k nearest items to `id`, to a weighted sum of `ids`, to `item` or to `vector`.

    Ids that are not stored are named in `unknown` and are no error; where none is left, there are
    no results.
    """
    service = service_of(request)
    model = service.model(body.model)
    found = await service.search(model, await query_of(body, service, model))
    if found.neighbours is None:
        raise ApiError(
            422, "the weights of ids add up to no direction; change one of them.", param="ids"
        )
    known: dict[str, Metadata] = {}
    if body.metadata and found.neighbours:
        known = await service.aside(model.index.metadata, [n.item_id for n in found.neighbours])
    hits = [
        Hit(id=n.item_id, score=n.score, metadata=told(known.get(n.item_id)))
        for n in found.neighbours
    ]
    return SimilarAnswer(results=hits, unknown=found.unknown, model=model.name)


async def query_of(body: SimilarRequest, service: Service, model: Served) -> Query:
    """The search that a request asks for; an item is embedded."""
    if body.k > service.config.max_k:
        raise ApiError(422, f"k is {body.k}, but may be at most {service.config.max_k}.", param="k")
    where, exclude = filter_of(body.filter), body.exclude_self
    if body.id is not None:
        return Query(body.k, ids=((body.id, 1.0),), where=where, exclude_self=exclude)
    if body.ids is not None:
        weights: dict[str, float] = {}
        for entry in body.ids:
            name, weight = (entry, 1.0) if isinstance(entry, str) else (entry.id, entry.weight)
            weights[name] = weights.get(name, 0.0) + weight
        return Query(body.k, ids=tuple(weights.items()), where=where, exclude_self=exclude)
    if body.item is not None:
        item = await service.aside(item_of, body.item, service.pictures, "item")
        vector = (await service.embed(model, [item]))[0]
        return Query(body.k, vector=vector, where=where)
    vector = np.array(body.vector, dtype=np.float64)
    if len(vector) != model.index.dims:
        raise ApiError(
            422,
            f"the vector has {len(vector)} dimensions, but {model.name} has {model.index.dims}.",
            param="vector",
        )
    if np.abs(vector).max() > 1e6:
        raise ApiError(
            422, "a value of the vector is over 1e6; scale it to length 1.", param="vector"
        )
    length = float(np.linalg.norm(vector))
    if length < 1e-30:
        raise ApiError(
            422, "the vector is zero and points nowhere; send an embedding.", param="vector"
        )
    return Query(body.k, vector=(vector / length).astype(np.float32), where=where)


def told(known: Metadata | None) -> Known | None:
    """Metadata as answers have it."""
    if known is None:
        return None
    return Known(
        title=known.title,
        brand=known.brand,
        category=known.category,
        price=known.price,
        in_stock=known.in_stock,
    )
