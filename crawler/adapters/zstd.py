"""zstd for the bodies we keep: the standard library's from Python 3.14 on, its backport before."""

import sys
from functools import cache
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
    compressor = _compressor()
    try:
        compressor.set_pledged_input_size(len(body))
        return compressor.compress(body, compressor.FLUSH_FRAME)
    except BaseException:  # it may be in the middle of a frame
        _compressor.cache_clear()
        raise


@cache
def _compressor() -> zstd.ZstdCompressor:
    """One for all bodies: to make one costs twice as much as packing a small page."""
    return zstd.ZstdCompressor(level=LEVEL)


def unpack(stored: bytes) -> bytes:
    """The body that `pack` packed. Raises DatabaseError if the stored bytes are damaged."""
    try:
        return zstd.decompress(stored)
    except zstd.ZstdError as error:
        raise DatabaseError(
            f"a stored body is damaged ({error}): restore the database from a backup"
        ) from None
