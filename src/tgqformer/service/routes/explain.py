"""POST /v1/explain: where a model looks, what its gates say, and what makes two items alike."""

from __future__ import annotations

import math

import numpy as np
from fastapi import APIRouter, Request

from tgqformer.catalog.items import Item
from tgqformer.service.context import Service, service_of
from tgqformer.service.explanation import Explanation
from tgqformer.service.failures import ApiError
from tgqformer.service.incoming import item_of
from tgqformer.service.routes.items import stored
from tgqformer.service.schemas import ExplainAnswer, ExplainRequest, Gate, Heatmap, ItemFields, Word
from tgqformer.service.served import Served

router = APIRouter(tags=["explanations"])


@router.post("/v1/explain", response_model=ExplainAnswer)
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
    return answer_of(await service.explain(model, item, other), model.name)


def answer_of(said: Explanation, model: str) -> ExplainAnswer:
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
