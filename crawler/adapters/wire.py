"""One connection, on which requests go out one after another.

    idle ──request──► gathering the head ──blank line──► body ──its end──► idle
                          │ 1xx: again                                      │ any byte: closed

1. What happens is written down in the `Attempt` as it happens.
2. An answer that is whole stands, whatever comes behind it, and however the bytes were cut into packets.
3. What comes behind it is never taken for the next answer: the connection is closed, as browsers and curl do.
4. A head has at most `max_headers` bytes, and so has what lies between two bytes of a body, or behind its last:
   sizes of chunks, their extensions, trailers. All that together is in proportion to the body.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from aiohttp import http_exceptions
from aiohttp.client_proto import ResponseHandler

from crawler.adapters.attempt import ATTEMPT
from crawler.adapters.heads import MalformedHeadError, head_end, mended

if TYPE_CHECKING:
    import asyncio

    from crawler.adapters.attempt import Attempt

FRAMING: Final = 4
"""How many bytes may come in for each byte of a body: chunks of two bytes have 3.5. Each chunk costs us 0.7 us."""
FRAMING_ANYWAY: Final = 1024 * 1024
"""How many may come in before that is asked: a short body may well be sent byte by byte."""
MAX_HEADS: Final = 100
_FINAL: Final = 200
_SWITCHING_PROTOCOLS: Final = 101
_NO_CONTENT: Final = 204


class Wire(ResponseHandler):
    """One connection, which writes down in the `Attempt` what happens on it."""

    def __init__(self, loop: "asyncio.AbstractEventLoop", max_headers: int) -> None:
        super().__init__(loop)
        self._max_headers = max_headers
        self._attempt: Attempt | None = None
        self._head = bytearray()
        self._heads = 0  # of this answer, with the interim ones
        self._body_bytes = 0  # that have come so far
        self.address: str | None = None

    def set_response_params(self, **params: Any) -> None:
        """Begin a request: aiohttp calls this, in the request's task, just before it writes."""
        attempt = ATTEMPT.get()
        attempt.reused = self._attempt is not None
        attempt.address = self.address
        attempt.phase = "first_byte"
        attempt.received = 0
        attempt.allowance = self._max_headers
        attempt.sent = attempt.last = time.monotonic()
        self._attempt = attempt
        self._head.clear()
        self._heads = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Count, then parse. No data: aiohttp goes on with what was held back."""
        attempt = self._attempt
        if attempt is None:  # before the request
            super().data_received(data)
            return
        if data:
            if self._is_whole():
                self._hang_up()
                return
            attempt.last = time.monotonic()
            attempt.received += len(data)
        if attempt.answered:
            super().data_received(data)
        else:
            self._gather(data, attempt)
        if self._is_whole():
            # A parser that has begun to read another answer says so when it is told that nothing more comes.
            if self._has_begun():
                self._hang_up()
            return
        payload = self._payload
        if payload is not None and payload.total_bytes > self._body_bytes and attempt.answered:
            self._body_bytes = payload.total_bytes
            attempt.allowance = min(
                attempt.received + self._max_headers,
                attempt.answered_bytes + FRAMING_ANYWAY + FRAMING * self._body_bytes,
            )
        if attempt.received > attempt.allowance and self.transport is not None:
            self._refuse(f"too large {'framing' if attempt.answered else 'headers'}")

    def _gather(self, data: bytes, attempt: "Attempt") -> None:
        """Hand over heads in one piece each, and then the body.

        Were head and body handed over together, rubbish behind the body would take the whole answer with it.
        """
        searched = len(self._head)
        self._head += data if searched else b""
        pending: bytes | bytearray = self._head if searched else data  # nearly always a head is in one packet
        while not attempt.answered:
            if not searched:
                pending = pending.lstrip(b"\r\n")  # RFC 9112 section 2.2
            try:
                end = head_end(pending, searched)
                if end < 0 and not searched:
                    self._head = bytearray(pending)
                if end < 0:
                    return
                head = mended(bytes(pending[:end])) if end <= self._max_headers else b""
            except MalformedHeadError as error:
                self._refuse(str(error))
                return
            self._heads += 1
            if not head or self._heads > MAX_HEADS:
                self._refuse("too many interim answers" if head else "too large headers")
                return
            pending, searched = bytes(pending[end:]), 0
            self._head.clear()
            super().data_received(head)
            if self.transport is None or self.exception() is not None:
                return
        if pending and self._is_whole():
            self._hang_up()
        elif pending:
            super().data_received(bytes(pending))

    def feed_data(self, message: Any, size: int = 0) -> None:
        """Note when the headers are whole (an interim 1xx is not an answer)."""
        attempt = self._attempt
        if attempt is not None and attempt.answered:
            self._hang_up()  # a second answer to one request
            return
        if attempt is not None and (message[0].code >= _FINAL or message[0].code == _SWITCHING_PROTOCOLS):
            if message[0].code == _NO_CONTENT and _promises_a_body(message[0]):
                self.force_close()  # it may come any time, and must not be taken for the next answer
            attempt.phase = "body"
            attempt.answered = attempt.last
            attempt.answered_bytes = attempt.received
            attempt.allowance = attempt.received + self._max_headers
            self._body_bytes = 0
        super().feed_data(message, size)

    def set_exception(self, exc: Any, *cause: Any) -> None:
        """Tell whoever reads the body too: aiohttp lets them wait when a chunk is malformed."""
        if self._is_whole():
            self._hang_up()  # what is wrong is not the answer
            return
        super().set_exception(exc, *cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(exc)

    def close(self) -> None:
        """Close without a farewell: a TLS server that does not answer one would keep the socket for 30 s."""
        self.abort()

    def _is_whole(self) -> bool:
        """Whether the request has had its answer, and all of it."""
        attempt, payload = self._attempt, self._payload
        return attempt is not None and bool(attempt.answered) and payload is not None and payload.is_eof()

    def _has_begun(self) -> bool:
        parser = self._parser
        try:
            return parser is None or parser.feed_eof() is not None
        except http_exceptions.HttpProcessingError:
            return True

    def _refuse(self, what: str) -> None:
        error = http_exceptions.HttpProcessingError(message=what)
        self.set_exception(error)
        self.abort()
        # aborting forgets it, but whoever has an interim answer to read first comes for it only later
        self._exception = error

    def _hang_up(self) -> None:
        """Close, and see that no further request is made here. The answer may still be read."""
        self.force_close()
        self.abort()


def _promises_a_body(message: Any) -> bool:
    """RFC 9110 section 8.6: a 204 must not say how long its body is. Nought is harmless, and common."""
    return bool(message.chunked or message.headers.get("Content-Length", "").strip("0"))
