"""Which body came first from where, of as many as there are.

    .x.firsts    what is known, as it came: SHA-256, SHA-1, moment, length, URL
    .x.table     slots of 8 bytes: where in the former, and 24 bits of the digest; mapped into memory

1. It is never mistaken: a slot that fits is only a reason to look what stands there.
2. Memory is the system's: what it lacks, it takes from the table, which is 13 to 26 bytes a body.
3. What was added up to a moment can be gone on with: the rest is cut off, and the table made again.

SQLite was tried: digests come in no order, so each changed a page of its tree, and 5,000 of them 40 MB.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from crawler.core.warc import Earlier

FIRST_SLOTS: Final = 1 << 16
FULL: Final = 0.6
"""Of the slots that are taken, at most; then there are twice as many."""
CHUNK: Final = 1 << 20

_HEAD: Final = struct.Struct("<32s32sqIH")
_PLACE_BITS: Final = 40
_PLACE: Final = (1 << _PLACE_BITS) - 1
_TAG: Final = ((1 << 24) - 1) << _PLACE_BITS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def table_of(path: Path) -> Path:
    """The second file, of the first."""
    return path.with_name(f"{path.name}.table")


class Firsts:
    """Bodies by their SHA-256.

    Args:
        path: of the first file; the second is named after it.
        kept: bytes of the first that are gone on with.
        slots: to begin with; a power of two.

    Raises:
        OSError: there is no room, or another process has it.
    """

    def __init__(self, path: Path, kept: int = 0, slots: int = FIRST_SLOTS) -> None:
        self._log = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._log)
            raise
        except OSError:  # a file system without locks
            pass
        self._path = path
        self._table_path = table_of(path)
        self._table = os.open(self._table_path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._log, kept)
        self._end = kept
        self._taken = 0
        self._map: mmap.mmap | None = None
        self._slots = memoryview(b"")
        self._make(slots)

    def first(self, digest: bytes) -> Earlier | None:
        """Who had the body with this SHA-256 first; None: nobody yet."""
        place = self._find(digest)
        return None if place is None else self._read(place)

    def add(self, digest: bytes, earlier: Earlier) -> None:
        """This one has it first."""
        url = earlier.url.encode("utf-8", "replace")[:0xFFFF]
        at = (earlier.at - _EPOCH) // _MICROSECOND
        entry = _HEAD.pack(digest, earlier.digest.encode(), at, earlier.length, len(url)) + url
        place = self._end
        written = os.pwrite(self._log, entry, place)
        if written < len(entry):
            raise OSError(28, "there is no room for all of it")
        self._end += written
        self._put(digest, place)
        if self._taken > FULL * len(self._slots):
            self._make(2 * len(self._slots))

    def sync(self) -> int:
        """All is on disk: how many bytes there are to go on with."""
        os.fsync(self._log)
        return self._end

    def close(self) -> None:
        """It is used no more; the files stay."""
        if self._map is not None:
            self._slots.release()
            self._map.close()
            self._map = None
            os.close(self._log)
            os.close(self._table)

    def discard(self) -> None:
        """Nobody goes on with it."""
        self.close()
        self._path.unlink(missing_ok=True)
        self._table_path.unlink(missing_ok=True)

    def _make(self, slots: int) -> None:
        """A table of that size, at least, for what is known."""
        if self._map is not None:
            self._slots.release()
            self._map.close()
        os.ftruncate(self._table, 0)
        # Not one more ftruncate: a full disk is told here, by an error, and does not kill who writes to the map (SIGBUS).
        os.posix_fallocate(self._table, 0, slots * 8)
        self._map = mmap.mmap(self._table, slots * 8)
        self._slots = memoryview(self._map).cast("Q")
        self._taken = 0
        for digest, place in self._known():
            self._put(digest, place)
            if self._taken > FULL * slots:
                self._make(2 * slots)
                return

    def _known(self) -> Iterator[tuple[bytes, int]]:
        """All digests, and where they stand."""
        place = 0
        rest = b""
        while chunk := os.pread(self._log, min(CHUNK, self._end - place - len(rest)), place + len(rest)):
            data = rest + chunk
            start = 0
            while start + _HEAD.size <= len(data):
                digest, _, _, _, length = _HEAD.unpack_from(data, start)
                end = start + _HEAD.size + length
                if end > len(data):
                    break
                yield digest, place + start
                start = end
            rest = data[start:]
            place += start

    def _put(self, digest: bytes, place: int) -> None:
        slots = self._slots
        last = len(slots) - 1
        number = int.from_bytes(digest[:12], "big")
        slot = number & last
        while slots[slot]:
            slot = (slot + 1) & last
        slots[slot] = (number >> 40 << _PLACE_BITS) & _TAG | place + 1
        self._taken += 1

    def _find(self, digest: bytes) -> int | None:
        slots = self._slots
        last = len(slots) - 1
        number = int.from_bytes(digest[:12], "big")
        tag = (number >> 40 << _PLACE_BITS) & _TAG
        slot = number & last
        while found := slots[slot]:
            if found & _TAG == tag:
                place = (found & _PLACE) - 1
                if os.pread(self._log, len(digest), place) == digest:
                    return place
            slot = (slot + 1) & last
        return None

    def _read(self, place: int) -> Earlier:
        head = os.pread(self._log, _HEAD.size, place)
        _, sha1, at, body, length = _HEAD.unpack(head)
        url = os.pread(self._log, length, place + _HEAD.size).decode()
        return Earlier(url, _EPOCH + at * _MICROSECOND, sha1.decode(), body)
