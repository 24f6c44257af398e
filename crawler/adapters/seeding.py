"""Seeds by the ten thousand: COPY into a temporary table, then one statement of each kind for all of them.

    COPY ──► hold the crawl ──► the new URLs ──► failed ones again ──► count ──► scope, state ──► touch ──► COMMIT ──► NOTIFY

1. A batch is on the frontier whole, with its scope keys, or not at all. Put twice, it counts nothing the second time.
2. What `Crawls.seed` promises of a seed holds here too; for a handful of seeds that takes a tenth of the time.
3. Each batch has a connection of its own, since its session has a temporary table: whatever breaks, the next one begins anew.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from crawler.adapters.crawls import CHANGED
from crawler.adapters.postgres import Database, Session
from crawler.adapters.touching import touch
from crawler.core.errors import UsageError

SOONER: Final = 60.0
"""Seconds of priority: what `recording.sooner` says of a seed."""
WARNINGS: Final = 4
"""Blocked domains told of one batch."""
COLUMNS: Final = ("domain_id", "url_hash", "url")


@dataclass(slots=True)
class Batch:
    """Seeds of one crawl that are put on the frontier together."""

    rows: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)
    """By canonical URL: the number of its domain, its hash, itself."""
    domains: dict[int, str] = field(default_factory=dict)
    keys: set[int] = field(default_factory=set)
    """What they add to the crawl's scope."""


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


class Seeding:
    """Puts seeds of one crawl on the frontier."""

    def __init__(self, database: Database, crawl_id: int) -> None:
        self._database = database
        self._crawl_id = crawl_id

    async def put(self, batch: Batch) -> Sown:
        """Put the batch on the frontier, and tell the workers.

        Raises:
            UsageError: the crawl is being deleted.
            DatabaseBusyError, DatabaseUnavailableError: nothing was written, or all of it; put the same batch again.
        """
        async with self._database.connection() as connection, connection.transaction():
            session = Session(connection)
            await session.fetch("look_up_all")
            await session.fetch("seed_table")
            await connection.copy_records_to_table("seeds", records=batch.rows.values(), columns=COLUMNS)
            blocked = await session.fetch("seed_blocked", sorted(batch.domains), WARNINGS)
            sown = await self._write(session, batch, blocked)
        await self._database.notify(CHANGED, str(self._crawl_id))
        return sown

    async def _write(self, session: Session, batch: Batch, blocked: Collection[Any]) -> Sown:
        crawl_id = self._crawl_id
        await session.fetch("crawl_hold", crawl_id)
        if await session.value("crawl_deleting", crawl_id):
            raise UsageError("the crawl is being deleted: wait until that is done, or give another name")
        put = await session.fetch("seed_put", crawl_id, SOONER)
        new = sum(row["n"] for row in put)
        forgotten = int(await session.value("seed_forgotten")) if new < len(batch.rows) else 0
        known = len(batch.rows) - new - forgotten
        again = await session.fetch("seed_again", crawl_id) if known else []
        if new:
            await session.fetch("record_counts", 0, [crawl_id], [""], [new], [0], [0])
        keys = sorted(batch.keys)
        if await session.value("seed_widens", crawl_id, keys):
            await session.fetch("crawl_bump", crawl_id)
            await session.fetch("add_keys", crawl_id, keys)
        woken = bool(put or again) and await session.value("seed_run", crawl_id) is not None
        due = {row["domain_id"]: row["due_at"] for row in (*again, *put)}  # what is new is due sooner
        await touch(session, ((d, batch.domains[d], due_at, crawl_id) for d, due_at in due.items()))
        return Sown(
            new=new,
            known=known,
            forgotten=forgotten,
            again=sum(row["n"] for row in again),
            domains=len(due),
            blocked=[(row["name"], row["blocked"]) for row in blocked],
            woken=woken,
        )
