"""/docs from files of a pip package: FastAPI's own page loads its parts from another host."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

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


def add_documentation(app: FastAPI) -> None:
    """Serve /docs; without the package that holds Swagger UI, a page that says so."""
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
