"""What is told of crawls: each in short, and one in full."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from crawler.adapters.crawls import Crawls, crawl_of
from crawler.adapters.looking import HARMLESS
from crawler.core.errors import NotKnownError
from crawler.core.model import LEFT, CrawlState
from crawler.dashboard.desk import Desk
from crawler.dashboard.models import CrawlFull, CrawlShort, DomainLine, WaitingDomain
from crawler.dashboard.overview import rate
from crawler.naming import crawl_named
from crawler.wishes import shown

SEEDS: Final = 20
AGE: Final = 5.0
"""Seconds for which it is told again what costs more than a look at a counter."""
ATTEMPTS: Final = 50_000
"""Of so many attempts, or so, is told which domains are slow, or fail."""
TOPS: Final = 10
SAMPLE: Final = 5_000
"""Open URLs that are looked at for what a crawl waits for."""


async def crawls(desk: Desk) -> list[CrawlShort]:
    """Every crawl, the oldest first."""
    return [short(row) for row in await _counted(desk)]


async def crawl_short(desk: Desk, name: str) -> CrawlShort:
    """One crawl in short. Raises NotKnownError."""
    return short(await _row(desk, name))


async def crawl_full(desk: Desk, name: str) -> CrawlFull:
    """One crawl: how fast it is, where it began, which domains hinder it, and what it waits for.

    Raises:
        NotKnownError: there is no crawl of that name.
        DatabaseSlowError: too much has happened lately to look through.
    """
    row = await _row(desk, name)
    crawl_id = row["crawl_id"]
    tops, waiting, seeds = await desk.fresh.get(("crawl", crawl_id), AGE, lambda: _closer(desk, crawl_id))
    return CrawlFull(
        crawl=short(row),
        rate=await rate(desk, crawl_id),
        seeds=[one["url"] for one in seeds],
        include=list(row["include"]),
        exclude=list(row["exclude"]),
        slowest=_lines(tops, "slow"),
        failing=_lines(tops, "failing"),
        waiting=_waiting(waiting),
    )


def short(row: Any) -> CrawlShort:
    """A row of ``crawls_counted``."""
    outcomes: dict[str, int] = json.loads(row["outcomes"])
    return CrawlShort(
        name=row["name"],
        state=_state(row),
        scope=row["scope"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        finished_why=row["finished_why"],
        urls=row["urls"],
        pages=row["stored"] or 0,
        waiting=outcomes.get("", 0),
        requests=row["requests"],
        bytes=row["bytes"],
        outcomes=outcomes,
        refresh=row["refresh"],
        limits=shown(crawl_of(row)),
    )


async def _closer(desk: Desk, crawl_id: int) -> tuple[list[Any], list[Any], list[Any]]:
    async with desk.database.looking() as session:
        (span,) = await session.fetch("look_tops_span", float(ATTEMPTS))
        tops = await session.fetch(
            "look_crawl_tops", crawl_id, span["since"], span["until"], TOPS, list(HARMLESS)
        )
        waiting = await session.fetch("look_crawl_waiting", crawl_id, SAMPLE, TOPS)
        seeds = await session.fetch("look_crawl_seeds", crawl_id, SEEDS)
    return tops, waiting, seeds


async def _counted(desk: Desk) -> list[Any]:
    async with desk.database.looking() as session:
        return await session.fetch("crawls_counted")


async def _row(desk: Desk, name: str) -> Any:
    for row in await _counted(desk):
        if row["name"] == name:
            return row
    await crawl_named(Crawls(desk.database), name)
    raise NotKnownError(f"the crawl {name} was made this moment: ask again")


def _state(row: Any) -> Any:
    if row["deleting"]:
        return "deleting"
    left = row["state"] == CrawlState.PAUSED and row["attendant"] == LEFT
    return "left" if left else row["state"]


def _lines(rows: Sequence[Any], which: str) -> list[DomainLine]:
    return [
        DomainLine(
            domain=row["name"],
            fetches=row["fetches"],
            failed=row["failed"],
            ms=row["ms"],
            urls=row["urls"],
            blocked=row["blocked"],
            waits_for=row["waits_for"] or None,
            ready_at=row["ready_at"],
        )
        for row in rows
        if row["list"] == which
    ]


def _waiting(rows: Iterable[Any]) -> list[WaitingDomain]:
    return [
        WaitingDomain(
            domain=row["name"],
            urls=row["urls"],
            next_at=None if row["blocked"] or row["held"] else row["next_at"],
            why=_why(row),
        )
        for row in rows
    ]


def _why(row: Any) -> str:
    if row["blocked"]:
        return str(row["blocked"])
    if row["held"]:
        return "in the queue" if row["queued"] else "being visited"
    return str(row["waits_for"] or row["outcome"] or "not visited yet")
