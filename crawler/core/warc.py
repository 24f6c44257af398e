"""Records of WARC 1.1 (ISO 28500:2017), byte for byte.

    Capture ──► request   what was asked, secrets masked
            ├─► response  what came: or revisit, where an earlier response of the archive had the same body
            └─► metadata  what the crawler made of it

1. The same capture gives the same bytes, at all times and on all machines: ids are made of what is recorded.
2. Nothing that a site says can break out of its record, nor out of its line.
3. Who reads only what the HTTP headers of a record say reads its payload right.

We keep bodies decoded, so what was said of their length and encoding on the way does not fit them any more. As Common Crawl,
StormCrawler and Nutch have it, such a header gets the prefix ``X-Crawler-`` and keeps its value and its place, and the true length
stands behind it. To drop them would lose what was received; to encode the body again would make up bytes that nobody sent.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, TypeAlias

from crawler.core.model import Outcome

Pairs: TypeAlias = Sequence[tuple[str, str]]

UNTRUE: Final = "X-Crawler-"
"""Before the name of a header that does not fit what is kept."""
SAME_PAYLOAD: Final = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
FORMAT: Final = (
    ("format", "WARC File Format 1.1"),
    ("conformsTo", "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"),
)

_NAMESPACE: Final = bytes.fromhex("6ba7b8119dad11d180b400c04fd430c8")
"""That of URLs (RFC 9562 section 6.6)."""
_BREAKS: Final = re.compile(r"[\r\n\0]+")
_NO_TOKEN: Final = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_CLEAN: Final = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: [^\r\n\0]*+\r\n)*+")
_FRAMING: Final = frozenset({"content-encoding", "transfer-encoding", "content-length"})
_PROTOCOLS: Final = frozenset({"HTTP/1.0", "HTTP/1.1"})
_REASONS: Final[Mapping[int, str]] = MappingProxyType({one.value: one.phrase for one in HTTPStatus})
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_TRUNCATED: Final[Mapping[str, str]] = MappingProxyType(
    {Outcome.TOO_LARGE: "length", Outcome.TOO_SLOW: "time", Outcome.TIMEOUT: "time"}
)
"""By outcome, why there is no body; of any other we did not keep it for reasons that WARC has no word for."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One answer, as its records tell it."""

    url: str
    """Canonical."""
    at: datetime
    """When it was fetched."""
    outcome: str
    status: int
    headers: Pairs
    """As received."""
    body: bytes | None
    """Content encodings removed; None: not kept, or not needed (`revisit`)."""
    request_headers: Pairs = ()
    """As sent; empty: not known."""
    protocol: str | None = None
    address: str | None = None
    media_type: str | None = None
    """As the bytes say."""
    facts: Pairs = ()
    """Of the metadata record."""

    @property
    def sent_type(self) -> str | None:
        """The media type as the answer says it, without parameters."""
        said = (value for name, value in self.headers if name.lower() == "content-type")
        return next(said, "").partition(";")[0].strip().lower() or None


@dataclass(frozen=True, slots=True)
class Earlier:
    """A response of the same archive, that had the same body."""

    url: str
    at: datetime
    digest: str
    """`sha1` of the body."""
    length: int
    """Of the body, bytes."""


def warc_date(at: datetime) -> str:
    """A moment as WARC-Date has it, to the microsecond, in UTC."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def sha1(data: bytes) -> str:
    """As archives name payloads: ``3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ``, which is nothing.

    SHA-1 is for them, who compare it across archives. Whether two bodies are the same is asked of their SHA-256.
    """
    return base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def record_id(kind: str, crawl: str, url: str, date: str) -> str:
    """The id of a record: a UUID of version 5 (RFC 9562), of what makes the record this one."""
    name = f"{kind}\0{crawl}\0{url}\0{date}".encode("utf-8", "replace")
    raw = int.from_bytes(hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16], "big")
    raw = raw & ~(0xF << 76) & ~(0x3 << 62) | 5 << 76 | 2 << 62
    text = f"{raw:032x}"
    return f"<urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}>"


def warcinfo(crawl: str, filename: str, date: str, facts: Pairs) -> bytes:
    """The record that begins a file: of which crawl it is, and who wrote it how."""
    identity = record_id("warcinfo", crawl, filename, date)
    block = _lines([*facts, *FORMAT])
    fields = (("WARC-Filename", filename), ("Content-Type", "application/warc-fields"))
    return _record("warcinfo", identity, date, fields, block)


class Records:
    """The records of one capture.

    Args:
        capture: the answer.
        crawl: the name of the crawl that it belongs to.
        earlier: the response that had the same body; None: this is the first one, and has it.
    """

    def __init__(self, capture: Capture, crawl: str, earlier: Earlier | None = None) -> None:
        self._capture = capture
        self._crawl = crawl
        self._earlier = earlier
        self._date = warc_date(capture.at)
        kind = "response" if earlier is None else "revisit"
        self._answer = record_id(kind, crawl, capture.url, self._date)

    def request(self) -> bytes | None:
        """What was asked; None where that is not known."""
        capture = self._capture
        if not capture.request_headers:
            return None
        target = "/" + capture.url.partition("://")[2].partition("#")[0].partition("/")[2]
        return self._record(
            "request",
            (("WARC-Concurrent-To", self._answer), *self._address()),
            "application/http; msgtype=request",
            _head(f"GET {_BREAKS.sub('', target)} {_protocol(capture)}", capture.request_headers),
        )

    def answer(self, digest: str) -> bytes:
        """What came: a response, or a revisit if the body stands in an earlier one. *digest* is `sha1` of the body."""
        return self._response(digest) if self._earlier is None else self._revisit(self._earlier)

    def _response(self, digest: str) -> bytes:
        body = self._capture.body or b""
        why = _truncated(self._capture)
        return self._record(
            "response",
            (
                *self._address(),
                *self._identified(),
                ("WARC-Payload-Digest", f"sha1:{digest}"),
                *((("WARC-Truncated", why),) if why else ()),
            ),
            "application/http; msgtype=response",
            self._head_of_answer(len(body)) + body,
        )

    def _revisit(self, earlier: Earlier) -> bytes:
        """What came, but for the body, which stands in *earlier*; WARC 1.1 section 6.7.2 wants that called truncated."""
        date = warc_date(earlier.at)
        return self._record(
            "revisit",
            (
                *self._address(),
                *self._identified(),
                ("WARC-Profile", SAME_PAYLOAD),
                ("WARC-Refers-To", record_id("response", self._crawl, earlier.url, date)),
                ("WARC-Refers-To-Target-URI", earlier.url),
                ("WARC-Refers-To-Date", date),
                ("WARC-Payload-Digest", f"sha1:{earlier.digest}"),
                ("WARC-Truncated", "length"),
            ),
            "application/http; msgtype=response",
            self._head_of_answer(earlier.length),
        )

    def metadata(self) -> bytes:
        """What the crawler made of it."""
        return self._record(
            "metadata",
            (("WARC-Concurrent-To", self._answer),),
            "application/warc-fields",
            _lines(self._capture.facts),
        )

    def _record(self, kind: str, fields: Pairs, sort: str, block: bytes) -> bytes:
        url = self._capture.url
        answers = kind in ("response", "revisit")
        identity = self._answer if answers else record_id(kind, self._crawl, url, self._date)
        return _record(
            kind, identity, self._date, [("WARC-Target-URI", url), *fields, ("Content-Type", sort)], block
        )

    def _head_of_answer(self, length: int) -> bytes:
        capture = self._capture
        line = f"{_protocol(capture)} {capture.status:03} {_REASONS.get(capture.status, '')}"
        return _head(line, told(capture.headers, length))

    def _address(self) -> Pairs:
        address = self._capture.address
        return (("WARC-IP-Address", address),) if address else ()

    def _identified(self) -> Pairs:
        found = self._capture.media_type
        return (("WARC-Identified-Payload-Type", found),) if found else ()


def told(headers: Pairs, length: int) -> list[tuple[str, str]]:
    """The headers of an answer whose payload is kept in so many bytes, and not as it was encoded (law 3)."""
    said: list[tuple[str, str]] = []
    true = str(length)
    is_true = False
    behind = 0
    for name, value in headers:
        lowered = name.lower()
        if lowered not in _FRAMING:
            said.append((name, value))
        elif lowered == "content-length" and not is_true and value.strip() == true:
            said.append((name, value))
            is_true = True
        else:
            said.append((UNTRUE + name, value))
            behind = len(said)
    if behind and not is_true:
        said.insert(behind, ("Content-Length", true))
    return said


def _protocol(capture: Capture) -> str:
    return capture.protocol if capture.protocol in _PROTOCOLS else "HTTP/1.1"


def _truncated(capture: Capture) -> str | None:
    """Why the payload is not what was sent; None: it is, or nothing was sent."""
    if capture.body is not None or capture.status in _BODILESS:
        return None
    lengths = {value.strip() for name, value in capture.headers if name.lower() == "content-length"}
    return None if lengths == {"0"} else _TRUNCATED.get(capture.outcome, "unspecified")


def _record(kind: str, identity: str, date: str, fields: Pairs, block: bytes) -> bytes:
    head = _head(
        "WARC/1.1",
        (
            ("WARC-Type", kind),
            ("WARC-Record-ID", identity),
            ("WARC-Date", date),
            *fields,
            ("WARC-Block-Digest", f"sha1:{sha1(block)}"),
            ("Content-Length", str(len(block))),
        ),
    )
    return b"".join((head, block, b"\r\n\r\n"))


def _head(line: str, pairs: Pairs) -> bytes:
    return b"".join((line.encode("utf-8", "replace"), b"\r\n", _lines(pairs), b"\r\n"))


def _lines(pairs: Pairs) -> bytes:
    """Named values, a line each (law 2). As UTF-8: so were they read, as far as they were UTF-8 (adapters/attempt)."""
    text = "".join([f"{name}: {value}\r\n" for name, value in pairs])
    if text.count("\n") != len(pairs) or not _CLEAN.fullmatch(text):
        text = "".join(
            f"{_NO_TOKEN.sub('-', name) or '-'}: {_BREAKS.sub(' ', value)}\r\n" for name, value in pairs
        )
    return text.encode("utf-8", "replace")
