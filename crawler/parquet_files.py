"""Pages as Parquet: one file, or a folder of parts that can be gone on with.

    pages.parquet            whole, or not there
    pages/part-00000.parquet each whole, or not there; of 50,000 pages or 512 MiB
    pages/_SUCCESS           it was the last one: what reads such folders looks for it

1. A Parquet file has its table of contents at its end, so one that was interrupted begins anew; of a folder, only the last part.
2. A folder that holds something else is refused, and one that is written anew loses its old parts first.
"""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from crawler.adapters.parquet import PageTable
from crawler.core.errors import UsageError
from crawler.export_files import beside, replace, sync_folder, telling
from crawler.page_lines import body_of, facts_of

PART_ROWS: Final = 50_000
PART_BYTES: Final = 512 * 1024 * 1024
DONE: Final = "_SUCCESS"
FACTS: Final = 1024
"""Bytes of a page besides text, headers and body, roughly."""
_OURS: Final = re.compile(r"part-\d{5,}\.parquet|_SUCCESS|\.export\..*|\.part-\d{5,}\.parquet\.part")


def record_of(row: Any, crawl: str, *, bodies: bool) -> tuple[dict[str, Any], int]:
    """A stored page, by column, and how many bytes that is, roughly."""
    body = body_of(row)
    record = facts_of(row, crawl, body)
    record["text"] = text = _sayable(record["text"])
    record["headers"] = [{"name": name, "value": value} for name, value in record["headers"]]
    if bodies:
        record["body"] = body
    weight = FACTS + len(row["headers"]) + len(text or "") + len(row["fields"] or "")
    return record, weight + (len(body or b"") if bodies else 0)


def _sayable(text: str | None) -> str | None:
    """Without lone surrogates, which UTF-8 cannot say."""
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode()


class ParquetFile:
    """One file. It cannot be gone on with."""

    def __init__(self, file: Path, crawl: str, *, bodies: bool) -> None:
        self._file = file.resolve()
        self._crawl = crawl
        self._bodies = bodies
        self._part = beside(self._file, "part")
        with telling(self._file):
            self._table = PageTable(self._part, bodies=bodies)

    def full(self, rows: int) -> bool:
        """Whether it has so many pages, or bytes, as are enough for a part of a series."""
        return self._table.rows >= rows or self._table.bytes >= PART_BYTES

    def add(self, row: Any) -> None:
        """Write a page."""
        record, weight = record_of(row, self._crawl, bodies=self._bodies)
        with telling(self._file):
            self._table.add(record, weight)

    def pause(self) -> None:
        """There is no going on from within it."""

    def close(self) -> int:
        """It appears: how many pages it has."""
        with telling(self._file):
            self._table.close()
            replace(self._part, self._file)
        return self._table.rows

    def drop(self) -> None:
        """Remove what there is of it."""
        with contextlib.suppress(OSError):  # of the room that is lacking we heard already
            self._table.drop()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


class ParquetFolder:
    """A folder of parts, which is gone on with part by part."""

    def __init__(
        self,
        folder: Path,
        crawl: str,
        resumed: Mapping[str, Any] | None,
        *,
        bodies: bool,
        part_rows: int = PART_ROWS,
    ) -> None:
        self._part_rows = part_rows
        self._folder = folder.resolve()
        self._crawl = crawl
        self._bodies = bodies
        self._parts = 0 if resumed is None else int(resumed["parts"])
        self._rows = 0 if resumed is None else int(resumed["rows"])
        self._part: ParquetFile | None = None
        with telling(folder):
            self._clear()

    def add(self, row: Any) -> None:
        """Write a page."""
        if self._part is None:
            file = self._folder / f"part-{self._parts:05}.parquet"
            self._part = ParquetFile(file, self._crawl, bodies=self._bodies)
        self._part.add(row)

    def pause(self) -> Mapping[str, Any] | None:
        """If the part is full, it appears, and what comes goes into the next one."""
        if self._part is None or not self._part.full(self._part_rows):
            return None
        self._end_part()
        return {"parts": self._parts, "rows": self._rows}

    def close(self) -> int:
        """The folder is complete: how many pages it has."""
        if self._part is None and not self._parts:  # a reader wants a schema, even of nothing
            self._part = ParquetFile(self._folder / "part-00000.parquet", self._crawl, bodies=self._bodies)
        self._end_part()
        with telling(self._folder):
            (self._folder / DONE).touch()
            sync_folder(self._folder)
        return self._rows

    def drop(self) -> None:
        """The parts that are whole stay."""
        if self._part is not None:
            self._part.drop()

    def _end_part(self) -> None:
        if self._part is not None:
            self._rows += self._part.close()
            self._parts += 1
            self._part = None

    def _clear(self) -> None:
        """Parts that are not gone on with are of an export that this one replaces."""
        there = sorted(one.name for one in self._folder.iterdir())
        strange = [name for name in there if not _OURS.fullmatch(name)]
        if strange:
            raise UsageError(f"{self._folder} holds {strange[0]}, which no export wrote: name a new folder")
        kept = {f"part-{n:05}.parquet" for n in range(self._parts)}
        if kept - set(there):
            lost = min(kept - set(there))
            raise UsageError(
                f"{self._folder} has lost {lost}, which an interrupted export wrote: remove it, or name a new folder"
            )
        for name in there:
            if name not in kept and not name.startswith(".export."):
                (self._folder / name).unlink()
