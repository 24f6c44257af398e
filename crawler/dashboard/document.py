"""The API's own document, and the page at /docs that shows it. Nothing of it comes from elsewhere.

The page's program and style are those of Swagger UI, out of the package `fastapi-offline`; it begins with a file of ours under /static.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, HTMLResponse, Response

from crawler import __version__
from crawler.dashboard.auth import SAFE

ABOUT: Final = """\
What a crawl is doing, and what to tell it: all that the commands of `crawl` do with a database that is there.

* Times are in ISO 8601, with their zone; durations are seconds, sizes bytes. What is not known is null.
* A request that cannot be done is answered with one line, `detail`, that says what is wrong and what to do next.
* **Reading** needs nothing while the dashboard listens on this machine alone.
* **Changing** anything needs the token: `Authorization: Bearer TOKEN`.
"""
TAGS: Final = [
    {"name": "looking", "description": "How it goes."},
    {
        "name": "crawls",
        "description": "Make them, give them seeds, pause, resume, cancel, delete, and change their limits.",
    },
    {"name": "pages", "description": "What is stored of a URL, and what decides about it."},
    {"name": "domains", "description": "How they are visited."},
    {"name": "refresh", "description": "Visit something now."},
    {"name": "dead letters", "description": "Turns that failed too often."},
]
PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Faircrawl: the API</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs scripts; the document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/static/docs/swagger-ui-bundle.js"></script>
<script src="/static/docs/begin.js"></script>
</body>
</html>
"""
BEGIN: Final = """\
"use strict";
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  persistAuthorization: false,
});
"""
FILES: Final = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

router = APIRouter(include_in_schema=False)


def document(app: FastAPI, *, reading_needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document: what FastAPI makes of the routes, and what holds for all of them."""
    told = get_openapi(
        title="Faircrawl",
        version=__version__,
        description=ABOUT,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "Apache-2.0"},
    )
    parts = told.setdefault("components", {})
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "CRAWL_API_TOKEN, or what `crawl dashboard` printed.",
        }
    }
    for name in ("HTTPValidationError", "ValidationError"):
        parts.get("schemas", {}).pop(name, None)
    for path in told["paths"].values():
        for method, operation in path.items():
            changes = method.upper() not in SAFE
            answers = operation["responses"]
            answers["422"] = _trouble("Something in it is wrong, or does not fit.")
            answers["503"] = _trouble("The database or the queue is away: ask again.")
            if changes:
                answers["400"] = _trouble("The body is no JSON.")
                answers["413"] = _trouble("The body is too large.")
                answers["403"] = _trouble("A browser's session, and a page that is not of this dashboard.")
            if changes or reading_needs_token:
                answers["401"] = _trouble("Without the token, or with a wrong one.")
                answers["429"] = _trouble("Too many wrong tokens.")
                operation["security"] = [{"token": []}]
            for answer in answers.values():
                answer["description"] = answer["description"].replace("Successful Response", "Done.")
            operation["responses"] = dict(sorted(answers.items()))
    return told


def _trouble(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Trouble"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


@router.get("/docs")
async def docs() -> HTMLResponse:
    """The document, to read and to try."""
    return HTMLResponse(PAGE)


@router.get("/static/docs/begin.js")
async def begin() -> HTMLResponse:
    """What sets it going."""
    return HTMLResponse(BEGIN, media_type="text/javascript")


@router.get("/static/docs/{file}")
async def part(file: str) -> Response:
    """A file of Swagger UI."""
    if file not in FILES:
        return HTMLResponse("not found", 404, media_type="text/plain")
    return FileResponse(_folder() / file, media_type=FILES[file])


def _folder() -> Path:
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:  # pragma: no cover - it comes with the extra
        raise FileNotFoundError("fastapi_offline")
    return Path(found.origin).parent / "static"
