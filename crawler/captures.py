"""What is stored of a page, as an archive tells it."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from crawler import __version__
from crawler.adapters.zstd import unpack
from crawler.core.model import Crawl
from crawler.core.warc import Capture, Pairs, warc_date


def capture_of(row: Any, *, with_body: bool = True) -> Capture:
    """A row of the statement `export` that has a status. Raises DatabaseError: its body is damaged."""
    return Capture(
        row["url"],
        row["fetched_at"],
        row["outcome"],
        row["status"],
        json.loads(row["headers"]),
        unpack(row["data"]) if with_body and row["data"] is not None else None,
        json.loads(row["request_headers"]),
        row["protocol"],
        None if row["address"] is None else str(row["address"]),
        row["content_type"],
        tuple(_facts(row)),
    )


def facts_of_file(crawl: Crawl, asked: Pairs) -> Pairs:
    """What the record that begins a file says. *asked*: the headers of the first request in it."""
    own = ", ".join(crawl.owned_domains)
    agent = next((value for name, value in asked if name.lower() == "user-agent"), crawl.user_agent)
    said = {
        "software": f"Faircrawl/{__version__}",
        "isPartOf": crawl.name,
        "robots": f"obey, but on the operator's own {own}" if own else "obey",
        "http-header-user-agent": agent,
        "description": "bodies are kept without content and transfer encodings; what was received of them stands in X-Crawler- headers",
    }
    return tuple((name, value) for name, value in said.items() if value)


def _facts(row: Any) -> Iterator[tuple[str, str]]:
    """What the crawler made of a page: hopsFromSeed is a name of the standard, the others stand in docs/data.md."""
    yield "hopsFromSeed", "L" * row["depth"]
    for name, value in (
        ("outcome", row["outcome"]),
        ("detail", row["detail"]),
        ("redirect-to", row["redirect_to"]),
        ("first-stored", _moment(row["first_at"])),
        ("last-changed", _moment(row["changed_at"])),
        ("charset", row["charset"]),
        ("language", row["language"]),
        ("title", row["title"]),
        ("directives", ", ".join(word for word in row["directives"] if word)),
        ("body-digest", _hex("sha256", row["digest"])),
        ("text-digest", _hex("blake2b-128", row["text_digest"])),
        ("fields", row["fields"]),
    ):
        if value:
            yield name, value


def _moment(at: datetime | None) -> str | None:
    return None if at is None else warc_date(at)


def _hex(algorithm: str, digest: bytes | None) -> str | None:
    return None if digest is None else f"{algorithm}:{digest.hex()}"
