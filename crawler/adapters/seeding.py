"""Seeds by the ten thousand: COPY into a temporary table, then one statement of each kind for all of them.

    COPY ──► hold the crawl ──► the new URLs ──► failed ones again ──► count ──► scope, state ──► touch ──► COMMIT ──► NOTIFY

1. A batch is on the frontier whole, with its scope keys, or not at all. Put twice, it counts nothing the second time.
2. What `Crawls.seed` promises of a seed holds here too. That is quicker for up to a thousand: it needs no connection, and no table.
3. Each batch has a connection of its own, since its session has a temporary table: whatever breaks, the next one begins anew.
"""

import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from crawler.adapters.crawls import CHANGED
from crawler.adapters.postgres import Database, Session
from crawler.core.errors import UsageError

SOONER: Final = 60.0
"""Seconds of priority: what `recording.sooner` says of a seed."""
WARNINGS: Final = 4
"""Blocked domains told of one batch."""


class Row(NamedTuple):
    """A seed, as the table of seeds has it."""

    domain_id: int
    url_hash: bytes
    url: str
    domain: str
    scope_key: int
    """What it adds to the crawl's scope."""


class Told(NamedTuple):
    """A URL as another program's file tells of it (`crawl import`): a `Row`, and what is said of it."""

    domain_id: int
    url_hash: bytes
    url: str
    domain: str
    scope_key: int
    sooner: float | None = None
    """Seconds of priority besides those of a seed."""
    lastmod: datetime | None = None
    changefreq: float | None = None
    """Seconds."""
    at: datetime | None = None
    """When it was visited elsewhere; None: now. This and what follows is of URLs that were."""
    outcome: str | None = None
    status: int | None = None
    content_type: str | None = None
    revisit: float | None = None
    """Seconds from a visit to the next, where pages are visited by how they change; None: as of a page that nothing is known of."""
    period: float | None = None
    """Seconds between its changes, as estimated."""


Rows: TypeAlias = Collection[Row | Told]


@dataclass(frozen=True, slots=True)
class Sown:
    """What putting a batch has done."""

    new: int
    known: int
    forgotten: int
    """Of forgotten domains: not written."""
    again: int
    """Of those that are known: how many had failed, and are tried again."""
    domains: int
    """How many domains have something to do now."""
    blocked: Collection[tuple[str, str]] = ()
    """Some domains that are blocked, and why."""
    woken: bool = False
    """The crawl was finished, and runs again: `Crawls.start` has to tell the rest of its domains."""
    overdue: int = 0
    """Of what is new and was visited elsewhere: how many are due now, by the crawl's rule."""


class Seeding:
    """Puts seeds of one crawl on the frontier."""

    def __init__(self, database: Database, crawl_id: int) -> None:
        self._database = database
        self._crawl_id = crawl_id

    async def put(self, rows: Rows) -> Sown:
        """Put a batch of different seeds on the frontier, and tell the workers.

        Raises:
            UsageError: the crawl is being deleted.
            DatabaseBusyError, DatabaseUnavailableError: nothing was written, or all of it; put the same batch again.
        """
        async with filled(self._database, self._crawl_id, rows) as (session, blocked):
            sown = await self._write(session, len(rows), blocked)
        await self._database.notify(CHANGED, str(self._crawl_id))
        return sown

    async def _write(self, session: Session, seeds: int, blocked: Collection[Any]) -> Sown:
        crawl_id = self._crawl_id
        new = int(await session.value("seed_put", crawl_id, SOONER))
        forgotten = int(await session.value("seed_forgotten")) if new < seeds else 0
        known = seeds - new - forgotten
        again = int(await session.value("seed_again", crawl_id)) if known else 0
        if new:
            await session.fetch("record_counts", 0, [crawl_id], [""], [new], [0], [0])
        if await session.value("seed_widens", crawl_id):
            await session.fetch("crawl_bump", crawl_id)
            await session.fetch("seed_keys", crawl_id)
        woken = bool(new or again) and await session.value("seed_run", crawl_id) is not None
        domains = int(await session.value("seed_touch", crawl_id)) if new or again else 0
        told = [(row["name"], row["blocked"]) for row in blocked]
        return Sown(new, known, forgotten, again, domains, told, woken)


@contextlib.asynccontextmanager
async def filled(
    database: Database, crawl_id: int, rows: Rows
) -> AsyncIterator[tuple[Session, Collection[Any]]]:
    """A transaction in which the crawl is held and the table of seeds has these rows; and some of their domains that are blocked.

    Raises:
        UsageError: the crawl is being deleted.
    """
    async with database.connection() as connection, connection.transaction():
        session = Session(connection)
        await session.fetch("look_up")
        await session.fetch("seed_tables")
        columns = next(iter(rows))._fields
        await connection.copy_records_to_table("seeds", records=rows, columns=columns)
        blocked = await session.fetch("seed_blocked", WARNINGS)
        await session.fetch("crawl_hold", crawl_id)
        if await session.value("crawl_deleting", crawl_id):
            raise UsageError("the crawl is being deleted: wait until that is done, or give another name")
        yield session, blocked
