"""What runs the service asks: models, health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tgqformer.service.context import service_of
from tgqformer.service.failures import ApiError
from tgqformer.service.schemas import Health, ModelCard, ModelList

router = APIRouter(tags=["operations"])


@router.get("/v1/models", response_model=ModelList)
async def models(request: Request) -> ModelList:
    """The served models."""
    service = service_of(request)
    cards = []
    for model in service.models.values():
        cards.append(
            ModelCard(
                id=model.name,
                created=model.created,
                dims=model.index.dims,
                items=len(model.index),
                explains=model.explainer is not None,
                blends=model.blend is not None,
                index=model.index.kind,
                default=model.name == service.default,
            )
        )
    return ModelList(data=cards)


@router.get("/health", response_model=Health)
async def health() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/ready", response_model=Health)
async def ready(request: Request) -> Health:
    """Requests may be sent here; 503 where the service is stopping."""
    if service_of(request).stopping:
        raise ApiError(503, "the service is stopping.")
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text = service_of(request).metrics.text()
    return Response(text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
