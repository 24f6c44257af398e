"""Memory: what there is, what processes of ours have of it, and how to give some back.

The limit of a container is that of its control group, or of any group above it (cgroups v2: memory.max; v1: memory.limit_in_bytes).
Where the system does not tell (no /proc), nothing is limited.
"""

import ctypes
import gc
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
GROUPS: Final = Path("/sys/fs/cgroup")
PART: Final = 0.8
"""What we take at most of what there is: the rest is for the database, the page cache and the sockets."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
APART: Final = 1 << 20
"""Bytes from which on a block stands apart."""
KEPT: Final = 16 << 20
"""Free bytes at the end of the heap that are kept: the next page wants them. To fetch them again for each cost a fifth of reading it."""
CYCLES: Final = (5_000, 4, 4)
"""Objects that are made and not freed between two looks for cycles, and so many looks between two among older objects, and among all.

A cycle that keeps a page lies there until then: with whole looks after two million objects, not 80,000, a crawl takes a third more.
"""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def share_of(most: int | None, processes: int) -> int | None:
    """Bytes for each of so many processes: its share of *most*, or of 80 % of what there is; None: nobody knows."""
    if most is None and (there := available()) is not None:
        most = int(there * PART)
    return None if most is None else max(1, most // processes)


def available(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Bytes that the container may have, or the machine has if that is less."""
    return min([*group_limits(proc, groups), *_machine(proc)], default=None)


def group_limits(proc: Path = PROC, groups: Path = GROUPS) -> Iterator[int]:
    """The limits on the whole path of this process' control group, in bytes."""
    for folder, file in _group_files(proc, groups, "memory.max", "memory.limit_in_bytes"):
        if (number := _number(folder / file)) is not None:
            yield number


def left_in_groups(proc: Path = PROC, groups: Path = GROUPS) -> Iterator[int]:
    """What is left below each of these limits, in bytes."""
    used = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
    for folder, file in _group_files(proc, groups, "memory.max", "memory.limit_in_bytes"):
        most, now = _number(folder / file), _number(folder / used[file])
        if most is not None and now is not None:
            yield max(0, most - now)


def resident(pids: Iterable[int] = (), proc: Path = PROC) -> int:
    """Bytes of memory that this process has, and those of *pids* besides what they share."""
    own = _statm(proc / "self")
    others = (_statm(proc / str(pid)) for pid in pids)
    return own[0] + sum(have - shared for have, shared in others)


def give_back() -> None:
    """Free what is free: cycles, and what the C library keeps (glibc alone can be asked)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library
        return


def keep_large_apart() -> None:
    """Let the C library take each large block from the system, and give it back when it is freed (glibc alone can be asked).

    By itself it moves that border up to 32 MiB as soon as one is freed (mallopt(3)). Bodies that grow beside each other then
    leave holes of all sizes in one heap: fifty bombs at once took 490 MB instead of 290.
    """
    try:
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, APART)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT)
    except (AttributeError, OSError):  # another C library
        return


def _group_files(proc: Path, groups: Path, v2: str, v1: str) -> Iterator[tuple[Path, str]]:
    """Every folder from our own group up to the root, which is all that a container sees of its own."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, file = (groups / "memory", v1) if controllers else (groups, v2)
        inner = Path(path.lstrip("/"))
        for part in (inner, *inner.parents):
            if ".." not in part.parts:  # a group outside of what we may see
                yield root / part, file


def _machine(proc: Path) -> Iterator[int]:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024


def _statm(process: Path) -> tuple[int, int]:
    """Resident bytes, and those of them that are files or shared (proc(5)); of a process that has ended, none."""
    fields = " ".join(_lines(process / "statm")).split()
    return (int(fields[1]) * PAGE, int(fields[2]) * PAGE) if fields else (0, 0)


def _number(file: Path) -> int | None:
    text = " ".join(_lines(file))
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").splitlines()
    except OSError:
        return []


def collect_less() -> None:
    """Look for cycles a tenth as often, and not at all among what is there now: modules, settings, tables.

    A page is a few thousand objects and leaves hardly a cycle behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*CYCLES)
