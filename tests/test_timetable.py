"""What the clock asks for, job by job, on a real database whose time is moved by changing rows."""

import asyncio
import contextlib
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.jobs import Jobs, Seat
from crawler.adapters.partitions import DAY, HOUR, days_kept, drop_old, make_partitions, roll_up
from crawler.adapters.postgres import Database
from crawler.adapters.recording import Recording
from crawler.adapters.upkeep import FIRST, RobotsRounds, drop_unused_bodies
from crawler.core.errors import DatabaseError, DatabaseUnavailableError
from crawler.core.urls import domain_id
from crawler.upkeep import Job, kept_up, perform, upkeep_jobs
from scheduler.retiming import go_on
from tests.making import Frontiers, blocked, release, row, rows, slow, until, visit

EVERY: Final = {"a": 60.0, "b": 86_400.0}
ROW: Final = "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, bytes, ms, worker) values ($1, 1, $2, $3, $4, $5, $6, 'w')"


async def midnight(database: Database) -> datetime:
    """When this day began, by the database's clock."""
    now: datetime = await database.ask("select now()")
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


async def job(database: Database, name: str) -> Any:
    """The row of a job."""
    return await row(database, "select *, now() as now from jobs where name = $1", name)


async def due(database: Database, *names: str) -> None:
    """These jobs were missed for a long time."""
    await database.ask(
        "update jobs set next_at = now() - interval '3 days' where name = any($1)", list(names)
    )


# --- the lead


async def leads(seat: Seat) -> bool:
    """Whether it has the lead, or can take it."""
    return await seat.claim({}, EVERY) is not None


async def test_one_leads(database: Database) -> None:
    """Of two that want the lead the first has it, until it leaves."""
    first, second = Seat(database, "first"), Seat(database, "second")
    found = [await first.claim(EVERY), await second.claim(EVERY)]
    shown = await Jobs(database).leader()
    await first.leave()
    after = await second.claim(EVERY)
    await second.leave()

    assert [found[0] and sorted(found[0]), found[1]] == [["a", "b"], None]
    assert shown == "first"
    assert after is not None


async def test_who_has_lost_its_session_begins_nothing(database: Database) -> None:
    """A leader whose session was ended meanwhile claims nothing, and stands by when it is back."""
    first, second = Seat(database, "first"), Seat(database, "second")
    await first.claim(EVERY)
    await database.ask(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'first' and datname = current_database()"
    )
    await until(lambda: leads(second))
    await due(database, "a")
    with pytest.raises(DatabaseUnavailableError):
        await first.claim(EVERY)
    again = await first.claim(EVERY)
    both = first.leads, second.leads
    await first.leave()
    await second.leave()

    assert again is None
    assert both == (False, True)
    assert (await job(database, "a"))["next_at"] < (await job(database, "a"))["now"]


async def test_a_silent_leader_loses_the_lead(database: Database) -> None:
    """A leader that says nothing for long, because it is frozen or gone, is not the leader any more."""
    first, second = Seat(database, "first", silence=0.2), Seat(database, "second")
    await first.claim(EVERY)
    await until(lambda: leads(second))
    with pytest.raises(DatabaseError):
        await first.claim(EVERY)
    await second.leave()

    assert not first.leads


async def test_what_was_cut_off_is_due_for_the_next_leader(database: Database) -> None:
    """A job that a leader had begun when it died is begun by the next one at once, and the end of the first counts no more."""
    first, second, jobs = Seat(database, "first"), Seat(database, "second"), Jobs(database)
    await first.claim(EVERY)
    await jobs.end("b", EVERY["b"], "first", 5, failed=False, detail="")
    await first.leave()
    found = await second.claim(EVERY)
    await jobs.end("a", EVERY["a"], "first", 5, failed=False, detail="too late")
    await second.leave()

    assert found == ["a"]
    assert (await job(database, "a"))["result"] is None


# --- the jobs


async def test_what_was_missed_is_done_once(database: Database) -> None:
    """A job that was missed for days is due once; twenty that claim it at once are one that begins it."""
    jobs = Jobs(database)
    await jobs.plan(EVERY)
    await due(database, "a")
    claimed = await asyncio.gather(*(jobs.claim({"a": 60.0}, f"w{n}") for n in range(20)))
    who = next(n for n, one in enumerate(claimed) if one)
    await jobs.end("a", 60.0, f"w{who}", 5, failed=False, detail="")
    after = await jobs.claim({"a": 60.0}, "late")
    found = await job(database, "a")

    assert sum(map(len, claimed)) == 1
    assert after == []
    assert found["next_at"] - found["last_at"] == timedelta(seconds=60)


async def test_a_job_without_an_end_is_due_again(database: Database) -> None:
    """A job that is done once a day and was cut off is due again in ten minutes."""
    jobs = Jobs(database)
    await jobs.plan(EVERY)
    await jobs.claim(EVERY, "w")
    found = await job(database, "b")

    assert found["next_at"] - found["last_at"] == pytest.approx(
        timedelta(minutes=10), abs=timedelta(seconds=1)
    )


async def test_what_failed_says_why(database: Database) -> None:
    """A job that fails raises what it met, its row has a line about it, and it is tried again in a minute."""

    async def fails(_database: Database) -> str:
        raise DatabaseError("no\nluck \x1b[31m")

    one, jobs = Job("b", "", EVERY["b"], fails), Jobs(database)
    await jobs.plan(EVERY)
    await jobs.claim(EVERY, "w")
    with pytest.raises(DatabaseError):
        await perform(one, database, jobs, "w")
    found = await job(database, "b")

    assert (found["result"], found["detail"]) == ("failed", "no luck \ufffd[31m")
    assert timedelta(seconds=50) < found["next_at"] - found["now"] <= timedelta(seconds=60)


async def test_a_run_keeps_up(database: Database) -> None:
    """A run does all of the upkeep that is due, though it has nothing else to do, and does it once."""
    names = [one.name for one in upkeep_jobs(0)]
    async with kept_up(database, 0):
        pass
    first = {one["name"]: (one["result"], one["last_at"]) for one in await Jobs(database).rows()}
    async with kept_up(database, 0):
        pass
    second = {one["name"]: (one["result"], one["last_at"]) for one in await Jobs(database).rows()}

    assert sorted(names) == sorted(first)
    assert {result for result, _ in first.values()} == {"done"}
    assert second == first


async def test_a_run_without_a_database_goes_on(dsn: str) -> None:
    """A run whose database does not answer is not ended by its upkeep."""
    async with await Database.open(dsn.replace("/test_", "/none_")) as nobody, kept_up(nobody, 0):
        said = "done"

    assert said == "done"


# --- fetches, by day and by hour


async def fetches(database: Database, crawl: int, *moments: datetime, outcome: str = "ok") -> None:
    """An attempt of 10 bytes and 2 ms at each of these moments."""
    for moment in moments:
        await database.ask(ROW, moment, crawl, random.randbytes(16), outcome, 10, 2)


async def hours(database: Database) -> dict[datetime, int]:
    """Attempts by hour, as rolled up."""
    found = await rows(database, "select hour, sum(fetches)::int as n from fetch_hours group by 1")
    return {one["hour"]: one["n"] for one in found}


async def test_hours_are_counted_once(database: Database) -> None:
    """Whatever was fetched is counted by its hour, however often and by however many at once; an hour that is not over is not."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    await make_partitions(database, today - 2 * DAY, 5)
    dice = random.Random(6)
    moments = [today - 2 * DAY + timedelta(seconds=dice.uniform(0, 86_400)) for _ in range(200)]
    await fetches(database, crawl, *moments, await database.ask("select now()"))
    for _ in range(2):
        await asyncio.gather(*(roll_up(database) for _ in range(3)))
    expected = Counter(moment.replace(minute=0, second=0, microsecond=0) for moment in moments)
    (sums,) = await rows(database, "select sum(bytes)::int as bytes, sum(ms)::int as ms from fetch_hours")

    assert await hours(database) == expected
    assert (sums["bytes"], sums["ms"]) == (2000, 400)


async def test_what_comes_late_is_counted(database: Database) -> None:
    """What is written after its hour was counted is counted with the next hour, or when its day is dropped."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    old = today - 9 * DAY
    await make_partitions(database, old, 1)
    await fetches(database, crawl, old, old + 5 * HOUR)
    await roll_up(database)
    await fetches(database, crawl, old + 5 * HOUR, old, old + 7 * HOUR)
    await roll_up(database)
    found = await hours(database)
    await drop_old(database, today)

    assert found == {old: 1, old + 5 * HOUR: 2, old + 7 * HOUR: 1}
    assert await hours(database) == {old: 2, old + 5 * HOUR: 2, old + 7 * HOUR: 1}


async def test_nothing_new_is_not_counted_again(database: Database) -> None:
    """With no attempt since the last hour that was counted, nothing is read."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    await fetches(database, crawl, today - DAY)

    assert [await roll_up(database) > 0, await roll_up(database)] == [True, 0]


async def test_a_count_never_shrinks(database: Database) -> None:
    """An hour whose rows are partly gone, with a domain that was forgotten, keeps its count."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    await fetches(database, crawl, today - DAY, today - DAY)
    await roll_up(database)
    await database.ask("delete from fetches where ctid in (select ctid from fetches limit 1)")
    await fetches(database, crawl, today - DAY + HOUR)
    await roll_up(database)

    assert await hours(database) == {today - DAY: 2, today - DAY + HOUR: 1}


async def test_a_crawl_that_is_deleted_meanwhile(database: Database) -> None:
    """Counting waits for a crawl that is being deleted, and leaves nothing of it."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    await fetches(database, crawl, today - DAY)
    async with slow(database) as (_, connection):
        await connection.execute("delete from crawls where crawl_id = $1", crawl)
        counting = asyncio.create_task(roll_up(database))
        await blocked(database)
    await counting

    assert await hours(database) == {}


async def test_old_days_are_dropped_whole(database: Database) -> None:
    """Days that ended before the retention are gone but for their counts, those without a partition too; of a younger day no row is."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    for ago in (40, 32, 31, 30, 1):
        await make_partitions(database, today - ago * DAY, 1)
    moments = [today - ago * DAY + timedelta(hours=13) for ago in (40, 35, 32, 31, 30, 29, 1)]
    await fetches(database, crawl, *moments)
    dropped = await drop_old(database, today - 30 * DAY)
    left = [one["at"] for one in await rows(database, "select at from fetches order by 1")]

    assert (dropped.days, dropped.rows, dropped.busy) == (3, 1, 0)
    assert left == moments[4:]
    assert await hours(database) == dict.fromkeys(moments[:4], 1)
    assert [one.until for one in await days_kept(database)] == [today - 29 * DAY, today]


async def test_retention_of_none_drops_nothing(database: Database) -> None:
    """With a retention of 0 attempts are kept for ever; with one of 30 days, a day that ended 30 days ago is dropped by the job."""
    today = await midnight(database)
    await make_partitions(database, today - 31 * DAY, 1)
    work = {
        kept: next(one for one in upkeep_jobs(kept) if one.name == "partitions")
        for kept in (0.0, 30 * 86_400.0)
    }
    said = [await work[kept].work(database) for kept in (0.0, 30 * 86_400.0, 30 * 86_400.0)]

    assert said == ["3 days made ahead", "3 days made ahead, 1 day dropped", "3 days made ahead"]


async def test_a_day_in_use_is_left(database: Database) -> None:
    """A drop gives up after a second when somebody writes, so that nobody else waits longer; it succeeds the next time."""
    crawl, today = await Frontiers(database).crawl(), await midnight(database)
    await make_partitions(database, today - 31 * DAY, 1)
    loop = asyncio.get_running_loop()
    async with slow(database) as (_, connection):
        await connection.execute(ROW, today, crawl, b"x", "ok", 1, 1)
        dropping = asyncio.create_task(drop_old(database, today - 30 * DAY))
        await blocked(database)
        began = loop.time()
        await fetches(database, crawl, today + HOUR)
        waited = loop.time() - began
        dropped = await dropping
    again = await drop_old(database, today - 30 * DAY)

    assert (dropped.days, dropped.busy) == (0, 1)
    assert waited < 5
    assert (again.days, again.busy) == (1, 0)


async def test_two_drop_at_once(database: Database) -> None:
    """Two that drop the same days at the same time do no harm, nor does one that died between detaching and dropping."""
    today = await midnight(database)
    await make_partitions(database, today - 40 * DAY, 5)
    detached = (await days_kept(database))[0].name
    await database.script(f"alter table fetches detach partition {detached}")
    await asyncio.gather(*(drop_old(database, today - 30 * DAY) for _ in range(3)))
    await drop_old(database, today - 30 * DAY)

    assert await days_kept(database) == []


# --- bodies


async def stored(heart: Frontiers, *names: str) -> list[bytes]:
    """A page with a body of its own on each domain: the digests."""
    await heart.crawl(*(f"https://{name}/" for name in names))
    digests = []
    for name, (turn, urls) in (await heart.take()).items():
        accepted = await heart.accept(name, turn)
        assert accepted is not None
        made = visit(urls[0])
        assert made.digest is not None
        digests.append(made.digest)
        await heart.record([made], [release(name, accepted.turn)])
    return digests


async def aged(database: Database) -> None:
    """Nobody has touched a body for a day."""
    await database.ask("update bodies set touched_at = now() - interval '25 hours'")


async def bodies(database: Database) -> set[bytes]:
    """The digests that there are."""
    return {one["digest"] for one in await rows(database, "select digest from bodies")}


async def test_unused_bodies_are_removed(database: Database) -> None:
    """A body that no page and no version names goes when nobody touched it for a day; all others stay."""
    page, version, unused, young = await stored(Frontiers(database), "a.test", "b.test", "c.test", "d.test")
    await database.ask(
        "insert into versions (domain_id, crawl_id, url_hash, fetched_at, digest) select domain_id, crawl_id, url_hash, now(), digest "
        "from pages where digest = $1",
        version,
    )
    await database.ask("delete from pages where digest = any($1)", [version, unused, young])
    await aged(database)
    await database.ask("update bodies set touched_at = now() - interval '23 hours' where digest = $1", young)
    dropped = await drop_unused_bodies(database)

    assert dropped == 1
    assert await bodies(database) == {page, version, young}


@pytest.mark.parametrize("first", ["recorder", "upkeep"])
async def test_a_body_taken_meanwhile_stays(database: Database, first: str) -> None:
    """A body that a page takes in the moment of its removal is there afterwards, whoever comes first."""
    heart = Frontiers(database)
    (digest,) = await stored(heart, "a.test")
    await database.ask("update pages set digest = null")
    await aged(database)
    async with slow(database) as (session, _):
        if first == "recorder":
            await session.fetch("record_bodies", [digest], [5], [b"again"])
            await session.fetch("look_up_all")
            other: asyncio.Task[Any] = asyncio.create_task(drop_unused_bodies(database))
            await blocked(database)
            await session.fetch("scan_freely")
        else:
            await session.fetch("bodies_lock", [digest])
            other = asyncio.create_task(database.fetch("record_bodies", [digest], [5], [b"again"]))
            await blocked(database)
            await session.fetch("bodies_unused_drop", [digest])
    await other

    assert await bodies(database) == {digest}


async def test_no_page_ever_lacks_its_body(database: Database) -> None:
    """Pages take and leave the same few bodies while these are removed again and again: none that is named is ever missing."""
    heart = Frontiers(database)
    names = [f"site{n}.test" for n in range(4)]
    crawl = await heart.crawl(*(f"https://{name}/" for name in names))
    found = await heart.take()
    common = [visit(found[name][1][0]) for name in names]
    over = asyncio.Event()

    async def records(nth: int) -> int:
        dice, recording, done = random.Random(nth), Recording(database, f"w{nth}", nth), 0
        while not over.is_set():
            own, body = found[names[nth]][1][0], dice.choice(common)
            made = visit(own, digest=body.digest, compressed=body.compressed)
            await recording.record([made], [], frozenset(), lambda r: r.rest_until)
            done += 1
        return done

    async def removes() -> int:
        gone = rounds = 0
        while rounds < 60 or not gone:
            rounds += 1
            await aged(database)
            gone += await drop_unused_bodies(database)
            lacking = await database.ask(
                "select count(*) from pages p where digest is not null and not exists (select from bodies b where b.digest = p.digest)"
            )
            assert lacking == 0
        return gone

    async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
        recorders = [tasks.create_task(records(nth)) for nth in range(3)]
        with contextlib.ExitStack() as end:
            end.callback(over.set)
            gone = await removes()

    assert gone > 0
    assert min(task.result() for task in recorders) > 0
    assert crawl > 0


# --- robots.txt


async def worlds(database: Database) -> dict[str, int]:
    """Domains with a robots.txt that expired, each for another reason visited soon, later or never: their numbers."""
    heart = Frontiers(database)
    await database.ask(
        "insert into workers (worker_id, host, boot, pid, version, slots) values ('w', 'h', '', 1, '0', 1)"
    )
    names = ("refused", "later", "soon", "blocked", "fresh", "finished", "off", "resting")
    numbers = {name: domain_id(f"{name}.test") for name in names}
    crawl = await heart.crawl(*(f"https://{name}.test/" for name in names if name not in {"finished", "off"}))
    off = await heart.crawl("https://off.test/", name="off")
    done = await heart.crawl("https://finished.test/", name="done")
    await database.ask("update crawls set refresh = 'adaptive' where crawl_id = any($1)", [crawl, done])
    await database.ask("update crawls set state = 'finished' where crawl_id = $1", done)
    await database.ask("update urls set due_at = now() + interval '7 days', outcome = 'ok', open = false")
    await database.ask(
        "update urls set due_at = null, outcome = 'robots_refused' where domain_id = $1", numbers["refused"]
    )
    await database.ask("insert into crawl_counts values ($1, 1, 'robots_refused', 1, 0, 0)", crawl)
    await database.ask(
        "update domains set due_at = (select min(due_at) from urls u where u.domain_id = domains.domain_id)"
    )
    await database.ask("update domains set due_at = now() where name = 'soon.test'")
    await database.ask("update domains set blocked = 'by hand' where name = 'blocked.test'")
    await database.ask("update domains set ready_at = now() + interval '1 h' where name = 'resting.test'")
    await database.ask(
        "insert into origins (domain_id, origin, status, fetched_at, expires_at) "
        "select domain_id, 'https://' || name, 200, now() - interval '25 h', now() - interval '1 h' from domains"
    )
    await database.ask(
        "update origins set expires_at = now() + interval '1 h' where domain_id = $1", numbers["fresh"]
    )
    assert off > 0
    return numbers


async def wished(database: Database) -> set[int]:
    """The domains whose robots.txt is wished for."""
    return {
        one["domain_id"]
        for one in await rows(database, "select domain_id from origins where expires_at = 'epoch'")
    }


async def test_robots_where_nobody_visits(database: Database) -> None:
    """Asked for are robots.txt that expired where a running crawl was refused or comes back later, not where a visit asks by itself."""
    numbers = await worlds(database)
    heard: list[str] = []
    listening = asyncio.create_task(
        database.listen(["domain_changed"], lambda _, payload: heard.append(payload))
    )
    await until(lambda: asyncio.sleep(0, heard))
    found = await RobotsRounds(database, most=100, looked_at=100).step()
    expected = {numbers["refused"], numbers["later"]}
    await until(lambda: asyncio.sleep(0, len(heard) > 2))
    listening.cancel()

    assert found == 2
    assert await wished(database) == expected
    assert {int(one) for one in heard if one} == expected


async def test_robots_first_where_nobody_comes(database: Database) -> None:
    """Of more than a step may ask for, those go first that nobody visits."""
    numbers = await worlds(database)

    assert await RobotsRounds(database, most=1, looked_at=100).step() == 1
    assert await wished(database) == {numbers["refused"]}


async def test_robots_rounds(database: Database) -> None:
    """Step by step every domain is looked at, and then the first again."""
    numbers = await worlds(database)
    rounds = RobotsRounds(database, most=1, looked_at=3)
    steps = [await rounds.step() for _ in range(3)]

    assert sum(steps) == 2
    assert await wished(database) == {numbers["refused"], numbers["later"]}
    assert rounds.after == FIRST


async def test_robots_with_nobody_at_work(database: Database) -> None:
    """With nobody at work nothing is wished, for nobody would hear of it."""
    await worlds(database)
    await database.ask("delete from workers")

    assert await RobotsRounds(database, most=100, looked_at=100).step() == 0
    assert await wished(database) == set()


# --- refresh rules


async def test_a_retiming_is_brought_to_its_end(database: Database) -> None:
    """What is left of the retiming of several crawls is done, also by two at once; a crawl that has none is left alone."""
    heart = Frontiers(database)
    for name in ("a", "b", "c"):
        await heart.crawl(*(f"https://{name}{n}.test/" for n in range(5)), name=name)
    await database.ask("update urls set due_at = null, open = false, outcome = 'ok'")
    await database.ask(
        "update crawls set retime = -9223372036854775808, retime_now = true, retime_at = now(), refresh = '7d' where name <> 'c'"
    )
    said = await asyncio.gather(go_on(database), go_on(database))
    sql = "select c.name, count(u.due_at) as due from crawls c join urls u using (crawl_id) where c.retime is null group by 1"

    assert {one["name"]: one["due"] for one in await rows(database, sql)} == {"a": 5, "b": 5, "c": 0}
    assert any(one.endswith(" of 2 crawls moved") for one in said)
    assert await go_on(database) == "nothing to go on with"


# --- what is shown


async def test_rules_shown(database: Database) -> None:
    """Of each crawl it is told how many URLs are due, up to a thousand, and when the next one is."""
    heart = Frontiers(database)
    few = await heart.crawl("https://a.test/", "https://b.test/1", "https://b.test/2", name="few")
    many = await heart.crawl(*(f"https://b.test/{n}" for n in range(1100)), name="many")
    await heart.crawl("https://c.test/", name="later")
    tomorrow = datetime.now(UTC).replace(microsecond=0) + DAY
    await database.ask("update urls set due_at = $1 where url like 'https://c%'", tomorrow)
    await database.ask("update domains set due_at = $1 where name = 'c.test'", tomorrow)
    await database.ask("update crawls set state = 'paused' where name = 'few'")
    paused = {one["name"]: one for one in await Jobs(database).rules()}
    await database.ask("update crawls set state = 'running'")
    found = {one["name"]: (one["due"], one["cut"], one["next_at"]) for one in await Jobs(database).rules()}

    assert (paused["few"]["due"], paused["few"]["next_at"]) == (0, None)
    assert found == {"few": (3, False, None), "many": (1001, False, None), "later": (0, False, tomorrow)}
    assert few < many
