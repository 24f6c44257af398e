"""Refreshing meets budgets, other rules, wishes and sitemaps at the wrong moment: nothing is lost, looped or counted twice."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.announcements import Announcements, as_it_is
from crawler.adapters.crawls import Limits
from crawler.adapters.postgres import Database, columns
from crawler.adapters.retiming import Retimings
from crawler.adapters.urgent import Urgent
from crawler.core.model import Outcome, Past, UrlKind
from crawler.core.urls import domain_id, url_hash
from tests.making import Frontiers, blocked, link, release, row, settled, slow, visit

A: Final = "http://a.example/"
D: Final = "a.example"
KEY: Final = (domain_id(D), url_hash(A))
DAY: Final = 86400.0


@pytest.fixture
async def heart(database: Database) -> Frontiers:
    """One worker's hands."""
    return Frontiers(database)


async def due(heart: Frontiers, when: str = "now()") -> None:
    """Everything is due, and its domain free."""
    await heart.database.script(f"update urls set due_at = {when}; update domains set due_at = {when}")


@pytest.mark.parametrize("first", [Outcome.REDIRECT, Outcome.HTTP_ERROR])
async def test_a_page_beyond_the_budget(heart: Frontiers, first: Outcome) -> None:
    """What was no page becomes one while the budget is used up: it is refused, and not asked for again and again."""
    crawl = await heart.crawl(A, A + "other", refresh="1d", max_pages=1)
    turn, (other,) = await heart.hold(D)
    await heart.record([visit(other, settled(first))], [release(D, turn)], [crawl])
    turn, (page,) = await heart.hold(D)
    await heart.record([visit(page)], [release(D, turn)], [crawl])
    await heart.database.script(f"update urls set due_at = now() where url = '{other.url}'")
    await heart.database.script("update domains set due_at = now()")
    turn, (again,) = await heart.hold(D)
    await heart.record([visit(again)], [release(D, turn)], [crawl])
    refused = await heart.url(other.url)

    assert again.url == other.url
    assert (refused["outcome"], refused["due_at"], refused["open"]) == ("scope_refused", None, False)
    assert await heart.database.ask("select count(*) from pages where first_at is not null") == 1
    assert await heart.take() == {}


@pytest.mark.parametrize(
    "limits",
    [
        {"max_pages": 1, "refresh": "1d"},
        {"max_pages_per_domain": 1},
        {"max_pages_per_domain": 1, "refresh": "1d"},
    ],
)
async def test_a_wish_for_what_failed_last(heart: Frontiers, limits: dict[str, Any]) -> None:
    """A stored page that failed last, and that somebody waits for, is handed out though the budget is used up."""
    crawl = await heart.crawl(A, **limits)
    turn, (page,) = await heart.hold(D)
    await heart.record([visit(page)], [release(D, turn)])
    await due(heart, "'1970-01-02'")
    turn, (page,) = await heart.hold(D)
    await heart.record([visit(page, settled(Outcome.TIMEOUT, again_in=60))], [release(D, turn)])
    await Urgent(heart.database).wish(crawl, [KEY])
    taken = await heart.frontier.dispatch(10, 600)
    urls = await heart.frontier.turn_urls([(t.domain_id, 500) for t in taken])
    if not urls:
        await heart.frontier.release_empty(taken)

    assert urls or (await heart.url(A))["due_at"] is not None


@pytest.mark.parametrize(("rule", "again"), [("1h", True), ("off", False)])
async def test_another_rule_in_flight(heart: Frontiers, rule: str, *, again: bool) -> None:
    """A first visit that was under way when the rule changed does not leave the page to the old one."""
    crawl_id = await heart.crawl(A, refresh="off" if again else "1h")
    turn, (page,) = await heart.hold(D)
    crawl = await heart.crawls.by_id(crawl_id)
    assert crawl is not None
    await heart.crawls.change(crawl, replace(Limits.of(crawl), refresh=rule))
    before = replace(settled(), due_in=None if again else 3600.0)
    await heart.record([visit(page, before, rule=crawl.refresh)], [release(D, turn)])

    assert await heart.database.ask("select retime is null from crawls")
    assert ((await heart.url(A))["due_at"] is not None) == again


async def test_finished_in_between(heart: Frontiers) -> None:
    """A run that ends while all of a crawl is being made due does not declare it finished, and all of it becomes due."""
    crawl = await heart.crawl(A)
    turn, (page,) = await heart.hold(D)
    await heart.record([visit(page)], [release(D, turn)])
    retimings = Retimings(heart.database)
    left = await retimings.all_now(crawl)
    finished = await heart.crawls.finish(crawl)
    moved = await retimings.go_on(crawl)

    assert (left, finished, moved) == (0, False, 1)
    assert (await heart.url(A))["due_at"] is not None


async def test_all_again_goes_on(heart: Frontiers) -> None:
    """Asked for again before all was visited, it goes on with what is left; when nothing is left, it begins anew."""
    crawl = await heart.crawl(A, A + "1", A + "2")
    turn, urls = await heart.hold(D)
    await heart.record([visit(url) for url in urls], [release(D, turn)])
    retimings = Retimings(heart.database)
    counts = []
    for some in (1, 3, 0):
        counts.append([await retimings.all_now(crawl), await retimings.go_on(crawl)])
        turn, urls = await heart.hold(D)
        await heart.record([visit(url) for url in urls[:some]], [release(D, turn)])

    assert counts == [[0, 3], [2, 0], [0, 3]]


async def test_promises_are_counted_once(heart: Frontiers) -> None:
    """A batch recorded twice counts what a sitemap promised once."""
    await heart.crawl(A, refresh="adaptive")
    _, (page,) = await heart.hold(D)
    await heart.record([visit(page, replace(settled(), due_in=0.0))])
    now = datetime.now(UTC)
    past = Past(fetched_at=now - timedelta(days=2), digest=b"x", lastmod=now - timedelta(days=1))
    again = visit(page, past=past, changed=True)
    await heart.record([again])
    await heart.record([again])
    counted = await row(heart.database, "select promised, kept from domain_pages")

    assert past.is_promised
    assert tuple(counted) == (1, 1)


async def test_announcing_keeps_the_lock_order(heart: Frontiers, database: Database) -> None:
    """Announcing takes the URLs it knows before the counts, as everybody does: no deadlock with who closes what is over a budget."""
    crawl = await heart.crawl(A)
    await heart.seed(crawl, A + "old")
    said = [
        link(crawl, A + "new", depth=1),
        link(crawl, A + "old", depth=1, lastmod=datetime(2026, 1, 1, tzinfo=UTC)),
    ]
    async with slow(database) as (session, connection):
        await connection.execute("select from urls where url = $1 for no key update", A + "old")
        task = asyncio.create_task(Announcements(database).announce(crawl, said, as_it_is))
        await blocked(database)
        await session.fetch("record_counts", 0, *columns([(crawl, "", -1, 0, 0)], 5))
    await task

    assert (await heart.url(A + "old"))["lastmod"] == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_page_that_is_called_a_sitemap(heart: Frontiers, database: Database) -> None:
    """A page of HTML that robots.txt calls a sitemap is asked for as one once, however often its name is heard."""
    crawl = await heart.crawl()
    announcements = Announcements(database)
    called = link(crawl, A + "sitemap", kind=UrlKind.SITEMAP)
    await announcements.announce(crawl, [called], as_it_is)
    asked = 0
    for _ in range(4):
        await database.script("update domains set ready_at = now(), holder = null")
        _, urls = (await heart.take())[D]
        for item in urls:
            if item.kind == UrlKind.SITEMAP:
                asked += 1
                assert await announcements.sitemap_is_page(item, D)
        await announcements.named(crawl, "http://www.a.example", [called])

    assert asked == 1


async def test_sitemaps_fill_the_frontier_no_further(heart: Frontiers, database: Database) -> None:
    """However often a domain's sitemaps are read with new URLs, they put no more on the frontier in all than they may."""
    crawl = await heart.crawl(A)
    announcements = Announcements(database)
    for day in range(5):
        said = [link(crawl, f"{A}{day}/{n}", depth=1) for n in range(10)]
        await announcements.announce(crawl, said, as_it_is, speaker=KEY[0], most=25)

    assert await database.ask("select count(*) from urls where depth = 1") == 25
    assert await database.ask("select announced from domain_pages") == 25


async def test_a_wish_of_a_finished_crawl_is_heard(heart: Frontiers, database: Database) -> None:
    """A later holder of the domain, on behalf of another crawl, hears of a wish for a page of a crawl that its run has left."""
    crawl = await heart.crawl(A)
    await heart.crawl(A + "other", name="other")
    turn, urls = await heart.hold(D)
    await heart.record([visit(url) for url in urls if url.crawl_id == crawl])
    await database.script(
        "update crawls set state = 'finished', finished_why = 'done', finished_at = now(), attendant = 'x'"
        f" where crawl_id = {crawl}"
    )
    urgent = Urgent(database)
    await urgent.wish(crawl, [KEY])
    await heart.record([], [release(D, turn)])
    await heart.hold(D)

    assert await urgent.wished([KEY[0]])
