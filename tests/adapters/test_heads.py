"""Heads of answers that are a little wrong: laws, and what each rule does."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.http_parser import HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from crawler.adapters.heads import MalformedHeadError, head_end, mended

CORPUS: Final = Path(__file__).parent.parent / "corpus" / "http" / "answers.json"
RAW: Final = [one["raw"].encode("latin-1") for one in json.loads(CORPUS.read_text())]
HEADS: Final = [
    found[1] for raw in RAW if (found := re.match(rb"(?s)[\r\n]*(HTTP/.*?\n\r?\n)", raw, re.IGNORECASE))
]
WORDS: Final = (
    "HTTP/1.1 200 OK,X,0,5,chunked,gzip,Content-Length,Transfer-Encoding,Connection: close,Upgrade: h2c"
)
PIECES: Final = st.sampled_from(
    [*WORDS.encode().split(b","), b",", b":", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\xff", b"\x01", b"\0"]
)


class Unheard:
    """Stands where the parser wants a connection."""

    def pause_reading(self) -> None:
        """Nobody reads."""

    def resume_reading(self, **_: Any) -> None:
        """As above."""


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head of the corpus into which something was put, here and there."""
    head = draw(st.sampled_from(HEADS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(head)))
        end = draw(st.integers(at, min(len(head), at + 8)))
        head = head[:at] + b"".join(draw(st.lists(PIECES, max_size=4))) + head[end:]
    return head.rstrip(b"\r\n") + b"\r\n\r\n"


def tried(head: bytes) -> bytes | None:
    """The head as mended, if it can be."""
    try:
        return mended(head)
    except MalformedHeadError:
        return None


@given(heads())
def test_once_is_enough(head: bytes) -> None:
    """What was mended needs no mending."""
    once = tried(head)

    assert once is None or mended(once) == once


@given(heads())
def test_the_parser_reads_what_was_mended(head: bytes) -> None:
    """Whatever can be mended is one head to the parser, no more and no less."""
    once = tried(head)
    unheard: Any = Unheard()
    no_loop: Any = object()  # nobody waits on it
    parser = HttpResponseParser(
        unheard,
        no_loop,
        2**16,
        max_line_size=2**16,
        max_field_size=2**16,
        max_headers=1000,
        read_until_eof=True,
    )
    messages = [] if once is None else list(parser.feed_data(once)[0])

    assert len(messages) == (once is not None)


@given(st.sampled_from(HEADS), st.binary(max_size=5))
def test_the_end_is_found(head: bytes, rest: bytes) -> None:
    """A head ends in the same place, however its bytes come in."""
    data, ends = bytearray(), []
    for at in range(len(head)):
        data += head[at : at + 1]
        ends.append(head_end(data, at))

    assert ends == [-1] * (len(head) - 1) + [len(head)]
    assert head_end(bytearray(head + rest), 0) == len(head)


@pytest.mark.parametrize("code", [b"000", b"099"])
def test_no_status(code: bytes) -> None:
    """A number that is no status is refused: it would be an answer to some and an interim one to others."""
    with pytest.raises(MalformedHeadError):
        mended(b"HTTP/1.1 " + code + b" Odd\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("start", [b"H", b"HTT", b"http/1", b"HTTP/"])
def test_what_may_become_http(start: bytes) -> None:
    """The first letters may still become a head."""
    assert head_end(bytearray(start), 0) == -1


@pytest.mark.parametrize("start", [b"2", b"HTML", b"\x16\x03", b"ICY 200 OK\r\n\r\n"])
def test_what_will_not(start: bytes) -> None:
    """Other letters will not."""
    with pytest.raises(MalformedHeadError):
        head_end(bytearray(start), 0)


@pytest.mark.parametrize(
    ("fields", "become"),
    [
        (b"Content-Length: 8\r\nContent-Length: 8", b"Content-Length: 8"),
        (b"Content-Length: 8, 08", b"Content-Length: 8"),
        (b"Content-Length: " + b"9" * 5000, b"Content-Length: " + b"9" * 18),
        (
            b"Content-Length: 3\r\nTransfer-Encoding: Chunked",
            b"Transfer-Encoding: chunked\r\nConnection: close",
        ),
        (b"Transfer-Encoding: identity\r\nContent-Length: 3", b"Content-Length: 3"),
        (
            b"Transfer-Encoding: gzip, chunked",
            b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nConnection: close",
        ),
        (b"X : a", b"X: a"),
        (b"X: a\r\n  b\r\n\tc", b"X: a b c"),
        (b"X: a\rb", b"X: a b"),
        (b"X: a\r\nGr\xf6\xdfe: 5\r\n 6\r\nY: b", b"X: a\r\nY: b"),
        (b": a\r\nX: b", b"X: b"),
    ],
)
def test_mending(fields: bytes, become: bytes) -> None:
    """Each fault has its own mending, and nothing else is changed."""
    assert (
        mended(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n" + become + b"\r\n\r\n"
    )


def test_the_folded_rest_of_a_bad_field_goes_with_it() -> None:
    """A value folded below a name that is none does not become another's."""
    head = b"HTTP/1.1 200 OK\r\nLocation: /a\r\nB\xe4d: x\r\n evil\r\n\r\n"

    assert mended(head) == b"HTTP/1.1 200 OK\r\nLocation: /a\r\n\r\n"


def test_what_is_right_is_left_alone() -> None:
    """A head that is right is handed on as it came, down to its spaces."""
    head = b"HTTP/1.1 200 \r\nServer:x\r\nX-Empty:\r\nTransfer-Encoding:  chunked \r\n\r\n"

    assert mended(head) == head
