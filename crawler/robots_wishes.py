"""Wishing that the robots.txt of a domain be asked for now, waiting until it was, and telling what changed.

    records before ──wish──► workers at work: nudged ──────────► records after ──► what changed, and for how many URLs
                        └──► nobody, on an embedded database: asked for here

1. Who stops waiting takes nothing back: the wish is fulfilled by whoever visits the domain next.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from crawler.adapters.domains import Domains
from crawler.adapters.postgres import Database
from crawler.core.robots import product_token
from crawler.core.robots_record import RobotsRecord, Standing, effective, rules_differ
from crawler.core.urls import domain_id, path_of
from crawler.hands import own_hands
from crawler.refreshing import RobotsRefresh
from crawler.settings import Settings

LOOK: Final = 0.1
"""Seconds between looks whether it was asked for."""
NUDGE: Final = 10
"""Workers are told again every so many looks: the domain may be free by now, or its holder may have died."""
MOST_URLS: Final = 100_000
"""So many known URLs of an origin are compared with its rules."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came of it for one origin."""

    record: RobotsRecord
    asked: bool
    """False: nobody has asked for it yet."""
    changed: bool
    """Whether anybody may do now what they could not before, or the other way round."""
    before: Standing
    now: Standing
    armed: int = 0
    """URLs that the old rules refused, and that are looked at again."""
    urls: int = 0
    """Known URLs that were compared with the rules."""
    newly_refused: int = 0
    newly_allowed: int = 0


@dataclass(frozen=True, slots=True)
class Wishing:
    """A domain whose robots.txt is to be asked for now. *hands*: those of ours that can do it; None: workers do."""

    database: Database
    settings: Settings
    domain: str
    hands: RobotsRefresh | None

    async def fulfilled(self, seconds: float) -> list[Refreshed]:
        """Wish it, and wait for so long: what has become of each origin that is known; none: none is."""
        domains, number = Domains(self.database), domain_id(self.domain)
        before = await domains.robots(self.domain)
        refused = {
            one.origin: await self.database.value("robots_refused", number, one.origin) for one in before
        }
        if not before:
            return []
        began = await self.database.ask("select now()")
        await domains.wish(self.domain)
        agents = [wish.user_agent for wish in await domains.wishes([number])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wait(domains)
        after = {one.origin: one for one in await domains.robots(self.domain)}
        agent = next((each for each in agents if each is not None), self.settings.user_agent)
        return [
            await self._refreshed(one, after[one.origin], agent, began, refused[one.origin])
            for one in before
            if one.origin in after
        ]

    async def _wait(self, domains: Domains) -> None:
        looks = 0
        while wishes := await domains.wishes([domain_id(self.domain)]):
            if self.hands is not None and not await workers(self.database):
                for wish in wishes:
                    await self.hands.fulfil(wish)
            elif looks % NUDGE == NUDGE - 1:
                await domains.nudge(self.domain)
            looks += 1
            await asyncio.sleep(LOOK)

    async def _refreshed(
        self, before: RobotsRecord, after: RobotsRecord, agent: str, began: datetime, refused: int
    ) -> Refreshed:
        now = max(began, after.fetched_at or began)
        token = product_token(agent)
        told = effective(before, now, token), effective(after, now, token)
        changed = not after.wished and rules_differ(before, after, now)
        if not changed:
            return Refreshed(after, not after.wished, changed, *told)
        urls, newly_refused, newly_allowed = 0, 0, 0
        rules = {token: tuple(one.rules for one in told)}
        rows = self.database.rows("robots_urls", domain_id(self.domain), after.origin, MOST_URLS)
        async with contextlib.aclosing(rows):
            async for url, user_agent in rows:
                name = product_token(user_agent or self.settings.user_agent)
                if name not in rules:
                    rules[name] = effective(before, now, name).rules, effective(after, now, name).rules
                could, can = (each.allows(path_of(url)) for each in rules[name])
                urls += 1
                newly_refused += could and not can
                newly_allowed += can and not could
        return Refreshed(after, True, changed, *told, refused, urls, newly_refused, newly_allowed)  # noqa: FBT003 - asked


@contextlib.asynccontextmanager
async def wishing(settings: Settings, database: Database, domain: str) -> AsyncIterator[Wishing]:
    """With hands of our own, for when nobody is at work, or nobody any more, if the database is the embedded one."""
    if settings.database_url is not None:
        yield Wishing(database, settings, domain, None)
        return
    async with own_hands(settings, database) as hands:
        refresh = RobotsRefresh(
            hands.frontier,
            hands.rules,
            hands.asker,
            hands.worker_id,
            user_agent=settings.user_agent,
            delay=settings.delay,
            longest=settings.max_crawl_delay,
        )
        yield Wishing(database, settings, domain, refresh)


async def workers(database: Database) -> int:
    """How many domains those at work can visit at once; 0: nobody is at work."""
    return int(await database.value("workers_slots"))


def all_asked(refreshed: Sequence[Refreshed]) -> bool:
    """Whether every origin was asked."""
    return all(one.asked for one in refreshed)
