"""Urgent turns in this process, for when nobody is at work: only what somebody waits for is asked for.

    take ──► accept ──► TurnVisit ──► recorder ──► released, with its pause

1. It is a turn like any other, with its lease, its pause and its rules: who dies leaves what a dead worker leaves.
2. What is found goes to the frontier and stays there.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Final

import structlog

from crawler.adapters.crawls import Crawls
from crawler.adapters.frontier import Offer
from crawler.adapters.recording import Recording
from crawler.adapters.urgent import Urgent
from crawler.core.urls import domain_of
from crawler.crawlbook import CrawlBook
from crawler.equipment import equip
from crawler.hands import Hands
from crawler.hook_processes import Hooks
from crawler.leases import Leases, boottime
from crawler.memory import keep_large_apart
from crawler.parsers import Parsers
from crawler.reading import Reader
from crawler.recorder import Recorder
from crawler.urgent_turns import UrgentTurns
from crawler.visit import TurnVisit

log: Final = structlog.get_logger()

LAST_WORDS: Final = 5.0
"""Seconds for letting go of a domain when we are told to stop; signing out frees it too."""
SLOT: Final = 0
"""Counters of who is no worker."""


class OwnVisits:
    """Visits domains for which somebody waits. Use `own_visits`."""

    def __init__(self, hands: Hands) -> None:
        settings, database = hands.settings, hands.database
        self._hands = hands
        self._turns = UrgentTurns(hands.frontier, Urgent(database))
        self._crawls = CrawlBook(Crawls(database))
        self._leases = Leases(hands.frontier, settings.work_lease)
        self._recorder = Recorder(
            Recording(database, hands.worker_id, SLOT), self._crawls, patience=math.inf, due=lambda _: None
        )
        keep_large_apart()
        self._parsers, self._hooks = Parsers(), Hooks.of(settings)
        self._tools = equip(
            settings,
            database,
            web=hands.web,
            crawls=self._crawls,
            rules=hands.rules,
            asker=hands.asker,
            reader=Reader(self._parsers, _page_failed, near_duplicates=settings.near_duplicates),
            recorder=self._recorder,
            hooks=self._hooks,
        )

    async def bury_dead(self) -> None:
        """What the certainly dead held is free at once."""
        await self._hands.presence.sign_in()

    async def visit(self, domain_id: int) -> bool:
        """Visit what is wished of a domain; False: somebody else has it, or it rests, or nothing is wished."""
        turn = await self._turns.take(domain_id)
        if turn is None:
            return False
        since = boottime()
        offer = Offer(domain_id, turn.turn, turn.address)
        held = await self._hands.frontier.accept(
            [offer], self._hands.worker_id, self._hands.settings.work_lease
        )
        if domain_id not in held:
            return False
        lease = self._leases.hold(domain_id, held[domain_id].turn, since, lambda: None)
        visit = TurnVisit(turn, held[domain_id], lease, self._tools)
        task = asyncio.create_task(visit.run())
        lease.lost = task.cancel
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():  # told to stop
                visit.cut()
                await asyncio.wait([task], timeout=LAST_WORDS)
            self._leases.drop(lease)
        return not task.cancelled() and task.result()

    @contextlib.asynccontextmanager
    async def at_hand(self) -> AsyncIterator[None]:
        """Ready to visit inside."""
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = [
                    tasks.create_task(work())
                    for work in (self._recorder.run, self._leases.keep, self._crawls.keep)
                ]
                try:
                    yield
                finally:
                    for task in keeping:
                        task.cancel()
        finally:
            await self._hooks.close()
            await self._parsers.close()


def _page_failed(error: Exception, url: str) -> None:
    log.error("page.failed", url=url, domain=domain_of(url), exc_info=error)
