"""Files that appear when they are whole, and the place from which an interrupted export goes on.

    pages.jsonl          what is written, under its name only in the end
    .pages.jsonl.part    what is written so far
    .pages.jsonl.place   how much of that is on disk, and up to which page: for which crawl, selection and format
    .pages.jsonl.lock    who writes them; of an output that is a folder, the last two lie in it

1. A place is written when what it speaks of is on disk, and replaced as a whole.
2. Whoever finds a place that was kept for something else begins anew, and forgets it when it has begun: what is refused forgets nothing.
3. Of two that write the same output, the second is refused.
"""

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, Self

from crawler.core.errors import FaircrawlError, UsageError

LONGEST: Final = 200
"""Letters of a name that are in the name of what lies beside it: a file's name has room for 255 bytes."""


@contextlib.contextmanager
def telling(file: Path) -> Iterator[None]:
    """What goes wrong with this file in here is told in one line. Raises FaircrawlError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FaircrawlError(f"{file} cannot be written: {error.strerror}") from error


def refuse_unwritable(file: Path) -> None:
    """Tell a person at once what would only turn out in the end. Raises UsageError."""
    if str(file) != "-" and not file.parent.is_dir():
        raise UsageError(f"{file} cannot be written: there is no folder {file.parent}")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: name a file in it")


def is_stream(file: Path) -> bool:
    """Whether it is standard output, a pipe or a device: nothing that could be replaced, or gone on with."""
    return str(file) == "-" or (file.exists() and not file.is_file() and not file.is_dir())


def beside(file: Path, suffix: str) -> Path:
    """The hidden file that belongs to this one; of a folder, in it."""
    if file.is_dir():
        return file / f".export.{suffix}"
    name = file.name
    while len(name.encode("utf-8", "surrogateescape")) > LONGEST:
        name = name[:-1]
    return file.with_name(f".{name}.{suffix}")


def part_of(file: Path) -> Path:
    """What is written of it so far."""
    return beside(file.resolve(), "part")


def reaches(file: Path, count: int) -> bool:
    """Whether there is such a file, with so many bytes or more."""
    try:
        return file.stat().st_size >= count
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Have the names in it on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(part: Path, file: Path) -> None:
    """Give what is whole and on disk its name, with the rights of the file that it replaces."""
    part.chmod(file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask())
    part.replace(file)
    sync_folder(file.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> object:
        """Take them."""

    def sync(self) -> int | None:
        """All is on disk: how many bytes; None: there is no going on from here."""

    def finish(self) -> None:
        """That was all."""

    def drop(self) -> None:
        """It ends early."""


class Stream:
    """Standard output, a pipe or a device: what is written is gone. Raises FaircrawlError: it cannot be opened."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._own = str(file) != "-"
        with telling(file):
            if not self._own:
                sys.stdout.flush()
            self._out: BinaryIO = file.open("wb") if self._own else sys.stdout.buffer

    def write(self, data: bytes) -> None:
        """Take them. Raises FaircrawlError: they cannot be written."""
        with telling(self._file):
            self._out.write(data)

    def sync(self) -> None:
        """Whoever reads has it. Raises FaircrawlError: they cannot be written."""
        with telling(self._file):
            self._out.flush()

    def finish(self) -> None:
        """As `sync`; what was opened is closed."""
        self.sync()
        self.drop()

    def drop(self) -> None:
        """Close what was opened."""
        if self._own:
            with contextlib.suppress(OSError):  # of which we heard already
                self._out.close()


class PartFile:
    """A file that has its name when it is whole.

    Args:
        file: its name.
        kept: bytes of an earlier one that are gone on with; None: anew.

    Raises:
        FaircrawlError: it cannot be written.
    """

    def __init__(self, file: Path, kept: int | None = None) -> None:
        self._file = file.resolve()  # what a link leads to is replaced, not the link
        self._part = part_of(file)
        self._useful = kept is not None
        with telling(file):
            self._out = _cut(self._part, kept)

    def write(self, data: bytes) -> None:
        """Take them. Raises FaircrawlError: there is no room, for example."""
        with telling(self._file):
            self._out.write(data)

    def sync(self) -> int:
        """All is on disk: how many bytes. Raises FaircrawlError: there is no room, for example."""
        with telling(self._file):
            self._out.flush()
            os.fsync(self._out.fileno())
            self._useful = True
            return self._out.tell()

    def finish(self) -> None:
        """It appears. Raises FaircrawlError: there is no room, for example."""
        self.sync()
        self._out.close()
        with telling(self._file):
            replace(self._part, self._file)

    def drop(self) -> None:
        """It stays hidden, for who goes on with it; if none of it was on disk yet, it goes."""
        with contextlib.suppress(OSError):  # of the room that is lacking we heard already
            self._out.close()
        if not self._useful:
            self.discard()

    def discard(self) -> None:
        """It is of no use to anybody."""
        with contextlib.suppress(OSError):
            self._out.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class Growing(PartFile):
    """A file that has its name from the beginning, and grows."""

    def __init__(self, file: Path, kept: int | None = None) -> None:
        self._file = self._part = file.resolve()
        self._useful = True
        with telling(file):
            self._out = _cut(self._part, kept, 0o666)

    def finish(self) -> None:
        """It is closed. Raises FaircrawlError: there is no room, for example."""
        self.sync()
        self._out.close()


def _cut(path: Path, kept: int | None, mode: int = 0o600) -> BinaryIO:
    """Open it for more after so many bytes. One that is not there is made, with these rights, if there is nothing to keep."""
    flags = os.O_RDWR | (os.O_CREAT if kept is None else 0)
    out = os.fdopen(os.open(path, flags, mode), "r+b")
    try:
        out.truncate(kept or 0)
        out.seek(kept or 0)
    except OSError:
        out.close()
        raise
    return out


class Place:
    """Where an export of these options got to.

    Args:
        output: what is written.
        options: all that makes it another export, as JSON can say it.

    Raises:
        UsageError: another program writes it.
        FaircrawlError: there can be no files beside it.
    """

    def __init__(self, output: Path, options: Mapping[str, Any]) -> None:
        output = output.resolve()
        self._output = output
        self._options = json.loads(json.dumps(options))  # as it is read again: a tuple becomes a list
        self.file: Final = beside(output, "place")
        """Its own."""
        self._lock = beside(output, "lock")
        with telling(output):
            self._handle = _locked(self._lock, output)
            known = self._read()
        fits = known is not None and known.pop("options") == self._options
        self.known: Mapping[str, Any] | None = known if fits else None
        """What was kept last for these options."""
        self.others = known is not None and not fits
        """Whether something was kept for other options: it stays, until it is forgotten or replaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it to others."""
        with contextlib.suppress(OSError):
            self._lock.unlink()
        os.close(self._handle)

    def keep(self, **known: Any) -> None:
        """From here an interrupted export goes on: what it is told of is on disk already. Raises FaircrawlError: it cannot be written."""
        new = self.file.with_name(f"{self.file.name}.new")
        with telling(self._output):
            with new.open("w", encoding="utf-8") as out:
                json.dump(known | {"options": self._options}, out)
                out.flush()
                os.fsync(out.fileno())
            new.replace(self.file)
            sync_folder(self.file.parent)

    def forget(self) -> None:
        """There is nothing to go on with. Raises FaircrawlError: it cannot be removed."""
        self.known = None
        with telling(self._output):
            self.file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            known = json.loads(self.file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {"options": None}
        return known if isinstance(known, dict) and "options" in known else {"options": None}


def _locked(lock: Path, output: Path) -> int:
    """A handle that holds the lock, for as long as it is open."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino == lock.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(handle)
            raise UsageError(
                f"{output} is being written by another export: wait for it, or name another file"
            ) from None
        except OSError:  # a file system without locks
            return handle
        os.close(handle)  # its owner removed it in between
