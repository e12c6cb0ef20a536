"""POST /v1/embeddings, in the shape of OpenAI's, so that clients which exist can be used."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import numpy as np
from fastapi import APIRouter, Request

from tgqformer.catalog.items import Item
from tgqformer.retrieval.scores import Vectors, truncate
from tgqformer.service.context import Service, service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import input_item
from tgqformer.service.schemas import EmbeddingObject, EmbeddingsAnswer, EmbeddingsRequest

router = APIRouter(tags=["embeddings"])


@router.post("/v1/embeddings", response_model=EmbeddingsAnswer)
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
    check_batch(len(inputs), service, "input")

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


def check_batch(size: int, service: Service, param: str) -> None:
    """Raise ApiError (413) where a request holds too many items."""
    if size > service.config.max_batch:
        raise ApiError(
            413,
            f"the request holds {size} items, more than the {service.config.max_batch} allowed; "
            "send them in parts.",
            param=param,
        )
