"""Numbers of 64 bits into groups: two are in one group if they are near, or if a chain of near ones leads from one to the other.

    all numbers ──► by two (or three) of their blocks of bits ──► those that agree there are compared ──► groups, joined

1. Of two that differ by at most *distance* bits, all blocks but so many agree, however the bits lie: each choice of blocks is tried in turn
   (Manku et al., WWW 2007, section 3).
2. Time does not grow with the square of a crowd: of numbers that agree in their blocks each is compared with the `WINDOW` that follow.
   Those of a crowd that belong together are joined by a chain, in one of many orders.
3. Memory is 20 bytes a number and some 100 MB besides, whatever their number.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations, groupby, pairwise
from typing import Final

from crawler.core.simhash import BITS

WINDOW: Final = 64
AT_ONCE: Final = 1 << 19
"""Numbers that are sorted at once."""
FEW: Final = 1 << 21
"""Numbers up to which two blocks (of 64 / (distance + 2) bits) leave few to be compared; of more, three are taken."""
MOST_DISTANCE: Final = 8
"""More, and the blocks are so short that most numbers agree in them."""


class Groups:
    """Which of so many things belong together (union-find)."""

    def __init__(self, many: int) -> None:
        self._above = array("q", range(many))

    def of(self, one: int) -> int:
        """The number of its group: that of one of its members."""
        above = self._above
        while above[one] != one:
            above[one] = one = above[above[one]]
        return one

    def join(self, one: int, other: int) -> None:
        """They belong together."""
        one, other = self.of(one), self.of(other)
        self._above[max(one, other)] = min(one, other)


def groups_of_near(numbers: Sequence[int], distance: int) -> Groups:
    """Group *numbers*, which are signed, ascending, each once: by their places.

    Args:
        numbers: an `array` of them takes 8 bytes each.
        distance: bits by which near ones differ at most, up to `MOST_DISTANCE`.
    """
    groups = Groups(len(numbers))
    for mask in _masks(distance, agree=2 if len(numbers) <= FEW else 3):
        for some in _portions(numbers, mask):
            _compare(some, mask, distance, groups)
    return groups


def _masks(distance: int, agree: int) -> Iterator[int]:
    """Every choice of *agree* blocks, of as many as leave so many untouched."""
    many = distance + agree
    edges = [BITS * n // many for n in range(many + 1)]
    blocks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    for chosen in combinations(blocks, agree):
        yield sum(chosen)


def _portions(numbers: Sequence[int], mask: int) -> Iterator[list[tuple[int, int]]]:
    """The numbers, each with its place, as many at once as may be; those that agree under the mask come together."""
    parts = 1
    while len(numbers) > AT_ONCE * parts:
        parts *= 2
    shift = (mask & -mask).bit_length() - 1  # the lowest bits of the mask tell them apart
    for part in range(parts):
        some = [(n, place) for place, n in enumerate(numbers) if (n >> shift) & (parts - 1) == part]
        if len(some) > 1:
            yield some


def _compare(some: list[tuple[int, int]], mask: int, distance: int, groups: Groups) -> None:
    def agreeing(one: tuple[int, int]) -> int:
        return one[0] & mask

    for _, run in groupby(sorted(some, key=agreeing), key=agreeing):
        crowd = list(run)
        for place, (number, index) in enumerate(crowd[:-1], 1):
            for other, its_index in crowd[place : place + WINDOW]:
                if ((number ^ other) & _ALL).bit_count() <= distance:
                    groups.join(index, its_index)


_ALL: Final = (1 << BITS) - 1
