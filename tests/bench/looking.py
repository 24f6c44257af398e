"""What the dashboard and the API ask, with ten million URLs in the frontier: is each answer there in a tenth of a second?

    a frontier of so many URLs ──► crawls that have visited a part of it ──► three days of attempts, a thousand a second in the last minutes
      ──► rolled up ──► each question ten times: median and worst

1. Everything is asked as the dashboard asks it, by the functions that answer the API, and past their caches.
2. The first answer, of a session that has read nothing yet, counts as the others do.
3. The worst of ten counts; where more is at work than there are processors, the median does, and what waited is told.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import asyncpg

from crawler.adapters.looking import Looking
from crawler.adapters.minutes import count_minutes
from crawler.adapters.partitions import make_partitions, roll_up
from crawler.adapters.postgres import QUERIES, Database
from crawler.adapters.queue import PostgresQueue
from crawler.dashboard.desk import Desk
from crawler.dashboard.domain_facts import domain_full, domain_tops
from crawler.dashboard.error_facts import errors
from crawler.dashboard.fresh import Fresh
from crawler.dashboard.overview import overview, rate, workers
from crawler.dashboard.search import pages
from crawler.dashboard.timeline import series
from crawler.opening import Opened
from crawler.settings import load
from tests.bench.frontiers import Plan, fill
from tests.bench.ground import server
from tests.bench.measuring import (
    Table,
    amount,
    conclude,
    load_average,
    middle,
    note,
    processor_time,
    say,
)

Question: TypeAlias = Callable[[Desk], Awaitable[Any]]

LIMIT: Final = 0.100
TIMES: Final = 10
EACH: Final = 50
"""URLs of a domain."""
VISITED: Final = 5
"""One URL in so many was visited."""
CRAWLS: Final = ("bench", "second", "third")
OUTCOMES: Final = "array['ok','ok','ok','ok','ok','ok','not_modified','redirect','gone','http_error','timeout','robots_refused']"

VISITS: Final = f"""
insert into crawls (name, scope) values ('second', 'any'), ('third', 'any');
create temp table chosen as
  select domain_id, crawl_id, url_hash, n, case when n % 5000 = 0 then 'dns_error' else ({OUTCOMES})[1 + n % 12] end as outcome from (
    select d.domain_id, (select crawl_id from crawls where name = 'second') + (n % 2) as crawl_id,
      decode(md5(n::text), 'hex') as url_hash, n
    from (select n, 1 + n % (select count(*) from domains) as r from generate_series(1, $1::int) n) g
    join (select domain_id, row_number() over (order by name) as r from domains) d using (r)) x;
"""
URLS: Final = """
insert into urls (domain_id, crawl_id, url_hash, url, due_at, open, depth, outcome)
select domain_id, crawl_id, url_hash, 'https://x.example/p/' || n, case when outcome = 'ok' then now() + n * interval '1 s' end, false, 1,
  outcome from chosen
"""
PAGES: Final = """
insert into pages (domain_id, crawl_id, url_hash, first_at, fetched_at, outcome, status, title, content_type, length)
select domain_id, crawl_id, url_hash, now(), now() - (1 + n % 4000) * interval '1 min', outcome, 200, 'page ' || n, 'text/html', 5000
from chosen where outcome <> 'dns_error'
"""
COUNTS: Final = """
insert into crawl_counts (crawl_id, slot, outcome, urls, fetches, bytes)
select crawl_id, slot, outcome, count(*) / 64, count(*) / 64, 5000 * count(*) / 64 from chosen, generate_series(1, 64) slot group by 1, 2, 3
"""
PER_DOMAIN: Final = "insert into domain_pages (domain_id, crawl_id, pages) select domain_id, crawl_id, count(*) from chosen group by 1, 2"
ATTEMPTS: Final = """
insert into fetches (at, domain_id, crawl_id, url_hash, outcome, status, bytes, ms, worker, detail)
select c.at, c.domain_id, c.crawl_id, c.url_hash, c.outcome, 200, 5000, 20 + c.n % 500, 'w', ''
from (select *, $1::timestamptz + (n::float8 / $3) * ($2::timestamptz - $1::timestamptz) as at from chosen where n <= $3) c order by at
"""
BUSY: Final = """
update domains set holder = case when r <= 400 then 'w' || r % 4 else 'queue' end, ready_at = now() + interval '1 hour'
from (select domain_id, row_number() over (order by domain_id) as r from domains limit 4000) x where x.domain_id = domains.domain_id;
update domains set ready_at = now() + r * interval '1 ms'
from (select domain_id, row_number() over (order by name) as r from domains limit 30000) x
where x.domain_id = domains.domain_id and holder is null;
insert into workers (worker_id, host, boot, pid, version, slots) select 'w' || n, 'h', '', n, '1', 200 from generate_series(0, 3) n
"""
CHOSEN: Final = """
create temp table chosen as select domain_id, crawl_id, url_hash, outcome, substring(url from '[0-9]+$')::int as n from urls
where crawl_id in (select crawl_id from crawls where name in ('second', 'third'))
"""
"""As VISITS has it, in another session."""
SAID: Final = """
update workers set seen_at = now(), vitals = '{"seconds": 10, "pages": 200, "fetches": 250, "turns": 190, "resting": 150}'
"""
STEPS: Final = (VISITS, URLS, PAGES, COUNTS, PER_DOMAIN)
AFTER: Final = ("urls", "pages", "fetches", "domains", "domain_pages", "crawl_counts")
MINUTES: Final = 16
WATCHED: Final = 15
LOOKS: Final = 2.0
A_MINUTE: Final = 60_000
"""Attempts."""


async def make(dsn: str, urls: int) -> None:
    """A frontier with so many URLs, and what crawls left behind that visited a part of it."""
    visited = urls // VISITED
    await fill(dsn, Plan((urls - visited) // EACH, EACH, 80, 1.0, robots_known=True))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    async with await Database.open(dsn) as database:
        await make_partitions(database, today - timedelta(days=3), 5)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set work_mem = '256MB'; set synchronous_commit = off")
        for step in STEPS:
            await connection.execute(step.replace("$1::int", str(visited)))
        now = datetime.now(UTC)
        await connection.execute(ATTEMPTS, now - timedelta(days=3), now - timedelta(minutes=MINUTES), visited)
        await connection.execute(BUSY)
    finally:
        await connection.close()
    note("three days of attempts are there")


async def freshen(dsn: str) -> None:
    """A thousand attempts a second, until now; then all is counted that can be, and autovacuum has been there."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set synchronous_commit = off")
        if await connection.fetchval("select to_regclass('pg_temp.chosen')") is None:
            await connection.execute(CHOSEN)
        now = datetime.now(UTC)
        for ago in reversed(range(MINUTES)):
            begins = now - timedelta(minutes=ago + 1)
            await connection.execute(ATTEMPTS, begins, begins + timedelta(minutes=1), A_MINUTE)
        for table in AFTER:
            await connection.execute(f"vacuum (analyze) {table}")
        await connection.execute("update workers set seen_at = now()")
        await connection.execute("checkpoint")
    finally:
        await connection.close()
    async with await Database.open(dsn) as database:
        await count_minutes(database)
        await roll_up(database)
    note("the last minutes are there, and counted")


@asynccontextmanager
async def desk_at(dsn: str) -> AsyncIterator[Desk]:
    """A desk as the dashboard has it."""

    async def leave() -> None:
        return

    settings = load(overrides={}, environ={"CRAWL_WORKER_PRICE": "0.05 EUR"}).settings
    async with await Database.open(dsn, size=1) as database:  # one: its cost is told
        place = Opened(dsn, "the bench", "", leave, database)
        yield Desk(settings, place, PostgresQueue(database), "PostgreSQL", ())


async def questions(desk: Desk) -> dict[str, Question]:
    """All that is asked."""
    now = await desk.database.ask("select now()")
    name = await desk.database.ask("select name from domains order by name limit 1")
    look = Looking(desk.database)
    day, minute = timedelta(days=1), timedelta(minutes=1)
    first = await pages(desk, crawl="second", outcome="ok")

    return {
        "overview, all of it": overview,
        "  frontier": lambda _: look.frontier(),
        "  longest ready": lambda _: look.oldest_due(),
        "  URLs by outcome": lambda _: look.urls_by_outcome(),
        "  crawls by state": lambda _: look.crawl_states(),
        "  size of the database": lambda _: look.database_bytes(),
        "  speed, as workers say": rate,
        "  speed, counted": lambda _: look.recent(15),
        "  the last hour": lambda d: series(d, since=now - 60 * minute, until=now, step=60),
        "series: two days by 10 minutes": lambda d: series(d, since=now - 2 * day, until=now, step=600),
        "series: sixteen hours by minute": lambda d: series(d, since=now - 960 * minute, until=now, step=60),
        "series: a day of one crawl": lambda d: series(
            d, since=now - day, until=now, step=600, crawl="third"
        ),
        "series: a month by the hour": lambda d: series(d, since=now - 30 * day, until=now, step=3600),
        "workers": workers,
        "crawls": lambda d: d.database.fetch("crawls_counted"),
        "domain tops": domain_tops,
        "one domain": lambda d: domain_full(d, name),
        "errors": errors,
        "errors of one outcome, rare": lambda d: errors(d, outcome="dns_error"),
        "errors of one crawl": lambda d: errors(d, crawl="second", outcome="timeout"),
        "errors there are none of": lambda d: errors(d, outcome="tls_error"),
        "search: nothing given": pages,
        "search: a crawl": lambda d: pages(d, crawl="bench"),
        "search: a crawl and an outcome": lambda d: pages(d, crawl="second", outcome="ok"),
        "search: the same, the next page": lambda d: pages(d, crawl="second", outcome="ok", after=first.next),
        "search: a crawl and a rare outcome": lambda d: pages(d, crawl="second", outcome="dns_error"),
        "search: an outcome a crawl has none of": lambda d: pages(d, crawl="bench", outcome="timeout"),
        "search: a crawl, not visited": lambda d: pages(d, crawl="bench", outcome="unvisited"),
        "search: an outcome": lambda d: pages(d, outcome="gone"),
        "search: a rare outcome": lambda d: pages(d, outcome="dns_error"),
        "search: a domain": lambda d: pages(d, domain=name),
        "search: a domain, an outcome, a time": lambda d: pages(
            d, domain=name, outcome="ok", since=now - 3 * day
        ),
        "search: an hour, a day ago": lambda d: pages(d, since=now - day - 60 * minute, until=now - day),
        "search: a rare outcome, 2.5 days ago": lambda d: pages(
            d, outcome="dns_error", until=now - 2.5 * day
        ),
    }


async def ask(desk: Desk, backend: int | None) -> bool:
    """Ask everything, and print how long it took; True: nothing took too long. *backend*: the one that answers, if it is here."""
    table, good = Table(["question", "median ms", "worst ms", "processor ms", ""]), True
    for name, question in (await questions(desk)).items():
        took, before = [], spent(backend)
        for _ in range(TIMES):
            desk.fresh = Fresh()
            began = time.perf_counter()
            await question(desk)
            took.append(time.perf_counter() - began)
        told = verdict_on(took)
        good &= told != "FAIL"
        each = "" if backend is None else f"{(spent(backend) - before) / TIMES * 1000:.1f}"
        row = [name, f"{middle(took) * 1000:.1f}", f"{max(took) * 1000:.1f}", each, told]
        table.rows.append(row)
    say(str(table))
    say(f"processor ms: PostgreSQL's and ours together; the others count waiting, too; {load_average()}")
    return good


def verdict_on(took: list[float]) -> str:
    """Whether that was too long; on a machine that is busy with other things one answer may have waited for its turn."""
    if max(took) <= LIMIT:
        return ""
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    return "waited" if busy and middle(took) <= LIMIT else "FAIL"


async def watch(desk: Desk, backend: int) -> None:
    """What it costs to have the overview open, which asks anew every two seconds."""
    before = spent(backend)
    for _ in range(WATCHED):
        await overview(desk)
        await asyncio.sleep(LOOKS)
    each = (spent(backend) - before) / (WATCHED * LOOKS) * 1000
    say(
        f"with the overview open, PostgreSQL and we use {each:.0f} ms of processor time a second, the attempts that come in not counted"
    )


def spent(backend: int | None) -> float:
    """Processor time of this process and of that one, so far."""
    return time.process_time() + (0.0 if backend is None else processor_time(backend))


async def asked_while_fed(desk: Desk, pid: int | None) -> bool:
    """Ask while attempts come in, a minute and a half after they began to: then what is not counted yet is as much as it ever is."""
    await cost(desk, pid)
    feeding = asyncio.create_task(feed(desk.database.dsn))
    try:
        await asyncio.sleep(100)
        backend = await desk.database.ask("select pg_backend_pid()")
        if pid is None:
            return await ask(desk, None)
        good = await ask(desk, backend)
        await watch(desk, backend)
        return good
    finally:
        feeding.cancel()
        await asyncio.wait({feeding})


async def feed(dsn: str) -> None:
    """A thousand attempts a second, and a roll-up a minute, as long as it is let."""
    connection = await asyncpg.connect(dsn, server_settings={"synchronous_commit": "off"})
    try:
        await connection.execute(CHOSEN)
        async with await Database.open(dsn, size=1) as database:
            second = 0
            while True:
                began = time.monotonic()
                await connection.execute(
                    "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, status, bytes, ms, worker) select clock_timestamp(),"
                    " domain_id, crawl_id, url_hash, outcome, 200, 5000, 20, 'w' from chosen where n between $1 and $2",
                    second * 1000 % 1_000_000,
                    second * 1000 % 1_000_000 + 999,
                )
                await connection.execute(SAID)
                second += 1
                if second % 60 == 0:
                    await count_minutes(database)
                await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
    finally:
        await connection.close()


async def cost(desk: Desk, pid: int | None) -> None:
    """What it costs PostgreSQL to count a minute, once each attempt of it is there."""
    if pid is None:
        return
    begins = (await desk.database.ask("select max(minute) from fetch_minutes")) - timedelta(minutes=5)
    async with desk.database.connection() as connection:
        backend = connection.get_server_pid()
        before = processor_time(backend)
        for ago in range(5):
            since = begins + timedelta(minutes=ago)
            await connection.execute("delete from fetch_minutes where minute = $1", since)
            async with connection.transaction():
                await connection.fetch(QUERIES["scan_freely"])
                await connection.fetch(QUERIES["roll_up_minutes"], since, since + timedelta(minutes=1))
        each = (processor_time(backend) - before) / 5 * 1000
    say(
        f"a minute of {A_MINUTE:,} attempts is counted for {each:.0f} ms of processor time (each is counted 4.5 times)"
    )


async def bench(given: argparse.Namespace) -> bool:
    """Make it all, and ask."""
    if given.reuse:
        await freshen(given.reuse)
        async with desk_at(given.reuse) as desk:
            return await asked_while_fed(desk, 0)
    async with server(given.database) as postgres:
        dsn = await postgres.create()
        await make(dsn, given.urls)
        await freshen(dsn)
        say(f"{given.urls:,} URLs; {postgres.about}; {load_average()}")
        async with desk_at(dsn) as desk:
            good = await asked_while_fed(desk, postgres.pid)
        say(f"{'PASS' if good else 'FAIL'}  every answer within {LIMIT * 1000:.0f} ms")
        return good


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.looking",
        description=__doc__.splitlines()[0],
        epilog="Ten million URLs take some 5 GB of disk, and five minutes to be made.",
    )
    add = parser.add_argument
    add("--urls", type=amount, default="10m", help="URLs in the frontier [default: %(default)s]")
    add("--database", metavar="DSN", help="a PostgreSQL to make the database on [default: an embedded one]")
    add("--reuse", metavar="DSN", help="a database that was made by this bench, and is still there")
    return conclude(parser.prog, bench(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
