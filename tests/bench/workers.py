"""Twice the workers, twice the pages: one, two and four workers on a web that makes them wait.

    a web of 1,000 domains, 50 ms to an answer, 1 s between requests ──► N workers of 50 domains ──► warm-up ──► a minute: pages, CPU
                                                                     └──► the web's own log: nobody was hurried

1. What holds a worker up is its politeness, as on the open web: so the next one adds as much as the first.
2. The cost of a page stays the same within 10 %.
3. Numbers of workers take turns, there and back, so that what else the machine does falls on all of them; the median counts,
   compared by the yardstick.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from crawler.adapters.postgres import Database
from crawler.core.urls import domain_of
from crawler.demo.server import Request, pauses
from crawler.queues import opened_queue
from crawler.settings import load
from tests.bench.frontiers import Plan, fill
from tests.bench.ground import OWN, Broker, Server, broker, clear, new_prefix, server, settings_for, workers
from tests.bench.measuring import (
    BenchError,
    Meter,
    Span,
    Table,
    Yardstick,
    amount,
    conclude,
    load_average,
    middle,
    note,
    say,
    seconds,
    verdict,
)
from tests.bench.web import Web, served
from tests.bench.windows import Window

LATENCY: Final = 0.05
DELAY: Final = 1.0
SLOTS: Final = 50
GROWTH: Final = {2: 1.9, 4: 3.7}
"""So many workers are at least so many times as fast as one."""
SAME: Final = 1.1


@dataclass(frozen=True, slots=True)
class Measured:
    """So many workers."""

    count: int
    span: Span
    names: tuple[str, ...]
    """Those that do the work."""
    depth: int
    """The most turns that waited in the queue."""

    @property
    def even(self) -> float:
        """The same in units of the yardstick."""
        return self.each / self.span.yard

    @property
    def each(self) -> float:
        """What a page cost all workers together, in milliseconds."""
        return sum(self.span.each(name) for name in self.names)


async def bench(given: argparse.Namespace, folder: Path) -> bool:
    """Measure each number of workers on a frontier of its own; True: all is as it should be."""
    found: list[Measured] = []
    polite = True
    with broker(given.amqp) as one, Yardstick() as yardstick:
        async with server(given.database) as postgres:
            ground = Ground(given, postgres, one, yardstick)
            for number in range(given.rounds):
                note(f"round {number + 1} of {given.rounds}; {load_average()}")
                for count in reversed(given.workers) if number % 2 else given.workers:
                    log = folder / "web"
                    with served(latency=LATENCY, log=log) as web:
                        found.append(await _measure(ground, count, web))
                    polite &= _judge(count, web.requests())
                    log.unlink()
            carrier = "PostgreSQL" if one is None else "RabbitMQ"
            say(f"\n{postgres.about}; turns come from {carrier}; {load_average()}")
    return report(found) and polite


@dataclass(frozen=True, slots=True)
class Ground:
    """What the measurements share."""

    given: argparse.Namespace
    postgres: Server
    broker: Broker | None
    yardstick: Yardstick


async def _measure(ground: Ground, count: int, web: Web) -> Measured:
    given, postgres, one = ground.given, ground.postgres, ground.broker
    dsn, prefix = await postgres.create(), new_prefix()
    # Twice what they can visit, so that nobody runs out of it.
    each = max(60, int(2 * (given.warm + given.seconds) * count * SLOTS / (DELAY + LATENCY) / given.domains))
    await fill(dsn, Plan(given.domains, each, web.port, DELAY, robots_known=False))
    told = settings_for(web) | {
        "DELAY": f"{DELAY}s",
        "DOMAINS_AT_ONCE": str(SLOTS),
        "AMQP_PREFIX": prefix,
        **({} if one is None else {"AMQP_URL": one.url}),
    }
    settings = load(overrides={}, environ={f"CRAWL_{n}": v for n, v in told.items()}).settings
    try:
        async with await Database.open(dsn, size=2) as database, opened_queue(settings, database) as queue:
            with workers(count, dsn, one, told) as running:
                names = tuple(f"worker {number + 1}" for number in range(count))
                trees = {name: [worker.process.pid] for name, worker in zip(names, running, strict=True)}
                if postgres.pid is not None:
                    trees["PostgreSQL"] = [postgres.pid]
                if one is not None and one.pid is not None:
                    trees["RabbitMQ"] = [one.pid]
                window = Window(database, queue, running, Meter(trees), ground.yardstick)
                span = await window.span(
                    lambda first, now: now.at >= first.at + given.warm,
                    lambda so_far: so_far.seconds >= given.seconds,
                )
    finally:
        await clear(one, prefix)
    await postgres.drop(dsn)
    measured = Measured(count, span, names, max(window.depths))
    note(f"{count} at work: {span.speed:.1f} pages/s, a page costs the workers {measured.each:.2f} ms")
    return measured


def _judge(count: int, log: list[Request]) -> bool:
    """Say whether any domain was asked sooner than its pause after the answer before."""
    gaps = [pause for _, _, pause in pauses(log, lambda host: domain_of(f"http://{host}/"))]
    if not gaps:
        raise BenchError("the web was not asked for two pages of any domain")
    hurried = sum(gap < DELAY for gap in gaps)
    say(
        f"{'FAIL' if hurried else 'PASS'}  {count} at work: {hurried} of {len(gaps):,} requests came sooner than {DELAY:g} s after the "
        f"answer before; the shortest pause was {min(gaps):.3f} s"
    )
    return not hurried


def report(found: list[Measured]) -> bool:
    """The table, and how it grows."""
    counts = sorted({one.count for one in found})
    rounds = {count: [one for one in found if one.count == count] for count in counts}
    shared = [name for name in found[0].span.end.costs if name not in found[0].names]
    calm = min(one.span.yard for one in found)

    def of(count: int, figure: Callable[[Measured], float]) -> float:
        return middle(map(figure, rounds[count]))

    figures: dict[str, Callable[[Measured], float]] = {
        "pages/s": lambda one: one.span.speed,
        "worker ms": lambda one: one.each,
        **{f"{name} ms": partial(_shared, name) for name in shared},
        "worker MB": lambda one: max(one.span.memory(name) for name in one.names),
        "queue at most": lambda one: one.depth,
        "machine": lambda one: one.span.yard / calm,
    }
    table = Table(["workers", *figures])
    for count in counts:
        cells = (of(count, figure) for figure in figures.values())
        table.rows.append([str(count), *(f"{cell:.2f}" if cell < 10 else f"{cell:.0f}" for cell in cells)])
    say(str(table))
    say(
        "machine: how many times as much the same little work cost as in the calmest round; PASS and FAIL allow for it"
    )
    good = True
    base = counts[0]
    for count in counts[1:]:
        what = f"{count} at work, compared with {base}"
        least = GROWTH.get(count, 0.925 * count) if base == 1 else 0.0
        good &= verdict(f"{what}: pages/s", _ratio(of, count, base, lambda one: one.span.speed), least=least)
        good &= verdict(
            f"{what}: a page of a worker",
            _ratio(of, count, base, lambda one: one.even),
            most=SAME,
            measured=_ratio(of, count, base, lambda one: one.each),
        )
        for name in shared:
            ratio = _ratio(of, count, base, partial(_shared_even, name))
            say(f"      {what}: a page of {name}: {ratio:.2f} times")
    return good


def _ratio(
    of: Callable[[int, Callable[[Measured], float]], float],
    count: int,
    base: int,
    figure: Callable[[Measured], float],
) -> float:
    return of(count, figure) / of(base, figure)


def _shared(name: str, one: Measured) -> float:
    return one.span.each(name)


def _shared_even(name: str, one: Measured) -> float:
    return one.span.even(name)


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.workers",
        description=__doc__.splitlines()[0],
        epilog="Three rounds of 1, 2 and 4 workers take a quarter of an hour.",
    )
    add = parser.add_argument
    add("--workers", type=_counts, default="1,2,4", help="how many at once [default: %(default)s]")
    add("--domains", type=amount, default="1k", help="domains of the web [default: %(default)s]")
    add("--warm", type=seconds, default="20s", help="before measuring [default: %(default)s]")
    add("--seconds", type=seconds, default="60s", help="how long to measure [default: %(default)s]")
    add("--rounds", type=amount, default="3", help="rounds; the median counts [default: %(default)s]")
    add("--database", metavar="DSN", help="a PostgreSQL to make databases on [default: an embedded one]")
    add(
        "--amqp", metavar="URL", help=f"a RabbitMQ to carry the turns; {OWN}: start one [default: PostgreSQL]"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    try:
        return conclude(parser.prog, bench(given, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _counts(text: str) -> list[int]:
    return sorted({amount(word) for word in text.split(",")})


if __name__ == "__main__":
    sys.exit(main())
