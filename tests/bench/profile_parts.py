"""Which part of the crawler a sample belongs to: what py-spy saw, sorted by the files and functions of its frames.

    py-spy's raw stacks ──► Stack: process, frames ──innermost frame that a part names──► Profile: parts, functions, tree

1. Every sample belongs to exactly one part; what no part names is `OTHER`.
2. What C code spends counts for the Python function that called it; so does what the standard library spends.
3. A part names files that are there: a test says so, and notices one that was renamed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_LINE: Final = re.compile(r":\d+\)$")
_PROCESS: Final = re.compile(r'process \d+:"(.*)"')
MAIN: Final = "crawl run"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what is done for a page."""

    name: str
    family: str
    about: str
    frames: Sequence[str] = ()
    """How the frames of it look: a file, the beginning of a path (with a slash at the end), or `function (file)`."""


START: Final = Part(
    "start and end", "once", "imports, migrations, the interpreter: once, however many pages there are",
    ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", "crawler/adapters/migrations.py", "crawler/cli/",
     "crawler/opening.py", "crawler/adapters/embedded.py", "crawler/checking.py", "PublicSuffixList._parse (publicsuffixlist/__init__.py)",
     "SSLContext.load_default_certs (ssl.py)", "_make_ssl_context (aiohttp/connector.py)"),
)  # fmt: skip
GARBAGE: Final = Part(
    "garbage",
    "once",
    "Python's collector of cycles; without --native it hides in all the others",
    ("gc_collect_main",),
)
OTHER: Final = Part("other", "once", "what no part names")
PARTS: Final = (
    Part("event loop", "network", "its own work: epoll, timers, reading and writing sockets",
         ("Runner.run (asyncio/runners.py)", "uvloop/", "libuv", "epoll_wait (libc.so.6)", "write (libc.so.6)",
          "loop.c", "core.c", "asyncio/", "StreamWriter._write (aiohttp/http_writer.py)")),
    Part("TLS", "network", "handshakes, encryption, decryption", ("ssl.py", "libssl", "libcrypto", "_ssl", "_ssl.c", "sslproto.c")),
    Part("HTTP", "network", "requests, headers, deadlines, the bytes of the body (aiohttp)",
         ("aiohttp/", "yarl/", "multidict/", "llhttp.c", "_http_parser.c", "crawler/adapters/web.py", "crawler/adapters/attempt.py",
          "crawler/adapters/wire.py", "crawler/adapters/connecting.py", "crawler/adapters/bodies.py", "crawler/adapters/heads.py",
          "crawler/adapters/proxying.py", "crawler/requesting.py", "crawler/room.py", "crawler/core/headers.py")),
    Part("decode", "network", "content encodings: gzip, Brotli, zstd", ("crawler/adapters/decoding.py", "isal/", "brotli")),
    Part("DNS", "network", "names to addresses", ("crawler/adapters/dns.py", "crawler/adapters/nameserver.py", "crawler/adapters/hosts.py",
         "aiodns/", "pycares/", "crawler/core/addresses.py")),
    Part("parse", "reading", "bytes to a tree (turbohtml), and what its elements say",
         ("crawler/core/links.py", "crawler/core/content.py", "crawler/core/trees.py", "crawler/core/taming.py", "crawler/core/html5.py",
          "crawler/core/directives.py", "crawler/reading.py", "crawler/parsers.py", "crawler/parser_process.py", "turbohtml/")),
    Part("text", "reading", "the visible text, its digest and its gist",
         ("tree_text (crawler/core/trees.py)", "text_digest (crawler/core/content.py)", "clean (crawler/core/content.py)",
          "crawler/core/timestamps.py", "crawler/core/gist.py")),
    Part("links", "reading", "references to canonical URLs; which of them the crawl follows",
         ("crawler/core/references.py", "crawler/core/urls.py", "crawler/core/scope.py", "crawler/core/traps.py",
          "crawler/core/sessions.py", "crawler/core/open_ports.py", "crawler/crawlbook.py",
          "Ledger._follow (crawler/ledger.py)")),
    Part("digest", "reading", "SHA-256 of the body", ("crawler/parsing.py", "hashlib.py")),
    Part("compress", "reading", "zstd of the body", ("crawler/adapters/zstd.py", "zstd/")),
    Part("turns", "deciding", "whose turn it is, robots.txt, the pause, the lease",
         ("crawler/visit.py", "crawler/conduct.py", "crawler/core/agenda.py", "crawler/rules.py", "crawler/core/robots.py",
          "crawler/core/robots_record.py", "crawler/core/robots_lines.py", "crawler/refusals.py", "crawler/asking.py", "crawler/pacing.py",
          "crawler/worker.py", "crawler/leases.py", "crawler/hands.py", "crawler/intake.py", "crawler/dispatch.py", "crawler/queues.py",
          "crawler/adapters/queue.py", "crawler/adapters/frontier.py", "crawler/adapters/domains.py", "crawler/core/politeness.py",
          "crawler/core/condemnation.py", "crawler/core/turns.py", "crawler/guards.py", "crawler/memory.py", "crawler/crawling.py",
          "crawler/processes.py", "crawler/adapters/crawls.py", "protego/")),
    Part("settle", "deciding", "what a visit means: outcome, next visit",
         ("crawler/ledger.py", "crawler/core/settlement.py", "crawler/core/revisit.py", "crawler/core/retry.py",
          "crawler/core/refresh_rule.py", "crawler/core/moments.py", "crawler/announcing.py", "crawler/adapters/announcements.py")),
    Part("record", "recording", "rows of the pages, and what the driver makes of them (asyncpg)",
         ("crawler/recorder.py", "crawler/adapters/recording.py", "crawler/adapters/pages.py", "crawler/adapters/fitting.py",
          "crawler/adapters/touching.py", "crawler/adapters/postgres.py", "asyncpg/", "crawler/core/kept.py")),
)  # fmt: skip
"""Innermost first is the order of frames, not of this table: `function (file)` counts before its file."""
WAITING: Final = ("_run_safe_shutdown_loop (pycares/__init__.py)", "ares_event_thread")
"""Frames of threads that py-spy takes to be at work though they sleep."""
SKIPPED: Final = (
    "<frozen ",
    "click/",
    "importlib/",
    "asyncio/runners.py",
    "crawler/__main__.py",
    "crawler/cli/__init__.py",
)
"""Frames that the picture leaves out: they are on every stack, or say nothing."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Samples that were alike."""

    process: str
    frames: tuple[str, ...]
    """From the outermost; each is `function (file)`."""
    samples: int


@dataclass(slots=True)
class Node:
    """A function as called from one place, with all that it called."""

    name: str
    part: Part
    samples: int = 0
    children: dict[str, "Node"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was sampled, counted in all ways that are shown."""

    samples: int
    parts: Mapping[Part, int]
    functions: Mapping[tuple[str, Part], int]
    """Samples in which a function was the innermost that is Python."""
    root: Node

    @property
    def once(self) -> int:
        """Samples that would have been the same for any number of pages."""
        return self.parts.get(START, 0)


def stacks_in(lines: Iterable[str]) -> Iterator[Stack]:
    """What `py-spy record --format raw` wrote; without sleepers, and without the interpreter's end, which the crawler does not count."""
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        if not count.isdecimal():
            continue
        head, *rest = _split(text)
        found = _PROCESS.fullmatch(head)
        frames = tuple(_LINE.sub(")", frame) for frame in (rest if found else [head, *rest]) if frame)
        sleeps = any(waiting in frame for frame in frames for waiting in WAITING)
        if not sleeps and any(map(_is_python, frames)):
            yield Stack(_called(found[1] if found else ""), frames, int(count))


def profiled(stacks: Iterable[Stack]) -> Profile:
    """Count them."""
    parts, functions = Counter[Part](), Counter[tuple[str, Part]]()
    root = Node("all", OTHER)
    for stack in stacks:
        part = part_of(stack.frames)
        parts[part] += stack.samples
        functions[stack.frames[-1], part] += stack.samples
        _grow(root, stack)
    return Profile(root.samples, parts, functions, root)


def part_of(frames: Sequence[str]) -> Part:
    """The part of the innermost frame that one names."""
    if any(_is_of(frame, START.frames[:2]) for frame in frames):
        return START
    if any(frame.startswith(GARBAGE.frames[0]) for frame in frames):
        return GARBAGE
    return next(filter(None, map(_named, reversed(frames))), OTHER)


def _named(frame: str) -> Part | None:
    for exact in (True, False):
        for part in (*PARTS, START):
            if _is_of(frame, [words for words in part.frames if (" (" in words) is exact]):
                return part
    return None


def _is_python(frame: str) -> bool:
    return frame.endswith(".py)") or "(<" in frame


def _is_of(frame: str, words: Iterable[str]) -> bool:
    file = frame.rpartition(" (")[2].removesuffix(")")
    return any(
        word in (frame, file)
        or (word.endswith("/") and file.startswith(word))
        or (_is_library(word) and word in file)
        for word in words
    )


def _is_library(word: str) -> bool:
    """Whether it is the beginning of a shared library's name, which goes on with its version."""
    return word.startswith("lib") and "/" not in word


def _split(text: str) -> list[str]:
    """Frames, which semicolons divide; a command line may hold some of its own."""
    head, quote, rest = text.rpartition('"')
    return (
        [head + quote, *rest.removeprefix(";").split(";")] if head.startswith("process ") else text.split(";")
    )


def _called(command: str) -> str:
    return (
        "parser process"
        if "parser_process" in command
        else "worker process"
        if "crawler.processes" in command
        else MAIN
    )


def _grow(root: Node, stack: Stack) -> None:
    root.samples += stack.samples
    once = part_of(stack.frames) is START
    path = [START.name if once else stack.process]
    path += (
        ()
        if once
        else [frame for frame in stack.frames if not any(f"({skipped}" in frame for skipped in SKIPPED)]
    )
    node = root
    for depth, name in enumerate(path):
        part = (
            START if once else part_of(path[1 : depth + 1]) if depth else OTHER
        )  # as if nothing were called from there
        node = node.children.setdefault(name, Node(name, part))
        node.samples += stack.samples
