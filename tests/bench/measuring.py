"""What programs cost: processor time and memory of process trees, from /proc; and tables of it.

    Meter(worker=..., PostgreSQL=...) ──read──► Reading ──read──► Reading: the difference is what the time between has cost

A tree counts with all its processes, also those that have ended meanwhile: their time has passed to whoever waited for them.
Memory is the proportional share (PSS): what several processes share is counted once.

The same work costs more processor time while others keep the machine busy: two processors are often one core, and caches are shared.
So a `Yardstick` does a little work of its own all the while, and what was measured is compared by what that has cost.
"""

import argparse
import asyncio
import os
import statistics
import sys
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

from crawler.core.errors import FaircrawlError, SettingsError
from crawler.kinds import parse_duration

TICKS: Final = os.sysconf("SC_CLK_TCK")
PROC: Final = Path("/proc")
LISTENING: Final = "0A"
YARD_EVERY: Final = 0.05
YARD_WORK: Final = 600
UNITS: Final = {"k": 10**3, "m": 10**6}


class BenchError(Exception):
    """What keeps a bench from measuring; the text says what to do."""


def conclude(program: str, bench: Coroutine[Any, Any, bool]) -> int:
    """Run a bench: its exit status."""
    try:
        return 0 if asyncio.run(bench) else 1
    except (BenchError, FaircrawlError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted; what it had made is removed\n")
        return 130


def say(text: str = "") -> None:
    """A line for whoever watches, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """What is being done, where it does not disturb the tables."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def load_average() -> str:
    """How busy the machine is, with others too: what was measured on a busy one is rough."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def amount(text: str) -> int:
    """An argument such as 10k, 1m or 500."""
    digits, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in UNITS else (text, "")
    if not digits.isdecimal() or not int(digits):
        raise argparse.ArgumentTypeError(f"{text!r} is no number: write 500, 10k or 1m")
    return int(digits) * UNITS.get(unit, 1)


def seconds(text: str) -> float:
    """An argument such as 60s, 2m or 1.5."""
    try:
        return parse_duration(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def short(number: int) -> str:
    """A round number as `amount` reads it: 10k."""
    for unit, size in reversed(UNITS.items()):
        if number % size == 0:
            return f"{number // size}{unit}"
    return str(number)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a tree of processes has used since it began, and has now."""

    cpu: float
    """Seconds of processor time, user and system."""
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All meters at one moment, with how far the work was."""

    at: float
    """`time.monotonic`."""
    pages: int
    costs: Mapping[str, Cost]


@dataclass(frozen=True, slots=True)
class Span:
    """What lies between two readings."""

    begin: Reading
    end: Reading
    yard: float = 1.0
    """What the yardstick's work has cost meanwhile."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end.at - self.begin.at

    @property
    def pages(self) -> int:
        """How many pages were stored."""
        return self.end.pages - self.begin.pages

    @property
    def speed(self) -> float:
        """Pages a second."""
        return self.pages / self.seconds

    def each(self, name: str) -> float:
        """Processor time of a page, in milliseconds."""
        spent = self.end.costs[name].cpu - self.begin.costs[name].cpu
        return spent * 1000 / self.pages

    def even(self, name: str) -> float:
        """The same in units of the yardstick: to compare with other spans, when the machine was busier or less so."""
        return self.each(name) / self.yard

    def memory(self, name: str) -> float:
        """Memory at the end, in megabytes."""
        return self.end.costs[name].memory / 1e6


@dataclass(frozen=True, slots=True)
class Meter:
    """Process trees by name, each by its first processes."""

    trees: Mapping[str, Sequence[int]]

    def read(self, pages: int) -> Reading:
        """All of them, now."""
        parents = dict(_parents())
        at = time.monotonic()
        costs = {name: _cost(_tree(roots, parents)) for name, roots in self.trees.items()}
        return Reading(at, pages, costs)


class Yardstick:
    """The same little work, done over and over in a thread: what it costs now, compared with when nobody disturbs it."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="yardstick", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def mean(self, begin: float, end: float) -> float:
        """What it cost between two moments of `time.monotonic`, in milliseconds."""
        during = [cost for at, cost in self._samples if begin <= at <= end]
        return statistics.fmean(during) * 1000 if during else 1.0

    def _run(self) -> None:
        while not self._over.wait(YARD_EVERY):
            began = time.thread_time()
            for number in range(YARD_WORK):
                text = str(number).encode()
                hash({text: blake2b(text * 8, digest_size=16).digest()}.popitem())
            self._samples.append((time.monotonic(), time.thread_time() - began))


def middle(figures: Iterable[float]) -> float:
    """The median."""
    return statistics.median(figures)


def processor_time(pid: int) -> float:
    """Seconds that one process, with all its threads, has used so far; to the nanosecond, where /proc has hundredths of a second."""
    clock = ~pid << 3 | 2  # what clock_getcpuclockid(3) returns on Linux
    try:
        return time.clock_gettime(clock)
    except OSError:  # it has ended
        return 0.0


def listener(port: int) -> int | None:
    """The process that listens on this port of this machine; None: none that we may look into."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        for line in (PROC / table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    for pid in _pids():
        try:
            links = {os.readlink(entry) for entry in (PROC / str(pid) / "fd").iterdir()}  # noqa: PTH115 - a word, no path
        except OSError:
            continue
        if inodes & links:
            return pid
    return None


def parent(pid: int) -> int | None:
    """The process that started this one."""
    return dict(_parents()).get(pid)


def named(pid: int) -> str:
    """What a process is called; empty: there is none."""
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class Table:
    """Rows under headings, the first column to the left."""

    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.headings))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def verdict(
    what: str, ratio: float, *, least: float = 0.0, most: float = float("inf"), measured: float | None = None
) -> bool:
    """Say whether a figure is within its bounds. *measured*: what it was before it was compared by the yardstick."""
    good = least <= ratio <= most
    bound = f"at most {most:g}" if most < float("inf") else f"at least {least:g}"
    more = "" if measured is None else f"; as measured {measured:.2f}"
    say(f"{'PASS' if good else 'FAIL'}  {what}: {ratio:.2f} times ({bound}{more})")
    return good


def _cost(pids: Iterable[int]) -> Cost:
    cpu, memory = 0.0, 0
    for pid in pids:
        cpu += processor_time(pid) + _children_time(pid)
        memory += _memory(pid)
    return Cost(cpu, memory)


def _tree(roots: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    found = {pid for pid in roots if pid in parents}
    grown = True
    while grown:
        more = {pid for pid, above in parents.items() if above in found} - found
        found |= more
        grown = bool(more)
    return found


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def _parents() -> Iterator[tuple[int, int]]:
    for pid in _pids():
        if words := _stat(pid):
            yield pid, int(words[1])


def _stat(pid: int) -> list[str]:
    """The words of /proc/PID/stat behind the name, from the state on; none: it has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _children_time(pid: int) -> float:
    """Seconds that those of its children have used that have ended and were waited for."""
    words = _stat(pid)
    return (int(words[13]) + int(words[14])) / TICKS if words else 0.0


def _memory(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
