"""What is due and ready, onto the queue.

    wake ──► dispatch (turn + 1, queue lease) ──► turn_urls ──► publish ──► confirmed
                                                     │ nothing due            │ not: give back
                                                     └─► release_empty

Any number of dispatchers may run: the statement skips what another is just taking. Dispatch stops above the high-water mark,
so the queue stays short whatever the frontier holds. A round that was begun is finished, or undone: a domain that was taken
and neither published nor put back would be out of everybody's reach for a whole queue lease.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from crawler.adapters.frontier import LOST_FOR_GOOD, Dispatched, Frontier
from crawler.alerts import Alerts, Trouble
from crawler.core import turns
from crawler.core.errors import DatabaseBusyError, DatabaseError
from crawler.ports import Queue

log: Final = structlog.get_logger()

AT_ONCE: Final = 100
PORTION: Final = 5_000
"""URLs of turns that are made together: each takes a kilobyte until its message is on the queue."""
LEAST_HIGH_WATER: Final = 1000
LOOK_AGAIN: Final = 1.0
"""Seconds between looks when nobody wakes us: what becomes due by the clock of the database."""
SHORTEST_PAUSE: Final = 0.005
GATHER: Final = 0.1
"""Seconds until the next look while pauses end one after another: those that end meanwhile share a round.

For each worker: all of them look, so that together they look ten times a second, however many they are.
"""


@dataclass(frozen=True, slots=True)
class TurnSizes:
    """How many URLs a turn takes: as many as can be asked for in *turn_seconds*."""

    turn_seconds: float
    per_domain: int

    def most(self, taken: Dispatched) -> int:
        """For a domain just dispatched. After a lost turn only one: should it be deadly, it takes one URL with it."""
        if taken.lost:
            return 1
        return turns.most_urls(self.turn_seconds, taken.delay, taken.concurrency or self.per_domain)


class Dispatcher:
    """Puts turns on the queue, whenever there is something to put there."""

    def __init__(
        self,
        frontier: Frontier,
        queue: Queue,
        *,
        queue_lease: float,
        sizes: TurnSizes,
        dispatcher: str = "",
        alerts: Alerts | None = None,
    ) -> None:
        self._alerts = alerts or Alerts()
        self._dispatcher = dispatcher
        self._frontier = frontier
        self._queue = queue
        self._queue_lease = queue_lease
        self._sizes = sizes
        self._woken = asyncio.Event()
        self._next = 0.0
        self._hungry = False
        """The last round may have left something that is due now."""
        self.buried = 0
        """Turns that were put with the dead letters."""

    def wake(self, seconds: float = 0.0) -> None:
        """A domain will be due and ready in so many seconds."""
        moment = asyncio.get_running_loop().time() + max(0.0, seconds)
        if moment < self._next:
            self._next = moment
            self._woken.set()

    def expect(self, next_in: Mapping[int, float]) -> None:
        """These domains, by number, will be due and ready in so many seconds."""
        if next_in:
            self.wake(min(next_in.values()))

    async def run(self) -> None:
        """Dispatch until cancelled; a round that was begun is ended first."""
        clock = asyncio.get_running_loop().time
        while True:
            self._next = clock() + LOOK_AGAIN
            self._hungry = False
            with contextlib.suppress(DatabaseBusyError):
                await _to_its_end(self.dispatch_once())
            if self._hungry:
                continue
            await asyncio.sleep(SHORTEST_PAUSE)
            await self._until_next()

    async def _until_next(self) -> None:
        clock = asyncio.get_running_loop().time
        while (rest := self._next - clock()) > 0:
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken.wait()

    def high_water(self, slots: int) -> int:
        """How many turns may wait in the queue for workers who visit so many domains at once.

        At least `LEAST_HIGH_WATER`, so that short turns leave nobody idle; but a message that waits for longer than the queue lease
        has waited for nothing, so not more than can be taken in half of it if every turn is a long one.
        """
        in_time = int(slots * self._queue_lease / (2 * self._sizes.turn_seconds))
        return max(2 * slots, min(LEAST_HIGH_WATER, in_time) if slots else LEAST_HIGH_WATER)

    async def dispatch_once(self) -> int:
        """One round: how many domains were taken (0 above the high-water mark)."""
        row = await self._frontier.database.row("workers_slots")
        slots, workers = (0, 0) if row is None else (int(row["slots"]), int(row["workers"]))
        room = min(AT_ONCE, self.high_water(slots) - await self._queue.depth())
        if room <= 0:
            return 0
        taken = await self._frontier.dispatch(room, self._queue_lease, self._dispatcher)
        if not taken:
            await self._look_ahead()
            return 0
        sent = False
        try:
            for some in self._portions(taken):
                urls = await self._frontier.turn_urls([(t.domain_id, self._sizes.most(t)) for t in some])
                await self._send([t for t in some if t.domain_id in urls], urls)
                empty = [t for t in some if t.domain_id not in urls]
                if empty:
                    await self._frontier.release_empty(empty)
            sent = True
            # Where several crawls share the room, one that has few domains leaves some of it: the next round gives it to the others.
            self._hungry = len(taken) >= AT_ONCE or taken[0].lines > 1
            if not self._hungry and len(taken) < room:
                # Nobody wakes us when the pauses of others end: at the next look they would have waited for half a second more.
                await self._look_ahead(min(LOOK_AGAIN, GATHER * max(1, workers)))
        finally:
            if not sent:  # also what was published: its message finds another number, and is dropped
                with contextlib.suppress(DatabaseError):
                    await self._frontier.give_back([(t.domain_id, t.turn) for t in taken])
        return len(taken)

    def _portions(self, taken: list[Dispatched]) -> Iterator[list[Dispatched]]:
        """Domains whose turns are made together: of no more URLs than `PORTION`, unless a single one has more."""
        some: list[Dispatched] = []
        urls = 0
        for one in taken:
            most = self._sizes.most(one)
            if some and urls + most > PORTION:
                yield some
                some, urls = [], 0
            some.append(one)
            urls += most
        yield some

    async def _look_ahead(self, soonest: float = 0.0) -> None:
        """Be awake when the next domain is due and ready, but not before *soonest* seconds."""
        seconds = await self._frontier.next_due()
        if seconds is not None and seconds < LOOK_AGAIN:
            self.wake(max(soonest, seconds))

    async def _send(self, taken: list[Dispatched], urls: dict[int, list[turns.TurnUrl]]) -> None:
        def body(t: Dispatched) -> bytes:
            turn = turns.Turn(turns.VERSION, t.domain_id, t.domain, t.turn, urls[t.domain_id], t.address)
            return turns.encode(turn)

        deadly = [t for t in taken if t.lost > LOST_FOR_GOOD]
        if deadly:
            why = f"its turn was lost {LOST_FOR_GOOD + 1} times in a row"
            await self._queue.bury([body(t) for t in deadly], why)
            for t in deadly:
                self.buried += 1
                log.error("turn.buried", domain=t.domain, lost=t.lost)
                self._alerts.critical(Trouble.DEAD_LETTER, why, domain=t.domain)
            await self._frontier.bury(
                deadly,
                [(t.domain_id, u) for t in deadly for u in urls[t.domain_id]],
                f"{why}: see `crawl dead list`",
            )
        alive = [t for t in taken if t.lost <= LOST_FOR_GOOD]
        confirmed = await self._queue.publish([body(t) for t in alive])
        await self._frontier.give_back(
            [(t.domain_id, t.turn) for t, safe in zip(alive, confirmed, strict=True) if not safe]
        )


async def _to_its_end(work: Coroutine[Any, Any, int]) -> int:
    """Let *work* end, also when we are cancelled meanwhile; the second time it is cancelled too."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if not task.cancelled():
            task.exception()  # we end anyway
        raise
