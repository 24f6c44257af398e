"""What differs between two texts, by lines that a person can read.

    text ──► lines: a sentence, a cell, a tag each ──► lines in both, in order ──► hunks with a little around them

1. The hunks, put into the lines before, give the lines after (as far as they are not cut).
2. Time grows with the lines, n log n, and no faster, whatever the texts: where lines that occur once do not tell what belongs
   together, a stretch is compared line by line only up to `MOST_CELLS`, and all such stretches up to `ALL_CELLS`; what is beyond
   that counts as replaced.
3. No more than `most` lines leave here; how many there are is told.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final, NamedTuple

from rapidfuzz.distance import LCSseq

CONTEXT: Final = 2
"""Lines around a change."""
LONG: Final = 200
"""Characters: a longer line is broken where that shows least."""
MOST_ROUNDS: Final = 8
MOST_CELLS: Final = 200_000_000
"""Pairs of lines of one stretch. 64 are compared at a time, so that this takes some 10 ms and 25 MB."""
ALL_CELLS: Final = 10 * MOST_CELLS

_SENTENCE: Final = re.compile(r"(?<=[.!?…][\"'”’»)\]])\s+|(?<=[.!?…])\s+|(?<=[。！？])")  # noqa: RUF001 - Chinese and Japanese
_TAG: Final = re.compile(r"(?<=>)(?=<)")
_BREAKS: Final = (
    re.compile(r"(?<=[,;:{}\[\]|、，；])(?![,;:{}\[\]|、，；])"),  # noqa: RUF001 - as above
    re.compile(r"(?<=\w{6})\s+"),
    re.compile(r"\s+"),
)
"""Where a long line may be broken: what stands before the place decides, not how far it is from the beginning. So a word that is put
in moves no break behind it."""

Match = tuple[int, int, int]
"""A line of the one, a line of the other, and how many are equal from there on."""


class Line(NamedTuple):
    """A line of a hunk."""

    sign: str
    """``-`` only before, ``+`` only after, a blank in both."""
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """Changes that lie together, with the lines around them. Lines count from 0."""

    before: int
    """The first line of it, before."""
    after: int
    """And after."""
    lines: tuple[Line, ...]

    @property
    def heading(self) -> str:
        """As `diff -u` writes it."""
        return f"@@ -{self._range(self.before, '-')} +{self._range(self.after, '+')} @@"

    def _range(self, start: int, sign: str) -> str:
        n = sum(line.sign in (sign, " ") for line in self.lines)
        return f"{start + (n > 0)},{n}"


@dataclass(frozen=True, slots=True)
class Difference:
    """How two texts differ."""

    added: int
    """Lines."""
    removed: int
    hunks: tuple[Hunk, ...]
    left_out: int
    """Lines that were added or removed, and are in no hunk, for there are too many."""


def difference(before: Sequence[str], after: Sequence[str], *, most: int) -> Difference:
    """How the lines differ; *most* lines are shown."""
    changes = list(_changes(_matches(before, after), len(before), len(after)))
    removed = sum(i2 - i1 for i1, i2, _, _ in changes)
    added = sum(j2 - j1 for _, _, j1, j2 in changes)
    hunks, room = list[Hunk](), most
    for together in _together(changes):
        hunk = _hunk(before, after, together, room)
        if not hunk.lines:
            break
        hunks.append(hunk)
        room -= len(hunk.lines)
    shown = sum(line.sign != " " for hunk in hunks for line in hunk.lines)
    return Difference(added, removed, tuple(hunks), added + removed - shown)


def text_lines(text: str) -> list[str]:
    """What a reader sees, a sentence a line, without what only lays it out."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [part for line in lines for part in _broken(_SENTENCE.split(line)) if part]


def source_lines(text: str) -> list[str]:
    """HTML and the like, with a line for each tag that follows another."""
    return [part for line in text.splitlines() for part in _broken(_TAG.split(line.rstrip())) if part]


def _broken(parts: Sequence[str]) -> Iterator[str]:
    """Without long lines, as far as they can be broken anywhere."""
    for breaks in _BREAKS:
        if all(len(part) <= LONG for part in parts):
            break
        parts = list(
            chain.from_iterable(breaks.split(part) if len(part) > LONG else [part] for part in parts)
        )
    for part in parts:
        for start in range(0, len(part), LONG * 5) or (0,):
            yield part[start : start + LONG * 5].strip()


def _changes(matches: Sequence[Match], before: int, after: int) -> Iterator[tuple[int, int, int, int]]:
    """What lies between the matches: lines from, to before; from, to after."""
    for (i, j, n), (i2, j2, _) in pairwise([(0, 0, 0), *matches, (before, after, 0)]):
        if i + n < i2 or j + n < j2:
            yield i + n, i2, j + n, j2


def _together(changes: Sequence[tuple[int, int, int, int]]) -> Iterator[list[tuple[int, int, int, int]]]:
    """Changes whose surroundings touch."""
    some: list[tuple[int, int, int, int]] = []
    for change in changes:
        if some and change[0] - some[-1][1] > 2 * CONTEXT:
            yield some
            some = []
        some.append(change)
    if some:
        yield some


def _hunk(
    before: Sequence[str], after: Sequence[str], changes: Sequence[tuple[int, int, int, int]], room: int
) -> Hunk:
    """The hunk, cut to so many lines."""
    first, last = changes[0], changes[-1]
    lead = min(CONTEXT, first[0])
    lines: list[Line] = []
    done = first[0] - lead
    for i1, i2, j1, j2 in changes:
        lines += (Line(" ", text) for text in before[done:i1])
        gone = min(
            i2 - i1, max(room // 2, room - (j2 - j1))
        )  # where not all fits, something of both is shown
        lines += (Line("-", text) for text in before[i1 : i1 + gone])
        lines += (Line("+", text) for text in after[j1 : min(j2, j1 + room - gone)])
        done = i2
        if len(lines) >= room:
            break
    else:
        lines += (Line(" ", text) for text in before[done : last[1] + CONTEXT])
    return Hunk(first[0] - lead, first[2] - lead, tuple(lines[:room]))


def _matches(before: Sequence[str], after: Sequence[str]) -> list[Match]:
    """Equal lines, in the order of both: by lines that occur once in each (Bram Cohen's patience diff), and between them by LCS."""
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in before]
    b = [numbers.setdefault(line, len(numbers)) for line in after]
    found: list[Match] = []
    ranges = [(0, len(a), 0, len(b))]
    cells = ALL_CELLS
    for is_last in (*[False] * MOST_ROUNDS, True):
        between: list[tuple[int, int, int, int]] = []
        for span in ranges:
            i1, i2, j1, j2 = _trimmed(a, b, span, found)
            size = (i2 - i1) * (j2 - j1)
            if not size:
                continue
            anchors = [] if is_last else _anchors(a[i1:i2], b[j1:j2])
            if anchors:
                at = [(i1, j1), *((i1 + i, j1 + j) for i, j in anchors), (i2, j2)]
                found += ((i, j, 1) for i, j in at[1:-1])
                steps = [(0, at[0]), *((1, place) for place in at[1:-1]), (0, at[-1])]
                between += ((i + n, i3, j + n, j3) for (n, (i, j)), (_, (i3, j3)) in pairwise(steps))
            elif size <= MOST_CELLS and size <= cells:
                cells -= size
                found += _common(a, b, (i1, i2, j1, j2))
        ranges = between
    return sorted(found)


def _trimmed(
    a: list[int], b: list[int], span: tuple[int, int, int, int], found: list[Match]
) -> tuple[int, int, int, int]:
    """The span without what is equal at both its ends, which is *found*."""
    i1, i2, j1, j2 = span
    n = 0
    while i1 + n < i2 and j1 + n < j2 and a[i1 + n] == b[j1 + n]:
        n += 1
    if n:
        found.append((i1, j1, n))
    i1, j1, n = i1 + n, j1 + n, 0
    while i1 < i2 - n and j1 < j2 - n and a[i2 - n - 1] == b[j2 - n - 1]:
        n += 1
    if n:
        found.append((i2 - n, j2 - n, n))
    return i1, i2 - n, j1, j2 - n


def _anchors(a: list[int], b: list[int]) -> list[tuple[int, int]]:
    """Lines that occur once in each: the longest row of them that is in the order of both."""
    in_a, in_b = Counter(a), Counter(b)
    places = {number: j for j, number in enumerate(b) if in_b[number] == 1}
    once = [(i, places[number]) for i, number in enumerate(a) if in_a[number] == 1 and number in places]
    ends: list[int] = []  # of the rows of each length, which ends first: its place in b,
    at: list[int] = []  # its number in `once`,
    before: list[int] = []  # and for each of `once`, which comes before it; -1: none
    for n, (_, j) in enumerate(once):
        length = bisect_left(ends, j)
        before.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        at[length : length + 1] = [n]
    row: list[tuple[int, int]] = []
    n = at[-1] if at else -1
    while n >= 0:
        row.append(once[n])
        n = before[n]
    return row[::-1]


def _common(a: list[int], b: list[int], span: tuple[int, int, int, int]) -> Iterator[Match]:
    i1, i2, j1, j2 = span
    for op in LCSseq.opcodes(a[i1:i2], b[j1:j2]):
        if op.tag == "equal":
            yield i1 + op.src_start, j1 + op.dest_start, op.src_end - op.src_start
