"""The data out: one JSON object a line, in a stable order, to a file atomically."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from backports import zstd

from crawler.adapters.postgres import Database
from crawler.core.content import decode, visible_text
from crawler.core.errors import FaircrawlError
from crawler.core.model import Crawl


async def export_to(database: Database, crawl: Crawl, file: Path, *, bodies: bool) -> int:
    """Write the pages of *crawl* to *file* (``-``: standard output), domain by domain: how many lines.

    The file appears when it is whole; what stood there before is replaced.
    """
    lines = 0
    with _writing(file) as out:
        for domain in await database.fetch("export_domains", crawl.crawl_id):
            async with database.cursor("export", crawl.crawl_id, domain["domain_id"]) as rows:
                async for row in rows:
                    out.write(
                        json.dumps(page_object(row, crawl.name, bodies=bodies), ensure_ascii=False) + "\n"
                    )
                    lines += 1
    return lines


def page_object(row: Any, crawl: str, *, bodies: bool) -> dict[str, Any]:
    """A stored page as an export has it: sizes in bytes, moments in ISO 8601, digests in hex (SHA-256 of the bytes)."""
    body = None if row["data"] is None else zstd.decompress(row["data"])
    page = {
        "url": row["url"],
        "crawl": crawl,
        "fetched_at": row["fetched_at"].isoformat(),
        "status": row["status"],
        "outcome": row["outcome"],
        "content_type": row["content_type"],
        "charset": row["charset"],
        "title": row["title"],
        "language": row["language"],
        "text": None if body is None else visible_text(body, row["content_type"], row["charset"]),
        "length": row["length"],
        "digest": None if row["digest"] is None else row["digest"].hex(),
        "depth": row["depth"],
        "redirect_to": row["redirect_to"],
        "directives": [word for word in row["directives"] if word],
        "headers": json.loads(row["headers"]),
    }
    if bodies:
        page["body"] = None if body is None else text_of(body, row["charset"])
    return page


def text_of(body: bytes, charset: str | None) -> str:
    """The body as text, in the charset it was read in."""
    return decode(body, charset)[0]


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[IO[str]]:
    if str(file) == "-":
        yield sys.stdout
        return
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise FaircrawlError(f"{file} cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            yield out
        part.chmod(0o666 & ~_umask())
        part.replace(file)
    except OSError as error:
        raise FaircrawlError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
