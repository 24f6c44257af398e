"""Worker processes of `crawl run`: started, listened to, told to stop.

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
from dataclasses import asdict
from typing import Final

import msgspec
import uvloop

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.errors import FaircrawlError, leaves
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.worker import Progress, Worker

POOL: Final = 6
"""Connections of a worker to the database, besides those that listen."""
REPORT: Final = 0.5
NONE_YET: Final = Progress(0, 0, 0, 0, 0.0, 0.0)


@contextlib.asynccontextmanager
async def open_worker(settings: Settings, dsn: str):  # type: ignore[no-untyped-def] # noqa: ANN201 - an async generator of Worker
    """A worker on the PostgreSQL queue."""
    async with await Database.open(dsn, size=POOL, lookups=True) as database:
        yield Worker(settings, database, PostgresQueue(database))


class Child:
    """One worker process, replaced when it dies."""

    def __init__(self, settings: Settings, dsn: str) -> None:
        self._hello = pickle.dumps((settings, dsn))
        self._process: asyncio.subprocess.Process | None = None
        self._before = NONE_YET
        self._now = NONE_YET

    @property
    def progress(self) -> Progress:
        """All that this child and those it replaced have done."""
        before, now = self._before, self._now
        return Progress(
            before.pages + now.pages,
            before.visits + now.visits,
            before.wire_bytes + now.wire_bytes,
            now.active,
            max(before.last_commit, now.last_commit),
            before.cpu_seconds + now.cpu_seconds,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a worker process alive until *stop*, then wait for its clean end."""
        while not stop.is_set():
            self._before, self._now = self.progress, NONE_YET
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "crawler.processes",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                await self._attend(process, stop)
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()

    async def _attend(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise AssertionError(process)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(len(self._hello).to_bytes(4, "big") + self._hello)
            await stdin.drain()
        stopper = asyncio.create_task(stop.wait())
        stopper.add_done_callback(lambda _: stdin.close())
        try:
            while line := await stdout.readline():
                self._now = msgspec.json.decode(line, type=Progress)
            await process.wait()
        finally:
            stopper.cancel()
        if process.returncode and not stop.is_set():
            await asyncio.sleep(1.0)


async def _serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(
        signal.SIGINT, lambda: None
    )  # the terminal's Ctrl-C is for the parent, who tells us
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    size = int.from_bytes(await reader.readexactly(4), "big")
    settings, dsn = pickle.loads(await reader.readexactly(size))  # noqa: S301 - our own parent wrote it

    async def until_parent_ends() -> None:
        await reader.read()
        stop.set()

    async def report(worker: Worker) -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(sys.stdout.fileno(), msgspec.json.encode(asdict(worker.progress())) + b"\n")
                await asyncio.sleep(REPORT)

    async with open_worker(settings, dsn) as worker, asyncio.TaskGroup() as tasks:
        extra = [tasks.create_task(until_parent_ends()), tasks.create_task(report(worker))]
        await worker.run(stop)
        for task in extra:
            task.cancel()
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), msgspec.json.encode(asdict(worker.progress())) + b"\n")


def main() -> None:
    """Be a worker process."""
    configure()
    try:
        uvloop.run(_serve())
    except* FaircrawlError as errors:
        for error in leaves(errors):
            sys.stderr.write(f"crawl: a worker process stopped: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
