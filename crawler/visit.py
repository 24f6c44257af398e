"""The life of one turn: a domain's next few URLs, one worker, one pace.

    each slot:   next URL ─► crawl running? ─► rules of its origin ─► allowed? ─► pause ─► GET ─► read ─► settle ─► recorder
    at the end:  release (last answer + pause, everything on disk)

1. No request begins before the pause after its slot's last answer is over, robots.txt included.
2. No request begins when the lease could have ended; open ones are cut by then.
3. What was not visited stays due as it was.
4. A host that does not resolve, or an origin that does not answer, condemns its URLs in this turn, not in the crawl.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from crawler.adapters.frontier import Accepted
from crawler.adapters.web import Web
from crawler.asking import RobotsAsker
from crawler.core.content import may_store, media_type
from crawler.core.model import Answer, FoundLink, Outcome, Release, Visit
from crawler.core.politeness import Pace, pace, retry_after, throttle_wait
from crawler.core.robots import DENY_ALL, after_fetch, needs_fetch, product_token
from crawler.core.settlement import settle
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import canonical, domain_id, domain_of, host_of, origin_of, path_of, url_hash
from crawler.crawlbook import CrawlBook, KnownCrawl
from crawler.leases import Lease
from crawler.pacing import Slot
from crawler.reading import Read, read
from crawler.recorder import Recorder
from crawler.rules import Known, RulesBook, standing_of

MAX_HOPS: Final = 10
"""Redirects in a row."""
CONDEMNED_AFTER: Final = {
    Outcome.DNS_ERROR: 1,
    Outcome.ADDRESS_REFUSED: 1,
    Outcome.TLS_ERROR: 1,
    Outcome.CONNECT_ERROR: 2,
}
"""So many of these in a row condemn the rest of the host's (or the origin's) URLs in the turn."""


@dataclass(frozen=True, slots=True)
class Manners:
    """The settings that pace a turn, in seconds."""

    delay: float
    max_crawl_delay: float
    per_domain: int
    turn_seconds: float
    user_agent: str
    parser: str


@dataclass(frozen=True, slots=True)
class Tools:
    """What a turn needs of its worker."""

    web: Web
    crawls: CrawlBook
    rules: RulesBook
    asker: RobotsAsker
    recorder: Recorder
    manners: Manners


class TurnVisit:
    """One turn, from its acceptance to its release."""

    def __init__(self, turn: Turn, accepted: Accepted, lease: Lease, tools: Tools) -> None:
        clock = asyncio.get_running_loop().time
        self.turn = turn
        self._accepted = accepted
        self._lease = lease
        self._tools = tools
        self._urls: deque[TurnUrl] = deque(turn.urls)
        self._until = clock() + tools.manners.turn_seconds
        self._stopped = asyncio.Event()
        self._cut = False
        self._asking: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[int, Outcome, str]] = {}
        self._robots_delay: float | None = None
        self._pace = self._new_pace()
        # After a lost turn nobody knows when its last request was: a whole pause first.
        self._start_at = clock() + (self._pace.delay if accepted.lost else 0.0)
        self._slots = [self._slot(0)]
        self._work: asyncio.Task[None] | None = None
        self._wait = 0.0
        self._waits_for = ""
        self._answers = self._failures = 0
        self._address: str | None = None

    def __repr__(self) -> str:
        return f"<Turn {self.turn.turn} of {self.turn.domain}: {len(self._urls)} URLs left, {self._pace.delay:g} s apart>"

    async def run(self) -> None:
        """Visit the URLs, then release the domain. Cancelled (the lease is lost), it leaves everything as it is."""
        self._work = asyncio.create_task(self._visit_all())
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._cut:
                raise
        await self._tools.recorder.release(self._release())

    def stop(self) -> None:
        """Begin no more requests; open ones may end."""
        self._stopped.set()

    def cut(self) -> None:
        """Stop now, without waiting for open requests."""
        self._cut = True
        self._stopped.set()
        if self._work is not None:
            self._work.cancel()

    async def _visit_all(self) -> None:
        if self._accepted.blocked is not None:
            return
        await self._tools.crawls.know({item.crawl_id for item in self._urls})
        self._pace = self._new_pace()
        first = self._slots[0]
        # The first slot learns the first origin's rules before the others start: they may ask for one request at a time.
        item = self._take()
        if item is None or not await self._visit(item, first):
            return
        self._slots += [self._slot(number) for number in range(1, min(self._pace.slots, len(self._urls)))]
        async with asyncio.TaskGroup() as slots:
            for slot in self._slots:
                slots.create_task(self._run_slot(slot))

    async def _run_slot(self, slot: Slot) -> None:
        while slot.number < self._pace.slots and (item := self._take()) is not None:
            if not await self._visit(item, slot):
                self._urls.appendleft(item)
                return

    def _take(self) -> TurnUrl | None:
        return self._urls.popleft() if self._urls and not self._stopped.is_set() else None

    async def _visit(self, item: TurnUrl, slot: Slot) -> bool:
        """One URL; False: the turn is over before it could be asked for, and it stays due."""
        known = self._tools.crawls.get(item.crawl_id)
        if known is None:  # paused, cancelled or deleted meanwhile
            return True
        if await self._condemned(item):
            return True
        user_agent = known.crawl.user_agent or self._tools.manners.user_agent
        rules = await self._learn(origin_of(item.url), slot, user_agent)
        if rules is None:
            return False
        if await self._condemned(item) or await self._disallowed(item, rules, user_agent):
            return True
        if (
            not await slot.rest(self._until)
            or self._lease.left() <= 0
            or self._tools.crawls.get(item.crawl_id) is None
        ):
            return False
        clock = asyncio.get_running_loop().time
        try:
            answer = await self._tools.web.get(
                item.url, user_agent=user_agent, accept_type=_may_store, deadline=clock() + self._lease.left()
            )
        finally:
            slot.answered(clock())
        self._note(item.url, answer)
        await self._settle(
            item, known, await read(answer, item.url, parser=known.crawl.parser or self._tools.manners.parser)
        )
        return True

    async def _learn(self, origin: str, slot: Slot, user_agent: str) -> Known | None:
        """The rules of an origin, asked for if it is time; None: the turn was over before. One slot asks, the others wait."""
        rules = self._tools.rules
        known = rules.peek(origin, datetime.now(UTC))
        if known is None:
            async with self._asking.setdefault(origin, asyncio.Lock()):
                known = rules.peek(origin, datetime.now(UTC)) or await rules.load(self.turn.domain_id, origin)
                if needs_fetch(known.record, datetime.now(UTC)) and not self._condemnation(origin):
                    known = await self._ask(origin, known, slot, user_agent)
        if known is not None:
            delay = standing_of(known, datetime.now(UTC), product_token(user_agent)).rules.crawl_delay
            if delay is not None and delay > (self._robots_delay or 0):
                self._robots_delay = delay
                self._pace = self._new_pace()
        return known

    async def _ask(self, origin: str, known: Known, slot: Slot, user_agent: str) -> Known | None:
        asked = await self._tools.asker.ask(origin, slot, until=self._until, user_agent=user_agent)
        if asked is None or self._lease.left() <= 0:
            return None
        answer = asked.answer
        if origin_of(asked.url) == origin:
            self._note(asked.url, answer)
            if (
                answer.outcome in CONDEMNED_AFTER
            ):  # the site itself cannot be reached: that is its URLs' outcome, not the rules'
                self._failed[self._blamed(origin, answer.outcome)] = (99, answer.outcome, answer.detail)
                return known
        if asked.known is not None and asked.known.record is not None:
            record = replace(asked.known.record, origin=origin)
        else:
            record = after_fetch(
                origin, known.record, outcome=answer.outcome, status=answer.status, body=answer.body, now=datetime.now(UTC),
                detail=answer.detail,
            )  # fmt: skip
        return await self._tools.rules.store(
            self.turn.domain_id, self.turn.domain, record, token=product_token(user_agent)
        )

    async def _disallowed(self, item: TurnUrl, rules: Known, user_agent: str) -> bool:
        """Is the URL against the rules? Then that is its outcome."""
        now = datetime.now(UTC)
        standing = standing_of(rules, now, product_token(user_agent))
        if standing.rules.allows(path_of(item.url)):
            return False
        if standing.rules is DENY_ALL:
            expires = None if rules.record is None else rules.record.expires_at
            ask_in = 60.0 if expires is None else max(1.0, (expires - now).total_seconds())
            await self._put(item, Outcome.ROBOTS_REFUSED, standing.reason, robots_ask_in=ask_in)
        else:
            ruling = standing.rules.ruling(path_of(item.url))
            await self._put(
                item, Outcome.ROBOTS_REFUSED, f"robots.txt line {ruling.line_number}: {ruling.line}"
            )
        return True

    def _note(self, url: str, answer: Answer) -> None:
        """Draw what follows for the domain from an answer, or from there being none."""
        origin = origin_of(url)
        if answer.status is not None:
            self._answers += 1
            self._address = answer.address or self._address
            self._failed.pop(origin, None)
        else:
            self._failures += 1
        if answer.outcome in CONDEMNED_AFTER:
            blamed = self._blamed(origin, answer.outcome)
            times = self._failed.get(blamed, (0, answer.outcome, ""))[0] + 1
            self._failed[blamed] = (times, answer.outcome, answer.detail)
        if answer.outcome is Outcome.THROTTLED and not url.endswith("/robots.txt"):
            asked = retry_after(answer.retry_after, datetime.now(UTC))
            wait = throttle_wait(
                retry_after=asked, throttled_in_a_row=self._accepted.throttled + 1, jitter=random.random()
            )  # noqa: S311
            if wait >= self._wait:
                self._wait = wait
                self._waits_for = f"status {answer.status}" + (
                    "" if asked is None else f", Retry-After {asked:.0f} s"
                )
            self._stopped.set()

    @staticmethod
    def _blamed(origin: str, outcome: Outcome) -> str:
        return host_of(origin + "/") if outcome in (Outcome.DNS_ERROR, Outcome.ADDRESS_REFUSED) else origin

    def _condemnation(self, origin: str) -> tuple[Outcome, str] | None:
        for blamed in (host_of(origin + "/"), origin):
            times, outcome, detail = self._failed.get(blamed, (0, Outcome.OK, ""))
            if times and times >= CONDEMNED_AFTER[outcome]:
                return outcome, detail
        return None

    async def _condemned(self, item: TurnUrl) -> bool:
        """Is the URL's host or origin known not to answer in this turn? Then that is its outcome too."""
        condemnation = self._condemnation(origin_of(item.url))
        if condemnation is None:
            return False
        await self._put(item, *condemnation)
        return True

    async def _settle(self, item: TurnUrl, known: KnownCrawl, seen: Read) -> None:
        """Write down what a visit means."""
        answer = seen.answer
        links: Iterable[FoundLink] = ()
        redirect_url, detail = None, answer.detail
        if seen.page is not None:
            links = known.follow(seen.page.links, item.depth, (self.turn.domain_id, item.url_hash))
        elif answer.outcome is Outcome.REDIRECT:
            redirect_url = canonical(answer.redirect_to or "", item.url)
            links, detail = await self._redirect(item, known, redirect_url)
        await self._put(
            item, answer.outcome, detail, seen=seen, links=tuple(links), redirect_url=redirect_url
        )

    async def _redirect(
        self, item: TurnUrl, known: KnownCrawl, target: str | None
    ) -> tuple[tuple[FoundLink, ...], str]:
        """The target as a link, or why it is none. A seed passes its seedhood on."""
        if target is None:
            return (), "redirects to what is no URL we can fetch"
        if item.hops >= MAX_HOPS:
            return (), f"more than {MAX_HOPS} redirects in a row: not followed"
        if item.seed:
            await self._tools.crawls.adopt(item.crawl_id, target)
        elif (refusal := known.scope.refusal(target, item.depth)) is not None:
            return (), f"redirects out of scope: {refusal}"
        name = domain_of(target)
        link = FoundLink(
            name, domain_id(name), item.crawl_id, url_hash(target), target, item.depth, item.hops + 1, item.seed,
            self.turn.domain_id, item.url_hash,
        )  # fmt: skip
        return (link,), ""

    async def _put(
        self,
        item: TurnUrl,
        outcome: Outcome,
        detail: str,
        *,
        seen: Read | None = None,
        links: tuple[FoundLink, ...] = (),
        redirect_url: str | None = None,
        robots_ask_in: float | None = None,
    ) -> None:
        answer = None if seen is None else seen.answer
        settlement = settle(
            outcome,
            status=None if answer is None else answer.status,
            attempts=item.attempts,
            jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
            revisit=None,
            detail=detail,
            domain_wait=self._wait if outcome is Outcome.THROTTLED else 0.0,
            robots_ask_in=robots_ask_in,
        )
        await self._tools.recorder.put(
            Visit(
                domain_id=self.turn.domain_id,
                crawl_id=item.crawl_id,
                url_hash=item.url_hash,
                url=item.url,
                taken=item.due_at,
                previous=item.outcome,
                depth=item.depth,
                settlement=settlement,
                at=datetime.now(UTC),
                answer=answer,
                page=None if seen is None else seen.page,
                redirect_url=redirect_url,
                digest=None if seen is None else seen.digest,
                compressed=None if seen is None else seen.compressed,
                links=links,
            )
        )

    def _slot(self, number: int) -> Slot:
        return Slot(number, self._start_at, delay=lambda: self._pace.delay, stopped=self._stopped)

    def _new_pace(self) -> Pace:
        manners, accepted = self._tools.manners, self._accepted
        crawls = [
            known.crawl
            for c in {item.crawl_id for item in self.turn.urls}
            if (known := self._tools.crawls.get(c))
        ]
        return pace(
            setting_delay=manners.delay,
            crawl_delays=[crawl.delay for crawl in crawls],
            by_hand=accepted.delay_by_hand,
            robots_delay=self._robots_delay,
            max_crawl_delay=manners.max_crawl_delay,
            per_domain=min((crawl.per_domain or manners.per_domain for crawl in crawls), default=1),
            by_hand_slots=accepted.concurrency_by_hand,
        )

    def _release(self) -> Release:
        clock = asyncio.get_running_loop().time
        rest_until = max(slot.ready_at for slot in self._slots)
        if self._wait:
            rest_until = max(rest_until, clock() + self._wait)
        asked = self._answers + self._failures > 0
        return Release(
            domain_id=self.turn.domain_id,
            domain=self.turn.domain,
            turn=self._accepted.turn,
            rest_until=rest_until,
            delay=self._pace.delay,
            failures=0 if self._answers else min(self._accepted.failures + asked, 1000),
            throttled=min(self._accepted.throttled + 1, 1000)
            if self._wait
            else 0
            if self._answers
            else self._accepted.throttled,
            waits_for=self._waits_for,
            visited=asked,
            address=self._address,
        )


def _may_store(content_type: str | None) -> bool:
    return may_store(media_type(content_type))
