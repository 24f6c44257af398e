"""What may be asked of a process at work over HTTP: /metrics for Prometheus, /healthz and /readyz for who keeps it running.

    crew.readings ─┐                      ┌─ /metrics   all of it, as Prometheus reads it
    survey ────────┼─► groups ──► pages ──┼─ /healthz   200 while the event loop turns
    readiness ─────┘                      └─ /readyz    200 when database, broker and leases are well, else 503, and which is not

1. Nothing listens unless METRICS_PORT says where.
2. What is asked here holds nobody up: a page reads counts that are there, and the database is looked at once in ten seconds.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from crawler import __version__
from crawler.adapters.postgres import Database
from crawler.core.metrics import BOTH, SCHEDULER, SURVEY, WORKER, Group, Reading
from crawler.ports import Queue
from crawler.processes import Crew
from crawler.queues import opened_queue
from crawler.settings import Settings
from crawler.surveying import Readiness, Survey
from crawler.telemetry import announce

Groups: TypeAlias = Callable[[], Awaitable[Sequence[Group]]]
Ready: TypeAlias = Callable[[], Awaitable[dict[str, str]]]

AWAY: Final = {"crawl_away": BOTH["crawl_away"]}
BUILD: Final = {"crawl_build_info": BOTH["crawl_build_info"]}


class Leads(Protocol):
    """A scheduler: `scheduler.timetable.Timetable`."""

    @property
    def leads(self) -> bool:
        """Whether it leads."""


def build() -> Group:
    """Which version this is."""
    return Group(BUILD, (), [({}, Reading({("crawl_build_info", (__version__,)): 1.0}))])


def worker_groups(readings: Sequence[Reading]) -> list[Group]:
    """What the processes of a worker tell."""
    labelled = [({"process": str(number)}, reading) for number, reading in enumerate(readings)]
    return [build(), Group({**WORKER, **AWAY}, ("process",), labelled)]


async def survey_groups(survey: Survey) -> list[Group]:
    """What a scheduler and a dashboard tell of what all share."""
    return [build(), Group({**SURVEY, **AWAY}, (), [({}, await survey.reading())])]


async def scheduler_groups(survey: Survey, *, leads: bool) -> list[Group]:
    """What a scheduler tells."""
    own = Reading({("crawl_scheduler_leads", ()): float(leads)})
    return [*await survey_groups(survey), Group(SCHEDULER, (), [({}, own)])]


@dataclass(slots=True)
class Watched:
    """The workers that are told of: none, until they are at work."""

    crew: Crew | None = None

    def begun(self, crew: Crew) -> None:
        """They are at work."""
        self.crew = crew

    def late(self) -> int:
        """Leases that should have been renewed and were not."""
        return 0 if self.crew is None else self.crew.progress().late

    async def groups(self) -> list[Group]:
        """What they tell."""
        return worker_groups([] if self.crew is None else self.crew.readings())


@contextlib.asynccontextmanager
async def watched(
    settings: Settings, database: Database, *, quiet: bool = False, waits_for: Callable[[], str] = str
) -> AsyncIterator[Watched]:
    """Tell of workers, where the settings say so, while the body runs. *waits_for*: why they have not begun yet.

    Raises:
        ListenError: another has the port.
    """
    found = Watched()
    if settings.metrics_port is None:
        yield found
        return
    async with opened_queue(settings, database) as queue:
        ready = Readiness(database, queue, late=found.late, waits_for=waits_for)
        async with answered(settings, found.groups, ready, quiet=quiet):
            yield found


@contextlib.asynccontextmanager
async def surveyed(
    settings: Settings,
    database: Database,
    queue: Queue,
    scheduler: Leads,
    *,
    quiet: bool = False,
    waits_for: Callable[[], str] = str,
) -> AsyncIterator[None]:
    """Tell of a scheduler, and of what all share, where the settings say so, while the body runs. *waits_for*: as of `watched`.

    Raises:
        ListenError: another has the port.
    """
    survey = Survey(database, queue)

    async def groups() -> list[Group]:
        return await scheduler_groups(survey, leads=scheduler.leads)

    async with answered(settings, groups, Readiness(database, queue, waits_for=waits_for), quiet=quiet):
        yield


@contextlib.asynccontextmanager
async def answered(settings: Settings, groups: Groups, ready: Ready, *, quiet: bool) -> AsyncIterator[None]:
    """Answer where the settings say, and say where that is, while the body runs; nowhere, if they say nothing.

    Raises:
        ListenError: another has the port.
    """
    if settings.metrics_port is None:
        yield
        return
    # Both take a while to import, and most runs need neither.
    from crawler.adapters.answering import Reply, answering  # noqa: PLC0415
    from crawler.adapters.exposition import exposition  # noqa: PLC0415

    async def metrics(accept: str) -> Reply:
        return Reply(*exposition(await groups(), accept))

    async def healthz(_accept: str) -> Reply:
        await asyncio.sleep(0)
        return Reply(b"ok\n")

    async def readyz(_accept: str) -> Reply:
        status, body = readiness(await ready())
        return Reply(body, "application/json", status)

    paths = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz}
    async with answering(settings.metrics_host, settings.metrics_port, paths) as url:
        if not quiet:
            announce(
                settings.log_format, f"metrics at {url}/metrics", "metrics.offered", url=f"{url}/metrics"
            )
        yield


def readiness(found: dict[str, str]) -> tuple[int, bytes]:
    """The status and the body of /readyz."""
    is_well = all(one == "ok" for one in found.values())
    return 200 if is_well else 503, json.dumps(found).encode() + b"\n"
