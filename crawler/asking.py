"""Asking for robots.txt, politely: each hop of a redirect is a request like any other.

origin/robots.txt ──redirect──► same domain: after the pause, in the same slot
                     │
                     ├────────► another domain: only while we hold that domain too (a claim), else "unreachable, ask again"
                     │
                     └────────► the robots.txt of an origin that is known: no request at all
"""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from crawler.adapters.frontier import Frontier
from crawler.adapters.web import Web
from crawler.core.model import Answer, Outcome
from crawler.core.politeness import retry_after, throttle_wait
from crawler.core.robots_lines import MAX_ROBOTS_BYTES
from crawler.core.robots_record import MAX_REDIRECTS, RobotsRecord, after_fetch, needs_fetch
from crawler.core.urls import canonical, domain_id, domain_of, origin_of
from crawler.leases import Lease, boottime
from crawler.pacing import Slot
from crawler.rules import Known, RulesBook

TIMEOUT: Final = 10.0
"""Seconds for one robots.txt request."""
CLAIM_PATIENCE: Final = 10.0
"""Seconds to wait for another domain to be free."""
CLAIM_LEASE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking: the last answer, redirects followed, or the rules another origin is known to have."""

    answer: Answer
    url: str
    """What was asked for last."""
    known: Known | None = None

    def record(self, origin: str, old: RobotsRecord | None, now: datetime) -> RobotsRecord:
        """What to remember of the origin that was asked for."""
        if self.known is not None and self.known.record is not None:
            return replace(self.known.record, origin=origin)
        answer = self.answer
        return after_fetch(
            origin,
            old,
            outcome=answer.outcome,
            status=answer.status,
            body=answer.body,
            now=now,
            detail=answer.detail,
        )


def rest_wanted(answer: Answer) -> float:
    """Seconds for which a site wants its domain to be left alone, outside of any turn; 0: it does not say so."""
    if answer.outcome is not Outcome.THROTTLED:
        return 0.0
    asked = retry_after(answer.retry_after, datetime.now(UTC))
    jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
    return throttle_wait(retry_after=asked, throttled_in_a_row=1, jitter=jitter)


class RobotsAsker:
    """Fetches robots.txt within the politeness of the domains concerned.

    *timeout*: seconds for one request; *patience*: seconds to wait for another domain to be free.
    """

    def __init__(
        self,
        web: Web,
        frontier: Frontier,
        rules: RulesBook,
        worker: str,
        delay: float,
        *,
        timeout: float = TIMEOUT,
        patience: float = CLAIM_PATIENCE,
    ) -> None:
        self._web = web
        self._frontier = frontier
        self._rules = rules
        self._worker = worker
        self._delay = delay
        self._timeout = timeout
        self._patience = patience

    async def ask(
        self, origin: str, slot: Slot, *, until: float, user_agent: str | None, lease: Lease
    ) -> Asked | None:
        """The answer for an origin's robots.txt, while the lease lasts; None: the turn ended before it could be asked for."""
        home = domain_of(origin + "/")
        url = origin + "/robots.txt"
        for _ in range(MAX_REDIRECTS + 1):
            if domain_of(url) == home:
                if not await slot.rest(until) or lease.left() <= 0:
                    return None
                with slot.request():
                    answer = await self._get(url, user_agent, lease.left())
                slot.ended(answer.outcome)
            else:
                elsewhere = await self._get_elsewhere(url, origin, user_agent)
                if not isinstance(elsewhere, Answer):
                    return None if elsewhere is None else Asked(answer, url, elsewhere)
                answer = elsewhere
            if answer.outcome is not Outcome.REDIRECT:
                return Asked(answer, url)
            target = canonical(answer.redirect_to or "", url)
            if target is None:
                return Asked(replace(answer, detail="redirects to what cannot be fetched"), url)
            if known := await self._known_already(target, origin):
                return Asked(answer, url, known)
            url = target
        return Asked(replace(answer, detail="redirected too often"), url)

    async def _known_already(self, url: str, origin: str) -> Known | None:
        """A redirect to the robots.txt of an origin whose rules are known needs no request: whoever is just visiting it asked first."""
        elsewhere = origin_of(url)
        if elsewhere == origin or url != elsewhere + "/robots.txt":
            return None
        now = datetime.now(UTC)
        if known := self._rules.peek(elsewhere, now):
            return known
        known = await self._rules.load(domain_id(domain_of(url)), elsewhere)
        return None if needs_fetch(known.record, now) else known

    async def _get(self, url: str, user_agent: str | None, seconds: float) -> Answer:
        """Ask, for no longer than so many seconds: then the domain may be somebody else's."""
        ends = asyncio.get_running_loop().time() + seconds
        return await self._web.get(
            url,
            user_agent=user_agent,
            accept_type=_anything,
            max_body=MAX_ROBOTS_BYTES,
            truncate=True,
            total_timeout=self._timeout,
            deadline=lambda: ends,
        )

    async def _get_elsewhere(self, url: str, origin: str, user_agent: str | None) -> Answer | Known | None:
        """Ask another domain when it is free, or take what whoever visits it has learned meanwhile; None: it was at work for too long."""
        clock = asyncio.get_running_loop().time
        name = domain_of(url)
        number, began = domain_id(name), clock()
        asked = boottime()
        while (turn := await self._frontier.claim(number, name, self._worker, CLAIM_LEASE)) is None:
            rows = await self._frontier.database.fetch("domains_by_hand", [number])
            if any(row["blocked"] is not None for row in rows):
                return Answer(
                    Outcome.SCOPE_REFUSED, began, clock(), f"{name}, where it redirects to, is blocked"
                )
            if known := await self._known_already(url, origin):
                return known
            if (
                clock() - began > self._patience
            ):  # busy with us: no fault of the site, which is asked again in its next turn
                return None
            await asyncio.sleep(0.25)
            asked = boottime()
        owed = self._delay
        try:
            answer = await self._get(url, user_agent, asked + CLAIM_LEASE - boottime())
            owed = max(owed, rest_wanted(answer))
        finally:
            await self._frontier.release_claim(number, turn, owed)
        return answer


def _anything(_content_type: str | None) -> bool:
    return True
