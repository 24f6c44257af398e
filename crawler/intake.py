"""From the queue into the worker's hands.

    offer ──decode──► address known? ──yes──► waiting ──accept (many at once)──► begin
                           │ no                  ▲              │ not ours any more, or no room at its address
                           └──look it up─────────┘              └─► ack, do nothing

1. Of several messages of one domain at most one is accepted: the one whose number was bumped, and only one copy of it.
2. Who is accepted where an address has a limit was counted with everybody else there, whichever worker has them: so a domain that
   was never visited has its address looked up first (its visit would look it up anyway).
3. What somebody waits for is accepted before all others.
4. Withdrawing gives all back that was not accepted.
5. While there is no room (memory is short), nothing is accepted; what has waited here for long goes back, for others to take.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import structlog

from crawler.adapters.frontier import Accepted, Frontier, Offer
from crawler.alerts import Alerts, Trouble
from crawler.core import turns
from crawler.core.agenda import is_wished
from crawler.core.crowds import CrowdLimits
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError, MessageError
from crawler.core.urls import host_of
from crawler.leases import boottime
from crawler.ports import Delivery
from crawler.progress import TurnCounts

log: Final = structlog.get_logger()

Begin: TypeAlias = Callable[[turns.Turn, Accepted, Delivery, float], object]
"""Given the turn, what the database says of its domain, the message, and since when (`boottime`) the lease counts."""
LookUp: TypeAlias = Callable[[str], Awaitable[str | None]]
"""The address of a host, or None: it has none."""


HOLD: Final = 30.0
"""Seconds for which a turn waits here for room before it goes back: others may have some."""
LOOK: Final = 0.25
"""Seconds between looks for room, of which nobody tells us."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    turn: turns.Turn
    delivery: Delivery
    since: float
    """By `time.monotonic`."""


def _plenty() -> None:
    """Room for all."""


def _is_urgent(turn: turns.Turn) -> bool:
    """Whether somebody waits for it."""
    return bool(turn.urls) and is_wished(turn.urls[0])


class Intake:
    """Turns that were delivered and are not accepted yet."""

    def __init__(
        self,
        frontier: Frontier,
        worker_id: str,
        work_lease: float,
        *,
        limits: CrowdLimits,
        look_up: LookUp | None,
        begin: Begin,
        tasks: asyncio.TaskGroup,
        room: Callable[[], int | None] = _plenty,
        hold: float = HOLD,
        alerts: Alerts | None = None,
        counts: TurnCounts | None = None,
    ) -> None:
        self._frontier = frontier
        self._worker_id = worker_id
        self._work_lease = work_lease
        self._limits = limits
        self._look_up = look_up
        self._begin = begin
        self._tasks = tasks
        self._room = room
        self._hold = hold
        self._alerts = alerts or Alerts()
        self._counts = counts or TurnCounts()
        self._waiting: list[tuple[_Waiting, str | None]] = []
        self._looking: dict[asyncio.Task[None], _Waiting] = {}
        self._something = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Intake {len(self._waiting)} waiting, {len(self._looking)} being looked up>"

    def offer(self, delivery: Delivery) -> None:
        """Take a message from the queue."""
        try:
            turn = turns.decode(delivery.body)
        except MessageError as error:
            # Anybody who may write to the broker may have written it.
            log.error("message.buried", reason=str(error))  # noqa: TRY400 - what it is stands in the reason
            delivery.dead(str(error))
            self._counts.dead += 1
            self._alerts.critical(Trouble.DEAD_LETTER, str(error))
            return
        # 500 URLs are 55 kB, and who is accepted stays for a minute: the message is needed for nothing more.
        delivery = replace(delivery, body=b"")
        one = _Waiting(turn, delivery, time.monotonic())
        if turn.address is not None or self._look_up is None or not turn.urls:
            self._wait(one, turn.address)
            return
        try:
            host = host_of(turn.urls[0].url)
        except (
            ValueError,
            IndexError,
        ):  # no URL of ours: the visit will find so too, and cost its turn instead of us
            self._wait(one, None)
            return
        task = self._tasks.create_task(self._find_address(one, host, self._look_up))
        self._looking[task] = one
        task.add_done_callback(partial(self._looking.pop))

    async def accept_all(self, accepted: Callable[[list[int], float], None]) -> None:
        """Accept what waits, for ever. *accepted* hears which domains it was, and when (`time.monotonic`) that was asked for."""
        while True:
            await self._something.wait()
            room = self._room()
            if room is not None and room <= 0:
                await self._give_back_old()
                await asyncio.sleep(LOOK)
                continue
            self._waiting.sort(key=lambda waits: not _is_urgent(waits[0].turn))
            most = len(self._waiting) if room is None else room
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            if not self._waiting:
                self._something.clear()
            began, asked = boottime(), time.monotonic()
            try:
                states = await self._frontier.accept(
                    [self._offer(one.turn, address) for one, address in batch],
                    self._worker_id,
                    self._work_lease,
                )
            except (DatabaseBusyError, DatabaseUnavailableError, asyncio.CancelledError):
                # Accepted or not: its number tells, and a lease ends by itself.
                self._waiting = batch + self._waiting
                self._something.set()
                raise
            taken = list(states)
            for one, _ in batch:
                state = states.get(one.turn.domain_id)
                if state is None or state.turn != one.turn.turn + 1:
                    one.delivery.ack()
                    self._counts.stale += 1
                    continue
                self._counts.accepted += 1
                del states[one.turn.domain_id]
                self._begin(one.turn, state, one.delivery, began)
            accepted(taken, asked)

    async def withdraw(self) -> None:
        """Give back all that was not accepted."""
        left = [*(one for one, _ in self._waiting), *self._looking.values()]
        for task in list(self._looking):
            task.cancel()
        self._waiting = []
        await self._frontier.give_back([(one.turn.domain_id, one.turn.turn) for one in left])
        for one in left:  # its number is old now: nobody needs the message any more
            one.delivery.ack()

    async def _give_back_old(self) -> None:
        old = [one for one, _ in self._waiting if time.monotonic() - one.since >= self._hold]
        if old:
            # First: should it fail, they still wait here.
            await self._frontier.give_back([(one.turn.domain_id, one.turn.turn) for one in old])
            self._waiting = [(one, address) for one, address in self._waiting if one not in old]
            for one in old:
                one.delivery.ack()

    def _offer(self, turn: turns.Turn, address: str | None) -> Offer:
        most = 0 if address is None else self._limits.most(address)
        return Offer(turn.domain_id, turn.turn, address, most)

    async def _find_address(self, one: _Waiting, host: str, look_up: LookUp) -> None:
        address = await look_up(host)
        self._wait(one, address)

    def _wait(self, one: _Waiting, address: str | None) -> None:
        self._waiting.append((one, address))
        self._something.set()
