"""Asking for robots.txt outside of a turn: one at a time, with the pause, and told to whoever keeps a copy in memory."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.domains import Domains
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.urgent import Urgent
from crawler.asking import RobotsAsker
from crawler.core.robots_record import RobotsRecord
from crawler.core.urls import domain_id
from crawler.crawlbook import CrawlBook
from crawler.refreshing import RobotsRefresh
from crawler.rules import RulesBook
from crawler.watching import DomainWatch
from tests.adapters.browsing import SILENT, browser
from tests.adapters.servers import LOOPBACK, Reply, Site, Visitor, response
from tests.making import Frontiers, until

US = "faircrawl"
NUMBER = domain_id(LOOPBACK)
NEW = b"User-agent: *\nDisallow: /new\n"
PAUSE = 0.3


@dataclass
class Hands:
    """A worker's hands for wishes, and what it knows."""

    refresh: RobotsRefresh
    rules: RulesBook
    domains: Domains
    heart: Frontiers

    async def know(self, *sites: Site) -> None:
        """Let the origins of these sites be known, as if they had been asked for lately, and wish for them."""
        for site in sites:
            await self.heart.crawl(site.url("/x"), name=site.url())
            now = datetime.now(UTC)
            old = RobotsRecord(site.url("").rstrip("/"), 200, b"", now, now, now + timedelta(hours=24))
            await self.rules.store(NUMBER, LOOPBACK, old, token=US)
        await self.heart.database.script(f"update domains set delay = '{PAUSE} s'")
        await self.domains.wish(LOOPBACK)

    async def fulfil(self) -> bool:
        """Ask for what is wished."""
        (wish,) = await self.domains.wishes([NUMBER])
        return await self.refresh.fulfil(wish)

    async def bodies(self) -> list[bytes | None]:
        """The copies that are kept now."""
        return [one.body for one in await self.domains.robots(LOOPBACK)]


@pytest.fixture
async def hands(database: Database) -> AsyncIterator[Hands]:
    """Of a worker without turns."""
    async with browser() as web:
        rules, frontier = RulesBook(database), Frontier(database)
        asker = RobotsAsker(web, frontier, rules, "worker", 0.0, timeout=20)
        refresh = RobotsRefresh(
            frontier, rules, asker, "worker", user_agent="faircrawl/1", delay=0.0, longest=600.0
        )
        yield Hands(refresh, rules, Domains(database), Frontiers(database))


def noting(times: list[float], body: bytes) -> Callable[[Visitor], Awaitable[None]]:
    """Rules, and when they were asked for."""

    async def answer(visitor: Visitor) -> None:
        times.append(time.time())
        await visitor.say(response(body))

    return answer


async def test_origins_one_after_the_other(hands: Hands) -> None:
    """All origins of the domain are asked, a whole pause between them, and one is owed after the last."""
    times: list[float] = []
    async with Site(noting(times, NEW)) as one, Site(noting(times, NEW)) as other:
        await hands.know(one, other)
        done = await hands.fulfil()
    domain = await hands.heart.domain(LOOPBACK)

    assert (done, await hands.bodies(), await hands.domains.wishes([NUMBER])) == (True, [NEW, NEW], [])
    assert times[1] - times[0] >= PAUSE
    assert domain["holder"] is None
    assert domain["ready_at"].timestamp() >= times[1] + PAUSE


async def test_a_longer_pause_counts_at_once(hands: Hands) -> None:
    """A crawl-delay in the new rules holds from this answer on."""
    async with Site(response(b"User-agent: *\nCrawl-delay: 70\n")) as site:
        await hands.know(site)
        await hands.fulfil()
    domain = await hands.heart.domain(LOOPBACK)

    assert 60 < (domain["ready_at"] - domain["now"]).total_seconds() <= 70


async def test_a_site_that_wants_rest(hands: Hands) -> None:
    """After a 429 the whole domain waits as long as it asks for, and none of its other origins is asked either."""
    tired = response(b"", status="429 Too Many Requests", headers=["Retry-After: 300"])
    async with Site(tired) as one, Site(tired) as other:
        await hands.know(one, other)
        await hands.fulfil()
        asked = len(one.requests) + len(other.requests)
    domain = await hands.heart.domain(LOOPBACK)

    assert asked == 1
    assert (domain["ready_at"] - domain["now"]).total_seconds() > 290


async def test_one_of_many_asks(hands: Hands) -> None:
    """Of several that hear of a wish one asks, and the others leave it."""
    async with Site(response(NEW)) as site:
        await hands.know(site)
        (wish,) = await hands.domains.wishes([NUMBER])
        done = await asyncio.gather(*(hands.refresh.fulfil(wish) for _ in range(5)))

    assert True in done
    assert len(site.requests) == 1


async def test_nobody_answers(hands: Hands) -> None:
    """A site that cannot be reached fulfils the wish too: its last copy stays, and it is asked again later."""
    async with Site(response(NEW)) as site:
        await hands.know(site)
    await hands.fulfil()
    (record,) = await hands.domains.robots(LOOPBACK)

    assert (record.failures, record.body, record.wished) == (1, b"", False)
    assert "connect_error" in record.detail


async def test_cut_off(hands: Hands) -> None:
    """Who is stopped while asking lets go of the domain, and leaves the wish to others."""
    async with Site(SILENT) as site:
        await hands.know(site)
        asking = asyncio.create_task(hands.fulfil())
        await site.asked.wait()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    domain = await hands.heart.domain(LOOPBACK)

    assert (domain["holder"], len(await hands.domains.wishes([NUMBER]))) == (None, 1)
    assert (domain["ready_at"] - domain["now"]).total_seconds() <= PAUSE


@contextlib.asynccontextmanager
async def watching(hands: Hands) -> AsyncIterator[DomainWatch]:
    """A worker's watch over domains, at work."""
    crawls = CrawlBook(Crawls(hands.heart.database))
    urgent = Urgent(hands.heart.database)
    watch = DomainWatch(hands.domains, list, crawls, hands.rules, hands.refresh, urgent)
    keeping = [asyncio.create_task(work()) for work in (watch.keep, hands.refresh.keep)]
    try:
        yield watch
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.wait(keeping)


REPLIES: dict[str, Reply] = {"/robots.txt": response(NEW)}


async def test_a_worker_that_hears_of_a_wish(hands: Hands) -> None:
    """A worker without a turn at the domain asks as soon as it is told, and uses no copy that it read before."""
    async with Site(REPLIES) as site:
        await hands.know(site)
        known = hands.rules.peek(site.url("").rstrip("/"), datetime.now(UTC))
        async with watching(hands) as watch:
            watch.changed(str(NUMBER))
            await until(lambda: _fulfilled(hands))
        new = hands.rules.peek(site.url("").rstrip("/"), datetime.now(UTC))

    assert known is not None
    assert new is not None
    assert new.record is not None
    assert new.record.body == NEW


async def test_a_worker_that_heard_nothing(hands: Hands) -> None:
    """Who was not listening for a while uses no rules that were read before."""
    async with Site(REPLIES) as site:
        await hands.know(site)
        async with watching(hands) as watch:
            watch.changed("")
            await until(lambda: _nothing_known(hands, site))

    assert site.requests == []


async def _fulfilled(hands: Hands) -> bool:
    return not await hands.domains.wishes([NUMBER])


async def _nothing_known(hands: Hands, site: Site) -> bool:
    return hands.rules.peek(site.url("").rstrip("/"), datetime.now(UTC)) is None
