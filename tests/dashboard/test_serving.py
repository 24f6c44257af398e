"""Who connects and says nothing, or too slowly, or too much: others are answered all the same."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from crawler.dashboard.connections import MOST_FRESH, WAIT, Crowd, bounded
from crawler.dashboard.serving import bound, server_of

ASK: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST: Final = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
IDLE: Final = 600
SOON: Final = 5.0


class Served:
    """A small app behind the real server."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.go_on = asyncio.Event()
        self.listener = bound("127.0.0.1", 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; below /stream with a part, and the rest when told."""
        if scope["path"] == "/read":
            while (await receive()).get("more_body"):
                pass
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await self.go_on.wait()
            await send({"type": "http.response.body", "body": b"last", "more_body": False})
            return
        await PlainTextResponse("hello", 401 if scope["path"] == "/unread" else 200)(scope, receive, send)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of a stranger."""
        return await asyncio.open_connection(*self.listener.getsockname())

    async def ask(self) -> float:
        """Ask as anybody does: how long the answer took."""
        began = time.monotonic()
        reader, writer = await self.connect()
        writer.write(ASK)
        async with asyncio.timeout(SOON):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def serving(wait: float = WAIT, linger: float = 0.2) -> AsyncIterator[Served]:
    """It answers."""
    served, stop = Served(Crowd(wait, linger)), asyncio.Event()
    task = asyncio.create_task(server_of(served, stop, served.crowd).serve(sockets=[served.listener]))
    try:
        yield served
    finally:
        served.go_on.set()
        stop.set()
        await task


async def gone(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side has closed."""
    got = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(SOON):
            while part := await reader.read(1000):
                got += part
    return got


async def drip(writer: asyncio.StreamWriter, part: bytes) -> None:
    """A part every moment, until that leads nowhere."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nX: ", POST.replace(b"unread", b"read")])
async def test_others_are_answered_while_hundreds_say_nothing(first: bytes) -> None:
    """With 600 connections that say nothing, half a head, or no body, whoever asks is answered at once; the oldest are closed."""
    async with serving() as served:
        crowd = [await served.connect() for _ in range(IDLE)]
        for _, writer in crowd:
            writer.write(first)
        took = [await served.ask() for _ in range(20)]

        assert max(took) < 1
        assert await gone(crowd[0][0]) == b""
        assert MOST_FRESH / 2 < len(served.crowd) <= MOST_FRESH + 20
        for _, writer in crowd:
            writer.transport.abort()


@pytest.mark.parametrize("drips", [b"", b"x"])
async def test_a_head_has_its_time(drips: bytes) -> None:
    """A head that is not whole in time ends the connection, however often a part of it comes."""
    async with serving(wait=0.3) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        task = asyncio.create_task(drip(writer, drips))
        began = time.monotonic()

        assert await gone(reader) == b""
        assert 0.2 < time.monotonic() - began < 3
        task.cancel()
        writer.close()


async def test_the_next_head_has_its_time_too() -> None:
    """After an answer a connection may be used again, and dripping the next head does not keep it."""
    async with serving(wait=0.3) as served:
        reader, writer = await served.connect()
        for _ in range(2):
            writer.write(ASK)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        task = asyncio.create_task(drip(writer, b"x"))
        began = time.monotonic()

        assert await gone(reader) == b""
        assert time.monotonic() - began < 3
        task.cancel()
        writer.close()


async def test_a_stream_has_no_end() -> None:
    """What is being answered stays open beyond every time, among a crowd that says nothing."""
    async with serving(wait=0.2) as served:
        reader, writer = await served.connect()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"first")
        crowd = [await served.connect() for _ in range(2 * MOST_FRESH)]
        assert await gone(crowd[-1][0]) == b""  # its time was over
        served.go_on.set()

        await asyncio.wait_for(reader.readuntil(b"last"), SOON)
        for _, other in ((reader, writer), *crowd):
            other.transport.abort()


async def test_a_body_that_nobody_wants_is_not_read_for_ever() -> None:
    """Answered before the body has come, the connection is closed soon, though more of the body comes; the answer arrives."""
    async with serving() as served:
        reader, writer = await served.connect()
        writer.write(POST)
        task = asyncio.create_task(drip(writer, b"x"))
        began = time.monotonic()

        assert (await gone(reader)).startswith(b"HTTP/1.1 401")
        assert time.monotonic() - began < 3
        task.cancel()
        writer.close()


async def test_a_body_that_comes_late_does_no_harm() -> None:
    """A body that is whole before the connection would have been closed leaves it open for the next request."""
    async with serving(linger=SOON) as served:
        reader, writer = await served.connect()
        writer.write(POST)
        await reader.readuntil(b"hello")
        writer.write(b"x" * 1000 + ASK)

        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_no_more_than_so_many_at_once() -> None:
    """Who asks for more than is answered at once is told to come back, and is answered when there is room again."""
    told: list[Any] = []
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        told.append(message.get("status"))

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    door = bounded(app, most=1)
    first = asyncio.ensure_future(door({"type": "http"}, receive, send))
    await asyncio.sleep(0)
    await door({"type": "http"}, receive, send)
    go_on.set()
    await first
    await door({"type": "http"}, receive, send)

    assert told == [503, None, 200, 200]
