"""What the timetable has: the jobs that every scheduler does, and those that the leader does for all."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from crawler.adapters.postgres import Database
from crawler.adapters.upkeep import RobotsRounds
from crawler.phrases import count
from crawler.upkeep import Job, upkeep_jobs
from scheduler.retiming import go_on

DISPATCH_EVERY: Final = 1.0
PRESENT_EVERY: Final = 10.0
RETIME_EVERY: Final = 10.0
ROBOTS_EVERY: Final = 60.0
ROBOTS_AT_ONCE: Final = 30
"""Domains a minute whose robots.txt is asked for: few enough that nobody notices, and 43,200 a day."""
ROBOTS_LOOKED_AT: Final = 2000
"""Domains a minute that are looked at: 2.9 million a day."""

EVERYBODY: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
        "dispatch": ("puts what is due and ready on the queue", DISPATCH_EVERY),
        "presence": ("says that this scheduler lives, and sees which of this machine died", PRESENT_EVERY),
    }
)
"""What each scheduler does for itself, and every so many seconds."""


def leader_jobs(database: Database, fetches_kept: float) -> tuple[Job, ...]:
    """What the leader does for all. *fetches_kept*: seconds for which attempts are kept; 0: for ever."""
    rounds = RobotsRounds(database, ROBOTS_AT_ONCE, ROBOTS_LOOKED_AT)

    async def robots(_database: Database) -> str:
        return f"{count(await rounds.step(), 'domain')} wished for"

    return (
        Job("refresh", "goes on where a crawl's refresh rule was changed", RETIME_EVERY, go_on),
        Job("robots", "has robots.txt that expired asked for where nobody visits", ROBOTS_EVERY, robots),
        *upkeep_jobs(fetches_kept),
    )
