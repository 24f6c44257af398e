"""Upkeep: what keeps the tables in shape, whoever does it.

    crawl scheduler (the one that leads) ──┐
    crawl run (as long as it runs) ────────┤
    crawl dashboard (the minutes alone) ───┴──► a job is due ──claimed──► done, or failed ──► when, how long, what came of it, next time

1. A job that is due is begun by one; however often it was missed, it is done once (`crawler.adapters.jobs`).
2. A job may be cut off anywhere and be done by two at once: it goes in short transactions, each of which leaves things in order.
3. Whatever comes of it is written down; what went wrong is raised too.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from crawler.adapters.jobs import Jobs
from crawler.adapters.minutes import count_minutes
from crawler.adapters.partitions import AHEAD, drop_old, make_partitions, roll_up
from crawler.adapters.postgres import Database
from crawler.adapters.upkeep import drop_unused_bodies
from crawler.core.errors import DatabaseError, FaircrawlError
from crawler.phrases import count, seen
from crawler.wording import keep_words

log: Final = structlog.get_logger()

LOOK: Final = 30.0
"""Seconds between looks of a run whether something is due."""
SPARED: Final = 20.0
"""Seconds that the dashboard leaves a due job to those who work."""
LEAVING: Final = 2.0
"""Seconds that a run waits in the end for the upkeep that it has begun: a run may be shorter than that."""
OF_RUNS: Final = ("-run", "-dashboard")
"""How the names of runs and of dashboards end, so that nobody takes them for schedulers."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done by the clock, by one for all."""

    name: str
    about: str
    every: float
    """Seconds."""
    work: Callable[[Database], Awaitable[str]]
    """Does it, and says what was done."""


def upkeep_jobs(fetches_kept: float) -> tuple[Job, ...]:
    """The jobs that need nobody but the database. *fetches_kept*: seconds for which attempts are kept; 0: for ever."""
    partitions = partial(_partitions, kept=fetches_kept)
    return (
        Job("partitions", "makes day partitions of fetches ahead, and drops old ones", 3600, partitions),
        Job("counters", "counts the attempts of each hour that is over (fetch_hours)", 600, _counters),
        MINUTES,
        Job("bodies", "removes bodies that no page names any more", 86_400, _bodies),
        Job("workers", "forgets machines that never came back", 3600, _workers),
        Job("search", "reads the words of new pages, for crawls that are searched (page_words)", 60, _search),
    )


async def perform(job: Job, database: Database, jobs: Jobs, who: str) -> None:
    """Do a job that *who* has claimed, and write down what came of it. Raises what the job raised."""
    began = time.monotonic()
    try:
        detail = await job.work(database)
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(DatabaseError):  # then it is due again in ten minutes
            await jobs.end(job.name, job.every, who, _ms(began), failed=True, detail=seen(detail)[:500])
        raise
    await jobs.end(job.name, job.every, who, _ms(began), failed=False, detail=detail)


async def tried(job: Job, database: Database, jobs: Jobs, who: str) -> None:
    """Do a job if it is due. Whatever goes wrong with it, its row says so, and neither the other jobs nor a crawl are the worse for it."""
    try:
        if await jobs.claim({job.name: job.every}, who):
            await perform(job, database, jobs, who)
    except FaircrawlError as error:
        log.debug("job.failed", job=job.name, reason=str(error))
    except Exception:
        log.exception("job.failed", job=job.name)


@contextlib.asynccontextmanager
async def kept_up(database: Database, fetches_kept: float) -> AsyncIterator[None]:
    """What is due of the upkeep is done beside the body, for where no scheduler runs; what takes long is cut off when that ends."""
    jobs, table, idle = Jobs(database), upkeep_jobs(fetches_kept), asyncio.Event()
    due = await _due(
        jobs, table
    )  # here, where a connection is free: another one would cost more than the question
    keeping = asyncio.create_task(_keep(database, jobs, table, due, idle))
    try:
        yield
        if due:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVING):
                    await idle.wait()
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        if not keeping.cancelled():
            keeping.result()


async def _keep(
    database: Database, jobs: Jobs, table: tuple[Job, ...], due: list[Job], idle: asyncio.Event
) -> None:
    who = f"{socket.gethostname()}-{os.getpid()}{OF_RUNS[0]}"
    while True:
        for job in due:
            await tried(job, database, jobs, who)
        idle.set()
        await asyncio.sleep(LOOK)
        idle.clear()
        due = await _due(jobs, table)


async def _due(jobs: Jobs, table: tuple[Job, ...]) -> list[Job]:
    """What is due, in one question; what cannot be asked now is not."""
    try:
        waiting = {row["name"]: row["next_at"] > row["now"] for row in await jobs.rows()}
        if new := [job.name for job in table if job.name not in waiting]:
            await jobs.plan(new)
    except DatabaseError:
        return []
    return [job for job in table if not waiting.get(job.name, False)]


async def keep_minutes(database: Database) -> None:
    """Count the minutes where neither a scheduler nor a run does, until cancelled: for the dashboard, which shows them."""
    jobs, who = Jobs(database), f"{socket.gethostname()}-{os.getpid()}{OF_RUNS[1]}"
    while True:
        with contextlib.suppress(FaircrawlError):  # its row says so; asked again soon
            row = next((row for row in await jobs.rows() if row["name"] == MINUTES.name), None)
            if row is None:
                await jobs.plan([MINUTES.name])
            if row is None or row["now"] - row["next_at"] > timedelta(seconds=SPARED):
                for _ in await jobs.claim({MINUTES.name: MINUTES.every}, who):
                    await perform(MINUTES, database, jobs, who)
        await asyncio.sleep(SPARED)


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


async def _partitions(database: Database, kept: float) -> str:
    now = await database.ask("select now()")
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await make_partitions(database, today)
    ahead = f"{AHEAD} days made ahead"
    if not kept:
        return ahead
    before = (now - timedelta(seconds=kept)).replace(hour=0, minute=0, second=0, microsecond=0)
    dropped = await drop_old(database, before)
    said = [
        ahead,
        *([f"{count(dropped.days, 'day')} dropped"] if dropped.days else []),
        *([f"{count(dropped.rows, 'row')} of days without a partition removed"] if dropped.rows else []),
        *([f"{count(dropped.busy, 'day')} in use: dropped next time"] if dropped.busy else []),
    ]
    return ", ".join(said)


async def _counters(database: Database) -> str:
    hours = await roll_up(database)
    return f"{count(hours, 'hour')} counted" if hours else "no hour to count"


async def _minutes(database: Database) -> str:
    minutes = await count_minutes(database)
    return f"{count(minutes, 'minute')} counted" if minutes else "no minute to count"


async def _bodies(database: Database) -> str:
    dropped = await drop_unused_bodies(database)
    return f"{dropped:,} {'body' if dropped == 1 else 'bodies'} removed"


async def _workers(database: Database) -> str:
    return f"{count(len(await database.fetch('workers_forget')), 'row')} removed"


async def _search(database: Database) -> str:
    done = await keep_words(database)
    said = [
        f"{count(done.read, 'page')} read",
        *([f"the words of {count(done.removed, 'page')} removed"] if done.removed else []),
        *([f"{count(done.overtaxing, 'page')} too much to read: found by title"] if done.overtaxing else []),
        *(["more next time"] if done.more else []),
    ]
    return ", ".join(said)


MINUTES: Final = Job(
    "minutes", "counts the attempts of each minute that is over (fetch_minutes)", 60, _minutes
)
