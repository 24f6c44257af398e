"""One GET, against real sockets on loopback: what a status means, and how connections are kept."""

import asyncio
import gzip

import pytest

from crawler.core.model import Outcome
from tests.adapters.browsing import (
    PAGE,
    TEXT,
    anything,
    brief,
    browser,
    fetch,
    html_only,
)
from tests.adapters.servers import LOOPBACK, Site, Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


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


async def test_connections_are_kept() -> None:
    """Requests to one origin share a connection, and each knows the address."""
    async with Site(response()) as site, browser() as web:
        answers = [await web.get(site.url(host="site.test"), accept_type=anything) for _ in range(5)]

    assert site.connections == 1
    assert {answer.address for answer in answers} == {LOOPBACK}
    assert [name for name, _ in answers[0].phases] == ["dns", "connect", "first_byte", "body"]
    assert [name for name, _ in answers[1].phases] == ["first_byte", "body"]


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
