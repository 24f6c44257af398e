"""The domains that were last visited too long ago, and why.

    domains, the oldest first ──► what each crawl has of them ──► Stale: since when, how much is due, why nobody comes

1. A domain is stale if it was visited, but not since the moment that is asked for; or never, though something was due since then.
2. What is due is counted up to `MOST_DUE` for each crawl: 10 million rows of one domain must not be read to say "many".
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.model import LEFT, CrawlState
from crawler.core.refresh_rule import OFF
from crawler.phrases import relative
from crawler.revisiting import ready_at, rule_words

MOST_DUE: Final = 1000
FEW_URLS: Final = 200_000
"""Of a crawl, which are read in less time than a million domains are looked through for them."""
AT_ONCE: Final = 500
"""Domains whose URLs are counted by one statement."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a crawl has of a domain."""

    crawl: str
    state: CrawlState
    is_left: bool
    """The run that attended it has ended: running it again lets it go on."""
    rule: str
    due: int
    """URLs, up to `MOST_DUE` + 1."""
    next_at: datetime | None
    """When the first of them is due; None: none is, ever."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A domain that was visited too long ago."""

    name: str
    visited_at: datetime | None
    since: datetime
    """When it was visited, or when something of it was due for the first time."""
    due: int
    is_all: bool
    """Whether that is all that is due, and not only what was counted."""
    why: str
    shares: Sequence[Share]


async def stale_domains(
    database: Database, before: datetime, now: datetime, *, crawl_id: int | None, most: int | None
) -> AsyncIterator[Stale]:
    """Those with URLs of the crawl (None: of any), not visited since *before*; the oldest first, *most* of them (None: all)."""
    few = crawl_id is not None and (await database.fetch("crawl_extent", crawl_id))[0]["urls"] <= FEW_URLS
    statement = "stale_domains_of" if few else "stale_domains"
    async with contextlib.aclosing(database.rows(statement, crawl_id, before, most)) as found:
        some: list[Any] = []
        async for row in found:
            some.append(row)
            if len(some) == AT_ONCE:
                for each in await _told(database, some, crawl_id, now):
                    yield each
                some = []
        for each in await _told(database, some, crawl_id, now):
            yield each


async def _told(database: Database, found: Sequence[Any], crawl_id: int | None, now: datetime) -> list[Stale]:
    if not found:
        return []
    shares: dict[int, list[Share]] = {row["domain_id"]: [] for row in found}
    for row in await database.fetch("stale_urls", list(shares), crawl_id):
        state, is_left = CrawlState(row["state"]), row["attendant"] == LEFT
        shares[row["domain_id"]].append(
            Share(row["crawl"], state, is_left, row["refresh"], row["due"], row["first_due_at"])
        )
    return [_stale(row, shares[row["domain_id"]], now) for row in found]


def _stale(row: Any, shares: Sequence[Share], now: datetime) -> Stale:
    return Stale(
        row["name"],
        row["visited_at"],
        row["since"],
        sum(min(share.due, MOST_DUE) for share in shares),
        all(share.due <= MOST_DUE for share in shares),
        why_stale(row, shares, now),
        shares,
    )


def why_stale(row: Any, shares: Sequence[Share], now: datetime) -> str:
    """Why nobody visits the domain, or when somebody will. *row*: of stale_domains."""
    if row["blocked"] is not None:
        return f"blocked: {row['blocked']}"
    if ready_at(row) > now and row["holder"] is not None:
        return "in the queue" if row["holder"] == "queue" else "being visited"
    due = [share for share in shares if share.due]
    if not due:
        return _not_due(shares, now)
    if all(share.state is not CrawlState.RUNNING for share in due):
        return _stopped(due)
    if ready_at(row) > now:
        return f"bears a visit {relative(ready_at(row), now)}: {row['waits_for'] or 'its pause'}"
    return "due: it waits for a worker"


def _not_due(shares: Sequence[Share], now: datetime) -> str:
    refreshed = [share for share in shares if share.rule != OFF]
    coming = [share for share in shares if share.state is CrawlState.RUNNING and share.next_at is not None]
    if coming:
        first = min(coming, key=lambda share: share.next_at or now)
        how = "a retry" if first.rule == OFF else f"refresh {rule_words(first.rule)}"
        return f"not due yet: {how}, {relative(first.next_at or now, now)}"
    if not refreshed:
        return "no refresh rule (refresh=off)"
    if all(share.state is not CrawlState.RUNNING for share in refreshed):
        return _stopped(refreshed)
    return "nothing of it will be due: all its URLs are gone or refused"


def _stopped(shares: Sequence[Share]) -> str:
    """Why nothing is done of these crawls, none of which runs."""
    first = shares[0]
    state = "left by its run" if first.is_left else first.state.value
    others = f", and {len(shares) - 1} more" if len(shares) > 1 else ""
    return f"crawl {first.crawl} is {state}{others}"
