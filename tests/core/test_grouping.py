"""Groups of near numbers: exactly those that a comparison of each with each finds, and no square of a crowd."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import combinations
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.grouping import AT_ONCE, MOST_DISTANCE, groups_of_near
from crawler.core.simhash import distance

HASHES = st.integers(-(2**63), 2**63 - 1)


@st.composite
def crowds(draw: st.DrawFn) -> list[int]:
    """Numbers, some of which differ from another by a few bits."""
    numbers = draw(st.lists(HASHES, min_size=1, max_size=20))
    for _ in range(draw(st.integers(0, 20))):
        near = draw(st.sampled_from(numbers))
        for bit in draw(st.lists(st.integers(0, 62), max_size=6)):
            near ^= 1 << bit
        numbers.append(near)
    return sorted(set(numbers))


@given(crowds(), st.integers(0, MOST_DISTANCE), st.sampled_from([AT_ONCE, 5]))
def test_groups(numbers: list[int], most: int, at_once: int) -> None:
    """Two are in one group if, and only if, a chain of near ones leads from one to the other, however few are sorted out at once."""
    groups = groups_of_near(array("q", numbers), most, at_once=at_once)
    found = [groups.of(place) for place in range(len(numbers))]
    expected = list(range(len(numbers)))
    for one, other in combinations(range(len(numbers)), 2):
        if distance(numbers[one], numbers[other]) <= most:
            old, new = expected[other], expected[one]
            expected = [new if group == old else group for group in expected]

    assert [found.index(group) for group in found] == [expected.index(group) for group in expected]


def test_a_crowd() -> None:
    """A crowd of near numbers is one group, though each is compared with a few of them only."""
    crowd = sorted({(1 << a) | (1 << b) for a, b in combinations(range(36), 2)})
    groups = groups_of_near(array("q", crowd), 5)

    assert {groups.of(place) for place in range(len(crowd))} == {0}


class Counted(Sequence[int]):
    """Numbers that know how often they were read."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = [*numbers]
        self.reads = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        """One of them."""
        self.reads += 1
        return self._numbers[place]


def test_time() -> None:
    """To sort out few at once costs no more reads: some three of each number, for each of the 21 choices of blocks."""
    chance = Random(1)
    numbers = Counted(sorted(chance.getrandbits(63) for _ in range(2000)))
    groups_of_near(numbers, 5, at_once=20)

    assert 2 * 21 * len(numbers) <= numbers.reads < 4 * 21 * len(numbers)
