"""A worker's row in the table of workers: signed in, renewed, signed out; and those of the dead.

    sign_in ──► again every 10 s ──► sign_out
       │  └─► the database's time comes back: by how much our clock is wrong is told the next time
       └─► what certainly dead processes held is free at once

1. Whoever signs out holds nothing any more: what could not be released is freed then, or by the next worker that finds us dead.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias

import structlog

from crawler import __version__
from crawler.adapters.partitions import make_partitions
from crawler.adapters.postgres import Database
from crawler.census import Identity
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.enduring import AGAIN, AWAY

log: Final = structlog.get_logger()

HEARTBEAT: Final = 10.0

Vitals: TypeAlias = Callable[[float], str]
"""How a process is, as JSON; given the seconds by which its clock is ahead of the database's."""


def _nothing(_clock_skew: float) -> str:
    return "{}"


class Presence:
    """One process that takes part: a worker, or a scheduler (which has no slots)."""

    def __init__(
        self,
        database: Database,
        *,
        slots: int,
        queue: str,
        same_machine: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._slots = slots
        self._queue = queue
        self._same_machine = same_machine
        self.vitals: Vitals = _nothing
        """Asked at each heartbeat."""
        self.clock_skew = 0.0
        """Seconds by which our clock is ahead of the database's, at least; negative: behind."""
        self._clock = clock
        self._identity = Identity.ours()
        self.worker_id = f"{self._identity.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    async def sign_in(self) -> None:
        """Begin, and free what the certainly dead held.

        Raises:
            DatabaseUnavailableError, DatabaseBusyError: not now.
        """
        await self._write()
        await self._bury_dead()

    async def arrive(self) -> None:
        """Sign in, as soon as the database lets us."""
        clock = asyncio.get_running_loop().time
        patience = clock() + AWAY
        while True:
            try:
                await self.sign_in()
            except (DatabaseBusyError, DatabaseUnavailableError):
                if clock() > patience:
                    raise
                await asyncio.sleep(AGAIN)
            else:
                return

    async def keep(self) -> None:
        """Say that we live, see who does not, and keep the day partitions of fetches ahead of the clock, until cancelled."""
        made: datetime | None = None
        while True:
            await self.sign_in()
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            if made != today:
                await make_partitions(self._database, today)
                made = today
            await asyncio.sleep(HEARTBEAT)

    async def sign_out(self) -> None:
        """We hold nothing any more: a release may have failed, and nobody shall wait for its lease."""
        with contextlib.suppress(DatabaseUnavailableError, DatabaseBusyError):
            await self._bury([self.worker_id])

    async def _write(self) -> None:
        own = self._identity
        said = self.vitals(self.clock_skew)
        row = own.host, own.boot, own.pid, own.began, __version__, self._slots, self._queue, said
        before = self._clock()
        now = await self._database.value("worker_here", self.worker_id, *row)
        after = self._clock()
        # It was now there at some moment between the two: however slow the database is, that alone is no wrong clock.
        self.clock_skew = max(0.0, before - now) + min(0.0, after - now)

    async def _bury_dead(self) -> None:
        """Take over from processes that are certainly dead, without waiting for their leases to end."""
        dead = [
            row["worker_id"]
            for row in await self._database.fetch("workers_known")
            if Identity(row["host"], row["boot"], row["pid"], row["began"]).is_dead(
                same_machine=self._same_machine
            )
        ]
        if dead:
            freed = await self._bury(dead)
            log.info("worker.buried", workers=len(dead), domains=freed)

    async def _bury(self, workers: list[str]) -> int:
        freed = await self._database.fetch("free_dead", workers)
        await self._database.fetch("workers_gone", workers)
        return len(freed)
