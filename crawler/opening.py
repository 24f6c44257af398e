"""Where the truth is: a server that was named, or the embedded one in the data folder. `opened` is up to date, `reached` is not yet."""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from crawler.adapters.binaries import default_data_dir
from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate, verify
from crawler.adapters.postgres import Database
from crawler.core.errors import EmbeddedDatabaseError
from crawler.settings import Settings

REVIVALS: Final = 5
"""Attempts to start a server again that died under us."""

Revive: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is, and how to name it."""

    dsn: str = field(repr=False)
    place: str
    """Where the data lies, for people."""
    option: str
    """The option that names it on a command line, with a space in front; empty for the default."""
    revive: Revive
    """Start the embedded server again, should it have died; a server that was named is its owner's business."""


@dataclass(frozen=True, slots=True)
class Opened(Place):
    """A database, open."""

    database: Database


@contextlib.asynccontextmanager
async def located(settings: Settings) -> AsyncIterator[Place]:
    """The place of the database, started if it is the embedded one."""
    if settings.database_url is not None:
        yield Place(settings.database_url, "the database", "", _leave_alone)
        return
    data = settings.data or default_data_dir()
    server = await EmbeddedPostgres.open(data, bin_dir=settings.postgres_bin)

    async def revive() -> None:
        nonlocal server
        for left in reversed(range(REVIVALS)):
            try:
                dead, server = server, await EmbeddedPostgres.open(data, bin_dir=settings.postgres_bin)
            except EmbeddedDatabaseError:  # killed again while it recovered, perhaps
                if not left:
                    raise
                await asyncio.sleep(1.0)
            else:
                await dead.close()  # a user less; the new one keeps it running
                return

    option = "" if settings.data is None else f" --data {shlex.quote(str(settings.data))}"
    try:
        yield Place(server.dsn, str(data), option, revive)
    finally:
        await server.close()


async def _leave_alone() -> None:
    """Do nothing about a server that is not ours."""


@contextlib.asynccontextmanager
async def reached(settings: Settings, *, size: int = 3) -> AsyncIterator[Opened]:
    """The database, not asked anything yet: a server that was named may be away, and its tables may be missing. See `prepare`."""
    async with located(settings) as place, await Database.open(place.dsn, size=size) as database:
        yield Opened(place.dsn, place.place, place.option, place.revive, database)


async def prepare(settings: Settings, database: Database) -> None:
    """See to the tables. The embedded database is migrated; a server that was named must have been (`crawl migrate`), or be empty.

    Raises:
        DatabaseUnavailableError: there is no such server, or not yet.
        SchemaError: it has other tables than this program works with.
    """
    if settings.database_url is None or await database.ask("select to_regclass('migrations')") is None:
        await migrate(database)
    else:
        await verify(database)


@contextlib.asynccontextmanager
async def opened(settings: Settings, *, size: int = 3) -> AsyncIterator[Opened]:
    """The database, open and up to date."""
    async with reached(settings, size=size) as place:
        await prepare(settings, place.database)
        yield place


def data_folder(settings: Settings) -> Path | None:
    """The folder of the embedded database; None: a server was named."""
    return None if settings.database_url is not None else settings.data or default_data_dir()


def has_cluster(data: Path) -> bool:
    """Whether an embedded database was ever made here. A folder that cannot be looked into may have one."""
    try:
        return (data / "pg" / "PG_VERSION").exists()
    except OSError:
        return True


@contextlib.asynccontextmanager
async def opened_to_look(settings: Settings) -> AsyncIterator[Opened | None]:
    """As `opened`, for who only looks; None where nothing was crawled: nothing is made to say so."""
    data = data_folder(settings)
    if data is not None and not has_cluster(data):
        yield None
        return
    async with reached(settings) as place:
        if await place.database.ask("select to_regclass('migrations')") is None:
            yield None
            return
        await (verify if data is None else migrate)(place.database)
        yield place
