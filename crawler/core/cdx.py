"""Indexes of web archives: a line in, what it says of a URL out.

    ` CDX N b a m s k r M S V g` ──legend_of──► which column is what ──► capture(line, legend)
    `com,example)/ 20260101000000 {"url": ...}` ─────────────────────► capture_json(line)

1. A line gives a `Mention`, or a `Fault`, or None: it is about no page (a look-up of a name, a form that was sent, a remark).
2. Nothing is raised, whatever a line says.

CDX: https://iipc.github.io/warc-specifications/specifications/cdx-format/cdx-2015/ ; CDXJ as pywb writes it:
https://pywb.readthedocs.io/en/latest/manual/indexing.html
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from crawler.core.mentions import STATUSES, Fault, Mention

ORIGINAL, DATE, MIME, STATUS, DIGEST = "a", "b", "m", "s", "k"
"""The letters of CDX for the columns that are read here."""
LEGENDS: Final[Mapping[int, tuple[str, ...]]] = MappingProxyType(
    {
        6: tuple("Nbamsk"),
        7: tuple("NbamskS"),
        9: tuple("NbamskrVg"),
        10: tuple("NbamskrMVg"),
        11: tuple("NbamskrMSVg"),
    }
)
"""What the columns are where no header says it, by their number; seven are what the Wayback Machine's server answers."""

_HEADER: Final = re.compile(r"(\W)?CDX((?:\W[A-Za-z])+)")
_JSON: Final = re.compile(r"\S+ [0-9]{4,17} \{")
_PLAIN: Final = re.compile(r"\S+ [0-9]{14} \S+ \S+ (?:-|[0-9]{3}) \S+(?: |\Z)")
_DIGITS: Final = re.compile(r"[0-9]{4,17}", re.ASCII)
_NOT_OF_A_PAGE: Final = ("dns:", "whois:", "filedesc:", "warcinfo:", "metadata:", "urn:", "screenshot:", "!")
"""How the URL, or the line, begins in records of which none is a page."""
_VISITED_AGAIN: Final = "warc/revisit"
_UNSAID: Final = "-"
_GETS: Final = frozenset({"GET", "HEAD"})


class _Said(msgspec.Struct, gc=False):
    url: str = ""
    mime: str = ""
    status: str | int = ""
    digest: str = ""
    method: str = "GET"


def legend_of(line: str) -> tuple[str, ...] | None:
    """The columns that a header names; None: it is none."""
    found = _HEADER.fullmatch(line.rstrip())
    return None if found is None else tuple(letter for letter in found[2] if letter.isalpha())


def guessed_legend(line: str) -> tuple[str, ...] | None:
    """The columns of a line without a header, by their number; None: it is no line of CDX."""
    return LEGENDS.get(len(line.split())) if _PLAIN.match(line) else None


def is_json(line: str) -> bool:
    """Whether it is a line of CDXJ."""
    return _JSON.match(line) is not None


def capture(line: str, legend: tuple[str, ...], number: int) -> Mention | Fault | None:
    """What a line of CDX says."""
    columns = line.split()
    if not columns or line.startswith(_NOT_OF_A_PAGE):
        return None
    if len(columns) != len(legend):
        return Fault(f"has {len(columns)} columns instead of {len(legend)}", number)
    said = dict(zip(legend, columns, strict=True))
    facts = _Said(said.get(ORIGINAL, ""), said.get(MIME, ""), said.get(STATUS, ""), said.get(DIGEST, ""))
    return _mention(facts, said.get(DATE, ""), number)


_read: Final = msgspec.json.Decoder(_Said).decode


def capture_json(line: str, number: int) -> Mention | Fault | None:
    """What a line of CDXJ says."""
    if not line.strip() or line.startswith(_NOT_OF_A_PAGE):
        return None
    _, _, rest = line.partition(" ")
    date, _, text = rest.partition(" ")
    try:
        said = _read(text)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return Fault("is no line of CDXJ", number)
    if said.method.upper() not in _GETS:
        return None
    return _mention(said, date, number)


def timestamp(text: str) -> datetime | None:
    """The moment of 4 to 17 digits, from the year on, in UTC; None: there is none like that."""
    if not _DIGITS.fullmatch(text):
        return None
    parts = (text[:4], *(text[at : at + 2] for at in range(4, min(len(text), 14), 2)))
    try:
        return datetime(*map(int, (*parts, "1", "1")[: max(3, len(parts))]), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def _mention(said: _Said, date: str, number: int) -> Mention | Fault | None:
    if said.url.startswith(_NOT_OF_A_PAGE):
        return None
    at = timestamp(date)
    if at is None:
        return Fault(f"has {date[:20]!r} for a time", number)
    answered, status = None, str(said.status)
    if status not in ("", _UNSAID):
        answered = int(status) if status.isascii() and status.isdecimal() and len(status) <= len("599") else 0
        if answered not in STATUSES:
            return Fault(f"has {status[:20]!r} for a status of HTTP", number)
    mime = None if said.mime in ("", _UNSAID, _VISITED_AGAIN) else said.mime.lower()[:255]
    return Mention(
        said.url, number, at, answered, mime, None if said.digest in ("", _UNSAID) else said.digest
    )
