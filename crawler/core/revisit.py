"""Sooner to what changes, later to what does not (design, section 9; why it is not to the letter: docs/why.md, "Revisiting").

    first visit ──► 7 d ──► how often does it change? (unchanged up to x 1.5, changed down to x 0.5, for each period)
                                └──► the interval for that, within 1 h to 90 d

1. What we saw decides: after the first visit, no word of a site enters the estimate of the time between changes.
2. What a site says shapes: where it begins (1 d to 28 d), and by up to 1.5 in either direction, each interval.
   So a page that does not change is visited ever later, however often its site calls it new.
3. A short max-age is the caution of a server and no news; a long one is a promise, and is believed as any other hint.
4. A sitemap that says a page has changed brings its visit forward by as much as such words have proved true before.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

START: Final = 7 * DAY
SOONEST: Final = HOUR
LATEST: Final = 90 * DAY
UNCHANGED: Final = 1.5
"""By what the estimated period grows when a page has not changed for as long as that period."""
CHANGED: Final = 0.5
"""By what it shrinks when a page has changed at once; the later the change is seen, the less it says."""
ASSUMED: Final = 2.0
"""Periods are assumed to be so many first intervals, until something is seen: 14 d."""

PRICE: Final = START / math.sqrt(1.5 * ASSUMED)
"""What a visit costs, as a time: such that `allotted` begins with `START`. From there the interval only grows while nothing changes."""
SELDOM: Final = 0.1
"""No interval is a smaller share of the period: visits to what hardly ever changes save little age."""
PERIODS: Final = (SOONEST, LATEST / SELDOM)
"""Seconds: beyond these another period would not be another interval, or nearly."""

HINTED_START: Final = (DAY, 28 * DAY)
"""Seconds: a hint may choose the first interval within these."""
HINTED: Final = 1.5
"""By what a hint may shorten or lengthen each later interval, so that no word moves it further, however often it is said."""

CHANGEFREQ: Final[Mapping[str, float]] = MappingProxyType(
    {
        "always": HOUR,
        "hourly": HOUR,
        "daily": DAY,
        "weekly": 7 * DAY,
        "monthly": 30 * DAY,
        "yearly": 365 * DAY,
        "never": 3650 * DAY,
    }
)
"""The words of sitemaps.org, in seconds."""
LONGEST_AGE: Final = float(2**31)
"""Seconds: what a longer delta-seconds counts as (RFC 9111 section 1.2.2)."""

_DIRECTIVE: Final = re.compile(
    r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^,\s"]*))?""", re.ASCII | re.DOTALL
)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a visit saw of a page that is well, and what its site says of it. All times are seconds."""

    changed: bool | None = None
    """Whether its content is another than at the visit before; None: there was none."""
    elapsed: float | None = None
    """How long ago that visit was; None: nobody knows."""
    period: float | None = None
    """The time between its changes, as estimated so far (`learned`); None: it was not."""
    max_age: float | None = None
    """For how long the site promised that it stays (`max_age`)."""
    changefreq: float | None = None
    """How often it changes, as a sitemap says (`changefreq`)."""

    @property
    def is_first(self) -> bool:
        """Whether there is nothing to learn from."""
        return self.changed is None or self.period is None


def adaptive(sight: Sight) -> float:
    """Seconds until the next visit, within `SOONEST` and `LATEST`."""
    plain = START if sight.is_first else allotted(learned(sight))
    if (hint := _hint(sight, plain)) is None:
        return plain
    bounds = HINTED_START if sight.is_first else (plain / HINTED, plain * HINTED)
    return _within(_within(hint, *bounds), SOONEST, LATEST)


def allotted(period: float) -> float:
    """Seconds between visits to a page that changes every so many seconds, within `SOONEST` and `LATEST`.

    For changes at random, one more visit saves the same age on all pages where the interval is the cube root of
    1.5 price² period, if that is short against the period (from Cho and Garcia-Molina, 2000; the least age, and not
    the most fresh pages, which gives up the fastest ones). Nothing is visited oftener than ten times in a period.
    """
    return _within(max(math.cbrt(1.5 * PRICE**2 * period), SELDOM * period), SOONEST, LATEST)


def learned(sight: Sight) -> float:
    """The time between a page's changes as estimated with this visit, in seconds, within `PERIODS`.

    Online expectation-maximisation of a Poisson process: a change that is seen after r periods stands for
    r / (1 - exp(-r)) changes. What was known before weighs as much as one change, or as two periods without any:
    x 1.5 when a whole period was quiet, x 0.5 when a page has changed at once. Visits need not be regular.
    """
    if sight.period is None:
        first = _hint(sight, START)
        return ASSUMED * (START if first is None else _within(first, *HINTED_START))
    before = _within(sight.period, *PERIODS)
    if sight.changed is None or sight.elapsed is None:
        return before
    ratio = max(sight.elapsed, 0.0) / before
    if sight.changed:
        changes = ratio / -math.expm1(-ratio) if ratio > 0 else 1.0
        known = CHANGED / (1 - CHANGED)
        after = before * (known + ratio) / (known + changes)
    else:
        after = before * (1 + (UNCHANGED - 1) * ratio)
    return _within(after, *PERIODS)


def _hint(sight: Sight, plain: float) -> float | None:
    """The interval that a site's words suggest instead of the plain one; None: they suggest nothing."""
    if sight.changefreq is not None:
        # News that a cache on the way keeps from us is no news.
        return max(allotted(sight.changefreq), sight.max_age or 0.0)
    return sight.max_age if sight.max_age is not None and sight.max_age > plain else None


def changefreq(word: str) -> float | None:
    """Seconds between changes, from the word of a sitemap in any case; None for any other word."""
    return CHANGEFREQ.get(word.strip().lower())


def brought_forward(
    lastmod: datetime | None, fetched_at: datetime, revisit: float, promised: int, kept: int
) -> float:
    """Seconds after the last fetch from which a page may be visited, because a sitemap says it has changed since.

    With trust the cube of (kept + 1) / (promised + 2), Laplace's rule of succession, the ordinary interval is shortened
    to its (1 - trust)-th power, counted in hours: one hour for who is always right, the interval itself for who never
    is. The cube, because pages change anyway: half of all promises is soon kept by chance (docs/why.md).
    A lastmod that is not later than the last fetch says nothing new, and leaves the interval as it is.

    Args:
        lastmod: when the page changed last, as the sitemap says.
        fetched_at: when it was fetched last.
        revisit: seconds, its ordinary interval.
        promised: visits to this domain that were made because of such words.
        kept: those that found a change.
    """
    if lastmod is None or lastmod <= fetched_at or revisit <= SOONEST:
        return revisit
    promised = max(promised, 0)
    trust = ((_within(kept, 0, promised) + 1) / (promised + 2)) ** 3
    return _within(SOONEST * (revisit / SOONEST) ** (1 - trust), SOONEST, revisit)


def max_age(headers: Sequence[tuple[str, str]], now: datetime) -> float | None:
    """For how many seconds an answer promises to stay as it is, up to `LONGEST_AGE`; None: it does not.

    As a shared cache reads it (RFC 9111 section 4.2.1): s-maxage, else max-age, else Expires minus Date (or `now`);
    of several, the first. What may not be kept, or not without asking (no-store, no-cache), promises nothing, nor
    does what cannot be read. The Age of a copy is left aside: this is how the site thinks of the page.
    """
    said: dict[str, str] = {}
    for name, value in _directives(headers):
        said.setdefault(name, value)
    if "no-store" in said or "no-cache" in said:
        return None
    for name in ("s-maxage", "max-age"):
        if name in said:
            return _delta(said[name])
    if (expires := _date(headers, "expires")) is None:
        return None
    seconds = (expires - (_date(headers, "date") or now)).total_seconds()
    return min(seconds, LONGEST_AGE) if seconds > 0 else None


def _directives(headers: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Names in lower case, and values without quotes, of all Cache-Control headers."""
    for header, text in headers:
        if header.lower() == "cache-control":
            for found in _DIRECTIVE.finditer(text):
                yield found[1].lower(), (found[2] or "").strip('"')


def _delta(text: str) -> float | None:
    digits = text.lstrip("0")
    if not _DIGITS.fullmatch(digits):
        return None
    # A million digits must not be converted.
    return min(float(digits), LONGEST_AGE) if len(digits) <= len("2147483648") else LONGEST_AGE


def _date(headers: Sequence[tuple[str, str]], name: str) -> datetime | None:
    """The first header of that name as a moment; None: there is none, or it is no date."""
    text = next((value for header, value in headers if header.lower() == name), None)
    try:
        when = parsedate_to_datetime(text or "")
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
