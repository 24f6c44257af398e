"""A whole crawl in one process tree: what `crawl run` does.

    database ─► crawl and seeds ─► workers (here, or as child processes) ─► busy? ... ─► finish ─► summary

It ends when every URL has an outcome and no retry is due within `run_patience`, when a limit is reached, or when told to stop.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from crawler.adapters.crawls import Crawls, Wish
from crawler.alerts import Alerts
from crawler.attending import Attendance
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.core.model import Crawl, CrawlState
from crawler.core.scope import scope_key
from crawler.enduring import AWAY
from crawler.letters import BURIED
from crawler.opening import Opened, Revive
from crawler.processes import Crew, at_work
from crawler.progress import Progress, waits_for
from crawler.seeds import links
from crawler.settings import Settings
from crawler.upkeep import kept_up

SEEDS_AT_ONCE: Final = 1000
LOOK: Final = 0.2
"""Seconds between looks whether anything is left to do; more when looking is dear."""
DEAREST: Final = 20
"""A look may cost one part in so many of the time between."""
LONGEST: Final = 2.0


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended."""

    crawl: Crawl
    new_seeds: int
    interrupted: bool
    seconds: float
    """From the first request to the last commit."""
    pages: int
    """Newly stored in this run."""
    requests: int
    wire_bytes: int
    cpu_seconds: float
    """Of every process of the crawler, the database apart."""
    totals: Sequence[Any]
    waiting: Sequence[Any]
    seeds_stored: bool
    seeds_failed: Sequence[Any]
    buried: int
    """URLs whose turn was lost too often: they lie with the dead letters."""


async def crawl(
    settings: Settings,
    opened: Opened,
    wish: Wish,
    seeds: Sequence[str],
    *,
    stop: asyncio.Event,
    hurry: asyncio.Event,
    tell: Callable[[Progress, Sequence[Any]], None],
    alerts: Alerts | None = None,
    prepare: Callable[[int], Awaitable[None]] | None = None,
    begun: Callable[[Crew], None] | None = None,
) -> Summary:
    """Make or resume the crawl, and work until it has nothing left to do.

    *prepare*: is done with its number before that, when it is looked after already. *begun*: is given the workers, once they are at work.

    Raises:
        UsageError: the crawl exists with another scope.
        DatabaseUnavailableError: the database stayed away.
    """
    crawls = Crawls(opened.database)
    attendance = Attendance(crawls, same_machine=settings.database_url is None)
    found, is_new = await crawls.create_or_change(wish)
    await attendance.take_up(found, is_new=is_new)
    try:
        if prepare is not None:
            await prepare(found.crawl_id)
        async with kept_up(opened.database, settings.fetches_kept):
            return await _attended(
                settings,
                opened,
                crawls,
                found,
                seeds,
                is_new=is_new,
                stop=stop,
                hurry=hurry,
                tell=tell,
                alerts=alerts,
                begun=begun,
            )
    finally:
        with contextlib.suppress(DatabaseUnavailableError, DatabaseBusyError):  # then the next run does it
            await attendance.leave(found.crawl_id)


async def _attended(
    settings: Settings,
    opened: Opened,
    crawls: Crawls,
    found: Crawl,
    seeds: Sequence[str],
    *,
    is_new: bool,
    stop: asyncio.Event,
    hurry: asyncio.Event,
    tell: Callable[[Progress, Sequence[Any]], None],
    alerts: Alerts | None,
    begun: Callable[[Crew], None] | None,
) -> Summary:
    new_seeds = 0
    for start in range(0, len(seeds), SEEDS_AT_ONCE):
        some = seeds[start : start + SEEDS_AT_ONCE]
        keys = [scope_key(found.scope, url) for url in some]
        new_seeds += await crawls.seed(found.crawl_id, keys, links(found.crawl_id, some))
    if not is_new:
        await crawls.start(found.crawl_id)
    began, last = time.time(), Progress()
    before = _done(await crawls.totals(found.crawl_id))
    since: datetime = await opened.database.value("clock")
    if await crawls.busy(found.crawl_id, settings.run_patience, since):
        async with at_work(settings, opened.dsn, hurry, alerts=alerts) as crew:
            if begun is not None:
                begun(crew)
            await _until_done(
                crawls,
                found.crawl_id,
                settings.run_patience,
                since,
                stop=stop,
                revive=opened.revive,
                progress=crew.progress,
                tell=tell,
            )
        last = crew.progress()
    interrupted = stop.is_set()
    await crawls.finish(found.crawl_id)
    totals = await crawls.totals(found.crawl_id)
    now = _done(totals)
    return Summary(
        crawl=await crawls.by_id(found.crawl_id) or found,
        new_seeds=new_seeds,
        interrupted=interrupted,
        seconds=max(
            0.0, (last.last_commit or (time.time() if now.visits > before.visits else began)) - began
        ),
        pages=max(0, now.pages - before.pages),  # what was stored may be gone by now
        requests=now.visits - before.visits,
        wire_bytes=now.wire_bytes - before.wire_bytes,
        cpu_seconds=last.cpu_seconds,
        totals=totals,
        waiting=await crawls.waiting(found.crawl_id),
        seeds_stored=bool(await opened.database.value("seeds_stored", found.crawl_id)),
        seeds_failed=await opened.database.fetch("seeds_failed", found.crawl_id, 3),
        buried=await opened.database.value("urls_buried", found.crawl_id, BURIED),
    )


def _done(totals: Sequence[Any]) -> Progress:
    """What was done of a crawl, whoever did it."""
    return Progress(
        pages=sum(row["urls"] for row in totals if row["outcome"] in {"ok", "not_modified"}),
        visits=sum(row["fetches"] for row in totals),
        wire_bytes=sum(row["bytes"] for row in totals),
    )


async def _until_done(
    crawls: Crawls,
    crawl_id: int,
    patience: float,
    since: datetime,
    *,
    stop: asyncio.Event,
    revive: Revive,
    progress: Callable[[], Progress],
    tell: Callable[[Progress, Sequence[Any]], None],
) -> None:
    clock = asyncio.get_running_loop().time
    dear_until = 0.0
    away_since: float | None = None
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await stop.wait()
        now = progress()
        if clock() < dear_until and waits_for(now):
            tell(now, ())
            continue
        began = clock()
        try:
            crawl_now = await crawls.by_id(crawl_id)
            if crawl_now is None or crawl_now.state is not CrawlState.RUNNING:
                return
            if not await crawls.busy(crawl_id, patience, since):
                return
            tell(now, () if waits_for(now) else await crawls.waiting(crawl_id))
        except DatabaseBusyError:
            continue
        except DatabaseUnavailableError:
            away_since = away_since or clock()
            if clock() - away_since > AWAY:
                raise
            await revive()
            continue
        away_since = None
        dear_until = clock() + min(LONGEST, DEAREST * (clock() - began))
