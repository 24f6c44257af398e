"""The life of one turn: a domain's next few URLs, one worker, one pace.

    each slot:   next URL ─► crawl running? ─► rules of its origin ─► allowed? ─► pause ─► GET ─► read ─► ledger
    at the end:  release (last answer + pause, everything on disk)

1. No request begins before the pause after its slot's last answer is over, robots.txt included.
2. No request begins when the lease could have ended; open ones are cut by then.
3. What was not visited stays due as it was.
4. A host that does not resolve, or an origin that does not answer, condemns its URLs in this turn, not in the crawl.
"""

import asyncio
import random
import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf

from crawler.adapters.domains import ByHand
from crawler.adapters.frontier import Accepted
from crawler.core.condemnation import BLAME, Condemnations
from crawler.core.content import may_store, media_type
from crawler.core.headers import sent_to
from crawler.core.model import Answer, Outcome, Release
from crawler.core.politeness import Pace, pace, retry_after, throttle_wait
from crawler.core.retry import patience
from crawler.core.robots import DENY_ALL, product_token
from crawler.core.robots_record import needs_fetch
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import domain_of, origin_of, path_of
from crawler.crawlbook import KnownCrawl
from crawler.equipment import Tools
from crawler.leases import Lease
from crawler.ledger import Ledger
from crawler.pacing import Slot
from crawler.rules import Known, standing_of


class TurnVisit:
    """One turn, from its acceptance to its release."""

    def __init__(self, turn: Turn, accepted: Accepted, lease: Lease, tools: Tools) -> None:
        self.turn = turn
        self._accepted = accepted
        self._lease = lease
        self._tools = tools
        self._ledger = Ledger(turn, tools.crawls, tools.recorder)
        self._urls: deque[TurnUrl] = deque(turn.urls)
        self._until = time.monotonic() + tools.manners.turn_seconds
        self._stopped = asyncio.Event()
        self._cut = False
        self._asking: dict[str, asyncio.Lock] = {}
        self._condemned = Condemnations()
        self._robots_delay: float | None = None
        self._pace = self._new_pace()
        # After a lost turn nobody knows when its last request was: it may have been just now.
        self._last = time.monotonic() if accepted.lost else None
        self._slots = [self._slot(0)]
        self._work: asyncio.Task[None] | None = None
        self._wait = 0.0
        self._waits_for = ""
        self._answers = self._failures = 0
        self._address: str | None = None

    def __repr__(self) -> str:
        return f"<Turn {self.turn.turn} of {self.turn.domain}: {len(self._urls)} URLs left, {self._pace}>"

    async def run(self) -> bool:
        """Visit the URLs, then release the domain; False: it was not its own any more, as after a lease that ended.

        Cancelled (the lease is lost), it leaves everything as it is.
        """
        self._work = asyncio.create_task(self._visit_all())
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._cut:
                raise
        return await self._tools.recorder.release(self._release())

    @property
    def open_requests(self) -> int:
        """Requests that are open now."""
        return sum(slot.asking for slot in self._slots)

    @property
    def rest(self) -> float | None:
        """Seconds until the first of the pauses being waited out is over; None: there is none."""
        ready = [slot.ready_at for slot in self._slots if slot.resting]
        return min(ready) - time.monotonic() if ready else None

    def heed(self, by_hand: ByHand) -> None:
        """Somebody has changed the domain's standing: blocked, the turn ends before its next request; else its pace may be another."""
        if by_hand.blocked is not None:
            self.stop()
        self._accepted = replace(
            self._accepted, delay_by_hand=by_hand.delay, concurrency_by_hand=by_hand.concurrency
        )
        self._pace = self._new_pace()

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
        await self._tools.crawls.know({item.crawl_id for item in self._urls}, self._urls)
        self._pace = self._new_pace()
        # The first slot learns the first origin's rules before the others start: they may ask for one request at a time.
        item, first = self._take(), self._slots[0]
        if item is None or not await self._venture(first) or not await self._visit(item, first):
            return
        self._slots += [self._slot(number) for number in range(1, min(self._pace.slots, len(self._urls)))]
        async with asyncio.TaskGroup() as slots:
            for slot in self._slots:
                slots.create_task(self._run_slot(slot))

    async def _venture(self, slot: Slot) -> bool:
        """After a lost turn: from its first request on, this one may be what kills workers. Killed while it waits, it is not."""
        if self._accepted.lost:
            if not await slot.rest(
                inf
            ):  # however long the pause is: else the turn would end before it, time and again
                return False
            self._until = max(self._until, time.monotonic() + self._tools.manners.turn_seconds)
            await self._tools.frontier.venture(self.turn.domain_id, self._accepted.turn)
        return True

    async def _run_slot(self, slot: Slot) -> None:
        while slot.number < self._pace.slots and (item := self._take()) is not None:
            if not await self._visit(item, slot):
                return

    def _take(self) -> TurnUrl | None:
        return self._urls.popleft() if self._urls and not self._stopped.is_set() else None

    async def _visit(self, item: TurnUrl, slot: Slot) -> bool:
        """One URL; False: the turn is over before it could be asked for, and it stays due."""
        known = self._tools.crawls.get(item.crawl_id)
        if known is None:  # paused, cancelled or deleted meanwhile
            return True
        user_agent = known.crawl.user_agent or self._tools.manners.user_agent
        if await self._is_condemned(item):
            return True
        obeys = self.turn.domain not in known.crawl.owned_domains
        while True:
            if obeys:
                rules = await self._learn(origin_of(item.url), slot, user_agent)
                if rules is None:
                    return False
                if await self._is_condemned(item) or await self._is_disallowed(item, rules, user_agent):
                    return True
            if not await slot.rest(self._until) or not self._may_go_on(item):
                return False
            # The pause after new rules may be long, and somebody may have wished for newer ones meanwhile.
            if not (obeys and self._tools.rules.is_wished(self.turn.domain_id)):
                return await self._fetch(item, known, slot, user_agent)

    async def _fetch(self, item: TurnUrl, known: KnownCrawl, slot: Slot, user_agent: str) -> bool:
        """Ask for the URL and write down what came; as `_visit`."""
        types = frozenset(known.crawl.types)
        with self._tools.room.claim() as claim:
            with slot.request():
                answer = await self._tools.web.get(
                    item.url,
                    user_agent=user_agent,
                    headers=sent_to(self.turn.domain, known.crawl.headers, known.crawl.trusted_domains),
                    accept_type=partial(_may_store, types),
                    deadline=self._lease_ends,
                    claim=claim,
                )
            if self._lease.left() <= 0 and patience(answer.outcome, answer.status) is not None:
                return False  # it was us who ended the request, or slept: the site is not to blame
            self._note(item.url, answer)
            self._throttled(answer)
            parser = known.crawl.parser or self._tools.manners.parser
            seen = await self._tools.reader.read(answer, item.url, parser=parser, types=types)
            await self._ledger.visited(item, known, seen, domain_wait=self._wait)
        return True

    def _lease_ends(self) -> float:
        """When the lease ends as it is now, of the loop's clock: it may be renewed while a request is open."""
        return asyncio.get_running_loop().time() + self._lease.left()

    def _may_go_on(self, item: TurnUrl) -> bool:
        """Asked right before a request: the pause may have been long, and the machine may have slept."""
        return self._lease.left() > 0 and self._tools.crawls.get(item.crawl_id) is not None

    async def _learn(self, origin: str, slot: Slot, user_agent: str) -> Known | None:
        """The rules of an origin, asked for if it is time; None: the turn was over before. One slot asks, the others wait.

        They are looked at after the pause, right before the request that they allow: new ones count from the next request on.
        """
        rules = self._tools.rules
        if not await slot.rest(self._until):
            return None
        while (wished := rules.wished(self.turn.domain_id)) is not None:
            if wished != origin and await self._rules_of(wished, slot, user_agent) is None:
                return None
        known = await self._rules_of(origin, slot, user_agent)
        if known is not None:
            standing = await rules.standing(known, datetime.now(UTC), product_token(user_agent))
            delay = standing.rules.crawl_delay
            if delay is not None and delay > (self._robots_delay or 0):
                self._robots_delay = delay
                self._pace = self._new_pace()
        return known

    async def _rules_of(self, origin: str, slot: Slot, user_agent: str) -> Known | None:
        rules = self._tools.rules
        known = rules.peek(origin, datetime.now(UTC))
        if known is None:
            async with self._asking.setdefault(origin, asyncio.Lock()):
                known = rules.peek(origin, datetime.now(UTC)) or await rules.load(self.turn.domain_id, origin)
                if needs_fetch(known.record, datetime.now(UTC)) and self._condemned.verdict(origin) is None:
                    known = await self._ask(origin, known, slot, user_agent)
        return known

    async def _ask(self, origin: str, known: Known, slot: Slot, user_agent: str) -> Known | None:
        asked = await self._tools.asker.ask(
            origin, slot, until=self._until, user_agent=user_agent, lease=self._lease
        )
        if asked is None or self._lease.left() <= 0:
            return None
        answer = asked.answer
        if domain_of(asked.url) == self.turn.domain:
            self._throttled(answer)
        if origin_of(asked.url) == origin:
            self._note(asked.url, answer)
            if (blame := BLAME.get(answer.outcome)) is not None:
                # The site itself cannot be reached: that is the outcome of its URLs, not the rules'.
                self._condemned.failed(origin, answer.outcome, answer.detail, times=blame.times)
                if known.record is None or not known.record.wished:
                    return known
        record = asked.record(origin, known.record, datetime.now(UTC))
        token = product_token(user_agent)
        return await self._tools.rules.store(
            self.turn.domain_id, self.turn.domain, record, token=token, old=known.record
        )

    async def _is_condemned(self, item: TurnUrl) -> bool:
        """Is the URL's host or origin known not to answer in this turn? Then that is its outcome too."""
        verdict = self._condemned.verdict(origin_of(item.url))
        if verdict is None:
            return False
        await self._ledger.unasked(item, *verdict)
        return True

    async def _is_disallowed(self, item: TurnUrl, rules: Known, user_agent: str) -> bool:
        """Is the URL against the rules? Then that is its outcome."""
        now = datetime.now(UTC)
        standing = standing_of(rules, now, product_token(user_agent))
        path = path_of(item.url)
        if standing.rules.allows(path):
            return False
        if standing.rules is DENY_ALL:
            expires = None if rules.record is None else rules.record.expires_at
            ask_in = 60.0 if expires is None else max(1.0, (expires - now).total_seconds())
            await self._ledger.unasked(item, Outcome.ROBOTS_REFUSED, standing.reason, ask_robots_in=ask_in)
        else:
            ruling = standing.rules.ruling(path)
            detail = f"robots.txt line {ruling.line_number}: {ruling.line}"
            await self._ledger.unasked(item, Outcome.ROBOTS_REFUSED, detail)
        return True

    def _note(self, url: str, answer: Answer) -> None:
        """Draw what follows for the domain from an answer, or from there being none."""
        origin = origin_of(url)
        if answer.status is not None:
            self._answers += 1
            self._address = answer.address or self._address
            self._condemned.answered(origin)
        else:
            self._failures += 1
            self._condemned.failed(origin, answer.outcome, answer.detail)

    def _throttled(self, answer: Answer) -> None:
        """A site that wants rest gets it: the whole domain waits, and the turn is over."""
        if answer.outcome is not Outcome.THROTTLED:
            return
        asked = retry_after(answer.retry_after, datetime.now(UTC))
        row = self._accepted.throttled + 1
        jitter = random.random()  # noqa: S311 - spreads retries, keeps no secret
        wait = throttle_wait(retry_after=asked, throttled_in_a_row=row, jitter=jitter)
        if wait >= self._wait:
            self._wait = wait
            said = "" if asked is None else f", Retry-After {asked:.0f} s"
            self._waits_for = f"status {answer.status}{said}"
        self._stopped.set()

    def _slot(self, number: int) -> Slot:
        return Slot(number, self._last, delay=self._pause, stopped=self._stopped)

    def _pause(self) -> float:
        """Seconds between an answer and the next request; after a lost turn not less than the pause given before."""
        return max(self._pace.delay, self._accepted.delay) if self._accepted.lost else self._pace.delay

    def _new_pace(self) -> Pace:
        manners, accepted = self._tools.manners, self._accepted
        known = (self._tools.crawls.get(crawl_id) for crawl_id in {item.crawl_id for item in self.turn.urls})
        crawls = [each.crawl for each in known if each is not None]
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
        accepted = self._accepted
        asked = self._answers + self._failures > 0
        throttled = accepted.throttled + 1 if self._wait else 0 if self._answers else accepted.throttled
        return Release(
            domain_id=self.turn.domain_id,
            domain=self.turn.domain,
            turn=accepted.turn,
            rest_until=max([time.monotonic() + self._wait, *(slot.ready_at for slot in self._slots)]),
            delay=self._pace.delay,
            failures=0 if self._answers else accepted.failures + asked,
            throttled=throttled,
            waits_for=self._waits_for,
            visited=asked,
            address=self._address,
        )


def _may_store(types: frozenset[str], content_type: str | None) -> bool:
    return may_store(media_type(content_type), types)
