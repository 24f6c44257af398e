"""What is left of the speed of bare aiohttp where each domain is connected to anew, over TLS, and its certificate verified.

    500 domains, a certificate each ──┬── aiohttp alone: GET, read, throw away                           ──► pages/s, connections/s
                                      └── crawl run: robots.txt, GET, read, parse, store (PostgreSQL)     ──► the same

1. Both fetch the same pages of the same domains, as many domains at once, with one handshake for each, verified against one authority;
   each is one process, new in every round, so that no session and no connection is left from before.
2. Ours asks each domain for robots.txt too, keeps its promises (addresses, deadlines), and has stored every page when the clock stops.
3. They take turns, so that what else the machine does falls on both; the median of the ratios counts. The time for which one was
   ready to work while others had all processors is left out: more of them fall to a crawler whose database works beside it.
"""

import argparse
import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.ground import settings_for
from tests.bench.measuring import (
    BenchError,
    Table,
    amount,
    conclude,
    load_average,
    middle,
    note,
    say,
    verdict,
)
from tests.bench.running import Used, many_files, running
from tests.bench.tls_web import Counted, TlsWeb, served_by_tls

LEAST: Final = 0.6
PATIENCE: Final = 300.0
LOOK: Final = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """All pages of all domains, once."""

    pages: int
    seconds: float
    cpu: float
    """Seconds of processor time of the program."""
    web: Counted
    waited: float
    """Seconds for which it was ready to work and had no processor: others had them."""
    postgres: float = 0.0
    """Seconds of processor time of its PostgreSQL."""

    @property
    def speed(self) -> float:
        """Pages a second."""
        return self.pages / self.seconds

    @property
    def alone(self) -> float:
        """Pages a second, had it had a processor whenever it had something to do."""
        return self.pages / max(self.seconds - self.waited, self.cpu)

    @property
    def each(self) -> float:
        """Processor time of a page, in milliseconds."""
        return self.cpu * 1000 / self.pages


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: enough is left."""
    many_files()
    pairs = []
    with served_by_tls(given.domains, given.pages, given.servers) as web:
        for number in range(given.rounds):
            note(f"round {number + 1} of {given.rounds}; {load_average()}")
            ours = await _ours(web, given.concurrency) if number % 2 else None
            bare = await _bare(web, given.concurrency)
            ours = ours or await _ours(web, given.concurrency)
            note(f"aiohttp {bare.speed:.0f} pages/s, crawl run {ours.speed:.0f}")
            pairs.append((bare, ours))
    return report(pairs, given)


async def _bare(web: TlsWeb, at_once: int) -> Run:
    command = [sys.executable, "-m", "tests.bench.bare", "--authority", str(web.authority)]
    command += ["--dns", f"127.0.0.1:{web.names.names}", "--concurrency", str(at_once)]
    before = web.counted()
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            out, errors = await process.communicate("\n".join(web.urls()).encode())
    except TimeoutError:
        raise BenchError(f"aiohttp did not end in {PATIENCE:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = errors.decode(errors="replace").strip().splitlines()
        raise BenchError(
            f"aiohttp ended with {process.returncode}: {words[-1] if words else 'it said nothing'}"
        )
    said = json.loads(out)
    web_since = web.counted().since(before)
    return _whole(Run(said["pages"], said["seconds"], said["cpu"], web_since, said["waited"]), web)


async def _ours(web: TlsWeb, at_once: int) -> Run:
    settings = settings_for(web.names) | {"TLS_CA_FILE": str(web.authority)}
    options = ["--concurrency", str(at_once), "--delay", "0", "--no-sitemaps"]
    before, until = web.counted(), time.monotonic() + PATIENCE
    begin, end = None, Used()
    with running(web.urls(), options, settings) as one:
        while not one.ended:
            if one.postgres is not None:  # what comes before is no crawling
                end = end.most(one.used())
                begin = begin or end
            if time.monotonic() > until:
                raise BenchError(f"crawl run did not end in {PATIENCE:.0f} s")
            await asyncio.sleep(LOOK)
        said = one.summary()
    begin = begin or Used()
    return _whole(
        Run(
            said["pages"],
            said["seconds"],
            end.crawler - begin.crawler,
            web.counted().since(before),
            end.waited - begin.waited,
            end.postgres,
        ),
        web,
    )


def _whole(run: Run, web: TlsWeb) -> Run:
    """The same, if all was done that was to be done."""
    if run.pages != web.domains * web.each:
        raise BenchError(f"not all pages were fetched: {run.pages:,} of {web.domains * web.each:,}")
    if run.web.connections < web.domains:
        raise BenchError(f"only {run.web.connections} connections for {web.domains} domains")
    return run


def report(pairs: Sequence[tuple[Run, Run]], given: argparse.Namespace) -> bool:
    """The table, and whether enough is left."""
    say(
        f"{given.domains:,} domains with a certificate each, {given.pages} pages of each, {given.concurrency} domains at once; "
        f"{load_average()}"
    )
    table = Table(
        [
            "",
            "pages/s",
            "connections/s",
            "connections",
            "requests",
            "ms",
            "PostgreSQL ms",
            "web ms",
            "web busy",
            "starved",
        ]
    )
    for name, runs in zip(("aiohttp", "crawl run"), zip(*pairs, strict=True), strict=True):
        table.rows.append(
            [
                name,
                f"{middle(run.speed for run in runs):.0f}",
                f"{middle(run.web.connections / run.seconds for run in runs):.0f}",
                f"{runs[-1].web.connections:,}",
                f"{runs[-1].web.requests:,}",
                f"{middle(run.each for run in runs):.2f}",
                f"{middle(run.postgres * 1000 / run.pages for run in runs):.2f}",
                f"{middle(run.web.cpu * 1000 / run.pages for run in runs):.2f}",
                f"{middle(run.web.cpu / run.seconds for run in runs):.0%}",
                f"{middle(run.waited / run.seconds for run in runs):.0%}",
            ]
        )
    say(str(table))
    say(
        "ms: processor time of a page; web busy: its processes, in processors; starved: others had the processors"
    )
    ratios = sorted(ours.speed / bare.speed for bare, ours in pairs)
    even = sorted(ours.alone / bare.alone for bare, ours in pairs)
    say(f"ratios, without the time for which one was starved: {', '.join(f'{ratio:.2f}' for ratio in even)}")
    say(f"ratios as measured: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    costs = middle(ours.each / bare.each for bare, ours in pairs)
    say(f"a page costs crawl run {costs:.1f} times the processor time that it costs aiohttp")
    what = "crawl run, compared with bare aiohttp: pages/s"
    return verdict(what, middle(even), least=LEAST, measured=middle(ratios))


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tls", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--domains", type=amount, default="500", help="how many [default: %(default)s]")
    add("--pages", type=amount, default="4", help="of each domain [default: %(default)s]")
    add("--concurrency", type=amount, default="200", help="domains at once [default: %(default)s]")
    add("--servers", type=amount, default="2", help="processes that serve them [default: %(default)s]")
    add("--rounds", type=amount, default="5", help="rounds; the median counts [default: %(default)s]")
    given = parser.parse_args()
    return conclude(parser.prog, bench(given))


if __name__ == "__main__":
    sys.exit(main())
