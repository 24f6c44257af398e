"""One GET, and how long it may take: each deadline ends it in its time, and leaves nothing behind."""

import asyncio
import contextlib
import gc
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.adapters.attempt import Watch
from crawler.adapters.dns import Resolver
from crawler.adapters.wire import Wire
from crawler.core.model import Outcome
from tests.adapters.browsing import (
    PAGE,
    SILENT,
    STALLED,
    anything,
    brief,
    browser,
    fetch,
    trickle,
)
from tests.adapters.servers import LOOPBACK, SILENCE, NameServer, Reply, Site, Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


async def test_too_slow() -> None:
    """A body that trickles is given up, and its connection closed."""
    slow = trickle(response(b"", length=10**6), b"x", 0.05)
    async with Site(slow) as site, browser(rate_window=0.5, min_bytes_per_second=1000) as web:
        answer = await web.get(site.url(), accept_type=anything)
        await site.left.get()

    assert answer.outcome is Outcome.TOO_SLOW
    assert re.fullmatch(r"\d+ bytes a second over 0\.\d s", answer.detail)
    assert (answer.status, answer.body) == (200, b"")


async def test_slow_but_fast_enough() -> None:
    """A body that takes several windows at a fair rate is OK."""

    async def steady(visitor: Visitor) -> None:
        await visitor.say(response(b"", length=10_000))
        for _ in range(10):
            await visitor.say(bytes(1000))
            await asyncio.sleep(0.05)

    answer = await fetch(steady, web={"rate_window": 0.1, "min_bytes_per_second": 1000})

    assert (answer.outcome, len(answer.body)) == (Outcome.OK, 10_000)


TRICKLED_HEAD: Final = trickle(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05)


@pytest.mark.parametrize(
    ("reply", "limits", "detail"),
    [
        (SILENT, {"first_byte_timeout": 0.2}, "no answer within 0.2 s"),
        (TRICKLED_HEAD, {"first_byte_timeout": 0.3}, "no whole header within 0.3 s"),
        (STALLED, {"read_timeout": 0.2}, "no byte for 0.2 s"),
        (SILENT, {"total_timeout": 0.2}, "not done within 0.2 s (first byte)"),
        (STALLED, {"total_timeout": 0.2}, "not done within 0.2 s (body)"),
    ],
)
async def test_timeouts(reply: Reply, limits: dict[str, Any], detail: str) -> None:
    """Each deadline ends the request in its time, says which it was, and closes the connection."""
    began = time.monotonic()
    async with Site(reply) as site, browser(**limits) as web:
        answer = await web.get(site.url(), accept_type=anything)
        await site.left.get()

    assert brief(answer) == (Outcome.TIMEOUT, detail)
    assert time.monotonic() - began < 2


CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEFORE_THE_HEAD: Final = {
    "blank lines": (b"", b"\r\n"),
    "a status line": (b"HTTP/1.1 200 O", b"o"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
}
BEHIND_IT: Final = {
    "a chunk's size": (CHUNKED, b"0"),
    "a chunk's extension": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
    "packed nothing": (
        response(b"\x78\x9c", headers=["Content-Encoding: deflate"], length=10**6),
        b"\0\0\0\xff\xff",
    ),
}
DRIPS: Final = {name: trickle(*what, 0.02) for name, what in (BEFORE_THE_HEAD | BEHIND_IT).items()}


@pytest.mark.parametrize("name", DRIPS)
async def test_what_drips(name: str) -> None:
    """Whatever it is that drips, it ends in the time for headers, or for its slowness, and the connection is closed."""
    limits: Any = {"first_byte_timeout": 0.3, "rate_window": 0.3, "total_timeout": 20.0}
    async with Site(DRIPS[name]) as site, browser(**limits) as web:
        answer = await web.get(site.url(), accept_type=anything)
        await site.left.get()

    late = (Outcome.TIMEOUT, "no whole header within 0.3 s")
    assert brief(answer) == late if name in BEFORE_THE_HEAD else answer.outcome is Outcome.TOO_SLOW
    assert answer.body == b""


async def test_fast_enough_but_endless() -> None:
    """A body that keeps the rate ends with the total."""
    endless = trickle(CHUNKED, b"64\r\n" + bytes(100) + b"\r\n", 0.005)
    answer = await fetch(endless, web={"total_timeout": 0.5, "rate_window": 0.1, "min_bytes_per_second": 100})

    assert brief(answer) == (Outcome.TIMEOUT, "not done within 0.5 s (body)")


async def test_a_kept_connection_that_fell_silent() -> None:
    """A connection whose other end is not there any more costs the time for a first byte, and is closed."""

    async def once(visitor: Visitor) -> bool:
        if visitor.nth:
            await visitor.gone()
            return False
        await visitor.say(response())
        return True

    async with Site(once) as site, browser(first_byte_timeout=0.2) as web:
        first = await web.get(site.url(), accept_type=anything)
        second = await web.get(site.url(), accept_type=anything)
        await site.left.get()

    assert first.outcome is Outcome.OK
    assert brief(second) == (Outcome.TIMEOUT, "no answer within 0.2 s")


async def test_a_deadline_that_moves() -> None:
    """A deadline that is put off while the request is open does not cut it: a lease is renewed meanwhile."""
    loop = asyncio.get_running_loop()

    async def late(visitor: Visitor) -> None:
        await asyncio.sleep(0.4)
        await visitor.say(response())

    async with Site(late) as site, browser() as web:
        moved = [loop.time() + 0.2]
        loop.call_later(0.1, lambda: moved.append(moved[0] + 60))
        answer = await web.get(site.url(), accept_type=anything, deadline=lambda: moved[-1])

    assert answer.outcome is Outcome.OK


async def test_the_caller_may_be_in_a_hurry() -> None:
    """A deadline or a total of the caller's goes before the limits."""
    loop = asyncio.get_running_loop()
    async with Site(SILENT) as site, browser() as web:
        soon = loop.time() + 0.1
        late = await web.get(site.url(), accept_type=anything, deadline=lambda: soon)
        short = await web.get(site.url(), accept_type=anything, total_timeout=0.1)

    assert brief(late) == (Outcome.TIMEOUT, "the time for it was over (first byte)")
    assert brief(short) == (Outcome.TIMEOUT, "not done within 0.1 s (first byte)")


async def test_an_outer_timeout_is_the_callers() -> None:
    """A timeout around `get` is raised as usual, and is not mistaken for one of ours."""
    async with Site(SILENT) as site, browser() as web:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await web.get(site.url(), accept_type=anything)
        await site.left.get()


@pytest.mark.parametrize("reply", [SILENT, STALLED], ids=["before the answer", "in the body"])
async def test_cancelling(reply: Reply) -> None:
    """Cancelling closes the connection and leaves nothing behind."""
    async with Site(reply) as site, browser() as web:
        before = asyncio.all_tasks()
        task = asyncio.create_task(web.get(site.url(), accept_type=anything))
        await site.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        await site.left.get()

        assert task.cancelled()
        assert asyncio.all_tasks() <= before
        assert not web._connector._conns


async def test_times_hold_what_the_site_saw() -> None:
    """A request starts no later than the site sees it, and ends no earlier than the site has answered."""
    seen: list[float] = []

    async def reply(visitor: Visitor) -> None:
        seen.append(time.monotonic())
        await visitor.say(response(b"12345", length=10))
        await asyncio.sleep(0.05)
        seen.append(time.monotonic())
        await visitor.say(b"67890")

    began = time.monotonic()
    answer = await fetch(reply)

    assert began < answer.started <= seen[0] < seen[1] <= answer.ended <= time.monotonic()
    assert 0.04 < dict(answer.phases)["body"] < 1


@pytest.fixture
def full_house() -> Iterator[int]:
    """A port whose queue of connections is full, so that a further one gets no reply."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        for _ in range(4):
            guest = stack.enter_context(socket.socket())
            guest.settimeout(0)
            guest.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_connecting_takes_too_long(full_house: int) -> None:
    """A connection that is neither made nor refused is a timeout that says so."""
    async with browser(connect_timeout=0.2) as web:
        answer = await web.get(f"http://{LOOPBACK}:{full_house}/", accept_type=anything)

    assert brief(answer) == (Outcome.TIMEOUT, "no connection within 0.2 s")


async def test_dns_takes_too_long() -> None:
    """The total is kept while DNS is silent, and the DNS's own time ends as a DNS error."""
    async with NameServer(otherwise=SILENCE) as server:
        resolver = Resolver(servers=[server.where], hosts_file=None, timeout=0.5)
        async with browser(resolver=resolver) as web:
            short = await web.get("http://a.test/", accept_type=anything, total_timeout=0.1)
            whole = await web.get("http://b.test/", accept_type=anything)
        await resolver.close()

    assert brief(short) == (Outcome.TIMEOUT, "not done within 0.1 s (dns)")
    assert brief(whole) == (Outcome.DNS_ERROR, "no name server answered within 0.5 s")


async def test_a_handshake_that_drips() -> None:
    """A TLS record that never becomes whole has the time of a handshake, and no more."""
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x03\x40\x00")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"\0")
                await writer.drain()
                await asyncio.wait([asyncio.ensure_future(reader.read(4096))], timeout=0.02)
        writer.close()
        left.set()

    server = await asyncio.start_server(drip, LOOPBACK, 0)
    async with server, browser(tls_timeout=0.3) as web:
        port = server.sockets[0].getsockname()[1]
        answer = await web.get(f"https://{LOOPBACK}:{port}/", accept_type=anything)
        async with asyncio.timeout(60):
            await left.wait()

    assert brief(answer) == (Outcome.TIMEOUT, "no TLS within 0.3 s")


@pytest.mark.parametrize("limits", [{"tls_timeout": 0.2}, {"total_timeout": 0.2}])
async def test_a_handshake_that_never_ends(limits: dict[str, Any]) -> None:
    """TLS has a time of its own, within the total; either way the connection is closed."""
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()
        left.set()

    server = await asyncio.start_server(mute, LOOPBACK, 0)
    async with server, browser(**limits) as web:
        port = server.sockets[0].getsockname()[1]
        answer = await web.get(f"https://{LOOPBACK}:{port}/", accept_type=anything)
        async with asyncio.timeout(60):
            await left.wait()

    expected = "no TLS within 0.2 s" if "tls_timeout" in limits else "not done within 0.2 s (tls)"
    assert brief(answer) == (Outcome.TIMEOUT, expected)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_many_endings_leave_nothing_open() -> None:
    """After a hundred requests of all endings, as many descriptors are open as before."""
    replies: dict[str, Reply] = {
        "/0": response(),
        "/1": b"nonsense\r\n\r\n",
        "/2": STALLED,
        "/3": response(PAGE, headers=["Content-Encoding: gzip"]),
        "/4": response(bytes(5000)),
        "/5": SILENT,
    }
    limits: Any = {"max_body": 4000, "read_timeout": 0.3, "first_byte_timeout": 0.3}
    async with Site(replies) as site:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names are all that matters
        async with browser(**limits) as web:
            answers = await asyncio.gather(
                *(web.get(site.url(f"/{n % 6}"), accept_type=anything) for n in range(102))
            )
        await site.deserted()
        after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as above

    outcomes = [answer.outcome for answer in answers]
    assert outcomes[:6] == [
        Outcome.OK,
        Outcome.PROTOCOL_ERROR,
        Outcome.TIMEOUT,
        Outcome.DECODE_ERROR,
        Outcome.TOO_LARGE,
        Outcome.TIMEOUT,
    ]
    assert outcomes == outcomes[:6] * 17
    assert after <= before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_hundreds_of_tormentors_leave_nothing_behind() -> None:
    """After 300 requests that dripped or fell silent there are as many descriptors, tasks and connections as before."""
    replies: dict[str, Reply] = {**DRIPS, "silence": SILENT, "half a body": STALLED}
    paths = {f"/{number}": reply for number, reply in enumerate(replies.values())}
    limits: Any = {"first_byte_timeout": 0.3, "read_timeout": 0.3, "rate_window": 0.3, "total_timeout": 3.0}
    async with Site(paths) as site:
        before = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())  # noqa: PTH208 - only how many
        async with browser(max_connections=300, **limits) as web:
            answers = await asyncio.gather(
                *(
                    web.get(site.url(path), accept_type=anything)
                    for path in paths
                    for _ in range(300 // len(paths))
                )
            )
        await site.deserted(len(answers))
        after = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())  # noqa: PTH208 - as above
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, Wire | Watch)]

    assert {answer.outcome for answer in answers} == {Outcome.TIMEOUT, Outcome.TOO_SLOW}
    assert after == before
    assert alive == []
