"""One request while it is under way: what is known of it, and when it is too late.

    waiting ──► dns ──► connect ──► tls ──► first_byte ──► body ──► Answer
       └──────────┴────────┴─────────┴──────────┴───────────┴─────► Answer, with all that was known by then

1. The connection writes down what happens as it happens; nothing here awaits.
2. One timer watches all the deadlines of a request: it sleeps until the next, looks, and sleeps again.
"""

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from crawler.core.model import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


BREATH: Final = 0.1
"""Seconds to give the event loop when it comes too late to its own alarm: the bytes may be waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost: seconds and bytes (design, section 6)."""

    max_body: int = 10 * 1024 * 1024
    """Decoded; what comes over the wire may be no larger either."""
    max_headers: int = 64 * 1024
    connect_timeout: float = 10.0
    tls_timeout: float = 10.0
    first_byte_timeout: float = 20.0
    """From the request sent to the headers complete."""
    read_timeout: float = 20.0
    """Between two bytes of the body."""
    total_timeout: float = 60.0
    min_bytes_per_second: int = 1024
    rate_window: float = 10.0
    """Seconds over which the rate is taken. A window without any byte is left to `read_timeout`."""


class Failure(Exception):  # noqa: N818 - an ending, not an error
    """The request ended before there was a whole answer. Never leaves the adapter."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class Claim(Protocol):
    """A claim to room for a large body: see `crawler.room`."""

    def needs(self, size: int) -> bool:
        """Whether a body that has grown to so many bytes has to wait for room before it may go on."""

    async def wait(self) -> None:
        """Wait for room, and hold it."""


class Attempt:
    """What is known of a request so far. Times are of CLOCK_MONOTONIC, read afresh.

    Not of the loop's clock: uvloop reads its own once a round, so that it may lag by what the round took,
    and a pause counted from there would be too short.
    """

    __slots__ = (
        "address",
        "allowance",
        "answered",
        "answered_bytes",
        "began",
        "connect",
        "content_encoding",
        "content_length",
        "content_type",
        "deadline",
        "decided",
        "dns",
        "fresh",
        "headers",
        "last",
        "phase",
        "protocol",
        "received",
        "redirect_to",
        "request_headers",
        "retry_after",
        "reused",
        "sent",
        "status",
        "tls",
        "until",
        "waited",
        "waits",
        "wire_bytes",
    )

    def __init__(self, began: float, request_headers: tuple[tuple[str, str], ...]) -> None:
        self.began = began
        self.until = float("inf")  # when it is given up
        self.deadline: Callable[[], float] = _never  # when the caller gives it up, as things are now
        self.allowance = 0  # how many bytes may have come in by now
        self.request_headers = request_headers
        self.phase = "waiting for a connection"
        self.waits = 0.0  # since when, for room: the site is not to blame for the silence, nor for the time
        self.waited = 0.0  # seconds, so far
        self.fresh = False  # no idle connection will do
        self.reused = False
        self.address: str | None = None
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.sent = 0.0  # when the request went out
        self.last = 0.0  # when the last byte came in
        self.received = 0  # bytes of any kind, since the request went out
        self.answered = 0.0  # when the headers were whole
        self.answered_bytes = 0
        self.status: int | None = None
        self.protocol: str | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.content_type: str | None = None
        self.content_encoding = ""
        self.content_length: int | None = None
        self.redirect_to: str | None = None
        self.retry_after: str | None = None
        self.wire_bytes = 0
        self.decided: tuple[Outcome, str] | None = None  # whatever else may go wrong with the body

    def read_head(self, status: int, protocol: str, raw: tuple[tuple[bytes, bytes], ...]) -> int:
        """Write down status and headers; return how many bytes the headers have."""
        self.status = status
        self.protocol = protocol
        headers = [(_text(name), _text(value)) for name, value in raw]
        self.headers = tuple(headers)
        size = 0
        for (name, value), (_, sent) in zip(headers, raw, strict=True):
            size += len(name) + len(value) + 4
            match name.lower():
                case "content-type":
                    self.content_type = self.content_type or value
                case "content-encoding":
                    self.content_encoding = f"{self.content_encoding},{value}"
                case "content-length":
                    self.content_length = int(value) if value.isascii() and value.isdigit() else None
                case "location":
                    self.redirect_to = self.redirect_to or _reference(sent, value)
                case "retry-after":
                    self.retry_after = self.retry_after or value
        return size

    def answer(self, outcome: Outcome, detail: str, body: bytes = b"") -> Answer:
        """Build the answer as things are now."""
        ended = time.monotonic()
        phases = []
        if self.dns is not None:
            phases.append(("dns", self.dns))
        if self.connect is not None:
            phases.append(("connect", self.connect))
        if self.tls is not None:
            phases.append(("tls", self.tls))
        if self.answered:
            phases.append(("first_byte", self.answered - self.sent))
            phases.append(("body", ended - self.answered))
        return Answer(
            outcome=outcome,
            started=self.sent or self.began,
            ended=ended,
            detail=detail,
            status=self.status,
            headers=self.headers,
            request_headers=self.request_headers,
            body=body,
            wire_bytes=self.wire_bytes,
            redirect_to=self.redirect_to if outcome is Outcome.REDIRECT else None,
            retry_after=self.retry_after,
            content_type=self.content_type,
            address=self.address,
            protocol=self.protocol,
            phases=tuple(phases),
        )


def _never() -> float:
    return float("inf")


ATTEMPT: Final[ContextVar[Attempt]] = ContextVar("crawler.adapters.attempt")
"""The request that this task is making: how the connector, deep inside aiohttp, finds it."""


def _text(raw: bytes) -> str:
    """Read a header as UTF-8 if it is, else as latin-1: no database takes lone surrogates."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _reference(raw: bytes, text: str) -> str:
    """A Location that is not UTF-8 means these very bytes, as browsers take it; the text would be sent as UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)  # noqa: PLR2004  # ASCII
    return text


class Watch:
    """Raises `Failure` in the task that entered it when one of the request's deadlines has passed.

    Like `asyncio.timeout`, it cancels the task and takes the cancellation back on the way out.
    """

    __slots__ = (
        "_attempt",
        "_cancelling",
        "_handle",
        "_late",
        "_limits",
        "_loop",
        "_task",
        "_until",
        "_verdict",
        "_when",
        "_window",
        "_window_bytes",
        "_word",
    )

    def __init__(self, attempt: Attempt, limits: Limits, until: float, word: str) -> None:
        self._attempt = attempt
        self._limits = limits
        self._until = until
        self._word = word
        self._window = 0.0
        self._window_bytes = 0
        self._late = False
        self._verdict: Failure | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is made inside a task")
        self._task: asyncio.Task[object] = task
        self._cancelling = task.cancelling()
        limits = self._limits
        soonest = min(limits.first_byte_timeout, limits.read_timeout, limits.rate_window)
        self._sleep(min(self._until, self._attempt.deadline(), self._attempt.began + soonest))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self._handle.cancel()
        if (
            self._verdict is not None
            and self._task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise self._verdict from None

    def hurry(self, seconds: float) -> None:
        """Allow no more than so many seconds from now: what is left to do is not worth more."""
        self._until = min(self._until, time.monotonic() + seconds - self._attempt.waited)
        if self._until < self._when:
            self._handle.cancel()
            self._sleep(self._until)

    def _sleep(self, when: float) -> None:
        self._when = when
        self._handle = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._when > 10 * BREATH and not self._late:
            self._late = True
            self._sleep(now + BREATH)
            return
        self._late = False
        due, verdict = self._next(now)
        if verdict is None or due > now:
            self._sleep(due)
        else:
            self._verdict = verdict
            self._task.cancel()

    def _next(self, now: float) -> tuple[float, Failure | None]:
        """Return the next moment to look, and what it means if that moment has passed."""
        attempt, limits = self._attempt, self._limits
        waited = attempt.waited + (now - attempt.waits if attempt.waits else 0.0)
        due, verdict = self._until + waited, self._too_late(self._word)
        if (deadline := attempt.deadline()) < due:
            due, verdict = deadline, self._too_late("the time for it was over")
        if attempt.waits:
            attempt.last, self._window, self._window_bytes = now, now, attempt.received
            return (now + 1.0, None) if now + 1.0 < due else (due, verdict)
        if attempt.answered:
            silent = attempt.last + limits.read_timeout
            if silent < due:
                due = silent
                verdict = Failure(Outcome.TIMEOUT, f"no byte for {limits.read_timeout:g} s")
            return self._rate(now, due, verdict)
        if attempt.sent:
            silent = attempt.sent + limits.first_byte_timeout
            if silent < due:
                part = "whole header" if attempt.received else "answer"
                due = silent
                verdict = Failure(Outcome.TIMEOUT, f"no {part} within {limits.first_byte_timeout:g} s")
            return due, verdict
        # Nothing sent yet: wake up in time for when it will have been.
        soonest = now + min(limits.first_byte_timeout, limits.read_timeout, limits.rate_window)
        return (soonest, None) if soonest < due else (due, verdict)

    def _too_late(self, word: str) -> Failure:
        return Failure(Outcome.TIMEOUT, f"{word} ({self._attempt.phase.replace('_', ' ')})")

    def _rate(self, now: float, due: float, verdict: Failure) -> tuple[float, Failure | None]:
        """Judge the bytes of the last window; silence is left to the time between bytes."""
        attempt, limits = self._attempt, self._limits
        if not self._window:
            self._window, self._window_bytes = attempt.answered, attempt.answered_bytes
        ends = self._window + limits.rate_window
        if ends <= now:
            came = attempt.received - self._window_bytes
            rate = came / (now - self._window)
            if came and rate < limits.min_bytes_per_second:
                detail = f"{rate:.0f} bytes a second over {now - self._window:.1f} s"
                return now, Failure(Outcome.TOO_SLOW, detail)
            self._window, self._window_bytes = now, attempt.received
            ends = now + limits.rate_window
        return (due, verdict) if due <= ends else (ends, None)
