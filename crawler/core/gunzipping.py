"""Gzip files as they are read: a stream of members in, what they hold out, a piece at a time."""

import zlib
from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"\x1f\x8b"
"""How a member begins (RFC 1952 section 2.3.1)."""
_FORMAT: Final = 31


class Gunzipping:
    """Any number of members, as CDX files and logs have. *piece*: bytes, the most that is given at once."""

    def __init__(self, piece: int) -> None:
        self._piece = piece
        self._member = zlib.decompressobj(_FORMAT)
        self._fed = False
        self.detail = ""
        """Why it cannot be read on."""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes give."""
        while packed and not self.detail:
            if self._member.eof:
                packed = packed.lstrip(b"\0")  # tapes pad their files
                if not packed:
                    return
                self._member = zlib.decompressobj(_FORMAT)
            self._fed = True
            try:
                out = self._member.decompress(packed, self._piece)
            except zlib.error:
                self.detail = "its gzip is broken"
                return
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if out:
                yield out

    def end(self) -> None:
        """Nothing more comes."""
        if self._fed and not self._member.eof and not self.detail:
            self.detail = "its gzip is cut off"
