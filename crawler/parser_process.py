"""A parser process: reads the pages and sitemaps it is handed, one at a time, within limits that the system enforces.

    stdin  ◄── task (msgpack), body
    stdout ──► reply (msgpack), packed body

1. A page that takes more CPU seconds or memory than it is granted ends this process, and nothing else.
2. What else holds of it holds of all that serve a worker: `crawler.service`.
"""

import contextlib
import re
import resource
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, assert_never

import msgspec

from crawler.core.content import UnreadableError
from crawler.core.model import Page
from crawler.core.sitemaps import Sitemap
from crawler.parsing import Job, Parsed, ParsedSitemap, SitemapJob, parse, parse_sitemap
from crawler.service import limit, limit_memory, place_of, questions, reply, settle_down

TIRED: Final = 96 << 20
"""Bytes at its peak after which a process is replaced: what was freed is seldom given back."""
_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


class Task(msgspec.Struct, array_like=True, frozen=True):
    """What goes with a body."""

    url: str
    content_type: str | None
    headers: tuple[tuple[str, str], ...]
    parser: str
    types: tuple[str, ...]
    cpu_seconds: int
    """Granted for this body, as is the memory."""
    memory: int
    """Bytes of data in all."""
    sitemap_at: datetime | None = None
    """It is a sitemap, to be read at this moment; None: it is a page."""
    near_duplicates: bool = True


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """What came of it."""

    page: Page | None
    """None: no parser could read it, or it is a sitemap."""
    digest: bytes
    stored: bool
    """Whether the body, packed, follows."""
    last: bool
    """Whether the process ends now."""
    cpu_seconds: float
    """Spent on this body."""
    fault: str = ""
    """An exception that should not have come."""
    sitemap: Sitemap | None = None


def main() -> None:
    """Read until nothing more comes."""
    settle_down()
    with contextlib.suppress(BrokenPipeError):
        for task, body in questions(sys.stdin.buffer):
            if _answer(sys.stdout.buffer, msgspec.msgpack.decode(task, type=Task), body):
                return


def _answer(sink: BinaryIO, task: Task, body: bytes) -> bool:
    """Read one body and say what came of it; True: this was the last."""
    _grant(task.cpu_seconds, task.memory)
    parsed, fault, spent, began = None, "", False, time.process_time()
    try:
        parsed = _read(task, body)
    except UnreadableError:
        pass
    except (MemoryError, RecursionError):
        spent = True
    except Exception as error:  # noqa: BLE001 - a fault of ours: told to the parent, who reports it
        fault = f"{type(error).__name__}: {error} at {place_of(error)}"
    last = spent or _peak() > TIRED
    packed, said = _packed(parsed, last=last, cpu_seconds=time.process_time() - began, fault=fault)
    reply(sink, said, packed)
    return last


def _read(task: Task, body: bytes) -> Parsed | ParsedSitemap:
    if task.sitemap_at is not None:
        return parse_sitemap(SitemapJob(body, task.url, task.sitemap_at))
    job = Job(
        body=body,
        url=task.url,
        content_type=task.content_type,
        headers=task.headers,
        parser=task.parser,
        types=frozenset(task.types),
        near_duplicates=task.near_duplicates,
    )
    return parse(job)


def _packed(
    parsed: Parsed | ParsedSitemap | None, *, last: bool, cpu_seconds: float, fault: str
) -> tuple[bytes, bytes]:
    """The packed body and the reply."""
    page, sitemap, digest, packed = None, None, b"", None
    match parsed:
        case Parsed():
            page, digest, packed = parsed.page, parsed.digest, parsed.compressed
        case ParsedSitemap():
            sitemap, digest = parsed.sitemap, parsed.digest
        case None:
            pass
        case _:
            assert_never(parsed)
    said = Reply(page, digest, packed is not None, last, cpu_seconds, fault, sitemap)
    return packed or b"", msgspec.msgpack.encode(said)


def _grant(seconds: int, memory: int) -> None:
    """Allow so many more CPU seconds, and so many bytes of data: the system ends who takes more."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    limit(resource.RLIMIT_CPU, spent + seconds)
    limit_memory(memory)


def _peak() -> int:
    """Bytes of memory at their most; 0 where the system does not say. What getrusage tells may be our parent's."""
    with contextlib.suppress(OSError):
        found = _PEAK.search(Path("/proc/self/status").read_text("ascii", "replace"))
        return int(found[1]) * 1024 if found else 0
    return 0


def parsed_of(said: Reply, packed: bytes) -> Parsed | None:
    """A reply as what was asked for; None: it could not be read."""
    if said.page is None:
        return None
    return Parsed(said.page, said.digest, packed if said.stored else None)


def parsed_sitemap_of(said: Reply) -> ParsedSitemap | None:
    """As `parsed_of`, of a sitemap."""
    return None if said.sitemap is None else ParsedSitemap(said.sitemap, said.digest)


if __name__ == "__main__":
    main()
