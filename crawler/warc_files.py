"""A series of files of an archive: their names, and where in which one the next record goes.

    .docs-00000.warc.gz.part ──full──► docs-00000.warc.gz    .docs-00001.warc.gz.part ──...

1. A file has its name when it is whole and on disk.
2. What was written after the moment that is gone on from is cut off.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from crawler.core.errors import FaircrawlError, UsageError
from crawler.export_files import replace
from crawler.firsts import table_of

_STRANGE: Final = re.compile(r"[^\w.@+-]+")
_SUFFIXES: Final = (".warc.gz", ".warc")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the files of a series."""

    folder: Path
    stem: str
    suffix: str

    @classmethod
    def of(cls, output: Path, crawl: str) -> Self:
        """For an output as it was given: a folder, or what the names begin with; ``docs.warc`` asks for uncompressed ones."""
        output = output.resolve()
        if output.is_dir():
            return cls(output, _STRANGE.sub("-", crawl).lstrip(".") or "crawl", _SUFFIXES[0])
        for suffix in _SUFFIXES:
            if output.name.lower().endswith(suffix) and len(output.name) > len(suffix):
                return cls(output.parent, output.name[: -len(suffix)], suffix)
        return cls(output.parent, output.name, _SUFFIXES[0])

    @property
    def compressed(self) -> bool:
        """Whether each record is a member of gzip."""
        return self.suffix.endswith(".gz")

    def file(self, number: int) -> Path:
        """One that is whole."""
        return self.folder / f"{self.stem}-{number:05}{self.suffix}"

    def part(self, number: int) -> Path:
        """What there is of one that is not."""
        return self.folder / f".{self.file(number).name}.part"

    @property
    def index(self) -> Path:
        """Of all files."""
        return self.folder / f"{self.stem}.cdxj"

    @property
    def spool(self) -> Path:
        """The lines of the index, as they came; where it is, an export was interrupted, or is at work."""
        return self.hidden("cdxj.lines")

    @property
    def firsts(self) -> Path:
        """Which body came first from where (`crawler.firsts`)."""
        return self.hidden("firsts")

    def hidden(self, suffix: str) -> Path:
        """Something that is needed while they are written."""
        return self.folder / f".{self.stem}.{suffix}"

    def there(self) -> list[Path]:
        """Those that are whole."""
        found = sorted(path for _, path in self._files())
        return [*found, self.index] if self.index.exists() else found

    def clear(self, number: int, kept: Path | None = None) -> None:
        """Remove those from this number on, whole or not, but one."""
        for found, path in self._files(hidden=True):
            if found >= number and path != kept:
                path.unlink(missing_ok=True)

    def _files(self, *, hidden: bool = False) -> Iterator[tuple[int, Path]]:
        name = re.escape(self.stem) + r"-(\d{5,})" + re.escape(self.suffix)
        pattern = re.compile(rf"{name}|\.{name}\.part" if hidden else name)
        for path in list(self.folder.iterdir()):
            if found := pattern.fullmatch(path.name):
                yield int(found[1] or found[2]), path


class Series:
    """The files, and the place for the next record.

    Args:
        names: of the files.
        size: bytes of a file at most, unless one page has more.
        number: of the file that is gone on with.
        offset: bytes of it that are kept; 0: it is begun.

    Raises:
        FaircrawlError: it is gone.
    """

    def __init__(self, names: Names, size: int, number: int = 0, offset: int = 0) -> None:
        self._names = names
        self._size = size
        self.number = number
        """Of the file that is written, or is begun next."""
        self.offset = offset
        """Bytes of it."""
        self.written = 0
        """Bytes of all, since this was made."""
        part = names.part(number)
        if names.file(number).exists():  # it was whole soon after the moment that is gone on from
            names.file(number).replace(part)
        names.clear(number, part if offset else None)
        refuse_shorter(part, offset)
        self._out: BinaryIO | None = None
        if offset:
            self._out = part.open("r+b")
            self._out.truncate(offset)
            self._out.seek(offset)

    def begins(self, count: int) -> bool:
        """Whether so many bytes more would begin a file; one that has no room for them is ended."""
        if self._out is not None and self.offset + count > self._size:
            self.end()
        return self._out is None

    @property
    def file(self) -> Path:
        """The name that the file will have."""
        return self._names.file(self.number)

    def write(self, data: bytes) -> None:
        """Write records of one page, or those that begin a file. Raises OSError."""
        if self._out is None:
            self._out = self._names.part(self.number).open("wb")
        self._out.write(data)
        self.offset += len(data)
        self.written += len(data)

    def sync(self) -> None:
        """All is on disk. Raises OSError."""
        if self._out is not None:
            self._out.flush()
            os.fsync(self._out.fileno())

    def end(self) -> None:
        """The file is whole, if one was begun. Raises OSError."""
        if self._out is not None:
            self.sync()
            self._out.close()
            self._out = None
            replace(self._names.part(self.number), self.file)
            self.number += 1
            self.offset = 0

    def drop(self) -> None:
        """Leave the file as it is."""
        if self._out is not None:
            with contextlib.suppress(OSError):  # of the room that is lacking we heard already
                self._out.close()


def refuse_archive(names: Names) -> None:
    """An archive is not replaced. Raises UsageError: there is one already, and it is not what an interrupted export left.

    The index appears last: where it is, the archive is whole, whatever lies beside it.
    """
    if (there := names.there()) and (names.index.exists() or not names.spool.exists()):
        raise UsageError(f"{there[0]} is there already, and an archive is not replaced: name another prefix")


def completed(names: Names) -> int | None:
    """How many pages an archive has whose export died when it had only to tidy up, which is done now; None: it has no index yet."""
    if not names.index.exists():
        return None
    for path in (names.spool, names.firsts, table_of(names.firsts)):
        path.unlink(missing_ok=True)
    with names.index.open("rb") as lines:
        return sum(1 for _ in lines)


def refuse_shorter(path: Path, count: int) -> None:
    """What is gone on with has to be there. Raises FaircrawlError."""
    if count and (not path.exists() or path.stat().st_size < count):
        raise FaircrawlError(
            f"{path}, with which this export goes on, is gone or shorter than it was: name another prefix, to begin anew"
        )
