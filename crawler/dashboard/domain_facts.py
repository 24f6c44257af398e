"""Domains to look at, and all of one.

1. The slowest and the most failing are those of so many attempts, the last ones (`ATTEMPTS`), and never of more than a day.
2. The most queued are counted in a small frontier. In a larger one, a fixed sample of the blocks of ``urls`` says which domains may be
   among them; each of those is then counted up to `COUNTED`, and beyond that the sample tells about how many they are.
3. The last errors of a domain are found by its own index as long as it has few attempts; of a busy one by their time, among the last
   attempts at all domains. How far back that reaches is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from crawler.adapters.looking import HARMLESS, Looking
from crawler.adapters.postgres import Session
from crawler.core.errors import DatabaseSlowError, NotKnownError
from crawler.core.model import LEFT
from crawler.core.urls import domain_id
from crawler.dashboard.desk import Desk
from crawler.dashboard.error_facts import attempt
from crawler.dashboard.lately import DOOM, EPOCH
from crawler.dashboard.models import (
    DomainCrawl,
    DomainFull,
    DomainLine,
    DomainTops,
    RobotsRules,
)

AGE: Final = 30.0
ONE_AGE: Final = 5.0
"""Seconds for which what is counted of one domain, and its errors, are good."""
TOPS: Final = 10
ATTEMPTS: Final = 25_000
"""That are looked at."""
SMALL: Final = 100_000
"""URLs of a frontier that is counted."""
BLOCKS: Final = 200
"""Of urls, that a sample has: some 8,000 URLs."""
CANDIDATES: Final = 20
COUNTED: Final = 2_000
"""URLs of a domain that are counted for a line."""
COUNTED_OF_CRAWL: Final = 10_000
"""URLs of a domain and a crawl that are counted: more are told as so many."""
ERRORS: Final = 20
LOOKED_AT: Final = 10_000
"""Attempts at a domain that are looked at for its last errors, in each of these times: today, the days before, all others."""
DAYS: Final = timedelta(days=7)
LONGEST: Final = 1.0
"""Seconds for one of these looks; without them, everything else is told."""
BODY: Final = 512 << 10


async def domain_tops(desk: Desk) -> DomainTops:
    """The slowest, the most failing and the most queued domains."""
    return await desk.fresh.get("tops", AGE, lambda: _tops(desk))


async def _tops(desk: Desk) -> DomainTops:
    urls = sum(one.urls for one in (await Looking(desk.database).urls_by_outcome()).values())
    async with desk.database.looking() as session:
        (span,) = await session.fetch("look_tops_span", float(ATTEMPTS))
        tops = await session.fetch("look_tops", span["since"], span["until"], TOPS, list(HARMLESS))
        exact = urls <= SMALL
        waiting = await (_counted(session) if exact else _estimated(session))
        ids = {row["domain_id"] for row in tops} | set(waiting)
        lines = {row["domain_id"]: row for row in await session.fetch("look_lines", list(ids), COUNTED)}
    known = {row["domain_id"]: row for row in tops}

    def line(key: int) -> DomainLine:
        row, of = lines[key], known.get(key)
        counted = row["urls"]
        return DomainLine(
            domain=row["name"],
            fetches=0 if of is None else of["fetches"],
            failed=0 if of is None else of["failed"],
            ms=0.0 if of is None else of["ms"],
            urls=counted if counted < COUNTED else max(counted, waiting.get(key, 0)),
            blocked=row["blocked"],
            waits_for=row["waits_for"],
            ready_at=row["ready_at"],
        )

    def listed(name: str) -> list[DomainLine]:
        return [line(row["domain_id"]) for row in tops if row["list"] == name and row["domain_id"] in lines]

    queued = sorted((line(key) for key in waiting if key in lines), key=lambda one: (-one.urls, one.domain))
    return DomainTops(
        slowest=listed("slow"),
        failing=listed("failing"),
        queued=queued[:TOPS],
        seconds=(span["until"] - span["since"]).total_seconds(),
        exact=exact,
    )


async def _counted(session: Session) -> dict[int, int]:
    rows = await session.fetch("look_queued", TOPS)
    return {row["domain_id"]: row["urls"] for row in rows}


async def _estimated(session: Session) -> Mapping[int, int]:
    blocks = await session.value("look_urls_size")
    share = min(100.0, 100.0 * BLOCKS / max(1, blocks))
    rows = await session.fetch("look_queued_sample", CANDIDATES, share)
    return {row["domain_id"]: round(row["urls"] * 100 / share) for row in rows}


@dataclass(frozen=True, slots=True)
class _Errors:
    """The last errors of a domain."""

    found: Sequence[Any]
    since: datetime | None
    """Before that was not looked; None: everything was, or so many were found."""


async def domain_full(desk: Desk, name: str) -> DomainFull:
    """All that is to be said of a domain; *name* as in ``domains``.

    Raises:
        NotKnownError: nothing is known of it.
    """
    key = domain_id(name)
    async with desk.database.looking() as session:
        rows = await session.fetch("find_domain", key)
        if not rows:
            raise NotKnownError(f"nothing is known of the domain {name}: no crawl has found a link to it")
        (row,) = rows
        robots = await session.fetch("look_domain_robots", key)
    crawls, errors = await desk.fresh.get(("domain", key), ONE_AGE, lambda: _closer(desk, key, row["now"]))
    by_hand = row["delay_by_hand"]
    return DomainFull(
        domain=row["name"],
        blocked=row["blocked"],
        delay=row["delay_seconds"],
        delay_by_hand=None if by_hand is None else by_hand.total_seconds(),
        per_domain_by_hand=row["concurrency_by_hand"],
        waits_for=row["waits_for"],
        ready_at=_ahead(row["ready_at"], row["now"]),
        next_at=None if row["holder"] not in {None, "queue"} else row["next_at"],
        holder=row["holder"],
        failures=row["failures"],
        throttled=row["throttled"],
        visited_at=row["visited_at"],
        address=None if row["address"] is None else str(row["address"]).partition("/")[0],
        forgotten_at=row["forgotten_at"],
        crawls=[_crawl(one) for one in crawls],
        robots=[_rules(one) for one in robots],
        errors=[attempt(one) for one in errors.found],
        errors_since=errors.since,
    )


async def _closer(desk: Desk, key: int, now: datetime) -> tuple[Sequence[Any], _Errors]:
    """What costs more than a look at a row."""
    async with desk.database.looking() as session:
        crawls = await session.fetch("look_domain_crawls", key, COUNTED_OF_CRAWL)
    try:
        async with desk.database.looking(LONGEST) as session:
            return crawls, await _errors(session, key, now)
    except DatabaseSlowError:
        return crawls, _Errors((), now)


async def _errors(session: Session, key: int, now: datetime) -> _Errors:
    """The last ones, as far back as the domain's attempts can be looked through."""
    found: list[Any] = []
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    before = DOOM
    for since in (today, today - DAYS, EPOCH):
        rows = await session.fetch(
            "look_domain_errors", key, since, before, LOOKED_AT, list(HARMLESS), ERRORS
        )
        if rows[0]["looked"] >= LOOKED_AT:  # perhaps not the last ones
            return await _errors_lately(session, key, _Errors(found, min(before, now)))
        found += [row for row in rows if row["at"] is not None]
        if len(found) >= ERRORS:
            break
        before = since
    return _Errors(found[:ERRORS], None)


async def _errors_lately(session: Session, key: int, known: _Errors) -> _Errors:
    """Those among the last attempts at all domains, if these reach further back than what is known."""
    (span,) = await session.fetch("look_tops_span", float(ATTEMPTS))
    if known.since is not None and span["since"] >= known.since:
        return known
    found = await session.fetch("look_domain_errors_lately", key, span["since"], list(HARMLESS), ERRORS)
    return _Errors(found, None if len(found) >= ERRORS else span["since"])


def _ahead(moment: datetime, now: datetime) -> datetime | None:
    """A moment, if it is to come; asyncpg gives infinity, either one, without a zone."""
    return moment if moment.tzinfo is not None and moment > now else None


def _crawl(row: Any) -> DomainCrawl:
    left = row["state"] == "paused" and row["attendant"] == LEFT
    return DomainCrawl(
        crawl=row["name"],
        state="deleting" if row["deleting"] else "left" if left else row["state"],
        urls=row["urls"],
        pages=row["pages"],
        waiting=row["waiting"],
    )


def _rules(row: Any) -> RobotsRules:
    body = row["body"]
    return RobotsRules(
        origin=row["origin"],
        status=row["status"],
        fetched_at=row["fetched_at"],
        expires_at=row["expires_at"],
        good_at=row["good_at"],
        failures=row["failures"],
        detail=row["detail"],
        body=None if body is None else bytes(body)[:BODY].decode("utf-8", "replace").removeprefix("\ufeff"),
        sitemaps=list(row["sitemaps"]),
    )
