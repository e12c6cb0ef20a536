"""`create_app`: the service as an ASGI application."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match

from tgqformer import __version__
from tgqformer.errors import CatalogError, ConfigError, ImageError, StorageError
from tgqformer.service.config import ServiceConfig
from tgqformer.service.context import Service
from tgqformer.service.failures import (
    STATUSES,
    ApiError,
    encoded,
    failure,
    fault_of,
    invalid,
)
from tgqformer.service.keys import Gate, Keys
from tgqformer.service.observing import Observe
from tgqformer.service.routes import explore, items, operations, search
from tgqformer.service.schemas import ErrorBody, ItemFields
from tgqformer.service.served import Served

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>TGQ-Former API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>
</body></html>
"""

_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true,
  validatorUrl: null, presets: [SwaggerUIBundle.presets.apis]});
"""

_BARE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>TGQ-Former API</title></head>
<body><p>The API is described in <a href="/openapi.json">/openapi.json</a>; for a page to try it,
<code>pip install fastapi-offline</code> on the server.</p></body></html>
"""

ROUTES = (search, items, explore, operations)
PAGE = Path(__file__).with_name("page")
_REFUSALS = (400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 503, 504)


def create_app(
    models: Sequence[Served],
    *,
    config: ServiceConfig | None = None,
    keys: Keys | None = None,
    page: Path = PAGE,
) -> FastAPI:
    """The service over `models`, the default one first; closing it closes them.

    Args:
        config: the limits.
        keys: who may do what; without any, everybody everything.
        page: folder of the page's files, ``index.html`` among them.
    """
    service = Service(models, config or ServiceConfig())
    keys = keys or Keys()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    app = FastAPI(
        title="TGQ-Former",
        version=__version__,
        summary="Product embeddings and their neighbours.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": STATUSES[status][1]} for status in _REFUSALS
    }
    # The gate asks for keys before a body is read; this only tells of them in /openapi.json.
    asks = [Depends(HTTPBearer(auto_error=False))] if keys else []
    for part in ROUTES:
        app.include_router(part.router, responses=refusals, dependencies=asks)
    _add_documentation(app)
    _add_page(app, page)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (CatalogError, ConfigError, StorageError):
        app.add_exception_handler(kind, _failed)
    app.add_middleware(Gate, config=service.config, keys=keys)
    app.add_middleware(Observe, metrics=service.metrics)
    return app


def _add_page(app: FastAPI, page: Path) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        try:
            return HTMLResponse((page / "index.html").read_bytes())
        except OSError:
            return HTMLResponse('<!doctype html><title>TGQ-Former</title><a href="/docs">API</a>')

    if page.is_dir():
        app.mount("/page", _Parts(directory=page))


class _Parts(StaticFiles):
    """Parts of the page; asked about each time, or an upgrade would meet old ones in a browser."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _said(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(content), status, dict(headers or {}), "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, ApiError):
        return _said(error.status_code, error.body(), error.headers)
    code, meaning = STATUSES.get(error.status_code, ("error", "The request was refused."))
    if error.status_code == 404:
        meaning = "there is no such path; /docs lists those that there are."
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request))) or (error.headers or {}).get("Allow", "")
        meaning = f"the path does not know the method {request.method[:20]}; use {allowed}."
        return _said(405, failure(code, meaning), {"Allow": allowed})
    elif error.status_code == 400:
        meaning = "the body cannot be read; send JSON in UTF-8, not nested deeply."
    return _said(error.status_code, failure(code, meaning), error.headers)


def _methods(request: Request) -> set[str]:
    """The methods of all routes of a path; Starlette names those of the first."""
    found: set[str] = set()
    for part in ROUTES:
        for route in part.router.routes:
            if route.matches(request.scope)[0] is Match.NONE:
                continue
            found |= getattr(route, "methods", None) or set()
            if getattr(route, "path", "").endswith("/photo"):
                return {"GET"}  # the path is a photo's, not that of an item with slashes
    return found


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = next(iter(error.errors()), {})
    if first.get("type") == "json_invalid":
        return _said(400, failure("bad_request", "the body is no JSON; mend it and send it again."))
    if isinstance(error.body, bytes):
        sent = request.headers.get("content-type", "")[:60]
        message = f"the body came as {sent!r}; send it with Content-Type: application/json."
        return _said(422, failure("invalid", message))
    way = list(first.get("loc") or [""])
    side = way[0]
    may: list[str] = []
    if side == "body":
        inside = [{**e, "loc": e["loc"][1:]} for e in error.errors() if e["loc"][:1] == ("body",)]
        first, place, may = fault_of(inside, error.body)
    else:
        place = [str(part) for part in way[side in ("query", "path") :]]
    param = ".".join(place)
    known = _fields_beside(request, place)
    return _said(422, failure("invalid", invalid(first, param, known, may), param or None))


def _fields_beside(request: Request, place: list[str]) -> list[str]:
    """Names of the fields that may stand where `place` is, as far as they are known."""
    if place[-2:-1] in (["item"], ["other"]):
        return list(ItemFields.model_fields)
    field = getattr(request.scope.get("route"), "body_field", None)
    kind = getattr(getattr(field, "field_info", None), "annotation", None)
    return list(getattr(kind, "model_fields", ())) if len(place) == 1 else []


async def _failed(request: Request, error: Exception) -> Response:
    """What the rooms below refuse: bad input, or a store that cannot be used just now."""
    if isinstance(error, StorageError):
        # Its sentence names paths of this machine, which the log may hold and an answer may not.
        request.scope["reason"] = str(error)
        return _said(503, failure("storage", "the store cannot be used just now; ask again later."))
    if isinstance(error, ImageError):  # of a stored item; so does this one's
        message = "a stored photo of the item cannot be read; send its images again."
        return _said(422, failure("bad_image", message))
    return _said(422, failure("invalid", str(error)))


def _add_documentation(app: FastAPI) -> None:
    """Serve /docs out of a pip package, for FastAPI's own page loads its parts from another host.

    Without the package, which holds Swagger UI, a page that says so.
    """
    assets = _assets()
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(_BARE if assets is None else _PAGE)

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    app.include_router(router)
    if assets is not None:
        app.mount("/docs/assets", StaticFiles(directory=assets))


def _assets() -> Path | None:
    # Found, not imported: only its files are used.
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "static"
    return folder if (folder / "swagger-ui-bundle.js").is_file() else None
