"""Whether a process is alive and ready, asked as an orchestrator asks, while what it needs goes away and comes back."""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.adapters.answering import ListenError, Reply, answering
from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.adapters.rabbit import RabbitQueue
from crawler.monitoring import watched
from crawler.processes import at_work
from crawler.settings import Settings
from crawler.surveying import Readiness
from tests.broker import Gate
from tests.scraping import LISTENS, asked, ready
from tests.system.machines import until
from tests.system.told import Terminal

WELL = {"database": "ok", "broker": "ok", "leases": "ok"}


async def reply(_accept: str) -> Reply:
    """An answer."""
    return Reply(b"hello")


async def fails(_accept: str) -> Reply:
    """No answer."""
    raise KeyError("x")


@pytest.fixture
async def where() -> AsyncIterator[str]:
    """A server of two pages, one of which fails."""
    async with answering("127.0.0.1", 0, {"/well": reply, "/ill": fails}) as url:
        yield url


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/well", 200),
        ("HEAD", "/well", 200),
        ("POST", "/well", 405),
        ("PUT", "/well", 405),
        ("DELETE", "/well", 405),
        ("OPTIONS", "/well", 405),
        ("GET", "/", 404),
        ("GET", "/well/../../etc/passwd", 404),
    ],
)
async def test_what_may_be_asked(where: str, method: str, path: str, status: int) -> None:
    """Only GET and HEAD of the pages that there are; nothing is kept by anybody on the way."""
    found, _, headers = await asked(f"{where}{path}", method)

    assert found == status
    assert status != 200 or headers["Cache-Control"] == "no-store"


async def test_an_answer_that_fails(where: str) -> None:
    """A page that fails is a 500 and one event, without the reason for who asked; the next is answered."""
    with capture_logs() as told:
        status, text, _ = await asked(f"{where}/ill")
    after, _, _ = await asked(f"{where}/well")

    assert (status, "KeyError" in text) == (500, False)
    assert [(one["event"], one["log_level"]) for one in told] == [("answer.failed", "error")]
    assert after == 200


async def test_a_port_that_is_taken(where: str) -> None:
    """Who cannot listen says in one line where, and why."""
    port = int(where.rpartition(":")[2])
    with pytest.raises(ListenError, match=f"127.0.0.1:{port} .*another program.*CRAWL_METRICS_PORT") as error:
        async with answering("127.0.0.1", port, {}):
            pass
    with pytest.raises(ListenError, match="no such address"):
        async with answering("192.0.2.1", 0, {}):
            pass

    assert "\n" not in str(error.value)


async def test_ipv6() -> None:
    """It listens on IPv6 too, and says so in a URL that can be asked."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs a machine with IPv6")
    async with answering("::1", 0, {"/": reply}) as url:
        status, _, _ = await asked(f"{url}/")

    assert (url.startswith("http://[::1]:"), status) == (True, 200)


async def test_the_database_goes_and_comes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A worker whose database is gone is alive and not ready, and says what is missing; it is ready when that is back."""
    postgres = await EmbeddedPostgres.open(tmp_path / "data")
    async with await Database.open(postgres.dsn, size=3) as database:
        await migrate(database)
        settings = Settings(database_url=postgres.dsn, metrics_port=0)
        async with (
            watched(settings, database) as told,
            at_work(settings, postgres.dsn, asyncio.Event(), patience=math.inf) as crew,
        ):
            told.begun(crew)
            found = LISTENS.search(capsys.readouterr().err)
            assert found is not None
            url = found[1]
            first = await ready(url)
            begun = "select count(*) from workers where seen_at > started_at"
            await until(lambda: database.ask(begun), "it is at work, and its second heartbeat told so")
            await postgres.close()
            await until(is_status(url, 503), "it is not ready")
            second = await ready(url)
            alive, text, _ = await asked(f"{url}/healthz")
            away = crew.readings
            await until(lambda: away()[0].values["crawl_away", ("database",)], "the metrics say so too")
            postgres = await EmbeddedPostgres.open(tmp_path / "data")
            await until(is_status(url, 200), "it is ready again")
            last = await ready(url)
    await postgres.close()

    assert first == last == (200, WELL)
    assert second[0] == 503
    assert second[1]["database"] != "ok" != second[1]["broker"]
    assert (alive, text) == (200, "ok\n")


def is_status(url: str, status: int) -> Callable[[], Awaitable[bool]]:
    """Whether /readyz answers so."""

    async def found() -> bool:
        return (await ready(url))[0] == status

    return found


async def test_the_broker_goes_and_comes(database: Database, amqp: tuple[str, str]) -> None:
    """A broker that lets nobody in is told, and the database is well all the same; so are leases that are not renewed."""
    late = [0]
    async with Gate(amqp[0]) as gate, RabbitQueue(gate.url, prefix=amqp[1]) as queue:
        readiness = Readiness(database, queue, late=lambda: late[0], every=0.0)
        first = await readiness()
        await gate.shut()
        second = await readiness()
        gate.open()
        await until(lambda: _is_well(readiness), "it is back")
        late[0] = 2
        last = await readiness()

    assert first == WELL
    assert second["broker"] != "ok"
    assert second["database"] == "ok"
    assert last == {**WELL, "leases": "2 could not be renewed"}


async def _is_well(readiness: Readiness) -> bool:
    return await readiness() == WELL


async def test_found_out_once_however_many_ask(database: Database) -> None:
    """What was found is told again for two seconds, to all who ask meanwhile."""
    now = [0.0]
    readiness = Readiness(database, PostgresQueue(database), clock=lambda: now[0])
    found = await asyncio.gather(*(readiness() for _ in range(20)))
    await database.close()
    again = await readiness()
    now[0] += 2.1
    later = await readiness()

    assert [*found, again] == [WELL] * 21
    assert later["database"] != "ok"


async def test_nothing_listens_unasked(
    dsn: str, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without METRICS_PORT nothing listens, and nothing is said of it."""
    async with watched(replace(Settings(), database_url=dsn), database):
        said = capsys.readouterr().err

    assert said == ""


@pytest.mark.parametrize("command", ["worker", "scheduler"])
async def test_a_command_whose_port_is_taken(dsn: str, where: str, command: str) -> None:
    """A worker or a scheduler that cannot listen ends with one line that says what to do."""
    port = where.rpartition(":")[2]
    said = await Terminal(dsn, {"CONTACT": "mailto:nobody@a.test"})(command, "--port", port)

    assert (said.status, len(said.err.splitlines())) == (1, 1)
    assert f"127.0.0.1:{port}" in said.err
    assert "CRAWL_METRICS_PORT" in said.err
