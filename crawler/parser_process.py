"""A parser process: reads the pages and sitemaps it is handed, one at a time, within limits that the system enforces.

    stdin  ◄── length of the task, length of the body, task (msgpack), body
    stdout ──► length of the reply, reply (msgpack), length of the packed body, packed body

1. A page that takes more CPU seconds or memory than it is granted ends this process, and nothing else.
2. It ends with its stdin: a parent that dies, however it dies, leaves no parser behind.
3. What the terminal or a service manager signals is for the parent; it ends us in its own time.
"""

import contextlib
import re
import resource
import signal
import struct
import sys
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, assert_never

import msgspec

from crawler.core.content import UnreadableError
from crawler.core.model import Page
from crawler.core.sitemaps import Sitemap
from crawler.parsing import Job, Parsed, ParsedSitemap, SitemapJob, parse, parse_sitemap

TIRED: Final = 96 << 20
"""Bytes at its peak after which a process is replaced: what was freed is seldom given back."""
LENGTHS: Final = struct.Struct(">II")
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
    _settle_down()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(BrokenPipeError):
        while True:
            lengths = source.read(LENGTHS.size)
            if len(lengths) < LENGTHS.size:
                return
            of_task, of_body = LENGTHS.unpack(lengths)
            task = msgspec.msgpack.decode(source.read(of_task), type=Task)
            body = source.read(of_body)
            if len(body) < of_body:
                return
            if _answer(sink, task, body):
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
        fault = f"{type(error).__name__}: {error} at {_place(error)}"
    last = spent or _peak() > TIRED
    packed, reply = _packed(parsed, last=last, cpu_seconds=time.process_time() - began, fault=fault)
    sink.write(LENGTHS.pack(len(reply), len(packed)))
    sink.write(reply)
    sink.write(packed)
    sink.flush()
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
    reply = Reply(page, digest, packed is not None, last, cpu_seconds, fault, sitemap)
    return packed or b"", msgspec.msgpack.encode(reply)


def _settle_down() -> None:
    """Take the limits on, and be the first to go when the machine's memory ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _grant(seconds: int, memory: int) -> None:
    """Allow so many more CPU seconds, and so many bytes of data: the system ends who takes more."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime) + 1
    _limit(resource.RLIMIT_CPU, spent + seconds)
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        _limit(resource.RLIMIT_DATA, memory)


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _peak() -> int:
    """Bytes of memory at their most; 0 where the system does not say. What getrusage tells may be our parent's."""
    with contextlib.suppress(OSError):
        found = _PEAK.search(Path("/proc/self/status").read_text("ascii", "replace"))
        return int(found[1]) * 1024 if found else 0
    return 0


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def parsed_of(reply: Reply, packed: bytes) -> Parsed | None:
    """A reply as what was asked for; None: it could not be read."""
    if reply.page is None:
        return None
    return Parsed(reply.page, reply.digest, packed if reply.stored else None)


def parsed_sitemap_of(reply: Reply) -> ParsedSitemap | None:
    """As `parsed_of`, of a sitemap."""
    return None if reply.sitemap is None else ParsedSitemap(reply.sitemap, reply.digest)


if __name__ == "__main__":
    main()
