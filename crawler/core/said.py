"""What a hook may say of a page, and what of it can be kept.

    None, a mapping ──────────► fields ──clean, bounded──► a JSON object
    Found(fields, links) ─────►    └──► links, resolved ──► canonical, unique
    Refuse(reason) ───────────► one line

1. `said` raises nothing but WrongError of its own; what a value of the hook's raises when it is looked at is the hook's.
2. The JSON has no NUL and no lone surrogate (PostgreSQL refuses both), no NaN, and is no deeper than `DEEPEST`.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any, Final

from crawler.core.content import clean
from crawler.core.links import MAX_LINKS
from crawler.core.references import resolve

MOST_FIELDS: Final = 1 << 20
"""Bytes of JSON that hooks may say of a page."""
DEEPEST: Final = 50
"""Objects and arrays within each other."""
MOST_REFERENCES: Final = 4 * MAX_LINKS
"""Links of a hook that are looked at."""
BYTES: Final = (bytes, bytearray, memoryview)
LONGEST: Final = 300
"""Characters of a reason, or of what went wrong."""
BY_HOOK: Final = "hook "
"""What the detail of a page begins with that a hook refused."""


class WrongError(Exception):
    """A hook has returned what is nothing we can keep."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a hook found on a page: a hook that has no links may return its fields alone."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Kept with the page, as JSON."""
    links: Iterable[str] = ()
    """To be followed like the page's own, if they are in scope: absolute, or relative to the page's URL."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The page is not wanted: nothing of it is stored, none of its links is followed, and it is not visited again."""

    reason: str = "not wanted"
    """For whoever asks why."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a hook said, as it can be kept."""

    fields: bytes = b""
    """A JSON object in UTF-8; empty: nothing."""
    links: tuple[str, ...] = ()
    refusal: str | None = None


def said(value: object, url: str, room: int = MOST_FIELDS) -> Said:
    """What a hook said by what it returned for the page *url*. *room*: bytes that its fields may take.

    Raises:
        WrongError: it is nothing we can keep.
    """
    match value:
        case None:
            return Said()
        case Refuse():
            return Said(refusal=line_of(str(value.reason)) or "not wanted")
        case Found():
            return Said(_packed(value.fields, room), _links(value.links, url))
        case Mapping():
            return Said(_packed(value, room))
    raise WrongError(
        f"it returned {_kind(value)}: return None, a mapping of fields, Found(...) or Refuse(...)"
    )


def size_of(fields: Mapping[str, Any]) -> int:
    """Bytes that these fields take as JSON. Raises WrongError: they cannot be kept, by themselves."""
    return len(_packed(fields, MOST_FIELDS))


def cut(text: str, most: int) -> str:
    """The beginning of a text that takes so many bytes as JSON at most, and can be stored."""
    text = clean(text[:most])
    while (size := len(json.dumps(text, ensure_ascii=False).encode())) > most:
        text = text[: min(len(text) - 1, len(text) * most // size)]
    return text


def line_of(text: str) -> str:
    """A text as one line that can be stored and shown, and is not too long."""
    line = " ".join(
        "".join(sign if sign.isprintable() else " " for sign in clean(text[: 4 * LONGEST])).split()
    )
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _packed(fields: object, room: int) -> bytes:
    if not isinstance(fields, Mapping):
        raise WrongError(f"its fields are {_kind(fields)}, and no mapping")
    if not fields:
        return b""
    try:
        text = json.dumps(_plain(fields, "its fields", 0), ensure_ascii=False, separators=(",", ":"))
    except ValueError:  # a whole number of more than 4,300 digits
        raise WrongError("a number among its fields is too long") from None
    packed = text.encode()
    if len(packed) > room:
        raise WrongError(f"its fields take {len(packed):,} bytes, and there is room for {room:,}")
    return packed


def _plain(value: object, place: str, depth: int) -> Any:
    """The value in what JSON knows. *place*: where it stands, for whoever wrote it."""
    if depth > DEEPEST:
        raise WrongError(f"its fields are more than {DEEPEST} levels deep, or hold themselves")
    plain: Any = None
    match value:
        case None | bool():
            plain = value
        case str():
            plain = clean(str(value))
        case int():
            plain = int(value)
        case float():
            plain = float(value) if math.isfinite(value) else None
        case date():
            plain = value.isoformat()
        case Mapping():
            plain = {
                _key(key, place): _plain(item, f"{place}[{key!r:.50}]", depth + 1)
                for key, item in value.items()
            }
        case Sequence() | AbstractSet() if not isinstance(value, BYTES):
            plain = [_plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
        case _:
            raise WrongError(f"{line_of(place)[:100]} is {_kind(value)}, for which JSON has no word")
    return plain


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise WrongError(f"a key of {line_of(place)[:100]} is {_kind(key)}, and no text")
    return clean(str(key))


def _links(links: Iterable[str], url: str) -> tuple[str, ...]:
    if isinstance(links, (str, bytes)) or not isinstance(links, Iterable):
        raise WrongError(f"its links are {_kind(links)}: give several texts, as a list")
    references = list(islice(links, MOST_REFERENCES))
    if (odd := next((one for one in references if not isinstance(one, str)), None)) is not None:
        raise WrongError(f"one of its links is {_kind(odd)}, and no text")
    return resolve(map(clean, references), url, None, "utf-8", MAX_LINKS)


def _kind(value: object) -> str:
    name = type(value).__name__[:50]
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
