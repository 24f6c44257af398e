"""For how long a worker may go on with its turns, by its own clock.

    hold ──► held ──(every now and then: renew)──► held ──► drop
               │ not renewed until the deadline
               ▼
             lost: the turn is told, and stops before the lease ends

1. A deadline is counted from the *start* of the last successful accept or renewal, so it is never later than the
   database's own; that one is longer still, by the domain's delay.
2. The clock is CLOCK_BOOTTIME: it goes on while the machine sleeps.
3. One statement renews all turns of a worker that have less than half a lease left; what it does not return is asked for
   again in a second (a recording transaction may hold the row for a moment), until the deadline.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crawler.adapters.frontier import Frontier
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError


def boottime() -> float:
    """Seconds since the machine booted, sleep included (monotonic where there is no CLOCK_BOOTTIME)."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(slots=True, eq=False)
class Lease:
    """One held turn: its fencing number, when it must have stopped, and whom to tell."""

    domain_id: int
    turn: int
    deadline: float
    """By `boottime`."""
    lost: Callable[[], object]

    def left(self) -> float:
        """Seconds until the turn must have stopped."""
        return self.deadline - boottime()

    def ends(self) -> float:
        """When it ends as it is now, of the loop's clock: it may be renewed while a request is open."""
        return asyncio.get_running_loop().time() + self.left()


class Leases:
    """The leases of one worker, and their renewal."""

    def __init__(self, frontier: Frontier, work_lease: float) -> None:
        self._frontier = frontier
        self._length = work_lease
        self._held: dict[int, Lease] = {}
        self.renewed = 0
        """Leases renewed, each time it was."""
        self.missed = 0
        """Leases that were asked for and did not come back, each time."""
        self.late = 0
        """Those that did not come back twice in a row, last: a turn that was released meanwhile misses once."""
        self._missing: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, domain_id: int, turn: int, since: float, lost: Callable[[], object]) -> Lease:
        """Take note of a turn accepted by a statement that was begun at *since* (`boottime`)."""
        lease = Lease(domain_id, turn, since + self._length, lost)
        self._held[domain_id] = lease
        return lease

    def drop(self, lease: Lease) -> None:
        """The turn is over (released, or lost)."""
        if self._held.get(lease.domain_id) is lease:
            del self._held[lease.domain_id]

    async def keep(self) -> None:
        """Renew what needs it, and cut what could not be renewed, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._length / 16))
            short = [lease for lease in self._held.values() if lease.left() < self._length / 2]
            if short:
                await self._renew(short)
            else:
                self._missing, self.late = set(), 0

    async def _renew(self, short: list[Lease]) -> None:
        began = boottime()
        try:
            async with asyncio.timeout(max(0.05, min(lease.left() for lease in short))):
                renewed = await self._frontier.renew(
                    [(lease.domain_id, lease.turn) for lease in short], self._length
                )
        except (DatabaseBusyError, DatabaseUnavailableError, TimeoutError):
            renewed = set()
        missing = {lease.domain_id for lease in short} - renewed
        self._missing, self.late = missing, len(missing & self._missing)
        for lease in short:
            if lease.domain_id in renewed:
                lease.deadline = began + self._length
                self.renewed += 1
            else:
                self.missed += 1
                if lease.left() <= min(1.0, self._length / 16) * 1.5:
                    self.drop(lease)
                    lease.lost()
