"""What is left of the speed that politeness allows: 2,000 domains at once, each asked as often as its pause lets us.

    a web of 2,000 domains, 50 ms to an answer ──► one process, 2,000 turns at once, 10 s between requests ──► warm-up ──► whole turns
                                              └──► the web's own log: pages a second; nobody was hurried

1. No crawler can do more than domains / (pause + latency): each domain is asked for one page at a time, and then left alone.
2. What counts is what the web was asked for: pages, not robots.txt, between two moments that are whole turns apart.
3. A pause is counted from the end of an answer to the beginning of the next request, by the web's own clock.
"""

import argparse
import asyncio
import contextlib
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from crawler.core.urls import domain_of
from crawler.demo.server import Request, pauses
from tests.bench.ground import (
    OWN,
    Broker,
    Server,
    broker,
    clear,
    environment,
    new_prefix,
    server,
    settings_for,
    workers,
)
from tests.bench.measuring import (
    BenchError,
    Cost,
    Meter,
    Table,
    amount,
    conclude,
    load_average,
    note,
    parent,
    say,
    seconds,
    verdict,
)
from tests.bench.running import many_files, running, waited
from tests.bench.web import Web, served, url_of

LEAST: Final = 0.95
TURN: Final = 60.0
"""Seconds that a turn lasts at most, as the settings have it: the window is some of them long."""
LINKS: Final = 20
STARVED: Final = 0.1
"""The part of the time for which a crawler may lack a processor, on a machine that is fit to tell its speed."""
LOOK: Final = 1.0
ROBOTS: Final = "/robots.txt"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the crawler, and what it can be at best."""

    domains: int
    delay: float
    latency: float
    warm: float
    seconds: float

    @property
    def best(self) -> float:
        """Pages a second that politeness allows."""
        return self.domains / (self.delay + self.latency)

    @property
    def each(self) -> int:
        """URLs of a domain: three times what can be visited, so that none runs out of them."""
        return max(60, math.ceil(3 * (self.warm + self.seconds) / self.delay))

    def seeds(self, web: Web) -> list[str]:
        """The first page of each domain."""
        return [url_of(number, self.domains, self.each, web.port, 0) for number in range(self.domains)]


@dataclass(slots=True)
class Measured:
    """One mode."""

    name: str
    began: float
    ended: float
    before: Mapping[str, Cost]
    after: Mapping[str, Cost]
    waited: float
    """Seconds for which the crawler was ready to work and had no processor."""
    nested: bool
    """Whether PostgreSQL is a child of the crawler."""
    requests: list[Request] = field(default_factory=list)

    @property
    def pages(self) -> int:
        """Asked for in the time measured, robots.txt apart."""
        return sum(self.began <= one.began < self.ended and one.path != ROBOTS for one in self.requests)

    @property
    def speed(self) -> float:
        """Pages a second."""
        return self.pages / (self.ended - self.began)

    @property
    def starved(self) -> float:
        """The part of the time for which the crawler had no processor, though it had something to do."""
        return self.waited / (self.ended - self.began)

    def cost(self, name: str) -> float:
        """Processor time of a page, in milliseconds. The PostgreSQL of `crawl run` is its child, and told apart."""
        spent = self.after[name].cpu - self.before[name].cpu
        if name == "crawler" and self.nested:
            spent -= self.after["PostgreSQL"].cpu - self.before["PostgreSQL"].cpu
        return spent * 1000 / max(1, self.pages)


Trees = Callable[[], Mapping[str, Sequence[int]]]
"""The processes that are measured, by what they are."""


async def bench(given: argparse.Namespace, folder: Path) -> bool:
    """Measure one mode after the other; True: both are as they should be."""
    many_files()
    wanted = Wanted(given.domains, given.delay, given.latency, given.warm, given.seconds)
    found = []
    with broker(given.amqp) as one:
        if not (one and given.only_amqp):
            found.append(await _measure("crawl run", wanted, folder, partial(_alone, wanted)))
        if one is not None:
            async with server(given.database) as postgres:
                mode = partial(_many, wanted, postgres=postgres, one=one, folder=folder)
                found.append(await _measure("crawl worker, RabbitMQ", wanted, folder, mode))
    return report(wanted, found)


async def _measure(
    name: str,
    wanted: Wanted,
    folder: Path,
    mode: Callable[[Web], contextlib.AbstractAsyncContextManager[Trees]],
) -> Measured:
    log = folder / "web"
    with served(latency=wanted.latency, links=LINKS, log=log) as web:
        note(f"{name}: {wanted.warm:.0f} s to warm up, {wanted.seconds:.0f} s to measure; {load_average()}")
        async with mode(web) as trees:
            await _wait(wanted.warm, trees)
            found = trees()
            meter, crawler = Meter({**found, "the web": [web.pid]}), found["crawler"][0]
            before, in_vain = meter.read(0), waited(crawler)
            await _wait(wanted.seconds, trees)
            after, in_vain = meter.read(0), waited(crawler) - in_vain
            nested = any(parent(pid) == crawler for pid in found["PostgreSQL"])
    measured = Measured(name, before.at, after.at, before.costs, after.costs, in_vain, nested, web.requests())
    log.unlink()
    note(f"{name}: {measured.speed:.1f} pages/s")
    return measured


async def _wait(how_long: float, trees: Trees) -> None:
    """So many seconds, as long as all of them live."""
    until = time.monotonic() + how_long
    while (left := until - time.monotonic()) > 0:
        trees()
        await asyncio.sleep(min(LOOK, left))


@contextlib.asynccontextmanager
async def _alone(wanted: Wanted, web: Web) -> AsyncIterator[Trees]:
    options = ["--concurrency", str(wanted.domains), "--delay", f"{wanted.delay}s"]
    with running(wanted.seeds(web), options, settings_for(web)) as one:

        def trees() -> Mapping[str, Sequence[int]]:
            one.check()
            postgres = one.postgres
            return {"crawler": [one.process.pid], "PostgreSQL": [] if postgres is None else [postgres]}

        yield trees


@contextlib.asynccontextmanager
async def _many(
    wanted: Wanted, web: Web, *, postgres: Server, one: Broker, folder: Path
) -> AsyncIterator[Trees]:
    dsn, prefix = await postgres.create(), new_prefix()
    settings = settings_for(web) | {
        "AMQP_PREFIX": prefix,
        "AMQP_URL": one.url,
        "DATABASE_URL": dsn,
        "DOMAINS_AT_ONCE": str(wanted.domains),
        "DELAY": f"{wanted.delay}s",
    }
    seeds = folder / "seeds"
    seeds.write_text("\n".join(wanted.seeds(web)))
    try:
        command = [sys.executable, "-m", "crawler", "seed", "bench", "--file", str(seeds), "--quiet"]
        command += ["--delay", f"{wanted.delay}s"]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment(settings), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"crawl seed ended with {done.returncode}: {done.stderr.strip()}")
        with _scheduler(settings) as scheduler, workers(1, dsn, one, settings) as (worker,):

            def trees() -> Mapping[str, Sequence[int]]:
                worker.check()
                if scheduler.poll() is not None:
                    raise BenchError(f"the scheduler ended with {scheduler.returncode}")
                return {
                    "crawler": [worker.process.pid],
                    "scheduler": [scheduler.pid],
                    "PostgreSQL": [] if postgres.pid is None else [postgres.pid],
                    "RabbitMQ": [] if one.pid is None else [one.pid],
                }

            yield trees
    finally:
        await clear(one, prefix)
        await postgres.drop(dsn)


@contextlib.contextmanager
def _scheduler(settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "crawler", "scheduler", "--quiet"]
    process = subprocess.Popen(command, env=environment(settings), start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def report(wanted: Wanted, found: Sequence[Measured]) -> bool:
    """The table, and whether enough is left."""
    names = list(dict.fromkeys(name for one in found for name in one.after))
    table = Table(
        [
            "",
            "pages",
            "pages/s",
            "of the best",
            "least pause",
            "median",
            "starved",
            *(f"{n} ms" for n in names),
        ]
    )
    good = True
    gaps = {}
    for one in found:
        of_domain = pauses(one.requests, lambda host: domain_of(f"http://{host}/"))
        gaps[one.name] = sorted(gap for _, _, gap in of_domain)
        if not gaps[one.name]:
            raise BenchError(f"{one.name}: the web was not asked for two pages of any domain")
        some = gaps[one.name]
        table.rows.append(
            [
                one.name,
                f"{one.pages:,}",
                f"{one.speed:.1f}",
                f"{one.speed / wanted.best:.3f}",
                f"{some[0]:.3f}",
                f"{some[len(some) // 2]:.3f}",
                f"{one.starved:.0%}",
                *(f"{one.cost(name):.2f}" if name in one.after else "-" for name in names),
            ]
        )
    say(str(table))
    say(
        f"the best: {wanted.domains:,} domains / ({wanted.delay:g} s + {wanted.latency:g} s) = {wanted.best:.1f} pages/s; "
        f"ms: processor time of a page; starved: no processor was free for the crawler; {load_average()}"
    )
    for one in found:
        good &= verdict(
            f"{one.name}: pages/s, of what politeness allows", one.speed / wanted.best, least=LEAST
        )
        hurried = sum(gap < wanted.delay for gap in gaps[one.name])
        say(
            f"{'FAIL' if hurried else 'PASS'}  {one.name}: {hurried} of {len(gaps[one.name]):,} requests came sooner than "
            f"{wanted.delay:g} s after the answer before"
        )
        good &= not hurried
    return good


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.polite",
        description=__doc__.splitlines()[0],
        epilog="Both modes take ten minutes.",
    )
    add = parser.add_argument
    add("--domains", type=amount, default="2k", help="domains, and turns at once [default: %(default)s]")
    add("--delay", type=seconds, default="10s", help="the pause after an answer [default: %(default)s]")
    add("--latency", type=seconds, default="50ms", help="before each answer [default: %(default)s]")
    add("--warm", type=seconds, default="100s", help="before measuring [default: %(default)s]")
    about = "how long to measure: whole turns, so that each has its ends in it [default: %(default)s]"
    add("--seconds", type=seconds, default="181s", help=about)
    add("--database", metavar="DSN", help="a PostgreSQL for the worker [default: an embedded one]")
    add(
        "--amqp",
        metavar="URL",
        help=f"measure a worker with RabbitMQ, too; {OWN}: start one [default: only crawl run]",
    )
    add("--only-amqp", action="store_true", help="leave crawl run out")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    try:
        return conclude(parser.prog, bench(given, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
