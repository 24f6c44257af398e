"""The door: what is refused before anything else looks at it, and what every answer carries.

    request ──► a Host of ours? ──► proof, where it is needed ──► a body within bounds ──► the app
                421                 401, 403, 429                  413, 408                  │
    answer ◄── headers: what a browser may do with it ◄──────────────────────────────────────┘

1. No body is read of who may not ask, and no more than `MOST` bytes of who may, however they are sent.
2. Every answer has the headers, errors too; what an answer says of itself is left alone.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crawler.alerts import Alerts
from crawler.dashboard.auth import SAFE, Guard, Proof, from_own_page

MOST: Final = 1 << 20
"""Bytes of a body."""
PATIENCE: Final = 20.0
"""Seconds for a body to come."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
WORDS: Final = {
    Proof.NOTHING: "this needs the token: send 'Authorization: Bearer TOKEN', or sign in at /login",
    Proof.WRONG: "this is not the token: see CRAWL_API_TOKEN, or what `crawl dashboard` printed when it began",
    Proof.EXPIRED: "the session is over: sign in again at /login",
}
FOREIGN: Final = (
    "a change with a browser's session must come from a page of this dashboard (a proxy must pass Host on)"
)
STRANGE: Final = "a page of another site may not ask this of your browser"
CROWD: Final = "too many wrong tokens: wait a moment"


Page: TypeAlias = Callable[[int, str], Response]
"""What a person is shown instead: the status, and one line."""


class Refused(Exception):  # noqa: N818 - no fault of ours: an answer
    """This is not let in: *status* and one line."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def trouble(
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    page: Page | None = None,
) -> Response:
    """One line of what went wrong: as JSON, or on a *page* for a person."""
    if page is not None:
        answer = page(status, detail)
        answer.headers.update(headers or {})
        return answer
    text = json.dumps({"detail": detail}, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, headers, "application/json")


def wants_page(path: str, accept: str) -> bool:
    """Whether a person in a browser asks."""
    return not path.startswith("/api/") and "text/html" in accept


class Door:
    """In front of the app."""

    def __init__(
        self, app: ASGIApp, guard: Guard, page: Page, alerts: Alerts, patience: float = PATIENCE
    ) -> None:
        self._app = app
        self._guard = guard
        self._page = page
        self._alerts = alerts
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _dress(MutableHeaders(raw=list(message["headers"])), path).raw
            await send(message)

        try:
            await self._check(scope, headers)
            body = await self._body(headers, receive)
        except Refused as refused:
            for_person = wants_page(path, headers.get("accept", ""))
            if for_person and refused.status == 401 and scope["method"] in SAFE:  # noqa: PLR2004
                asked = quote(
                    path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
                )
                await RedirectResponse(f"/login?next={asked}", 303)(scope, receive, sent)
                return
            page = self._page if for_person else None
            await trouble(refused.status, refused.detail, refused.headers, page=page)(scope, receive, sent)
            return
        if body is None:  # whoever asked has gone
            return
        try:
            await self._app(scope, _again(body, receive), sent)
        except Exception as error:  # noqa: BLE001  # it was answered with 500, and is told here
            self._alerts.fault(error)

    async def _check(self, scope: Scope, headers: Headers) -> None:
        guard, method = self._guard, scope["method"]
        if not guard.answers_to(headers.get("host", "")):
            raise Refused(421, "this is reached as localhost or 127.0.0.1, and by no other name")
        if guard.intruded(headers):
            raise Refused(403, STRANGE)
        if not guard.needs_proof(method, scope["path"]):
            return
        cookies = cookie_parser(headers.get("cookie", ""))
        proof = guard.proof(headers, cookies, time.time())
        if proof is Proof.WRONG:
            address = scope["client"][0] if scope.get("client") else ""
            if guard.crowded(address):
                raise Refused(429, CROWD, Retry_After="5")
            await guard.punish(address)
        if proof in WORDS:
            raise Refused(401, WORDS[proof], WWW_Authenticate="Bearer")
        if proof is Proof.SESSION and method not in SAFE and not from_own_page(headers):
            raise Refused(403, FOREIGN)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """All of it, read; None: whoever sent it has gone."""
        too_large = Refused(413, f"a request has at most {MOST:,} bytes", Connection="close")
        told = headers.get("content-length", "0")
        if not told.isdecimal() or int(told) > MOST:
            raise too_large
        body = bytearray()
        if told == "0" and "transfer-encoding" not in headers:
            return b""
        try:
            async with asyncio.timeout(self._patience):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > MOST:
                        raise too_large
        except TimeoutError:
            raise Refused(
                408, f"the request did not come within {self._patience:g} s", Connection="close"
            ) from None
        return bytes(body)


def _dress(headers: MutableHeaders, path: str) -> MutableHeaders:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
    return headers


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, as if it came now; then whatever comes."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
