"""zstd for the bodies we keep: the standard library's from Python 3.14 on, its backport before."""

import sys
from typing import Final

from crawler.core.errors import DatabaseError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 3
"""166 us a page at a ratio of 7."""


def pack(body: bytes) -> bytes:
    """A body as it is stored: one frame that knows its length."""
    return zstd.compress(body, LEVEL)


def unpack(stored: bytes) -> bytes:
    """The body that `pack` packed. Raises DatabaseError if the stored bytes are damaged."""
    try:
        return zstd.decompress(stored)
    except zstd.ZstdError as error:
        raise DatabaseError(
            f"a stored body is damaged ({error}): restore the database from a backup"
        ) from None
