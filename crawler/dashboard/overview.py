"""Is the crawl healthy, what does it wait for, and who is unhappy?

1. One answer is made for all who look, every `AGE` seconds at most; what changes slowly, or costs more to ask, is asked less often.
2. How fast it goes is what the workers said of the last seconds, as long as all of them said so lately; else the last attempts are counted.
   A worker that stopped has no row, one that was killed is not listened to after `LISTENED`: so a crawl that stands is told as one.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from crawler import __version__
from crawler.adapters.looking import MOST, Looking, WorkerRow
from crawler.core.errors import BrokerError
from crawler.core.limiting import Situation, limiting
from crawler.dashboard.desk import Desk, JobLine
from crawler.dashboard.models import (
    Cost,
    Frontier,
    Limiting,
    Overview,
    QueueState,
    Rate,
    Series,
    WorkerState,
)
from crawler.dashboard.timeline import clock, series
from crawler.upkeep import upkeep_jobs

__all__ = ["overview", "rate", "series", "workers"]

AGE: Final = 1.5
HOUR_AGE: Final = 10.0
SIZE_AGE: Final = 60.0
LISTENED: Final = 30.0
"""Seconds for which what a worker said is true: it says it anew every ten."""
LATELY: Final = 15.0
"""Seconds whose attempts are counted where workers do not say how fast they are."""
PATIENCE: Final = 2.0
"""Seconds for the broker to answer."""
LATE: Final = timedelta(minutes=3)
"""After a job was due."""
SKEW: Final = 5.0
"""Seconds that a worker's clock may be off the database's: what it fetches is dated by its own, and counted by the other."""
MILLION: Final = 1_000_000
HOUR: Final = 3600


async def overview(desk: Desk) -> Overview:
    """All of it at a glance."""
    return await desk.fresh.get("overview", AGE, lambda: _overview(desk))


async def workers(desk: Desk) -> list[WorkerState]:
    """Workers and schedulers, as they said themselves."""
    return [_state(row) for row in await _workers(desk)]


async def rate(desk: Desk, crawl_id: int | None = None) -> Rate:
    """How fast it goes: one crawl, or all together."""
    if crawl_id is not None:  # workers do not say it of each
        return await _lately(Looking(desk.database), crawl_id)
    return await _rate(await _workers(desk), Looking(desk.database))


async def _rate(rows: Sequence[WorkerRow], look: Looking) -> Rate:
    live = [row for row in rows if row.slots > 0 and not row.silent]
    if not live or not all(row.vitals.seconds > 0 and row.seen_ago <= LISTENED for row in live):
        return await _lately(look)
    said = [row.vitals for row in live]
    return Rate(
        pages=sum(one.pages for one in said),
        fetches=sum(one.fetches for one in said),
        bytes=sum(one.bytes for one in said),
        seconds=max(one.seconds for one in said),
    )


async def _lately(look: Looking, crawl_id: int | None = None) -> Rate:
    lately = await look.recent(LATELY, crawl_id)
    return Rate(
        pages=lately.urls / LATELY,
        fetches=lately.fetches / LATELY,
        bytes=lately.bytes / LATELY,
        seconds=LATELY,
    )


async def _overview(desk: Desk) -> Overview:
    now = await clock(desk)
    queue = await _queue(desk)
    hour = await desk.fresh.get("hour", HOUR_AGE, lambda: _hour(desk, now))
    async with Looking(desk.database).together() as look:
        rows = await desk.fresh.get("workers", AGE, look.workers)
        fast = await _rate(rows, look)
        counts, oldest, urls = await look.frontier(), await look.oldest_due(), await look.urls_by_outcome()
        crawls = await look.crawl_states()
        jobs = await desk.fresh.get("jobs", HOUR_AGE, look.jobs)
        size = await desk.fresh.get("size", SIZE_AGE, look.database_bytes)
    live = [row for row in rows if not row.silent and row.slots > 0]
    schedulers = sum(not row.silent and row.slots == 0 for row in rows)
    slots, visiting = sum(row.slots for row in live), sum(row.visiting for row in live)
    limit = limiting(
        Situation(
            vitals=[row.vitals for row in live if row.said],
            workers=len(live),
            slots=slots,
            visiting=visiting,
            ready=counts.ready,
            resting=counts.resting,
            queued=counts.queued,
            next_in=counts.next_in,
            running=crawls.get("running", 0),
            away="broker" if queue.trouble is not None else "",
        )
    )
    return Overview(
        now=now,
        version=__version__,
        rate=fast,
        hour=hour,
        outcomes=_sums(point.outcomes for point in hour.points),
        frontier=Frontier(
            ready=counts.ready,
            resting=counts.resting,
            queued=counts.queued,
            held=counts.held,
            most=MOST,
            urls=sum(one.urls for one in urls.values()),
            waiting=urls[""].urls if "" in urls else 0,
            oldest_domain=None if oldest is None else oldest.name,
            oldest_since=None if oldest is None else oldest.since,
        ),
        queue=queue,
        workers=len(live),
        schedulers=schedulers,
        silent=sum(row.silent and row.slots > 0 for row in rows),
        silent_schedulers=sum(row.silent and row.slots == 0 for row in rows),
        slots=slots,
        visiting=visiting,
        limiting=Limiting(what=limit.what, words=limit.words),
        cost=_cost(desk, len(live), fast),
        crawls=crawls,
        database_bytes=size,
        job_trouble=_trouble(desk.jobs, jobs, schedulers=schedulers, workers=len(live)) + _clocks(live),
    )


async def _workers(desk: Desk) -> list[WorkerRow]:
    return await desk.fresh.get("workers", AGE, Looking(desk.database).workers)


async def _hour(desk: Desk, now: datetime) -> Series:
    return await series(desk, since=now - timedelta(hours=1), until=now, step=60)


async def _queue(desk: Desk) -> QueueState:
    try:
        async with asyncio.timeout(PATIENCE):
            waiting, dead = await desk.queue.depth(), await desk.queue.dead_count()
    except (BrokerError, TimeoutError) as error:
        trouble = str(error) or "no answer within two seconds"
        return QueueState(carrier=desk.carrier, waiting=None, dead=None, trouble=trouble)
    return QueueState(carrier=desk.carrier, waiting=waiting, dead=dead, trouble=None)


def _state(row: WorkerRow) -> WorkerState:
    return WorkerState(
        id=row.worker_id,
        host=row.host,
        pid=row.pid,
        version=row.version,
        queue=row.queue,
        scheduler=row.slots == 0,
        slots=row.slots,
        visiting=row.visiting,
        started_at=row.started_at,
        seen_at=row.seen_at,
        silent=row.silent,
        vitals=asdict(row.vitals) if row.said else {},
    )


def _sums(outcomes: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in outcomes:
        total.update(one)
    return dict(sorted(total.items()))


def _cost(desk: Desk, live: int, fast: Rate) -> Cost | None:
    if desk.settings.worker_price is None:
        return None
    price, unit = desk.settings.worker_price
    an_hour = fast.pages * HOUR
    each = live * price / an_hour * MILLION if an_hour > 0 and live else None
    return Cost(per_million_pages=each, unit=unit, workers=live, price=price)


def _trouble(jobs: Sequence[JobLine], rows: Sequence[Any], *, schedulers: int, workers: int) -> list[str]:
    """What failed; and what is late although somebody is there who does it."""
    of_runs = {job.name for job in upkeep_jobs(0)} if workers else set()
    done = {job.name for job in jobs if not job.everybody} if schedulers else of_runs
    told = []
    for row in rows:
        if row["result"] == "failed":
            told.append(f"{row['name']} failed: {row['detail']}")
        elif row["name"] in done and row["now"] - row["next_at"] > LATE:
            told.append(f"{row['name']} is late")
    return told


def _clocks(live: Iterable[WorkerRow]) -> list[str]:
    """The clocks that are wrong, each told once."""
    skews: dict[str, float] = {}
    for row in live:
        skews[row.host] = max(skews.get(row.host, 0.0), row.vitals.clock_skew, key=abs)
    return [
        f"the clock of {host} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the database's: set both by NTP"
        for host, skew in sorted(skews.items())
        if abs(skew) > SKEW
    ]
