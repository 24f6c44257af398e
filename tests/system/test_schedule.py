"""Schedulers as programs of their own: who leads, what happens when the leader dies, and what `crawl schedule` says of it all.

Time is moved by changing rows: what counts is `jobs.next_at`.
"""

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.adapters.jobs import Jobs
from crawler.adapters.partitions import DAY, days_kept, make_partitions
from crawler.adapters.postgres import Database
from crawler.core.urls import domain_id
from crawler.demo.language import page, robots
from crawler.demo.server import serving
from crawler.opening import opened
from crawler.settings import Settings
from tests.making import blocked, rows, slow
from tests.system.machines import ROOT, Machines, machines, until
from tests.system.program import Program
from tests.system.told import Terminal

pytestmark = pytest.mark.xdist_group("schedulers")  # each wants the machine to itself

SECONDS: Final = 10.0
"""Within so many another leads, on a busy machine; mostly it is one."""
ALL: Final = {"refresh", "robots", "partitions", "counters", "minutes", "bodies", "workers", "search"}
COUNT_RUNS: Final = """
create table runs (name text, ran_by text, at timestamptz);
create function run_began() returns trigger language plpgsql as $$ begin
  insert into runs values (new.name, new.ran_by, new.last_at); return null; end $$;
create trigger run_began after update of last_at on jobs for each row when (old.last_at is distinct from new.last_at)
  execute function run_began();
"""


class Hall:
    """The schedulers of one database."""

    def __init__(self, dsn: str, database: Database, folder: Path) -> None:
        self.dsn, self.database, self.folder = dsn, database, folder
        self.jobs = Jobs(database)
        self.alive: dict[int, asyncio.subprocess.Process] = {}

    async def start(self, **settings: str) -> int:
        """Start one: its process number, once it has signed in."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        given = {"DATABASE_URL": self.dsn, **settings}
        with (self.folder / "said").open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "crawler", "--debug", "scheduler", cwd=ROOT,
                env=own | {f"CRAWL_{name}": value for name, value in given.items()},
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
        self.alive[process.pid] = process

        async def here() -> bool:
            found = {one["pid"] for one in await self.jobs.schedulers()}
            return process.pid in found

        await until(here, "the scheduler has signed in")
        return process.pid

    async def leader(self) -> int | None:
        """The process that leads."""
        name = await self.jobs.leader()
        return None if name is None else int(name.split("-")[-2])

    async def leads(self, *, but: int | None = None) -> int:
        """The process that leads, once there is one, *but* another one than this."""

        async def other() -> bool:
            return await self.leader() not in {None, but}

        await until(other, "another leads", SECONDS * 3)
        found = await self.leader()
        assert found is not None
        return found

    async def end(self, pid: int, number: int = signal.SIGTERM) -> int:
        """Send it a signal: its exit status."""
        process = self.alive.pop(pid)
        process.send_signal(number)
        async with asyncio.timeout(60):
            return await process.wait()

    async def missed(self, *names: str) -> None:
        """These jobs were missed for three days."""
        await self.database.ask(
            "update jobs set next_at = clock_timestamp() - interval '3 days' where name = any($1)",
            list(names),
        )

    async def done(self, *names: str) -> dict[str, Any]:
        """The rows of these jobs, once they are all done and none of them is due."""
        found: dict[str, Any] = {}

        async def all_done() -> bool:
            found.update({one["name"]: one for one in await self.jobs.rows()})
            return all(
                (one := found.get(name)) and one["result"] and one["next_at"] > one["now"] for name in names
            )

        await until(all_done, f"{names} are done")
        return {name: found[name] for name in names}


@pytest.fixture
async def hall(dsn: str, database: Database, tmp_path: Path) -> AsyncIterator[Hall]:
    """No scheduler yet; those that are left at the end are killed."""
    found = Hall(dsn, database, tmp_path)
    yield found
    for pid in list(found.alive):
        await found.end(pid, signal.SIGKILL)


async def runs(hall: Hall) -> Counter[str]:
    """How often each job was begun since COUNT_RUNS."""
    return Counter(one["name"] for one in await rows(hall.database, "select name from runs"))


async def test_another_leads_when_the_leader_is_killed(hall: Hall) -> None:
    """When the leader is killed another leads within seconds, and does what is due; what the first had begun is done again."""
    one, two = await hall.start(), await hall.start()
    first = await hall.leads()
    await hall.done(*ALL)
    began = time.monotonic()
    await hall.end(first, signal.SIGKILL)
    second = await hall.leads(but=first)
    took = time.monotonic() - began
    await hall.missed("bodies", "workers")
    found = await hall.done("bodies", "workers")
    await hall.database.ask(
        "update jobs set result = null, next_at = clock_timestamp() + interval '1 day' where name = 'bodies'"
    )
    third = await hall.start()
    await hall.end(second, signal.SIGKILL)
    await hall.leads(but=second)
    again = await hall.done("bodies")
    status = await hall.end(third)

    assert {first, second} == {one, two}
    assert took < SECONDS
    assert {f"-{second}-" in row["ran_by"] for row in found.values()} == {True}
    assert f"-{third}-" in again["bodies"]["ran_by"]
    assert status == 0


async def test_a_leader_without_its_session_runs_nothing(hall: Hall) -> None:
    """When the server ends the leader's session another leads within seconds; the former lives on and begins nothing more."""
    await hall.start()
    first = await hall.leads()
    await hall.done(*ALL)
    await hall.start()
    await hall.database.script(COUNT_RUNS)
    end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = $1"
    took = []
    while True:  # until it is the other one: the first may be back sooner
        began = time.monotonic()
        await hall.database.ask(end, await hall.jobs.leader())
        second = await hall.leads()
        took.append(time.monotonic() - began)
        if second != first:
            break
    await hall.database.ask("delete from runs")
    await hall.missed(*ALL)
    await hall.done(*ALL)
    await hall.missed("workers")
    await hall.done("workers")
    by = {one["ran_by"] for one in await rows(hall.database, "select ran_by from runs")}
    lead = await hall.leader()

    assert max(took) < SECONDS
    assert len(by) == 1
    assert f"-{second}-" in by.pop()
    assert lead == second
    assert {process.returncode for process in hall.alive.values()} == {None}


async def test_a_frozen_leader_is_none(hall: Hall) -> None:
    """When the leader stands still its session ends after a quarter of a minute; awake again it begins nothing."""
    await hall.start()
    first = await hall.leads()
    await hall.done(*ALL)
    second = await hall.start()
    await hall.database.script(COUNT_RUNS)
    began = time.monotonic()
    hall.alive[first].send_signal(signal.SIGSTOP)
    lead = await hall.leads(but=first)
    took = time.monotonic() - began
    await hall.missed("workers")
    await hall.done("workers")
    hall.alive[first].send_signal(signal.SIGCONT)
    await hall.missed(*ALL)
    await hall.done(*ALL)
    by = {
        one["ran_by"] for one in await rows(hall.database, "select ran_by from runs where name <> 'refresh'")
    }

    assert lead == second
    assert 10 < took < 15 + SECONDS
    assert len(by) == 1
    assert f"-{second}-" in by.pop()


async def test_what_was_missed_is_done_once(hall: Hall) -> None:
    """Jobs that nobody did for days are done once when schedulers are back, however many of these there are."""
    await hall.start()
    await hall.done(*ALL)
    for pid in list(hall.alive):
        await hall.end(pid)
    await hall.missed(*ALL)
    await hall.database.script(COUNT_RUNS)
    await asyncio.gather(*(hall.start() for _ in range(3)))
    found = await hall.done(*ALL)
    often = await runs(hall)

    assert {often[name] for name in ALL - {"refresh"}} == {1}
    assert found["bodies"]["next_at"] - found["bodies"]["last_at"] == timedelta(days=1)


async def test_a_long_job_keeps_nobody_from_stopping(hall: Hall) -> None:
    """A scheduler that is told to stop gives its jobs ten seconds, and the next leader does again what was cut off."""
    first = await hall.start()
    await hall.leads()
    await hall.done(*ALL)
    async with slow(hall.database) as (_, connection):
        await connection.execute("lock table bodies in access exclusive mode")
        await hall.missed("bodies")
        await blocked(hall.database)
        began = time.monotonic()
        status = await hall.end(first)
        took = time.monotonic() - began
    second = await hall.start()
    found = await hall.done("bodies")

    assert status == 0
    assert took < 10 + SECONDS
    assert f"-{second}-" in found["bodies"]["ran_by"]
    assert found["bodies"]["result"] == "done"


async def test_old_days_go_by_the_clock(hall: Hall) -> None:
    """A scheduler drops the day partitions that are older than `fetches_kept`, and keeps their counts."""
    now = await hall.database.ask("select now()")
    old = now.replace(hour=0, minute=0, second=0, microsecond=0) - 10 * DAY
    await make_partitions(hall.database, old, 4)
    await hall.database.ask("insert into crawls (name, scope) values ('old', 'any')")
    await hall.database.ask(
        "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, worker) select $1, 1, crawl_id, 'x', 'ok', 'w' from crawls",
        old,
    )
    await hall.start(FETCHES_KEPT="8d")
    found = await hall.done("partitions")
    left = [one.until for one in await days_kept(hall.database)]

    assert found["partitions"]["detail"] == "3 days made ahead, 2 days dropped"
    assert left[:2] == [old + 3 * DAY, old + 4 * DAY]
    assert await hall.database.ask("select sum(fetches)::int from fetch_hours") == 1


# --- what is shown


def terminal(words: list[str], environment: dict[str, str]) -> str:
    """What a program writes on a terminal of 80 columns."""
    end, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "crawler", *words], cwd=ROOT, env={**environment, "COLUMNS": "80", "TERM": "dumb"},
        stdin=subprocess.DEVNULL, stdout=inner, stderr=inner,
    ):  # fmt: skip
        os.close(inner)
        said = b""
        with contextlib.suppress(OSError):
            while data := os.read(end, 65_536):
                said += data
    os.close(end)
    return said.decode().replace("\r", "")


async def test_what_is_said_of_schedulers(hall: Hall) -> None:
    """`crawl schedule` says that none ever ran, who leads, and since when none is alive, with what to do."""
    crawl = Terminal(hall.dsn)
    never = await crawl("schedule")
    first = await hall.start()
    await hall.leads()
    await hall.done(*ALL)
    await hall.start()
    alive = await crawl("schedule", "--json")
    said = await crawl("schedule")
    for pid in list(hall.alive):
        await hall.end(pid, signal.SIGKILL)
    await hall.database.ask("update workers set seen_at = seen_at - interval '2 hours'")
    await hall.database.ask("update jobs set last_at = last_at - interval '3 hours'")
    dead = await crawl("schedule")

    assert "none has ever run here: start one with `crawl scheduler`" in never.out
    assert f"-{first}-" in alive.json["leader"]
    assert [one["alive"] for one in alive.json["schedulers"]] == [True, True]
    assert {one["name"] for one in alive.json["jobs"]} == ALL | {"dispatch", "presence"}
    assert {one["result"] for one in alive.json["jobs"] if one["of"] == "the leader"} == {"done"}
    assert "leads, 1 more stands by" in said.out
    assert "none is alive, the last one was seen" in dead.out
    assert "2 h ago: start one" in " ".join(dead.out.split())
    assert {never.status, said.status, dead.status} == {0}


async def test_a_failed_job_says_why(hall: Hall) -> None:
    """The row of a job that failed has the reason in a line, as has `crawl schedule`; the others go on."""
    await hall.database.script("alter table bodies rename to elsewhere")
    await hall.start()
    await hall.done(*ALL)
    said = await Terminal(hall.dsn)("schedule")
    line = next(line for line in said.out.splitlines() if line.startswith("bodies "))

    assert "failed: " in line
    assert "bodies" in line.partition("failed: ")[2]


async def test_it_fits_a_terminal(hall: Hall) -> None:
    """On a terminal of 80 columns no line is longer."""
    crawl = Terminal(hall.dsn)
    await crawl("seed", "a-crawl-with-a-rather-long-name", "https://example.com/", "https://example.org/")
    await hall.start()
    await hall.done(*ALL)
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    said = await asyncio.to_thread(terminal, ["schedule"], own | {"CRAWL_DATABASE_URL": hall.dsn})
    plain = (await crawl("schedule")).out

    assert max(map(len, said.splitlines())) <= 80
    assert "a-crawl-with-a-rather-long-name" in said
    assert len(plain.splitlines()) <= len(said.splitlines())


# --- with workers, and without a scheduler


async def test_robots_of_whom_nobody_visits(dsn: str, tmp_path: Path) -> None:
    """A site that disallowed everything, and so is never visited, is crawled once its robots.txt has expired and allows it."""
    site = {"/robots.txt": robots("/"), "/": page("start")}
    with serving({"site.test": site}) as web:
        async with machines(web, dsn, tmp_path, None) as hall, clock(hall) as schedulers:
            await hall.seed("all", [web.url("site.test")])
            await hall.database.ask("update crawls set refresh = 'off'")
            worker = hall.start()
            await hall.here(worker)
            await hall.until_done("all", "it was refused")
            # As if another URL waited: a crawl that is finished is left alone.
            await hall.database.ask("update crawls set state = 'running', finished_at = null")
            await schedulers.done(*ALL)
            site["/robots.txt"] = robots("/private/")
            asked = len([one for one in web.log if one.path == "/robots.txt"])
            await hall.database.ask(
                "update origins set expires_at = now() - interval '1 h', fetched_at = now() - interval '25 h'"
            )
            await schedulers.missed("robots")
            await until(lambda: stored(hall), "the page is stored")
            often = len([one for one in web.log if one.path == "/robots.txt"]) - asked
            await hall.dismiss()

    assert often == 1


async def stored(hall: Machines) -> bool:
    """Whether the page is."""
    return await hall.pages("all") == 1


@contextlib.asynccontextmanager
async def clock(hall: Machines) -> AsyncIterator[Hall]:
    """A scheduler beside these machines."""
    found = Hall(hall.dsn, hall.database, hall.folder)
    await found.start()
    try:
        yield found
    finally:
        for pid in list(found.alive):
            await found.end(pid, signal.SIGKILL)


async def test_a_run_does_what_is_due(tmp_path: Path) -> None:
    """On one machine `crawl run` does the upkeep that is due, also when it has nothing else to do, and `crawl schedule` shows it."""
    here = Program(tmp_path / "data", {"ALLOW_NETS": "127.0.0.0/8", "DELAY": "10ms"})
    nothing = await asyncio.to_thread(here.run, "schedule")
    with serving({"site.test": {"/robots.txt": robots("/private/"), "/": page("start")}}) as web:
        web.hosts_file(tmp_path)
        there = Program(here.data, {**here.settings, "HOSTS_FILE": str(tmp_path / "hosts")})
        url = web.url("site.test")
        await asyncio.to_thread(there.crawl, url)
        async with opened(Settings(data=here.data)) as place:
            now = await place.database.ask("select now()")
            old = now.replace(hour=0, minute=0, second=0, microsecond=0) - 40 * DAY
            await make_partitions(place.database, old, 1)
            await place.database.ask("update jobs set next_at = 'epoch' where name = 'partitions'")
            domain = await place.database.ask("select domain_id from domains")
        await asyncio.to_thread(there.crawl, url)
        async with opened(Settings(data=here.data)) as place:
            left = [one.until for one in await days_kept(place.database)]
    shown = json.loads(await asyncio.to_thread(here.run, "schedule", "--json"))
    said = await asyncio.to_thread(here.run, "schedule")
    details = {one["name"]: one.get("detail") for one in shown["jobs"]}

    assert nothing == "no crawl here yet: begin with `crawl run URL`\n"
    assert old + DAY not in left
    assert details["partitions"] == "3 days made ahead, 1 day dropped"
    assert details["robots"] is None
    assert "none runs, and none is needed" in said
    assert domain == domain_id("site.test")
