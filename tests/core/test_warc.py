"""Records of WARC, read back by those who read archives."""

import io
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator  # type: ignore[import-untyped]  # it brings no types

from crawler.core.model import Outcome
from crawler.core.warc import Capture, Earlier, Records, record_id, sha1, told, warc_date, warcinfo

AT: Final = datetime(2031, 5, 1, 12, 0, 0, 42, UTC)
URL: Final = "http://example.com/a?b=1"
NAMES: Final = st.text(st.sampled_from("!#$%&'*+.^_`|~-09azAZ"), min_size=1, max_size=20)
VALUES: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=40
).map(str.strip)
ANYTHING: Final = st.text(max_size=30)
FRAMING: Final = st.sampled_from(["Content-Length", "content-encoding", "Transfer-Encoding"])


def capture(body: bytes | None = b"hello", **more: Any) -> Capture:
    """An answer."""
    return Capture(
        **{"url": URL, "at": AT, "outcome": "ok", "status": 200, "headers": (), "body": body, **more}
    )


def response(one: Capture) -> bytes:
    """Its record."""
    return Records(one, "crawl").answer(sha1(one.body or b""))


def reads(data: bytes) -> list[tuple[Any, bytes, bool | None]]:
    """Records as warcio reads them: each, its payload, and whether its digests are right."""
    found = ArchiveIterator(io.BytesIO(data), check_digests=True)
    return [(one, one.content_stream().read(), one.digest_checker.passed) for one in found]


def field(record: Any, name: str) -> str | None:
    """A header of a record."""
    value: str | None = record.rec_headers.get_header(name)
    return value


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.binary(max_size=200), st.integers(100, 999))
def test_what_came_comes_back(headers: list[tuple[str, str]], body: bytes, status: int) -> None:
    """Whatever the headers, the status and the body are: warcio and fastwarc read them as they came, and find the digests right."""
    data = response(capture(body, headers=headers, status=status))
    ((record, payload, passed),) = reads(data)
    (fast,) = [
        (one.verify_payload_digest(), one.reader.read())
        for one in FastIterator(io.BytesIO(data), parse_http=True)
    ]

    assert record.http_headers.headers == told(headers, len(body))
    assert record.http_headers.get_statuscode() == str(status)
    assert payload == body
    assert passed is True
    assert fast == (True, body)


@given(st.lists(st.tuples(ANYTHING, ANYTHING), max_size=5), ANYTHING, ANYTHING)
def test_nothing_breaks_out(pairs: list[tuple[str, str]], title: str, media_type: str) -> None:
    """Line breaks, NULs and lone surrogates in names and values make no line and no record of their own."""
    one = capture(headers=pairs, request_headers=pairs, media_type=media_type, facts=[("title", title)])
    records = Records(one, "crawl")
    asked = records.request()
    data = b"".join([asked or b"", response(one), records.metadata()])
    read = reads(data)

    assert [record.rec_type for record, _, _ in read] == (["request"] if pairs else []) + [
        "response",
        "metadata",
    ]
    assert all(passed for _, _, passed in read)
    assert read[-2][1] == b"hello"
    assert len(read[-2][0].http_headers.headers) == len(told(pairs, 5))
    assert read[-1][1].count(b"\n") == 1


@given(st.lists(st.tuples(FRAMING | NAMES, VALUES | st.just("5")), max_size=8), st.integers(0, 9))
def test_framing_is_true(headers: list[tuple[str, str]], length: int) -> None:
    """No header lies about the payload; each that did keeps its value and its place under another name, and all others are as they were."""
    said = told(headers, length)
    lengths = [value for name, value in said if name.lower() == "content-length"]
    received = iter(said)

    assert not {name.lower() for name, _ in said} & {"content-encoding", "transfer-encoding"}
    assert set(lengths) <= {str(length)}
    assert len(lengths) <= 1
    assert all(
        any(one in ((name, value), (f"X-Crawler-{name}", value)) for one in received)
        for name, value in headers
    )


def test_headers_of_an_encoded_answer() -> None:
    """Of a body that came in chunks and gzip, the headers tell how it came, and how long it is as it is kept."""
    sent = [("Server", "x"), ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"), ("Vary", "*")]

    assert told(sent, 5) == [
        ("Server", "x"),
        ("X-Crawler-Content-Encoding", "gzip"),
        ("X-Crawler-Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
        ("Vary", "*"),
    ]
    assert told([("Content-Length", "5")], 5) == [("Content-Length", "5")]
    assert told([("Content-Length", "3")], 5) == [("X-Crawler-Content-Length", "3"), ("Content-Length", "5")]
    assert told([("Server", "x")], 5) == [("Server", "x")]


@pytest.mark.parametrize(
    ("outcome", "status", "headers", "body", "why"),
    [
        (Outcome.OK, 200, (), b"", None),
        (Outcome.TOO_LARGE, 200, (), None, "length"),
        (Outcome.TOO_SLOW, 200, (), None, "time"),
        (Outcome.GONE, 404, (("Content-Length", "9"),), None, "unspecified"),
        (Outcome.REDIRECT, 301, (("content-length", "0"),), None, None),
        (Outcome.HTTP_ERROR, 304, (("Content-Length", "9"),), None, None),
    ],
)
def test_what_is_not_kept(
    outcome: Outcome, status: int, headers: Sequence[tuple[str, str]], body: bytes | None, why: str | None
) -> None:
    """An answer of which no body is kept has an empty payload, and says that there was one, if there was."""
    data = response(capture(body, outcome=outcome, status=status, headers=headers))
    ((record, payload, passed),) = reads(data)

    assert payload == b""
    assert passed is True
    assert field(record, "WARC-Truncated") == why


def test_records_of_one_capture() -> None:
    """Request, response and metadata name each other, the moment and the address; the request line is what was sent."""
    one = capture(
        request_headers=[("Host", "example.com")], address="192.0.2.1", protocol="HTTP/1.0", media_type="text/html",
        facts=[("outcome", "ok")],
    )  # fmt: skip
    records = Records(one, "crawl")
    asked = records.request()
    assert asked is not None
    (request, _, _), (answer, _, _), (made, facts, _) = reads(asked + response(one) + records.metadata())

    assert request.http_headers.statusline == "/a?b=1 HTTP/1.0"
    assert answer.http_headers.protocol == "HTTP/1.0"
    assert facts == b"outcome: ok\r\n"
    assert {field(one, "WARC-Date") for one in (request, answer, made)} == {"2031-05-01T12:00:00.000042Z"}
    assert {field(one, "WARC-Target-URI") for one in (request, answer, made)} == {URL}
    assert (
        field(request, "WARC-Concurrent-To")
        == field(made, "WARC-Concurrent-To")
        == field(answer, "WARC-Record-ID")
    )
    assert field(answer, "WARC-IP-Address") == "192.0.2.1"
    assert field(answer, "WARC-Identified-Payload-Type") == "text/html"


def test_a_revisit() -> None:
    """What was seen before has its own headers, and says whose body it has, when that was, and in which record."""
    first, later = capture(), capture(None, url="http://example.com/b", headers=[("Content-Encoding", "br")])
    earlier = Earlier(first.url, first.at, sha1(b"hello"), 5)
    (there, _, _), (record, payload, _) = reads(
        response(first) + Records(later, "crawl", earlier).answer(earlier.digest)
    )

    assert record.rec_type == "revisit"
    assert payload == b""
    assert record.http_headers.headers == [("X-Crawler-Content-Encoding", "br"), ("Content-Length", "5")]
    assert field(record, "WARC-Refers-To") == field(there, "WARC-Record-ID")
    assert field(record, "WARC-Refers-To-Date") == field(there, "WARC-Date")
    assert field(record, "WARC-Refers-To-Target-URI") == URL
    assert field(record, "WARC-Payload-Digest") == field(there, "WARC-Payload-Digest")
    assert field(record, "WARC-Truncated") == "length"


def test_a_revisit_of_the_same_moment() -> None:
    """A response and a revisit of the same URL and moment are two records, and what was asked names the right one."""
    first = capture(request_headers=[("Host", "example.com")])
    records = Records(first, "crawl", Earlier(first.url, first.at, sha1(b"hello"), 5))
    asked = records.request()
    assert asked is not None
    (there, _, _), (request, _, _), (record, _, _) = reads(
        response(first) + asked + records.answer(sha1(b"hello"))
    )

    assert field(record, "WARC-Record-ID") != field(there, "WARC-Record-ID")
    assert field(request, "WARC-Concurrent-To") == field(record, "WARC-Record-ID")


def test_the_first_record() -> None:
    """A file begins with who wrote it, and how."""
    ((record, block, passed),) = reads(
        warcinfo("docs", "docs-00000.warc.gz", warc_date(AT), [("software", "x")])
    )

    assert record.rec_type == "warcinfo"
    assert field(record, "WARC-Filename") == "docs-00000.warc.gz"
    assert block.startswith(b"software: x\r\nformat: WARC File Format 1.1\r\nconformsTo: https://")
    assert passed is True


@given(ANYTHING, ANYTHING)
def test_ids(crawl: str, url: str) -> None:
    """An id is the UUID of version 5 of what is recorded: the same record has it everywhere."""
    name = f"response\0{crawl}\0{url}\0now".encode("utf-8", "replace").decode()

    assert record_id("response", crawl, url, "now") == f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}>"


def test_a_date_elsewhere() -> None:
    """A moment is told in UTC, wherever it was taken."""
    assert warc_date(AT.astimezone(timezone(timedelta(hours=5)))) == "2031-05-01T12:00:00.000042Z"
