"""The head of an answer: where it ends, and how to read one that is a little wrong.

    bytes ──► begins like HTTP? ──► up to the blank line ──► mended ──► the parser of aiohttp

1. A head that is right is handed on as it came; only a wrong one is taken apart.
2. What browsers and curl both read, and cannot be read in two ways, is mended.
3. What could be read in two ways (lengths that differ, a NUL) is refused.

The parser is strict about names and lengths because a proxy must be (RFC 9112 section 11.2: two readers that disagree
about where an answer ends). We are the last reader there is, so the worst that a site can do is to spoil its own pages.
"""

import re
from typing import Final

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_RIGHT: Final = re.compile(
    rb"HTTP/1\.[01] [2-9]\d\d(?: [^\r\n\0]*)?\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*+\r\n"
)
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Below 100 is neither an answer nor an interim one (RFC 9110 section 15): two readers would tell differently where it ends.
_STATUS: Final = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+([1-9]\d\d)(?!\d)[ \t]*(.*)", re.IGNORECASE)
_START: Final = b"HTTP/"
_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*\d{1,18}[ \t]*\r\n")
_CHUNKED: Final = re.compile(rb"\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n")
_ENDLESS: Final = b"9" * 18
"""As large as a length can be said to aiohttp."""
_INTERIM: Final = b"1"
_UPGRADED: Final = b"101"
_NOT_FOR_AIOHTTP: Final = b"sec-websocket-key1"
"""It refuses the answer for that name alone."""


class MalformedHeadError(Exception):
    """This is no head of an HTTP answer, or could be read in two ways."""


def head_end(data: bytes | bytearray, searched: int) -> int:
    """Where the head ends of which *searched* bytes had no end: behind the blank line, or -1.

    Raises:
        MalformedHeadError: this is something else than HTTP, and will not become it.
    """
    if data[: len(_START)].upper() != _START[: len(data)]:
        raise MalformedHeadError("Bad status line")
    found = _BLANK_LINE.search(data, max(0, searched - 2))
    return found.end() if found else -1


def mended(head: bytes) -> bytes:
    """A head that the parser understands.

    Raises:
        MalformedHeadError: it cannot be mended.
    """
    return head if _is_right(head) else _mended(head)


def _is_right(head: bytes) -> bool:
    if not _RIGHT.fullmatch(head):
        return False
    lowered = head.lower()
    lengths = lowered.count(b"\ncontent-length:")
    codings = lowered.count(b"\ntransfer-encoding:")
    if lengths + codings > 1 or _NOT_FOR_AIOHTTP in lowered:
        return False
    return not (lengths and not _LENGTH.search(lowered)) and not (codings and not _CHUNKED.search(lowered))


def _mended(head: bytes) -> bytes:
    if b"\0" in head:
        raise MalformedHeadError("a NUL in the headers")  # RFC 9110 section 5.5; so do curl and browsers
    # RFC 9112 section 2.2: a line may end with LF alone, and a CR anywhere else is a space.
    lines = [line.removesuffix(b"\r").replace(b"\r", b" ") for line in head.split(b"\n")]
    status = _STATUS.match(lines[0])
    if status is None:
        raise MalformedHeadError("Bad status line")
    major, minor, code, reason = status.groups()
    # RFC 9110 section 2.5: a version above ours is to be read as the highest that we know.
    version = b"HTTP/1.1" if (major, minor or b"0") >= (b"1", b"1") else b"HTTP/1.0"
    first = b" ".join((version, code, reason))
    # An interim answer has no body, whatever it says, and does not close: the answer is still to come.
    interim = code.startswith(_INTERIM) and code != _UPGRADED
    fields = [] if interim else _framed(_fields(lines[1:]))
    return b"\r\n".join([first, *(b": ".join(field) for field in fields), b"", b""])


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Names and values; a field whose name is no name is left out."""
    fields: list[tuple[bytes, bytes]] = []
    for line in filter(None, lines):
        if line[:1] in (b" ", b"\t"):  # RFC 9112 section 5.2: a folded value goes on
            if fields:
                name, value = fields[-1]
                fields[-1] = name, b" ".join((value, line.strip())).strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedHeadError("a header without a colon")
        fields.append((name.rstrip(b" \t"), value.strip(b" \t")))
    return [
        (name, value) for name, value in fields if _NAME.fullmatch(name) and name.lower() != _NOT_FOR_AIOHTTP
    ]


def _framed(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields with one word about where the body ends (RFC 9112 section 6.3)."""
    lengths, codings, others = [], [], []
    for name, value in fields:
        match name.lower():
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings += [one for part in value.split(b",") if (one := part.strip().lower())]
            case _:
                others.append((name, value))
    # A transfer coding other than chunked was not asked for; it is outermost, so it comes off first.
    others += [(b"Content-Encoding", one) for one in codings if one not in (b"chunked", b"identity")]
    if b"chunked" in codings:
        others.append((b"Transfer-Encoding", b"chunked"))  # it goes before any length
        return [*others, (b"Connection", b"close")] if lengths or len(codings) > 1 else others
    length = _length(lengths)
    return others if length is None else [*others, (b"Content-Length", length)]


def _length(values: list[bytes]) -> bytes | None:
    """The one length that is meant, if one is said.

    RFC 9110 section 8.6: the same length said twice is that length. What is no number curl and the RFC refuse.
    """
    said = [one.strip() for value in values for one in value.split(b",")]
    numbers = {one.lstrip(b"0") or b"0" for one in said if one.isdigit()}
    if len(numbers) > 1:
        raise MalformedHeadError("lengths that differ")
    if not all(one.isdigit() for one in said):
        raise MalformedHeadError("a length that is no number")
    return min(*numbers, _ENDLESS, key=len) if numbers else None
