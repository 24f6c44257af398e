"""Faircrawl, in three ways: alone on one machine, alone with two processes, and as a worker behind RabbitMQ.

    PostgreSQL of its own, empty ──► crawl run                   ──► checkpoint ──► what PostgreSQL has used, what is stored
                                 ──► crawl seed, crawl worker

1. Each run has a new PostgreSQL, the one that comes with Faircrawl, with the settings that it always has; made before the clock starts.
2. The database tells when its last transaction was committed: the run is over then.
3. What PostgreSQL used includes a checkpoint at the end: all that it put off is done.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.postgres import Database
from tests.bench.ground import OWN, Broker, broker, clear, environment, new_prefix
from tests.bench.measuring import BenchError, Meter
from tests.bench.peers.launching import launched
from tests.bench.peers.racing import CRAWLER, PATIENCE, POSTGRES, RABBIT, Stage, Task
from tests.bench.windows import STORED

LOOK: Final = 0.1
OPEN: Final = "select exists (select from urls where open)"
LAST: Final = "select extract(epoch from timestamp)::float8 from pg_last_committed_xact()"
SETTINGS: Final = {"ALLOW_NETS": "127.0.0.0/8", "CONTACT": "bench@example.com"}


@dataclass(frozen=True, slots=True)
class Alone:
    """`crawl run`, with its embedded PostgreSQL."""

    processes: int = 1

    async def __call__(self, stage: Stage) -> None:
        """Run it to its end."""
        data = stage.folder / "data"
        command = [*_crawl("run", stage.task), "--data", data, "--json"]
        command += ["--processes", str(self.processes)]
        async with _postgres(data, stage) as postgres:
            async with (
                launched("crawl run", command, stage.folder, env=environment(SETTINGS)) as program,
                stage.watched(**{CRAWLER: program.pid, POSTGRES: postgres.pid}),
            ):
                await program.end(PATIENCE)
            stage.cpu[CRAWLER] = program.cpu
            stage.over = await postgres.ask(LAST)


@dataclass(frozen=True, slots=True)
class Behind:
    """`crawl worker`, which takes its turns from a RabbitMQ of its own."""

    async def __call__(self, stage: Stage) -> None:
        """Seed, and let a worker do all."""
        with broker(OWN) as one:
            if one is None or one.pid is None:
                raise BenchError("the RabbitMQ of this bench cannot be looked into")
            prefix = new_prefix()
            async with _postgres(stage.folder / "data", stage) as postgres:
                try:
                    await self._crawl(stage, postgres, one, {**SETTINGS, "AMQP_PREFIX": prefix})
                finally:
                    await clear(one, prefix)

    async def _crawl(
        self, stage: Stage, postgres: "_Postgres", one: Broker, settings: Mapping[str, str]
    ) -> None:
        where = ["--database", postgres.dsn, "--amqp", one.url]
        env = environment(settings)
        meter = Meter({RABBIT: [one.pid or 0]})
        before = meter.read(0)
        seeding = [*_crawl("seed", stage.task), *where]
        async with launched("crawl seed", seeding, stage.folder, env=env) as seed:
            await seed.end(PATIENCE)
        working = [sys.executable, "-m", "crawler", "worker", "--quiet", *where]
        over = time.monotonic() + PATIENCE
        async with launched("crawl worker", working, stage.folder, env=env) as worker:
            trees = {CRAWLER: worker.pid, POSTGRES: postgres.pid, RABBIT: one.pid or 0}
            async with stage.watched(**trees):
                while await postgres.ask(OPEN):
                    worker.check()
                    if time.monotonic() > over:
                        raise BenchError(f"crawl worker did not end in {PATIENCE:.0f} s")
                    await asyncio.sleep(LOOK)
                stage.over = await postgres.ask(LAST)
        stage.cpu[CRAWLER] = worker.cpu
        stage.cpu[RABBIT] = meter.read(0).costs[RABBIT].cpu - before.costs[RABBIT].cpu


@dataclass(frozen=True, slots=True)
class _Postgres:
    dsn: str
    pid: int
    database: Database

    async def ask(self, sql: str) -> float:
        """One figure."""
        return float(await self.database.ask(sql))


@contextlib.asynccontextmanager
async def _postgres(data: Path, stage: Stage) -> AsyncIterator[_Postgres]:
    """A new PostgreSQL while the body runs; then what it has used and what is stored in it are known."""
    # When a transaction was committed is noted with it: eight bytes, and no other way to know when the last one was.
    async with await EmbeddedPostgres.open(data, settings={"track_commit_timestamp": "on"}) as embedded:
        pid = int((data / "pg/postmaster.pid").read_text().split()[0])
        async with await Database.open(embedded.dsn, size=1) as database:
            meter = Meter({POSTGRES: [pid]})
            before = meter.read(0)
            yield _Postgres(embedded.dsn, pid, database)
            await database.ask("checkpoint")
            stage.cpu[POSTGRES] = meter.read(0).costs[POSTGRES].cpu - before.costs[POSTGRES].cpu
            stage.stored = int(await database.ask(STORED))


def _crawl(command: str, task: Task) -> list[str | Path]:
    name = ["bench"] if command == "seed" else ["--name", "bench"]
    options = ["--delay", "0", "--per-domain", str(task.per_domain), "--max-pages-per-domain", "0"]
    options += ["--no-sitemaps", "--quiet"]
    return [sys.executable, "-m", "crawler", command, *name, *task.urls, *options]
