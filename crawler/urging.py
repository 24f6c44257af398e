"""Getting domains visited for which somebody waits: looked at now and then, each by what its standing is.

    held ──► its holder is told              rests ──► nothing, until its pause is over
    free, or merely queued ──► an urgent turn: published; or, with nobody at work, visited here
    blocked, backing off, nobody at work ──► given up: whoever waits is told why

1. A domain is tried again at most once a second, whatever goes wrong with it.
"""

import asyncio
import time
from collections.abc import Collection, Iterable
from typing import Final

import structlog

from crawler.adapters.urgent import URGENT, Key, Standing, Urgent
from crawler.core.errors import BrokerError, DatabaseBusyError
from crawler.own_visits import OwnVisits
from crawler.ports import Queue
from crawler.urgent_turns import UrgentTurns
from crawler.wish_answers import Why

log: Final = structlog.get_logger()

LOOK: Final = 0.1
"""Seconds between looks whether it was visited."""
AGAIN: Final = 1.0
"""Seconds after which a holder is told again, a domain is tried again, and it is asked again who is at work."""
LONGEST_REST: Final = 10.0
"""Seconds: a domain that is ready later than that, and than two of its pauses, backs off, and nobody waits for that."""
PAUSES: Final = 2
IN_VAIN: Final = -2
"""The turn of a domain that could not be taken, whatever it has: it is tried again later."""


class Waiting:
    """Which URLs are waited for, and what came of the others. Times are of `time.monotonic`."""

    def __init__(self, wished: Iterable[Key]) -> None:
        self.pending = set(wished)
        self.visited: dict[Key, float] = {}
        """When each was seen to have been."""
        self.given_up: dict[Key, tuple[Why, float | None, str]] = {}
        """Why each was not, seconds until its domain may be visited, and a detail."""

    def __repr__(self) -> str:
        return f"<Waiting for {len(self.pending)}, {len(self.visited)} visited>"

    def saw(self, left: Collection[Key]) -> None:
        """Only these still wait to be visited."""
        now = time.monotonic()
        self.visited.update({key: now for key in self.pending if key not in left})
        self.pending.intersection_update(left)

    def give_up(
        self, domain_id: int | None, why: Why, ready_in: float | None = None, detail: str = ""
    ) -> None:
        """Wait no longer for those of this domain; None: for any."""
        some = {key for key in self.pending if domain_id in {None, key[0]}}
        self.given_up.update(dict.fromkeys(some, (why, ready_in, detail)))
        self.pending -= some


class Urging:
    """Does what can be done for the domains of what is waited for. *carrier*: as `Urgent.at_work` names the queue."""

    def __init__(
        self, urgent: Urgent, turns: UrgentTurns, queue: Queue, carrier: str, visits: OwnVisits | None
    ) -> None:
        self._urgent = urgent
        self._turns = turns
        self._queue = queue
        self._carrier = carrier
        self._visits = visits
        self._ours = self._all = 0
        self._asked = float("-inf")
        self._tried: dict[int, tuple[int, float]] = {}
        """What turn a domain had when its holder was told, or it was tried; and when."""
        self._visiting: dict[int, asyncio.Task[None]] = {}

    async def look(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> float:
        """Do what can be done now: seconds until the next look. Visits of our own become *tasks*."""
        await self._count_workers()
        if self._visits is None and not self._all:
            waiting.give_up(None, Why.NOBODY)
        standings = await self._urgent.standings({key[0] for key in waiting.pending})
        return min([await self._urge(standing, waiting, tasks) for standing in standings], default=LOOK)

    def stop(self) -> None:
        """Visit no more."""
        for task in self._visiting.values():
            task.cancel()

    async def _count_workers(self) -> None:
        now = time.monotonic()
        if now - self._asked < AGAIN:
            return
        self._asked = now
        if self._visits is not None:
            await self._visits.bury_dead()
        self._ours, self._all = await self._urgent.at_work(self._carrier)

    async def _urge(self, standing: Standing, waiting: Waiting, tasks: asyncio.TaskGroup) -> float:
        number = standing.domain_id
        if standing.blocked is not None:
            waiting.give_up(number, Why.BLOCKED, None, standing.blocked)
        elif standing.rests:
            longest = max(PAUSES * standing.delay, LONGEST_REST)
            if standing.waits_for or standing.ready_in > longest:
                waiting.give_up(number, Why.RESTS, standing.ready_in, standing.waits_for or "")
            # As soon as its pause is over, and not before; somebody may block it meanwhile.
            return min(AGAIN, standing.ready_in)
        elif number in self._visiting or not self._is_time(standing):
            pass
        elif standing.is_held:
            await self._urgent.nudge(number)
        elif standing.is_free or standing.dispatcher != URGENT:
            await self._take(standing, tasks)
        return LOOK

    def _is_time(self, standing: Standing) -> bool:
        """Whether it is another turn than the one that was tried last, or that is long enough ago."""
        now = time.monotonic()
        turn, at = self._tried.get(standing.domain_id, (-1, float("-inf")))
        if turn in {standing.turn, IN_VAIN} and now - at < AGAIN:
            return False
        self._tried[standing.domain_id] = standing.turn, now
        return True

    async def _take(self, standing: Standing, tasks: asyncio.TaskGroup) -> None:
        number = standing.domain_id
        if self._ours:
            sent = False
            try:
                sent = await self._turns.publish(number, self._queue)
            except BrokerError as error:  # it stays due, and the queue may be back in a second
                log.info("refresh.postponed", domain=standing.domain, reason=str(error))
            if not sent:
                self._tried[number] = IN_VAIN, time.monotonic()
        elif not self._all and self._visits is not None:
            self._visiting[number] = tasks.create_task(self._visit(number, self._visits))

    async def _visit(self, number: int, visits: OwnVisits) -> None:
        try:
            await visits.visit(number)
        except DatabaseBusyError as error:
            log.info("refresh.postponed", reason=str(error))
        finally:
            del self._visiting[number]
            self._tried[number] = IN_VAIN, time.monotonic() - AGAIN + LOOK
