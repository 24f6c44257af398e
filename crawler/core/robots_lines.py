"""The lines of a robots.txt that anybody knows, as Google's published parser tells them apart.

    bytes ──BOM, NULs, line ends, comments──► Line(kind, value), with its number

1. Any bytes are read; nothing is raised.
2. Of a file over ``MAX_ROBOTS_BYTES`` the whole lines before that count.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

MAX_ROBOTS_BYTES: Final = 500 * 1024
"""RFC 9309 section 2.5: the least a crawler must read, and all that we do."""
_MAX_LINE: Final = 2083 * 8 - 1  # as Google: eight times the longest URL of a browser, less the final NUL

_BOM: Final = re.compile(rb"\xef(?:\xbb\xbf?)?|\xff\xfe|\xfe\xff")  # UTF-8 (also begun), UTF-16
# Google accepts these misspellings, white space for the colon, and any words between a known name and the colon. What was
# matched is never given back ("*+"): the third way would be tried from every place in the line.
_LINE: Final = re.compile(
    rb"(?:user[- ]?agent|allow|disallow|dissallow|dissalow|disalow|diasllow|disallaw|site-?map|crawl[- ]?delay|request[- ]?rate)"
    rb"(?:[\w-]*+(?:[ \t]*+:(.*)|[ \t]++([^\s:]\S*+))|[^:]*+:(.*))",
    re.IGNORECASE | re.DOTALL,
)


class Line(NamedTuple):
    """A line with a meaning."""

    kind: str
    """The first letter of what it is: user-agent, allow, disallow, sitemap, crawl-delay, request-rate."""
    value: bytes
    text: bytes
    """All of it but its comment."""


def read_lines(body: bytes) -> Iterator[tuple[int, Line]]:
    """The lines we know, with their numbers; comments and white space removed."""
    head = body[:MAX_ROBOTS_BYTES]
    if len(body) >= MAX_ROBOTS_BYTES and body[MAX_ROBOTS_BYTES : MAX_ROBOTS_BYTES + 1] not in (b"\n", b"\r"):
        head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1]
    bom = _BOM.match(head)
    # Without its NULs, UTF-16 is read as well: all that matters in it is ASCII.
    clean = head[bom.end() if bom else 0 :].replace(b"\0", b"")
    known: dict[
        bytes, Line | None
    ] = {}  # whoever repeats a line a hundred thousand times makes us read it once
    for number, raw in enumerate(clean.splitlines(), 1):
        if not raw:
            continue
        if raw not in known:
            known[raw] = _read(raw)
        if (line := known[raw]) is not None:
            yield number, line


def _read(raw: bytes) -> Line | None:
    line = raw[:_MAX_LINE].partition(b"#")[0].strip()
    match = _LINE.fullmatch(line)
    # The first letter tells the fields apart, however they are misspelt.
    return Line(chr(line[0]).lower(), match[match.lastindex or 1].strip(), line) if match else None


def paths_digest(body: bytes) -> bytes:
    """128-bit, of all that the file says about paths, whomever it says that to.

    While it stays, no product token's rules have changed. Of a line about the pace only that it is there: it ends the user-agent lines.
    """
    said = (
        line.kind.encode() + (line.value if line.kind in "uad" else b"")
        for _, line in read_lines(body)
        if line.kind != "s"
    )
    return blake2b(b"\n".join(said), digest_size=16).digest()
