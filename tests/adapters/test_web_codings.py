"""One GET, and the content codings of its body."""

import asyncio
import gzip
import zlib
from typing import Final

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest
from backports import zstd

from crawler.core.model import Outcome
from tests.adapters.browsing import (
    PAGE,
    TEXT,
    brief,
    fetch,
)
from tests.adapters.servers import Visitor, response

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


def deflate_raw(data: bytes) -> bytes:
    """Deflate without the zlib wrapping, as some servers send it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def gzip_with_fields(data: bytes) -> bytes:
    """Gzip with every optional field in its head."""
    head = b"\x1f\x8b\x08\x1e" + bytes(4) + b"\0\3" + b"\x02\0ab" + b"name\0" + b"comment\0"
    crc = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + deflate_raw(data) + crc


CODINGS: Final = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT, mtime=0)),
    ("GZip", gzip.compress(TEXT, mtime=0)),
    ("gzip", gzip_with_fields(TEXT)),
    ("gzip", gzip.compress(TEXT[:777], mtime=0) + gzip.compress(TEXT[777:], mtime=0)),
    ("gzip", gzip.compress(TEXT, mtime=0) + b"\0\0 trailing garbage"),
    ("gzip", gzip.compress(TEXT, mtime=0) + b"\x1f"),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", deflate_raw(TEXT)),
    ("br", brotli.compress(TEXT)),
    ("zstd", zstd.compress(TEXT)),
    ("zstd", zstd.compress(TEXT[:777]) + zstd.compress(TEXT[777:])),
    ("identity", TEXT),
    ("", TEXT),
    ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0)),
    ("deflate, identity, br ,gzip", gzip.compress(brotli.compress(zlib.compress(TEXT)), mtime=0)),
]


@pytest.mark.parametrize("step", [1, 1000, 1_000_000])
@pytest.mark.parametrize(("coding", "body"), CODINGS)
async def test_codings(coding: str, body: bytes, step: int) -> None:
    """Every coding is taken off, however the bytes come in."""

    async def pieces(visitor: Visitor) -> bool:
        await visitor.say(response(b"", headers=[f"Content-Encoding: {coding}"], length=len(body)))
        slow = min(len(body), 300)  # so that pieces of one byte arrive as such where it matters
        for start in range(0, slow, step):
            await visitor.say(body[start : min(start + step, slow)])
            if step == 1:
                await asyncio.sleep(0)
        await visitor.say(body[-(-slow // step) * step if step < slow else slow :])
        return True

    answer = await fetch(pieces)

    assert brief(answer) == (Outcome.OK, "")
    assert answer.body == TEXT
    assert answer.wire_bytes == len(body)


async def test_codings_in_two_headers() -> None:
    """Two Content-Encoding headers are one list."""
    body = brotli.compress(gzip.compress(TEXT))
    answer = await fetch(response(body, headers=["Content-Encoding: gzip", "Content-Encoding: br"]))

    assert (answer.outcome, answer.body) == (Outcome.OK, TEXT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br"])
async def test_nothing_encoded(coding: str) -> None:
    """No bytes at all decode to none, whatever they are said to be."""
    answer = await fetch(response(b"", headers=[f"Content-Encoding: {coding}"]))

    assert (answer.outcome, answer.body) == (Outcome.OK, b"")


@pytest.mark.parametrize(
    ("coding", "body", "detail"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)[:-1], "the compressed body ends early"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:100], "the compressed body ends early"),
        ("deflate", zlib.compress(TEXT)[:-1], "the compressed body ends early"),
        ("deflate", b"\x78", "the compressed body ends early"),
        ("br", brotli.compress(TEXT)[:-1], "the compressed body ends early"),
        ("zstd", zstd.compress(TEXT)[:-1], "the compressed body ends early"),
        ("gzip, br", brotli.compress(gzip.compress(TEXT, mtime=0)[:-1]), "the compressed body ends early"),
        ("gzip", PAGE, "corrupt gzip"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-8] + bytes(8), "corrupt gzip"),
        ("br", b"\xff" * 50, "corrupt brotli"),
        ("zstd", PAGE, "corrupt zstd"),
        ("compress", PAGE, "unknown content encoding 'compress'"),
        ("gzip, gzip, gzip, gzip, gzip, gzip", PAGE, "6 content encodings on top of each other"),
        ("gzip", gzip.compress(b"", mtime=0) * 10_001, "more than 10000 compressed streams in one body"),
    ],
)
async def test_bad_codings(coding: str, body: bytes, detail: str) -> None:
    """What is not what its Content-Encoding says is a decode error that says why, and no page."""
    answer = await fetch(response(body, headers=[f"Content-Encoding: {coding}"]))

    assert answer.outcome is Outcome.DECODE_ERROR
    assert answer.detail.startswith(detail)
    assert answer.body == b""
