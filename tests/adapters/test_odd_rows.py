"""What a site may send or a counter may reach, and yet no batch is lost: odd text, huge numbers."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from crawler.adapters.postgres import Database
from crawler.core.model import Answer, Outcome, Page
from crawler.core.robots_record import RobotsRecord
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id, url_hash
from crawler.rules import RulesBook
from tests.making import Frontiers, link, release, row, settled, visit

A = "https://a.example/"
ODD = "nul \0, lone \ud800 \udfff, pair \U0001f600"
STORED = "nul \ufffd, lone \ufffd \ufffd, pair \U0001f600"


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


async def test_odd_text(heart: Frontiers) -> None:
    """NUL and lone surrogates, wherever a site can put them, are stored as U+FFFD."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    headers = (("etag", ODD), ("last-modified", ODD), ("x-" + ODD, ODD), ("Content-Type", ODD))
    answer = Answer(
        Outcome.OK, 0, 1, ODD, 200, headers, (("cookie", ODD),), b"x", address="::1", protocol="HTTP/1.1"
    )
    await heart.record(
        [visit(urls[0], settled(detail=ODD), answer=answer, links=(link(crawl, A + "2"),))],
        [release("a.example", turn, waits_for=ODD, address="fe80::1%lo")],
    )
    page = await row(heart.database, "select *, headers->2->>1 as header from pages")
    domain = await heart.domain("a.example")

    assert {page[name] for name in ("detail", "etag", "last_modified", "header")} == {STORED}
    assert (await heart.url(A))["detail"] == STORED
    assert domain["waits_for"] == STORED
    assert await heart.database.ask("select detail from fetches") == STORED


async def test_odd_robots(heart: Frontiers) -> None:
    """A robots.txt with NUL in a Sitemap line, and an odd reason for not coming, are stored."""
    rules = RulesBook(heart.database)
    now = datetime.now(UTC)
    body = b"Sitemap: https://a.example/\0map\nUser-agent: *\nDisallow: /\0x\n"
    record = RobotsRecord(
        "https://a.example", status=200, body=body, good_at=now, fetched_at=now, expires_at=now, failures=0, detail=ODD
    )  # fmt: skip
    await rules.store(domain_id("a.example"), "a.example", record, token="faircrawl")
    origin = await row(heart.database, "select * from origins")

    assert origin["sitemaps"] == ["https://a.example/map"]
    assert origin["detail"] == STORED
    assert origin["body"] == body


async def test_changed_robots(heart: Frontiers) -> None:
    """Rules that changed arm again what the old ones refused, due by the database's clock, and their domain with it."""
    await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record(
        [visit(urls[0], settled(Outcome.ROBOTS_REFUSED), answer=None)], [release("a.example", turn)]
    )
    asleep = (await heart.domain("a.example"))["due_at"]
    rules = RulesBook(heart.database)
    ahead = datetime(2100, 1, 1, tzinfo=UTC)  # our clock is wrong
    for body in (b"User-agent: *\nDisallow: /", b"User-agent: *\nAllow: /"):
        record = RobotsRecord(
            "https://a.example", status=200, body=body, good_at=ahead, fetched_at=ahead, expires_at=ahead, failures=0, detail=""
        )  # fmt: skip
        await rules.store(domain_id("a.example"), "a.example", record, token="faircrawl")
    domain, url = await heart.domain("a.example"), await heart.url(A)

    assert asleep is None
    assert url["open"]
    assert domain["due_at"] == url["due_at"] <= domain["now"]


async def test_huge_numbers(heart: Frontiers) -> None:
    """A number that does not fit its column is cut to what does, and costs no batch."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    answer = Answer(Outcome.HTTP_ERROR, 0.0, 1e8, status=99_999, wire_bytes=2**40)
    deep = link(crawl, A + "deep", depth=70_000, hops=70_000)
    await heart.record(
        [visit(urls[0], settled(Outcome.HTTP_ERROR, detail="x" * 100_000), answer=answer, links=(deep,))],
        [release("a.example", turn, failures=70_000, throttled=70_000)],
    )
    taken, items = await heart.hold("a.example")
    item = TurnUrl(crawl, url_hash(A + "deep"), A + "deep", items[0].due_at, 0, 0, 70_000, False, None)  # noqa: FBT003 - a row
    many = settled(Outcome.TIMEOUT, again_in=1)
    await heart.record([visit(item, replace(many, attempts=70_000))], [release("a.example", taken)])
    fetch = await row(heart.database, "select * from fetches where bytes > 0")
    url, domain = await heart.url(A + "deep"), await heart.domain("a.example")

    assert (fetch["status"], fetch["ms"], fetch["bytes"]) == (
        32767,
        2**31 - 1,
        2**40,
    )
    assert (url["depth"], url["hops"], url["attempts"]) == (32767, 32767, 32767)
    assert domain["failures"] == 0


async def test_long_text(heart: Frontiers) -> None:
    """A URL of 2,048 bytes, headers and a content type of 64 KB, and a title as long as you like are stored whole."""
    long = A + "x" * (2048 - len(A))
    crawl = await heart.crawl(long)
    turn, urls = await heart.hold("a.example")
    kind = "text/" + "h" * 65_536
    answer = Answer(
        Outcome.OK,
        0,
        1,
        status=999,
        headers=(("content-type", kind), ("etag", kind)),
        body=b"x",
        redirect_to=long,
    )
    page = Page(kind, "utf-8", "t" * 1_000_000, "l" * 1000, ("noindex",) * 100)
    found = await heart.record(
        [visit(urls[0], answer=answer, page=page, redirect_url=long, links=(link(crawl, long + "2"),))],
        [release("a.example", turn, address="2001:db8::1")],
    )
    stored = await row(heart.database, "select * from pages")

    assert found.stored == {crawl: 1}
    assert (stored["status"], stored["content_type"], stored["etag"]) == (999, kind, kind)
    assert len(stored["title"]) == 1_000_000


async def test_priority(heart: Frontiers) -> None:
    """Of one domain's URLs the seeds come first, then the shallow ones; of two crawls, each in turn."""
    crawl = await heart.crawl(A)
    other = await heart.crawl(A, name="other")
    turn, urls = await heart.hold("a.example")
    links = [link(crawl, f"{A}{depth}", depth=depth) for depth in (9, 3, 70, 1)]
    also = [link(other, f"{A}{depth}", depth=depth) for depth in (2, 1)]
    await heart.seed(crawl, A + "seed")
    await heart.record(
        [visit(urls[0], links=tuple(links + also)), visit(urls[1])], [release("a.example", turn)]
    )
    _, items = await heart.hold("a.example")
    order = [(item.crawl_id - crawl, item.url.removeprefix(A)) for item in items]

    assert [name for which, name in order if not which] == ["seed", "1", "3", "9", "70"]
    assert [which for which, _ in order] == [0, 1, 0, 1, 0, 0, 0]
