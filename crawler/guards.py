"""What we lack before we lack it: descriptors and memory, and when new turns may begin.

    memory:  open ──used > most──► give back what is free ──still──► closed ──used < 95 %──► open
                                                                        └──for `patience` s──► critical

1. What was accepted goes on: only new turns wait.
2. While memory is short and no turn is at work, one may begin: what nobody works on would never be freed.
3. No more connections are opened than there are descriptors. Should these run out all the same, because somebody else has them,
   what is idle is closed, and fewer turns are at work for a minute.
"""

import asyncio
import resource
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from crawler.memory import give_back

log: Final = structlog.get_logger()

RESERVED: Final = 64
"""Descriptors for everything that is no fetch: database, name servers, files, logs."""
LEAST: Final = 8
LOOK: Final = 1.0
"""Seconds between looks at memory."""
OPEN_AGAIN: Final = 0.95
GIVE_BACK_EVERY: Final = 10.0
"""Seconds between attempts to give memory back: looking for cycles takes a moment in which nothing else happens."""
REMIND: Final = 300.0
"""Seconds after which memory that is still short is told again."""
BURST: Final = 2.0
"""Seconds in which many turns that run out of descriptors count as one: they began together."""
NARROW: Final = 60.0
"""Seconds for which fewer turns are at work after descriptors have run out."""
REMEMBERED: Final = 10_000
"""Domains whose connections may be idle: more than anybody keeps open."""


def raise_open_files(most: int | None = None) -> int:
    """Raise the soft limit to the hard one (or to *most*): how many descriptors this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = hard if hard != resource.RLIM_INFINITY else 1 << 20
    wanted = ceiling if most is None else min(most, ceiling)
    if wanted != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(open_files: int) -> int:
    """How many connections to sites may be open at once, busy and idle together.

    A quarter of what is not reserved stays free: one that is being closed has its descriptor a while longer than its place.
    """
    return max(LEAST, (open_files - RESERVED) * 3 // 4)


class MemoryGuard:
    """Whether there is memory for new turns.

    Args:
        most: bytes; None: no limit.
        measure: bytes in use now.
        patience: seconds at the limit that are not critical yet.
        stuck: is told, in a few words, that they are over.
        relieve: gives back what is free.
    """

    def __init__(
        self,
        most: int | None,
        measure: Callable[[], int],
        *,
        patience: float,
        stuck: Callable[[str], object],
        relieve: Callable[[], object] = give_back,
    ) -> None:
        self._most = most
        self._measure = measure
        self._patience = patience
        self._stuck = stuck
        self._relieve = relieve
        self._relieved = self._told = float("-inf")
        self._closed_at: float | None = None
        self.used = 0
        """Bytes, at the last look."""

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<MemoryGuard {state}: {self.used >> 20} MiB of {(self._most or 0) >> 20}>"

    @property
    def most(self) -> int | None:
        """Bytes above which new turns wait; None: no limit."""
        return self._most

    def measured(self) -> int:
        """Bytes in use: at the last look, or now where nobody looks."""
        return self.used if self._most is not None and self.used else self._measure()

    @property
    def closed(self) -> bool:
        """Whether new turns have to wait."""
        return self._closed_at is not None

    def look(self, now: float) -> None:
        """See how much is in use; *now*: seconds, monotonic."""
        if self._most is None:
            return
        threshold = self._most * OPEN_AGAIN if self.closed else self._most
        self.used = self._measure()
        if self.used >= threshold and now - self._relieved >= GIVE_BACK_EVERY:
            self._relieved = now
            self._relieve()
            self.used = self._measure()
        if self.used < threshold:
            if self.closed:
                log.warning("memory.recovered", used=self.used)
            self._closed_at = None
            return
        if self._closed_at is None:
            self._closed_at, self._told = now, float("-inf")
            log.warning("memory.exhausted", used=self.used, most=self._most, new_turns="wait")
        if now - self._closed_at >= self._patience and now - self._told >= REMIND:
            self._told = now
            self._stuck(f"{self.used >> 20} MiB of {self._most >> 20} MiB for {now - self._closed_at:.0f} s")

    async def keep(self) -> None:
        """Look every second, until cancelled."""
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(LOOK)


class Door:
    """How many new turns may begin.

    Args:
        memory: whether there is enough of it.
        at_work: how many turns there are now.
        clock: `time.monotonic`, or what a test hands in.
    """

    def __init__(
        self, memory: MemoryGuard, at_work: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._memory = memory
        self._at_work = at_work
        self._clock = clock
        self._most = 0
        self._narrowed = float("-inf")
        self._idle: deque[str] = deque(maxlen=REMEMBERED)

    def ended(self, domain: str) -> None:
        """A turn has ended: connections to its domain may be kept open."""
        self._idle.append(domain)

    def ran_out(self) -> set[str]:
        """Descriptors have run out: for a minute fewer turns are at work. The domains whose connections should be closed."""
        now = self._clock()
        if now >= self._narrowed + BURST:
            self._narrowed = now
            self._most = max(1, self._at_work() * 3 // 4)
        idle = set(self._idle)
        self._idle.clear()
        return idle

    def room(self) -> int | None:
        """How many turns may begin now; None: as many as there are."""
        match self.lack:
            case "":
                return None
            case "memory":
                return 0 if self._at_work() else 1
        return max(0, self._most - self._at_work())

    @property
    def lack(self) -> str:
        """What there is too little of; empty: nothing."""
        if self._memory.closed:
            return "memory"
        return "descriptors" if self._clock() < self._narrowed + NARROW else ""
