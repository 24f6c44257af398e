"""The day partitions of fetches: made ahead of the clock, so that an insert finds one, counted by the hour, and dropped in the end.

    tomorrow ──made──► today ──rolled up, hour by hour──► kept for as long as fetches are kept ──rolled up again──► detached, dropped

1. A day is dropped whole, and only when all of its hours were counted into fetch_hours just before.
2. Dropping keeps nobody from writing for longer than `WAIT`: what is in use is dropped another time.
3. Every step may be done by two at once, and cut off anywhere: what was detached and not dropped is found again by its name.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseBusyError

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
AHEAD: Final = 3
"""Days for which there are partitions, from today."""
WAIT: Final = "1s"
"""How long a drop waits for those who write to fetches, and they for it."""
ROWS: Final = 10_000
"""Rows of fetches_rest that are removed at a time."""
DETACH: Final = f"""
select set_config('lock_timeout', '{WAIT}', true), pg_advisory_xact_lock(20015);
do $$ begin
  if exists (select from pg_inherits where inhrelid = to_regclass('{{day}}')) then
    alter table fetches detach partition {{day}};
  end if;
end $$
"""
"""Not "concurrently", which a default partition forbids. There is nothing to look at: the lock is held for a moment."""

SUMMARIZE: Final = """
do $$
declare part regclass;
begin
  select i.inhrelid::regclass into part from pg_inherits i join pg_index x on x.indexrelid = i.inhrelid
  where i.inhparent = 'fetches_at'::regclass and x.indrelid = '{day}'::regclass;
  execute format('alter index %s set (autosummarize = on)', part);
end $$
"""
"""What its BRIN index does not know is read whole by whoever asks what happened lately: it is told soon (migrations/0006_looking.sql)."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day partition of fetches."""

    name: str
    until: datetime
    attached: bool = True
    """False: it was detached, and was to be dropped."""


@dataclass(slots=True)
class Dropped:
    """What was removed of old fetches, and which days could not be: somebody used the table all the while."""

    days: int = 0
    rows: int = 0
    busy: int = 0


async def make_partitions(database: Database, today: datetime, days: int = AHEAD) -> None:
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
                    f"create table if not exists {name} partition of fetches for values {bounds}; "
                    f"{SUMMARIZE.format(day=name)}"
                )


async def days_kept(database: Database) -> list[Day]:
    """The day partitions that there are, the oldest first."""
    days = []
    for row in await database.fetch("fetch_days"):
        until = row["until"]
        with contextlib.suppress(ValueError):  # a number that is no day: not one of ours
            named = (
                datetime.strptime(row["name"].removeprefix("fetches_"), "%Y%m%d").replace(tzinfo=UTC) + DAY
            )
            days.append(Day(row["name"], until or named, until is not None))
    return days


async def roll_up(database: Database) -> int:
    """Count the hours that are over since the last that was, and that one and the one before again, for rows that came late: how many."""
    row = await database.row("hours_rolled")
    if row is None:
        raise AssertionError("hours_rolled has no row")
    last, complete, rest = row["last"], row["complete"], row["rest"]
    days = [day.until - DAY for day in await days_kept(database) if day.attached]
    begins = [*days, *([rest] if rest is not None else [])]
    if not begins:
        return 0
    first = _hour(min(begins))
    if last is not None:
        if last + HOUR >= complete or not await database.value("fetches_between", last + HOUR, complete):
            return 0
        first = max(first, last - HOUR)
    hours = [first + n * HOUR for n in range((complete - first) // HOUR)]
    await _count(database, hours)
    return len(hours)


async def drop_old(database: Database, before: datetime) -> Dropped:
    """Remove the attempts of all days that end by then (midnight, UTC), when they are counted by the hour."""
    dropped = Dropped()
    for day in await days_kept(database):
        if day.until > before:
            continue
        if day.attached:
            await _count(database, (day.until - DAY + n * HOUR for n in range(DAY // HOUR)))
        try:
            await database.script(DETACH.format(day=day.name))
            await database.script(f"drop table if exists {day.name}")  # nobody else knows it any more
        except DatabaseBusyError:
            dropped.busy += 1
        else:
            dropped.days += 1
    await _count(database, [row["hour"] for row in await database.fetch("fetches_rest_hours", before)])
    while rows := await database.fetch("fetches_rest_drop", before, ROWS):
        dropped.rows += len(rows)
    return dropped


async def _count(database: Database, hours: Iterable[datetime]) -> None:
    """Hour by hour, so that each transaction is short."""
    for hour in hours:
        async with database.transaction() as session:
            await session.fetch("scan_freely")
            await session.fetch("roll_up", hour, hour + HOUR)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
