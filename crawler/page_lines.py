"""A stored page as an object, and as a line.

A line is UTF-8 without line breaks of any kind inside, whatever the pages hold and whatever the locale is.
"""

import json
import re
from datetime import datetime
from time import perf_counter
from typing import Any, Final

from crawler.adapters.zstd import unpack
from crawler.core.content import decode
from crawler.core.trees import visible_text

_LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""JSON allows them inside of strings, and `str.splitlines` breaks lines at them."""


def line_of(page: dict[str, Any]) -> bytes:
    """A JSON object as a line. A lone surrogate, which UTF-8 cannot say, becomes its escape in JSON."""
    text = json.dumps(page, ensure_ascii=False)
    text = _LINE_BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return (text + "\n").encode("utf-8", "backslashreplace")


def page_object(row: Any, crawl: str, *, bodies: bool) -> dict[str, Any]:
    """A stored page as a line has it: `facts_of` it, moments in ISO 8601."""
    body = body_of(row)
    page = facts_of(row, crawl, body)
    page |= {name: _iso(page[name]) for name in ("first_at", "fetched_at", "changed_at")}
    page["fields"] = None if row["fields"] is None else json.loads(row["fields"])
    if bodies:
        page["body"] = None if body is None else text_of(body, row["charset"])
    return page


def body_of(row: Any) -> bytes | None:
    """The body of a stored page; None: none is kept."""
    return None if row["data"] is None else unpack(row["data"])


def facts_of(row: Any, crawl: str, body: bytes | None) -> dict[str, Any]:
    """What every format says of a stored page, by name and in order: sizes in bytes, SHA-256 in hex, fields as JSON."""
    return {
        "url": row["url"],
        "crawl": crawl,
        "first_at": row["first_at"],
        "fetched_at": row["fetched_at"],
        "changed_at": row["changed_at"],
        "status": row["status"],
        "outcome": row["outcome"],
        "content_type": row["content_type"],
        "charset": row["charset"],
        "title": row["title"],
        "language": row["language"],
        "text": _text_seen(row, body),
        "length": row["length"],
        "digest": None if row["digest"] is None else row["digest"].hex(),
        "depth": row["depth"],
        "redirect_to": row["redirect_to"],
        "directives": directives(row),
        "headers": json.loads(row["headers"]),
        "fields": row["fields"],
    }


def _text_seen(row: Any, body: bytes | None) -> str | None:
    """What a reader sees of a stored page; None: no body is kept."""
    return None if body is None else visible_text(body, row["content_type"], row["charset"], perf_counter)


def directives(row: Any) -> list[str]:
    """What a stored page tells robots."""
    return [word for word in row["directives"] if word]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def text_of(body: bytes, charset: str | None) -> str:
    """The body as text, in the charset it was read in."""
    return decode(body, charset)[0]
