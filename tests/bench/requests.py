"""How soon somebody who asks for a page gets it, on a system that is busy with others.

    a web of slow domains, more of them than there are slots ──► N workers ──► 100 requests: of domains free, queued, held
                                                                       └──► the web's own log: nobody was hurried

1. 95 of 100 are answered within the domain's delay, what is left of its open request, and a second.
2. The pause of a domain counts for who waits, too.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.core.urls import domain_of
from crawler.demo.language import Reply, Site, page, robots, slow
from crawler.demo.server import hurried, serving
from crawler.queues import opened_queue
from crawler.settings import load
from crawler.url_wishes import UrlWishes
from crawler.wish_answers import Answered
from tests.bench.ground import OWN, broker, clear, new_prefix, server
from tests.bench.measuring import BenchError, Table, amount, conclude, load_average, note, say
from tests.making import rows
from tests.system.machines import Machines, machines

DELAY: Final = 0.5
LATENCY: Final = 0.1
SLOTS: Final = 6
TURN: Final = 5.0
PAGES: Final = 100_000
"""Of a busy domain: nobody comes to the end of it."""
QUIET_PAGES: Final = 2
MOST: Final = DELAY + LATENCY + 1.0
SHARE: Final = 0.95
LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    standing: str
    """Of its domain: free, resting, queued, held, or held and near the end of its turn."""
    seconds: float
    answered: bool


def busy_web(busy: int, quiet: int) -> dict[str, Site]:
    """Domains without end, and some that are soon done."""

    def endless(path: str) -> Reply:
        number = int(path.removeprefix("/") or 0)
        onward = [f"/{further}" for further in range(20 * number + 1, 20 * number + 21) if further < PAGES]
        return slow(page(f"page {number}", *onward), LATENCY)

    sites: dict[str, Site] = {
        f"busy{number}.test": {"/robots.txt": robots("/x"), "/*": endless} for number in range(busy)
    }
    for number in range(quiet):
        some = {f"/{n or ''}": slow(page(f"{n}", "/1"), LATENCY) for n in range(QUIET_PAGES)}
        sites[f"quiet{number}.test"] = {"/robots.txt": robots("/x"), **some}
    return sites


async def bench(given: argparse.Namespace, folder: Path) -> bool:
    """Measure each number of workers; True: all is as it should be."""
    good = True
    table = Table(["workers", "queue", "asked", "median", "95 of 100", "longest", "in time", "hurried"])
    with broker(given.amqp) as one:
        async with server(given.database) as postgres:
            for count in given.workers:
                dsn, prefix = await postgres.create(), new_prefix()
                amqp = None if one is None else (one.url, prefix)
                async with await Database.open(dsn, size=1) as database:
                    await migrate(database)
                busy = given.busy * count
                with serving(busy_web(busy, given.quiet)) as web:
                    settings = {
                        "DELAY": f"{DELAY}s", "DOMAINS_AT_ONCE": str(SLOTS), "TURN_SECONDS": f"{TURN}s", "WORK_LEASE": "20s",
                        "QUEUE_LEASE": "600s", "TOTAL_TIMEOUT": "10s",
                    }  # fmt: skip
                    async with machines(web, dsn, folder, amqp, **settings) as hall:
                        asked = await _measure(hall, count, given.requests)
                        await hall.dismiss()
                    late = hurried(list(web.log), DELAY, lambda host: domain_of(f"http://{host}/"))
                await clear(one, prefix)
                await postgres.drop(dsn)
                good &= _report(table, count, "PostgreSQL" if one is None else "RabbitMQ", asked, len(late))
    say(str(table))
    say(load_average())
    return good


async def _measure(hall: Machines, count: int, requests: int) -> list[Asked]:
    await hall.here(*(hall.start() for _ in range(count)))
    await hall.seed("all", [hall.web.url(name) for name in hall.web.sites], "--max-pages-per-domain", "0")
    await hall.until_pages("all", 4 * len(hall.web.sites), "some pages of each")
    settings = load(overrides={}, environ=hall.environment()).settings
    found: list[Asked] = []
    carrier = "postgres" if hall.amqp is None else "rabbit"
    died = asyncio.create_task(_first_to_die(hall))
    async with (
        await Database.open(hall.dsn, size=4) as database,
        opened_queue(settings, database) as queue,
    ):
        limit = asyncio.Semaphore(3)

        async def ask(number: int) -> None:
            async with limit:
                found.append(await _asked(database, UrlWishes(database, queue, carrier, None), number))

        work = asyncio.gather(*(ask(number) for number in range(requests)))
        either: list[asyncio.Future[Any]] = [died, work]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            work.cancel()
            raise BenchError(f"a worker has died:\n{died.result()}")
        died.cancel()
        await work
    return found


async def _first_to_die(hall: Machines) -> str:
    """Wait until a worker ends before it was told to: its last words."""
    while True:
        for machine in hall.alive:
            if machine.process.poll() is not None:
                return machine.said[-5000:]
        await asyncio.sleep(LOOK)


async def _asked(database: Database, wishes: UrlWishes, number: int) -> Asked:
    """Ask for a page of a domain chosen by its standing, in turn: a free one, a queued one, one that is held."""
    wanted = ("free", "queued", "held", "resting")[number % 4]
    sql = """
      select u.url, case when d.holder = 'queue' then 'queued' when d.holder is not null then 'held'
        when d.ready_at > now() then 'resting' else 'free' end as standing
      from domains d cross join lateral (
        select url from urls u where u.domain_id = d.domain_id and u.outcome in ('ok', 'not_modified') order by random() limit 1) u
      where (d.due_at is null or d.due_at >= '1971-01-01')
      order by (case when d.holder = 'queue' then 'queued' when d.holder is not null then 'held'
        when d.ready_at > now() then 'resting' else 'free' end) = $1 desc, random() limit 1"""
    (row,) = await rows(database, sql, wanted)
    began = time.monotonic()
    (result,) = await wishes.refresh([row["url"]], wait=30.0)
    return Asked(row["standing"], time.monotonic() - began, isinstance(result, Answered))


def _report(table: Table, count: int, carrier: str, asked: list[Asked], late: int) -> bool:
    times = sorted(one.seconds if one.answered else float("inf") for one in asked)
    in_time = sum(seconds <= MOST for seconds in times)
    nearly = times[min(len(times) - 1, int(SHARE * len(times)))]
    cells = [
        str(count),
        carrier,
        str(len(asked)),
        f"{times[len(times) // 2]:.2f}",
        f"{nearly:.2f}",
        f"{times[-1]:.2f}",
    ]
    table.rows.append([*cells, f"{in_time / len(asked):.0%}", str(late)])
    standings = Counter(one.standing for one in asked)
    note(f"{count} at work, {carrier}: " + ", ".join(f"{n} {name}" for name, n in standings.items()))
    for name in standings:
        some = sorted(one.seconds for one in asked if one.standing == name)
        note(f"   {name:8} median {some[len(some) // 2]:.2f} s, longest {some[-1]:.2f} s")
    good = in_time >= SHARE * len(asked) and not late
    say(
        f"{'PASS' if good else 'FAIL'}  {count} at work, {carrier}: {in_time} of {len(asked)} within {MOST:g} s"
    )
    return good


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.requests", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add(
        "--workers",
        type=lambda text: [amount(word) for word in text.split(",")],
        default=[1, 3],
        help="how many at once [default: 1,3]",
    )
    add("--busy", type=amount, default="20", help="endless domains for each worker [default: %(default)s]")
    add("--quiet", type=amount, default="20", help="domains that are soon done [default: %(default)s]")
    add("--requests", type=amount, default="100", help="requests for a page [default: %(default)s]")
    add("--database", metavar="DSN", help="a PostgreSQL to make databases on [default: an embedded one]")
    add(
        "--amqp", metavar="URL", help=f"a RabbitMQ to carry the turns; {OWN}: start one [default: PostgreSQL]"
    )
    given = parser.parse_args()
    random.seed(1)
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    try:
        return conclude(parser.prog, bench(given, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
