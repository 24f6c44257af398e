"""The formats of an export, and what each is to the one who walks the pages: something to add rows to.

    Format(output, crawl, resumed=None) ──► add(row) ... ──► pause() ──► add(row) ... ──► close()
                                                               └──► the process dies ──► Format(output, crawl, resumed=what pause said)

1. Nothing stands under a final name before `close`, or, of a series of files, before it is whole and on disk.
2. What `pause` answered is enough to go on from there: what was added later is cut off, or written again.
3. Memory does not grow with the number of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from crawler.adapters.zstd import Frames
from crawler.core.errors import UsageError
from crawler.core.model import Crawl
from crawler.export_files import Growing, PartFile, Sink, Stream, beside, is_stream, refuse_unwritable
from crawler.page_lines import line_of, page_object
from crawler.selection import EVERYTHING, Selection
from crawler.warc_files import Names, refuse_archive


class Kind(StrEnum):
    """How pages can be written."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    WARC = "warc"


SUFFIXES: Final[Mapping[str, Kind]] = {
    ".parquet": Kind.PARQUET,
    ".warc": Kind.WARC,
    ".warc.gz": Kind.WARC,
}
"""Of a name, which format it asks for; any other one asks for JSON lines."""


class Format(Protocol):
    """A writer of stored pages."""

    def add(self, row: Any) -> None:
        """Write a page: a row of the statement `export`. Raises FaircrawlError: the file cannot be written."""

    def pause(self) -> Mapping[str, Any] | None:
        """All that was added is on disk: what a later one needs to go on from here, as JSON can say it. None: not from here.

        It is asked for after every `exporting.PAUSE` pages.
        """

    def close(self) -> int:
        """Done: the files appear under their names, on disk. How many records there are, those of before a pause included."""

    def drop(self) -> None:
        """It ends early, by an error or a signal: leave nothing half behind, but what `pause` spoke of."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written, and where to."""

    output: Path
    kind: Kind = Kind.JSONL
    bodies: bool = False
    zstd: bool = False
    selection: Selection = EVERYTHING
    words: Mapping[str, Any] = field(default_factory=dict)
    """The selection as it was asked for: ``7d`` is the same question a day later."""
    folder: bool = False
    """Whether the output was said to be a folder."""
    warc_size: int | None = None
    """Bytes of a file at most, of a series; None: as is the custom."""

    @property
    def series(self) -> bool:
        """Whether the output is a folder of files."""
        return self.folder or self.output.is_dir()


def kind_of(output: Path) -> Kind:
    """The format that the name asks for."""
    return next(
        (kind for suffix, kind in SUFFIXES.items() if output.name.lower().endswith(suffix)), Kind.JSONL
    )


def order_for(output: Path) -> Order:
    """All pages, in the format that the name asks for."""
    return Order(output, kind_of(output), zstd=is_zstd(output))


def is_zstd(output: Path) -> bool:
    """Whether the name asks for zstd."""
    return output.name.lower().endswith(".zst")


def refuse_unwritable_as(order: Order) -> None:
    """Tell a person at once what would only turn out in the end; a folder is made. Raises UsageError."""
    if order.zstd and order.kind is Kind.WARC:
        raise UsageError("WARC is compressed by gzip, record by record: leave out zstd")
    if order.zstd and order.kind is Kind.PARQUET:
        raise UsageError("Parquet is compressed by zstd inside: leave it out, of the name too")
    if order.bodies and order.kind is Kind.WARC:
        raise UsageError("WARC has the bodies as they are: leave out --bodies")
    if order.kind is Kind.PARQUET:
        _pyarrow()
    if order.series and order.kind is not Kind.JSONL:
        _refuse_folder(order.output)
    else:
        _refuse_file(order)


def _refuse_file(order: Order) -> None:
    match order.kind:
        case Kind.JSONL if order.folder:
            raise UsageError(f"{order.output} is a folder: name a file in it")
        case Kind.PARQUET if is_stream(order.output):
            raise UsageError("Parquet cannot be written to standard output: name a file with -o, or a folder")
        case Kind.WARC if is_stream(order.output):
            raise UsageError("WARC is a series of files: say what their names begin with, such as -o docs")
        case _ if not is_stream(order.output):
            refuse_unwritable(order.output)
    if order.kind is Kind.WARC:
        names = Names.of(order.output, "")
        if not beside(names.index, "place").exists():  # what is to be gone on with, the place tells
            refuse_archive(names)


def _refuse_folder(output: Path) -> None:
    if not output.parent.is_dir():
        raise UsageError(f"{output} cannot be written: there is no folder {output.parent}")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file: name a folder, or leave out the / at its end")


def _pyarrow() -> None:
    try:
        import crawler.adapters.parquet  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'faircrawl[parquet]'") from None


def written(order: Order, crawl: Crawl, resumed: Mapping[str, Any] | None = None) -> Format:
    """The writer for this order. Raises UsageError: it cannot be written there, or a library is missing."""
    match order.kind:
        case Kind.JSONL:
            return JsonLines(sink(order.output, resumed), crawl.name, order, resumed)
        case Kind.PARQUET:
            return _parquet(order, crawl, resumed)
        case Kind.WARC:
            from crawler.warcing import GB, WarcWriter  # noqa: PLC0415 - few ask for it

            return WarcWriter(order.output, crawl, resumed, size=order.warc_size or GB)


def sink(output: Path, resumed: Mapping[str, Any] | None) -> Sink:
    """Where the bytes of one file go. Raises UsageError, FaircrawlError: it cannot be written."""
    if is_stream(output):
        return Stream(output)
    refuse_unwritable(output)
    return PartFile(output, None if resumed is None else resumed["bytes"])


def growing(output: Path, resumed: Mapping[str, Any] | None) -> Sink:
    """As `sink`, for a file that is read while it is written. Raises UsageError, FaircrawlError: it cannot be written."""
    if is_stream(output):
        return Stream(output)
    refuse_unwritable(output)
    return Growing(output, None if resumed is None else resumed["bytes"])


def _parquet(order: Order, crawl: Crawl, resumed: Mapping[str, Any] | None) -> Format:
    _pyarrow()
    from crawler.parquet_files import ParquetFile, ParquetFolder  # noqa: PLC0415 - an extra

    if order.series:
        return ParquetFolder(order.output, crawl.name, resumed, bodies=order.bodies)
    return ParquetFile(order.output, crawl.name, bodies=order.bodies)


class Lines:
    """Lines of bytes to a sink, plain or as zstd."""

    def __init__(self, out: Sink, resumed: Mapping[str, Any] | None, *, zstd: bool) -> None:
        self._out = out
        self._frames = Frames() if zstd else None
        self.lines = 0 if resumed is None else int(resumed["lines"])
        """Those of before a pause included."""

    def write(self, data: bytes, lines: int = 1) -> None:
        """So many lines."""
        self._out.write(data if self._frames is None else self._frames.add(data))
        self.lines += lines

    def pause(self) -> Mapping[str, Any] | None:
        """All is on disk, and a frame has ended: how much that is."""
        self._end_frame()
        count = self._out.sync()
        return None if count is None else {"bytes": count, "lines": self.lines}

    def close(self) -> int:
        """That was all: how many lines."""
        self._end_frame(empty=not self.lines)  # no frame at all would be no zstd
        self._out.finish()
        return self.lines

    def drop(self) -> None:
        """It ends early."""
        self._out.drop()

    def _end_frame(self, *, empty: bool = False) -> None:
        if self._frames is not None and (rest := self._frames.end(empty=empty)):
            self._out.write(rest)


class JsonLines(Lines):
    """A JSON object a line."""

    def __init__(self, out: Sink, crawl: str, order: Order, resumed: Mapping[str, Any] | None) -> None:
        super().__init__(out, resumed, zstd=order.zstd)
        self._crawl = crawl
        self._bodies = order.bodies

    def add(self, row: Any) -> None:
        """Write a page."""
        self.write(line_of(page_object(row, self._crawl, bodies=self._bodies)))
