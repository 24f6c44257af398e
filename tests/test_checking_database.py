"""What `crawl check` says of databases that are not as they should be: each of them real."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.postgres import Database
from crawler.checking_database import database as look_at
from crawler.findings import Finding, Level
from crawler.settings import Settings

PASSWORD = "s3cret/@:%"


async def wrong(dsn: str, settings: Settings | None = None) -> list[Finding]:
    """What is wrong with the database there."""
    found = await look_at(replace(settings or Settings(), database_url=dsn))
    return [one for one in found if one.level is Level.WRONG]


async def level(dsn: str, topic: str) -> Level:
    """How bad this is of the database there."""
    (one,) = (one for one in await look_at(Settings(database_url=dsn)) if one.topic == topic)
    return one.level


@pytest.fixture
async def guest(database: Database, dsn: str) -> AsyncIterator[str]:
    """The same database, as a user who may only connect, twice at most."""
    await database.script("create role guest_of_tests login connection limit 2")
    yield dsn.replace("://postgres@", "://guest_of_tests@")
    await database.script("drop owned by guest_of_tests; drop role guest_of_tests")


async def test_a_good_one(dsn: str) -> None:
    """Nothing is wrong with a migrated database that has connections left."""
    assert await wrong(dsn) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("/test_", "/nobody_made_test_", "does not exist; make it (createdb)"),
        ("://postgres@", "://nobody@", "see that the user in --database is right"),
        ("host=", "host=/nowhere", "see that it runs, and that --database is right"),
    ],
)
async def test_not_let_in(dsn: str, old: str, new: str, words: str) -> None:
    """A database or a user that does not exist, and a server that is not there, are told apart, each with what to do."""
    (found,) = await wrong(dsn.replace(old, new))

    assert found.topic == "database"
    assert words in found.text


async def test_wrong_password() -> None:
    """A wrong password is told as such, and neither it nor the right one is shown."""
    with tempfile.TemporaryDirectory(prefix="fc-") as folder:
        data = Path(folder) / "data"
        async with await EmbeddedPostgres.open(data) as postgres:
            async with await Database.open(postgres.dsn, size=1) as admin:
                await admin.script(f"create role carl login password '{PASSWORD}'")
                rules = data / "pg" / "pg_hba.conf"
                rules.write_text(f"local all carl scram-sha-256\n{rules.read_text()}")
                await admin.script("select pg_reload_conf()")
                await admin.ask("select 1")
            named = postgres.dsn.replace("://postgres@", "://carl:{}@")
            (found,) = await wrong(named.format("guess-4711"))
            let_in = await level(named.format(quote(PASSWORD, safe="")), "database")

    assert "refuses the password" in found.text
    assert "see that the user and the password in --database are right" in found.text
    assert "guess-4711" not in found.text
    assert let_in is Level.OK


async def test_too_few_connections(guest: str, database: Database) -> None:
    """The limit of the user counts like that of the server; with none left, that is said, and what to raise."""
    await database.script("grant select on all tables in schema public to guest_of_tests")
    (few,) = await wrong(guest)
    async with await Database.open(guest, size=2) as first, first.connection(), first.connection():
        (none,) = await wrong(guest)

    assert few.text.startswith("2 free, and up to 11 are wanted: raise max_connections (or the user's")
    assert none.topic == "database"
    assert "raise PostgreSQL's max_connections or the user's connection limit" in none.text


async def test_no_rights(guest: str, database: Database) -> None:
    """A user who may not read the tables, or not make them where there are none yet, is told which right is missing."""
    (unread,) = (one for one in await wrong(guest) if one.topic == "database")
    await database.script("drop table migrations")
    (unmade,) = (one for one in await wrong(guest) if one.topic == "tables")

    assert "permission denied for table migrations; grant the user that right" in unread.text
    assert unmade.text == (
        "guest_of_tests may not make tables: grant create on schema public to guest_of_tests"
    )


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("delete from migrations where number = 2", "migration 2 is missing: run `crawl migrate`"),
        (
            "insert into migrations values (9999, 'later', now(), 'there is no table urls')",
            "made by a newer faircrawl (migration 9999, later), which this program cannot work with (there is no table urls)",
        ),
    ],
)
async def test_tables(dsn: str, database: Database, sql: str, words: str) -> None:
    """A database that is not migrated, or newer than the program can bear, is wrong, with what to do."""
    await database.script(sql)
    (found,) = await wrong(dsn)

    assert found.topic == "tables"
    assert words in found.text


async def test_workers(dsn: str, database: Database) -> None:
    """Workers that take their turns elsewhere are a note; those not seen for a minute do not count."""
    await database.script(
        "insert into workers (worker_id, host, boot, pid, version, slots, queue, seen_at) values"
        " ('a', 'one', '', 1, '0', 10, 'rabbit', now()),"
        " ('b', 'two', '', 1, '0', 10, 'postgres', now() - interval '2 minutes')"
    )
    found = [one for one in await look_at(Settings(database_url=dsn)) if one.topic == "workers"]

    assert {one.level for one in found} == {Level.NOTE}
    assert found[0].text.startswith("they take their turns from RabbitMQ (1), and here PostgreSQL is named")
