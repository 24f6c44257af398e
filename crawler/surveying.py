"""What metrics tell of the database and the queue: looked at no more than every ten seconds, whoever asks.

scrape ──► seen less than ten seconds ago? ──yes──► that
                     │ no
                     └──► one look, however many ask meanwhile ──► what was found; what could not be is left out
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from crawler.adapters.looking import Looking
from crawler.adapters.postgres import Database
from crawler.core.errors import BrokerError, DatabaseError, DatabaseSlowError
from crawler.core.metrics import AWAY, DOMAINS, SURVEY, UNVISITED, Reading, Series, flags, known
from crawler.ports import Queue

EVERY: Final = 10.0
PATIENCE: Final = 5.0
"""Seconds for an answer: whoever scrapes waits for ten."""

Values: TypeAlias = dict[Series, float]


class Survey:
    """Looks at what all processes share.

    Args:
        every: seconds for which what was seen is told again.
        clock: `time.monotonic`, or what a test hands in.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._looking = Looking(database)
        self._queue = queue
        self._every = every
        self._clock = clock
        self._seen = Reading()
        self._at = float("-inf")
        self._one = asyncio.Lock()

    async def reading(self) -> Reading:
        """What was found at the last look, which was not long ago."""
        async with self._one:
            if self._clock() - self._at >= self._every:
                self._seen = await self._look()
                self._at = self._clock()
            return self._seen

    async def _look(self) -> Reading:
        """Both at once: whoever asks has little patience."""
        found, waiting = await asyncio.gather(self._of_database(), self._of_queue())
        away = {what for part in (found, waiting) if (what := part.away)}
        return Reading({**found.values, **waiting.values, **flags("crawl_away", AWAY, away)})

    async def _of_database(self) -> "_Part":
        values: Values = {}
        try:
            async with asyncio.timeout(PATIENCE):
                for part in (
                    self._frontier,
                    self._lag,
                    self._urls,
                    self._crawls,
                    self._people,
                    self._jobs,
                    self._size,
                ):
                    with contextlib.suppress(DatabaseSlowError):
                        values |= await part()
        except (DatabaseError, TimeoutError):
            return _Part(values, "database")
        return _Part(values)

    async def _of_queue(self) -> "_Part":
        values: Values = {}
        try:
            async with asyncio.timeout(PATIENCE):
                values["crawl_queue_turns", ()] = await self._queue.depth()
                values["crawl_dead_letters", ()] = await self._queue.dead_count()
        except DatabaseError:
            return _Part(values, "database")
        except (BrokerError, TimeoutError):
            return _Part(values, "broker")
        return _Part(values)

    async def _frontier(self) -> Values:
        found = await self._looking.frontier()
        return {("crawl_frontier_domains", (state,)): getattr(found, state) for state in DOMAINS}

    async def _lag(self) -> Values:
        oldest = await self._looking.oldest_due()
        return {("crawl_refresh_lag_seconds", ()): 0.0 if oldest is None else max(0.0, oldest.seconds)}

    async def _urls(self) -> Values:
        found = await self._looking.urls_by_outcome()
        return _none("crawl_frontier_urls") | {
            ("crawl_frontier_urls", (outcome or UNVISITED,)): one.urls for outcome, one in found.items()
        }

    async def _crawls(self) -> Values:
        found = await self._looking.crawl_states()
        return _none("crawl_crawls") | {("crawl_crawls", (state,)): n for state, n in found.items()}

    async def _people(self) -> Values:
        counts = Counter(
            ("crawl_workers" if one.slots else "crawl_schedulers", ("silent" if one.silent else "live",))
            for one in await self._looking.workers()
        )
        return _none("crawl_workers") | _none("crawl_schedulers") | counts

    async def _jobs(self) -> Values:
        """A job under way has its next time ahead already, so that it is not late."""
        values: Values = {}
        for row in await self._looking.jobs():
            late = (row["now"] - row["next_at"]).total_seconds()
            values["crawl_job_late_seconds", (row["name"],)] = max(0.0, late)
            values["crawl_job_failed", (row["name"],)] = float(row["result"] == "failed")
        return values

    async def _size(self) -> Values:
        return {("crawl_database_bytes", ()): await self._looking.database_bytes()}


@dataclass(frozen=True, slots=True)
class _Part:
    """What was found, and what did not answer to the end; empty: all did."""

    values: Values
    away: str = ""


def _none(name: str) -> Values:
    """None of each that everybody knows."""
    return known({name: SURVEY[name]})


class Readiness:
    """Whether a process can do its work: asked by an orchestrator, often, and found out every few seconds at most.

    Args:
        late: how many leases should have been renewed and were not.
        waits_for: why the process has not begun its work; empty: it has.
        every: seconds for which what was found is told again.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        *,
        late: Callable[[], int] = int,
        waits_for: Callable[[], str] = str,
        every: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._queue = queue
        self._late = late
        self._waits_for = waits_for
        self._every = every
        self._clock = clock
        self._found: dict[str, str] = {}
        self._at = float("-inf")
        self._one = asyncio.Lock()

    async def __call__(self) -> dict[str, str]:
        """``ok``, or why not, of the database, the broker and the leases."""
        async with self._one:
            if self._clock() - self._at >= self._every:
                database, broker = await asyncio.gather(
                    _said(self._database.value("clock")), _said(self._queue.depth())
                )
                self._found = {"database": database, "broker": broker}
                self._at = self._clock()
        late, waits_for = self._late(), self._waits_for()
        begun = {"start": waits_for} if waits_for else {}
        return {**self._found, "leases": f"{late} could not be renewed" if late else "ok", **begun}


async def _said(asked: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await asked
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except (DatabaseError, BrokerError) as error:
        return str(error)
    return "ok"
