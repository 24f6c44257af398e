"""A real PostgreSQL for the session, and a fresh copy of a migrated database for every test that asks for one.

    session:  embedded server ──► database "template", migrated
    test:     create database ... template "template" ──► dsn ──► database

`CRAWL_TEST_POSTGRES_BIN` names the folder of the PostgreSQL to test with, instead of the wheel's.

And a real RabbitMQ, for the tests that ask for one: `tests.broker` says where it comes from. Each has queues of its own there.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import secrets
import shutil
import tempfile
import threading
import zlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import hypothesis
import pytest
import structlog

from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.telemetry import OfLibraries
from tests.broker import NoBrokerError, PrivateNode, Programs, remove_queues, run_apart, some_broker

# No deadline: the machines are shared. The same cases each time where a chance finding would stop somebody else's work.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("here"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

T = TypeVar("T")

HASTE: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "autovacuum_naptime": "5s",
}
"""Nothing here has to outlive a power cut."""
SHM: Final = Path("/dev/shm")  # noqa: S108 - a place, not a name of ours
ROOM: Final = 8 << 30
"""Bytes of memory that must be free for the tests' files to lie there: they take about one."""
LONGEST_NAME: Final = 120
TEMPLATE: Final = "template_of_tests"
TESTS: Final = Path(__file__).parent
FIRST: Final = (  # noqa: SIM905 - two dozen pairs of quotes would hide the names
    "system/test_disasters system/test_crash system/test_backup system/test_live_upgrade system/test_critical"
    " system/test_many system/test_schedule contract/test_rabbit_node dashboard/test_pages_browser dashboard/test_api_schema"
    " deploy/test_live system/test_freshness system/test_sitemaps system/test_commands system/test_hostile system/test_traps"
    " system/test_demo system/test_wheel system/test_refresh system/test_robots_refresh system/test_crawl"
    " system/test_more_commands system/test_seed system/test_dead system/test_history system/test_stale"
    " adapters/test_frontier_walk adapters/test_embedded adapters/test_plans adapters/test_web_time contract/test_rabbit"
    " test_checking_broker"
).split()
"""The files that take longest, to begin with."""


def pytest_configure(config: pytest.Config) -> None:
    """Find one RabbitMQ for all testers (pytest -n), before there are any: two could not install it at once."""
    # Hundreds of programs are started: where Python keeps nothing compiled, a third of what each costs is to compile us.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Nor does any of them meet a certificate of the world: to read all its authorities is a tenth of what they cost.
    os.environ["SSL_CERT_FILE"] = os.devnull
    # A database is 600 files, a data folder 1,500: to make and remove a thousand of them took a disk a fifth of all time.
    if "TMPDIR" not in os.environ and _has_room(SHM):
        os.environ["TMPDIR"] = tempfile.tempdir = str(SHM)
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        return
    broker = contextlib.ExitStack()
    try:
        os.environ["CRAWL_TEST_AMQP_URL"] = broker.enter_context(some_broker())
    except NoBrokerError as error:
        pytest.exit(str(error), returncode=1)
    config.add_cleanup(broker.close)


def _has_room(place: Path) -> bool:
    """Whether files of ours, programs among them, can lie in memory."""
    try:
        there, memory = os.statvfs(place), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    free = next(
        (int(line.split()[1]) << 10 for line in memory.splitlines() if line.startswith("MemAvailable:")), 0
    )
    fits = min(there.f_bavail * there.f_frsize, free) >= ROOM
    return fits and os.access(place, os.W_OK) and not there.f_flag & os.ST_NOEXEC


def pytest_make_parametrize_id(val: object) -> str | None:
    """A short name for a long value: with the values themselves, the names of all tests took 30 MB, and every tester told them."""
    if not isinstance(val, (str, bytes)) or len(val) <= LONGEST_NAME:
        return None
    data = val if isinstance(val, bytes) else val.encode("utf-8", "surrogatepass")
    return f"{val[:20]!r}-and-{len(val)}-{zlib.crc32(data):08x}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes first, or one tester would be left with it when the others are done."""
    places = {TESTS / f"{name}.py": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))
    if not getattr(config.option, "loadgroup", False):
        return
    apart = [
        item.nodeid for item in items if item.get_closest_marker("xdist_group") and "@" not in item.nodeid
    ]
    if apart:
        raise pytest.UsageError(f"pytest-xdist does not keep groups together with this pytest, as {apart[0]}")


def pytest_collection_finish() -> None:
    """What was collected stays to the end: looked through again and again for garbage, it cost a third of all tests' time."""
    gc.collect()
    gc.freeze()


class Server:
    """The session's PostgreSQL, talked to from a thread with a loop of its own: the tests' loops come and go."""

    def __init__(self, folder: Path, bin_dir: Path | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-postgres")
        self._thread.start()
        self._numbers = itertools.count()
        try:
            self._postgres = self.do(EmbeddedPostgres.open(folder, bin_dir=bin_dir, settings=HASTE))
            self._admin = self.do(asyncpg.connect(self._postgres.dsn))
            self._sql(f"create database {TEMPLATE}")
            self.do(self._migrate())
        except BaseException:
            self._end()
            raise

    def dsn(self, name: str) -> str:
        """Where a database of this server is."""
        return self._postgres.dsn.replace("/crawl?", f"/{name}?")

    def clone(self, template: str = TEMPLATE) -> str:
        """The name of a new database, like the template, which nobody is connected to."""
        name = f"test_{next(self._numbers)}"
        self._sql(f"create database {name} template {template} strategy file_copy")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._sql(f"drop database {name} with (force)")

    def close(self) -> None:
        """Stop the server and the thread."""
        try:
            self.do(self._admin.close())
            self.do(self._postgres.close())
        finally:
            self._end()

    async def _migrate(self) -> None:
        async with await Database.open(self.dsn(TEMPLATE), size=1) as database:
            await migrate(database)

    def _sql(self, text: str) -> None:
        self.do(self._admin.execute(text))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The session's PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="fc-"))
    chosen = os.environ.get("CRAWL_TEST_POSTGRES_BIN")
    try:
        server = Server(folder / "data", Path(chosen) if chosen else None)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _logs_as_at_first() -> Iterator[None]:
    """A command that is called as a function sets what is logged: not for the tests after it."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, OfLibraries)]


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """A migrated database of the test's own: where it is."""
    name = server.clone()
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A migrated database of the test's own, opened as a worker opens it."""
    async with await Database.open(dsn, size=6, lookups=True) as database:
        yield database


@pytest.fixture(scope="session")
def amqp_server() -> Iterator[str]:
    """The session's RabbitMQ: where it is."""
    try:
        with some_broker() as url:
            yield url
    except NoBrokerError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture
def amqp(amqp_server: str) -> Iterator[tuple[str, str]]:
    """Queues of the test's own: where they are, and what their names begin with."""
    prefix = f"test-{secrets.token_hex(6)}"
    yield amqp_server, prefix
    run_apart(remove_queues(amqp_server, prefix))


@pytest.fixture(scope="session")
def _node(amqp_server: str) -> Iterator[PrivateNode]:
    programs = Programs.find()  # now also those that the session's RabbitMQ was made with
    if programs is None:
        pytest.skip(
            "needs the program rabbitmq-server on this machine, for a node to kill and to start again"
        )
    with PrivateNode(programs) as node:
        yield node


@pytest.fixture
def private_broker(_node: PrivateNode) -> Iterator[PrivateNode]:
    """A RabbitMQ that no other program uses: kill it, freeze it, change its users; it is mended for the next test."""
    _node.mend()
    yield _node
    _node.mend()
