"""Turns at once at one address, over all workers: counted where they are accepted."""

import asyncio
from itertools import count

import pytest

from crawler.adapters.frontier import Offer
from crawler.adapters.postgres import Database
from crawler.core.urls import domain_id
from tests.making import QUEUE_LEASE, WORK_LEASE, Frontiers, release, rows

ADDRESS = "192.0.2.1"


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """Hands on a fresh database."""
    return Frontiers(database)


async def offers(heart: Frontiers, most: int, *, address: str | None = ADDRESS) -> list[Offer]:
    """All that is due, as a worker offers it."""
    taken = await heart.frontier.dispatch(1000, QUEUE_LEASE)
    return [Offer(one.domain_id, one.turn, one.address or address, most) for one in taken]


async def seeded(heart: Frontiers, how_many: int) -> None:
    """So many domains, due."""
    await heart.crawl(*(f"https://d{number}.example/" for number in range(how_many)))


async def test_no_more_than_may_be(heart: Frontiers) -> None:
    """Of many turns at one address as many are accepted as may be at once; the others rest a moment, and are not lost turns."""
    await seeded(heart, 10)

    accepted = await heart.frontier.accept(await offers(heart, 3), "worker", WORK_LEASE)

    others = await rows(
        heart.database, "select *, ready_at > now() as rests from domains where holder is null"
    )
    assert len(accepted) == 3
    assert [(one["crowded"], one["rests"], one["lost"]) for one in others] == [(True, True, 0)] * 7


async def test_workers_at_once(heart: Frontiers, dsn: str) -> None:
    """Workers that accept at the same moment are counted together."""
    await seeded(heart, 40)
    all_of_them = await offers(heart, 5)
    async with await Database.open(dsn, size=8) as other:
        hands = [Frontiers(other, f"worker {number}") for number in range(8)]
        answers = await asyncio.gather(
            *(one.frontier.accept(all_of_them[n::8], one.worker, WORK_LEASE) for n, one in enumerate(hands))
        )

    assert sum(map(len, answers)) == 5


async def test_room_again(heart: Frontiers) -> None:
    """A turn that is over makes room for one that rested; so does a lease that has ended."""
    await seeded(heart, 3)
    first = await heart.frontier.accept(await offers(heart, 1), "worker", WORK_LEASE)
    ((number, state),) = first.items()
    name = f"d{next(n for n in count() if domain_id(f'd{n}.example') == number)}.example"
    await heart.record(releases=[release(name, state.turn, address=ADDRESS, owed=1000)])
    await heart.database.ask("update domains set ready_at = now() where crowded")
    second = await heart.frontier.accept(await offers(heart, 1), "worker", WORK_LEASE)
    await heart.database.ask("update domains set ready_at = now() where holder = 'worker' or crowded")
    third = await heart.frontier.accept(await offers(heart, 1), "worker", WORK_LEASE)

    assert [len(first), len(second), len(third)] == [1, 1, 1]
    assert len({*first, *second, *third}) >= 2


async def test_other_addresses(heart: Frontiers) -> None:
    """Each address is counted for itself, and where there is no limit nobody is counted."""
    await seeded(heart, 6)
    taken = await heart.frontier.dispatch(1000, QUEUE_LEASE)
    here, there, anywhere = taken[:2], taken[2:4], taken[4:]

    accepted = await heart.frontier.accept(
        [
            *(Offer(one.domain_id, one.turn, ADDRESS, 1) for one in here),
            *(Offer(one.domain_id, one.turn, "192.0.2.2", 1) for one in there),
            *(Offer(one.domain_id, one.turn, ADDRESS, 0) for one in anywhere),
        ],
        "worker",
        WORK_LEASE,
    )

    assert len(accepted) == 4


async def test_the_address_goes_with_the_message(heart: Frontiers) -> None:
    """Where a domain was visited last is known when it is dispatched again."""
    await heart.crawl("https://a.example/1", "https://a.example/2")
    turn, _ = await heart.hold("a.example")
    await heart.record(releases=[release("a.example", turn, address=ADDRESS)])

    (again,) = await heart.frontier.dispatch(10, QUEUE_LEASE)

    assert again.address == ADDRESS


async def test_an_unknown_address_that_was_looked_up(heart: Frontiers) -> None:
    """The address that a worker found for a domain never visited before counts from its first turn."""
    await seeded(heart, 2)
    taken = await heart.frontier.dispatch(1000, QUEUE_LEASE)
    first = [Offer(one.domain_id, one.turn, ADDRESS, 1) for one in taken[:1]]
    second = [Offer(one.domain_id, one.turn, ADDRESS, 1) for one in taken[1:]]

    answers = [await heart.frontier.accept(each, "worker", WORK_LEASE) for each in (first, second)]

    assert [len(one) for one in answers] == [1, 0]
