"""A worker's row in the table of workers: signed in, renewed, signed out; and those of the dead.

    sign_in ──► again every 10 s ──► sign_out
       └─► what certainly dead processes held is free at once

1. Whoever signs out holds nothing any more: what could not be released is freed then, or by the next worker that finds us dead.
"""

import asyncio
import contextlib
import os
import uuid
from datetime import UTC, datetime
from typing import Final

import structlog

from crawler import __version__
from crawler.adapters.partitions import make_partitions
from crawler.adapters.postgres import Database
from crawler.census import Identity
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError

log: Final = structlog.get_logger()

HEARTBEAT: Final = 10.0


class Presence:
    """One process that takes part: a worker, or a scheduler (which has no slots)."""

    def __init__(self, database: Database, *, slots: int, queue: str, same_machine: bool) -> None:
        self._database = database
        self._slots = slots
        self._queue = queue
        self._same_machine = same_machine
        self._identity = Identity.ours()
        self.worker_id = f"{self._identity.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    async def sign_in(self) -> None:
        """Begin, and free what the certainly dead held.

        Raises:
            DatabaseUnavailableError, DatabaseBusyError: not now.
        """
        await self._write()
        await self._bury_dead()

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
        row = own.host, own.boot, own.pid, own.began, __version__, self._slots, self._queue
        await self._database.fetch("worker_here", self.worker_id, *row)

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
