"""The API: how the whole is doing, its timetable, its errors; what is wished for, and what was given up."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query

from crawler.core.model import Outcome
from crawler.core.urls import canonical_or_error
from crawler.dashboard import error_facts, letter_facts, overview, schedule_facts, timeline
from crawler.dashboard.asked import Answers, AtDesk, AtErrands, Chosen, CrawlQuery, Moment, Refresh, Said
from crawler.dashboard.deeds import Dropped, Retried
from crawler.dashboard.models import (
    Attempt,
    LetterState,
    Overview,
    RefreshAnswer,
    Schedule,
    Series,
    Trouble,
    WorkerState,
)

router = APIRouter()
NO_CRAWL: Final[Answers] = {404: {"model": Trouble, "description": "There is no such crawl."}}
NO_LETTER: Final[Answers] = {
    404: {"model": Trouble, "description": "One of them is not there; nothing was done."}
}
CROWDED: Final[Answers] = {
    409: {"model": Trouble, "description": "Too many wait already, or the wait was broken off."}
}
NO_HANDLE: Final[Answers] = {404: {"model": Trouble, "description": "There is no such handle, or no more."}}


@router.get("/overview", summary="Tell how it goes", tags=["looking"])
async def tell_overview(desk: AtDesk) -> Overview:
    """Is the crawl healthy, what does it wait for, and what limits it at the moment?"""
    return await overview.overview(desk)


@router.get("/stats", summary="Tell what happened over time", tags=["looking"], responses=NO_CRAWL)
async def stats(
    desk: AtDesk,
    since: Annotated[Moment | None, Query(description="By default an hour ago.")] = None,
    until: Annotated[Moment | None, Query(description="By default now.")] = None,
    step: Annotated[int, Query(ge=60, le=86_400, description="Seconds, in whole minutes.")] = 60,
    crawl: CrawlQuery = None,
) -> Series:
    """Attempts by outcome, bytes and milliseconds in steps of time, of all crawls or of one."""
    end = await timeline.clock(desk) if until is None else until
    begin = end - timedelta(hours=1) if since is None else since
    return await timeline.series(desk, since=begin, until=end, step=step, crawl=crawl)


@router.get("/workers", summary="List the workers", tags=["looking"])
async def workers(desk: AtDesk) -> list[WorkerState]:
    """Workers and schedulers, with what each said of itself last."""
    return await overview.workers(desk)


@router.get("/errors", summary="List what went wrong last", tags=["looking"], responses=NO_CRAWL)
async def errors(
    desk: AtDesk,
    crawl: CrawlQuery = None,
    outcome: Annotated[Outcome | None, Query(description="Only this outcome.", examples=["timeout"])] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
) -> list[Attempt]:
    """The last attempts that failed, the youngest first."""
    return await error_facts.errors(
        desk, crawl=crawl, outcome=None if outcome is None else str(outcome), limit=limit
    )


@router.get("/schedule", summary="Show the timetable", tags=["looking"])
async def schedule(desk: AtDesk) -> Schedule:
    """The jobs of the timetable with their last and next runs, and when each crawl is visited again."""
    return await schedule_facts.schedule(desk)


@router.post("/refresh", summary="Visit URLs now", tags=["refresh"], responses=CROWDED)
async def refresh(errands: AtErrands, wanted: Refresh) -> RefreshAnswer:
    """Have URLs visited ahead of everything else, and with every pause: no domain is hurried.

    The answer comes when all of them have been visited, or after `wait` seconds; with `hold: false` at once.
    The handle tells more for an hour.
    What was wished for stays wished for, whoever waits. On an embedded database with nobody at work, the dashboard visits them itself.
    """
    urls = list(dict.fromkeys(canonical_or_error(url) for url in wanted.urls))
    handle = await errands.wish(urls, wanted.crawl, wanted.wait)
    if wanted.hold:
        await errands.ended(handle)
    return await errands.told(handle)


@router.get(
    "/refresh/{handle}",
    summary="Ask what came of a refresh",
    tags=["refresh"],
    responses={**NO_HANDLE, **CROWDED},
)
async def refreshed(
    errands: AtErrands, handle: Annotated[Said, Path(description="Of an answer to POST /api/refresh.")]
) -> RefreshAnswer:
    """What came of each of the URLs, so far."""
    return await errands.told(handle)


@router.get("/dead-letters", summary="List the dead letters", tags=["dead letters"])
async def dead_letters(desk: AtDesk) -> list[LetterState]:
    """The turns that failed too often, the oldest thousand."""
    return await letter_facts.letters(desk)


@router.post(
    "/dead-letters/retry", summary="Try dead letters again", tags=["dead letters"], responses=NO_LETTER
)
async def retry(desk: AtDesk, wanted: Chosen) -> list[Retried]:
    """The URLs of a turn that was buried are due now; a message of another version is put on the queue again. Then the letter goes."""
    return await letter_facts.retry(desk, wanted.ids)


@router.post("/dead-letters/drop", summary="Drop dead letters", tags=["dead letters"], responses=NO_LETTER)
async def drop(desk: AtDesk, wanted: Chosen) -> Dropped:
    """Remove letters for good. URLs that were buried with them stay unvisited."""
    return Dropped(dropped=await letter_facts.drop(desk, wanted.ids))
