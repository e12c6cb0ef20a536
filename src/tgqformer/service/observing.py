"""What the service tells of itself: a line of JSON for each request, and Prometheus metrics.

Neither holds contents: no text, no photo, no id, no key, only which route answered how and when.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tgqformer.service.failures import encoded, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tgqformer.service.context import Service

LOGGER = logging.getLogger("tgqformer.service")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]


class Metrics:
    """Figures of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ["method", "route", "status"]
        self._requests = Counter(
            "tgqformer_requests", "Requests answered", names, registry=self.registry
        )
        self._seconds = Histogram(
            "tgqformer_request_seconds",
            "Time from a request to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            "tgqformer_requests_under_way", "Requests under way", registry=self.registry
        )
        self._units = Histogram(
            "tgqformer_batch_units",
            "Items or searches done together",
            ["worker"],
            buckets=_UNITS,
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            "tgqformer_batch_seconds",
            "Time of one batch",
            ["worker"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, worker: str, units: int, seconds: float) -> None:
        """Count one batch of a worker."""
        self._units.labels(worker).observe(units)
        self._batch_seconds.labels(worker).observe(seconds)

    def follow(self, service: Service) -> None:
        """Tell queues and stores of a service too, as they are when somebody asks."""
        self.registry.register(_Standing(service))

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Standing:
    """Collects what is read rather than counted."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Any]:
        queued = GaugeMetricFamily("tgqformer_queued", "Units that wait", labels=["worker"])
        for worker in (self._service.embedding, self._service.searching, self._service.writing):
            queued.add_metric([worker.name], worker.queued)
        yield queued
        items = GaugeMetricFamily("tgqformer_items", "Items stored", labels=["model"])
        for model in self._service.models.values():
            items.add_metric([model.name], len(model.index))
        yield items


class Observe:
    """Middleware, the outermost: counts, logs, and answers a fault with the common shape."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        if not LOGGER.handlers:  # nobody asked for the log
            LOGGER.addHandler(logging.NullHandler())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = os.urandom(8).hex()
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                own = [*_HEADERS, (b"x-request-id", request_id.encode())]
                message = {**message, "headers": [*headers, *own]}
            await send(message)

        self._metrics.under_way.inc()
        fault: str | None = None
        try:
            await self._app(scope, receive, told)
            fault = scope.get("reason")  # why a store cannot be used
        except Exception as error:
            # The kind and place of a fault are no contents; its text could be.
            fault = f"{type(error).__name__} in {_place(error)}"
            if not status:
                message = f"the service failed; tell its operator the request id {request_id}."
                await answer(told, 500, failure("internal", message))
        finally:
            self._metrics.under_way.dec()
            seconds = time.perf_counter() - start
            route = route_of(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(method, route, status or 499, seconds)
            entry = {
                "event": "request",
                "request_id": request_id,
                "method": method,
                "route": route,
                "status": status or 499,
                "ms": round(1000 * seconds, 2),
            }
            if fault is not None:
                entry["fault"] = fault
            level = logging.ERROR if fault or status == 500 else logging.INFO
            LOGGER.log(level, "request", extra={"entry": entry})


def route_of(scope: Scope) -> str:
    """The route's template, never the path, which holds ids."""
    route = scope.get("route")
    return str(getattr(route, "path", "") or "other")


async def answer(
    send: Send, status: int, content: object, headers: dict[str, str] | None = None
) -> None:
    """Send a whole JSON answer from a middleware."""
    body = encoded(content)
    lines = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    lines += [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        told = getattr(record, "entry", None)
        entry |= told if isinstance(told, dict) else {"event": record.getMessage()[:500]}
        return json.dumps(entry)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Let the logs of service and server go to stderr as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for logger in (LOGGER, logging.getLogger("uvicorn.error")):
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
