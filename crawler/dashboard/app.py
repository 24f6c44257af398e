"""The app: routes, and what an error becomes.

    Door (bounds) ──► FastAPI ──► /api/...         models as JSON
                             ├──► /, /crawls, ...  pages, live
                             ├──► /docs, /openapi.json, /static
                             ├──► /login, /logout, /metrics, /healthz, /readyz
                             └──► an error ──► one line: JSON for programs, a page for people

1. What cannot be done is told in one line that says what to do next. No traceback ever leaves.
2. While the database is away every answer that needs it is 503, and the program goes on.
"""

from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from crawler.core.content import clean
from crawler.core.errors import (
    BrokerError,
    DatabaseBusyError,
    DatabaseSlowError,
    DatabaseUnavailableError,
    EmbeddedDatabaseError,
    FaircrawlError,
    NotKnownError,
    StateError,
    UsageError,
)
from crawler.dashboard import (
    api_crawls,
    api_domains,
    api_looking,
    api_pages,
    document,
    pages,
    signing_in,
    standing,
)
from crawler.dashboard.auth import Guard
from crawler.dashboard.bounds import Door, trouble, wants_page
from crawler.dashboard.desk import Desk
from crawler.dashboard.errands import Errands
from crawler.dashboard.live import TooManyViewersError
from crawler.surveying import Readiness, Survey

STATIC: Final = Path(__file__).parent / "static"
STATUS: Final[Sequence[tuple[type[FaircrawlError], int]]] = (
    (NotKnownError, 404),
    (TooManyViewersError, 503),
    (StateError, 409),
    (UsageError, 422),
    (DatabaseUnavailableError, 503),
    (DatabaseBusyError, 503),
    (DatabaseSlowError, 503),
    (EmbeddedDatabaseError, 503),
    (BrokerError, 503),
)
"""The first that fits; any other is a fault of ours."""
EARLY: Final = ("/healthz", "/readyz", "/static/")
"""What is answered before the dashboard has begun."""
LONGEST: Final = 1000
MOST_WRONG: Final = 10
"""Faults of a request that are told."""
WORDS: Final = {
    "string_pattern_mismatch": "a text has no NUL",
    "extra_forbidden": "there is no such field: /docs lists them",
    "json_invalid": "the body is no JSON",
}
"""By pydantic's kind of error: the only pattern is that."""
BUG: Final = "this is a bug in faircrawl: see its log, and report it"


def make_app(desk: Desk, guard: Guard) -> Any:
    """The app, behind its door. Serve it while `app.state.errands` run."""
    app = FastAPI(title="Faircrawl", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.desk = desk
    app.state.guard = guard
    app.state.errands = Errands(desk)
    app.state.survey = Survey(desk.database, desk.queue)
    app.state.readiness = Readiness(desk.database, desk.queue, waits_for=desk.waits_for)
    app.openapi = cache(  # type: ignore[method-assign]
        lambda: document.document(app, reading_needs_token=not guard.here)
    )
    api = APIRouter(prefix="/api")
    for part in (api_crawls, api_pages, api_domains, api_looking):
        api.include_router(part.router)
    for router in (api, document.router, signing_in.router, standing.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
    app.add_exception_handler(FaircrawlError, _ours)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    return Served(app, guard)


class Curtain:
    """Before the app until it can begin: what it waits for is told instead."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say that it is too early."""
        waits_for = self._desk.waits_for()
        if scope["type"] != "http" or not waits_for or scope["path"].startswith(EARLY):
            await self._app(scope, receive, send)
            return
        accept = Headers(scope=scope).get("accept", "")
        page = pages.trouble_page if wants_page(scope["path"], accept) else None
        line = clean(" ".join(f"the dashboard has not begun yet: {waits_for}".split()))[:LONGEST]
        await trouble(503, line, {"Retry-After": "5"}, page=page)(scope, receive, send)


class Served:
    """The app as the world sees it; `state` is the app's."""

    def __init__(self, app: FastAPI, guard: Guard) -> None:
        desk: Desk = app.state.desk
        self.app = app
        self.state = app.state
        self._door = Door(Curtain(app, desk), guard, pages.trouble_page, desk.alerts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        await self._door(scope, receive, send)


def status_of(error: FaircrawlError) -> int:
    """As what an error of ours is answered."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def tell(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """One line of what went wrong, for whoever asks."""
    line = clean(" ".join(detail.split()))[:LONGEST]
    for_person = wants_page(request.url.path, request.headers.get("accept", ""))
    return trouble(status, line, headers, page=pages.trouble_page if for_person else None)


async def _ours(request: Request, error: Exception) -> Response:
    desk: Desk = request.app.state.desk
    status = status_of(error) if isinstance(error, FaircrawlError) else 500
    if isinstance(error, DatabaseUnavailableError):
        desk.away.set()
        desk.alerts.away(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        desk.alerts.fault(error)
        return tell(request, status, BUG)
    headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return tell(request, status, str(error), headers)


async def _wrong(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    lines = dict.fromkeys(
        f"{_place(one['loc'])}{WORDS.get(one['type'], one['msg'].removeprefix('Value error, '))}"
        for one in islice(found, MOST_WRONG)
    )
    return tell(request, 422, "; ".join(lines) or "the request is wrong")


def _place(steps: Sequence[Any]) -> str:
    # What pydantic calls the choices of a union, and a place in a text, is nothing that was sent.
    named = ".".join(str(step)[:80] for step in steps[1:] if "[" not in str(step))
    return f"{named}: " if named and not named.isdecimal() else ""


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # pragma: no cover - it is called for no other
        raise error
    words = {404: "there is nothing here", 405: "this cannot be done here"}
    detail = words.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return tell(request, error.status_code, detail, headers)


def _allowed(request: Request) -> str:
    """The methods of all routes that this path fits: the one that was asked knows its own alone."""
    found = {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return ", ".join(sorted(found))


async def _bug(request: Request, _error: Exception) -> Response:
    return tell(request, 500, BUG)
