"""One GET, and what is not quite HTTP: read as browsers and curl read it."""

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.core.model import Outcome
from tests.adapters.browsing import PAGE, anything, brief, browser, fetch, stall
from tests.adapters.servers import LOOPBACK, Site, Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


async def test_a_bad_body_does_not_change_what_the_status_says() -> None:
    """An error whose body never comes is that error still, and is not waited for."""
    began = time.monotonic()
    answer = await fetch(stall(response(b"some", status="404 Not Found", length=1000)))

    assert brief(answer) == (Outcome.GONE, "404 Not Found")
    assert time.monotonic() - began < 5


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


# ---------------------------------------------------------------- as browsers and curl read it

CORPUS: Final = Path(__file__).parent.parent / "corpus" / "http" / "answers.json"
ANSWERS: Final[dict[str, dict[str, Any]]] = {one["name"]: one for one in json.loads(CORPUS.read_text())}
"""Raw answers: what becomes of them here, curl's exit status (7.88) and the status that Chromium (156) tells a script."""


def packets(raw: bytes, cut: str) -> list[bytes]:
    """The bytes of an answer as they are sent."""
    if cut == "bytes":
        return [raw[at : at + 1] for at in range(len(raw))]
    if cut == "head":
        head, blank, body = raw.partition(b"\r\n\r\n")
        return [head + blank, body]
    return [raw]


@pytest.mark.parametrize("cut", ["whole", "head", "bytes"])
async def test_the_corpus(cut: str) -> None:
    """Each answer of the corpus ends as it says there, however its bytes are cut into packets."""

    async def say(visitor: Visitor) -> bool:
        for packet in packets(ANSWERS[visitor.path[1:]]["raw"].encode("latin-1"), cut):
            await visitor.say(packet)
            await asyncio.sleep(0 if cut == "bytes" else 0.005)
        return False

    async with Site(say) as site, browser(max_connections=300) as web:
        answers = await asyncio.gather(
            *(web.get(site.url(f"/{name}"), accept_type=anything) for name in ANSWERS)
        )

    found = {
        name: (answer.outcome.value, answer.body.decode("latin-1"))
        for name, answer in zip(ANSWERS, answers, strict=True)
    }
    assert found == {name: (one["outcome"], one["body"]) for name, one in ANSWERS.items()}
    assert all("\n" not in answer.detail for answer in answers)


STRICTER: Final = {
    "length-plus": "the RFC says to discard it (9112 section 6.3)",
    "length-unit": "as above, and curl reads 8 bytes where Chromium reads all",
    "length-hex": "as above, and curl reads nothing",
    "status-line-alone": "cut off within the head: to be taken as incomplete (RFC 9112 section 8)",
    "no-final-crlf-at-all": "as above",
    "length-huge": "it announces more than the cap",
    "length-max": "as above",
    "gzip-cut": "a part is not kept as if it were the whole",
    "gzip-cut-in-deflate": "as above",
    "chunk-bare-lf": "llhttp refuses it, and cannot be told otherwise from Python",
    "chunk-extension-odd": "as above",
    "chunk-trailers": "as above, for the Content-Length among the trailers",
}
"""What curl and Chromium both read, and we do not."""


def test_what_browsers_and_curl_read_is_read() -> None:
    """What both read as a page is a page here too, but for these."""
    good = {Outcome.OK.value, Outcome.NOT_MODIFIED.value, Outcome.REDIRECT.value, Outcome.HTTP_ERROR.value}
    refused = {
        name
        for name, one in ANSWERS.items()
        if not one["curl_exit"] and one["chromium_status"] >= 200 and one["outcome"] not in good
    }

    assert refused == STRICTER.keys()


# ---------------------------------------------------------------- more than was asked for

OTHER: Final = response(b"<p>not asked for")


@pytest.mark.parametrize(
    "rest",
    [OTHER, OTHER[:20], b"litter", b"\r\n\r\n" + OTHER, b"HTTP/1.1 100 Continue\r\n\r\n"],
    ids=["an answer", "half an answer", "litter", "after blank lines", "interim"],
)
@pytest.mark.parametrize("when", ["at once", "later"])
async def test_what_comes_behind_an_answer(rest: bytes, when: str) -> None:
    """An answer stands whatever comes behind it, which is never taken for the next one: the connection is closed."""

    async def say(visitor: Visitor) -> bool:
        if visitor.number:
            await visitor.say(response(b"<p>the second"))
            return True
        await visitor.say(response(PAGE) + (rest if when == "at once" else b""))
        if when == "later":
            await asyncio.sleep(0.02)
            await visitor.say(rest)
        await visitor.gone()
        return False

    async with Site(say) as site, browser() as web:
        first = await web.get(site.url(), accept_type=anything)
        await site.left.get()
        second = await web.get(site.url(), accept_type=anything)

    assert (brief(first), first.body) == ((Outcome.OK, ""), PAGE)
    assert (brief(second), second.body) == ((Outcome.OK, ""), b"<p>the second")
    assert site.connections == 2


async def test_a_line_end_behind_an_answer_is_harmless() -> None:
    """An empty line behind the body, as some servers send, costs no connection when it comes with it."""
    async with Site(response(PAGE) + b"\r\n") as site, browser() as web:
        answers = [await web.get(site.url(), accept_type=anything) for _ in range(3)]

    assert [answer.outcome for answer in answers] == [Outcome.OK] * 3
    assert site.connections == 1


async def test_an_answer_before_the_request() -> None:
    """What a server says at once on a new connection is its answer."""

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(PAGE))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hasty, LOOPBACK, 0)
    async with server, browser() as web:
        port = server.sockets[0].getsockname()[1]
        answer = await web.get(f"http://{LOOPBACK}:{port}/", accept_type=anything)

    assert (answer.outcome, answer.body) == (Outcome.OK, PAGE)


async def test_a_204_that_promises_a_body() -> None:
    """A 204 with a length is no content, and its connection is left: the body may come yet."""
    async with Site(response(b"", status="204 No Content", length=5)) as site, browser() as web:
        answers = [await web.get(site.url(), accept_type=anything) for _ in range(2)]

    assert [answer.outcome for answer in answers] == [Outcome.OK] * 2
    assert site.connections == 2


async def test_rubbish_behind_an_interim_answer() -> None:
    """An interim answer and rubbish in one packet are a protocol error."""
    answer = await fetch(b"HTTP/1.1 100 Continue\r\n\r\nrubbish\r\n\r\n")

    assert brief(answer) == (Outcome.PROTOCOL_ERROR, "malformed: Bad status line")


async def test_what_is_not_http_is_not_waited_for() -> None:
    """A server that speaks first, and then waits for an answer of ours, is found out at its first bytes."""
    async with Site(stall(b"220 mail.test ES")) as site, browser() as web:
        began = time.monotonic()
        answer = await web.get(site.url(), accept_type=anything)

    assert answer.outcome is Outcome.PROTOCOL_ERROR
    assert time.monotonic() - began < 5


# ---------------------------------------------------------------- where a redirect leads


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        (b"Location: next", "next"),
        (b"Location: //other.test/a", "//other.test/a"),
        (b"Location:   /a b c  ", "/a b c"),
        ("Location: /größe".encode(), "/größe"),
        (b"Location: /gr\xf6\xdfe", "/gr%F6%DFe"),
        (b"Location: /a#part", "/a#part"),
        (b"Location: /" + b"a" * 60_000, "/" + "a" * 60_000),
        (b"Location: javascript:alert(1)", "javascript:alert(1)"),
        (b"Location: http://", "http://"),
        (b"Location: ?q", "?q"),
        (b"Location: /a\r\nLocation: /b", "/a"),
        (b"Location:\r\n /a", "/a"),
        (b"Location:\r\nLocation: /b", "/b"),
        (b"location : /a", "/a"),
    ],
)
async def test_locations(headers: bytes, target: str) -> None:
    """A redirect has the target that was sent; the first of several; bytes that are no UTF-8 as these bytes."""
    answer = await fetch(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + headers + b"\r\n\r\n")

    assert (answer.outcome, answer.redirect_to) == (Outcome.REDIRECT, target)


@pytest.mark.parametrize(
    "status", ["300 Choices", "305 Proxy", "306 Unused", "309 Odd", "200 OK", "201 Created"]
)
async def test_a_location_of_something_else(status: str) -> None:
    """A Location leads somewhere only with a status that redirects; a Refresh header does not."""
    answer = await fetch(response(status=status, headers=["Location: /b", "Refresh: 0; url=/c"]))

    assert answer.outcome is (Outcome.OK if status.startswith("20") else Outcome.HTTP_ERROR)
    assert answer.redirect_to is None


@pytest.mark.parametrize("agent", ["a\r\nHost: b", "a\x7f", "a\0"])
async def test_a_request_that_cannot_be_written(agent: str) -> None:
    """A header that aiohttp refuses to send is the outcome of that request alone; the next one is made."""
    async with Site(response(PAGE)) as site, browser() as web:
        bad = await web.get(site.url("/"), accept_type=anything, user_agent=agent)
        good = await web.get(site.url("/"), accept_type=anything)

    assert bad.outcome is Outcome.PROTOCOL_ERROR
    assert bad.detail.startswith("our own request could not be written: ")
    assert good.outcome is Outcome.OK
