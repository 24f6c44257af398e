"""Attempts by minute, of the last two days: counted a moment after each is over, so that what is shown of it is read.

    fetches ──a minute is over──► counted ──again with the next two, and once in ten minutes with the last fifteen──► two days later dropped

1. A minute may be counted any number of times, by several at once: it is counted anew and replaced, and never by less.
2. What is written late, for its worker could not reach the database, is counted when the minutes around it are; later than that only by
   the hour (`partitions.roll_up`).
3. Each transaction counts a few minutes: whoever deletes a crawl waits for no more.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from crawler.adapters.postgres import Database

MINUTE: Final = timedelta(minutes=1)
KEPT: Final = timedelta(days=2, hours=1)
"""Two days, and what is left of the hour in which these begin."""
AGAIN: Final = 2 * MINUTE
"""Before the last minute that was counted, so many are counted again."""
LONG_AGAIN: Final = 15 * MINUTE
ROUND: Final = 10 * MINUTE
"""So often it is the last fifteen."""
AT_ONCE: Final = 5 * MINUTE


async def count_minutes(database: Database) -> int:
    """Count the minutes that are over, and drop those that are too old: how many were looked at."""
    row = await database.row("minutes_rolled")
    if row is None:
        raise AssertionError("minutes_rolled has no row")
    last, complete = row["last"], row["complete"]
    await database.fetch("minutes_drop", complete - KEPT)
    begin = first_minute(last, complete)
    async with database.transaction() as session:
        await session.fetch("scan_freely")
        if not await session.value("fetches_between", begin, complete):
            return 0
    counted = 0
    while begin < complete:
        end = min(complete, begin + AT_ONCE)
        async with database.transaction() as session:
            await session.fetch("scan_freely")
            await session.fetch("roll_up_minutes", begin, end)
        counted += (end - begin) // MINUTE
        begin = end
    return counted


def first_minute(last: datetime | None, complete: datetime) -> datetime:
    """Where to begin, when the *last* minute of which anything was counted is known, and those before *complete* are over."""
    oldest = complete - KEPT
    if last is None:
        return oldest
    if (
        last < complete - LONG_AGAIN
    ):  # nothing happened for a while, or nobody counted: not the same minutes again and again
        return max(oldest, last + MINUTE)
    turned = _round(last) != _round(complete)
    return max(oldest, complete - LONG_AGAIN if turned else last - AGAIN)


def _round(moment: datetime) -> int:
    return (moment - datetime(2000, 1, 1, tzinfo=UTC)) // ROUND
