"""A worker: keep every slot busy; stop cleanly.

    queue ──deliveries──► accept (many at once) ──► TurnVisit ──► recorder ──► ack
                             │ not ours any more
                             └─► ack, do nothing

    stop:  no new turns; what was not accepted goes back; open requests may end (grace); everything is recorded and released

Every task below has the worker's task group as its parent: when one of them fails, the worker fails, and the leases of its
turns end by themselves.
"""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from crawler import __version__
from crawler.adapters.crawls import CHANGED, Crawls
from crawler.adapters.dns import Resolver
from crawler.adapters.domains import Domains
from crawler.adapters.erasing import DOMAIN_CHANGED
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.recording import Recording
from crawler.asking import RobotsAsker
from crawler.browsing import open_web
from crawler.census import Identity
from crawler.core import turns
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError, FaircrawlError, MessageError
from crawler.crawlbook import CrawlBook
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.leases import Leases, boottime
from crawler.ports import Delivery, Queue
from crawler.progress import Progress
from crawler.recorder import Recorder
from crawler.rules import RulesBook
from crawler.settings import Settings
from crawler.visit import Manners, Tools, TurnVisit
from crawler.watching import DomainWatch

log: Final = structlog.get_logger()

AWAY: Final = 30.0
"""Seconds for which the database may be away before the worker gives up."""
AGAIN: Final = 0.5
"""Seconds between attempts while the database is away."""
HEARTBEAT: Final = 10.0
COUNT_SLOTS: Final = 63


class Worker:
    """Fetches turns from a queue until told to stop."""

    def __init__(
        self, settings: Settings, database: Database, queue: Queue, *, same_machine: bool = False
    ) -> None:
        self._identity = Identity.ours()
        self._same_machine = same_machine
        self.worker_id = f"{self._identity.host}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._settings = settings
        self._database = database
        self._queue = queue
        self._frontier = Frontier(database)
        self._crawls = CrawlBook(Crawls(database))
        self._leases = Leases(self._frontier, settings.work_lease)
        self._dispatcher = Dispatcher(
            self._frontier,
            queue,
            queue_lease=settings.queue_lease,
            sizes=TurnSizes(settings.turn_seconds, settings.per_domain),
            dispatcher=self.worker_id,
        )
        slot = 1 + uuid.uuid5(uuid.NAMESPACE_OID, self.worker_id).int % COUNT_SLOTS
        self.recorder = Recorder(
            Recording(database, self.worker_id, slot), self._crawls, patience=AWAY, due=self._due
        )
        self._offered: list[tuple[turns.Turn, Delivery]] = []
        self._something = asyncio.Event()
        self._active: dict[asyncio.Task[None], TurnVisit] = {}
        self._resolver: Resolver | None = None
        self._away = False

    def __repr__(self) -> str:
        return f"<Worker {self.worker_id}: {len(self._active)} turns>"

    def progress(self) -> Progress:
        """How far it has come."""
        times, recorder, visits = os.times(), self.recorder, self._active.values()
        rests = [rest for visit in visits if (rest := visit.rest) is not None]
        return Progress(
            pages=recorder.pages,
            visits=recorder.visits,
            wire_bytes=recorder.wire_bytes,
            active=len(visits),
            last_commit=recorder.last_commit,
            cpu_seconds=times.user + times.system,
            outcomes=dict(recorder.outcomes),
            open_requests=sum(visit.open_requests for visit in visits),
            lookups=0 if self._resolver is None else self._resolver.lookups,
            rest=min(rests, default=None),
            unwritten=recorder.waiting,
            away=recorder.away or self._away,
        )

    def wake(self) -> None:
        """Something may be due: look now."""
        self._dispatcher.wake()

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Work until *stop* is set, and then until everything begun is on disk and given back.

        Once *hurry* is set, open requests are cut.

        Raises:
            DatabaseUnavailableError: the database stayed away.
        """
        settings = self._settings
        slots = settings.domains_at_once
        resolver = self._resolver = Resolver(
            servers=settings.dns_servers, timeout=settings.dns_timeout, hosts_file=settings.hosts_file
        )
        web = open_web(settings, resolver)
        rules = RulesBook(self._database)
        asker = RobotsAsker(web, self._frontier, rules, self.worker_id, settings.delay)
        manners = Manners(
            settings.delay,
            settings.max_crawl_delay,
            settings.per_domain,
            settings.turn_seconds,
            settings.user_agent,
            settings.parser,
        )
        self._tools = Tools(web, self._crawls, rules, asker, self.recorder, manners)
        self._watch = DomainWatch(Domains(self._database), self._active.values, self._crawls, rules)
        try:
            await self._arrive()
            async with asyncio.TaskGroup() as tasks:
                recording = tasks.create_task(self.recorder.run())
                upkeep = [
                    tasks.create_task(self._persist(self._leases.keep)),
                    tasks.create_task(self._persist(self._crawls.keep)),
                    tasks.create_task(self._persist(self._heartbeat)),
                    tasks.create_task(self._persist(self._watch.keep)),
                    tasks.create_task(self._database.listen([CHANGED, DOMAIN_CHANGED], self._hear)),
                ]
                intake = [
                    tasks.create_task(self._persist(lambda: self._queue.consume(slots, self._offer))),
                    tasks.create_task(self._persist(self._dispatcher.run)),
                    tasks.create_task(self._persist(lambda: self._accept_all(tasks))),
                ]
                await stop.wait()
                await self._wind_down(intake, hurry)
                for task in (*upkeep, recording):
                    task.cancel()
        finally:
            await web.close()
            await resolver.close()
            with contextlib.suppress(DatabaseUnavailableError, DatabaseBusyError):
                await self._database.fetch("worker_gone", self.worker_id)

    def _hear(self, channel: str, payload: str) -> None:
        if channel == CHANGED:
            self._crawls.changed()
        else:
            self._watch.changed(payload)

    async def _arrive(self) -> None:
        """Sign in, as soon as the database lets us."""
        clock = asyncio.get_running_loop().time
        patience = clock() + AWAY
        while True:
            try:
                await self._database.fetch("worker_here", *self._row(self._settings.domains_at_once))
                await self._free_dead()
            except (DatabaseBusyError, DatabaseUnavailableError):
                if clock() > patience:
                    raise
                await asyncio.sleep(AGAIN)
            else:
                return

    async def _free_dead(self) -> None:
        """Take over from workers that are certainly dead, without waiting for their leases to end."""
        known = await self._database.fetch("workers_known")
        dead = [
            row["worker_id"]
            for row in known
            if Identity(row["host"], row["boot"], row["pid"], row["began"]).is_dead(
                same_machine=self._same_machine
            )
        ]
        if dead:
            freed = await self._database.fetch("free_dead", dead)
            log.info("worker.buried", workers=len(dead), domains=len(freed))
            for worker_id in dead:
                await self._database.fetch("worker_gone", worker_id)

    async def _wind_down(self, intake: list[asyncio.Task[None]], hurry: asyncio.Event) -> None:
        for task in intake:
            task.cancel()
        await asyncio.wait(intake)
        offered, self._offered = self._offered, []
        await self._frontier.give_back([(turn.domain_id, turn.turn) for turn, _ in offered])
        for visit in self._active.values():
            visit.stop()
        if self._active:
            cut = asyncio.create_task(hurry.wait())
            ended = asyncio.ensure_future(asyncio.wait(self._active))
            await asyncio.wait(
                [ended, cut], timeout=self._settings.grace, return_when=asyncio.FIRST_COMPLETED
            )
            cut.cancel()
            ended.cancel()
        for visit in self._active.values():
            visit.cut()
        if self._active:
            await asyncio.wait(self._active)

    def _offer(self, delivery: Delivery) -> None:
        try:
            turn = turns.decode(delivery.body)
        except MessageError as error:
            log.error("message.buried", reason=str(error))  # noqa: TRY400 - what it is stands in the reason
            delivery.dead(str(error))
            return
        self._offered.append((turn, delivery))
        self._something.set()

    async def _accept_all(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            offered, self._offered = self._offered, []
            began, asked = boottime(), time.monotonic()
            try:
                accepted = await self._frontier.accept(
                    [(turn.domain_id, turn.turn) for turn, _ in offered],
                    self.worker_id,
                    self._settings.work_lease,
                )
            except (DatabaseBusyError, DatabaseUnavailableError, asyncio.CancelledError):
                self._offered = (
                    offered + self._offered
                )  # accepted or not: its number tells, and a lease ends by itself
                self._something.set()
                raise
            taken = list(accepted)
            for turn, delivery in offered:
                # Of two messages of one domain at most one was accepted: that whose number was bumped, and only one copy of it.
                state = accepted.get(turn.domain_id)
                if state is None or state.turn != turn.turn + 1:
                    delivery.ack()
                    continue
                del accepted[turn.domain_id]
                lease = self._leases.hold(turn.domain_id, state.turn, began, lambda: None)
                visit = TurnVisit(turn, state, lease, self._tools)
                task = tasks.create_task(self._turn(visit, delivery))
                lease.lost = lambda task=task: _cancel(task)  # type: ignore[misc] # bound early
                self._active[task] = visit
                task.add_done_callback(self._active.pop)
                task.add_done_callback(lambda _task, lease=lease: self._leases.drop(lease))  # type: ignore[misc] # bound early
            self._watch.accepted(taken, asked)

    async def _turn(self, visit: TurnVisit, delivery: Delivery) -> None:
        """One turn. A fault of ours in it costs this turn, not the worker: it is told, and its lease ends by itself."""
        try:
            await visit.run()
        except asyncio.CancelledError:
            log.info("turn.lost", domain=visit.turn.domain)
            delivery.ack()
        except (DatabaseBusyError, DatabaseUnavailableError) as error:
            log.info("turn.lost", domain=visit.turn.domain, reason=str(error))
            delivery.ack()
        except FaircrawlError:
            raise
        except Exception as error:
            log.exception("turn.failed", domain=visit.turn.domain)
            delivery.dead(f"{type(error).__name__}: {error}")
        else:
            delivery.ack()

    def _due(self, next_in: Mapping[int, float]) -> None:
        if next_in:
            self._dispatcher.wake(min(next_in.values()))

    async def _heartbeat(self) -> None:
        """Say that we live, and keep the day partitions of fetches ahead of the clock."""
        made: datetime | None = None
        while True:
            await self._database.fetch("worker_here", *self._row(self._settings.domains_at_once))
            self._away = False
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            if made != today:
                await make_partitions(self._database, today)
                made = today
            await asyncio.sleep(HEARTBEAT)

    def _row(self, slots: int) -> tuple[object, ...]:
        own = self._identity
        return self.worker_id, own.host, own.boot, own.pid, own.began, __version__, slots

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* for ever: again when the database was busy or away, unless it stays away."""
        clock = asyncio.get_running_loop().time
        away_since: float | None = None
        while True:
            began = clock()
            try:
                await work()
            except DatabaseBusyError:
                pass
            except DatabaseUnavailableError:
                self._away = True
                if away_since is None or clock() - began > AWAY:
                    away_since = clock()
                if clock() - away_since > AWAY:
                    raise
            await asyncio.sleep(AGAIN)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def make_partitions(database: Database, today: datetime, days: int = 3) -> None:
    """Make the partitions of fetches for today and the next days; a day that began without one stays in fetches_rest."""
    for ahead in range(days):
        day = today + timedelta(days=ahead)
        name = f"fetches_{day:%Y%m%d}"
        if await database.ask("select to_regclass($1)", name) is not None:
            continue
        bounds = f"from ('{day.isoformat()}') to ('{(day + timedelta(days=1)).isoformat()}')"
        occupied = f"select exists (select from fetches_rest where at >= '{day.isoformat()}' and at < '{day + timedelta(days=1)}')"
        if not await database.ask(occupied):
            with contextlib.suppress(DatabaseBusyError):
                await database.script(
                    # Two of these at once collide in spite of "if not exists".
                    "select pg_advisory_xact_lock(20015); "
                    f"create table if not exists {name} partition of fetches for values {bounds}"
                )
