"""More lines than memory holds, sorted by their bytes.

    add(line) ──32 MiB──► a sorted run on disk ──64 runs──► one longer run ──► merged as they are read

1. Memory holds one run while lines are added, and a buffer of each run while they are read.
2. What is on disk goes when it is closed.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from shutil import rmtree
from typing import Final, Self

RUN_BYTES: Final = 32 * 1024 * 1024
LINE_BYTES: Final = 64
"""What a line weighs in memory besides its bytes."""
RUNS: Final = 64
"""Files that are open at once, of each sorter."""


class Sorter:
    """Lines, which hold no line break, in the order of their bytes; the same line comes once.

    Args:
        folder: for its runs; it is made, and removed in the end.
        run_bytes: of a run, in memory.
    """

    def __init__(self, folder: Path, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._most = run_bytes
        self._lines: set[bytes] = set()
        self._bytes = 0
        self._runs: list[Path] = []
        self._numbers = itertools.count()
        rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        rmtree(self._folder, ignore_errors=True)

    def add(self, line: bytes) -> None:
        """Take a line. Raises OSError: there is no room on disk."""
        if line not in self._lines:
            self._lines.add(line)
            self._bytes += len(line) + LINE_BYTES
            if self._bytes >= self._most:
                self._end_run()

    def __iter__(self) -> Iterator[bytes]:
        """All lines in order, once: nothing is added after that. Raises OSError."""
        if self._runs:
            self._end_run()
            return _once(heapq.merge(*map(_lines, self._runs)))
        return iter(sorted(self._lines))

    def _end_run(self) -> None:
        if self._lines:
            self._write(sorted(self._lines))
        self._lines = set()
        self._bytes = 0
        if len(self._runs) >= RUNS:
            runs, self._runs = self._runs, []
            self._write(_once(heapq.merge(*map(_lines, runs))))
            for run in runs:
                run.unlink()

    def _write(self, lines: Iterable[bytes]) -> None:
        run = self._folder / str(next(self._numbers))
        with run.open("wb") as out:
            out.writelines(line + b"\n" for line in lines)
        self._runs.append(run)


def _lines(run: Path) -> Iterator[bytes]:
    with run.open("rb") as lines:
        for line in lines:
            yield line[:-1]


def _once(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line, _ in itertools.groupby(lines))
