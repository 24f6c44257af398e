"""One GET, against real sockets on loopback."""

import asyncio
import contextlib
import gzip
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest
import trustme
from backports import zstd

from crawler.adapters.connecting import SocketsExhaustedError
from crawler.adapters.dns import DnsError, Resolution, Resolver
from crawler.adapters.web import Limits, Web
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Answer, Outcome
from tests.adapters.servers import LOOPBACK, NXDOMAIN, SILENCE, NameServer, Reply, Site, Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True

PAGE: Final = b"<p>hello"
TEXT: Final = b"All work and no play makes Jack a dull boy.\n" * 5_000
HOME: Final = AddressPolicy(allowed=(ip_network("127.0.0.0/8"), ip_network("::1")))


class Names:
    """A resolver that knows what it is told, or all names as loopback."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses or (LOOPBACK,)
        self.asked: list[str] = []

    async def resolve(self, host: str) -> Resolution:
        """Whatever the name, the same addresses."""
        self.asked.append(host)
        return Resolution(self.addresses, 60)


@contextlib.asynccontextmanager
async def browser(
    *, resolver: Any = None, policy: Any = HOME, max_connections: int = 100, **options: Any
) -> AsyncIterator[Web]:
    """A `Web` with these limits; whatever it left open makes the test fail."""
    limits = {name: options.pop(name) for name in list(options) if name in Limits.__slots__}
    web = Web(
        resolver=resolver or Names(),
        policy=policy,
        limits=Limits(**limits),
        user_agent="faircrawl-test/1",
        max_connections=max_connections,
        **options,
    )
    try:
        yield web
        assert not web._connector._acquired, "a connection was not given back"
    finally:
        await web.close()


def anything(_content_type: str | None) -> bool:
    """Every type is wanted."""
    return True


def html_only(content_type: str | None) -> bool:
    """Only HTML is wanted."""
    return (content_type or "").startswith("text/html")


async def fetch(reply: Reply, *, web: Any = None, path: str = "/", **options: Any) -> Answer:
    """What one GET brings from a site with that reply."""
    options.setdefault("accept_type", anything)
    async with Site(reply) as site, browser(**(web or {})) as made:
        return await made.get(site.url(path), **options)


def brief(answer: Answer) -> tuple[Outcome, str]:
    """Outcome and detail."""
    return answer.outcome, answer.detail


# ---------------------------------------------------------------- what a status means


async def test_a_page() -> None:
    """A whole 200 is OK, with all that was sent and received."""
    async with Site(response(PAGE, headers=["X-Odd: caf\xe9", 'ETag: W/"1"'])) as site, browser() as web:
        answer = await web.get(site.url("/a/../b?c=%C3%bc%zz#d"), accept_type=html_only)

    assert brief(answer) == (Outcome.OK, "")
    assert answer.body == PAGE
    assert answer.wire_bytes == len(PAGE)
    assert answer.status == 200
    assert answer.protocol == "HTTP/1.1"
    assert answer.address == LOOPBACK
    assert answer.content_type == "text/html"
    assert answer.headers[:2] == (("X-Odd", "caf\xe9"), ("ETag", 'W/"1"'))
    assert site.requests[0].startswith(b"GET /a/../b?c=%C3%bc%25zz HTTP/1.1\r\n")


async def test_the_request_is_what_it_says() -> None:
    """`request_headers` are the headers sent, in their order, and nothing else is sent."""
    async with Site(response()) as site, browser() as web:
        answer = await web.get(
            site.url(host="site.test"),
            accept_type=anything,
            user_agent="other/2",
            headers=[("If-None-Match", '"x"'), ("accept", "text/plain")],
        )

    sent = [tuple(line.split(": ", 1)) for line in site.requests[0].decode().split("\r\n")[1:-2]]
    assert list(answer.request_headers) == sent
    assert sent == [
        ("Host", f"site.test:{site.port}"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Connection", "keep-alive"),
        ("User-Agent", "other/2"),
        ("If-None-Match", '"x"'),
        ("accept", "text/plain"),
    ]


async def test_no_cookie_comes_back() -> None:
    """What a site sets as a cookie is not sent again."""
    async with Site(response(headers=["Set-Cookie: a=b"])) as site, browser() as web:
        for _ in range(2):
            await web.get(site.url(), accept_type=anything)

    assert len(site.requests) == 2
    assert b"cookie" not in site.requests[1].lower()


async def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")

    assert (await fetch(response())).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "detail"),
    [
        ("201 Created", [], Outcome.OK, "201 Created"),
        ("206 Partial", [], Outcome.OK, "206 Partial Content"),
        ("301 Moved", ["Location: /b"], Outcome.REDIRECT, "301 Moved Permanently"),
        ("302 Found", ["Location: /b"], Outcome.REDIRECT, "302 Found"),
        ("303 See", ["Location: /b"], Outcome.REDIRECT, "303 See Other"),
        ("307 Temp", ["Location: /b"], Outcome.REDIRECT, "307 Temporary Redirect"),
        ("308 Perm", ["Location: /b"], Outcome.REDIRECT, "308 Permanent Redirect"),
        ("302 Found", [], Outcome.HTTP_ERROR, "302 Found without a target"),
        ("300 Choices", ["Location: /b"], Outcome.HTTP_ERROR, "300 Multiple Choices"),
        ("305 Proxy", ["Location: /b"], Outcome.HTTP_ERROR, "305 Use Proxy"),
        ("306 Unused", ["Location: /b"], Outcome.HTTP_ERROR, "306"),
        ("400 Bad", [], Outcome.HTTP_ERROR, "400 Bad Request"),
        ("403 No", [], Outcome.HTTP_ERROR, "403 Forbidden"),
        ("404 Not Found", [], Outcome.GONE, "404 Not Found"),
        ("410 Gone", [], Outcome.GONE, "410 Gone"),
        ("429 Slow", ["Retry-After: 7"], Outcome.THROTTLED, "429 Too Many Requests"),
        ("500 Oh", [], Outcome.HTTP_ERROR, "500 Internal Server Error"),
        ("503 Later", ["Retry-After: 7"], Outcome.THROTTLED, "503 Service Unavailable"),
        ("999 Denied", [], Outcome.HTTP_ERROR, "999"),
    ],
)
async def test_status(status: str, headers: list[str], outcome: Outcome, detail: str) -> None:
    """The status decides the outcome; the connection is kept, and no body but that of a 2xx is."""
    reply = response(PAGE, status=status, headers=headers)
    async with Site(reply) as site, browser() as web:
        answers = [await web.get(site.url(), accept_type=anything) for _ in range(2)]

    assert [brief(answer) for answer in answers] == [(outcome, detail)] * 2
    assert answers[0].body == (PAGE if outcome is Outcome.OK else b"")
    assert answers[0].redirect_to == ("/b" if outcome is Outcome.REDIRECT else None)
    assert answers[0].retry_after == ("7" if outcome is Outcome.THROTTLED else None)
    assert site.connections == 1


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content"])
async def test_no_content(status: str) -> None:
    """204 and 205 are OK and empty, whatever types are wanted."""
    length = None if status.startswith("204") else 0
    answer = await fetch(
        response(b"", status=status, content_type=None, length=length), accept_type=html_only
    )

    assert (answer.outcome, answer.body) == (Outcome.OK, b"")


async def test_not_modified() -> None:
    """A 304 has no body, and its connection is kept."""
    reply = response(b"", status="304 Not Modified", length=500)
    async with Site(reply) as site, browser() as web:
        outcomes = [(await web.get(site.url(), accept_type=anything)).outcome for _ in range(2)]

    assert outcomes == [Outcome.NOT_MODIFIED] * 2
    assert site.connections == 1


async def test_switching_protocols() -> None:
    """A 101 that nobody asked for is an error."""
    reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"

    assert brief(await fetch(reply)) == (Outcome.HTTP_ERROR, "101 Switching Protocols")


async def test_interim_answers() -> None:
    """100 and 103 before the answer are passed over."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    answer = await fetch(early + response(PAGE))

    assert (answer.outcome, answer.body, answer.status) == (Outcome.OK, PAGE, 200)


async def test_a_redirect_to_utf8() -> None:
    """A Location in UTF-8 is read as that, and never has lone surrogates."""
    reply = b"HTTP/1.1 302 Found\r\nLocation: /caf\xc3\xa9\r\nX: \xff\r\nContent-Length: 0\r\n\r\n"
    answer = await fetch(reply)

    assert answer.redirect_to == "/café"
    assert answer.headers[1] == ("X", "ÿ")


async def test_body_of_an_error() -> None:
    """The body of an error is kept when it is asked for."""
    reply = response(gzip.compress(TEXT), status="404 Not Found", headers=["Content-Encoding: gzip"])
    kept = await fetch(reply, keep_body_on_error=True, max_body=1000)

    assert (kept.outcome, kept.body) == (Outcome.GONE, TEXT[:1000])


async def test_a_bad_body_does_not_change_what_the_status_says() -> None:
    """An error whose body never comes is that error still, and is not waited for."""
    began = time.monotonic()
    answer = await fetch(stall(response(b"some", status="404 Not Found", length=1000)))

    assert brief(answer) == (Outcome.GONE, "404 Not Found")
    assert time.monotonic() - began < 5


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


# ---------------------------------------------------------------- types, sizes, speed


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


async def test_endless_framing() -> None:
    """Chunks that are nearly all chunk header end as a malformed answer, not as gigabytes of traffic."""

    async def pedant(visitor: Visitor) -> None:
        await visitor.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say((b"1;" + b"x" * 1000 + b"\r\na\r\n") * 60)

    answer = await fetch(pedant, max_body=100_000)

    assert brief(answer) == (Outcome.PROTOCOL_ERROR, "malformed: too large framing")


def trickle(start: bytes, drop: bytes, every: float) -> Callable[[Visitor], Any]:
    """Reply with `start`, and then a drop every so many seconds for ever."""

    async def reply(visitor: Visitor) -> None:
        await visitor.say(start)
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say(drop)
                await asyncio.sleep(every)

    return reply


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


def stall(start: bytes) -> Callable[[Visitor], Any]:
    """Reply with `start`, and no more."""

    async def reply(visitor: Visitor) -> bool:
        await visitor.say(start)
        await visitor.gone()
        return False

    return reply


SILENT: Final = stall(b"")
STALLED: Final = stall(response(b"abc", length=100))
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


async def test_the_caller_may_be_in_a_hurry() -> None:
    """A deadline or a total of the caller's goes before the limits."""
    loop = asyncio.get_running_loop()
    async with Site(SILENT) as site, browser() as web:
        late = await web.get(site.url(), accept_type=anything, deadline=loop.time() + 0.1)
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


# ---------------------------------------------------------------- encodings


def deflate_raw(data: bytes) -> bytes:
    """Deflate without the zlib wrapping, as some servers send it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def gzip_with_fields(data: bytes) -> bytes:
    """Gzip with every optional field in its head."""
    head = b"\x1f\x8b\x08\x1e" + bytes(4) + b"\0\3" + b"\x02\0ab" + b"name\0" + b"comment\0"
    crc = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + deflate_raw(data) + crc


CODINGS: Final = [
    ("gzip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT)),
    ("GZip", gzip.compress(TEXT)),
    ("gzip", gzip_with_fields(TEXT)),
    ("gzip", gzip.compress(TEXT[:777]) + gzip.compress(TEXT[777:])),
    ("gzip", gzip.compress(TEXT) + b"\0\0 trailing garbage"),
    ("gzip", gzip.compress(TEXT) + b"\x1f"),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", deflate_raw(TEXT)),
    ("br", brotli.compress(TEXT)),
    ("zstd", zstd.compress(TEXT)),
    ("zstd", zstd.compress(TEXT[:777]) + zstd.compress(TEXT[777:])),
    ("identity", TEXT),
    ("", TEXT),
    ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
    ("deflate, identity, br ,gzip", gzip.compress(brotli.compress(zlib.compress(TEXT)))),
]


@pytest.mark.parametrize("step", [1, 1000, 1_000_000])
@pytest.mark.parametrize(("coding", "body"), CODINGS)
async def test_codings(coding: str, body: bytes, step: int) -> None:
    """Every coding is taken off, however the bytes come in."""

    async def pieces(visitor: Visitor) -> bool:
        await visitor.say(response(b"", headers=[f"Content-Encoding: {coding}"], length=len(body)))
        slow = min(len(body), 300)  # so that pieces of one byte arrive as such where it matters
        for start in range(0, slow, step):
            await visitor.say(body[start : min(start + step, slow)])
            if step == 1:
                await asyncio.sleep(0)
        await visitor.say(body[-(-slow // step) * step if step < slow else slow :])
        return True

    answer = await fetch(pieces)

    assert brief(answer) == (Outcome.OK, "")
    assert answer.body == TEXT
    assert answer.wire_bytes == len(body)


async def test_codings_in_two_headers() -> None:
    """Two Content-Encoding headers are one list."""
    body = brotli.compress(gzip.compress(TEXT))
    answer = await fetch(response(body, headers=["Content-Encoding: gzip", "Content-Encoding: br"]))

    assert (answer.outcome, answer.body) == (Outcome.OK, TEXT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
async def test_nothing_encoded(coding: str) -> None:
    """No bytes at all decode to none, whatever they are said to be."""
    answer = await fetch(response(b"", headers=[f"Content-Encoding: {coding}"]))

    assert (answer.outcome, answer.body) == (Outcome.OK, b"")


@pytest.mark.parametrize(
    ("coding", "body", "detail"),
    [
        ("gzip", gzip.compress(TEXT)[:-1], "the compressed body ends early"),
        ("gzip", gzip.compress(TEXT)[:100], "the compressed body ends early"),
        ("deflate", zlib.compress(TEXT)[:-1], "the compressed body ends early"),
        ("deflate", b"\x78", "the compressed body ends early"),
        ("br", brotli.compress(TEXT)[:-1], "the compressed body ends early"),
        ("zstd", zstd.compress(TEXT)[:-1], "the compressed body ends early"),
        ("gzip, br", brotli.compress(gzip.compress(TEXT)[:-1]), "the compressed body ends early"),
        ("gzip", PAGE, "corrupt gzip"),
        ("gzip", gzip.compress(TEXT)[:-8] + bytes(8), "corrupt gzip"),
        ("br", b"\xff" * 50, "corrupt brotli"),
        ("zstd", PAGE, "corrupt zstd"),
        ("compress", PAGE, "unknown content encoding 'compress'"),
        ("gzip, gzip, gzip, gzip, gzip, gzip", PAGE, "6 content encodings on top of each other"),
        ("gzip", gzip.compress(b"") * 10_001, "more than 10000 compressed streams in one body"),
    ],
)
async def test_bad_codings(coding: str, body: bytes, detail: str) -> None:
    """What is not what its Content-Encoding says is a decode error that says why, and no page."""
    answer = await fetch(response(body, headers=[f"Content-Encoding: {coding}"]))

    assert answer.outcome is Outcome.DECODE_ERROR
    assert answer.detail.startswith(detail)
    assert answer.body == b""


MAX_BODY: Final = Limits().max_body
BOMB: Final = """
import asyncio, gzip, sys, zlib
import brotli
from ipaddress import ip_network
from backports import zstd
from crawler.adapters.web import Limits, Web
from crawler.core.addresses import AddressPolicy
from tests.adapters.servers import Site, response

coding, window, size = sys.argv[1], int(sys.argv[2]), 1 << 28

def bomb():
    if coding == "br":
        packer = brotli.Compressor(quality=5, lgwin=window)
        return b"".join(packer.process(bytes(1 << 20)) for _ in range(size >> 20)) + packer.finish()
    if coding == "zstd":
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window})
    else:
        packer = zlib.compressobj(6, zlib.DEFLATED, 31 if "gzip" in coding else 15)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    return gzip.compress(data) if coding == "gzip, gzip" else data

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

async def main():
    body = bomb()
    reply = response(body, headers=["Content-Encoding: " + coding])
    policy = AddressPolicy(allowed=(ip_network("127.0.0.0/8"),))
    async with Site({"/": response(), "/bomb": reply}) as site:
        web = Web(resolver=None, policy=policy, limits=Limits(), user_agent="x", max_connections=9)
        await web.get(site.url(), accept_type=lambda kind: True)
        before = rss()
        open("/proc/self/clear_refs", "w").write("5")  # forget the peak
        answer = await web.get(site.url("/bomb"), accept_type=lambda kind: True)
        print(answer.outcome.value, len(body), peak() - before)
        await web.close()

asyncio.run(main())
"""


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(
    ("coding", "window", "most"),
    [
        ("gzip", 0, 2 * MAX_BODY),
        ("deflate", 0, 2 * MAX_BODY),
        ("gzip, gzip", 0, 2 * MAX_BODY),
        ("zstd", 23, 2 * MAX_BODY),
        ("br", 22, 2 * MAX_BODY),
        ("br", 24, MAX_BODY + 20 * 1024 * 1024),  # the widest window alone is 16 MiB
    ],
)
async def test_bombs(coding: str, window: int, most: int) -> None:
    """A 256 MiB bomb is too large, and costs less memory than twice the cap (or a wide brotli window)."""
    run = [sys.executable, "-c", BOMB, coding, str(window)]
    root = Path(__file__).parent.parent.parent
    done = await asyncio.to_thread(
        subprocess.run, run, cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    outcome, packed, grown = done.stdout.split()

    assert outcome == "too_large"
    assert int(packed) < 600_000
    assert int(grown) < most


# ---------------------------------------------------------------- connections


async def test_connections_are_kept() -> None:
    """Requests to one origin share a connection, and each knows the address."""
    async with Site(response()) as site, browser() as web:
        answers = [await web.get(site.url(host="site.test"), accept_type=anything) for _ in range(5)]

    assert site.connections == 1
    assert {answer.address for answer in answers} == {LOOPBACK}
    assert [name for name, _ in answers[0].phases] == ["dns", "connect", "first_byte", "body"]
    assert [name for name, _ in answers[1].phases] == ["first_byte", "body"]


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


async def test_a_dead_idle_connection_is_replaced() -> None:
    """A connection that died while idle is replaced by a new one, once, and nobody notices."""

    async def twice(visitor: Visitor) -> bool:
        if (
            visitor.nth == 2
        ):  # the third request on a connection is not answered, as by `keepalive_requests 2`
            return False
        await visitor.say(response())
        return True

    async with Site(twice) as site, browser() as web:
        outcomes = [(await web.get(site.url(), accept_type=anything)).outcome for _ in range(6)]

    assert outcomes == [Outcome.OK] * 6
    assert site.connections == 3


async def test_several_dead_idle_connections() -> None:
    """However many idle connections are dead, the second try is made on a new one."""
    together = asyncio.Barrier(3)

    async def reply(visitor: Visitor) -> bool:
        if visitor.number < 3:
            if visitor.nth == 1:
                return False
            await together.wait()
        await visitor.say(response())
        return True

    async with Site(reply) as site, browser() as web:
        await asyncio.gather(*(web.get(site.url(), accept_type=anything) for _ in range(3)))
        answer = await web.get(site.url(), accept_type=anything)

    assert answer.outcome is Outcome.OK
    assert (site.connections, len(site.requests)) == (4, 5)


async def test_a_new_connection_is_not_tried_twice() -> None:
    """A server that closes a new connection without a word is asked once only."""

    async def slam(visitor: Visitor) -> bool:
        return False

    async with Site(slam) as site, browser() as web:
        answer = await web.get(site.url(), accept_type=anything)

    assert brief(answer) == (Outcome.PROTOCOL_ERROR, "closed without an answer")
    assert len(site.requests) == 1


async def test_half_an_answer_is_not_asked_for_again() -> None:
    """A kept connection that dies within the answer ends the request: the site has had it."""

    async def half(visitor: Visitor) -> bool:
        await visitor.say(response() if visitor.nth == 0 else b"HTTP/1.1 2")
        return visitor.nth == 0

    async with Site(half) as site, browser() as web:
        await web.get(site.url(), accept_type=anything)
        answer = await web.get(site.url(), accept_type=anything)

    assert answer.outcome is Outcome.PROTOCOL_ERROR
    assert len(site.requests) == 2


async def test_forget() -> None:
    """The idle connections of a domain are closed when its turn is over, and nobody else's."""
    async with Site(response()) as site, browser() as web:
        for host in ("site.test", "www.site.test", "notsite.test"):
            await web.get(site.url(host=host), accept_type=anything)
        await web.forget("site.test")
        closed = {await site.left.get(), await site.left.get()}
        left = [key.host for key in web._connector._conns]

    assert closed == {0, 1}
    assert left == ["notsite.test"]


async def test_idle_connections_make_room() -> None:
    """Busy and idle connections together stay within the limit: the one idle for longest is closed."""
    async with Site(response()) as site, browser(max_connections=3) as web:
        for host in ("a.test", "b.test", "c.test", "a.test", "d.test"):
            await web.get(site.url(host=host), accept_type=anything)
        closed = await site.left.get()
        idle = {key.host for key in web._connector._conns}

    assert closed == 1
    assert idle == {"a.test", "c.test", "d.test"}


async def test_connection_close() -> None:
    """A server that says it closes is taken at its word."""
    async with Site(response(headers=["Connection: close"])) as site, browser() as web:
        for _ in range(2):
            await web.get(site.url(), accept_type=anything)

    assert site.connections == 2


async def test_until_the_end() -> None:
    """A body without a length ends with its connection."""

    async def reply(visitor: Visitor) -> bool:
        await visitor.say(b"HTTP/1.0 200 OK\r\n\r\n" + TEXT)
        return False

    answer = await fetch(reply)

    assert (answer.outcome, answer.body, answer.protocol) == (Outcome.OK, TEXT, "HTTP/1.0")


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "reply",
    [
        b"ICY 200 OK\r\n\r\n",
        b"220 mail.test ESMTP\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    ],
)
async def test_malformed(reply: bytes) -> None:
    """What is not HTTP, or ends early, is a protocol error at once."""

    async def say(visitor: Visitor) -> bool:
        await visitor.say(reply)
        return False

    began = time.monotonic()
    answer = await fetch(say)

    assert answer.outcome is Outcome.PROTOCOL_ERROR
    assert answer.detail
    assert "\n" not in answer.detail
    assert answer.body == b""
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("reply", [b"zz\r\n", b"5\r\nabcdefgh"])
async def test_a_malformed_chunk_is_not_waited_for(reply: bytes) -> None:
    """A malformed chunk after good ones ends the request although the server says no more."""

    async def say(visitor: Visitor) -> None:
        await visitor.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        await visitor.say(reply)
        await visitor.gone()

    began = time.monotonic()
    answer = await fetch(say)

    assert answer.outcome is Outcome.PROTOCOL_ERROR
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"a" * 70_000, b"\r\n".join(b"X: " + b"a" * 100 for _ in range(800)), b"X: a\r\n" * 1200],
    ids=["one long", "many", "very many"],
)
async def test_too_large_headers(head: bytes) -> None:
    """Headers beyond 64 KiB, or more than 1,000 of them, are a protocol error."""
    answer = await fetch(b"HTTP/1.1 200 OK\r\n" + head.rstrip() + b"\r\nContent-Length: 0\r\n\r\n")

    assert answer.outcome is Outcome.PROTOCOL_ERROR


async def test_endless_headers() -> None:
    """Headers without end are cut off at 64 KiB."""

    async def endless(visitor: Visitor) -> None:
        await visitor.say(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await visitor.say(b"X-A: b\r\n" * 10)
                await asyncio.sleep(0)

    assert (await fetch(endless)).outcome is Outcome.PROTOCOL_ERROR


async def test_large_but_lawful_headers() -> None:
    """A header of 60 KiB, as some cookies have, is read."""
    answer = await fetch(response(headers=["X: " + "a" * 60_000]))

    assert answer.outcome is Outcome.OK


async def test_nobody_listens() -> None:
    """A refused connection is a connect error."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{taken.getsockname()[1]}/"
        async with browser() as web:
            answer = await web.get(url, accept_type=anything)

    assert brief(answer) == (Outcome.CONNECT_ERROR, "connection refused")
    assert answer.address is None


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


async def test_another_address_is_tried() -> None:
    """When one address of a name refuses, the next one is used."""
    async with Site(response()) as site, browser(resolver=Names("127.0.0.9", LOOPBACK)) as web:
        answer = await web.get(site.url(host="site.test"), accept_type=anything)

    assert (answer.outcome, answer.address) == (Outcome.OK, LOOPBACK)


async def test_reset() -> None:
    """A connection reset instead of an answer is a protocol error."""

    async def reset(visitor: Visitor) -> bool:
        link = visitor.writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        visitor.writer.transport.abort()
        return False

    answer = await fetch(reset)

    assert answer.outcome is Outcome.PROTOCOL_ERROR
    assert answer.detail in ("connection reset by peer", "closed without an answer")


async def test_our_own_lack_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this machine can open no more sockets, that is no outcome of the site's."""

    def exhausted(*_: Any) -> socket.socket:
        raise OSError(24, "Too many open files")

    async with browser() as web:
        monkeypatch.setattr(web._connector, "_gate", exhausted)
        with pytest.raises(SocketsExhaustedError, match="ulimit"):
            await web.get(f"http://{LOOPBACK}:8080/", accept_type=anything)


# ---------------------------------------------------------------- names and addresses


@pytest.mark.parametrize(("records", "detail"), [(NXDOMAIN, "no such name"), ([], "the name has no address")])
async def test_no_address(records: Any, detail: str) -> None:
    """A name without an address is a DNS error that says why."""
    async with NameServer({"site.test": records}) as server:
        resolver = Resolver(servers=[server.where], hosts_file=None)
        async with browser(resolver=resolver) as web:
            answer = await web.get("http://site.test/", accept_type=anything)
        await resolver.close()

    assert brief(answer) == (Outcome.DNS_ERROR, detail)
    assert [name for name, _ in answer.phases] == ["dns"]


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


STRICT: Final = AddressPolicy()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",
        "127.1",
    ],
)
async def test_private_literals(host: str) -> None:
    """A literal that is not public is refused without asking DNS or making a socket."""
    names = Names("192.0.2.1")
    async with browser(policy=STRICT, resolver=names) as web:
        answer = await web.get(f"http://{host}:8080/", accept_type=anything)

    assert answer.outcome is Outcome.ADDRESS_REFUSED
    assert answer.detail
    assert names.asked == []


async def test_a_name_of_a_private_address() -> None:
    """A name that leads to private addresses alone is refused, and says where it led."""
    async with Site(response()) as site, browser(policy=STRICT, resolver=Names(LOOPBACK, "10.1.2.3")) as web:
        answer = await web.get(site.url(host="site.test"), accept_type=anything)

    assert brief(answer) == (Outcome.ADDRESS_REFUSED, "127.0.0.1: loopback, 10.1.2.3: private")
    assert site.connections == 0


async def test_private_addresses_among_others() -> None:
    """Of the addresses of a name only those allowed are connected to."""
    only = AddressPolicy(allowed=(ip_network("127.0.0.2/32"),))
    async with (
        Site(response()) as private,
        Site(response(), address="127.0.0.2", port=private.port) as allowed,
        browser(policy=only, resolver=Names(LOOPBACK, "127.0.0.2")) as web,
    ):
        answer = await web.get(private.url(host="site.test"), accept_type=anything)

    assert (answer.outcome, answer.address) == (Outcome.OK, "127.0.0.2")
    assert (private.connections, allowed.connections) == (0, 1)


async def test_a_rebinding_name() -> None:
    """A name that turns private after its first answer gains nothing by it."""
    only = AddressPolicy(allowed=(ip_network("127.0.0.2/32"),))
    names = Names("127.0.0.2")
    async with (
        Site(response(headers=["Connection: close"]), address="127.0.0.2") as site,
        Site(response(b"secret"), port=site.port) as private,
        browser(policy=only, resolver=names) as web,
    ):
        first = await web.get(site.url(host="evil.test"), accept_type=anything)
        names.addresses = (LOOPBACK,)
        second = await web.get(site.url(host="evil.test"), accept_type=anything)

    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.ADDRESS_REFUSED)
    assert private.connections == 0


async def test_the_last_gate() -> None:
    """An address is looked at again when its socket is made: nothing in between can slip one in."""

    class Wavering:
        asked = 0

        def refusal(self, _address: str) -> str | None:
            self.asked += 1
            return None if self.asked == 1 else "changed"

    async with Site(response()) as site, browser(policy=Wavering()) as web:
        answer = await web.get(site.url(), accept_type=anything)

    assert brief(answer) == (Outcome.ADDRESS_REFUSED, "127.0.0.1: changed")
    assert site.connections == 0


@pytest.mark.parametrize("port", [0, 22, 25, 81, 1023])
async def test_ports(port: int) -> None:
    """Ports below 1024 other than 80 and 443 are refused."""
    async with browser() as web:
        answer = await web.get(f"http://{LOOPBACK}:{port}/", accept_type=anything)

    assert brief(answer) == (Outcome.ADDRESS_REFUSED, f"port {port}")


@pytest.mark.parametrize(
    "url", ["ftp://site.test/", "/path", "http://", "http://site.test:99999/", "http://["]
)
async def test_unspeakable_urls(url: str) -> None:
    """What is no URL that can be asked for is refused, and stops nothing."""
    async with browser() as web:
        answer = await web.get(url, accept_type=anything)

    assert answer.outcome is Outcome.ADDRESS_REFUSED
    assert "URL" in answer.detail


async def test_localhost_is_refused() -> None:
    """The name localhost leads home, where nobody is let in."""
    resolver = Resolver(servers=[(LOOPBACK, 9)], hosts_file=None)
    async with browser(policy=STRICT, resolver=resolver) as web:
        answer = await web.get("http://localhost:8080/", accept_type=anything)
    await resolver.close()

    assert answer.outcome is Outcome.ADDRESS_REFUSED


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows but this test."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate, for TLS_CA_FILE."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def certified(authority: trustme.CA, *names: str, **options: Any) -> ssl.SSLContext:
    """What a server of these names needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


async def test_tls(authority: trustme.CA, ca_file: Path) -> None:
    """A certificate of a known authority is good, by name and by address, and connections are kept."""
    tls = certified(authority, "site.test", LOOPBACK)
    async with Site(response(), tls=tls) as site, browser(tls_ca_file=ca_file) as web:
        answers = [
            await web.get(site.url(host=host), accept_type=anything)
            for host in ("site.test", "site.test", "site.test.", LOOPBACK)
        ]

    assert [answer.outcome for answer in answers] == [Outcome.OK] * 4
    assert site.connections == 3


@pytest.mark.parametrize(
    ("name", "trusted", "detail"),
    [
        ("other.test", ["ours"], "certificate: Hostname mismatch, certificate is not valid for 'site.test'."),
        ("site.test", [], "certificate: unable to get local issuer certificate"),
    ],
)
async def test_bad_certificates(
    authority: trustme.CA, ca_file: Path, name: str, trusted: list[str], detail: str
) -> None:
    """A certificate that is not good is a TLS error that says why, unless certificates do not matter."""
    async with Site(response(), tls=certified(authority, name)) as site:
        async with browser(tls_ca_file=ca_file if trusted else None) as web:
            strict = await web.get(site.url(host="site.test"), accept_type=anything)
        async with browser(tls_verify=False) as web:
            lax = await web.get(site.url(host="site.test"), accept_type=anything)

    assert brief(strict) == (Outcome.TLS_ERROR, detail)
    assert lax.outcome is Outcome.OK


async def test_tls_to_a_plain_server() -> None:
    """A server that does not speak TLS is a TLS error."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, LOOPBACK, 0)
    async with server, browser() as web:
        port = server.sockets[0].getsockname()[1]
        answer = await web.get(f"https://{LOOPBACK}:{port}/", accept_type=anything)

    assert answer.outcome is Outcome.TLS_ERROR
    assert "\n" not in answer.detail


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
        async with asyncio.timeout(5):
            await left.wait()

    expected = "no TLS within 0.2 s" if "tls_timeout" in limits else "not done within 0.2 s (tls)"
    assert brief(answer) == (Outcome.TIMEOUT, expected)


async def test_a_name_no_certificate_could_hold() -> None:
    """A host name that TLS cannot express is a TLS error."""
    async with Site(response()) as site, browser() as web:
        answer = await web.get(f"https://{'a' * 64}.test:{site.port}/", accept_type=anything)
        await site.left.get() if site.connections else None

    assert answer.outcome is Outcome.TLS_ERROR


# ---------------------------------------------------------------- many at once


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
        for _ in range(site.connections):
            await site.left.get()
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


async def test_dns_errors_are_values() -> None:
    """Whatever a resolver says, it is a DNS error."""

    class Broken:
        async def resolve(self, host: str) -> Resolution:
            raise DnsError(f"{host} is unknown")

    async with browser(resolver=Broken()) as web:
        answer = await web.get("http://site.test/", accept_type=anything)

    assert brief(answer) == (Outcome.DNS_ERROR, "site.test is unknown")
