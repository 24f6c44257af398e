"""What comes of wishing that a URL be visited now, as values.

what is known of it ──► Refused: nobody will ask for it            before, after ──► Answered: its outcome, and what changed
                    └─► Waits: it stays the first of its domain
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from crawler.adapters.postgres import Record
from crawler.core.model import LEFT, CrawlState, Outcome
from crawler.core.said import BY_HOOK


class Why(StrEnum):
    """Why a URL was not visited."""

    UNKNOWN = "unknown"
    """No crawl knows it, or not the one that was named."""
    SEVERAL = "several"
    """Several crawls know it: which is meant?"""
    PAUSED = "paused"
    """Its crawl is paused by hand."""
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    """Its domain is blocked by hand."""
    ROBOTS = "robots"
    """robots.txt forbids it, or could not be read."""
    SCOPE = "scope"
    """The crawl's own rules leave it out."""
    BUDGET = "budget"
    """It was never stored, and the crawl may store no more pages."""
    NOBODY = "nobody"
    """No worker is at work."""
    RESTS = "rests"
    """Its domain wants to be left alone for longer than its pause."""
    LATE = "late"
    """It was not visited in the time that was given."""
    NOT_WAITED = "not_waited"
    """Nobody wanted to wait."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody will ask for it."""

    url: str
    why: Why
    crawls: tuple[str, ...] = ()
    """That know it, or the one that was named."""
    domain: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """It is wished, and was not visited yet."""

    url: str
    crawl: str
    domain: str
    why: Why
    ready_in: float | None = None
    """Seconds until its domain may be visited."""
    detail: str = ""


class Change(StrEnum):
    """What a visit found, compared with what was kept."""

    NEW = "new"
    """Nothing was kept of it."""
    TEXT = "text"
    """It says something else, or is no text."""
    BYTES = "bytes"
    """Its bytes differ, its text does not."""
    NONE = "none"
    """It is the same: 304, or the same bytes."""


@dataclass(frozen=True, slots=True)
class Answered:
    """It was visited, or refused in its turn."""

    url: str
    crawl: str
    outcome: str
    detail: str
    status: int | None
    """None: nothing was asked of the site, or nothing came."""
    bytes: int
    """Over the wire."""
    title: str | None
    redirect_to: str | None
    change: Change | None
    """None: its outcome says nothing of it."""
    changed_before: datetime | None
    """When it had last changed, before this."""
    seconds: float
    """From the wish until its outcome was on disk."""
    next_at: datetime | None
    """When it is visited next; None: not by the clock."""
    now: datetime


Result: TypeAlias = Refused | Waits | Answered


def refused_or_known(url: str, rows: list[Record], crawl: str | None) -> Refused | Record:
    """Why nobody will ask for it; or what the one crawl that is meant knows of it. *rows*: of `refresh_known`."""
    rows = [row for row in rows if crawl in {None, row["crawl"]}]
    if not rows:
        return Refused(url, Why.UNKNOWN, () if crawl is None else (crawl,))
    if len(rows) > 1:
        return Refused(url, Why.SEVERAL, tuple(row["crawl"] for row in rows))
    (row,) = rows
    why, detail = _forbids(row)
    return row if why is None else Refused(url, why, (row["crawl"],), row["domain"], detail)


def _forbids(row: Record) -> tuple[Why | None, str]:
    if row["state"] == CrawlState.CANCELLED:
        return Why.CANCELLED, ""
    if row["state"] == CrawlState.PAUSED and row["attendant"] != LEFT:
        return Why.PAUSED, ""
    if row["blocked"] is not None:
        return Why.BLOCKED, row["blocked"]
    if row["outcome"] == Outcome.ROBOTS_REFUSED:
        return Why.ROBOTS, row["detail"]
    if row["outcome"] == Outcome.SCOPE_REFUSED and not row["detail"].startswith(BY_HOOK):
        return Why.SCOPE, row["detail"]
    return (Why.BUDGET, "") if row["over"] else (None, "")


def answered(url: str, crawl: str, before: Record, after: Record, seconds: float) -> Answered:
    """What came of it: the rows of `refresh_seen` from before the wish, and from now."""
    asked = after["at"] is not None and after["at"] != before["at"]
    return Answered(
        url=url,
        crawl=crawl,
        outcome=after["outcome"] or "",
        detail=after["detail"],
        status=after["status"] if asked else None,
        bytes=after["bytes"] if asked else 0,
        title=after["title"],
        redirect_to=after["redirect_to"] if after["outcome"] == Outcome.REDIRECT else None,
        change=_change(before, after),
        changed_before=before["changed_at"],
        seconds=seconds,
        next_at=after["next_at"] if after["due_at"] is not None else None,
        now=after["now"],
    )


def _change(before: Record, after: Record) -> Change | None:
    if after["outcome"] not in {Outcome.OK, Outcome.NOT_MODIFIED}:
        return None
    if before["digest"] is None:
        return Change.NEW
    if before["digest"] == after["digest"]:
        return Change.NONE
    same_text = before["text_digest"] is not None and before["text_digest"] == after["text_digest"]
    return Change.BYTES if same_text else Change.TEXT
