"""What memory a crawl takes, and whether it still grows after 100,000 pages.

    sites as the open web has them ──► crawl run, one process ──► every second: memory of the crawler, and of its parsers
                                                             └──► PostgreSQL: how many pages are stored

1. The pages are about 30 KB with 91 links each, other ones each time: nothing is small because it is the same.
2. What counts is all that the crawler's process has in memory (RSS), the code that it shares with others included.
3. Flat: in the last quarter it takes at most 1.05 times what it took in the third; the median of all looks counts, not one moment.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crawler.adapters.postgres import Database
from tests.bench.ground import server, settings_for
from tests.bench.measuring import (
    PROC,
    BenchError,
    Table,
    amount,
    conclude,
    load_average,
    middle,
    note,
    processor_time,
    say,
    short,
    verdict,
)
from tests.bench.profile_web import served
from tests.bench.running import Running, many_files, running
from tests.bench.windows import STORED

MOST: Final = 300.0
"""Megabytes."""
FLAT: Final = 1.05
MARKS: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
LOOK: Final = 1.0
PATIENCE: Final = 120.0
"""Seconds without a page after which something is wrong."""
TOLD: Final = 0.05


@dataclass(frozen=True, slots=True)
class Memory:
    """Of some processes, in megabytes."""

    resident: float = 0.0
    """RSS: what is shared with others counts in full."""
    proportional: float = 0.0
    """PSS: what is shared is divided by who shares it."""
    anonymous: float = 0.0
    """What no file holds: heap and stacks."""

    @classmethod
    def of(cls, pids: Sequence[int]) -> "Memory":
        """What they have now."""
        found = dict.fromkeys(("Rss:", "Pss:", "Anonymous:"), 0.0)
        for pid in pids:
            try:
                lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            except OSError:  # it has ended
                continue
            for line in lines:
                name, *words = line.split()
                if name in found:
                    found[name] += int(words[0]) * 1024 / 1e6
        return cls(*found.values())


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a crawl under way."""

    pages: int
    crawler: Memory
    parsers: Memory


@dataclass(slots=True)
class Course:
    """How it went."""

    wanted: int
    looks: list[Look] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0

    def at(self, share: float) -> Look | None:
        """The first look when so much was done."""
        return next((look for look in self.looks if look.pages >= share * self.wanted), None)

    def usual(self, begin: float, end: float) -> float:
        """What the crawler had between two shares of the work: the median of its RSS."""
        among = [
            one.crawler.resident
            for one in self.looks
            if begin * self.wanted <= one.pages <= end * self.wanted
        ]
        if not among:
            raise BenchError("too few looks: fetch more pages")
        return middle(among)


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: it is little, and stays so."""
    many_files()
    each = -(-given.pages // given.sites)
    note("making the web")
    with served(given.sites, each) as web:
        async with server(given.database) as postgres:
            dsn = await postgres.create()
            options = ["--delay", "0", "--concurrency", str(given.concurrency), "--no-sitemaps"]
            options += ["--max-pages-per-domain", "0"]
            settings = settings_for(web.names) | {"PER_ADDRESS": "0"}
            with running(web.site.seeds(), options, settings, dsn) as one:
                course = await _watch(one, dsn, given.sites * each)
            await postgres.drop(dsn)
    return report(course, given)


async def _watch(one: Running, dsn: str, pages: int) -> Course:
    course, began = Course(pages), time.monotonic()
    alive_at, told = began, 0.0
    async with await Database.open(dsn, size=1) as database:
        while not await database.ask("select to_regclass('crawl_counts') is not null"):
            one.check()
            await asyncio.sleep(LOOK)
        while not course.looks or course.looks[-1].pages < pages:
            await asyncio.sleep(LOOK)
            ended = one.ended
            stored = int(await database.ask(STORED))
            look = Look(stored, Memory.of([one.process.pid]), Memory.of(one.parsers))
            now = time.monotonic()
            if ended and stored < pages:
                raise BenchError(f"crawl run ended after {stored:,} of {pages:,} pages: {one.last_words()}")
            if ended:
                break
            if not course.looks or stored > course.looks[-1].pages:
                alive_at = now
            if now - alive_at > PATIENCE:
                raise BenchError(f"no page was stored for {PATIENCE:.0f} s, after {stored:,} pages")
            if stored >= told + TOLD * pages:
                told = stored
                note(f"{stored:,} pages, {look.crawler.resident:.0f} MB")
            course.looks.append(look)
            course.seconds, course.cpu = now - began, processor_time(one.process.pid)
    return course


def report(course: Course, given: argparse.Namespace) -> bool:
    """The table, and whether it is little, and flat."""
    table = Table(["pages", "RSS MB", "PSS MB", "heap MB", "parsers PSS MB"])
    for share in MARKS:
        look = course.at(share) or course.looks[-1]
        memory = look.crawler
        cells = (memory.resident, memory.proportional, memory.anonymous, look.parsers.proportional)
        table.rows.append([f"{look.pages:,}", *(f"{cell:.0f}" for cell in cells)])
    pages = course.looks[-1].pages
    say(
        f"{given.sites} sites, {given.concurrency} domains at once; {pages / course.seconds:.0f} pages/s, "
        f"{course.cpu * 1000 / pages:.2f} ms of processor time a page; {load_average()}"
    )
    say(str(table))
    peak = max(look.crawler.resident for look in course.looks)
    good = peak < MOST
    say(
        f"{'PASS' if good else 'FAIL'}  after {short(course.wanted)} pages: {peak:.0f} MB at most (below {MOST:g} MB)"
    )
    what = "memory in the last quarter, compared with the third"
    return verdict(what, course.usual(0.75, 1.0) / course.usual(0.5, 0.75), most=FLAT) and good


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pages", type=amount, default="100k", help="how many to fetch [default: %(default)s]")
    add("--sites", type=amount, default="200", help="of how many sites [default: %(default)s]")
    add("--concurrency", type=amount, default="200", help="domains at once [default: %(default)s]")
    add("--database", metavar="DSN", help="a PostgreSQL to make a database on [default: an embedded one]")
    given = parser.parse_args()
    return conclude(parser.prog, bench(given))


if __name__ == "__main__":
    sys.exit(main())
