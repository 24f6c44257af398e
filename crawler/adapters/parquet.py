"""Parquet by pyarrow: pages in typed columns, zstd, in row groups that fit into memory.

record ──► column by column ──10,000 rows or 16 MiB──► a row group of the file
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

GROUP_ROWS: Final = 10_000
GROUP_BYTES: Final = 16 * 1024 * 1024

_MOMENT: Final = pa.timestamp("us", tz="UTC")
_COLUMNS: Final[Mapping[str, Any]] = {
    "url": pa.string(),
    "crawl": pa.string(),
    "first_at": _MOMENT,
    "fetched_at": _MOMENT,
    "changed_at": _MOMENT,
    "status": pa.int16(),
    "outcome": pa.string(),
    "content_type": pa.string(),
    "charset": pa.string(),
    "title": pa.string(),
    "language": pa.string(),
    "text": pa.string(),
    "length": pa.int64(),
    "digest": pa.string(),
    "depth": pa.int32(),
    "redirect_to": pa.string(),
    "directives": pa.list_(pa.string()),
    "headers": pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())])),
    "fields": pa.string(),
}
_REQUIRED: Final = frozenset({"url", "crawl", "fetched_at", "outcome", "depth", "directives", "headers"})


class PageTable:
    """A file of pages, written row group by row group; it has no end, and cannot be read, before `close`.

    Args:
        path: where; what is there is overwritten, and what is made is nobody else's to read.
        bodies: with a column for them.
    """

    def __init__(self, path: Path, *, bodies: bool) -> None:
        kinds = dict(_COLUMNS) | ({"body": pa.binary()} if bodies else {})
        self._schema = pa.schema(
            [pa.field(name, kind, name not in _REQUIRED) for name, kind in kinds.items()]
        )
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")
        self._columns: dict[str, list[Any]] = {name: [] for name in kinds}
        self._waiting = 0
        self._waiting_bytes = 0
        self.rows = 0
        self.bytes = 0
        """Of all records that were added, roughly."""

    def add(self, record: Mapping[str, Any], weight: int) -> None:
        """A page, of so many bytes. Raises OSError: the file cannot be written."""
        for name, column in self._columns.items():
            column.append(record[name])
        self.rows += 1
        self.bytes += weight
        self._waiting += 1
        self._waiting_bytes += weight
        if self._waiting >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """It is whole, and on disk. Raises OSError."""
        self._flush()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def drop(self) -> None:
        """It ends early, and is of no use. Raises OSError."""
        self._columns = {}
        try:
            self._writer.close()
        finally:
            self._file.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        arrays = [pa.array(self._columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(
            pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=self._waiting
        )
        for column in self._columns.values():
            column.clear()
        self._waiting = self._waiting_bytes = 0
