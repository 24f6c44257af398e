"""What is remembered of the timetable: each job's runs, who leads, and when each crawl is visited again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from crawler.adapters.jobs import Jobs
from crawler.adapters.postgres import Database
from crawler.upkeep import OF_RUNS

MOST_DUE: Final = 1000
"""More are not counted: there may be ten million."""
NAME_BYTES: Final = 63
"""What PostgreSQL keeps of the name of a session."""
CUT: Final = timedelta(minutes=10)
"""After so long a job that has no end was cut off (jobs_claim)."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """All that is shown."""

    rows: dict[str, Any]
    """What is remembered of each (jobs_shown)."""
    schedulers: Sequence[Any]
    leader: str | None
    """Of those that live: as in ``workers``."""
    rules: Sequence[Any]
    now: datetime | None
    """By the database's clock; None: nothing was ever planned here."""

    @property
    def alive(self) -> list[Any]:
        """The schedulers that said so in the last minute."""
        return [one for one in self.schedulers if one["alive"]]

    @property
    def last_alive(self) -> datetime | None:
        """When a scheduler was last heard of; None: none ever was."""
        by_jobs = [
            row["last_at"] + timedelta(milliseconds=row["ms"] or 0)
            for row in self.rows.values()
            if row["last_at"] is not None and not row["ran_by"].endswith(OF_RUNS)
        ]
        return max([*by_jobs, *(one["seen_at"] for one in self.schedulers)], default=None)


async def timetable(database: Database) -> Timetable:
    """All of it, as it is now."""
    jobs = Jobs(database)
    rows = {row["name"]: row for row in await jobs.rows()}
    schedulers, rules = await jobs.schedulers(), await jobs.rules()
    name = await jobs.leader()
    leads = [one["worker_id"] for one in schedulers if name and _cut(one["worker_id"]) == name]
    times = [row["now"] for row in (*rows.values(), *schedulers, *rules)]
    return Timetable(rows, schedulers, leads[0] if leads else None, rules, max(times, default=None))


def _cut(name: str) -> str:
    return name.encode()[:NAME_BYTES].decode(errors="ignore")
