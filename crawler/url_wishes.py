"""Wishing that URLs be visited now, ahead of everything else and with every pause, and waiting for what comes of it.

    wish ──► due before 1971, its holder is told ──► looked at (urging) ──► visited ──► what changed, in how long
                                                                     └──► given up: why, and when it may be

1. Who stops waiting takes nothing back: the URL stays the first of its domain, for whoever visits that next.
2. Nobody is hurried: of all who wait for a domain one at a time takes it, and only when it may be visited.
3. To wait costs a look at the rows of the URLs now and then, and never one at anything that grows with the frontier.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Final

from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database, Record
from crawler.adapters.urgent import Key, Urgent
from crawler.core.errors import DatabaseBusyError
from crawler.core.urls import domain_id, domain_of, url_hash
from crawler.hands import own_hands
from crawler.own_visits import OwnVisits
from crawler.ports import Queue
from crawler.queues import opened_queue
from crawler.settings import Settings
from crawler.urgent_turns import UrgentTurns
from crawler.urging import LOOK, Urging, Waiting
from crawler.wish_answers import Answered, Refused, Result, Waits, Why, answered, refused_or_known

WAIT: Final = 60.0
DEAREST: Final = 10
"""A look may cost one part in so many of the time between."""


async def refresh_urls(
    settings: Settings,
    database: Database,
    urls: Sequence[str],
    *,
    crawl: str | None = None,
    wait: float = WAIT,
) -> list[Result]:
    """Have these canonical URLs visited before all others, and say what came of each within *wait* seconds (0: only wish it).

    *crawl*: the name of the crawl that is meant; needed for a URL that several know.
    On an embedded database with nobody at work they are visited here, and nothing else is.

    Raises:
        DatabaseUnavailableError: what was wished stays so.
    """
    carrier = "postgres" if settings.amqp_url is None else "rabbit"
    async with opened_queue(settings, database) as queue, _own_visits(settings, database, wait) as visits:
        return await UrlWishes(database, queue, carrier, visits).refresh(urls, crawl=crawl, wait=wait)


@contextlib.asynccontextmanager
async def _own_visits(settings: Settings, database: Database, wait: float) -> AsyncIterator[OwnVisits | None]:
    if settings.database_url is not None or not wait:
        yield None
        return
    async with own_hands(settings, database) as hands:
        visits = OwnVisits(hands)
        async with visits.at_hand():
            yield visits


class UrlWishes:
    """Wishes for URLs. *carrier*: what the queue is (``postgres``, ``rabbit``); *visits*: of our own, for when nobody is at work."""

    def __init__(self, database: Database, queue: Queue, carrier: str, visits: OwnVisits | None) -> None:
        self._urgent = Urgent(database)
        turns = UrgentTurns(Frontier(database), self._urgent)
        self._urging = Urging(self._urgent, turns, queue, carrier, visits)

    async def refresh(
        self, urls: Sequence[str], *, crawl: str | None = None, wait: float = WAIT
    ) -> list[Result]:
        """As `refresh_urls`."""
        began = time.monotonic()
        told: dict[str, Result] = {}
        meant: dict[str, Record] = {}
        for url, rows in (await self._known(urls)).items():
            found = refused_or_known(url, rows, crawl)
            if isinstance(found, Refused):
                told[url] = found
            else:
                meant[url] = found
        keys = {url: (row["domain_id"], row["crawl_id"], row["url_hash"]) for url, row in meant.items()}
        before = await self._urgent.seen(keys.values())
        wished = await self._wish(keys.values())
        waiting = Waiting(wished)
        await self._wait(waiting, wait)
        after = await self._urgent.seen(waiting.visited)
        for url, key in keys.items():
            row = meant[url]
            if key in after and key in before:
                told[url] = answered(url, row["crawl"], before[key], after[key], waiting.visited[key] - began)
            elif key in wished and key not in waiting.visited:
                why = waiting.given_up.get(key, (Why.LATE, None, ""))
                told[url] = Waits(url, row["crawl"], row["domain"], *why)
            else:  # deleted or forgotten meanwhile
                told[url] = Refused(url, Why.UNKNOWN, (row["crawl"],))
        if crawls := _done(told.values(), keys):
            await self._urgent.done(crawls)
        return [told[url] for url in dict.fromkeys(urls)]

    async def _known(self, urls: Iterable[str]) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {url: [] for url in urls}
        by_key = {(domain_id(domain_of(url)), url_hash(url)): url for url in found}
        for row in await self._urgent.known(by_key):
            found[by_key[row["domain_id"], row["url_hash"]]].append(row)
        return found

    async def _wish(self, keys: Iterable[Key]) -> set[Key]:
        crawls: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        for number, crawl_id, digest in keys:
            crawls[crawl_id].append((number, digest))
        wished: set[Key] = set()
        for crawl_id, some in sorted(crawls.items()):
            wished.update(await self._urgent.wish(crawl_id, some))
        return wished

    async def _wait(self, waiting: Waiting, seconds: float) -> None:
        if not seconds:
            waiting.give_up(None, Why.NOT_WAITED)
            return
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                try:
                    await self._until_visited(waiting, tasks)
                finally:
                    self._urging.stop()
        except TimeoutError:
            waiting.saw(await self._urgent.left(waiting.pending))

    async def _until_visited(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        while waiting.pending:
            began, pause = time.monotonic(), LOOK
            with contextlib.suppress(DatabaseBusyError):
                waiting.saw(await self._urgent.left(waiting.pending))
                pause = await self._urging.look(waiting, tasks)
            if waiting.pending:
                await asyncio.sleep(max(pause, DEAREST * (time.monotonic() - began)))


def _done(told: Collection[Result], keys: dict[str, Key]) -> set[int]:
    """The crawls of which everything that was wished has its outcome."""
    left = {keys[one.url][1] for one in told if isinstance(one, Waits)}
    return {keys[one.url][1] for one in told if isinstance(one, Answered)} - left
