"""The beginning of a service, when what it needs is not there: what is waited for, for how long, and what is not."""

import asyncio
import ssl
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import trustme
from structlog.testing import capture_logs

from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.beginning import Beginning
from crawler.core.errors import (
    BrokerError,
    BrokerUnavailableError,
    DatabaseRefusesError,
    DatabaseUnavailableError,
    SchemaBehindError,
    SchemaError,
)
from crawler.opening import prepare
from crawler.queues import reach_queue
from crawler.settings import Settings
from tests.broker import Gate, free_port
from tests.migrating import BACK
from tests.system.machines import until

Events: TypeAlias = list[MutableMapping[str, Any]]


@pytest.fixture
def told() -> Iterator[Events]:
    """The events of the log, as they come."""
    with capture_logs() as events:
        yield events


def names(told: Events) -> list[str]:
    """What they are called."""
    return [str(one["event"]) for one in told]


async def begun(settings: Settings, stop: asyncio.Event | None = None) -> bool:
    """Begin as a worker does."""
    async with await Database.open(settings.database_url or "", size=1) as database:
        beginning = Beginning(settings, stop)
        made = await beginning.made(lambda: prepare(settings, database), lambda: reach_queue(settings))
        assert (beginning.waits_for == "") is made
        return made


def nowhere(patience: float) -> Settings:
    """A database that is not there."""
    return Settings(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none", start_patience=patience)


async def test_nothing_to_wait_for(dsn: str, amqp: tuple[str, str], told: Events) -> None:
    """Where all is there the work begins, and nothing is said."""
    assert await begun(Settings(database_url=dsn, amqp_url=amqp[0], amqp_prefix=amqp[1]))
    assert names(told) == []


async def test_patience_ends(told: Events) -> None:
    """A database that does not come is said once to be waited for; then the error is raised, and says how long that was."""
    with pytest.raises(DatabaseUnavailableError, match=r"cannot be reached: .* \(waited for 0.3 s\)$"):
        await begun(nowhere(0.3))

    assert names(told) == ["database.awaited"]


async def test_no_patience(told: Events) -> None:
    """With no patience the first attempt is the only one."""
    with pytest.raises(DatabaseUnavailableError) as error:
        await begun(nowhere(0))

    assert "waited" not in str(error.value)
    assert names(told) == []


async def test_told_to_stop(told: Events) -> None:
    """Who is told to stop while it waits does not begin, and says so at once, however long its patience."""
    stop = asyncio.Event()
    async with asyncio.timeout(60):
        beginning = asyncio.create_task(begun(nowhere(600), stop))
        await until(lambda: told, "it waits")
        stop.set()

        assert await beginning is False


async def test_interrupted(told: Events) -> None:
    """Who is cancelled while it waits is so at once."""
    beginning = asyncio.create_task(begun(nowhere(600)))
    await until(lambda: told, "it waits")
    beginning.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await beginning


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_a_step_that_ends_otherwise(told: Events, way: str) -> None:
    """Who is told to end while a step makes an error of its cancellation ends all the same, and does not begin to wait."""
    stop, waits = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DatabaseUnavailableError from None

    settings = Settings(database_url="postgresql://nobody@127.0.0.1/none", start_patience=600)
    beginning = asyncio.create_task(Beginning(settings, stop).made(stubborn))
    await waits.wait()
    if way == "stop":
        stop.set()
    else:
        beginning.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait({beginning})

    assert beginning.cancelled() if way == "cancel" else beginning.result() is False
    assert told == []


async def test_an_attempt_that_outlasts_the_patience(told: Events) -> None:
    """What is waited for is told even if the first attempt takes longer than the patience."""

    async def slow() -> None:
        await asyncio.sleep(0.02)
        raise BrokerUnavailableError

    with pytest.raises(BrokerUnavailableError, match=r"\(waited for 0.01 s\)$"):
        await Beginning(Settings(start_patience=0.01)).made(slow)

    assert names(told) == ["broker.awaited"]


async def test_tables_come(dsn: str, database: Database, told: Events) -> None:
    """Tables that lack a migration are waited for until somebody migrates; out of patience, what to do is said."""
    await database.script(BACK)
    with pytest.raises(
        SchemaBehindError, match=r"lacks migration 8 .*run `crawl migrate` \(waited for 0.2 s\)"
    ):
        await begun(Settings(database_url=dsn, start_patience=0.2))
    beginning = asyncio.create_task(begun(Settings(database_url=dsn, start_patience=60)))
    await until(lambda: names(told).count("schema.awaited") == 2, "it waits")
    await migrate(database)

    assert await beginning
    assert names(told) == ["schema.awaited", "schema.awaited", "database.reached"]


async def test_a_broker_comes(dsn: str, amqp: tuple[str, str], told: Events) -> None:
    """A broker that hangs up, as one does that starts, is waited for until it lets us in."""
    async with Gate(amqp[0]) as gate:
        await gate.shut()
        settings = Settings(database_url=dsn, amqp_url=gate.url, amqp_prefix=amqp[1], start_patience=60)
        beginning = asyncio.create_task(begun(settings))
        await until(lambda: told, "it waits")
        gate.open()

        assert await beginning
    assert names(told) == ["broker.awaited", "broker.reached"]


async def test_a_broker_that_never_comes(dsn: str) -> None:
    """A broker that does not come is told as ever."""
    settings = Settings(
        database_url=dsn, amqp_url=f"amqp://guest:guest@127.0.0.1:{free_port()}/", start_patience=0.2
    )
    with pytest.raises(BrokerUnavailableError, match="see that it runs"):
        await begun(settings)


async def test_what_waiting_does_not_mend(
    dsn: str, database: Database, amqp: tuple[str, str], told: Events
) -> None:
    """An unknown database or user, an address that is none, a wrong password, tables of a newer program: told at once, with no waiting."""
    at = urlsplit(amqp[0])
    wrong = at._replace(netloc=f"{at.username}:wrong-one@{at.netloc.rpartition('@')[2]}").geturl()
    name = urlsplit(dsn).path
    async with asyncio.timeout(60):
        with pytest.raises(DatabaseRefusesError, match="does not exist"):
            await begun(Settings(database_url=dsn.replace(name, "/no_such_one"), start_patience=600))
        with pytest.raises(DatabaseRefusesError, match="address cannot be used"):
            await begun(Settings(database_url=f"{dsn}&sslmode=odd", start_patience=600))
        with pytest.raises(BrokerError, match="password") as refused:
            await begun(Settings(database_url=dsn, amqp_url=wrong, start_patience=600))
        await database.script("insert into migrations values (9999, 'later', now(), 'all is new')")
        with pytest.raises(SchemaError, match=r"9999.*\(all is new\): upgrade this program") as newer:
            await begun(Settings(database_url=dsn, start_patience=600))

    assert not isinstance(refused.value, BrokerUnavailableError)
    assert not isinstance(newer.value, SchemaBehindError)
    assert names(told) == []


async def test_a_certificate_that_is_not_trusted(tmp_path: Path, told: Events) -> None:
    """A database with a certificate of an authority that we do not know: told at once, and what to do."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    tls = f"sslmode=verify-full&sslnegotiation=direct&sslrootcert={tmp_path / 'ca.pem'}"
    settings = Settings(database_url=f"postgresql://u:p@127.0.0.1:{port}/d?{tls}", start_patience=600)
    async with server, asyncio.timeout(60):
        with pytest.raises(DatabaseRefusesError, match=r"certificate that is not trusted .*sslrootcert="):
            await begun(settings)

    assert names(told) == []


async def test_an_embedded_database_is_not_waited_for() -> None:
    """One's own server that cannot be reached is an error at once: nobody else starts it."""

    async def fails() -> None:
        raise DatabaseUnavailableError

    async with asyncio.timeout(60):
        with pytest.raises(DatabaseUnavailableError):
            await Beginning(Settings(start_patience=600)).made(fails)
