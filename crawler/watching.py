"""What people change about a domain by hand while it is being visited, heard and heeded before its next request.

    crawl domain ... ──NOTIFY──► changed ──► what is set by hand now? ──► blocked: the turn ends; slower: its pause is longer
    crawl refresh --robots ─────────┤         ├─► robots.txt wished for ──► the turn asks before its next request; no turn: we claim it
    crawl refresh URL ──────────────┘         └─► URLs wished for ──► the turn visits them before all others; no turn: others take it

1. A turn whose acceptance crossed a notification on its way is looked at too.
2. What was said while nobody listened is asked for when listening begins again.
3. No rules are used that were read before a wish for new ones.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from crawler.adapters.domains import Domains
from crawler.adapters.urgent import Urgent
from crawler.crawlbook import CrawlBook
from crawler.refreshing import RobotsRefresh
from crawler.rules import RulesBook
from crawler.visit import TurnVisit

CROSSED: Final = 60.0
"""Seconds for which a notification is remembered: longer than accepting takes."""
ALL: Final = None
"""Any domain may have changed."""


class DomainWatch:
    """Tells the turns at work what has changed about their domains."""

    def __init__(  # noqa: PLR0917 - each is another part of the worker
        self,
        domains: Domains,
        visits: Callable[[], Collection[TurnVisit]],
        crawls: CrawlBook,
        rules: RulesBook,
        refresh: RobotsRefresh,
        urgent: Urgent,
    ) -> None:
        self._domains = domains
        self._visits = visits
        self._crawls = crawls
        self._rules = rules
        self._refresh = refresh
        self._urgent = urgent
        self._stale: set[int | None] = set()
        self._recent: dict[int | None, float] = {}
        self._something = asyncio.Event()

    def changed(self, payload: str) -> None:
        """Somebody says that a domain has changed; an empty payload: any of them may have."""
        domain_id = int(payload) if payload else ALL
        now = time.monotonic()
        self._recent = {one: heard for one, heard in self._recent.items() if heard > now - CROSSED}
        self._recent[domain_id] = now
        self._look(domain_id)

    def accepted(self, domain_ids: Collection[int], asked: float) -> None:
        """Turns of these domains have just become ours; *asked*: when we asked for them, of `time.monotonic`."""
        for domain_id, heard in self._recent.items():
            if heard >= asked and (domain_id is ALL or domain_id in domain_ids):
                self._look(domain_id)

    async def keep(self) -> None:
        """Look at what has changed, until cancelled."""
        while True:
            await self._something.wait()
            self._something.clear()
            stale, self._stale = self._stale, set()
            try:
                await self._heed(stale)
            except BaseException:
                self._stale |= stale
                self._something.set()
                raise

    async def _heed(self, stale: set[int | None]) -> None:
        named = {one for one in stale if one is not ALL}
        at_work = {visit.turn.domain_id for visit in self._visits()} if ALL in stale else set()
        if ALL in stale:
            self._rules.clear()
        self._rules.forget(named)
        by_hand = await self._domains.by_hand(named | at_work)
        for visit in self._visits():
            if (standing := by_hand.get(visit.turn.domain_id)) is not None:
                visit.heed(standing)
        if any(standing.forgotten for standing in by_hand.values()):
            self._crawls.forget()
        wishes = await self._domains.wishes(named | at_work)
        visited = {visit.turn.domain_id for visit in self._visits()}
        for wish in wishes:
            self._rules.wish(wish.domain_id, wish.origins)
            if wish.domain_id not in visited:
                self._refresh.offer(wish)
        urls = await self._urgent.wished(visited & (named | at_work))
        # Turns begin and end while the crawls of these URLs are looked up.
        for visit in list(self._visits()):
            if visit.turn.domain_id in urls:
                await visit.hasten(urls[visit.turn.domain_id])

    def _look(self, domain_id: int | None) -> None:
        self._stale.add(domain_id)
        self._something.set()
