"""What is told of the timetable: its jobs, and when each crawl is visited again."""

from typing import Any

from crawler.dashboard.desk import Desk, JobLine
from crawler.dashboard.models import CrawlRule, JobState, Schedule
from crawler.dashboard.overview import LATE
from crawler.revisiting import rule_words
from crawler.timetables import MOST_DUE, Timetable, timetable


async def schedule(desk: Desk) -> Schedule:
    """The timetable as it is now."""
    found = await timetable(desk.database)
    return Schedule(
        schedulers=len(found.alive),
        leader=found.leader,
        jobs=[_job(job, found) for job in desk.jobs],
        crawls=[
            CrawlRule(
                crawl=row["name"],
                state=row["state"],
                rule=row["refresh"],
                words=rule_words(row["refresh"]) + (" (being applied)" if row["retiming"] else ""),
                due=min(row["due"], MOST_DUE),
                next_at=row["next_at"],
            )
            for row in found.rules
        ],
    )


def _job(job: JobLine, found: Timetable) -> JobState:
    row = None if job.everybody else found.rows.get(job.name)
    return JobState(
        name=job.name,
        about=job.about,
        every=job.every,
        everybody=job.everybody,
        last_at=row and row["last_at"],
        ms=row and row["ms"],
        result=row and row["result"],
        detail=(row and row["detail"]) or "",
        next_at=row and row["next_at"],
        late=_is_late(row, found),
    )


def _is_late(row: Any, found: Timetable) -> bool:
    """Whether it should have begun a while ago, and somebody is there who does it."""
    return bool(row and found.now and found.alive) and found.now - row["next_at"] > LATE
