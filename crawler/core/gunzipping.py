"""Gzip as it is read: a stream of members in, what they hold out, a piece at a time.

1. Between members NULs are passed over, for tapes pad their files. What else follows the last one is not read, as gzip(1) does.
2. Nothing is raised, and no more than a piece is held.
"""

import zlib
from collections.abc import Iterator
from typing import Final

MAGIC: Final = b"\x1f\x8b"
"""How a member begins (RFC 1952 section 2.3.1)."""
_FORMAT: Final = 31


class Gunzipping:
    """Any number of members, as CDX files and logs have.

    Args:
        piece: bytes, the most that is given at once.
        most_members: what comes after so many is not read; None: all is.
    """

    def __init__(self, piece: int, most_members: int | None = None) -> None:
        self._piece = piece
        self._most_members = most_members
        self._member = zlib.decompressobj(_FORMAT)
        self._members = 1
        self._fed = False
        self.has_rubbish = False
        """Whether something else followed the last member."""
        self.detail = ""
        """Why it cannot be read on."""

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """What these bytes give."""
        while packed and not (self.detail or self.has_rubbish):
            if self._member.eof:
                packed = packed.lstrip(b"\0")
                if not packed or not self._begun(packed):
                    return
            self._fed = True
            try:
                out = self._member.decompress(packed, self._piece)
            except zlib.error:
                self.detail = "its gzip is broken"
                return
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if out:
                yield out

    def _begun(self, packed: bytes) -> bool:
        """Begin another member; False: that is none, or one too many."""
        if not packed.startswith(MAGIC[: len(packed)]):
            self.has_rubbish = True
            return False
        if self._members == self._most_members:
            self.detail = f"its gzip has more than {self._members:,} members: the rest was not read"
            return False
        self._members += 1
        self._member = zlib.decompressobj(_FORMAT)
        return True

    def end(self) -> None:
        """Nothing more comes."""
        if self.has_rubbish:
            self.detail = self.detail or "what follows its gzip is none, and was not read"
        elif self._fed and not self._member.eof:
            self.detail = self.detail or "its gzip is cut off"
