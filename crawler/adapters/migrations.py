"""The schema: plain SQL files, applied in order, each once and in a transaction of its own, while the crawl goes on.

    program knows 1..7, database has 1..8 ──► does 8 say that it breaks older programs? ──no──► go on
                                                                                       ──yes─► SchemaError, with its reason
    program knows 1..8, database has 1..7 ──► SchemaBehindError: run `crawl migrate`

1. One program at a time migrates, by polling an advisory lock: waiting *in* the database for it would hold a snapshot, and
   deadlock with CREATE INDEX CONCURRENTLY.
2. A migration waits for its locks for a moment only, and is tried again: whoever comes after it in a table's line waits as long.
3. A migration that older programs cannot live with says why, in a line of its file: ``-- breaks older programs: urls.open is gone``.
   What one may do that does not is told in CONTRIBUTING.md.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import crawler
from crawler.adapters.postgres import Database
from crawler.adapters.translating import translated
from crawler.core.errors import DatabaseBusyError, DatabaseError, SchemaBehindError, SchemaError

LOCK: Final = 20010
PATIENCE: Final = 120.0
"""Seconds for another program that migrates, and for whoever holds what a migration has to lock."""
LOCK_TIMEOUT: Final = "2s"
AGAIN: Final = 0.5
"""Seconds between attempts at one migration: those who had to wait behind it come first."""
_TABLE: Final = """
create table if not exists migrations (
  number     int not null,
  name       text not null,
  applied_at timestamptz not null default now(),
  constraint "a migration is applied once" primary key (number))
"""


_BREAKS: Final = re.compile(r"^-- breaks older programs\b:?[ \t]*(.*)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: 0001_heart.sql is number 1, named heart."""

    number: int
    name: str
    sql: str

    @property
    def breaks(self) -> str | None:
        """Why older programs cannot go on with it; None: they can. Raises SchemaError: it says so without a reason."""
        found = _BREAKS.search(self.sql)
        if found is not None and not found[1].strip():
            raise SchemaError(
                f"migration {self.number} ({self.name}) breaks older programs and does not say why"
            )
        return None if found is None else found[1].strip()


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that a database has, whoever knew it."""

    number: int
    name: str
    breaks: str | None
    """As of `Migration`."""


def known_migrations() -> list[Migration]:
    """Those that this program brings, in order; from the wheel, or from the checkout it runs in."""
    package = Path(crawler.__file__).parent
    folder = next(
        (f for f in (package / "migrations", package.parent / "migrations") if any(f.glob("*.sql"))), None
    )
    if folder is None:
        raise SchemaError(
            f"this installation has no migrations ({package / 'migrations'}): install faircrawl again"
        )
    found = []
    for file in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if match is None:
            raise SchemaError(f"{file} is not named like a migration (0001_name.sql)")
        found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return found


async def applied(database: Database) -> dict[int, Applied]:
    """The migrations this database has, by number."""
    if await database.ask("select to_regclass('migrations')") is None:
        return {}
    # As JSON, because before migration 7 there is no column `breaks`.
    rows = await database.ask("select coalesce(json_agg(to_jsonb(m)), '[]')::text from migrations m")
    return {row["number"]: Applied(row["number"], row["name"], row.get("breaks")) for row in json.loads(rows)}


def unknown(have: Mapping[int, Applied], known: Sequence[Migration]) -> list[Applied]:
    """The migrations that a newer program has applied, in order.

    Raises:
        SchemaError: this program cannot go on with one of them.
    """
    newer = sorted(have.keys() - {migration.number for migration in known})
    for number in newer:
        if (why := have[number].breaks) is not None:
            raise SchemaError(
                f"this database was made by a newer faircrawl (migration {number}, {have[number].name}), which this program"
                f" cannot work with ({why}): upgrade this program"
            )
    return [have[number] for number in newer]


async def verify(database: Database) -> None:
    """See that this program can work with the tables as they are.

    Raises:
        SchemaBehindError: the database lacks migrations.
        SchemaError: it has some that this program cannot go on with.
    """
    have, want = await applied(database), known_migrations()
    unknown(have, want)
    for migration in want:
        if migration.number not in have:
            raise SchemaBehindError(
                f"this database lacks migration {migration.number} ({migration.name}): run `crawl migrate`"
            )


async def migrate(database: Database, known: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what is missing of what is *known* (None: what this program brings), and return it.

    Raises:
        SchemaError: the database is newer, and this program cannot go on with it.
        DatabaseBusyError: somebody holds for too long what a migration has to lock.
        DatabaseError: a migration failed (and left nothing behind), or another program migrates for too long.
    """
    wanted = known_migrations() if known is None else list(known)
    have = await applied(database)
    unknown(have, wanted)
    if have.keys() >= {migration.number for migration in wanted}:
        return []
    done: list[Migration] = []
    async with database.connection() as connection:
        await _lock(connection)
        with translated():
            await connection.execute(_TABLE)
        have = await applied(database)  # another program may have been faster
        unknown(have, wanted)
        for migration in wanted:
            if migration.number not in have:
                await _apply(connection, migration)
                done.append(migration)
    return done


async def _apply(connection: Any, migration: Migration) -> None:
    """Apply one, again and again while somebody holds what it has to lock."""
    clock = asyncio.get_running_loop().time
    began, why = clock(), migration.breaks
    while True:
        try:
            with translated():
                async with connection.transaction():
                    await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
                    await connection.execute(migration.sql)
                    await connection.execute(
                        "insert into migrations (number, name) values ($1, $2)",
                        migration.number,
                        migration.name,
                    )
                    if why is not None:
                        await connection.execute(
                            "update migrations set breaks = $2 where number = $1", migration.number, why
                        )
        except DatabaseBusyError as error:
            if clock() - began > PATIENCE:
                raise DatabaseBusyError(
                    f"migration {migration.number} ({migration.name}) cannot lock its tables ({error}): see who holds one for long"
                    " (pg_stat_activity: an export, a dump), and run `crawl migrate` again"
                ) from error
            await asyncio.sleep(AGAIN)
        else:
            return


async def _lock(connection: Any) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
        if clock() - began > PATIENCE:
            raise DatabaseError(
                "another program has been migrating this database for two minutes: see what it does"
            )
        await asyncio.sleep(0.1)
