"""Looking at the whole: what metrics and the dashboard show of the frontier, the crawls and those at work.

1. Each question looks at a bounded number of rows, whatever the tables hold (looking.sql).
2. It is given up after a moment (`postgres.LOOKING`) rather than let the crawl wait for it.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Self

from crawler.adapters.postgres import Database, Record, Session
from crawler.core.model import Outcome
from crawler.core.vitals import Vitals

MOST: Final = 10_000
"""Domains of a kind that are counted: more are told as that many."""
HARMLESS: Final = (
    Outcome.OK,
    Outcome.NOT_MODIFIED,
    Outcome.REDIRECT,
    Outcome.ROBOTS_REFUSED,
    Outcome.SCOPE_REFUSED,
    Outcome.TYPE_REFUSED,
)
"""Attempts that ended so did not go wrong, as crawl_domains has it."""
FAILURES: Final = tuple(one.value for one in Outcome if one not in HARMLESS)


@dataclass(frozen=True, slots=True)
class FrontierCounts:
    """Domains by what they wait for, each counted up to `MOST`."""

    ready: int
    """Could be visited now, and are on no queue."""
    resting: int
    """Something is due, and their pause is not over."""
    queued: int
    held: int
    next_in: float | None
    """Seconds until the next domain will be ready that is not now; None: there is none."""


@dataclass(frozen=True, slots=True)
class OldestDue:
    """The domain that has been ready for longest, on no queue."""

    name: str
    since: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Counted:
    """URLs with an outcome, and the attempts that ended so."""

    urls: int
    fetches: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """Somebody who signed in: a worker, or a scheduler (which has no slots)."""

    worker_id: str
    host: str
    pid: int
    version: str
    queue: str
    slots: int
    visiting: int
    started_at: datetime
    seen_at: datetime
    seen_ago: float
    """Seconds, by the database's clock."""
    silent: bool
    """Was not seen for a minute."""
    said: dict[str, Any]
    """What it said of itself last; empty: nothing yet."""

    @property
    def vitals(self) -> Vitals:
        """What it said, where nothing is missing."""
        return vitals_of(self.said)


class Looking:
    """Cheap questions about everything there is. *session*: of `together`."""

    def __init__(self, database: Database, session: Session | None = None) -> None:
        self._database = database
        self._session = session

    @contextlib.asynccontextmanager
    async def together(self) -> AsyncIterator[Self]:
        """Several questions in one session: a third of the round trips."""
        async with self._database.looking() as session:
            yield type(self)(self._database, session)

    async def frontier(self, most: int = MOST) -> FrontierCounts:
        """The domains by what they wait for, each counted up to *most*."""
        row = await self._row("look_frontier", most)
        return FrontierCounts(row["ready"], row["resting"], row["queued"], row["held"], row["next_in"])

    async def urls_by_outcome(self) -> dict[str, Counted]:
        """URLs of all crawls by outcome; ``""``: not visited yet."""
        rows = await self._rows("look_outcomes")
        return {row["outcome"]: Counted(row["urls"], row["fetches"], row["bytes"]) for row in rows}

    async def oldest_due(self) -> OldestDue | None:
        """The domain that could have been put on the queue for longest; None: no domain waits for that."""
        rows = await self._rows("oldest_due")
        if not rows:
            return None
        (row,) = rows
        return OldestDue(row["name"], row["next_at"], (row["now"] - row["next_at"]).total_seconds())

    async def workers(self) -> list[WorkerRow]:
        """Everybody who signed in and did not sign out."""
        return [
            WorkerRow(**{name: row[name] for name in _AS_THEY_ARE}, said=json.loads(row["vitals"]))
            for row in await self._rows("look_workers")
        ]

    async def jobs(self) -> list[Record]:
        """Every job of the timetable that was ever planned, with `now`."""
        return await self._rows("jobs_shown")

    async def crawl_states(self) -> dict[str, int]:
        """Crawls by state: running, paused, finished, cancelled, left (by its run) or deleting."""
        return {row["state"]: row["crawls"] for row in await self._rows("look_crawls")}

    async def deleting(self) -> list[int]:
        """The crawls that are being deleted, or whose deletion was cut off: their numbers."""
        return [row["crawl_id"] for row in await self._rows("look_deleting")]

    async def manners(self, most: int) -> list[Record]:
        """How running crawls call themselves (`user_agent`, null: as the worker does), their least `delay`, their most `per_domain`."""
        return await self._rows("look_manners", most)

    async def database_bytes(self) -> int:
        """The size of the database on disk. It asks for the size of a thousand files: not every second."""
        return int((await self._row("look_bytes"))[0])

    async def recent(self, seconds: float, crawl_id: int | None = None) -> Counted:
        """The attempts of the last *seconds*, for one crawl or for all; as `urls`, those that stored a page or found it unchanged."""
        row = await self._row("look_recent", seconds, crawl_id)
        return Counted(row["pages"], row["fetches"], row["bytes"])

    async def _row(self, name: str, *args: object) -> Record:
        (row,) = await self._rows(name, *args)
        return row

    async def _rows(self, name: str, *args: object) -> list[Record]:
        if self._session is not None:
            return await self._session.fetch(name, *args)
        async with self._database.looking() as session:
            return await session.fetch(name, *args)


_AS_THEY_ARE: Final = tuple(field.name for field in fields(WorkerRow) if field.name != "said")
_VITALS: Final = {field.name for field in fields(Vitals)}


def vitals_of(said: dict[str, Any]) -> Vitals:
    """What a worker said, which may be of another version: what we do not know is left out, what it did not say has its default."""
    known = {name: value for name, value in said.items() if name in _VITALS}
    if isinstance(dns := known.get("dns"), dict):
        known["dns"] = {server: (int(pair[0]), int(pair[1])) for server, pair in dns.items()}
    return Vitals(**known)
