"""POST /v1/embeddings, in the shape of OpenAI's, so that clients which exist can be used."""

from __future__ import annotations

import base64

import numpy as np
from fastapi import APIRouter, Request

from tgqformer.catalog.items import Item
from tgqformer.retrieval.quantize import truncate
from tgqformer.service.answers import EmbeddingObject, EmbeddingsAnswer
from tgqformer.service.context import Service, service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import input_item
from tgqformer.service.schemas import EmbeddingsRequest

router = APIRouter(tags=["embeddings"])


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
async def embeddings(body: EmbeddingsRequest, request: Request) -> EmbeddingsAnswer:
    """Unit vectors of strings (titles), items, or content parts with texts and pictures."""
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
    check_batch(len(inputs), service, "input")

    def read() -> list[Item]:
        return [
            input_item(told, service.pictures, f"input.{row}") for row, told in enumerate(inputs)
        ]

    items = await service.aside(read)
    vectors = truncate(np.stack(await service.embed(model, items)), dims)
    data = [
        EmbeddingObject(
            index=row,
            embedding=base64.b64encode(vector.astype("<f4").tobytes()).decode()
            if body.encoding_format == "base64"
            else vector.tolist(),
        )
        for row, vector in enumerate(vectors)
    ]
    return EmbeddingsAnswer(data=data, model=model.name)


def check_batch(size: int, service: Service, param: str) -> None:
    """Raise ApiError (413) where a request holds too many items."""
    if size > service.config.max_batch:
        raise ApiError(
            413,
            f"the request holds {size} items, more than the {service.config.max_batch} allowed; "
            "send them in parts.",
            param=param,
        )
