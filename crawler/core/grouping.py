"""Numbers of 64 bits into groups: two are in one group if they are near, or if a chain of near ones leads from one to the other.

    all numbers ──► by two (or three) of their blocks of bits ──► those that agree there are compared ──► groups, joined

1. Of two that differ by at most *distance* bits, all blocks but so many agree, however the bits lie: each choice of blocks is tried in turn
   (Manku et al., WWW 2007, section 3).
2. Time does not grow with the square of a crowd: of numbers that agree in their blocks each is compared with the `WINDOW` that follow.
   Those of a crowd that belong together are joined by a chain, in one of many orders.
3. Memory is 20 bytes a number and some 100 MB besides, whatever their number, and however many of them agree.
4. Each number is read some three times for each choice of blocks, and for each comparison.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import Final

from crawler.core.simhash import BITS

WINDOW: Final = 64
AT_ONCE: Final = 1 << 18
"""Numbers that are sorted out, or compared, at once, or some more: they take 200 bytes each."""
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


def groups_of_near(numbers: Sequence[int], distance: int, *, at_once: int = AT_ONCE) -> Groups:
    """Group *numbers*, which are signed, ascending, each once: by their places.

    Args:
        numbers: an `array` of them takes 8 bytes each.
        distance: bits by which near ones differ at most, up to `MOST_DISTANCE`.
        at_once: numbers that are sorted out, or compared, at once.
    """
    groups = Groups(len(numbers))
    for mask in _masks(distance, agree=2 if len(numbers) <= FEW else 3):
        for places in _portions(numbers, mask, at_once):
            for crowd in _agreeing(numbers, mask, places):
                _compare(numbers, crowd, distance, at_once, groups)
    return groups


def _masks(distance: int, agree: int) -> Iterator[int]:
    """Every choice of *agree* blocks, of as many as leave so many untouched."""
    many = distance + agree
    edges = [BITS * n // many for n in range(many + 1)]
    blocks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    for chosen in combinations(blocks, agree):
        yield sum(chosen)


def _portions(numbers: Sequence[int], mask: int, at_once: int) -> Iterator[Iterable[int]]:
    """The places of the numbers, ascending, as many at once as may be; those that agree under the mask come together."""
    parts = (
        len(numbers) // at_once + 1 | 1
    )  # odd: all bits of the mask tell them apart, and not only the lowest
    if parts == 1:
        yield range(len(numbers))
        return
    portions = [array("I") for _ in range(parts)]
    for place, number in enumerate(numbers):
        portions[(number & mask) % parts].append(place)
    while portions:
        yield portions.pop()


def _agreeing(numbers: Sequence[int], mask: int, places: Iterable[int]) -> Iterator[Sequence[int]]:
    """Those of the places whose numbers agree under the mask, ascending, where there are at least two."""
    crowds: dict[int, int | array[int]] = {}
    for place in places:
        key = numbers[place] & mask
        crowd = crowds.setdefault(key, place)
        if isinstance(crowd, array):
            crowd.append(place)
        elif crowd != place:
            crowds[key] = array("I", (crowd, place))
    for crowd in crowds.values():
        if isinstance(crowd, array):
            yield crowd


def _compare(
    numbers: Sequence[int], crowd: Sequence[int], distance: int, at_once: int, groups: Groups
) -> None:
    """Each of a crowd with the `WINDOW` that follow."""
    for start in range(0, len(crowd) - 1, at_once):
        some = [(numbers[place], place) for place in crowd[start : start + at_once + WINDOW]]
        for next_one, (number, place) in enumerate(some[:at_once], 1):
            for other, its_place in some[next_one : next_one + WINDOW]:
                if ((number ^ other) & _ALL).bit_count() <= distance:
                    groups.join(place, its_place)


_ALL: Final = (1 << BITS) - 1
