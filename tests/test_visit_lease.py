"""What a turn makes of an answer that comes when its lease has ended: what we did to a request is not the site's fault."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from crawler.adapters.frontier import Offer
from crawler.adapters.postgres import Database
from crawler.core.moments import moment
from crawler.core.turns import VERSION, Turn
from crawler.core.urls import domain_id
from crawler.leases import Lease, boottime
from crawler.settings import Settings
from crawler.visit import TurnVisit
from tests.adapters.browsing import SILENT, browser
from tests.adapters.servers import LOOPBACK, Reply, Site, Visitor, response
from tests.making import WORK_LEASE, Frontiers
from tests.turning import tools_of

NUMBER = domain_id(LOOPBACK)
NO_RULES = response(b"", status="404 Not Found")
DELAY = 0.05


@dataclass
class Held:
    """A turn with one page, whose lease the servers of the test end when they will."""

    database: Database
    heart: Frontiers = field(init=False)
    lease: Lease = field(init=False)

    def __post_init__(self) -> None:
        self.heart = Frontiers(self.database)
        self.lease = Lease(NUMBER, 0, boottime() + WORK_LEASE, lambda: None)

    def ends_in(self, seconds: float, then: Reply) -> Reply:
        """A reply: the lease ends in so many seconds (less than none: the worker was frozen past its end), and then this."""

        async def reply(visitor: Visitor) -> bool | None:
            self.lease.deadline = boottime() + seconds
            if isinstance(then, bytes):
                await visitor.say(then)
                return None
            return await then(visitor)

        return reply

    async def visit(self, page: Reply, robots: Reply = NO_RULES) -> Any:
        """The row of the page's URL after a whole turn of it, and how often the page was asked for."""
        async with Site({"/robots.txt": robots, "/page": page}) as site, browser() as web:
            url = site.url("/page")
            await self.heart.crawl(url)
            turn, urls = (await self.heart.take())[LOOPBACK]
            accepted = (await self.heart.frontier.accept([Offer(NUMBER, turn)], "worker", WORK_LEASE))[NUMBER]
            async with tools_of(self.database, web, Settings(delay=DELAY)) as tools:
                visit = TurnVisit(Turn(VERSION, NUMBER, LOOPBACK, turn, urls), accepted, self.lease, tools)
                assert await visit.run() == (self.lease.left() > 0)
            asked = sum(request.startswith(b"GET /page ") for request in site.requests)
        return await self.heart.url(url), asked, urls[0]


@pytest.fixture
def held(database: Database) -> Held:
    """A turn."""
    return Held(database)


async def hang_up(_visitor: Visitor) -> bool:
    """Close the connection without a word."""
    return False


async def test_cut_by_our_own_deadline(held: Held) -> None:
    """A request that is open when the lease ends is cut, and its URL stays due as it was: nothing is settled of it."""
    row, asked, item = await held.visit(SILENT, robots=held.ends_in(2.0, NO_RULES))

    assert asked == 1
    assert held.lease.left() <= 0
    assert (row["outcome"], row["attempts"]) == (None, 0)
    assert round(row["due_at"].timestamp() * 1e6) == item.due_at


async def test_a_failure_after_the_lease(held: Held) -> None:
    """A failure that a worker wakes up to, its lease long over, is not written down: another may have fetched the page by now."""
    row, asked, item = await held.visit(held.ends_in(-1.0, hang_up))

    assert asked >= 1
    assert (row["outcome"], row["attempts"]) == (None, 0)
    assert round(row["due_at"].timestamp() * 1e6) == item.due_at


async def test_a_failure_within_the_lease(held: Held) -> None:
    """The same failure within the lease is the site's: it is settled, and tried again later."""
    row, asked, _ = await held.visit(held.ends_in(WORK_LEASE, hang_up))

    assert asked >= 1
    assert row["outcome"] is not None
    assert row["attempts"] == 1
    assert row["due_at"] > row["now"]


async def test_a_page_after_the_lease(held: Held) -> None:
    """A page that came after the lease is not written down: another may have fetched a newer one by now."""
    row, asked, item = await held.visit(held.ends_in(-1.0, response(b"<p>late")))

    assert asked == 1
    assert (row["outcome"], row["due_at"]) == (None, moment(item.due_at))
