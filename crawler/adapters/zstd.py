"""zstd for the bodies we keep: the standard library's from Python 3.14 on, its backport before."""

import sys
import threading
from collections.abc import Iterator
from typing import Final

from crawler.core.errors import DatabaseError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 3
"""A ratio of 7; level 1 takes two thirds of the time, and 4 % more room."""


def pack(body: bytes) -> bytes:
    """A body as it is stored: one frame that knows its length."""
    compressor = _mine.compressor
    try:
        compressor.set_pledged_input_size(len(body))
        return compressor.compress(body, compressor.FLUSH_FRAME)
    except BaseException:  # it may be in the middle of a frame
        del _mine.compressor
        raise


class _OfThread(threading.local):
    """One for all bodies of a thread: to make one costs twice as much as packing a small page. Crawls may run in several threads."""

    def __getattr__(self, name: str) -> zstd.ZstdCompressor:
        self.compressor = zstd.ZstdCompressor(level=LEVEL)
        return self.compressor


_mine: Final = _OfThread()


def unpack(stored: bytes) -> bytes:
    """The body that `pack` packed. Raises DatabaseError if the stored bytes are damaged."""
    try:
        return zstd.decompress(stored)
    except zstd.ZstdError as error:
        raise DatabaseError(
            f"a stored body is damaged ({error}): restore the database from a backup"
        ) from None


class Frames:
    """A stream of frames: each can be read by itself, and so can any number of them one after another."""

    def __init__(self) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: LEVEL,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)
        self._open = False

    def add(self, data: bytes) -> bytes:
        """What is to be written now, which may be nothing yet."""
        self._open = True
        return self._compressor.compress(data)

    def end(self, *, empty: bool = False) -> bytes:
        """The rest of the frame; if none was begun nothing, or one that holds nothing."""
        if not self._open and not empty:
            return b""
        self._open = False
        return self._compressor.flush(self._compressor.FLUSH_FRAME)


MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""How a frame begins (RFC 8878 section 3.1.1)."""


class Unpacking:
    """A stream of frames in, what they hold out, a piece at a time."""

    def __init__(self, piece: int) -> None:
        self._piece = piece
        self._frame = zstd.ZstdDecompressor()
        self._fed = False
        self.detail = ""
        """Why it cannot be read on."""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes give, in pieces of at most *piece* bytes."""
        while packed and not self.detail:
            if self._frame.eof:
                self._frame = zstd.ZstdDecompressor()
            self._fed = True
            try:
                out = self._frame.decompress(packed, self._piece)
                while out:
                    yield out
                    out = b"" if self._frame.eof else self._frame.decompress(b"", self._piece)
            except zstd.ZstdError:
                self.detail = "its zstd is broken"
                return
            packed = self._frame.unused_data if self._frame.eof else b""

    def end(self) -> None:
        """Nothing more comes."""
        if self._fed and not self._frame.eof and not self.detail:
            self.detail = "its zstd is cut off"
