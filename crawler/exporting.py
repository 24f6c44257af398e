"""The data out: one JSON object a line, in a stable order, to a file atomically.

1. Memory holds a few pages at a time, however many there are, and 8 bytes of each domain.
2. The file appears when it is whole and on disk; what stood there before is replaced, or left as it was.
3. A line is UTF-8 without line breaks of any kind inside, whatever the pages hold and whatever the locale is.
"""

import contextlib
import json
import os
import re
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.adapters.zstd import unpack
from crawler.core.content import decode
from crawler.core.errors import FaircrawlError, UsageError
from crawler.core.model import Crawl
from crawler.core.trees import visible_text

_LINE_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
"""JSON allows them inside of strings, and `str.splitlines` breaks lines at them."""


async def export_to(database: Database, crawl: Crawl, file: Path, *, bodies: bool) -> int:
    """Write the pages of *crawl* to *file* (``-``: standard output), by domain and URL: how many lines.

    Raises:
        FaircrawlError: the file cannot be written.
        BrokenPipeError: whoever read standard output has gone.
    """
    lines = 0
    with _writing(file) as write:
        async with contextlib.aclosing(database.rows("export_domains", crawl.crawl_id)) as domains:
            ids = array("q", [row["domain_id"] async for row in domains])
        for domain_id in ids:
            async with contextlib.aclosing(database.rows("export", crawl.crawl_id, domain_id)) as rows:
                async for row in rows:
                    write(line_of(page_object(row, crawl.name, bodies=bodies)))
                    lines += 1
    return lines


def refuse_unwritable(file: Path) -> None:
    """Tell a person at once what would only turn out in the end. Raises UsageError."""
    if str(file) != "-" and not file.parent.is_dir():
        raise UsageError(f"{file} cannot be written: there is no folder {file.parent}")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: name a file in it")


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
        "text": None
        if body is None
        else visible_text(body, row["content_type"], row["charset"], perf_counter),
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


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def text_of(body: bytes, charset: str | None) -> str:
    """The body as text, in the charset it was read in."""
    return decode(body, charset)[0]


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[Callable[[bytes], object]]:
    if str(file) == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    refuse_unwritable(file)
    if file.exists() and not file.is_file():  # /dev/stdout, a named pipe: nothing to replace
        with _telling(file), file.open("wb") as out:
            yield out.write
        return
    file = file.resolve()  # what a link leads to is replaced, not the link
    part: Path | None = None
    try:
        with _telling(file):
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:200]}.")
            part = Path(name)
            with os.fdopen(handle, "wb") as out:
                yield out.write
                out.flush()
                os.fsync(out.fileno())
            part.chmod(file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask())
            part.replace(file)
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _telling(file: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FaircrawlError(f"{file} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
