"""Workers, here or in processes of their own: started, listened to, told to stop.

    parent ──settings, DSN on stdin──► child: a Worker
           ◄──a line of progress a second──
           ──end of stdin──► child: stop cleanly

1. A child whose parent dies, however it dies, meets the end of its stdin and stops by itself.
2. A child that dies is replaced; the leases of its turns end by themselves.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import msgspec
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.core.errors import FaircrawlError, leaves
from crawler.enduring import AWAY
from crawler.memory import collect_less
from crawler.progress import Progress, together
from crawler.queues import opened_queue, reach_queue
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.worker import Worker

POOL: Final = 6
"""Connections of a worker to the database, besides those that listen."""
REPORT: Final = 0.5
SHORT_LIFE: Final = 10.0
SHORT_LIVES: Final = 5
"""So many processes in a row that live shorter than that: something is wrong that a new one will not mend."""


@contextlib.asynccontextmanager
async def open_worker(
    settings: Settings, dsn: str, *, patience: float = AWAY, alerts: Alerts | None = None
) -> AsyncIterator[Worker]:
    """A worker on the queue of these settings."""
    async with (
        await Database.open(dsn, size=POOL, lookups=True) as database,
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
) -> AsyncIterator[Callable[[], Progress]]:
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
    async with contextlib.AsyncExitStack() as stack:
        if settings.processes == 1:
            worker = await stack.enter_async_context(
                open_worker(settings, dsn, patience=patience, alerts=alerts)
            )
            runs, progress = [worker.run(done, hurry)], worker.progress
        else:
            children = [
                Child(settings, dsn, patience=patience, tags=alerts.tags) for _ in range(settings.processes)
            ]
            runs = [child.run(done, hurry) for child in children]

            def progress() -> Progress:
                return together([child.progress for child in children])

        async with asyncio.TaskGroup() as tasks:
            for run in runs:
                tasks.create_task(run)
            try:
                yield progress
            finally:
                done.set()


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
        self._before = Progress()
        self._now = Progress()

    @property
    def progress(self) -> Progress:
        """All that this child and those it replaced have done."""
        return together([self._before, self._now])

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Keep a worker process alive until *stop*, then wait for its end; once *hurry* is set, it cuts its open requests.

        Raises:
            FaircrawlError: worker processes die as soon as they begin.
        """
        short_lives = 0
        while not stop.is_set():
            ended = self.progress
            self._before = replace(
                ended, active=0, open_requests=0, lookups=0, rest=None, unwritten=0, away="", lack=""
            )
            self._now = Progress()
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
                self._now = msgspec.json.decode(line, type=Progress)
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

    async def until_parent_ends() -> None:
        await reader.read()
        stop.set()

    async def report(worker: Worker) -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(sys.stdout.fileno(), msgspec.json.encode(asdict(worker.progress())) + b"\n")
                await asyncio.sleep(REPORT)

    with alerting(settings, **tags) as alerts:
        async with (
            open_worker(settings, dsn, patience=patience, alerts=alerts) as worker,
            asyncio.TaskGroup() as tasks,
        ):
            extra = [tasks.create_task(until_parent_ends()), tasks.create_task(report(worker))]
            await worker.run(stop, hurry)
            for task in extra:
                task.cancel()
            with contextlib.suppress(BrokenPipeError):
                os.write(sys.stdout.fileno(), msgspec.json.encode(asdict(worker.progress())) + b"\n")


def main() -> None:
    """Be a worker process."""
    configure()
    collect_less()
    try:
        uvloop.run(_serve())
    except* FaircrawlError as errors:
        for error in leaves(errors):
            sys.stderr.write(f"crawl: a worker process stopped: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
