"""The timetable: what is done by the clock, on APScheduler.

    every second ──► dispatch: what became due (delays, back-off, lost turns), onto the queue       each scheduler
    every 10 s   ──► presence: we live; who of this machine does not?                               each scheduler
    every second ──► lead: do we? ──► jobs whose next_at is past ──claimed──► refresh, robots, upkeep     the leader

1. Any number of schedulers may run. What must run once is claimed in the session that holds the lead (`crawler.adapters.jobs.Seat`):
   who has lost it begins nothing more, and what it was doing may be done by two at once.
2. What counts is `jobs.next_at` in the database: what was missed meanwhile, however often, is done once.
3. A job that fails is told once a minute, and tried again.
4. The database or the broker may be away for as long as they like.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from crawler.adapters.frontier import Frontier
from crawler.adapters.jobs import Jobs, Seat
from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, Trouble, trouble_of
from crawler.core.errors import BrokerError, DatabaseBusyError, DatabaseUnavailableError
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.ports import Queue
from crawler.presence import Presence
from crawler.settings import Settings
from crawler.upkeep import perform
from scheduler.jobs import DISPATCH_EVERY, PRESENT_EVERY, leader_jobs

log: Final = structlog.get_logger()

Work = Callable[[], Awaitable[None]]

LOOK_EVERY: Final = 1.0
TOLD_EVERY: Final = 60.0
"""Seconds between warnings of one job that keeps failing."""
LEAVING: Final = 10.0
"""Seconds that the jobs under way have to end when we are told to stop; then they are cut off, and done again by another."""


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
        self.scheduler_id = self._presence.worker_id
        self._alerts.tags["worker"] = self.scheduler_id
        self._dispatcher = Dispatcher(
            Frontier(database),
            queue,
            queue_lease=settings.queue_lease,
            sizes=TurnSizes(settings.turn_seconds, settings.per_domain),
            dispatcher=self.scheduler_id,
            alerts=self._alerts,
        )
        self._jobs = Jobs(database)
        self._seat = Seat(database, self.scheduler_id)
        self._table = {job.name: job for job in leader_jobs(database, settings.fetches_kept)}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, float] = {}
        self._leaving = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The jobs run while the body does; leaving waits for those under way, and not for ever."""
        structlog.contextvars.bind_contextvars(worker=self.scheduler_id)
        clock = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for name, work, seconds in (
            ("presence", self._presence_kept, PRESENT_EVERY),
            ("dispatch", self.dispatch, DISPATCH_EVERY),
            ("lead", partial(self._lead, clock), LOOK_EVERY),
        ):
            trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
            clock.add_job(self._run, trigger, (name, work), id=name, next_run_time=datetime.now(UTC))
        # It would tell of every second in which the one before is still dispatching.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        clock.start()
        try:
            yield
        finally:
            self._leaving = True
            clock.pause()
            await self._stopped()
            clock.shutdown(wait=False)
            await self._seat.leave()
            await self._presence.sign_out()

    @property
    def leads(self) -> bool:
        """Whether this scheduler leads."""
        return self._seat.leads

    async def dispatch(self) -> None:
        """Everything that is due and ready, as far as the high-water mark allows."""
        while await self._dispatcher.dispatch_once():
            pass

    async def _lead(self, clock: Any) -> None:
        """Begin what is due, if we lead."""
        led = self._seat.leads
        free = {name: job.every for name, job in self._table.items() if name not in self._under_way}
        try:
            due = await self._seat.claim(free, self._table)
        finally:
            if self._seat.leads != led:
                log.info("lead.taken" if self._seat.leads else "lead.lost", scheduler=self.scheduler_id)
        for name in due or ():
            work = partial(perform, self._table[name], self._database, self._jobs, self.scheduler_id)
            clock.add_job(self._run, args=(name, work), id=name, replace_existing=True)

    async def _presence_kept(self) -> None:
        await self._presence.sign_in()

    async def _run(self, name: str, work: Work) -> None:
        """What APScheduler calls: the job as a task of ours, which can be cut off when we stop."""
        if self._leaving:
            return
        task = self._under_way[name] = asyncio.create_task(self._tried(name, work))
        try:
            await asyncio.wait({task})
        finally:
            del self._under_way[name]

    async def _stopped(self) -> None:
        if tasks := set(self._under_way.values()):
            _, late = await asyncio.wait(tasks, timeout=LEAVING)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _tried(self, name: str, work: Work) -> None:
        try:
            await work()
        except DatabaseBusyError:
            return
        except (DatabaseUnavailableError, BrokerError) as error:
            self._alerts.away(error)
            if self._may_tell(name):
                log.warning("job.failed", job=name, reason=str(error))
            return
        except Exception as error:  # its next time may be better, and the other jobs go on
            if self._may_tell(name):
                log.exception("job.failed", job=name)
            self._alerts.critical(trouble_of(error) or Trouble.BUG, f"the job {name}", error=error)
            return
        if self._told.pop(name, None) is not None:
            log.warning("job.recovered", job=name)

    def _may_tell(self, name: str) -> bool:
        """Whether a job that keeps failing was last told of long enough ago; it is told of now, then."""
        now = asyncio.get_running_loop().time()
        if now - self._told.get(name, -TOLD_EVERY) < TOLD_EVERY:
            return False
        self._told[name] = now
        return True
