"""Connections: who says nothing, or not all, keeps nobody else out.

    connected ──► head complete ──► body complete ──► answered ──┬─ body complete ──► the next head
       └─ waits ───────┘ WAIT s        └─ waits: the door's      └─ else: closed after LINGER s

1. A head has `WAIT` seconds, whole; a part of it earns no more. A stream that is being answered has no end.
2. What waits may be `MOST_FRESH` of one address, and `MOST_WAITING` of all: one more puts an end to the oldest, and is let in itself.
3. The cap of an address counts connections that have not asked anything yet: a reverse proxy, which asks at once, never meets it.
"""

import asyncio
from typing import Any, Final

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.h11_impl import H11Protocol

WAIT: Final = 10.0
"""Seconds for the head of a request."""
LINGER: Final = 5.0
"""Seconds for the rest of a body that nobody wants: closed at once, the answer might be lost on its way."""
MOST_FRESH: Final = 100
MOST_WAITING: Final = 500
MOST_AT_ONCE: Final = 500
"""Requests that are being answered; who asks for more is told to come back."""


class Crowd:
    """Those who wait: connections of which we want something to come, the oldest first. *wait* and *linger*: how long it is wanted for."""

    def __init__(self, wait: float = WAIT, linger: float = LINGER) -> None:
        self.wait = wait
        self.linger = linger
        self._fresh: dict[str, dict[Connection, None]] = {}
        self._waiting: dict[Connection, None] = {}

    def __repr__(self) -> str:
        return f"<Crowd of {len(self._waiting)}>"

    def __len__(self) -> int:
        return len(self._waiting)

    def joins(self, one: "Connection") -> None:
        """It waits from now on, unless it did before; for the longest there may be no room any more."""
        if one in self._waiting:
            return
        self._waiting[one] = None
        if len(self._waiting) > MOST_WAITING:
            next(iter(self._waiting)).give_up()
        if not one.has_asked:
            fresh = self._fresh.setdefault(one.peer, {})
            fresh[one] = None
            if len(fresh) > MOST_FRESH:
                next(iter(fresh)).give_up()

    def leaves(self, one: "Connection") -> None:
        """It asked, or is gone."""
        self._waiting.pop(one, None)
        fresh = self._fresh.get(one.peer, {})
        fresh.pop(one, None)
        if not fresh:
            self._fresh.pop(one.peer, None)


class Connection(H11Protocol):
    """uvicorn's, that is not kept by who says nothing."""

    def __init__(self, crowd: Crowd, **more: Any) -> None:
        super().__init__(**more)
        self._crowd = crowd
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_for: object = None
        self.has_asked = False
        """Whether a whole request has come."""

    @property
    def peer(self) -> str:
        """Whose it is."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Somebody is there."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """It was answered."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._crowd.leaves(self)
        self._set(None, 0)

    def give_up(self) -> None:
        """End it at once: others want its place."""
        self._crowd.leaves(self)
        self._set(None, 0)
        self.transport.abort()

    def _look(self) -> None:
        """See what we wait for, and until when."""
        if self.transport.is_closing():
            self._crowd.leaves(self)
            self._set(None, 0)
            return
        theirs = self.conn.their_state
        if theirs is h11.SEND_BODY:
            answered = self.cycle is not None and self.cycle.response_complete
            self._set(h11.SEND_BODY if answered else None, self._crowd.linger)
        elif theirs is h11.IDLE:
            self._set(h11.IDLE, self._crowd.wait)
        else:
            self.has_asked = True
            self._set(None, 0)
            self._crowd.leaves(self)
            return
        self._crowd.joins(self)

    def _set(self, why: object, seconds: float) -> None:
        """One alarm, that goes on as long as its reason is the same."""
        if why is self._alarm_for:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_for = why
        self._alarm = None if why is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._crowd.leaves(self)
        self.transport.close()


def bounded(app: ASGIApp, most: int = MOST_AT_ONCE) -> ASGIApp:
    """The app, asked no more than so often at once."""
    busy = 0

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal busy
        if busy >= most:
            await service_unavailable(scope, receive, send)  # type: ignore[arg-type]  # uvicorn's own words for the same
            return
        busy += 1
        try:
            await app(scope, receive, send)
        finally:
            busy -= 1

    return answer
