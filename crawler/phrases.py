"""Durations, moments, sizes and counts as a person says them; and what strangers wrote, safe to show."""

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_UNSEEN: Final = re.compile("[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a terminal's cursor or turns its writing round."""
_UNSEEN_IN_TEXT: Final = re.compile(r"(?![\n\t])" + _UNSEEN.pattern)


def span(seconds: float) -> str:
    """Seconds in the two largest units that matter: ``2 h 5 min``."""
    left = round(seconds)
    if left < 1:
        return "0 s" if seconds < 0.001 else f"{seconds:.2g} s"  # noqa: PLR2004 - less than is shown
    said: list[str] = []
    for unit, name in _UNITS:
        n, rest = divmod(left, unit)
        if n:
            said.append(f"{n} {name}")
            left = rest
        elif said:
            break
        if len(said) == 2:  # noqa: PLR2004 - as the docstring says
            break
    return " ".join(said)


def relative(moment: datetime, now: datetime) -> str:
    """``3 min ago``, ``in 2 h`` or ``now``."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def at(moment: datetime, now: datetime) -> str:
    """A moment both ways: ``2026-11-21 02:27 UTC, 3 min ago``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC, {relative(moment, now)}"


def size(number: float) -> str:
    """Bytes in the unit that suits them, by thousands."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f} bytes"


def count(number: int, noun: str) -> str:
    """``1 page``, ``1,234 pages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seen(text: str) -> str:
    """A stranger's words on one line, with nothing in them that a terminal would obey."""
    return _UNSEEN.sub("\ufffd", text)


def seen_text(text: str) -> str:
    """As `seen`, but the lines of a text stay lines."""
    return _UNSEEN_IN_TEXT.sub("\ufffd", text)
