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
    """A stored page as an export has it: sizes in bytes, moments in ISO 8601, SHA-256 in hex."""
    body = None if row["data"] is None else unpack(row["data"])
    page = {
        "url": row["url"],
        "crawl": crawl,
        "first_at": _iso(row["first_at"]),
        "fetched_at": _iso(row["fetched_at"]),
        "changed_at": _iso(row["changed_at"]),
        "status": row["status"],
        "outcome": row["outcome"],
        "content_type": row["content_type"],
        "charset": row["charset"],
        "title": row["title"],
        "language": row["language"],
        "text": text_seen(row, body),
        "length": row["length"],
        "digest": None if row["digest"] is None else row["digest"].hex(),
        "depth": row["depth"],
        "redirect_to": row["redirect_to"],
        "directives": directives(row),
        "headers": json.loads(row["headers"]),
        "fields": None if row["fields"] is None else json.loads(row["fields"]),
    }
    if bodies:
        page["body"] = None if body is None else text_of(body, row["charset"])
    return page


def text_seen(row: Any, body: bytes | None) -> str | None:
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
