"""A process that uses its core up hands work over; one at ease does it itself."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from crawler.parsers import MEDIUM, Parsers
from crawler.parsing import LARGE, Job
from crawler.saturation import AT_EASE, FULL, LOOK, Saturation


class Times:
    """Two clocks that stand still until they are moved."""

    def __init__(self) -> None:
        self.wall = self.used = 0.0

    def pass_by(self, seconds: float, busy: float) -> None:
        """Let so many seconds pass, of which such a part is spent computing."""
        self.wall += seconds
        self.used += seconds * busy

    def saturation(self) -> Saturation:
        """What watches them."""
        return Saturation(lambda: self.wall, lambda: self.used)


def job(size: int) -> Job:
    """A body of so many bytes."""
    return Job(
        body=b"x" * size, url="http://a.example/", content_type="text/html", headers=(), parser="turbohtml"
    )


@given(st.floats(0, 2))
def test_full_is_who_computes_nearly_all_the_time(busy: float) -> None:
    """Only a process that has used more than its share of the time since the last look is full; more threads than one count."""
    times = Times()
    saturation = times.saturation()
    times.pass_by(1.0, busy)

    assert saturation.is_full is (busy >= FULL)


def test_one_look_counts_for_a_while() -> None:
    """Between two looks it stays as it was, and a pause ends it."""
    expected = [False, True, True, False]
    times = Times()
    saturation = times.saturation()
    found = [saturation.is_full]
    for seconds, busy in ((LOOK, 1.0), (LOOK / 2, 0.0), (LOOK / 2, 0.0)):
        times.pass_by(seconds, busy)
        found.append(saturation.is_full)

    assert found == expected


@given(st.floats(0, 1))
def test_who_was_full_is_at_ease_only_with_much_less_to_do(busy: float) -> None:
    """Others help who is full, so it stays so until it would have time again without them."""
    times = Times()
    saturation = times.saturation()
    times.pass_by(1.0, 1.0)
    first = saturation.is_full
    times.pass_by(1.0, busy)

    assert (first, saturation.is_full) == (True, times.used - 1.0 >= AT_EASE)


async def wanted(sizes: list[int], sharers: int, busy: float, *, warm: bool = True) -> list[bool]:
    """Which of these bodies go to a process; *warm*: one may have been started."""
    times = Times()
    parsers = Parsers(sharers, saturation=times.saturation(), cores=2)
    times.pass_by(1.0, busy)
    try:
        first = [parsers.wants(job(size)) for size in sizes]
        if not warm:
            return first
        async with asyncio.timeout(20):
            while parsers.is_warming:  # noqa: ASYNC110 - of another program
                await asyncio.sleep(0.01)
        return [parsers.wants(job(size)) for size in sizes]
    finally:
        await parsers.close()


async def test_what_goes_to_a_process() -> None:
    """A heavy body always; a medium one when this process is full and another, on another core, waits for work; a small one never."""
    expected = {
        "full, two cores": [False, True, True],
        "full, and the process is being started": [False, False, True],
        "at ease": [False, False, True],
        "full, the other core is another worker's": [False, False, True],
    }
    sizes = [MEDIUM - 1, MEDIUM, LARGE]

    assert {
        "full, two cores": await wanted(sizes, 1, 1.0),
        "full, and the process is being started": await wanted(sizes, 1, 1.0, warm=False),
        "at ease": await wanted(sizes, 1, 0.5),
        "full, the other core is another worker's": await wanted(sizes, 2, 1.0),
    } == expected
