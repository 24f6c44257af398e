"""Servers on loopback that do, byte for byte, what a test tells them to."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from crawler.demo.names import LOOPBACK, NXDOMAIN, SERVFAIL, SILENCE, NameServer

__all__ = [
    "LOOPBACK",
    "NXDOMAIN",
    "SERVFAIL",
    "SILENCE",
    "NameServer",
    "Reply",
    "Site",
    "Visitor",
    "response",
]


@dataclass
class Visitor:
    """One connection to a `Site`, and the request that it is now making."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """0 for the first connection the site ever had."""
    request: bytes = b""
    """The head of the request, as it came."""
    nth: int = 0
    """0 for the first request on this connection."""

    @property
    def path(self) -> str:
        """What was asked for."""
        return self.request.split(b" ", 2)[1].decode("latin-1")

    async def say(self, data: bytes) -> None:
        """Send. Raises ConnectionError: the client has gone."""
        if self.writer.is_closing():  # uvloop would raise RuntimeError
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Reply = bytes | Callable[[Visitor], Awaitable[bool | None]]
"""What to send, or what to do: to return False is to close the connection."""


@dataclass
class Site:
    """A web server. `replies` go by path; one reply alone is for all of them."""

    replies: Reply | Mapping[str, Reply]
    tls: ssl.SSLContext | None = None
    address: str = LOOPBACK
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there was a request."""
    left: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """The number of each connection that has ended."""

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(
            self._welcome, self.address, self.port, ssl=self.tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:  # those, too, whose task was cancelled before its first step
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports say good-bye in the next round

    async def deserted(self, visitors: int = 0) -> None:
        """Wait until so many connections were made, of which some may not even have been welcomed yet, and all have ended."""
        for _ in range(visitors):
            await self.left.get()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)

    def url(self, path: str = "/", host: str | None = None) -> str:
        """Where to find a page of this site."""
        return f"{'https' if self.tls else 'http'}://{host or self.address}:{self.port}{path}"

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitor = Visitor(reader, writer, self.connections)
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.create_task(self._serve(visitor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, visitor: Visitor) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    visitor.request = await visitor.reader.readuntil(b"\r\n\r\n")
                    self.requests.append(visitor.request)
                    self.asked.set()
                    if await self._reply(visitor) is False:
                        break
                    visitor.nth += 1
        finally:
            visitor.writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await visitor.writer.wait_closed()
            self._writers.discard(visitor.writer)
            self.left.put_nowait(visitor.number)

    async def _reply(self, visitor: Visitor) -> bool | None:
        replies = self.replies
        reply = replies.get(visitor.path) if isinstance(replies, Mapping) else replies
        if reply is None:
            reply = response(b"nothing here", status="404 Not Found")
        if isinstance(reply, bytes):
            await visitor.say(reply)
            return None
        return await reply(visitor)


def response(
    body: bytes = b"<p>hello",
    *,
    status: str = "200 OK",
    headers: Iterable[str] = (),
    content_type: str | None = "text/html",
    length: int | None = -1,
) -> bytes:
    """Build a response; `length` None: the body ends with the connection."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
