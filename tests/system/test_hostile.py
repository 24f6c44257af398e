"""The hostile web, all of it at once, crawled by the real program."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from crawler.adapters.crawls import Crawls
from crawler.core.sitemaps import usual_places
from crawler.explaining import reasons
from crawler.opening import opened_to_look
from crawler.settings import Settings
from tests.sentry import some_sentry
from tests.system.hostile import CANARY, HONEST, HOSTILE, Served, serving
from tests.system.program import Program, kill

pytestmark = pytest.mark.xdist_group("hostile")  # they share what is costly to make

LIMITS: Final = {
    "ALLOW_NETS": "127.0.0.1/32",
    "RUN_PATIENCE": "0",
    "DELAY": "0",
    "HOSTS_FILE": "none",
    "DNS_TIMEOUT": "2s",
    "CONNECT_TIMEOUT": "2s",
    "TLS_TIMEOUT": "2s",
    "FIRST_BYTE_TIMEOUT": "3s",
    "READ_TIMEOUT": "3s",
    "TOTAL_TIMEOUT": "12s",
}
"""Short deadlines: the longest lasts as long as the slowest host may take."""


@dataclass
class Memory:
    """What a program and its children, PostgreSQL apart, have in memory: bytes."""

    peak: int = 0
    parts: dict[str, int] = field(default_factory=dict)


def memory_of(root: int) -> dict[str, int]:
    """Resident bytes by process of a program and all below it, but for PostgreSQL's."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family, grown = {root}, True
    while grown:
        grown = bool(more := {pid for pid, parent in parents.items() if parent in family} - family)
        family |= more
    found: dict[str, int] = {}
    for pid in family:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"postgres" not in words[0]:
                size = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                found[f"{pid} {b' '.join(words[1:3]).decode()}"] = size
    return found


@contextmanager
def watched(pid: int) -> Iterator[Memory]:
    """Look at a program's memory twenty times a second."""
    memory, stop = Memory(), threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            parts = memory_of(pid)
            if (now := sum(parts.values())) > memory.peak:
                memory.peak, memory.parts = now, parts

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True)
class Ending:
    """How a URL ended: what the table says, and what `crawl why` says."""

    outcome: str
    detail: str
    milliseconds: int
    """Of the longest request."""
    why: str


async def endings(program: Program, served: Served) -> tuple[dict[str, Ending], int]:
    """How the expected URLs ended, and how many URLs have no outcome."""
    settings = Settings(data=program.data)
    found: dict[str, Ending] = {}
    async with opened_to_look(settings) as place:
        assert place is not None
        crawl = await Crawls(place.database).by_name("hostile")
        assert crawl is not None
        for url, _ in served.expected():
            told = await reasons(place.database, settings, url, crawl)
            facts = told.visits.facts
            longest = max((one["ms"] for one in facts["fetches"]), default=0)
            words = f"{told.outcome.words}; next visit: {told.next.words}"
            found[url] = Ending(facts["outcome"] or "nothing", facts["detail"] or "", longest, words)
        return found, await place.database.ask("select count(*) from urls where outcome is null")


@dataclass
class Told:
    """What came of the crawl."""

    program: Program
    served: Served
    seconds: float
    memory: Memory
    errors: str
    urls: dict[str, Ending]
    open: int
    """URLs without any outcome."""
    events: int
    """What Sentry was told."""


def crawl(folder: Path, *more: str) -> Iterator[Told]:
    """Crawl the hostile web once."""
    with serving() as served, some_sentry() as sentry:
        where = "{}:{}".format(*served.names.where)
        program = Program(folder / "data", {**LIMITS, "DNS_SERVERS": where, "SENTRY_DSN": sentry.dsn})
        seeds = folder / "seeds"
        seeds.write_text("\n".join(served.seeds))
        began = time.monotonic()
        process = program.start(
            "run", "--file", str(seeds), "--name", "hostile", "--scope", "any", "--json", *more
        )
        try:
            with watched(process.pid) as memory:
                _, errors = process.communicate(timeout=180)
        except BaseException:
            kill(process)
            raise
        seconds = time.monotonic() - began
        assert process.returncode == 0, errors
        urls, unknown = asyncio.run(endings(program, served))
        yield Told(program, served, seconds, memory, errors, urls, unknown, len(sentry.events))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """What came of one crawl of all of it."""
    yield from crawl(tmp_path_factory.mktemp("hostile"))


def test_every_url_ends_as_it_must(told: Told) -> None:
    """Each hostile server's URLs have the outcome that fits, and the honest sites are complete."""
    found = [(told.urls[url], ends) for url, ends in told.served.expected()]
    wrong = [(one, ends) for one, ends in found if one.outcome not in ends.split("|")]

    assert wrong == []
    assert told.open == 0


def test_no_host_costs_many_requests(told: Told) -> None:
    """Traps included, no host is asked more often than it is worth; the usual places of sitemaps are asked for besides."""
    places = len(usual_places("http://a.test"))
    too_often = {
        host: told.served.asked.get(host, 0)
        for host, one in (HOSTILE | HONEST).items()
        if told.served.asked.get(host, 0) > one.at_most + places
    }

    assert too_often == {}


def test_nothing_private_was_reached(told: Told) -> None:
    """The canary, on an address of loopback that is not allowed, was never called."""
    assert told.served.canary.connections == 0
    assert CANARY in told.served.names.names["inside.test"]  # type: ignore[operator]


def test_memory_is_bounded(told: Told) -> None:
    """The crawler and its parsers never have 600 MB."""
    assert told.memory.peak < 600e6, told.memory.parts


def test_sentry_is_told_nothing(told: Told) -> None:
    """Nothing that a site did is critical."""
    assert told.events == 0


def test_why_says_it_in_a_sentence(told: Told) -> None:
    """`crawl why` says of each URL more than the name of its outcome."""
    short = [end for end in told.urls.values() if len(end.why.split()) < 8]

    assert short == []


def test_nothing_was_said_on_stderr(told: Told) -> None:
    """What sites do is no error of ours: no line of stderr tells of it."""
    assert "error" not in told.errors


if __name__ == "__main__":
    import tempfile

    for one in crawl(Path(tempfile.mkdtemp(dir="/tmp")), *sys.argv[1:]):
        sys.stdout.write(
            f"{one.seconds:.1f} s, {one.memory.peak / 1e6:.0f} MB {one.memory.parts}\n{one.errors}\n"
        )
        for url, ends in one.served.expected():
            end = one.urls[url]
            mark = " " if end.outcome in ends.split("|") else "!"
            sys.stdout.write(
                f"{mark} {url:42} {end.outcome:15} {end.milliseconds / 1000:5.1f} s  {end.why!r} | {ends}\n"
            )
        often = {host: times for host, times in one.served.asked.items() if times > 12}
        sys.stdout.write(f"{often} canary {one.served.canary.connections}, open {one.open}\n")
