"""Attempts over time: read where they are counted, and counted only where they are not yet.

since ──hours (further back than two days)──► minutes ──► the last minutes, counted here ──► until
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Session
from crawler.core.errors import UsageError
from crawler.dashboard.desk import Desk
from crawler.dashboard.lately import EPOCH, moment
from crawler.dashboard.models import Point, Series
from crawler.naming import crawl_named

MINUTE: Final = 60
HOUR: Final = 3600
MOST_POINTS: Final = 1000
LAST: Final = timedelta(seconds=10)
"""For which attempts of a minute that is over may still be on their way."""
ONCE: Final = 300.0
"""Seconds for which the count of a minute is kept here, until it is in fetch_minutes."""
LONGEST_STEP: Final = 366 * 24 * HOUR


async def clock(desk: Desk) -> datetime:
    """What time it is where attempts are counted."""
    async with desk.database.looking() as session:
        now: datetime = await session.value("clock")
    return now


async def series(
    desk: Desk, *, since: datetime, until: datetime, step: int, crawl: str | None = None
) -> Series:
    """Attempts between these moments, in steps of so many seconds: whole minutes, and whole hours where it begins more than two days ago.

    Raises:
        NotKnownError: there is no such crawl.
        UsageError: it ends before it begins, or has too many steps.
    """
    since, until = moment(since), moment(until)
    if since > until:
        raise UsageError("it ends before it begins: exchange since and until")
    if not 0 < step <= LONGEST_STEP:
        raise UsageError(f"a step of {step} seconds: give one of 60 to {LONGEST_STEP}")
    crawl_id = None if crawl is None else (await crawl_named(Crawls(desk.database), crawl)).crawl_id
    async with desk.database.looking() as session:
        (counted,) = await session.fetch("look_counted")
        step = _whole(step, HOUR if since < counted["minutes_since"] else MINUTE)
        begin, end = _floor(since, step), min(until, counted["now"])
        steps = max(0, -((begin - end) // timedelta(seconds=step)))
        if steps > MOST_POINTS:
            raise UsageError(f"that are {steps:,} steps: ask for a shorter time, or longer steps")
        rows = await _rows(desk, session, counted, (begin, end), (step, crawl_id))
    return Series(since=begin, until=end, step=step, points=_points(begin, step, steps, rows))


async def _rows(
    desk: Desk,
    session: Session,
    counted: Any,
    span: tuple[datetime, datetime],
    wanted: tuple[int, int | None],
) -> list[Any]:
    (begin, end), (step, crawl_id) = span, wanted
    hours_end = begin
    if begin < counted["minutes_since"]:
        hours_end = max(begin, min(counted["hour"] or begin, end))
    minutes_end = max(hours_end, min(counted["minute"], end))
    found: list[Any] = []
    for name, since, until in (("look_hours", begin, hours_end), ("look_minutes", hours_end, minutes_end)):
        if since < until:
            found += await session.fetch(name, begin, until, float(step), crawl_id, since)
    minute = minutes_end
    while minute < end:
        until = min(end, _floor(minute, MINUTE) + timedelta(seconds=MINUTE))
        ask = partial(session.fetch, "look_uncounted", minute, until, crawl_id)
        if until < counted["now"] - LAST:  # over, and nobody has counted it: not again with each look
            found += await desk.fresh.get(("minute", minute, until, crawl_id), ONCE, ask)
        else:
            found += await ask()
        minute = until
    return found


def _points(begin: datetime, step: int, steps: int, rows: Iterable[Any]) -> list[Point]:
    """A point a step, also where nothing happened."""
    outcomes: list[dict[str, int]] = [{} for _ in range(steps)]
    sums = [[0, 0] for _ in range(steps)]
    for row in rows:
        number = (row["at"] - begin) // timedelta(seconds=step)
        if 0 <= number < steps:
            told = outcomes[number]
            told[row["outcome"]] = told.get(row["outcome"], 0) + row["fetches"]
            sums[number][0] += row["bytes"]
            sums[number][1] += row["ms"]
    return [
        Point(
            at=begin + timedelta(seconds=step * number),
            outcomes=dict(sorted(outcomes[number].items())),
            bytes=sums[number][0],
            ms=sums[number][1],
        )
        for number in range(steps)
    ]


def _whole(step: int, unit: int) -> int:
    return max(1, -(-step // unit)) * unit


def _floor(moment: datetime, step: int) -> datetime:
    return moment - (moment - EPOCH) % timedelta(seconds=step)
