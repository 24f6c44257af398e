"""The schema: plain SQL files, applied in order, each once and in a transaction of its own.

One program at a time migrates, by polling an advisory lock: waiting *in* the database for it would hold a snapshot, and
deadlock with CREATE INDEX CONCURRENTLY.
"""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import crawler
from crawler.adapters.postgres import Database, translated
from crawler.core.errors import DatabaseError, SchemaError

LOCK: Final = 20010
PATIENCE: Final = 120.0
_TABLE: Final = """
create table if not exists migrations (
  number     int not null,
  name       text not null,
  applied_at timestamptz not null default now(),
  constraint "a migration is applied once" primary key (number))
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: 0001_heart.sql is number 1, named heart."""

    number: int
    name: str
    sql: str


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


async def applied(database: Database) -> dict[int, str]:
    """The migrations this database has, by number."""
    if await database.ask("select to_regclass('migrations')") is None:
        return {}
    names = await database.ask("select coalesce(json_object_agg(number, name), '{}')::text from migrations")
    return {int(number): name for number, name in json.loads(names).items()}


async def verify(database: Database) -> None:
    """Raise SchemaError unless the database is just as this program wants it."""
    have, want = await applied(database), {m.number: m.name for m in known_migrations()}
    if newer := sorted(have.keys() - want.keys()):
        raise SchemaError(
            f"this database was made by a newer faircrawl (migration {newer[-1]}): upgrade this program"
        )
    if missing := sorted(want.keys() - have.keys()):
        raise SchemaError(
            f"this database lacks migration {missing[0]} ({want[missing[0]]}): run `crawl migrate`"
        )


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, and return it.

    Raises:
        SchemaError: the database is newer than this program.
        DatabaseError: a migration failed (and left nothing behind), or another program migrates for too long.
    """
    wanted = known_migrations()
    if (await applied(database)).keys() == {m.number for m in wanted}:
        return []
    done: list[Migration] = []
    async with database.connection() as connection:
        await _lock(connection)
        with translated():
            await connection.execute(_TABLE)
            have = {row["number"] for row in await connection.fetch("select number from migrations")}
        if newer := sorted(have - {m.number for m in wanted}):
            raise SchemaError(
                f"this database was made by a newer faircrawl (migration {newer[-1]}): upgrade this program"
            )
        for migration in wanted:
            if migration.number in have:
                continue
            with translated():
                async with connection.transaction():
                    await connection.execute(migration.sql)
                    await connection.execute(
                        "insert into migrations (number, name) values ($1, $2)",
                        migration.number,
                        migration.name,
                    )
            done.append(migration)
    return done


async def _lock(connection: Any) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
        if clock() - began > PATIENCE:
            raise DatabaseError(
                "another program has been migrating this database for two minutes: see what it does"
            )
        await asyncio.sleep(0.1)
