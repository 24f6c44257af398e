"""One crawler on all the sites, once: from its first request to the last byte of what it stored, and what that has cost.

    stage: temporary folder, nginx ──► crawler ──► what is stored is counted ──► nginx ends, its log is read ──► Run

1. The clock runs from the first request to the last commit or the last change to a file: programs that start and end are not in it.
2. Processor time is all that a program used from its start to its end, apart for each: crawler, database, broker, web server.
3. What a crawler stored is counted where it lies, what it got is read in the log of the web server.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.measuring import BenchError, Yardstick
from tests.bench.peers.launching import Peaks, Program, watched
from tests.bench.peers.serving import Log, Site, log_of, serving

PATIENCE: Final = 3600.0
"""Seconds that a crawler may take for all pages."""
CRAWLER: Final = "crawler"
POSTGRES: Final = "PostgreSQL"
RABBIT: Final = "RabbitMQ"
WEB: Final = "nginx"


@dataclass(frozen=True, slots=True)
class Task:
    """What all of them are given."""

    sites: Sequence[Site]
    port: int
    per_domain: int
    """Requests to one site at once."""
    yardstick: Yardstick

    @property
    def urls(self) -> list[str]:
        """Where a crawl begins."""
        return [site.url(self.port) for site in self.sites]

    @property
    def concurrency(self) -> int:
        """Requests to all sites at once."""
        return self.per_domain * len(self.sites)


@dataclass(frozen=True, slots=True)
class Run:
    """How one crawler did, once."""

    name: str
    stored: int
    """Pages."""
    seconds: float
    cpu: Mapping[str, float]
    """Seconds of processor time, by program."""
    memory: Mapping[str, int]
    """The most bytes, by program."""
    log: Log
    yard: float
    """What the yardstick's work has cost meanwhile."""

    @property
    def speed(self) -> float:
        """Pages a second."""
        return self.stored / self.seconds

    def each(self, *names: str) -> float:
        """Processor time of a page in these programs, in milliseconds."""
        return sum(self.cpu.get(name, 0.0) for name in names) * 1000 / self.stored

    def even(self, *names: str) -> float:
        """The same in units of the yardstick."""
        return self.each(*names) / self.yard


@dataclass(slots=True)
class Stage:
    """Where a run takes place; the one who runs fills in what it has found."""

    task: Task
    folder: Path
    web: Program
    stored: int = 0
    over: float = 0.0
    """When the last of it was stored, in seconds of the clock on the wall."""
    cpu: dict[str, float] = field(default_factory=dict)
    peaks: Peaks = field(default_factory=Peaks)

    def watched(self, **trees: int) -> contextlib.AbstractAsyncContextManager[None]:
        """Keep the most memory of these and of the web server."""
        return watched(self.peaks, {**trees, WEB: self.web.pid})


Racing = Callable[[Stage], Awaitable[None]]


async def race(name: str, task: Task, racing: Racing) -> Run:
    """Let one crawler run, and measure it."""
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    began = time.monotonic()
    try:
        async with serving(task.sites, task.port, folder / "web") as web:
            stage = Stage(task, folder, web)
            await racing(stage)
            yard = task.yardstick.mean(began, time.monotonic())
        log = log_of(folder / "web")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not stage.stored:
        raise BenchError(f"{name} has stored nothing")
    cpu = {**stage.cpu, WEB: web.cpu}
    return Run(name, stage.stored, stage.over - log.first, cpu, stage.peaks.most, log, yard)
