"""Workers, here or in processes of their own: started, listened to, told to stop.

    parent ──settings, DSN on stdin──► child: a Worker
           ◄──a line of progress twice a second, and what it measures──
           ──end of stdin──► child: stop cleanly

1. A child whose parent dies, however it dies, meets the end of its stdin and stops by itself.
2. A child that dies is replaced; the leases of its turns end by themselves. What it had counted stays counted.
"""

import asyncio
import contextlib
import fcntl
import math
import os
import pickle
import signal
import stat
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
import structlog
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.core.errors import FaircrawlError, leaves
from crawler.core.metrics import Packed, Reading
from crawler.enduring import AWAY
from crawler.memory import collect_less
from crawler.progress import Progress, together
from crawler.queues import opened_queue, reach_queue
from crawler.settings import Settings, secrets_in
from crawler.telemetry import configure
from crawler.worker import Worker

log: Final = structlog.get_logger()

POOL: Final = 6
"""Connections of a worker to the database, besides those that listen."""
REPORT: Final = 0.5
MEASURE: Final = 2.0
"""Seconds between what a child measures, if anybody wants to know."""
LONGEST: Final = 1 << 20
"""Bytes of a report: with many name servers it has some thousands."""
SHORT_LIFE: Final = 10.0
SHORT_LIVES: Final = 5
"""So many processes in a row that live shorter than that: something is wrong that a new one will not mend."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a child says of itself: a line of JSON."""

    progress: Progress
    reading: Packed | None
    """None: as it was."""


class Crew(Protocol):
    """Workers at work, seen from outside."""

    def progress(self) -> Progress:
        """How far all of them are."""

    def readings(self) -> list[Reading]:
        """What each process measures."""


@contextlib.asynccontextmanager
async def open_worker(
    settings: Settings, dsn: str, *, patience: float = AWAY, alerts: Alerts | None = None
) -> AsyncIterator[Worker]:
    """A worker on the queue of these settings."""
    async with (
        await Database.open(dsn, size=POOL, lookups=True, brief=True) as database,
        opened_queue(settings, database) as queue,
    ):
        same = settings.database_url is None  # a data folder is of this machine
        yield Worker(settings, database, queue, same_machine=same, patience=patience, alerts=alerts)


@contextlib.asynccontextmanager
async def at_work(
    settings: Settings,
    dsn: str,
    hurry: asyncio.Event,
    *,
    patience: float = AWAY,
    alerts: Alerts | None = None,
) -> AsyncIterator[Crew]:
    """Workers at work; leaving waits for their clean end. If one fails here, the body is cancelled.

    *patience*: seconds for which the database or the broker may be away before a worker gives up.
    *alerts*: who is told what is critical here; each child tells for itself, with the same tags.

    Raises:
        BrokerError: the broker that was named is not there, or does not let us in.
    """
    await reach_queue(settings)
    alerts = alerts or Alerts()
    alerts.at_work = True
    done = asyncio.Event()
    crew: Crew
    async with contextlib.AsyncExitStack() as stack:
        if settings.processes == 1:
            worker = await stack.enter_async_context(
                open_worker(settings, dsn, patience=patience, alerts=alerts)
            )
            runs, crew = [worker.run(done, hurry)], _Alone(worker)
        else:
            children = [
                Child(settings, dsn, patience=patience, tags=alerts.tags) for _ in range(settings.processes)
            ]
            runs, crew = [child.run(done, hurry) for child in children], _Several(children)
        async with asyncio.TaskGroup() as tasks:
            for run in runs:
                tasks.create_task(run)
            try:
                yield crew
            finally:
                done.set()


class _Alone:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def progress(self) -> Progress:
        return self._worker.progress()

    def readings(self) -> list[Reading]:
        return [self._worker.reading()]


class _Several:
    def __init__(self, children: "list[Child]") -> None:
        self._children = children

    def progress(self) -> Progress:
        return together([child.progress for child in self._children])

    def readings(self) -> list[Reading]:
        return [child.reading for child in self._children]


class Child:
    """One worker process, replaced when it dies."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        *,
        patience: float = AWAY,
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._hello = pickle.dumps((settings, dsn, patience, dict(tags)))
        self._before, self._now = Progress(), Progress()
        self._counted, self._reading = Reading(), Reading()

    @property
    def progress(self) -> Progress:
        """All that this child and those it replaced have done."""
        return together([self._before, self._now])

    @property
    def reading(self) -> Reading:
        """What this child measures, with all that those it replaced have counted."""
        return self._reading.after(self._counted)

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Keep a worker process alive until *stop*, then wait for its end; once *hurry* is set, it cuts its open requests.

        Raises:
            FaircrawlError: worker processes die as soon as they begin.
        """
        short_lives = 0
        while not stop.is_set():
            ended, idle = self.progress, Progress()
            self._before = replace(
                idle,
                pages=ended.pages,
                visits=ended.visits,
                wire_bytes=ended.wire_bytes,
                last_commit=ended.last_commit,
                cpu_seconds=ended.cpu_seconds,
                outcomes=ended.outcomes,
            )
            self._counted = self.reading.counted()
            self._now, self._reading = idle, Reading()
            began = time.monotonic()
            await self._live(stop, hurry)
            short_lives = short_lives + 1 if time.monotonic() - began < SHORT_LIFE else 0
            if short_lives >= SHORT_LIVES and not stop.is_set():
                raise FaircrawlError(
                    f"{SHORT_LIVES} worker processes in a row died within {SHORT_LIFE:.0f} s: see above"
                )

    async def _live(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crawler.processes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST,
        )
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise AssertionError(process)
        stopper = asyncio.create_task(stop.wait())
        stopper.add_done_callback(lambda _: stdin.close())
        hurrier = asyncio.create_task(hurry.wait())
        hurrier.add_done_callback(partial(_terminate, process))
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stdin.write(len(self._hello).to_bytes(4, "big") + self._hello)
                await stdin.drain()
            while line := await stdout.readline():
                report = msgspec.json.decode(line, type=Report)
                self._now = report.progress
                if report.reading is not None:
                    self._reading = Reading.of(report.reading)
            await process.wait()
        finally:
            stopper.cancel()
            hurrier.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _terminate(process: asyncio.subprocess.Process, asked: "asyncio.Task[Any]") -> None:
    if asked.cancelled():
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


async def _serve() -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    loop.add_signal_handler(signal.SIGTERM, told)
    # The terminal's Ctrl-C is for the parent, who tells us.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    size = int.from_bytes(await reader.readexactly(4), "big")
    settings, dsn, patience, tags = pickle.loads(await reader.readexactly(size))  # noqa: S301 - our own parent wrote it

    configure(form=settings.log_format, level=settings.log_level, secrets=secrets_in(settings))
    parent = sys.stdout.fileno()
    measures = settings.metrics_port is not None

    async def until_parent_ends() -> None:
        await reader.read()
        stop.set()

    with alerting(settings, **tags) as alerts:
        async with (
            open_worker(settings, dsn, patience=patience, alerts=alerts) as worker,
            asyncio.TaskGroup() as tasks,
        ):
            extra = [
                tasks.create_task(until_parent_ends()),
                tasks.create_task(_keep_telling(worker, parent, measures=measures)),
            ]
            await worker.run(stop, hurry)
            for task in extra:
                task.cancel()
            with contextlib.suppress(BrokenPipeError):
                _tell(worker, parent, measured=True)


async def _keep_telling(worker: Worker, parent: int, *, measures: bool) -> None:
    """Tell the parent how we are until cancelled, and now and then what we measure. One that stands still does not hold us up."""
    with contextlib.suppress(BrokenPipeError):
        measured = -math.inf
        while True:
            now = time.monotonic()
            wanted = measures and now - measured >= MEASURE
            if not _unread(parent):
                measured = now if wanted else measured
                _tell(worker, parent, measured=wanted)
            await asyncio.sleep(REPORT)


def _tell(worker: Worker, parent: int, *, measured: bool) -> None:
    reading = worker.reading().packed() if measured else None
    os.write(parent, msgspec.json.encode(Report(worker.progress(), reading)) + b"\n")


def _unread(parent: int) -> int:
    """Bytes of reports that the parent has not read yet: of a pipe, what is in it; of a socket (uvloop's pipes are some), what we sent."""
    question = termios.TIOCOUTQ if stat.S_ISSOCK(os.fstat(parent).st_mode) else termios.FIONREAD
    return int(struct.unpack("i", fcntl.ioctl(parent, question, bytes(4)))[0])


def main() -> None:
    """Be a worker process."""
    configure()
    collect_less()
    try:
        uvloop.run(_serve())
    except* FaircrawlError as errors:
        for error in leaves(errors):
            log.error("worker.stopped", reason=str(error))  # noqa: TRY400 - what it is stands in the reason
        sys.exit(1)
    except* Exception:
        # Not left to Python, which knows neither the form of our logs nor what must not stand there.
        log.exception("worker.stopped", reason="this is a bug in faircrawl")
        sys.exit(1)


if __name__ == "__main__":
    main()
