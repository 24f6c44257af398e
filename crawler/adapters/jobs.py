"""The timetable's memory, and the seat of the scheduler that leads.

    no session ──connect──► stand-by ──the lock is free──► leads ──► claims what is due, in the very session that holds the lock
        ▲                      │                             │
        └──────────────────────┴──────── session lost ───────┘

1. Of all schedulers at most one leads: who holds an advisory lock, which lasts as long as its session.
2. A job of the leader's is begun in that session. Who has lost it without knowing fails there, and begins nothing.
3. A leader that is silent for `SILENCE` (frozen, or its machine is gone) loses its session, and so the lead: the server sees to that.
4. A job that is due is begun by one: claiming moves its `next_at`. However often it was missed, it is due once.
5. What was cut off is due again: when another takes the lead at once, else after ten minutes (jobs_claim).
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from crawler.adapters.postgres import QUERIES, Database, Record
from crawler.adapters.translating import translated
from crawler.core.errors import DatabaseError

SILENCE: Final = 15.0
"""Seconds of a session without a word after which its lead is over. A leader asks every second."""
ANSWER: Final = 10.0
"""Seconds for an answer in the session of the lead."""


class Jobs:
    """The rows of the timetable. All moments are the database's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def plan(self, names: Iterable[str]) -> None:
        """See that these jobs are known; one that is new is due now."""
        await self._database.fetch("jobs_plan", list(names))

    async def claim(self, jobs: Mapping[str, float], who: str) -> list[str]:
        """Begin those that are due, of these jobs (every so many seconds); without the lead."""
        rows = await self._database.fetch("jobs_claim", list(jobs), list(jobs.values()), who)
        return [row["name"] for row in rows]

    async def end(self, name: str, every: float, who: str, ms: int, *, failed: bool, detail: str) -> None:
        """What came of a job that *who* claimed, and how long it took; another may have claimed it since, and then nothing is written."""
        result = "failed" if failed else "done"
        await self._database.fetch("jobs_end", name, every, who, ms, result, detail)

    async def rows(self) -> list[Record]:
        """Every job that was ever planned, with `now`."""
        return await self._database.fetch("jobs_shown")

    async def schedulers(self) -> list[Record]:
        """The schedulers that signed in and did not sign out: worker_id, host, pid, seen_at, whether they are alive."""
        return await self._database.fetch("schedulers_shown")

    async def leader(self) -> str | None:
        """Who leads, as in `workers` (long names are cut); None: nobody, or we may not see it."""
        name: str | None = await self._database.value("lead_shown")
        return name

    async def rules(self) -> list[Record]:
        """Each crawl with its refresh rule, how many of its URLs are due now (1,001: more than a thousand), and when the next is."""
        return await self._database.fetch("rules_shown")


class Seat:
    """The seat of the leader, for one scheduler, *who*. One call at a time. *silence*: as `SILENCE`."""

    def __init__(self, database: Database, who: str, *, silence: float = SILENCE) -> None:
        self._database = database
        self._who = who
        self._silence = silence
        self._session = contextlib.AsyncExitStack()
        self._connection: Any = None
        self.leads = False
        """Whether we led when we asked last."""

    def __repr__(self) -> str:
        return f"<Seat of {self._who}: {'leads' if self.leads else 'stands by' if self._connection else 'no session'}>"

    async def claim(self, jobs: Mapping[str, float], known: Iterable[str] = ()) -> list[str] | None:
        """Begin those that are due, of these jobs (every so many seconds); None: another leads.

        *known*: the names of all jobs, planned when the lead is taken; by default those of *jobs*.

        Raises:
            DatabaseError, or one of its kinds: the session is lost, and with it the lead.
        """
        try:
            with translated():
                return await self._claim(jobs, list(known) or list(jobs))
        except BaseException:
            await self.leave()
            raise

    async def _claim(self, jobs: Mapping[str, float], known: list[str]) -> list[str] | None:
        if self._connection is None:
            self._connection = await self._session.enter_async_context(self._database.connection())
            await self._ask("lead_session", f"{self._silence * 1000:.0f}", self._who)
        if not self.leads:
            if not (await self._ask("lead_take"))[0][0]:
                return None
            await self._ask("jobs_plan", known)
            await self._ask("jobs_cut", self._who)
            self.leads = True
        rows = await self._ask("jobs_claim", list(jobs), list(jobs.values()), self._who)
        return [row["name"] for row in rows]

    async def _ask(self, name: str, *args: object) -> list[Record]:
        return list(await self._connection.fetch(QUERIES[name], *args, timeout=ANSWER))

    async def leave(self) -> None:
        """Give up the lead, if it is ours, and the session."""
        self.leads, self._connection = False, None
        session, self._session = self._session, contextlib.AsyncExitStack()
        with contextlib.suppress(DatabaseError):
            await session.aclose()
