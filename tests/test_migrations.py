"""Upgrades: what a migration may do while older programs go on, and what these do when they meet one."""

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from crawler.adapters import migrations
from crawler.adapters.migrations import Migration, applied, known_migrations, migrate, verify
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseBusyError, DatabaseError, SchemaBehindError, SchemaError
from tests.making import blocked
from tests.migrating import BACK, FIRST_BOUND, columns_of, newer, objections
from tests.system.told import Terminal

NEXT: Final = len(known_migrations()) + 1
ADDS: Final = Migration(NEXT, "adds", "alter table crawls add column newer_note text;")
BREAKS: Final = Migration(
    NEXT,
    "breaks",
    "-- Tidy up.\n-- breaks older programs: workers.vitals is gone\nalter table workers drop column vitals;",
)


def bound() -> list[Migration]:
    """The migrations that may not break older programs without saying so."""
    return [one for one in known_migrations() if one.number >= FIRST_BOUND]


@pytest.mark.parametrize("migration", bound(), ids=lambda one: one.name)
def test_a_migration_only_adds_or_says_that_it_breaks(migration: Migration) -> None:
    """From number 7 on, a migration does nothing that older programs cannot go on with, or it says why they cannot."""
    before = {
        name for one in known_migrations() if one.number < migration.number for name in columns_of(one.sql)
    }
    found = objections(migration.sql, before)

    assert migration.breaks is not None or found == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("alter table urls add column extra text", None),
        ("alter table urls add column extra int not null default 0, add column other timestamptz default now()", None),
        ("alter table urls add column extra bigint; alter table urls alter column extra set default txid_current()", None),
        ("alter table urls alter column depth set default 1", "AT_ColumnDefault"),
        ("create table extra (a int primary key, b int unique, check (a > b)); create unique index on extra (b)", None),
        ("create table extra (c int references crawls on delete cascade); insert into extra values (1)", None),
        ("create index on urls (depth); create sequence s; comment on table urls is 'x'", None),
        ("alter table urls add column extra text not null", "no default"),
        ("alter table urls add column title text", "ambiguous"),
        ("alter table urls add column extra uuid default gen_random_uuid()", "computed"),
        ("alter table urls add column extra text unique", "CONSTR_UNIQUE"),
        ("alter table urls add column extra int check (extra > 0)", "CONSTR_CHECK"),
        ("alter table urls add column extra int generated always as (depth + 1) stored", "CONSTR_GENERATED"),
        ("alter table urls drop column depth", "AT_DropColumn"),
        ("alter table urls alter column depth type int", "AT_AlterColumnType"),
        ("alter table urls alter column due_at set not null", "AT_SetNotNull"),
        ("alter table urls add constraint c check (depth > 0)", "AT_AddConstraint"),
        ("alter table urls rename column depth to level", "RenameStmt"),
        ("alter table urls rename to addresses", "RenameStmt"),
        ("drop table messages", "DropStmt"),
        ("drop index urls_due", "DropStmt"),
        ("create unique index on urls (url)", "unique index"),
        ("create index concurrently on urls (url)", "concurrently"),
        ("create table extra (c int references crawls)", "keeps older programs from deleting"),
        ("create table urls_8 partition of urls for values with (modulus 9, remainder 8)", "where rows of urls go"),
        ("create trigger t before insert on urls execute function f()", "CreateTrigStmt"),
        ("update urls set depth = 0", "UpdateStmt"),
        ("delete from jobs", "DeleteStmt"),
        ("insert into jobs (name) values ('x')", "InsertStmt"),
        ("do $$ begin drop table urls; end $$", "DO block"),
        ("truncate fetches", "TruncateStmt"),
    ],
)  # fmt: skip
def test_the_rule(sql: str, words: str | None) -> None:
    """What only adds is nothing to object to; everything else is, with the reason."""
    found = objections(sql, {"title", "depth", "due_at"})

    assert len(found) == (words is not None), found
    assert words is None or words in found[0]


async def test_the_newer_one_is_within_the_rule(database: Database) -> None:
    """The migration that the tests of a live upgrade apply does what the rule allows, and touches every table."""
    before = {name for one in known_migrations() for name in columns_of(one.sql)}
    migration = await newer(database, NEXT)
    written = {"crawls", "domains", "urls", "pages", "fetches", "workers", "messages", "jobs", "migrations"}

    assert objections(migration.sql, before) == []
    assert written <= set(re.findall(r"alter table (\w+) add", migration.sql))
    assert migration.breaks is None


def test_who_breaks_says_why() -> None:
    """A migration that breaks older programs says so in a line with the reason; without one it is refused."""
    assert BREAKS.breaks == "workers.vitals is gone"
    assert ADDS.breaks is None
    for line in ("-- breaks older programs", "-- Breaks older programs: "):
        with pytest.raises(SchemaError, match="does not say why"):
            _ = Migration(NEXT, "x", f"{line}\nselect 1").breaks


async def test_an_older_program_goes_on(dsn: str, database: Database) -> None:
    """A program that meets a newer migration which only adds goes on with it, and its own `crawl migrate` does nothing."""
    await migrate(database, [*known_migrations(), ADDS])
    await verify(database)
    again = await migrate(database)
    said = await Terminal(dsn)("migrate")

    assert again == []
    assert (said.status, said.err) == (0, "")
    assert f"its last migration is {NEXT:04} adds, of a newer faircrawl" in said.out
    assert (await applied(database))[NEXT].breaks is None


async def test_an_older_program_that_cannot_go_on(database: Database) -> None:
    """A program that meets a newer migration which breaks it stops with the reason, whatever it was about to do."""
    await migrate(database, [*known_migrations(), BREAKS])
    words = rf"migration {NEXT}, breaks\), which this program cannot work with \(workers.vitals is gone\): upgrade"
    with pytest.raises(SchemaError, match=words) as of_verify:
        await verify(database)
    with pytest.raises(SchemaError, match=words):
        await migrate(database)
    further = await migrate(database, [*known_migrations(), BREAKS, Migration(NEXT + 1, "on", "select 1")])

    assert not isinstance(of_verify.value, SchemaBehindError)
    assert [one.number for one in further] == [NEXT + 1]


async def test_a_newer_program_on_older_tables(database: Database) -> None:
    """A program that lacks a migration says which and what to do, also on tables from before there was a column for what breaks."""
    await database.script(
        f"{BACK}; alter table migrations drop column breaks; delete from migrations where number = 7"
    )
    with pytest.raises(SchemaBehindError, match=r"lacks migration 7 \(upgrades\): run `crawl migrate`"):
        await verify(database)
    done = await migrate(database)
    await verify(database)

    assert [one.number for one in done] == list(range(7, NEXT))


async def test_statements_are_prepared_anew(database: Database) -> None:
    """A statement whose rows a migration has made longer is prepared anew; within a transaction that is tried again once."""
    asked = [database.fetch("crawl_list") for _ in range(6)]
    await asyncio.gather(*asked)  # every connection of the pool knows it
    async with database.looking() as before:
        await before.fetch("crawl_list")
    await migrate(database, [*known_migrations(), ADDS])
    with pytest.raises(DatabaseBusyError, match="cached"):
        async with database.looking() as within:
            await within.fetch("crawl_list")
    async with database.looking() as again:
        await again.fetch("crawl_list")
    after = await asyncio.gather(*[database.fetch("crawl_list") for _ in range(6)])

    assert after == [[]] * 6


async def test_locks_are_waited_for_and_let_go(database: Database) -> None:
    """A migration whose table somebody holds gives way to those behind it, and is done when the table is free."""
    async with database.transaction() as holder:
        await holder.value("clock")
        await holder.fetch("crawl_list")
        migrating = asyncio.create_task(migrate(database, [*known_migrations(), ADDS]))
        await blocked(database)
        async with asyncio.timeout(60):  # it waits behind the migration, which soon gives up for a moment
            await database.ask("select count(*) from crawls")
        assert not migrating.done()
    done = await migrating

    assert done == [ADDS]


async def test_locks_that_never_come(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of patience, a migration says what to look at, and has left nothing behind."""
    monkeypatch.setattr(migrations, "PATIENCE", 0.1)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "100ms")
    async with database.transaction() as holder:
        await holder.fetch("crawl_list")
        with pytest.raises(
            DatabaseError, match=rf"migration {NEXT} \(adds\) cannot lock its tables.*pg_stat_activity"
        ):
            await migrate(database, [*known_migrations(), ADDS])

    assert max(await applied(database)) == NEXT - 1


def test_the_folder_is_whole() -> None:
    """Migrations are numbered without a gap: a database that has some of them has all before."""
    folder = Path(migrations.__file__).parents[2] / "migrations"

    assert [one.number for one in known_migrations()] == list(range(1, NEXT))
    assert len(list(folder.glob("*.sql"))) == NEXT - 1
