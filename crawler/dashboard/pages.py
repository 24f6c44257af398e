"""The pages: an address in, HTML out. Live ones have a stream beside them.

GET /crawls/news         ──► the view "crawl", name=news ──► a whole page
GET /live/crawl?name=news ─► the same view               ──► its regions, as they change
"""

import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from crawler.core.errors import DatabaseUnavailableError, NotKnownError, UsageError
from crawler.dashboard import rendering, webmasters
from crawler.dashboard.auth import Guard, Proof
from crawler.dashboard.desk import Desk
from crawler.dashboard.live import Gallery, TooManyViewersError
from crawler.dashboard.views import PAGES, VIEWS, Asked, Context, View

router = APIRouter(include_in_schema=False)

DEEDS: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "Look whether it is spelled as it should be, or search for it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "This page tries again when you do. Whoever fetches waits for it too, and goes on by itself.",
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a few seconds, then try again.",
}
"""What to do next, by status."""
TITLES: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "That is not here",
    HTTPStatus.SERVICE_UNAVAILABLE: "It does not answer",
    HTTPStatus.UNAUTHORIZED: "Log in first",
    HTTPStatus.FORBIDDEN: "That may not be done from here",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That cannot be asked for",
    HTTPStatus.CONFLICT: "Not now",
    HTTPStatus.INTERNAL_SERVER_ERROR: "That was our fault",
}
WAYS: Final[Mapping[int, tuple[str, str]]] = {HTTPStatus.UNAUTHORIZED: ("Log in", "/login")}
"""Where to go on, by status. An empty address is that of the page itself."""
ROUTES: Final[Mapping[str, str]] = {
    "/": "overview",
    "/crawls": "crawls",
    "/crawls/{name}": "crawl",
    "/domains": "domains",
    "/domains/{name}": "domain",
    "/url": "url",
    "/workers": "workers",
    "/schedule": "schedule",
    "/errors": "errors",
}
"""The pages that are nothing but a view: their addresses."""
SERVER: Final = 500
LONGEST: Final = 8192
"""Characters of what is asked for: a URL may be written in escapes."""


async def shown(request: Request, which: str, **found: str) -> Response:
    """The page of a view."""
    view, asked = VIEWS[which], {**request.query_params, **found}
    _refuse_odd(asked)
    context = await view.look(desk_of(request), asked)
    live = None
    if view.pace and all(asked.get(one) for one in view.needs):
        key = view.key(asked)
        live = f"/live/{which}?{key}" if key else f"/live/{which}"
    context["signed_in"] = signed_in(request)
    return html(view.template, context, active=view.active, live=live)


def _route(path: str, which: str) -> None:
    async def page(request: Request) -> Response:
        return await shown(request, which, **request.path_params)

    router.add_route(path, page)


for _path, _which in ROUTES.items():
    _route(_path, _which)


@router.get("/search")
async def search(request: Request) -> Response:
    """Pages by crawl, domain, outcome and time; or straight to a URL or a domain."""
    wanted = request.query_params.get("q", "").strip()
    if not wanted:
        return await shown(request, "search")
    if "://" in wanted or "/" in wanted:
        address = wanted if "://" in wanted else f"https://{wanted}"
        return RedirectResponse(rendering.link("/url", url=address), HTTPStatus.SEE_OTHER)
    return RedirectResponse(rendering.place("domains", wanted), HTTPStatus.SEE_OTHER)


@router.api_route("/bot", methods=["GET", "HEAD"])
async def bot(request: Request) -> Response:
    """For webmasters."""
    return html("bot.html", await webmasters.in_force(desk_of(request)))


@router.get("/live/{name}")
async def live(request: Request, name: str) -> Response:
    """The regions of a page, as they change."""
    view = VIEWS.get(name)
    if view is None or not view.pace:
        raise NotKnownError(f"no page is live under the name {name[:40]!r}")
    gallery, asked = gallery_of(request), dict(request.query_params)
    _refuse_odd(asked)
    if gallery.crowded:
        raise TooManyViewersError
    if not all(asked.get(one) for one in view.needs):
        raise NotKnownError(f"{name} needs {' and '.join(view.needs)}")
    stream = gallery.stream(
        f"{name}?{view.key(asked)}",
        partial(_look, view, desk_of(request), _only(asked, view.names)),
        partial(rendering.regions, view.template),
        pace=view.pace,
    )
    return StreamingResponse(
        _bytes(stream), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def login_page(_: Request, *, next: str, wrong: str = "", status: int = HTTPStatus.OK) -> Response:  # noqa: A002 - as its field
    """The form that asks for the token. *next*: where to go then."""
    return html("login.html", {"next": next, "wrong": wrong}, status=status)


def trouble_page(status: int, sentence: str) -> Response:
    """A page that says what is wrong, and what to do."""
    usual = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Something is wrong"
    context = {
        "status": status,
        "title": TITLES.get(status, usual),
        "sentence": sentence,
        "advice": DEEDS.get(status, ""),
        "way": WAYS.get(status, ("Try again", "") if status >= SERVER else ("To the overview", "/")),
    }
    return html("trouble.html", context, status=status)


def html(
    template: str,
    context: dict[str, Any],
    *,
    active: str = "",
    live: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    """A rendered page."""
    text = rendering.page(
        template, {**context, "active": active, "live": live, "PAGES": PAGES}, now=datetime.now(UTC)
    )
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def desk_of(request: Request) -> Desk:
    """What the answers need."""
    desk: Desk = request.app.state.desk
    return desk


def signed_in(request: Request) -> bool:
    """Whether the buttons of the page will do something for this browser."""
    guard: Guard = request.app.state.guard
    return guard.proof(request.headers, request.cookies, time.time()) in {Proof.SESSION, Proof.TOKEN}


def _refuse_odd(asked: Mapping[str, str]) -> None:
    """No name or URL of ours holds a NUL, which PostgreSQL has no room for, or is that long."""
    if any("\0" in text or len(text) > LONGEST for text in asked.values()):
        raise UsageError(f"a name or a URL has at most {LONGEST:,} characters, and no NUL")


def gallery_of(request: Request) -> Gallery:
    """The pages that somebody looks at."""
    state = request.app.state
    if not hasattr(state, "gallery"):
        state.gallery = Gallery(desk_of(request).stopping)
    gallery: Gallery = state.gallery
    return gallery


async def _look(view: View, desk: Desk, asked: Asked) -> Context:
    try:
        return await view.look(desk, asked)
    except DatabaseUnavailableError as error:
        desk.away.set()
        desk.alerts.away(error)
        raise


def _only(asked: Asked, names: tuple[str, ...]) -> Asked:
    return {name: asked[name] for name in names if name in asked}


async def _bytes(stream: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for text in stream:
        yield text.encode()
