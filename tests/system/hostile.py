"""The hostile web: a host for each way in which a server is broken or malicious, byte for byte, beside honest ones.

    HOSTILE: host ──► what its paths answer, and how each of its URLs must end
    served by one raw server on loopback (and a second one, that hangs in the TLS handshake), named by one name server

`python -m tests.system.hostile` crawls it with the real program and prints what came of each.
"""

import asyncio
import gzip
import itertools
import random
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import brotli  # type: ignore[import-untyped]  # it has no stubs

from crawler.adapters.zstd import pack
from crawler.demo.names import LOOPBACK, SILENCE, NameServer, Records
from tests.adapters.servers import Reply, Site, Visitor, response

MIB: Final = 1 << 20
BOMB: Final = 64 * MIB
PLAIN: Final = response(b"<title>plain</title><p>nothing else")


@dataclass(frozen=True, slots=True)
class Host:
    """One hostile host."""

    about: str
    replies: Mapping[str, Reply]
    """By path; a path that ends in * stands for all that begin so. Without a robots.txt there is none."""
    ends: Mapping[str, str]
    """Outcomes by path: more than one, where they may differ, with a bar between them."""
    at_most: int = 100
    """Requests."""


def dripping(data: bytes, size: int, pause: float) -> Callable[[Visitor], Awaitable[bool]]:
    """Say something in small pieces, again and again."""

    async def reply(visitor: Visitor) -> bool:
        for start in itertools.count(0, size):
            await visitor.say(data[start % len(data) :][:size])
            await asyncio.sleep(pause)
        return False

    return reply


def then(head: bytes, more: Callable[[Visitor], Awaitable[bool]]) -> Callable[[Visitor], Awaitable[bool]]:
    """Say one thing first."""

    async def reply(visitor: Visitor) -> bool:
        await visitor.say(head)
        return await more(visitor)

    return reply


async def silent(visitor: Visitor) -> bool:
    """Say nothing until the client leaves."""
    await visitor.gone()
    return False


async def reset(visitor: Visitor) -> bool:
    """Cut the connection with a reset."""
    visitor.writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER
    visitor.writer.transport.abort()
    return False


def closing(data: bytes) -> Callable[[Visitor], Awaitable[bool]]:
    """Say it, and close."""

    async def reply(visitor: Visitor) -> bool:
        await visitor.say(data)
        return False

    return reply


def packed(body: bytes, *codings: str) -> bytes:
    """An answer whose body is in these content codings."""
    return response(body, headers=[f"Content-Encoding: {', '.join(codings)}"])


def head(*lines: str) -> bytes:
    """The head of an answer with these lines."""
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html", *lines, "", ""]).encode("latin-1")


def links(*urls: str) -> bytes:
    """A page that leads there."""
    return response("".join(f'<p><a href="{url}">{url}</a>' for url in urls).encode("utf-8", "surrogatepass"))


def moved(target: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return response(b"moved", status=status, headers=[f"Location: {target}"])


def counted(page: Callable[[str], bytes]) -> Callable[[Visitor], Awaitable[bool | None]]:
    """An answer made from the path."""

    async def reply(visitor: Visitor) -> bool | None:
        await visitor.say(page(visitor.path))
        return None

    return reply


def number(path: str) -> int:
    """The last number in a path."""
    digits = "".join(c if c.isdigit() else " " for c in path).split()
    return int(digits[-1]) if digits else 0


def calendar(path: str) -> bytes:
    """A month without appointments, and the way to the twelve after it."""
    n = number(path)
    later = "".join(f"<a href=/month/{n + m}>later</a>" for m in range(1, 13))
    return response(f"<title>{n}</title><p>No appointments.{later}".encode())


def session(path: str) -> bytes:
    """The same three pages under a new session at each visit."""
    page = path.partition("?")[0].partition(";")[0]
    sid = random.getrandbits(128).to_bytes(16, "big").hex()
    urls = [f"/{name};jsessionid={sid}?PHPSESSID={sid}" for name in ("a", "b", "c")]
    return response(
        f"<p>this is page {page}".encode() + b"".join(b"<a href=%s>x</a>" % url.encode() for url in urls)
    )


def facets(path: str) -> bytes:
    """A shop whose filters combine without end, over the same few things."""
    query = path.partition("?")[2]
    chosen = set(filter(None, query.split("&")))
    more = [f"f{i}={v}" for i in range(12) for v in "abc" if f"f{i}={v}" not in chosen]
    urls = ["/?" + "&".join([*sorted(chosen), one]) for one in more]
    return response(b"<p>Nothing found." + b"".join(b"<a href='%s'>x</a>" % url.encode() for url in urls))


def nest(depth: int) -> bytes:
    """Tags within tags."""
    return response(b"<div>" * depth + b"<a href=/deep>deep</a>")


def zstd_bomb() -> bytes:
    """64 MiB of nothing."""
    return pack(bytes(BOMB))


SAFE: Final[Mapping[str, Reply]] = {"/": links("/a", "/b", "/c"), "/*": PLAIN}
OK: Final[dict[str, str]] = {"/": "ok", "/a": "ok", "/b": "ok", "/c": "ok"}
CANARY: Final = "127.66.6.6"
"""An address of loopback that nobody may call: only 127.0.0.1 is allowed."""

TIME: Final = {
    "header-drip.test": Host(
        "header bytes, one every 0.2 s", {"/": dripping(b"HTTP/1.1 200 OK\r\nX: y", 1, 0.2)}, {"/": "timeout"}
    ),
    "body-drip.test": Host(
        "body bytes, 20 a second", {"/": then(head(), dripping(b"x" * 9, 4, 0.2))}, {"/": "too_slow"}
    ),
    "body-stop.test": Host(
        "half a body, then nothing",
        {"/": then(head("Content-Length: 99") + b"half", silent)},
        {"/": "timeout"},
    ),
    "forever.test": Host(
        "a body at 2 kB a second for ever",
        {"/": then(head(), dripping(b"x" * 512, 512, 0.2))},
        {"/": "timeout"},
    ),
    "silent.test": Host("accepts, and is silent", {"/": silent}, {"/": "timeout"}),
    "chunk-drip.test": Host(
        "a chunk's extension without end",
        {"/": then(head("Transfer-Encoding: chunked") + b"5;", dripping(b"x" * 9, 1, 0.1))},
        {"/": "too_slow|timeout|protocol_error"},
    ),
    "continue.test": Host(
        "100 Continue without end",
        {"/": dripping(b"HTTP/1.1 100 Continue\r\n\r\n", 25, 0.05)},
        {"/": "timeout|protocol_error"},
    ),
    "robots-hang.test": Host(
        "robots.txt never answers", {"/robots.txt": silent, "/": PLAIN}, {"/": "timeout|robots_refused"}
    ),
}

SIZE: Final = {
    "endless.test": Host(
        "a body without end",
        {"/": then(head(), dripping(b"<p>all work and no play " * 2000, 65536, 0))},
        {"/": "too_large"},
    ),
    "announced.test": Host("a terabyte announced", {"/": response(b"x", length=1 << 40)}, {"/": "too_large"}),
    "headers.test": Host(
        "headers without end",
        {"/": then(b"HTTP/1.1 200 OK\r\n", dripping(b"X-More: yes\r\n" * 500, 6500, 0))},
        {"/": "protocol_error"},
    ),
    "60000.test": Host(
        "60,000 headers",
        {"/": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(60_000)) + b"\r\n"},
        {"/": "protocol_error"},
    ),
    "one-header.test": Host(
        "a header without end",
        {"/": then(b"HTTP/1.1 200 OK\r\nX: ", dripping(b"x" * 65536, 65536, 0))},
        {"/": "protocol_error"},
    ),
    "gzip.test": Host(
        "a gzip bomb of 64 MiB", {"/": packed(gzip.compress(bytes(BOMB)), "gzip")}, {"/": "too_large"}
    ),
    "deflate.test": Host(
        "a deflate bomb", {"/": packed(zlib.compress(bytes(BOMB)), "deflate")}, {"/": "too_large"}
    ),
    "brotli.test": Host(
        "a brotli bomb", {"/": packed(brotli.compress(bytes(BOMB), quality=1), "br")}, {"/": "too_large"}
    ),
    "zstd.test": Host("a zstd bomb", {"/": packed(zstd_bomb(), "zstd")}, {"/": "too_large"}),
    "stacked.test": Host(
        "a bomb in a bomb",
        {"/": packed(gzip.compress(gzip.compress(bytes(BOMB))), "gzip", "gzip")},
        {"/": "too_large"},
    ),
    "robots-endless.test": Host(
        "a robots.txt without end that allows",
        {"/robots.txt": then(head(), dripping(b"User-agent: *\nDisallow: /no\n" * 900, 65536, 0)), **SAFE},
        OK,
    ),
}

BROKEN: Final = {
    "garbage.test": Host(
        "garbage for a status line", {"/": closing(b"\x00\xff\xfegarbage\r\n\r\n")}, {"/": "protocol_error"}
    ),
    "short.test": Host(
        "less than announced", {"/": closing(response(b"short", length=500))}, {"/": "protocol_error"}
    ),
    "two-lengths.test": Host(
        "two lengths",
        {"/": closing(response(b"two", headers=["Content-Length: 7"]))},
        {"/": "protocol_error"},
    ),
    "chunks.test": Host(
        "a bad chunk",
        {"/": closing(head("Transfer-Encoding: chunked") + b"zz\r\nbad\r\n")},
        {"/": "protocol_error"},
    ),
    "early.test": Host(
        "closed within the headers", {"/": closing(b"HTTP/1.1 200 OK\r\nContent-Ty")}, {"/": "protocol_error"}
    ),
    "reset.test": Host("reset", {"/": reset}, {"/": "protocol_error|connect_error"}),
    "http09.test": Host("HTTP/0.9", {"/": closing(b"<p>only a body")}, {"/": "protocol_error"}),
    "http10.test": Host(
        "HTTP/1.0, closed at the end",
        {"/": closing(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>old")},
        {"/": "ok"},
    ),
    "999.test": Host("status 999", {"/": response(b"no", status="999 Denied")}, {"/": "http_error"}),
    "204.test": Host("204, no content", {"/": b"HTTP/1.1 204 No Content\r\n\r\n"}, {"/": "ok"}),
    "304.test": Host("304 unasked", {"/": b"HTTP/1.1 304 Not Modified\r\n\r\n"}, {"/": "http_error"}),
    "untyped.test": Host(
        "no content type",
        {"/": response(b"<!doctype html><p>untyped<a href=/a>a</a>", content_type=None), "/a": PLAIN},
        {"/": "ok", "/a": "ok"},
    ),
    "pdf.test": Host(
        "a PDF called text/html",
        {"/": response(b"%PDF-1.7\n\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 40)},
        {"/": "ok"},
    ),
    "octets.test": Host(
        "a program, honestly named",
        {"/": response(b"\x7fELF", content_type="application/octet-stream")},
        {"/": "type_refused"},
    ),
    "lying.test": Host("says gzip, and is not", {"/": packed(b"<p>plain", "gzip")}, {"/": "decode_error"}),
    "cut-gzip.test": Host(
        "half a gzip stream",
        {"/": packed(gzip.compress(random.Random(1).randbytes(9999))[:5000], "gzip")},
        {"/": "decode_error"},
    ),
    "coding.test": Host("a content coding nobody knows", {"/": packed(b"<p>x", "rot13")}, {"/": "ok"}),
}

REDIRECTS: Final = {
    "loop.test": Host(
        "a redirect to itself, and two to each other",
        {"/": moved("/x"), "/x": moved("/y"), "/y": moved("/x")},
        {"/": "redirect", "/x": "redirect", "/y": "redirect"},
    ),
    "chain.test": Host(
        "redirects without end",
        {"/*": counted(lambda path: moved(f"/{number(path) + 1}"))},
        {"/": "redirect", "/10": "redirect"},
        at_most=13,
    ),
    "away.test": Host(
        "a redirect to another domain", {"/": moved("http://honest-0.test:PORT/")}, {"/": "redirect"}
    ),
    "scheme.test": Host(
        "redirects to schemes that are refused",
        {
            "/": links("/ftp", "/file", "/js"),
            "/ftp": moved("ftp://a.test/"),
            "/file": moved("file:///etc/passwd"),
            "/js": moved("javascript:alert(1)"),
        },
        {"/": "ok", "/ftp": "redirect", "/file": "redirect", "/js": "redirect"},
    ),
    "inwards.test": Host(
        "a redirect to a private address", {"/": moved(f"http://{CANARY}:PORT/")}, {"/": "redirect"}
    ),
    "targetless.test": Host(
        "a redirect without a target", {"/": response(b"", status="301 Moved")}, {"/": "http_error"}
    ),
}

ROBOTS: Final = {
    "robots-500.test": Host(
        "robots.txt: 500",
        {"/robots.txt": response(b"", status="500 Oh"), "/": PLAIN},
        {"/": "robots_refused"},
    ),
    "robots-429.test": Host(
        "robots.txt: 429",
        {"/robots.txt": response(b"", status="429 Slow"), "/": PLAIN},
        {"/": "robots_refused"},
    ),
    "robots-403.test": Host("robots.txt: 403", {"/robots.txt": response(b"", status="403 No"), **SAFE}, OK),
    "robots-loop.test": Host(
        "robots.txt redirects without end",
        {"/robots.txt": moved("/robots.txt?1"), "/robots.txt*": moved("/robots.txt?2"), "/": PLAIN},
        {"/": "robots_refused|ok"},
    ),
    "robots-away.test": Host(
        "robots.txt lies in another domain",
        {"/robots.txt": moved("http://rules.test:PORT/robots.txt"), **SAFE},
        OK | {"/c": "robots_refused"},
    ),
    "rules.test": Host(
        "BOM, CR, case, spaces, wildcards, %",
        {
            "/robots.txt": response(
                b"\xef\xbb\xbf# hi\rUSER-AGENT : *\rdisallow:/c\r\n\x00\xff\nDisallow : /*.php$\nDisallow: /%7Ejoe\n",
                content_type="text/plain",
            ),
            "/": links("/a", "/b", "/c", "/x.php", "/x.php?y", "/~joe/"),
            "/*": PLAIN,
        },
        OK
        | {"/c": "robots_refused", "/x.php": "robots_refused", "/x.php?y": "ok", "/~joe/": "robots_refused"},
    ),
    "robots-inwards.test": Host(
        "robots.txt at a private address",
        {"/robots.txt": moved(f"http://{CANARY}:PORT/robots.txt"), "/": PLAIN},
        {"/": "robots_refused"},
    ),
    "robots-junk.test": Host(
        "robots.txt: binary rubbish",
        {"/robots.txt": response(random.Random(2).randbytes(100_000), content_type="text/plain"), **SAFE},
        OK,
    ),
}

PAGES: Final = {
    "nested.test": Host(
        "200,000 nested tags", {"/": nest(200_000), "/deep": PLAIN}, {"/": "ok", "/deep": "ok"}
    ),
    "links.test": Host(
        "200,000 links",
        {
            "/robots.txt": response(b"User-agent: *\nDisallow: /no/"),
            "/": response(b"".join(b"<a href=/no/%d>x</a>" % i for i in range(200_000))),
        },
        {"/": "ok", "/no/4999": "robots_refused"},
    ),
    "attributes.test": Host(
        "100,000 attributes",
        {
            "/": response(b"<p " + b" ".join(b"a%d=1" % i for i in range(100_000)) + b"><a href=/a>a</a>"),
            "/a": PLAIN,
        },
        {"/": "ok", "/a": "ok"},
    ),
    "line.test": Host(
        "one line of 9 MB",
        {"/": response(b"<a href=/a>a</a>" + b"word " * 1_800_000), "/a": PLAIN},
        {"/": "ok", "/a": "ok"},
    ),
    "paragraphs.test": Host(
        "2,000,000 open paragraphs in 500 bold",
        {"/": response(b"<b>" * 500 + b"<p>x" * 2_000_000)},
        {"/": "ok|decode_error"},
    ),
    "quotes.test": Host(
        "8 MB of blockquotes", {"/": response(b"<blockquote>" * 700_000)}, {"/": "ok|decode_error"}
    ),
    "numbers.test": Host(
        "NUL, controls, bad references",
        {
            "/": response(
                b"\x00<p>&#xD800;&#0;&#x110000;&#99999999999;\x01\x0b<a href='/a&#0;'>x</a><a href=/a>a</a>"
            ),
            "/*": PLAIN,
        },
        {"/": "ok", "/a": "ok"},
    ),
    "charset.test": Host(
        "a charset that is wrong",
        {
            "/": response(
                "<p>żółć <a href=/ż>x</a>".encode("iso-8859-2"), content_type="text/html; charset=utf-16"
            ),
            "/*": PLAIN,
        },
        {"/": "ok"},
    ),
    "laughs.test": Host(
        "a billion laughs",
        {
            "/": response(
                b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
                + b"".join(
                    b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % ((98 + i,) + (97 + i,) * 8)
                    for i in range(12)
                )
                + b"]><l>&m;</l>",
                content_type="application/xml",
            )
        },
        {"/": "ok"},
    ),
    "odd-urls.test": Host(
        "links that are hardly URLs",
        {
            "/": links(
                "http://[::1",
                "http://a b.test/",
                "http://x.test:99999/",
                "/%zz",
                "http://xn--a/",
                "http://u:p@odd-urls.test:PORT/a",
                "javascript:x",
                "data:,x",
                "mailto:x@y",
                "ftp://x/",
                "file:///etc/passwd",
                "\\\\odd-urls.test:PORT/..\\b",
                "/\tc\n",
                f"http://{CANARY}:PORT/",
                "http://0x7f420606:PORT/",
                "http://2134640134:PORT/",
                "http://0177.0102.06.06:PORT/",
                "http://[::ffff:7f42:606]:PORT/",
                "http://odd-urls.test.:PORT/dot",
                "/" + "x" * 9000,
                "/\ud800",
            ),
            "/*": PLAIN,
        },
        OK | {"/%zz": "ok"},
    ),
}

TRAPS: Final = {
    "calendar.test": Host(
        "a calendar without end",
        {"/": links("/month/1"), "/month/*": counted(calendar)},
        {"/": "ok", "/month/1": "ok"},
        at_most=1100,
    ),
    "session.test": Host(
        "session identifiers in path and query", {"/*": counted(session)}, {"/": "ok", "/a": "ok"}, at_most=12
    ),
    "facets.test": Host(
        "filters that combine without end", {"/*": counted(facets)}, {"/": "ok"}, at_most=1100
    ),
    "relative.test": Host(
        "relative links that double the path",
        {"/*": counted(lambda _: response(b"<p>lost<a href=x/y/>down</a>"))},
        {"/": "ok"},
        at_most=30,
    ),
    "soft.test": Host(
        "a page for every URL",
        {
            "/*": counted(
                lambda _: response(
                    b"<p>Sorry, not found."
                    + b"".join(b"<a href=/%d>x</a>" % random.getrandbits(40) for _ in range(50))
                )
            )
        },
        {"/": "ok"},
        at_most=1100,
    ),
}

HONEST: Final[dict[str, Host]] = {
    f"honest-{n}.test": Host(
        "an honest site of ten pages",
        {
            "/": links(*(f"/{i}" for i in range(9))),
            **{f"/{i}": response(b"<p>this is page %d of %d" % (i, n)) for i in range(9)},
        },
        {"/": "ok", **{f"/{i}": "ok" for i in range(9)}},
        at_most=11,
    )
    for n in range(10)
}

HOSTILE: Final[dict[str, Host]] = {**TIME, **SIZE, **BROKEN, **REDIRECTS, **ROBOTS, **PAGES, **TRAPS}
NAMELESS: Final[Mapping[str, tuple[str, Records, str]]] = {
    "mute.test": ("no name server ever tells", SILENCE, "dns_error"),
    "absent.test": ("there is no such name", 3, "dns_error"),
    "inside.test": ("a name of a private address", [CANARY], "address_refused"),
    "metadata.test": ("a name of a cloud's metadata", ["169.254.169.254"], "address_refused"),
}
"""Hosts without a server: what they are, what the name server says, how they end."""
HANGING: Final = "handshake.test"
"""Served on the port that never ends its TLS handshake."""


class Served:
    """The hostile web, while it is served."""

    def __init__(self) -> None:
        self.hosts = HOSTILE | HONEST
        self.site = Site(self._reply)
        self.tls = Site(silent)
        self.canary = Site(PLAIN, address=CANARY)
        names: dict[str, Records] = {host: [LOOPBACK] for host in (*self.hosts, HANGING)}
        self.names = NameServer(
            names | {host: records for host, (_, records, _) in NAMELESS.items()}, ttl=300
        )
        self.asked: dict[str, int] = {}

    def url(self, host: str, path: str = "/") -> str:
        """The URL of a page."""
        scheme, port = ("https", self.tls.port) if host == HANGING else ("http", self.site.port)
        return f"{scheme}://{host}:{port}{path}"

    @property
    def seeds(self) -> list[str]:
        """The first page of every host."""
        return [self.url(host) for host in (*self.hosts, *NAMELESS, HANGING)]

    def expected(self) -> Iterator[tuple[str, str]]:
        """URLs and how they must end."""
        for host, one in self.hosts.items():
            yield from ((self.url(host, path), ends) for path, ends in one.ends.items())
        yield from ((self.url(host), ends) for host, (_, _, ends) in NAMELESS.items())
        yield self.url(HANGING), "timeout|robots_refused"

    async def _reply(self, visitor: Visitor) -> bool | None:
        lines = visitor.request.decode("latin-1").split("\r\n")
        host = (
            next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "")
            .partition(":")[0]
            .rstrip(".")
        )
        self.asked[host] = self.asked.get(host, 0) + 1
        replies = self.hosts[host].replies if host in self.hosts else {}
        reply = replies.get(visitor.path)
        if reply is None and visitor.path != "/robots.txt":
            keys = (key for key in replies if key.endswith("*") and visitor.path.startswith(key[:-1]))
            reply = replies.get(max(keys, key=len, default=""))
        if reply is None:
            reply = response(b"nothing here", status="404 Not Found")
        if isinstance(reply, bytes):
            await visitor.say(self._with_port(reply) if b":PORT/" in reply[:4096] else reply)
            return None
        return await reply(visitor)

    def _with_port(self, reply: bytes) -> bytes:
        """An answer with the port in its links, and the length that it has then."""
        before, _, body = reply.replace(b":PORT/", b":%d/" % self.site.port).partition(b"\r\n\r\n")
        lines = before.split(b"\r\n")
        length = b"Content-Length: %d" % len(body)
        return (
            b"\r\n".join(length if line.startswith(b"Content-Length:") else line for line in lines)
            + b"\r\n\r\n"
            + body
        )


@contextmanager
def serving() -> Iterator[Served]:
    """Serve the hostile web from a thread of its own."""
    served, ready, loop = Served(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with served.site, served.tls, served.names:
            served.canary.port = served.site.port
            async with served.canary:
                ready.set()
                await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise TimeoutError
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
