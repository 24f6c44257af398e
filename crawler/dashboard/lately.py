"""Attempts, the newest first, without reading those that nobody wants.

    the last minutes, not counted yet ──► minutes that have such attempts, as fetch_minutes knows ──► hours, as fetch_hours knows
    ──spans, the newest first──► read until enough were found, or so many were read ──► here it goes on

1. What is read is bounded by `ROWS`, or a span more: what was not found within that is found by asking again where this left off.
   How many attempts the last minutes have is guessed from the last one that was counted.
2. Minutes that the roll-up has not come to are left out until it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from crawler.adapters.postgres import Session
from crawler.core.errors import UsageError

ROWS: Final = 40_000
"""Attempts that are read for one answer."""
A_SPAN: Final = 20_000
"""Attempts of a span: an hour, or a minute, with more is read in parts."""
BEGINNING: Final = timedelta(days=36_500)
TICK: Final = timedelta(microseconds=1)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DOOM: Final = datetime(2999, 1, 1, tzinfo=UTC)

Key = tuple[datetime, int, int, bytes]
"""Of an attempt: when, domain, crawl, URL."""


def moment(given: datetime) -> datetime:
    """A moment that somebody named, in UTC, and no earlier or later than anything here. Raises UsageError: it has no zone."""
    if given.tzinfo is None:
        raise UsageError("a moment needs its zone, such as 2026-01-01T00:00:00Z")
    try:
        return min(DOOM, max(EPOCH, given.astimezone(UTC)))
    except OverflowError:
        return DOOM if given.year > EPOCH.year else EPOCH


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which attempts; None: all."""

    crawl_id: int | None = None
    outcomes: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def names(self) -> list[str] | None:
        """The outcomes, as a statement takes them."""
        return None if self.outcomes is None else list(self.outcomes)


@dataclass(frozen=True, slots=True)
class Span:
    """From when, to before when, there are such attempts; and how many in all are read to find them."""

    since: datetime
    until: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Found:
    """Attempts, the newest first; and before when others may be: None, there are none."""

    rows: list[Any]
    rest: datetime | None


async def newest(session: Session, wanted: Wanted, most: int, after: Key | None = None) -> Found:
    """The newest *most* attempts that are older than *after*; fewer, where others would take too long to find."""
    if after is not None:
        wanted = replace(wanted, until=after[0] + TICK)
    found: list[Any] = []
    spans, rest = await _spans(session, wanted, most)
    read = 0
    for span in spans:
        if read and read + span.attempts > ROWS:
            return Found(found, span.until)
        read += span.attempts
        found += await session.fetch(
            "look_attempts_between",
            span.since,
            span.until,
            wanted.crawl_id,
            wanted.names,
            *(after or (None, None, None, None)),
            most - len(found),
        )
        if len(found) >= most:
            return Found(found, span.since)
    return Found(found, rest)


async def _spans(session: Session, wanted: Wanted, most: int) -> tuple[list[Span], datetime | None]:
    """Where to look for the newest *most*, the newest first; and before when others may be."""
    (counted,) = await session.fetch("look_counted")
    now, minutes_since, minute = counted["now"], counted["minutes_since"], counted["minute"]
    since, until = wanted.since or now - BEGINNING, wanted.until or now + timedelta(minutes=1)
    found: list[Span] = []
    if max(since, minute) < until:
        guess = counted["last_minute"] * max(0.0, (min(until, now) - minute) / timedelta(minutes=1))
        found += _parts((minute, until), round(guess), since, until)
    left = ROWS
    for name, floor, begins, ends in (
        ("look_minutes_with", "minute", max(since, minutes_since), min(until, minute)),
        ("look_hours_with", "hour", since, min(until, minutes_since)),
    ):
        if begins >= ends:
            continue
        rows = await session.fetch(
            name, _floor(begins, floor), ends, wanted.crawl_id, wanted.names, most, left
        )
        for row in rows:
            found += _parts((row["since"], row["since"] + row["length"]), int(row["attempts"]), begins, ends)
        left -= sum(row["attempts"] for row in rows)
        most -= sum(row["wanted"] for row in rows)
        if most <= 0 or left <= 0:
            return list(_joined(found)), found[-1].since
    return list(_joined(found)), None


def _floor(moment: datetime, unit: str) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if unit == "minute" else whole.replace(minute=0)


def _parts(whole: tuple[datetime, datetime], attempts: int, begins: datetime, ends: datetime) -> list[Span]:
    """A time with so many attempts, in parts of `A_SPAN`, the newest first; as far as it lies between *begins* and *ends*."""
    parts = max(1, -(-attempts // A_SPAN))
    each = (whole[1] - whole[0]) / parts
    cuts = [*(whole[0] + each * number for number in range(parts)), whole[1]]
    pairs = [(max(begins, since), min(ends, until)) for since, until in pairwise(cuts)]
    return [Span(since, until, attempts // parts) for since, until in reversed(pairs) if since < until]


def _joined(found: Sequence[Span]) -> list[Span]:
    """Neighbours as one: each statement reads what the BRIN index does not know yet once more."""
    joined: list[Span] = []
    for span in found:
        last = joined[-1] if joined else None
        if last is not None and last.since == span.until and last.attempts + span.attempts <= A_SPAN:
            joined[-1] = Span(span.since, last.until, last.attempts + span.attempts)
        else:
            joined.append(span)
    return joined
