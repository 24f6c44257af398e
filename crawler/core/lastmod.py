"""When something changed, as sitemaps and feeds write it.

Nonsense is None, and so is a moment before there was a web, or more than a day ahead of now.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Final

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Nothing on the web is older. What is said to be was written by a program that had no date: 1970, 0001."""
AHEAD: Final = timedelta(days=1)
"""By so much a site's clock or time zone may be wrong."""
_LONGEST: Final = 64

# W3C-DTF, and what is often written instead: a space for the T, no time zone, no colon in it.
_W3C: Final = re.compile(
    r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})"
    r"(?:[Tt ]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([Zz]|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)?)?)?)?",
    re.ASCII,
)


def lastmod(text: str, now: datetime) -> datetime | None:
    """The moment that a text means: a W3C datetime in any of its precisions, or the date of an e-mail (RFC 822).

    A year, a month or a day mean their first moment; what names no time zone is UTC.
    https://www.w3.org/TR/NOTE-datetime
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        return None
    try:
        found = _w3c(text) or parsedate_to_datetime(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (
        ValueError,
        OverflowError,
        TypeError,
        IndexError,
    ):  # the last two: bugs of email.utils in some versions
        return None
    return found if EARLIEST <= found <= now + AHEAD else None


def _w3c(text: str) -> datetime | None:
    """None if it is not in that form. Raises ValueError for the 30th of February, OverflowError at the end of time."""
    found = _W3C.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (
        int(one or least) for one, least in zip(found.groups(), (0, 1, 1, 0, 0, 0), strict=False)
    )
    fraction = int((found[7] or "0")[:6].ljust(6, "0"))
    leap = second == 60  # noqa: PLR2004 - a leap second, which datetime does not know
    moment = datetime(year, month, day, hour, minute, 59 if leap else second, fraction, _zone(found[8]))
    return moment + timedelta(seconds=1) if leap else moment


def _zone(text: str | None) -> timezone:
    if text is None or text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if text[0] == "-" else offset)
