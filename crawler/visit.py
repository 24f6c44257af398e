"""The life of one turn: a domain's next few URLs, one worker, one pace.

    each slot:   next URL ─► crawl running? ─► rules of its origin ─► allowed? ─► pause ─► GET ─► read ─► ledger
    at the end:  release (last answer + pause, everything on disk)

1. No request begins before the pause after its slot's last answer is over, robots.txt included.
2. No request begins when the lease could have ended; open ones are cut by then.
3. What was not visited stays due as it was.
4. A host that does not resolve, or an origin that does not answer, condemns its URLs in this turn, not in the crawl.
"""

import asyncio
import time
from collections.abc import Collection
from datetime import UTC, datetime
from math import inf
from typing import Final

from crawler.adapters.domains import ByHand
from crawler.adapters.frontier import Accepted
from crawler.announcing import sitemaps_of
from crawler.conduct import Conduct
from crawler.core.agenda import Agenda
from crawler.core.condemnation import BLAME, Condemnations
from crawler.core.headers import conditional
from crawler.core.model import UNKNOWN, Answer, FoundLink, Outcome, UrlKind
from crawler.core.robots import product_token
from crawler.core.robots_record import needs_fetch
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import domain_of, origin_of
from crawler.crawlbook import KnownCrawl
from crawler.equipment import Tools
from crawler.leases import Lease
from crawler.ledger import Ledger
from crawler.pacing import Doing, Slot, doing
from crawler.requesting import request
from crawler.rules import Known, standing_of
from crawler.supply import GoesOn, Supply, never

UNFULFILLED: Final = 412
SILENT: Final = frozenset({Outcome.REDIRECT, Outcome.THROTTLED, *BLAME})
"""After these a site is not asked for its sitemaps yet: it lies elsewhere, or does not answer."""


class TurnVisit:
    """One turn, from its acceptance to its release; *goes_on*: whether it may with what its pages led to."""

    def __init__(
        self, turn: Turn, accepted: Accepted, lease: Lease, tools: Tools, goes_on: GoesOn = never
    ) -> None:
        self.turn = turn
        self._conduct = Conduct(turn, accepted, tools.manners, tools.crawls)
        self._lease = lease
        self._tools = tools
        self._ledger = Ledger(turn, tools.crawls, tools.recorder, tools.announcer)
        self._agenda = Agenda(turn.urls)
        self._supply = Supply(
            self._agenda, self._conduct, self._ledger, tools, self._may_ask, goes_on=goes_on
        )
        self._ends = time.monotonic() + tools.manners.turn_seconds
        self._over = False
        self._stopped = asyncio.Event()
        self._cut = self._late = False
        self._told: set[tuple[int, str]] = set()
        self._asking: dict[str, asyncio.Lock] = {}
        self._condemned = Condemnations()
        # After a lost turn nobody knows when its last request was: it may have been just now.
        self._last = time.monotonic() if self._conduct.after_loss else None
        self._slots = [self._slot(0)]
        self._work: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Turn {self.turn.turn} of {self.turn.domain}: {len(self._agenda)} URLs left, {self._conduct.pace}>"

    async def run(self) -> bool:
        """Visit the URLs, then release the domain; False: its lease had ended, so that it was another's, or may have been.

        Cancelled (the lease is lost), it leaves everything as it is.
        """
        self._work = asyncio.create_task(self._visit_all())
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._cut:
                raise
        finally:
            self._over = True
        released = await self._tools.recorder.release(
            self._conduct.release(slot.ready_at for slot in self._slots)
        )
        return released and not self._late

    @property
    def open_requests(self) -> int:
        """Requests that are open now."""
        return sum(slot.asking for slot in self._slots)

    @property
    def rest(self) -> float | None:
        """Seconds until the first of the pauses being waited out is over; None: there is none."""
        ready = [slot.ready_at for slot in self._slots if slot.resting]
        return min(ready) - time.monotonic() if ready else None

    @property
    def doing(self) -> Doing:
        """What it is at."""
        return "writing" if self._over else doing(self._slots)

    def heed(self, by_hand: ByHand) -> None:
        """Somebody has changed the domain's standing: blocked, the turn ends before its next request; else its pace may be another."""
        if by_hand.blocked is not None:
            self.stop()
        self._conduct.heed(by_hand)

    async def hasten(self, urls: Collection[TurnUrl]) -> None:
        """Somebody waits for these: they come before all others, in whichever slot is free first. If the turn is over, they stay due."""
        if self._over or self._stopped.is_set():
            return
        await self._supply.know(urls)
        if not self._stopped.is_set():
            self._agenda.hasten(urls)
            self._supply.look_again()

    def stop(self) -> None:
        """Begin no more requests; open ones may end."""
        self._stopped.set()
        self._agenda.clear()
        self._supply.look_again()

    def cut(self) -> None:
        """Stop now, without waiting for open requests."""
        self._cut = True
        self.stop()
        if self._work is not None:
            self._work.cancel()

    async def _visit_all(self) -> None:
        if self._conduct.blocked:
            return
        await self._supply.know(self.turn.urls)
        # The first slot learns the first origin's rules before the others start: they may ask for one request at a time.
        item, first = await self._supply.next(0), self._slots[0]
        if item is None or not await self._venture(first) or not await self._visited(item, first):
            return
        self._slots += [self._slot(number) for number in range(1, self._supply.slots)]
        while True:
            async with asyncio.TaskGroup() as slots:
                for slot in self._slots:
                    slots.create_task(self._run_slot(slot))
            if not self._agenda.waits:
                self._over = True  # what is wished from here on stays due
                return

    async def _venture(self, slot: Slot) -> bool:
        """After a lost turn: from its first request on, this one may be what kills workers. Killed while it waits, it is not."""
        if self._conduct.after_loss:
            if not await slot.rest(
                inf
            ):  # however long the pause is: else the turn would end before it, time and again
                return False
            self._ends = max(self._ends, time.monotonic() + self._tools.manners.turn_seconds)
            await self._tools.frontier.venture(self.turn.domain_id, self._conduct.turn)
        return True

    async def _run_slot(self, slot: Slot) -> None:
        while (item := await self._supply.next(slot.number)) is not None:
            if not await self._visited(item, slot):
                return

    async def _visited(self, item: TurnUrl, slot: Slot) -> bool:
        """As `_visit`, and taken down."""
        try:
            return await self._visit(item, slot)
        finally:
            self._supply.done(item)

    @property
    def _until(self) -> float:
        """When the turn has lasted long enough: not before what somebody waits for."""
        return inf if self._agenda.hurries else self._ends

    def _may_ask(self) -> bool:
        return not self._stopped.is_set() and time.monotonic() < self._until

    async def _visit(self, item: TurnUrl, slot: Slot) -> bool:
        """One URL; False: the turn is over before it could be asked for, and it stays due."""
        known = self._tools.crawls.wants(item)
        if known is None:  # paused, cancelled or deleted meanwhile
            return True
        user_agent = known.crawl.user_agent or self._tools.manners.user_agent
        if await self._is_condemned(item) or await self._is_unwanted(item, known):
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
                return self._agenda.gives_way(item) or await self._fetch(item, known, slot, user_agent)

    async def _fetch(self, item: TurnUrl, known: KnownCrawl, slot: Slot, user_agent: str) -> bool:
        """Ask for the URL and write down what came; as `_visit`."""
        past = self._supply.past.get((item.crawl_id, item.url_hash), UNKNOWN)
        is_page, tools = item.kind == UrlKind.PAGE, self._tools
        with (tools.room if is_page else tools.room_for_sitemaps).claim() as claim:
            for condition in (past, UNKNOWN):
                with slot.request():
                    answer = await request(
                        tools.web,
                        item,
                        known,
                        condition,
                        user_agent=user_agent,
                        deadline=self._lease.ends,
                        claim=claim,
                    )
                slot.ended(answer.outcome)
                # 412 answers a condition that no GET of ours sets (RFC 9110 section 13.1): asked once more, without any.
                unfulfilled = answer.status == UNFULFILLED and conditional(condition)
                if not unfulfilled or not await slot.rest(self._until):
                    break
            if self._lease.left() <= 0:
                self._late = True
                return False  # it was us who ended the request, or slept: somebody else may have asked since, and has the newer answer
            self._note(item.url, answer)
            if self._conduct.throttled(answer):
                self.stop()
            wait = self._conduct.wait
            if not is_page:
                read = await tools.reader.sitemap(answer, item.url)
                await self._ledger.sitemap(item, known, read, past=past, domain_wait=wait)
                return True
            parser = known.crawl.parser or tools.manners.parser
            seen = await tools.reader.read(
                answer, item.url, parser=parser, types=frozenset(known.crawl.types)
            )
            if tools.hooks is not None:
                seen = await tools.hooks.hear(seen, item, known, past)
            named = self._sitemaps(item, known, user_agent) if answer.outcome not in SILENT else ()
            await self._ledger.visited(item, known, seen, past=past, domain_wait=wait, sitemaps=named)
        return True

    def _sitemaps(self, item: TurnUrl, known: KnownCrawl, user_agent: str) -> tuple[FoundLink, ...]:
        """The sitemaps of the URL's origin, told once a turn: they go to the frontier with its visit."""
        origin = origin_of(item.url)
        if (item.crawl_id, origin) in self._told:
            return ()
        self._told.add((item.crawl_id, origin))
        now = datetime.now(UTC)
        rules = self._tools.rules.peek(origin, now)
        named = () if rules is None else standing_of(rules, now, product_token(user_agent)).rules.sitemaps
        return sitemaps_of(known, item, (self.turn.domain_id, item.url_hash), named)

    def _may_go_on(self, item: TurnUrl) -> bool:
        """Asked right before a request: the pause may have been long, and the machine may have slept."""
        return self._lease.left() > 0 and self._tools.crawls.wants(item) is not None

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
            self._conduct.slow_down(standing.rules.crawl_delay)
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
        if domain_of(asked.url) == self.turn.domain and self._conduct.throttled(answer):
            self.stop()
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
            self.turn.domain_id, self.turn.domain, record, token=token, old=known
        )

    async def _is_condemned(self, item: TurnUrl) -> bool:
        """Is the URL's host or origin known not to answer in this turn? Then that is its outcome too."""
        verdict = self._condemned.verdict(origin_of(item.url))
        if verdict is None:
            return False
        await self._ledger.unasked(item, *verdict)
        return True

    async def _is_unwanted(self, item: TurnUrl, known: KnownCrawl) -> bool:
        """Is it a sitemap that the crawl has no use for? Then that is its outcome."""
        if item.kind == UrlKind.PAGE:
            return False
        refusal = await self._tools.announcer.refusal(known, item, self.turn.domain_id)
        if refusal is not None:
            await self._ledger.unasked(item, Outcome.SCOPE_REFUSED, refusal)
        return refusal is not None

    async def _is_disallowed(self, item: TurnUrl, rules: Known, user_agent: str) -> bool:
        """Is the URL against the rules? Then that is its outcome."""
        refusal = self._tools.decisions.refusal(rules, item.url, user_agent, datetime.now(UTC))
        if refusal is not None:
            detail, ask_in = refusal.detail, refusal.ask_in
            await self._ledger.unasked(item, Outcome.ROBOTS_REFUSED, detail, ask_robots_in=ask_in)
        return refusal is not None

    def _note(self, url: str, answer: Answer) -> None:
        """Draw what follows for the domain from an answer, or from there being none."""
        origin = origin_of(url)
        self._conduct.note(answer)
        if answer.status is not None:
            self._condemned.answered(origin)
        else:
            self._condemned.failed(origin, answer.outcome, answer.detail)

    def _slot(self, number: int) -> Slot:
        return Slot(number, self._last, delay=self._conduct.pause, stopped=self._stopped)
