"""How long to leave a domain alone: between two requests, and after it asked for rest.

1. The pause is never shorter than the site's own crawl-delay, which is obeyed up to a limit, never skipped.
2. Where a site names a crawl-delay, one request at a time is all it gets.
3. After 429 or 503 the wait is never shorter than the site asked for, up to a day.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

DAY: Final = 86_400.0
"""Seconds: the longest wait that a site can make us take on its word."""
FIRST_THROTTLE_WAIT: Final = 60.0
"""Seconds, doubling with each throttled answer in a row."""
JITTER: Final = 0.5
"""A wait is stretched by up to this share of itself, so that domains throttled together do not return so."""

_SECONDS: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a domain is visited."""

    delay: float
    """Seconds to leave it alone after each answer."""
    slots: int
    """Requests at once."""
    cause: str
    """What the delay comes from, for people."""


def pace(
    *,
    setting_delay: float,
    crawl_delays: Sequence[float | None],
    by_hand: float | None,
    robots_delay: float | None,
    max_crawl_delay: float,
    per_domain: int,
    by_hand_slots: int | None,
) -> Pace:
    """The pace for a turn.

    All delays are seconds. ``crawl_delays`` are those of the crawls in this turn, None for a crawl that has
    none of its own: the slowest counts. What an operator set for the domain (``by_hand``) replaces settings
    and crawls, upwards and downwards, but not the site's wish.
    """
    delay, cause = setting_delay, "setting DELAY"
    if by_hand is not None:
        delay, cause = by_hand, "set by hand"
    elif crawl_delays:
        delay = max(setting_delay if own is None else own for own in crawl_delays)
        if delay in crawl_delays:
            cause = "the crawl's --delay"
    if robots_delay is not None and min(robots_delay, max_crawl_delay) > delay:
        delay = min(robots_delay, max_crawl_delay)
        cause = f"Crawl-delay: {robots_delay:g} in robots.txt"
        if delay < robots_delay:
            cause += f", obeyed up to {delay:g} s"
    slots = 1 if robots_delay else max(1, per_domain if by_hand_slots is None else by_hand_slots)
    return Pace(delay, slots, cause)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds until a ``Retry-After`` (RFC 9110 section 10.2.3), within 0 and a day; None for nonsense.

    A number of seconds, or a date in any of the three formats of HTTP; one that has passed is 0.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        digits = text.lstrip("0") or "0"
        # More digits than a day has are a day; a million of them must not be converted.
        return min(float(digits), DAY) if len(digits) <= len("86400") else DAY
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)  # the asctime format names no zone; it is GMT
        seconds = (when - now).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), DAY)


def throttle_wait(*, retry_after: float | None, throttled_in_a_row: int, jitter: float) -> float:
    """Seconds for which the whole domain waits after 429 or 503.

    ``throttled_in_a_row`` counts this one; ``jitter`` is 0..1.
    """
    # Eleven doublings are more than a day; the limit keeps the power small.
    own = FIRST_THROTTLE_WAIT * 2.0 ** min(max(throttled_in_a_row - 1, 0), 11)
    # A site that has said 0 and meant it would not be throttling again: ten tries would be gone in a moment.
    said = None if retry_after == 0 and throttled_in_a_row > 1 else retry_after
    wait = own if said is None else said
    return min(wait * (1 + JITTER * jitter), DAY)
