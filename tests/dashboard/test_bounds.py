"""The door, asked as a server would ask it: what takes too long, goes away, or breaks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from crawler.alerts import Alerts
from crawler.dashboard import signing_in
from crawler.dashboard.auth import MOST_WAITING, Guard
from crawler.dashboard.bounds import Door
from crawler.ports import Event

Message = MutableMapping[str, Any]


class Noted:
    """Notes what is critical."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def send(self, event: Event) -> None:
        """Note it."""
        self.kinds.append(event.kind)


def page(status: int, detail: str) -> Response:
    """A page for people."""
    return PlainTextResponse(f"page: {detail}", status)


async def asked(
    app: Any,
    receive: Callable[[], Awaitable[Message]],
    *,
    guard: Guard | None = None,
    alerts: Alerts | None = None,
    token: str = "secret",  # noqa: S107 - of nothing
    **headers: str,
) -> list[Message]:
    """What is sent to who posts something: the messages."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    bearer = [(b"authorization", b"Bearer " + token.encode())] if token else []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/x",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *bearer, *named],
        "client": ("127.0.0.1", 1),
    }
    door = Door(app, guard or Guard("secret", here=True, port=1), page, alerts or Alerts(), patience=0.05)
    await door(scope, receive, send)
    return sent


async def never() -> Message:
    """A body that does not come."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def gone() -> Message:
    """Whoever asked has gone."""
    return {"type": "http.disconnect"}


async def whole() -> Message:
    """A short body."""
    return {"type": "http.request", "body": b"{}", "more_body": False}


async def unasked(*_: Any) -> None:
    """An app that must not be asked."""
    raise AssertionError("it was let in")


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """Who announces a body and sends none is answered with 408, and the connection ends."""
    start, _ = await asked(unasked, never, content_length="10")

    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]


async def test_who_goes_away_is_not_answered() -> None:
    """A connection that ends in the middle of a body asks the app for nothing."""
    assert await asked(unasked, gone, content_length="10") == []


async def test_a_length_that_is_no_number_is_refused() -> None:
    """A Content-Length that is none, or negative, is taken for too large."""
    for length in ("x", "-1", "9" * 30, "\u00b2"):
        start, *_ = await asked(unasked, never, content_length=length)
        assert start["status"] == 413


async def test_the_app_reads_the_body_that_the_door_has_read() -> None:
    """The app receives the body once, and then whatever comes."""
    found: list[Message] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        found.extend([await receive(), await receive()])

    await asked(app, whole, content_length="2")

    assert [one["body"] for one in found] == [b"{}", b"{}"]


async def test_what_nobody_expected_is_told_to_who_must_know() -> None:
    """An exception of the app is told as critical, and does not reach the server."""

    async def app(*_: Any) -> None:
        raise ZeroDivisionError

    noted = Noted()
    sent = await asked(app, whole, alerts=Alerts(noted))

    assert (sent, noted.kinds) == ([], ["bug"])


async def test_who_sends_many_wrong_tokens_at_once_is_told_to_wait() -> None:
    """While too many wrong tokens of an address wait, another one is turned away; who has the right one or a session is let in."""
    guard = Guard("secret", here=True, port=1, late=0.01)
    let_in: list[str] = []

    async def app(scope: Any, *_: Any) -> None:
        let_in.append(scope["path"])

    waiting = [asyncio.create_task(guard.punish("127.0.0.1")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    start, _ = await asked(unasked, whole, guard=guard, token="wrong")
    await asked(app, whole, guard=guard)
    cookie = f"{guard.cookie}={guard.session(time.time())}"
    await asked(app, whole, guard=guard, token="", cookie=cookie, sec_fetch_site="same-origin")
    still, crowded = guard.crowded("127.0.0.1"), guard.crowded("127.0.0.2")
    await asyncio.gather(*waiting)

    assert (start["status"], let_in) == (429, ["/x", "/x"])
    assert still
    assert not crowded
    assert not guard.crowded("127.0.0.1")


async def test_who_signs_in_among_many_wrong_tokens_is_let_in() -> None:
    """While too many wrong tokens of an address wait, the form turns another one away, and lets in who has the right one."""
    app, guard = FastAPI(), Guard("secret", here=True, port=1, late=0.03)
    app.include_router(signing_in.router)
    app.state.guard = guard
    waiting = [asyncio.create_task(guard.punish("127.0.0.1")) for _ in range(MOST_WAITING)]
    await asyncio.sleep(0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        wrong = await client.post("/login", data={"token": "wrong"})
        right = await client.post("/login", data={"token": "secret"})
    still = guard.crowded("127.0.0.1")
    await asyncio.gather(*waiting)

    assert (wrong.status_code, right.status_code, still) == (429, 303, True)


async def test_a_person_is_shown_a_page() -> None:
    """Who accepts HTML is told on a page, with the same status and headers."""
    start, body = await asked(unasked, never, content_length="10", accept="text/html")

    assert (start["status"], body["body"][:5]) == (408, b"page:")
    assert httpx.Headers(start["headers"])["x-content-type-options"] == "nosniff"
