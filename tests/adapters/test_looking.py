"""Looking at the whole, and attempts by minute, on a real database."""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.adapters import postgres
from crawler.adapters.jobs import Jobs
from crawler.adapters.looking import Counted, FrontierCounts, Looking, vitals_of
from crawler.adapters.minutes import AGAIN, KEPT, LONG_AGAIN, MINUTE, count_minutes, first_minute
from crawler.adapters.partitions import make_partitions
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseSlowError, DatabaseUnavailableError
from crawler.core.vitals import Vitals
from crawler.upkeep import MINUTES, keep_minutes
from tests.making import Frontiers, blocked, rows, slow, until

ROW: Final = "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, bytes, ms, worker) values ($1, 1, $2, $3, $4, 10, 2, 'w')"
MINUTES_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """Hands on a fresh database."""
    return Frontiers(database)


async def attempts(database: Database, crawl: int, *moments: datetime, outcome: str = "ok") -> None:
    """An attempt of 10 bytes and 2 ms at each of these moments."""
    for moment in moments:
        await database.ask(ROW, moment, crawl, random.randbytes(16), outcome)


async def minutes(database: Database) -> dict[datetime, int]:
    """Attempts by minute, as rolled up."""
    found = await rows(database, "select minute, sum(fetches)::int as n from fetch_minutes group by 1")
    return {one["minute"]: one["n"] for one in found}


async def this_minute(database: Database) -> datetime:
    """The beginning of the first minute that is certainly not complete."""
    found: datetime = await database.ask("select date_trunc('minute', now() - interval '5 s')")
    return found


# --- the frontier


async def test_each_domain_is_told_by_what_it_waits_for(heart: Frontiers) -> None:
    """Ready, resting, queued, held; one that only waits for its time is none of these, but the next."""
    await heart.crawl(*(f"https://{name}.example/" for name in ("a", "b", "c", "d", "e", "f")))
    turns = await heart.take(room=2)
    held, queued = sorted(turns)
    await heart.accept(held, turns[held][0])
    resting, later, *ready = sorted({f"{name}.example" for name in "abcdef"} - {held, queued})
    await heart.database.ask(
        "update domains set ready_at = now() + interval '1 min' where name = $1", resting
    )
    await heart.database.ask("update domains set due_at = now() + interval '1 h' where name = $1", later)
    found = await Looking(heart.database).frontier()

    assert len(ready) == 2
    assert replace(found, next_in=None) == FrontierCounts(2, 1, 1, 1, None)
    assert found.next_in == pytest.approx(60, abs=5)


async def test_counting_ends_where_it_was_told(heart: Frontiers) -> None:
    """Of more domains than are counted, so many are told."""
    await heart.crawl(*(f"https://d{n}.example/" for n in range(30)))

    assert (await Looking(heart.database).frontier(7)).ready == 7


async def test_every_line_is_looked_at(heart: Frontiers) -> None:
    """Domains that are due for several crawls count together."""
    await heart.crawl("https://a.example/", "https://b.example/", name="one")
    await heart.crawl("https://c.example/", name="two")

    assert (await Looking(heart.database).frontier()).ready == 3


async def test_an_empty_database(database: Database) -> None:
    """Where nothing was crawled, everything is none."""
    look = Looking(database)

    assert await look.frontier() == FrontierCounts(0, 0, 0, 0, None)
    assert await look.oldest_due() is None
    assert (await look.urls_by_outcome(), await look.crawl_states(), await look.workers()) == ({}, {}, [])
    assert await look.recent(60) == Counted(0, 0, 0)
    assert await look.database_bytes() > 1 << 20


async def test_the_counters_are_told(heart: Frontiers) -> None:
    """URLs by outcome, crawls by state, the domain that waits for longest, the workers with what they said."""
    await heart.crawl("https://a.example/", "https://a.example/2", name="one")
    crawl = await heart.crawl(name="two")
    await heart.database.ask(
        "update crawls set state = 'paused', attendant = 'left' where crawl_id = $1", crawl
    )
    await heart.database.ask("update domains set due_at = now() - interval '90 s'")
    said = {"seconds": 10.0, "pages": 5.5, "dns": {"9.9.9.9": [7, 1]}, "of another version": True}
    await heart.database.ask(
        "insert into workers (worker_id, host, boot, pid, version, slots, vitals) values ('w', 'h', '', 1, '1', 20, $1)",
        json.dumps(said),
    )
    look = Looking(heart.database)
    oldest = await look.oldest_due()
    (worker,) = await look.workers()

    assert await look.urls_by_outcome() == {"": Counted(2, 0, 0)}
    assert await look.crawl_states() == {"left": 1, "running": 1}
    assert oldest is not None
    assert oldest.name == "a.example"
    assert oldest.seconds == pytest.approx(90, abs=5)
    assert (worker.slots, worker.silent, worker.said) == (20, False, said)
    assert worker.vitals == Vitals(seconds=10.0, pages=5.5, dns={"9.9.9.9": (7, 1)})


def test_a_worker_that_said_nothing() -> None:
    """Who has said nothing yet has the vitals of nobody."""
    assert vitals_of({}) == Vitals()


async def test_what_takes_too_long_is_given_up(database: Database) -> None:
    """A statement of who looks ends when its time is over, with one line that says what to do; the connection is good for the next."""
    async with slow(database) as (_, connection):
        await connection.execute("lock table crawl_counts in access exclusive mode")
        with pytest.raises(DatabaseSlowError, match="narrow it"):
            async with database.looking(0.05) as session:
                await session.fetch("look_outcomes")

    assert await Looking(database).urls_by_outcome() == {}


async def test_who_looks_does_not_wait_for_a_frozen_server(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is frozen is taken for gone after a moment; the next one who looks has another connection, and an answer."""
    monkeypatch.setattr(postgres, "SILENCE", 0.2)
    async with await Database.open(dsn, size=1) as database:
        backend = await database.ask("select pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):
                with pytest.raises(DatabaseUnavailableError, match=r"no answer for 0.3 s"):
                    await frozen(database)
            after = await Looking(database).urls_by_outcome()
        finally:
            os.kill(backend, signal.SIGCONT)

    assert after == {}


async def test_a_server_that_freezes_between_two_questions(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question of a session is given up, not only its beginning."""
    monkeypatch.setattr(postgres, "SILENCE", 0.2)
    async with await Database.open(dsn, size=1) as database:
        backend = await database.ask("select pg_backend_pid()")
        try:
            async with asyncio.timeout(10):
                with pytest.raises(DatabaseUnavailableError, match=r"no answer for 0.3 s"):
                    await frozen(database, backend)
        finally:
            os.kill(backend, signal.SIGCONT)


async def frozen(database: Database, freeze: int | None = None) -> None:
    """Look at two things, and freeze that backend between them."""
    async with database.looking(0.1) as session:
        await session.fetch("look_outcomes")
        if freeze is not None:
            os.kill(freeze, signal.SIGSTOP)
        await session.value("clock")


async def test_who_looks_changes_nothing(database: Database) -> None:
    """In a transaction of who looks nothing can be written."""
    with pytest.raises(Exception, match="read-only"):
        async with database.looking() as session:
            await session.fetch("minutes_drop", datetime.now(UTC))


# --- attempts by minute


async def test_minutes_are_counted_once(database: Database) -> None:
    """Each attempt counts in its minute, however often and by however many at once; that of a minute that is not over does not."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    await make_partitions(database, (now - timedelta(days=1)).replace(hour=0, minute=0), 3)
    dice = random.Random(8)
    moments = [now - timedelta(seconds=dice.uniform(0.001, 9000)) for _ in range(200)]
    await attempts(database, crawl, *moments, now + timedelta(minutes=2))
    for _ in range(2):
        await asyncio.gather(*(count_minutes(database) for _ in range(3)))
    (sums,) = await rows(database, "select sum(bytes)::int as bytes, sum(ms)::int as ms from fetch_minutes")

    assert await minutes(database) == Counter(moment.replace(second=0, microsecond=0) for moment in moments)
    assert (sums["bytes"], sums["ms"]) == (2000, 400)


async def test_what_comes_late_is_counted(database: Database) -> None:
    """An attempt that is written a minute after its minute was counted counts; what is gone since then still does."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    await attempts(database, crawl, now - 2 * MINUTE, now - 2 * MINUTE, now - MINUTE)
    await count_minutes(database)
    await database.ask("delete from fetches where at = $1", now - 2 * MINUTE)
    await attempts(database, crawl, now - MINUTE, now - 2 * MINUTE)
    await count_minutes(database)

    assert await minutes(database) == {now - 2 * MINUTE: 2, now - MINUTE: 2}


async def test_old_minutes_are_dropped(database: Database) -> None:
    """Minutes of more than two days are gone, and not counted again, though their attempts are there."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    old = now - KEPT - MINUTE
    await attempts(database, crawl, old, now - MINUTE)
    await database.ask("insert into fetch_minutes values ($1, $2, 'ok', 1, 1, 1)", old, crawl)
    await count_minutes(database)

    assert await minutes(database) == {now - MINUTE: 1}


async def test_nothing_new_is_not_counted_again(database: Database) -> None:
    """Long after the last attempt nothing is read any more."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    await attempts(database, crawl, now - timedelta(hours=3))

    assert [await count_minutes(database) > 0, await count_minutes(database)] == [True, 0]


async def test_a_crawl_that_is_deleted_meanwhile(database: Database) -> None:
    """Counting waits for a crawl that is being deleted, and leaves nothing of it."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    await attempts(database, crawl, now - MINUTE)
    async with slow(database) as (_, connection):
        await connection.execute("delete from crawls where crawl_id = $1", crawl)
        counting = asyncio.create_task(count_minutes(database))
        await blocked(database)
    await counting

    assert await minutes(database) == {}


@given(st.integers(0, 4000), st.integers(1, 100))
def test_where_counting_begins(ago: int, more: int) -> None:
    """Whatever was missed is counted, of what was counted at most a quarter of an hour again, and nothing of before two days ago."""
    complete = MINUTES_SINCE + more * MINUTE
    last = complete - (1 + ago) * MINUTE
    first = first_minute(last, complete)

    assert complete - KEPT <= first < complete
    assert first <= max(last + MINUTE, complete - KEPT)
    assert first >= last + MINUTE - LONG_AGAIN
    assert first_minute(None, complete) == complete - KEPT


@given(st.integers(0, 10_000))
def test_every_minute_is_counted_again(number: int) -> None:
    """Counting once a minute, each minute is counted with the two after it, and once more within a quarter of an hour."""
    minute = MINUTES_SINCE + number * MINUTE
    begins = [first_minute(minute + n * MINUTE, minute + (n + 1) * MINUTE) for n in range(15)]

    assert all(begin <= minute for begin in begins[: 1 + AGAIN // MINUTE])
    assert sum(begin <= minute for begin in begins[3:]) >= 1


async def test_the_dashboard_counts_where_nobody_else_does(database: Database) -> None:
    """A job that nobody does is done by who shows its figures; one that was done lately is left alone."""
    crawl, now = await Frontiers(database).crawl(), await this_minute(database)
    await attempts(database, crawl, now - MINUTE)
    jobs = Jobs(database)

    async def counted() -> Any:
        return await minutes(database)

    keeping = asyncio.create_task(keep_minutes(database))
    try:
        await until(counted)
    finally:
        keeping.cancel()
    (job,) = [job for job in await jobs.rows() if job["name"] == MINUTES.name]

    assert job["ran_by"].endswith("-dashboard")
    assert job["next_at"] > job["now"]


async def test_a_partition_tells_its_index_soon(database: Database) -> None:
    """Each partition of the attempts has its BRIN index told of filled ranges, those made later too."""
    now = await this_minute(database)
    await make_partitions(database, now.replace(hour=0, minute=0) + timedelta(days=20), 2)
    found = await rows(
        database,
        "select c.reloptions from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'fetches_at'::regclass",
    )

    assert len(found) >= 3
    assert {tuple(one["reloptions"] or ()) for one in found} == {("autosummarize=on",)}
