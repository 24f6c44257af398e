"""One GET, and how much it may cost: bodies, headers and bombs without end."""

import asyncio
import contextlib
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest

from crawler.adapters.attempt import Limits
from crawler.adapters.web import Web
from crawler.core.model import Outcome
from crawler.room import LARGE, LEAST, Room
from tests.adapters.browsing import (
    TEXT,
    anything,
    brief,
    browser,
    fetch,
    html_only,
)
from tests.adapters.servers import Site, Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


async def test_a_long_error_is_not_read() -> None:
    """The body of an error is drained up to 64 KiB; then the connection is closed."""

    async def flood(visitor: Visitor) -> None:
        await visitor.say(response(b"", status="500 Oh", length=10**9))
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say(bytes(65536))

    answer = await fetch(flood)

    assert answer.outcome is Outcome.HTTP_ERROR
    assert answer.wire_bytes < 1_000_000


@pytest.mark.parametrize(("kind", "detail"), [("image/png", "image/png"), (None, "no content type")])
async def test_unwanted_type(kind: str | None, detail: str) -> None:
    """A body of a type that is not wanted is not read: the connection is closed."""

    async def endless(visitor: Visitor) -> None:
        await visitor.say(response(b"", content_type=kind, length=10**9))
        await visitor.gone()

    async with Site(endless) as site, browser() as web:
        answer = await web.get(site.url(), accept_type=html_only)
        await site.left.get()

    assert brief(answer) == (Outcome.TYPE_REFUSED, detail)
    assert answer.wire_bytes == 0


async def test_largest_body() -> None:
    """A body of exactly the cap is OK, and one byte more is not."""
    fits = await fetch(response(bytes(10_000)), max_body=10_000)
    over = await fetch(response(bytes(10_001)), max_body=10_000)
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2711\r\n" + bytes(10_001) + b"\r\n0\r\n\r\n"
    )
    unannounced = await fetch(chunked, max_body=10_000)

    assert (fits.outcome, len(fits.body)) == (Outcome.OK, 10_000)
    assert brief(over) == (Outcome.TOO_LARGE, "10001 bytes announced")
    assert brief(unannounced) == (Outcome.TOO_LARGE, "more than 10000 bytes")
    assert over.body == unannounced.body == b""


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_cut(coding: str) -> None:
    """With `truncate` the first bytes count, and the answer says that it was cut."""
    body = gzip.compress(TEXT) if coding == "gzip" else TEXT
    answer = await fetch(
        response(body, headers=[f"Content-Encoding: {coding}"]), max_body=1000, truncate=True
    )

    assert (answer.outcome, answer.detail, answer.body) == (Outcome.OK, "cut at 1000 bytes", TEXT[:1000])


async def test_a_large_body_waits_for_room() -> None:
    """Who has to wait for room longer than a site may be silent blames nobody: the body is whole in the end."""
    body = b"x" * (4 * LARGE)
    room = Room(max_body=1 << 30)
    async with (
        Site(response(body)) as site,
        browser(read_timeout=0.2, rate_window=0.3, total_timeout=0.8) as web,
    ):
        with room.claim() as first, room.claim() as second, room.claim() as third:
            await first.wait()
            await second.wait()
            task = asyncio.create_task(web.get(site.url(), accept_type=anything, claim=third))
            await asyncio.wait([task], timeout=1.0)
            waited = not task.done()
            first.__exit__(None, None, None)
            answer = await task

            assert (waited, answer.outcome, len(answer.body)) == (True, Outcome.OK, len(body))


async def test_what_unpacks_to_a_large_body_waits_for_room() -> None:
    """Bodies that are small as sent and large as meant are in memory only as many at once as there is room for."""
    body = gzip.compress(b"x" * (4 * LARGE))
    room, at_once = Room(max_body=1 << 30), LEAST + 4
    held = 0

    async def visit(web: Web, url: str) -> Outcome:
        nonlocal held
        with room.claim() as claim:
            answer = await web.get(url, accept_type=anything, claim=claim)
            held += not claim.needs(len(answer.body))
        return answer.outcome

    async with Site(response(body, headers=["Content-Encoding: gzip"])) as site, browser() as web:
        with room.claim() as first, room.claim() as second:
            await first.wait()
            await second.wait()
            visits = [asyncio.create_task(visit(web, site.url())) for _ in range(at_once)]
            early, _ = await asyncio.wait(visits, timeout=0.5)
        outcomes = await asyncio.gather(*visits)

    assert len(body) < LARGE
    assert (len(early), held, outcomes) == (0, at_once, [Outcome.OK] * at_once)


async def test_endless_framing() -> None:
    """Chunks that are nearly all chunk header end as a malformed answer, not as gigabytes of traffic."""

    async def pedant(visitor: Visitor) -> None:
        await visitor.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say((b"1;" + b"x" * 1000 + b"\r\na\r\n") * 60)

    answer = await fetch(pedant, max_body=100_000)

    assert brief(answer) == (Outcome.PROTOCOL_ERROR, "malformed: too large framing")


MAX_BODY: Final = Limits().max_body
WIDE: Final = MAX_BODY + 20 * 1024 * 1024
"""What a bomb of brotli's widest window may cost: the window alone is 16 MiB."""
BOMB: Final = """
import asyncio, gzip, sys, zlib
import brotli
from ipaddress import ip_network
from backports import zstd
from crawler.adapters.attempt import Limits
from crawler.adapters.web import Web
from crawler.core.addresses import AddressPolicy
from crawler.memory import keep_large_apart
from tests.adapters.servers import Site, response

keep_large_apart()  # as a worker does
coding, window, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def bomb(size):
    if coding == "br":
        packer = brotli.Compressor(quality=5, lgwin=window)
        return b"".join(packer.process(bytes(1 << 20)) for _ in range(size >> 20)) + packer.finish()
    if coding == "zstd":
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window})
    else:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31 if "gzip" in coding else 15)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    for _ in range(coding.count(",")):
        data = gzip.compress(data)
    return data

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

async def main():
    body, headers = bomb(1 << 28), ["Content-Encoding: " + coding]
    reply, small = response(body, headers=headers), response(bomb(1 << 20), headers=headers)
    policy = AddressPolicy(allowed=(ip_network("127.0.0.0/8"),))
    async with Site({"/": small, "/bomb": reply}) as site:
        web = Web(resolver=None, policy=policy, limits=Limits(), user_agent="x", max_connections=99)
        await web.get(site.url(), accept_type=lambda kind: True)
        before = rss()
        open("/proc/self/clear_refs", "w").write("5")  # forget the peak
        gets = [web.get(site.url("/bomb"), accept_type=lambda kind: True) for _ in range(at_once)]
        outcomes = {answer.outcome.value for answer in await asyncio.gather(*gets)}
        print(*outcomes, len(body), peak() - before)
        await web.close()

asyncio.run(main())
"""


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(
    ("coding", "window", "at_once", "each"),
    [
        ("gzip", 0, 1, 2 * MAX_BODY),
        ("deflate", 0, 1, 2 * MAX_BODY),
        ("gzip, gzip", 0, 1, 2 * MAX_BODY),
        ("gzip, gzip, gzip, gzip, gzip", 0, 1, 2 * MAX_BODY),
        ("zstd", 23, 1, 2 * MAX_BODY),
        ("zstd", 23, 20, 2 * MAX_BODY),
        ("br", 22, 1, 2 * MAX_BODY),
        ("br", 24, 1, WIDE),
        ("br", 24, 20, WIDE),
    ],
)
async def test_bombs(coding: str, window: int, at_once: int, each: int) -> None:
    """A 256 MiB bomb is too large, and costs less memory than twice the cap (or a wide brotli window), alone or with others."""
    run = [sys.executable, "-c", BOMB, coding, str(window), str(at_once)]
    root = Path(__file__).parent.parent.parent
    done = await asyncio.to_thread(
        subprocess.run, run, cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    outcome, packed, grown = done.stdout.split()

    assert outcome == "too_large"
    assert int(packed) < 600_000
    assert int(grown) < at_once * each


async def test_a_bomb_lets_others_run() -> None:
    """While a large body is unpacked the event loop goes round many times: others are not held up."""
    bomb = response(brotli.compress(bytes(100_000_000), quality=1), headers=["Content-Encoding: br"])
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1
        loop.call_soon(count)

    async with Site(bomb) as site, browser(max_body=200_000_000) as web:
        loop = asyncio.get_running_loop()
        visit = asyncio.ensure_future(web.get(site.url(), accept_type=anything))
        await site.asked.wait()
        loop.call_soon(count)
        answer = await visit

    assert len(answer.body) == 100_000_000
    assert rounds > 20


def endless(start: bytes, more: bytes) -> Callable[[Visitor], Any]:
    """Reply with `start`, and then with `more` as fast as it is taken."""

    async def reply(visitor: Visitor) -> None:
        await visitor.say(start)
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say(more)
                await asyncio.sleep(0)

    return reply


HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE_HEAD: Final = (Outcome.PROTOCOL_ERROR, "malformed: too large headers")
MANY_HEADS: Final = (Outcome.PROTOCOL_ERROR, "malformed: too many interim answers")
LARGE_FRAMING: Final = (Outcome.PROTOCOL_ERROR, "malformed: too large framing")
LARGE_BODY: Final = (Outcome.TOO_LARGE, "more than 1000000 bytes")


def packed(coding: str) -> bytes:
    """The head of an answer with that coding."""
    return HEAD + f"Content-Encoding: {coding}\r\n\r\n".encode()


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(
    ("start", "more", "end"),
    [
        pytest.param(b"", b"\r\n" * 9000, LARGE_HEAD, id="blank lines"),
        pytest.param(b"", b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n" * 500, MANY_HEADS, id="interim answers"),
        pytest.param(b"HTTP/1.1 200 ", b"o" * 9000, LARGE_HEAD, id="status line"),
        pytest.param(HEAD + b"X: ", b"x" * 9000, LARGE_HEAD, id="header"),
        pytest.param(HEAD, b"X-A: b\r\n" * 9000, LARGE_HEAD, id="headers"),
        pytest.param(HEAD, b"bad\xff: b\r\n" * 9000, LARGE_HEAD, id="bad headers"),
        pytest.param(HEAD + b"\r\n", bytes(60_000), LARGE_BODY, id="body"),
        pytest.param(CHUNKED, b"2710\r\n" + bytes(10_000) + b"\r\n", LARGE_BODY, id="chunks"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 2000, LARGE_FRAMING, id="chunks of one byte"),
        pytest.param(CHUNKED, b"0" * 9000, LARGE_FRAMING, id="chunk size"),
        pytest.param(CHUNKED + b"1;", b"x" * 9000, LARGE_FRAMING, id="chunk extension"),
        pytest.param(CHUNKED + b"0\r\n", b"X: " + b"y" * 60_000 + b"\r\n", LARGE_FRAMING, id="trailers"),
        pytest.param(
            packed("gzip") + b"\x1f\x8b\x08\x08" + bytes(6), b"x" * 60_000, LARGE_BODY, id="gzip file name"
        ),
        pytest.param(
            packed("deflate") + b"\x78\x9c", b"\0\0\0\xff\xff" * 9000, LARGE_BODY, id="deflate nothing"
        ),
        pytest.param(packed("br") + b"\x0c", b"\x06" * 60_000, LARGE_BODY, id="brotli metadata"),
        pytest.param(packed("br, br") + b"\x0c", b"\x06" * 60_000, LARGE_BODY, id="brotli metadata twice"),
        pytest.param(
            packed("zstd") + b"\x28\xb5\x2f\xfd\0\x58", bytes(60_000), LARGE_BODY, id="zstd nothing"
        ),
        pytest.param(
            packed("zstd"),
            b"\x50\x2a\x4d\x18\0\x60\0\0" + bytes(0x6000),
            LARGE_BODY,
            id="zstd skippable frames",
        ),
    ],
)
async def test_without_end(start: bytes, more: bytes, end: tuple[Outcome, str]) -> None:
    """What has no end, in whatever part of an answer, ends at its cap, and its connection is closed."""
    async with Site(endless(start, more)) as site, browser(max_body=1_000_000, total_timeout=20.0) as web:
        answer = await web.get(site.url(), accept_type=anything)
        await site.left.get()

    assert brief(answer) == end
    assert answer.body == b""
