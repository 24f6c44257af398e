"""A worker: keep every slot busy; stop cleanly.

    queue ──deliveries──► accept (many at once) ──► TurnVisit ──► recorder ──► ack
                             │ not ours any more
                             └─► ack, do nothing

    stop:  no new turns; what was not accepted goes back; open requests may end (grace); everything is recorded and released

Every task below has the worker's task group as its parent: when one of them fails, the worker fails, and the leases of its
turns end by themselves.
"""

import asyncio
import zlib
from functools import partial
from typing import Final

import structlog

from crawler.adapters.crawls import CHANGED, Crawls
from crawler.adapters.dns import Resolver
from crawler.adapters.domains import Domains
from crawler.adapters.erasing import DOMAIN_CHANGED
from crawler.adapters.frontier import Accepted, Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.proxying import ProxyError
from crawler.adapters.recording import Recording
from crawler.adapters.urgent import Urgent
from crawler.alerts import Alerts, Trouble, trouble_of
from crawler.asking import TIMEOUT, RobotsAsker
from crawler.browsing import open_web
from crawler.core import turns
from crawler.core.crowds import CrowdLimits
from crawler.core.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    leaves,
)
from crawler.core.metrics import Reading
from crawler.core.urls import domain_of
from crawler.crawlbook import CrawlBook
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.enduring import AWAY, Endurance
from crawler.equipment import equip
from crawler.guards import Door, MemoryGuard
from crawler.hook_processes import Hooks
from crawler.intake import Intake
from crawler.leases import Leases
from crawler.memory import keep_large_apart, resident, share_of
from crawler.metering import Meter
from crawler.parsers import Parsers
from crawler.ports import Delivery, Queue
from crawler.presence import Presence
from crawler.progress import Progress
from crawler.reading import Reader
from crawler.recorder import Recorder
from crawler.refreshing import RobotsRefresh
from crawler.rules import RulesBook
from crawler.settings import Settings
from crawler.supply import SHORT
from crawler.visit import TurnVisit
from crawler.watching import DomainWatch

log: Final = structlog.get_logger()

COUNT_SLOTS: Final = 63


class Worker:
    """Fetches turns from a queue until told to stop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        queue: Queue,
        *,
        same_machine: bool = False,
        patience: float = AWAY,
        alerts: Alerts | None = None,
    ) -> None:
        carrier = "postgres" if settings.amqp_url is None else "rabbit"
        self._presence = Presence(
            database,
            slots=settings.domains_at_once,
            queue=carrier,
            same_machine=same_machine,
        )
        self.worker_id = self._presence.worker_id
        self._alerts = alerts or Alerts()
        self._alerts.tags["worker"] = self.worker_id
        self._endurance = Endurance(patience, self._alerts.away)
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
            alerts=self._alerts,
        )
        slot = 1 + zlib.crc32(self.worker_id.encode()) % COUNT_SLOTS
        self.recorder = Recorder(
            Recording(database, self.worker_id, slot),
            self._crawls,
            patience=patience,
            due=self._dispatcher.expect,
            failed=self._alerts.away,
            turns=lambda: len(self._active),
        )
        self._active: dict[asyncio.Task[None], TurnVisit] = {}
        keep_large_apart()
        self._parsers, self._hooks = Parsers(settings.processes), Hooks.of(settings, self._alerts)
        self._memory = MemoryGuard(
            share_of(settings.max_memory, settings.processes),
            lambda: resident((*self._parsers.pids, *self._hooks.pids)),
            patience=settings.alert_after,
            stuck=partial(self._alerts.critical, Trouble.MEMORY),
        )
        self._door = Door(self._memory, self._active.__len__)
        self._meter = Meter(
            settings=settings,
            active=self._active,
            recorder=self.recorder,
            dispatcher=self._dispatcher,
            leases=self._leases,
            endurance=self._endurance,
            door=self._door,
            memory=self._memory,
            parsers=self._parsers,
            hooks=self._hooks,
        )
        self._presence.vitals = self._meter.told

    def __repr__(self) -> str:
        return f"<Worker {self.worker_id}: {len(self._active)} turns>"

    def progress(self) -> Progress:
        """How far it has come."""
        return self._meter.progress()

    def reading(self) -> Reading:
        """What it measures."""
        return self._meter.reading()

    def wake(self) -> None:
        """Something may be due: look now."""
        self._dispatcher.wake()

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Work until *stop* is set, and then until everything begun is on disk and given back.

        Once *hurry* is set, open requests are cut.

        Raises:
            DatabaseUnavailableError: the database stayed away.
        """
        structlog.contextvars.bind_contextvars(worker=self.worker_id)
        settings = self._settings
        slots = settings.domains_at_once
        resolver = self._meter.resolver = Resolver(
            servers=settings.dns_servers, timeout=settings.dns_timeout, hosts_file=settings.hosts_file
        )
        web = open_web(settings, resolver)
        rules = RulesBook(self._database)
        asker = RobotsAsker(
            web,
            self._frontier,
            rules,
            self.worker_id,
            settings.delay,
            timeout=min(TIMEOUT, settings.total_timeout),
        )
        refresh = RobotsRefresh(
            self._frontier,
            rules,
            asker,
            self.worker_id,
            user_agent=settings.user_agent,
            delay=settings.delay,
            longest=settings.max_crawl_delay,
            fault=self._alerts.fault,
        )
        reader = Reader(self._parsers, self._page_failed, near_duplicates=settings.near_duplicates)
        self._tools = equip(
            settings,
            self._database,
            web=web,
            crawls=self._crawls,
            rules=rules,
            asker=asker,
            reader=reader,
            recorder=self.recorder,
            hooks=self._hooks,
        )
        self._meter.decisions = self._tools.decisions
        domains, urgent = Domains(self._database), Urgent(self._database)
        self._watch = DomainWatch(domains, self._active.values, self._crawls, rules, refresh, urgent)
        try:
            await self._presence.arrive()
            self._alerts.at_work = True
            async with asyncio.TaskGroup() as tasks:
                recording = tasks.create_task(self.recorder.run())
                upkeep = [
                    tasks.create_task(self._endurance.endure(self._leases.keep)),
                    tasks.create_task(self._endurance.endure(self._crawls.keep)),
                    tasks.create_task(self._endurance.endure(self._presence.keep)),
                    tasks.create_task(self._endurance.endure(self._watch.keep)),
                    tasks.create_task(refresh.keep()),
                    tasks.create_task(self._database.listen([CHANGED, DOMAIN_CHANGED], self._hear)),
                    tasks.create_task(self._memory.keep()),
                ]
                intake = Intake(
                    self._frontier,
                    self.worker_id,
                    settings.work_lease,
                    limits=CrowdLimits(settings.per_address, settings.per_address_nets),
                    look_up=None if settings.proxy is not None else resolver.first_address,
                    begin=partial(self._begin, tasks),
                    tasks=tasks,
                    room=self._door.room,
                    alerts=self._alerts,
                    counts=self._meter.turns,
                )
                feeding = [
                    tasks.create_task(
                        self._endurance.endure(lambda: self._queue.consume(slots, intake.offer))
                    ),
                    tasks.create_task(self._endurance.endure(self._dispatcher.run)),
                    tasks.create_task(
                        self._endurance.endure(lambda: intake.accept_all(self._watch.accepted))
                    ),
                ]
                await stop.wait()
                await self._wind_down(intake, feeding, hurry)
                for task in (*upkeep, recording):
                    task.cancel()
        finally:
            await web.close()
            await self._parsers.close()
            await self._hooks.close()
            await resolver.close()
            await self._presence.sign_out()

    def _hear(self, channel: str, payload: str) -> None:
        if channel == CHANGED:
            self._crawls.changed()
            self._dispatcher.wake()
        else:
            self._watch.changed(payload)

    async def _wind_down(
        self, intake: Intake, feeding: list[asyncio.Task[None]], hurry: asyncio.Event
    ) -> None:
        for task in feeding:
            task.cancel()
        await asyncio.wait(feeding)
        await intake.withdraw()
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

    def _begin(
        self, tasks: asyncio.TaskGroup, turn: turns.Turn, state: Accepted, delivery: Delivery, since: float
    ) -> None:
        lease = self._leases.hold(turn.domain_id, state.turn, since, lambda: None)
        visit = TurnVisit(turn, state, lease, self._tools, self._goes_on)
        task = tasks.create_task(self._turn(visit, delivery))
        lease.lost = task.cancel
        self._active[task] = visit
        task.add_done_callback(self._active.pop)
        task.add_done_callback(lambda _: self._leases.drop(lease))
        task.add_done_callback(lambda _: self._door.ended(turn.domain))

    def _goes_on(self, age: float) -> bool:
        return age < SHORT or len(self._active) < self._settings.domains_at_once

    async def _turn(self, visit: TurnVisit, delivery: Delivery, *, again: bool = False) -> None:
        """One turn. A fault of ours in it costs this turn, not the worker: it is told, and its lease ends by itself."""
        try:
            if not await visit.run():
                self._meter.turns.lost += 1
                log.info("turn.lost", domain=visit.turn.domain, reason="its lease had ended")
        except asyncio.CancelledError:
            self._meter.turns.lost += 1
            log.info("turn.lost", domain=visit.turn.domain, reason="it was cut off")
            delivery.ack()
        except Exception as error:  # noqa: BLE001 - here it costs a turn, further up the worker
            await self._failed(visit, delivery, error, again=again)
        else:
            delivery.ack()

    async def _failed(self, visit: TurnVisit, delivery: Delivery, error: Exception, *, again: bool) -> None:
        """A turn ended by an exception, or by several of its slots'; *again*: also the attempt to end it well."""
        if any(isinstance(leaf, ProxyError) for leaf in leaves(error)):
            raise error  # no turn can do without it: whoever named it is told
        turn, kind = visit.turn, trouble_of(error)
        lacking = kind in {Trouble.DESCRIPTORS, Trouble.MEMORY}
        if kind is not None and lacking:
            self._alerts.critical(kind, error=error, domain=turn.domain, crawl=self._crawls_of(turn))
        if kind is Trouble.DESCRIPTORS:
            for domain in self._door.ran_out():
                await self._tools.web.forget(domain)
        away = all(isinstance(leaf, (DatabaseBusyError, DatabaseUnavailableError)) for leaf in leaves(error))
        if lacking and not again:
            visit.stop()  # it asks for nothing more, and releases its domain: what was not visited stays due
            await self._turn(visit, delivery, again=True)
        elif away or lacking:
            self._meter.turns.lost += 1
            log.info("turn.lost", domain=turn.domain, reason=str(error))
            delivery.ack()
        else:
            fault = leaves(error)[0]
            log.error("turn.failed", domain=turn.domain, exc_info=fault)
            crawl = self._crawls_of(turn)
            self._alerts.critical(
                Trouble.BUG, "its turn is a dead letter", error=fault, domain=turn.domain, crawl=crawl
            )
            self._meter.turns.dead += 1
            delivery.dead(f"{type(fault).__name__}: {fault}")

    def _crawls_of(self, turn: turns.Turn) -> str:
        """The names of the crawls that a turn is for."""
        known = (self._crawls.get(crawl_id) for crawl_id in {url.crawl_id for url in turn.urls})
        return ", ".join(sorted(one.crawl.name for one in known if one is not None))

    def _page_failed(self, error: Exception, url: str) -> None:
        # One bug may cost every page of a site: each is told to who looks closer, and all of them together once as critical.
        log.info("page.failed", url=url, reason=f"{type(error).__name__}: {error}")
        kind = trouble_of(error) or Trouble.BUG
        self._alerts.critical(kind, "it cost a page", error=error, domain=domain_of(url))
