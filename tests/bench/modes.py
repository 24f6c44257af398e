"""What a page costs a worker that takes its turns from RabbitMQ, compared with the single-machine mode.

    again and again:   crawl run --data ...                          ──► processor time of the program, by its pages
                       crawl seed, crawl worker --database --amqp    ──► processor time of the worker, by its pages

1. Both fetch the same pages of the same sites, with the same options, into a new database of the same kind of PostgreSQL.
2. Both are counted from the start of the program to the last page; what PostgreSQL and RabbitMQ use is shown, and is not in the ratio.
3. They take turns, so that what else the machine does falls on both; the median of the ratios counts,
   compared by the yardstick.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.adapters.postgres import Database
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
    Meter,
    Table,
    Yardstick,
    amount,
    conclude,
    load_average,
    middle,
    note,
    processor_time,
    say,
    verdict,
)
from tests.bench.web import Web, served, url_of
from tests.bench.windows import STORED

MOST: Final = 1.2
OPTIONS: Final = ("--delay", "0", "--per-domain", "16")
DOMAINS: Final = 4
EACH: Final = 800
LINKS: Final = 40
PATIENCE: Final = 600.0
LOOK: Final = 0.05
CONTACT: Final = "bench@example.com"


@dataclass(frozen=True, slots=True)
class Run:
    """One crawl from its start to its end."""

    pages: int
    cpu: float
    """Seconds of processor time of the program that fetched."""
    seconds: float
    others: Mapping[str, float]
    """Processor time of the servers, where it could be measured."""
    yard: float
    """What the yardstick's work has cost meanwhile."""

    @property
    def each(self) -> float:
        """What a page cost, in milliseconds."""
        return self.cpu * 1000 / self.pages


@dataclass(frozen=True, slots=True)
class Task:
    """What is crawled, and how."""

    urls: Sequence[str]
    settings: Mapping[str, str]


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: the ratio is as it should be."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(broker(given.amqp))
        task = _task(given.urls, None if given.urls else stack.enter_context(served(links=LINKS)))
        if one is None:
            raise BenchError(f"this compares RabbitMQ with none: name one with --amqp, or write --amqp {OWN}")
        pairs = []
        yardstick = stack.enter_context(Yardstick())
        async with server(given.database) as postgres:
            for number in range(given.rounds):
                note(f"round {number + 1} of {given.rounds}; {load_average()}")
                alone = await asyncio.to_thread(_alone, task, yardstick)
                note(f"crawl run: {alone.pages:,} pages, {alone.each:.2f} ms each")
                many = await _many(task, postgres, one, yardstick)
                note(f"crawl worker: {many.pages:,} pages, {many.each:.2f} ms each")
                if abs(alone.pages - many.pages) > alone.pages * 0.01:
                    raise BenchError(f"they did not do the same: {alone.pages:,} and {many.pages:,} pages")
                pairs.append((alone, many))
            say(f"{postgres.about}; {load_average()}")
    return report(pairs)


def report(pairs: Sequence[tuple[Run, Run]]) -> bool:
    """The table, and whether RabbitMQ's part is small enough."""
    table = Table(["", "pages", "pages/s", "worker ms", "PostgreSQL ms", "RabbitMQ ms"])
    for name, runs in zip(("crawl run", "crawl worker"), zip(*pairs, strict=True), strict=True):
        table.rows.append(
            [
                name,
                f"{runs[-1].pages:,}",
                f"{middle(run.pages / run.seconds for run in runs):.0f}",
                f"{middle(run.each for run in runs):.2f}",
                *(_server_cell(runs, server_name) for server_name in ("PostgreSQL", "RabbitMQ")),
            ]
        )
    say(str(table))
    measured = [many.each / alone.each for alone, many in pairs]
    even = [many.each / many.yard * alone.yard / alone.each for alone, many in pairs]
    say(f"ratios: {', '.join(f'{ratio:.2f}' for ratio in even)}")
    what = "crawl worker with RabbitMQ, compared with crawl run: a page of the worker"
    return verdict(what, middle(even), most=MOST, measured=middle(measured))


def _server_cell(runs: Sequence[Run], name: str) -> str:
    spent = [run.others[name] * 1000 / run.pages for run in runs if name in run.others]
    return f"{middle(spent):.2f}" if spent else "-"


def _task(urls: Sequence[str], web: Web | None) -> Task:
    if web is None:
        return Task(urls, {"ALLOW_NETS": "127.0.0.0/8", "CONTACT": CONTACT})
    seeds = [url_of(number, DOMAINS, EACH, web.port, 0) for number in range(DOMAINS)]
    return Task(seeds, {**settings_for(web), "PER_ADDRESS": "0"})


def _alone(task: Task, yardstick: Yardstick) -> Run:
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    command = [sys.executable, "-m", "crawler", "run", *task.urls, *OPTIONS]
    command += ["--data", str(folder / "data"), "--json", "--quiet"]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment(task.settings), stdout=subprocess.PIPE)
    try:
        postgres = 0.0
        while process.poll() is None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int((folder / "data/pg/postmaster.pid").read_text().split()[0])
                spent = Meter({"PostgreSQL": [pid]}).read(0).costs["PostgreSQL"].cpu
                postgres = max(postgres, spent)
            if time.monotonic() > began + PATIENCE:
                raise BenchError(f"crawl run did not end in {PATIENCE:.0f} s")
            time.sleep(LOOK)
        out = process.communicate()[0]
        if process.returncode:
            raise BenchError(f"crawl run ended with {process.returncode}: see above")
        summary = json.loads(out)
        yard = yardstick.mean(began, time.monotonic())
        others = {"PostgreSQL": postgres}
        return Run(summary["pages"], summary["cpu_seconds"], summary["seconds"], others, yard)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _many(task: Task, postgres: Server, one: Broker, yardstick: Yardstick) -> Run:
    dsn, prefix = await postgres.create(), new_prefix()
    settings = {**task.settings, "AMQP_PREFIX": prefix}
    seeding = [sys.executable, "-m", "crawler", "seed", "bench", *task.urls, *OPTIONS, "--quiet"]
    seeding += ["--max-pages-per-domain", "0", "--database", dsn, "--amqp", one.url]
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            seeding,
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"crawl seed ended with {done.returncode}: {done.stderr.strip()}")
        servers = {"PostgreSQL": postgres.pid, "RabbitMQ": one.pid}
        meter = Meter({name: [pid] for name, pid in servers.items() if pid is not None})
        async with await Database.open(dsn, size=1) as database:
            before, began = meter.read(0), time.monotonic()
            with workers(1, dsn, one, settings) as (worker,):
                while await database.ask("select exists (select from urls where open)"):
                    worker.check()
                    if time.monotonic() > began + PATIENCE:
                        raise BenchError(f"crawl worker did not end in {PATIENCE:.0f} s")
                    await asyncio.sleep(LOOK)
                cpu = processor_time(worker.process.pid)
                after = meter.read(int(await database.ask(STORED)))
    finally:
        await clear(one, prefix)
    await postgres.drop(dsn)
    others = {name: after.costs[name].cpu - before.costs[name].cpu for name in before.costs}
    yard = yardstick.mean(before.at, after.at)
    return Run(after.pages, cpu, after.at - before.at, others, yard)


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.modes",
        description=__doc__.splitlines()[0],
        epilog="example: python -m tests.bench.modes http://docs.test:8090/ --rounds 3",
    )
    add = parser.add_argument
    about = f"seeds of local sites [default: {DOMAINS} domains of {EACH} pages, served by this bench]"
    add("urls", nargs="*", metavar="URL", help=about)
    add("--rounds", type=amount, default="5", help="rounds; the median counts [default: %(default)s]")
    add("--database", metavar="DSN", help="a PostgreSQL for the workers [default: an embedded one]")
    add("--amqp", metavar="URL", default=OWN, help=f"a RabbitMQ; {OWN}: start one [default: {OWN}]")
    given = parser.parse_args()
    return conclude(parser.prog, bench(given))


if __name__ == "__main__":
    sys.exit(main())
