"""A turn goes on with what its pages lead to: as far as a turn may, and only where it would otherwise keep a fast site waiting."""

import asyncio
from collections import Counter

import pytest

from crawler.adapters.frontier import Offer
from crawler.adapters.postgres import Database
from crawler.core.turns import VERSION, Turn
from crawler.core.urls import domain_id
from crawler.leases import Lease, boottime
from crawler.settings import Settings
from crawler.supply import SHORT
from crawler.visit import TurnVisit
from tests.adapters.browsing import browser
from tests.adapters.servers import LOOPBACK, Reply, Site, Visitor, response
from tests.making import WORK_LEASE, Frontiers
from tests.turning import tools_of

NUMBER = domain_id(LOOPBACK)
FAST = Settings(delay=0.0, per_domain=4)


def page(*links: str) -> bytes:
    """A page with these links."""
    return response("".join(f'<p><a href="{link}">x</a>' for link in links).encode())


def chain(length: int) -> dict[str, Reply]:
    """Pages, each of which leads to the next alone, and back to the first."""
    pages = {f"/{n}": page(f"/{n + 1}", "/0") for n in range(length - 1)}
    return {"/robots.txt": response(b"", status="404 Not Found"), **pages, f"/{length - 1}": page("/0")}


class One:
    """One turn of a site, from its first page on."""

    def __init__(self, database: Database, settings: Settings = FAST) -> None:
        self.database = database
        self.settings = settings
        self.heart = Frontiers(database)

    async def visit(self, replies: dict[str, Reply], *, goes_on: bool = True, lost: int = 0) -> Counter[str]:
        """How often each path was asked for in it."""
        async with Site(replies) as site, browser() as web:
            await self.heart.crawl(site.url("/0"))
            turn, urls = (await self.heart.take())[LOOPBACK]
            if lost:
                await self.database.ask("update domains set lost = $1", lost)
            accepted = (await self.heart.frontier.accept([Offer(NUMBER, turn)], "worker", WORK_LEASE))[NUMBER]
            lease = Lease(NUMBER, accepted.turn, boottime() + WORK_LEASE, lambda: None)
            async with tools_of(self.database, web, self.settings) as tools:
                visit = TurnVisit(
                    Turn(VERSION, NUMBER, LOOPBACK, turn, urls), accepted, lease, tools, lambda _: goes_on
                )
                assert await visit.run()
            paths = [request.split()[1].decode() for request in site.requests]
        return Counter(path for path in paths if path != "/robots.txt" and "sitemap" not in path)


async def test_to_the_end_of_a_site(database: Database) -> None:
    """One turn follows a chain of pages to its end, asks for each once, and leaves nothing due."""
    asked = await One(database).visit(chain(12))
    left = await database.ask(
        "select count(*) from urls where outcome is distinct from 'ok' and kind = 'page'"
    )

    assert asked == Counter({f"/{n}": 1 for n in range(12)})
    assert left == 0


async def test_a_slow_page_keeps_nobody_waiting(database: Database) -> None:
    """While one page does not come, the turn goes on with what the others lead to: here it only comes when all others were asked for."""
    all_others = asyncio.Event()

    async def slow(visitor: Visitor) -> None:
        await all_others.wait()
        await visitor.say(response())

    async def last(visitor: Visitor) -> None:
        all_others.set()
        await visitor.say(response())

    pages = {**chain(9), "/0": page("/slow", "/1"), "/slow": slow, "/8": last}

    assert await One(database).visit(pages) == Counter({"/slow": 1, **{f"/{n}": 1 for n in range(9)}})


@pytest.mark.parametrize(
    ("settings", "goes_on", "lost"),
    [(FAST, False, 0), (Settings(delay=SHORT, per_domain=4), True, 0), (FAST, True, 1)],
    ids=["no room", "a site with pauses", "after a loss"],
)
async def test_who_does_not_go_on(database: Database, settings: Settings, goes_on: bool, lost: int) -> None:  # noqa: FBT001 - a row
    """A visit that others wait behind, one of a site that is left alone in between, and one after a lost turn keep to their URLs."""
    asked = await One(database, settings).visit(chain(3), goes_on=goes_on, lost=lost)

    assert asked == Counter({"/0": 1})


async def test_as_long_as_a_turn(database: Database) -> None:
    """A turn has no more URLs than it could have been dispatched with, however far its pages lead."""
    settings = Settings(delay=0.05, per_domain=2, turn_seconds=1.0, work_lease=10.0)
    asked = await One(database, settings).visit(
        {
            **chain(2),
            "/0": page(*(f"/{n}" for n in range(1, 100))),
            **{f"/{n}": page() for n in range(1, 100)},
        }
    )
    due = await database.ask("select count(*) from urls where outcome is null and kind = 'page'")

    assert max(asked.values()) == 1
    assert 2 < asked.total() <= 40
    assert due == 100 - asked.total()
