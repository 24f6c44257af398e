"""What the dashboard costs while somebody looks: its processor time, and that of its queries, against the crawl's own.

    crawl run ──► its data folder ◄── crawl dashboard ◄── a page that is kept open (server-sent events)
       └─ crawler, parsers, PostgreSQL's sessions of its own        └─ the dashboard's process, PostgreSQL's sessions of its own

1. Both are counted over the same seconds, so what else the machine does falls on both.
2. A session of PostgreSQL is the dashboard's if it began after that did: the crawl has all of its own by then.
3. The reader takes what the server sends and does no more: what a browser makes of it is the browser's cost.
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from crawler.core.urls import domain_of
from tests.bench.ground import environment, settings_for
from tests.bench.measuring import (
    BenchError,
    Table,
    conclude,
    load_average,
    note,
    processor_time,
    say,
    seconds,
)
from tests.bench.running import Running, children, many_files, running
from tests.bench.web import served, url_of
from tests.broker import free_port

MOST: Final = 0.03
EACH: Final = 2000
LINKS: Final = 40
OPTIONS: Final = ("--per-domain", "4", "--max-pages-per-domain", "0")
PATIENCE: Final = 60.0
WARM: Final = 5.0
VIEWS: Final = (
    "overview", "crawls", "crawl?name=bench", "domains", "domain?name={domain}", "workers", "schedule", "errors",
)  # fmt: skip
"""Every page that is live, but that of one URL, which asks for little."""


class Reader:
    """A page that is kept open, until it is left: how much it was sent."""

    def __init__(self, url: str) -> None:
        self.events = self.bytes = 0
        self._over = False
        self._url = url
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(PATIENCE)

    def _read(self) -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(self._url, timeout=PATIENCE) as stream:  # noqa: S310 - our own server
            for line in stream:
                self.events += line.startswith(b"data:")
                self.bytes += len(line)
                if self._over:
                    return


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: the dashboard is cheap enough."""
    many_files()
    with served(links=LINKS) as web:
        seeds = [url_of(number, given.domains, EACH, web.port, 0) for number in range(given.domains)]
        settings = {**settings_for(web), "PER_ADDRESS": "0"}
        with running(seeds, [*OPTIONS, "--delay", given.delay], settings) as crawl:
            await asyncio.sleep(given.warm)
            crawl.check()
            before = children(_postgres(crawl))
            views = [view.format(domain=domain_of(seeds[0])) for view in (given.view or VIEWS)]
            with _dashboard(crawl) as (process, url):
                shares = [
                    await _one(crawl, process.pid, before, f"{url}/live/{view}", given) for view in views
                ]
    dearest = max(shares)
    good = dearest <= MOST
    say(
        f"{'PASS' if good else 'FAIL'}  the dashboard with a page open costs {dearest:.1%} of the crawl at most ({MOST:.0%} asked)"
    )
    return good


async def _one(
    crawl: Running, dashboard: int, before: set[int], url: str, given: argparse.Namespace
) -> float:
    """What one page costs, compared with the crawl."""
    with Reader(url) as reader:
        await asyncio.sleep(WARM)
        share = await _measure(crawl, dashboard, before, given.seconds)
    if not reader.events:
        raise BenchError(f"{url} sent nothing: is that a page that is live?")
    say(
        f"{url.partition('/live/')[2]}: {share:.1%}; {reader.events:,} events, {reader.bytes / 1e3:,.0f} kB; {load_average()}\n"
    )
    return share


def _postgres(crawl: Running) -> int:
    pid = crawl.postgres
    if pid is None:
        raise BenchError("the crawl has no PostgreSQL: it ended, or never began")
    return pid


async def _measure(crawl: Running, dashboard: int, crawls: set[int], during: float) -> float:
    def now() -> dict[int, float]:
        """Every process' time so far; the crawl's own has the number 0."""
        times = {pid: processor_time(pid) for pid in (dashboard, *children(_postgres(crawl)))}
        return {**times, 0: processor_time(crawl.process.pid) + sum(map(processor_time, crawl.parsers))}

    begin = now()
    await asyncio.sleep(during)
    crawl.check()
    spent = {pid: after - begin.get(pid, 0.0) for pid, after in now().items()}
    crawling = [spent.pop(0), sum(spent.pop(pid, 0.0) for pid in crawls)]
    showing = [spent.pop(dashboard), sum(spent.values())]
    table = Table(["processor seconds a minute", "itself", "PostgreSQL"])
    for name, cells in (("crawl", crawling), ("dashboard", showing)):
        table.rows.append([name, *(f"{cell * 60 / during:.2f}" for cell in cells)])
    say(str(table))
    return sum(showing) / sum(crawling)


@contextlib.contextmanager
def _dashboard(crawl: Running) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "crawler",
        "dashboard",
        "--data",
        str(crawl.folder / "data"),
        "--port",
        str(port),
    ]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+b") as said:
        process = subprocess.Popen(command, env=environment({}), stdout=said, stderr=said)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE
            while not _answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise BenchError(f"crawl dashboard did not start: {said.read().decode(errors='replace')}")
                time.sleep(0.2)
            note(f"crawl dashboard answers at {url}")
            yield process, url
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):  # noqa: S310 - as above
            return True
    except OSError:
        return False


def main() -> int:
    """Read the arguments and measure: an exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=seconds, default=30.0, help="how long to measure each page (30s)")
    parser.add_argument("--warm", type=seconds, default=10.0, help="how long to wait before that (10s)")
    parser.add_argument("--domains", type=int, default=200, help="how many are crawled at once (200)")
    parser.add_argument("--delay", default="0", help="the pause between requests to one of them (0)")
    parser.add_argument("--view", action="append", help="only this page, such as overview; may be repeated")
    return conclude("bench-dashboard", bench(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
