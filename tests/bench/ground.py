"""Where the benches work: a PostgreSQL with databases of their own, a RabbitMQ if wanted, workers.

Everything that is made here is removed at the end; a server that was named keeps what it had.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from crawler.adapters.cluster import SETTINGS
from crawler.adapters.embedded import EmbeddedPostgres
from tests.bench.measuring import BenchError, listener, named, note, parent
from tests.bench.web import Web
from tests.broker import PrivateNode, Programs, remove_queues

OWN: Final = "own"
"""Instead of a broker's URL: one for this bench alone."""
SHOWN: Final = ("shared_buffers", "wal_compression", "max_wal_size", "fsync")
"""Of an embedded server, what most tells on its cost."""
STOPPING: Final = 60.0
LOOKS: Final = 25
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(slots=True)
class Server:
    """A PostgreSQL, and the databases that were made on it."""

    dsn: str
    pid: int | None
    """Its first process; None: it runs on another machine."""
    about: str
    _made: list[str] = field(default_factory=list)

    async def create(self) -> str:
        """A new, empty database: its DSN."""
        name = f"faircrawl_bench_{secrets.token_hex(4)}"
        await self._execute(f"create database {name}")
        self._made.append(name)
        parts = urlsplit(self.dsn)
        return urlunsplit(parts._replace(path=f"/{name}"))

    async def drop(self, dsn: str) -> None:
        """Remove a database that `create` made."""
        name = urlsplit(dsn).path.removeprefix("/")
        await self._execute(f"drop database if exists {name} with (force)")
        self._made.remove(name)

    async def drop_all(self) -> None:
        """Remove all that is left of them."""
        for name in list(self._made):
            await self.drop(f"x:///{name}")

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def server(dsn: str | None, settings: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """The PostgreSQL that was named, or an embedded one in a temporary folder with *settings* on top of its own."""
    if dsn is not None:
        try:
            connection = await asyncpg.connect(dsn)
        except (OSError, ValueError, asyncpg.PostgresError) as error:
            raise BenchError(f"the database cannot be reached: {error}") from error
        backend = connection.get_server_pid()
        about = f"PostgreSQL {await connection.fetchval('show server_version')}"
        await connection.close()
        one = Server(dsn, parent(backend) if named(backend) == "postgres" else None, about)
        try:
            yield one
        finally:
            await one.drop_all()
        return
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    told = {name: value for name, value, _ in SETTINGS} | dict(settings or {})
    try:
        async with await EmbeddedPostgres.open(folder / "data", settings=settings) as postgres:
            pid = int((folder / "data/pg/postmaster.pid").read_text().split()[0])
            shown = ", ".join(f"{name} {told[name]}" for name in SHOWN)
            yield Server(postgres.dsn, pid, f"PostgreSQL embedded: {shown}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Broker:
    """A RabbitMQ."""

    url: str
    pid: int | None
    """None: it runs on another machine, or we may not look."""


def _listener(port: int) -> int | None:
    """As `listener`; a server that has just come up is looked for a few times."""
    for _ in range(LOOKS):
        if (pid := listener(port)) is not None:
            return pid
        time.sleep(0.2)
    return None


@contextlib.contextmanager
def broker(url: str | None) -> Iterator[Broker | None]:
    """The RabbitMQ that was named, one of our own, or none."""
    if url is None:
        yield None
    elif url == OWN:
        programs = Programs.find()
        if programs is None:
            raise BenchError("there is no rabbitmq-server program: install it, or name a broker with --amqp")
        with PrivateNode(programs) as node:
            yield Broker(node.url, _listener(node.port))
    else:
        parts = urlsplit(url)
        here = parts.hostname in LOCAL
        yield Broker(url, listener(parts.port or 5672) if here else None)


def new_prefix() -> str:
    """What the queues of one frontier begin with."""
    return f"bench-{secrets.token_hex(4)}"


async def clear(one: Broker | None, prefix: str) -> None:
    """Remove those queues."""
    if one is not None:
        await remove_queues(one.url, prefix)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with these settings and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    return own | {f"CRAWL_{name}": value for name, value in settings.items()}


def settings_for(web: Web) -> dict[str, str]:
    """What a worker has to know to visit that web, and to be let in by `crawl worker`."""
    return {
        "DNS_SERVERS": f"127.0.0.1:{web.names}",
        "HOSTS_FILE": "none",
        "ALLOW_NETS": "127.0.0.0/8",
        "PER_ADDRESS": "50",  # as on the open web: while it is not named, allowed networks have no limit
        "CONTACT": "bench@example.com",
    }


@dataclass(frozen=True, slots=True)
class Worker:
    """A `crawl worker` at work."""

    process: subprocess.Popen[bytes]
    said: Path
    """What it wrote on standard error."""

    def check(self) -> None:
        """Raise if it has ended: it was not told to."""
        status = self.process.poll()
        if status is not None:
            words = self.said.read_text(errors="replace").strip().splitlines()
            raise BenchError(f"a worker ended with {status}: {words[-1] if words else 'it said nothing'}")


@contextlib.contextmanager
def workers(
    count: int, dsn: str, one: Broker | None, settings: Mapping[str, str]
) -> Iterator[Sequence[Worker]]:
    """So many `crawl worker` at work while the body runs; then they are told to stop."""
    command = [sys.executable, "-m", "crawler", "worker", "--quiet", "--database", dsn]
    command += [] if one is None else ["--amqp", one.url]
    with tempfile.TemporaryDirectory(prefix="fc-bench-") as folder, contextlib.ExitStack() as stack:
        running = []
        for number in range(count):
            said = Path(folder) / f"worker-{number}"
            running.append(Worker(stack.enter_context(_process(command, settings, said)), said))
        try:
            yield running
        finally:
            for worker in running:  # all at once; then each is waited for
                worker.process.terminate()


@contextlib.contextmanager
def _process(
    command: list[str], settings: Mapping[str, str], said: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with said.open("wb") as file:
        process = subprocess.Popen(command, env=environment(settings), stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            note(f"a worker did not stop in {STOPPING:.0f} s: it was killed")
            process.kill()
            process.wait()
