"""Services that are started before what they need: the real programs, a real PostgreSQL and a real RabbitMQ."""

import re
import signal
from http import HTTPStatus
from pathlib import Path
from typing import Final

from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.demo.server import serving
from tests.broker import Gate, free_port
from tests.migrating import BACK
from tests.scraping import asked, ready
from tests.system.machines import Machine, Machines, machines, until

PATIENT: Final = {"START_PATIENCE": "10m", "LOG_FORMAT": "json"}


async def test_any_order(tmp_path: Path, amqp: tuple[str, str]) -> None:
    """Started before the database, its tables and the broker, each service says once what it waits for, is alive and not ready, and begins.

    Who is told to stop meanwhile stops at once, as ever.
    """
    postgres = await EmbeddedPostgres.open(tmp_path / "data")
    async with await Database.open(postgres.dsn, size=1) as database:
        await migrate(database)
        await database.script(BACK)
    await postgres.close()
    ports = [free_port() for _ in range(3)]
    with serving({}) as web:
        async with Gate(amqp[0]) as gate, machines(web, postgres.dsn, tmp_path, None) as hall:
            await gate.shut()
            broker = {"AMQP_URL": gate.url, "AMQP_PREFIX": amqp[1]}
            worker = spawned(hall, "worker", "--processes", "2", "--port", f"{ports[0]}", **broker)
            scheduler = spawned(hall, "scheduler", "--port", f"{ports[1]}", **broker)
            dashboard = spawned(hall, "dashboard", "--port", f"{ports[2]}", **broker)
            impatient = spawned(hall, "migrate")
            for each in (worker, scheduler, dashboard, impatient):
                await says(each, "database.awaited", "waits for the database")
            away = [await probed(port) for port in ports]
            page = await asked(f"http://127.0.0.1:{ports[2]}/api/crawls")
            impatient.signal(signal.SIGTERM)
            interrupted = await impatient.ended()

            postgres = await EmbeddedPostgres.open(tmp_path / "data")
            for each in (worker, scheduler, dashboard):
                await says(each, "schema.awaited", "waits for the tables")
            lacking = [await probed(port) for port in ports]
            migrated = await hall.command("migrate")

            for each in (worker, scheduler):
                await says(each, "broker.awaited", "waits for the broker")
            hung_up = [await probed(port) for port in ports]
            gate.open()
            for each in (worker, scheduler, dashboard):
                await says(each, f'"{each.name[:-1]}.started"', "has begun")
            at_work = "select count(*) from workers where slots > 0"
            await until(lambda: hall.database.ask(f"{at_work} having count(*) = 2"), "both processes work")
            here = [await settled(port) for port in ports]
            await hall.dismiss(worker, scheduler, dashboard)
            said = [each.said for each in (worker, scheduler, dashboard)]
            await postgres.close()

    assert [live for live, _, _ in away] == [200, 200, 200]
    assert [status for found in (away, lacking) for _, status, _ in found] == [503] * 6
    assert [status for _, status, _ in hung_up[:2]] == [503, 503]
    assert all("lacks migration 8" in why["start"] for _, _, why in lacking)
    assert (page[0], "has not begun" in page[1]) == (503, True)
    assert interrupted == 130
    assert "applied 0008" in migrated
    assert here == [(200, 200)] * 3
    for text in said:
        assert text.count("database.awaited") == text.count("schema.awaited") == 1, text
    assert [text.count("broker.awaited") for text in said] == [1, 1, 0]


async def test_patience_and_signals(dsn: str, tmp_path: Path) -> None:
    """Out of patience a service ends with 1 and one line more; a service that waits and is told to stop ends well, and at once."""
    nowhere = {"DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    with serving({}) as web:
        async with machines(web, dsn, tmp_path, None, LOG_FORMAT="console", **nowhere) as hall:
            tired = hall._spawn("scheduler", "crawler", "scheduler", START_PATIENCE="1s")
            waiting = hall._spawn("worker", "crawler", "worker", START_PATIENCE="10m")
            status = await tired.ended()
            await until(lambda: "database.awaited" in waiting.said, "it waits")
            waiting.signal(signal.SIGTERM)
            stopped = await waiting.ended()  # long before its own patience is over

    assert status == 1
    assert re.fullmatch(
        r"\S+ \[warning *\] database\.awaited .*\ncrawl: the database at \S+ cannot be reached: .* \(waited for 1 s\)\n",
        tired.said,
    ), tired.said
    assert (stopped, waiting.said.count("\n")) == (0, 1)


async def says(machine: Machine, word: str, what: str) -> None:
    """Return when it has said so."""
    await until(lambda: word in machine.said, f"{machine.name} {what}")


def spawned(hall: Machines, *words: str, **settings: str) -> Machine:
    """Start a service that has time."""
    return hall._spawn(words[0], "crawler", *words, **{**PATIENT, **settings})


async def probed(port: int) -> tuple[int, int, dict[str, str]]:
    """What an orchestrator sees: the status of /healthz, and that of /readyz with its reasons."""
    where = f"http://127.0.0.1:{port}"
    live, _, _ = await asked(f"{where}/healthz")
    return live, *await ready(where)


async def settled(port: int) -> tuple[int, int]:
    """The same, once what was found before is old."""
    found = [0, 0]

    async def is_ready() -> bool:
        found[:] = (await probed(port))[:2]
        return found[1] == HTTPStatus.OK

    await until(is_ready, f"port {port} is ready")
    return found[0], found[1]
