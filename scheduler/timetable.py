"""The timetable: what is done by the clock, on APScheduler.

    every second ──► dispatch: what became due (delays, back-off, lost turns), onto the queue
    every hour   ──► upkeep: day partitions ahead, rows of machines that never came back

1. Any number of schedulers may run: each job is a statement that skips what another is just doing, or does nothing the second time.
2. A job that fails is told and tried again at its next time; what was missed meanwhile is done once.
3. The database or the broker may be away for as long as they like.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from crawler.adapters.frontier import Frontier
from crawler.adapters.partitions import make_partitions
from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, Trouble, trouble_of
from crawler.core.errors import BrokerError, DatabaseBusyError, DatabaseUnavailableError
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.ports import Queue
from crawler.presence import Presence
from crawler.settings import Settings

log: Final = structlog.get_logger()

Job = Callable[[], Awaitable[None]]

DISPATCH_EVERY: Final = 1
UPKEEP_EVERY: Final = 3600
PRESENT_EVERY: Final = 10
TOLD_EVERY: Final = 60.0
"""Seconds between warnings of one job that keeps failing."""


class Timetable:
    """The jobs of one scheduler process."""

    def __init__(
        self, settings: Settings, database: Database, queue: Queue, alerts: Alerts | None = None
    ) -> None:
        self._alerts = alerts or Alerts()
        self._database = database
        carrier = "postgres" if settings.amqp_url is None else "rabbit"
        same = settings.database_url is None
        self._presence = Presence(database, slots=0, queue=carrier, same_machine=same)
        self._alerts.tags["worker"] = self._presence.worker_id
        self._dispatcher = Dispatcher(
            Frontier(database),
            queue,
            queue_lease=settings.queue_lease,
            sizes=TurnSizes(settings.turn_seconds, settings.per_domain),
            dispatcher=self._presence.worker_id,
            alerts=self._alerts,
        )
        self._told: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The jobs run while the body does; leaving waits for those under way."""
        scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        under_way = asyncio.Condition()
        working = 0

        def add(name: str, job: Job, seconds: int) -> None:
            async def run() -> None:
                nonlocal working
                working += 1
                try:
                    await self._tried(name, job)
                finally:
                    async with under_way:
                        working -= 1
                        under_way.notify_all()

            trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
            scheduler.add_job(run, trigger, id=name, next_run_time=datetime.now(UTC))

        add("presence", self._presence_kept, PRESENT_EVERY)
        add("dispatch", self.dispatch, DISPATCH_EVERY)
        add("upkeep", self.upkeep, UPKEEP_EVERY)
        # It would tell of every second in which the one before is still dispatching.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        scheduler.start()
        try:
            yield
        finally:
            scheduler.pause()
            async with under_way:
                await under_way.wait_for(lambda: not working)
            scheduler.shutdown(wait=False)
            await self._presence.sign_out()

    async def dispatch(self) -> None:
        """Everything that is due and ready, as far as the high-water mark allows."""
        while await self._dispatcher.dispatch_once():
            pass

    async def upkeep(self) -> None:
        """What keeps the tables in shape."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await make_partitions(self._database, today)
        await self._database.fetch("workers_forget")

    async def _presence_kept(self) -> None:
        await self._presence.sign_in()

    async def _tried(self, name: str, job: Job) -> None:
        clock = asyncio.get_running_loop().time
        try:
            await job()
        except DatabaseBusyError:
            return
        except (DatabaseUnavailableError, BrokerError) as error:
            self._alerts.away(error)
            if clock() - self._told.get(name, -TOLD_EVERY) >= TOLD_EVERY:
                log.warning("job.failed", job=name, reason=str(error))
                self._told[name] = clock()
            return
        except Exception as error:  # its next time may be better, and the other jobs go on
            log.exception("job.failed", job=name)
            self._alerts.critical(trouble_of(error) or Trouble.BUG, f"the job {name}", error=error)
            return
        if self._told.pop(name, None) is not None:
            log.warning("job.again", job=name)
