"""POST /v1/similar and /v1/embeddings: neighbours of an item, and vectors.

Neighbours are those of stored items, of an item that is told, or of a vector. Embeddings have the
shape of OpenAI's, so that clients which exist can be used.
"""

from __future__ import annotations

import base64
from typing import Literal

import numpy as np
from fastapi import APIRouter, Request

from tgqformer.catalog.items import Item
from tgqformer.retrieval.protocols import Metadata
from tgqformer.retrieval.scores import Vectors, truncate
from tgqformer.service.context import Service, service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import (
    check_batch,
    each_alone,
    filter_of,
    input_item,
    item_of,
    refuse_if_all_failed,
)
from tgqformer.service.schemas import (
    EmbeddingObject,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    Hit,
    Known,
    SimilarAnswer,
    SimilarRequest,
)
from tgqformer.service.served import Query, Served

router = APIRouter()


@router.post(
    "/v1/similar",
    response_model=SimilarAnswer,
    response_model_exclude_none=True,
    tags=["search"],
)
async def similar(body: SimilarRequest, request: Request) -> SimilarAnswer:
    """The k nearest items to `id`, to a weighted sum of `ids`, to `item` or to `vector`.

    Ids that are not stored are named in `unknown` and are no error; where none is left, there are
    no results. With `blend` the neighbours of `id` by co-engagement and content lead, and each one
    tells its `source`.
    """
    service = service_of(request)
    model = service.model(body.model)
    found = await service.search(model, await _query_of(body, service, model))
    if found.neighbours is None:
        raise ApiError(
            422, "the weights of ids add up to no direction; change one of them.", param="ids"
        )
    known: dict[str, Metadata] = {}
    if body.metadata and found.neighbours:
        known = await service.aside(model.index.metadata, [n.item_id for n in found.neighbours])
    hits = []
    for n in found.neighbours:
        told = _known(known.get(n.item_id))
        source = _source(n.item_id in found.blended) if body.blend else None
        hits.append(Hit(id=n.item_id, score=n.score, source=source, metadata=told))
    return SimilarAnswer(results=hits, weight=found.weight, unknown=found.unknown, model=model.name)


async def _query_of(body: SimilarRequest, service: Service, model: Served) -> Query:
    """The search that a request asks for; an item is embedded."""
    if body.k > service.config.max_k:
        raise ApiError(422, f"k is {body.k}, but may be at most {service.config.max_k}.", param="k")
    where, exclude = filter_of(body.filter), body.exclude_self
    if body.blend and body.id is None:
        raise ApiError(
            422, "blend goes with id, an item with a history; leave it out.", param="blend"
        )
    if body.blend and model.blend is None:
        raise ApiError(
            409,
            f"{model.name} is served without a blended table; leave blend out, or start the "
            "service with --blend.",
            param="blend",
            code="no_blend",
        )
    if body.id is not None:
        ids = ((body.id, 1.0),)
        return Query(body.k, ids=ids, where=where, exclude_self=exclude, blend=body.blend)
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


def _source(blended: bool) -> Literal["blend", "content"]:
    return "blend" if blended else "content"


def _known(known: Metadata | None) -> Known | None:
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


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer, tags=["embeddings"])
async def embeddings(body: EmbeddingsRequest, request: Request) -> EmbeddingsAnswer:
    """Unit vectors of strings (titles), items, or content parts with texts and pictures.

    There is one entry for each input, in order. An input that cannot be used spoils no other: its
    entry has an `error`, and null for an embedding. Where none can be used the answer is 422.
    """
    service = service_of(request)
    model = service.model(body.model)
    dims = model.index.dims if body.dimensions is None else body.dimensions
    if dims > model.index.dims:
        raise ApiError(
            422,
            f"dimensions is {dims}, but {model.name} has {model.index.dims}.",
            param="dimensions",
        )
    inputs = [body.input] if isinstance(body.input, str) else body.input
    check_batch(len(inputs), service.config, "input")

    def read() -> list[Item | ApiError]:
        return each_alone(
            lambda row: input_item(inputs[row], service.pictures, f"input.{row}"), len(inputs)
        )

    items = await service.aside(read)
    refuse_if_all_failed(items)
    sound = [item for item in items if isinstance(item, Item)]
    vectors = iter(truncate(np.stack(await service.embed(model, sound)), dims))
    data = [
        EmbeddingObject(index=row, embedding=None, error=item.told())
        if isinstance(item, ApiError)
        else EmbeddingObject(
            index=row, embedding=_encoded(next(vectors), body.encoding_format), error=None
        )
        for row, item in enumerate(items)
    ]
    return EmbeddingsAnswer(data=data, model=model.name, failed=len(items) - len(sound))


def _encoded(vector: Vectors, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
