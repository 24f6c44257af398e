"""Asking for robots.txt because somebody wishes it now, outside of any turn.

    crawl refresh --robots ──wish──► origins, NOTIFY ──► held by a turn: the turn asks (visit.py)
                                                    └──► free, or merely queued ──claim──► asked here ──► released, with its pause

1. Of all who hear of a wish one can claim the domain: never are two requests open, and the pause is kept.
2. A wish is a mark on the rows of the origins. Whoever dies loses nothing: the next nudge, or the next visit, finds it again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Final

from crawler.adapters.domains import Wish
from crawler.adapters.frontier import Frontier
from crawler.asking import RobotsAsker, rest_wanted
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.core.robots import product_token
from crawler.core.robots_record import MAX_REDIRECTS
from crawler.core.urls import domain_of
from crawler.leases import Lease, boottime
from crawler.pacing import Slot
from crawler.rules import RulesBook

LEASE: Final = 120.0
"""Seconds for one robots.txt with its redirects, besides the pauses between them."""


class RobotsRefresh:
    """Fulfils wishes for domains that nobody visits. *user_agent* and *delay*: unless a crawl or the domain has others.

    *longest*: seconds of crawl-delay that are obeyed. *fault*: is told of exceptions that should not have come; without it they end `keep`.
    """

    def __init__(
        self,
        frontier: Frontier,
        rules: RulesBook,
        asker: RobotsAsker,
        worker: str,
        *,
        user_agent: str,
        delay: float,
        longest: float,
        fault: Callable[[Exception], object] | None = None,
    ) -> None:
        self._frontier = frontier
        self._rules = rules
        self._asker = asker
        self._worker = worker
        self._user_agent = user_agent
        self._delay = delay
        self._longest = longest
        self._fault = fault
        self._offers: asyncio.Queue[Wish] = asyncio.Queue()
        self._under_way: set[int] = set()

    def offer(self, wish: Wish) -> None:
        """Somebody wishes this, and none of our turns is at that domain."""
        if wish.domain_id not in self._under_way:
            self._under_way.add(wish.domain_id)
            self._offers.put_nowait(wish)

    async def keep(self) -> None:
        """Fulfil what is offered, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._tried(await self._offers.get()))

    async def _tried(self, wish: Wish) -> None:
        try:
            with contextlib.suppress(DatabaseBusyError, DatabaseUnavailableError):  # the wish stays
                await self.fulfil(wish)
        except Exception as error:  # of ours, and reported: the wish waits for the next visit
            if self._fault is None:
                raise
            self._fault(error)
        finally:
            self._under_way.discard(wish.domain_id)

    async def fulfil(self, wish: Wish) -> bool:
        """Ask for all that is wished; False: somebody else holds the domain, or it rests."""
        delay = max(wish.delay, self._delay)
        length = LEASE + (MAX_REDIRECTS + 1) * delay
        since = boottime()
        turn = await self._frontier.claim(wish.domain_id, wish.domain, self._worker, length)
        if turn is None:
            return False
        lease = Lease(wish.domain_id, turn, since + length, lambda: None)
        asked_for = delay

        def pause() -> float:
            return asked_for

        slot = Slot(0, None, delay=pause, stopped=asyncio.Event())
        try:
            for origin in wish.origins:
                since = boottime()
                if not await self._frontier.renew([(wish.domain_id, turn)], length):
                    return False
                lease.deadline = since + length
                asked_for = max(delay, await self._ask(wish, origin, slot, lease))
                # So long a pause is the domain's own, not ours to hold it for: the next nudge goes on.
                if asked_for > delay:
                    break
        finally:
            owed = max(0.0, slot.ready_at - time.monotonic())
            await self._frontier.release_claim(wish.domain_id, turn, owed)
        return True

    async def _ask(self, wish: Wish, origin: str, slot: Slot, lease: Lease) -> float:
        """Ask for the rules of one origin, unless somebody else has: the seconds it wants to be left alone after it, if it says so."""
        loaded = await self._rules.load(wish.domain_id, origin)
        if (old := loaded.record) is None or not old.wished:
            return 0.0
        agent = wish.user_agent or self._user_agent
        asked = await self._asker.ask(origin, slot, until=inf, user_agent=agent, lease=lease)
        if asked is None or lease.left() <= 0:
            return 0.0
        now, token = datetime.now(UTC), product_token(agent)
        record = asked.record(origin, old, now)
        known = await self._rules.store(wish.domain_id, wish.domain, record, token=token, old=loaded)
        crawl_delay = (await self._rules.standing(known, now, token)).rules.crawl_delay or 0.0
        rest = rest_wanted(asked.answer) if domain_of(asked.url) == wish.domain else 0.0
        return max(rest, min(self._longest, crawl_delay))
