"""Room for large bodies: how many are in memory at once."""

import asyncio

import pytest

from crawler.room import LARGE, LEAST, MEMORY, Room


@pytest.mark.parametrize(
    ("places", "max_body", "sharers"),
    [(16, MEMORY // 16, 1), (8, MEMORY // 16, 2), (LEAST, 10 * MEMORY, 1), (MEMORY // LARGE, 1, 1)],
)
def test_places(places: int, max_body: int, sharers: int) -> None:
    """There are as many places as the largest bodies fit into the memory for them, and never less than two."""
    assert Room(max_body, sharers).places == places


async def test_small_bodies_need_no_room() -> None:
    """Only what grows past the limit needs room, and only once."""
    with Room(MEMORY).claim() as claim:
        small, large = claim.needs(LARGE), claim.needs(LARGE + 1)
        await claim.wait()

        assert (small, large, claim.needs(LARGE + 2)) == (False, True, False)


async def test_who_leaves_gives_room_back() -> None:
    """When all places are taken the next waits until somebody leaves."""
    room = Room(MEMORY)
    with room.claim() as first:
        await first.wait()
        with room.claim() as second, room.claim() as third:
            await second.wait()
            waiting = asyncio.create_task(third.wait())
            await asyncio.sleep(0)
            full = waiting.done()
            first.__exit__(None, None, None)
            await waiting

            assert (full, third.needs(LARGE + 1)) == (False, False)


async def test_who_never_waited_gives_nothing_back() -> None:
    """Leaving without having waited makes no room that was not there."""
    room = Room(MEMORY)
    for _ in range(5):
        with room.claim():
            pass
    claims = [room.claim() for _ in range(LEAST + 1)]
    waiting = [asyncio.create_task(claim.wait()) for claim in claims]
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    waiting[-1].cancel()

    assert len(done) == LEAST


async def test_cancelled_while_waiting() -> None:
    """Who is cancelled while waiting holds nothing."""
    room = Room(MEMORY)
    with room.claim() as first, room.claim() as second, room.claim() as third:
        await first.wait()
        await second.wait()
        waiting = asyncio.create_task(third.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        first.__exit__(None, None, None)
        await asyncio.wait_for(third.wait(), 1)

        assert not third.needs(LARGE + 1)
