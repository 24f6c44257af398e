"""The dead letters on a real RabbitMQ, with many who look at them at once: nobody is told that they are fewer, and nobody misses one."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.rabbit import RabbitQueue
from crawler.core.turns import VERSION, Turn, encode
from crawler.core.urls import domain_id
from crawler.dashboard import letter_facts
from crawler.dashboard.desk import Desk
from crawler.dashboard.letter_box import LetterBox, LettersInHandError
from crawler.dashboard.overview import overview
from crawler.opening import Opened
from crawler.ports import DeadLetter
from crawler.settings import Settings
from tests.making import until

Amqp: TypeAlias = tuple[str, str]
LETTERS = 150


class Looked(RabbitQueue):
    """Counts how often all letters were sent."""

    looks = 0

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """As it does."""
        self.looks += 1
        return await super().dead_letters(most)


async def nothing() -> None:
    """The server is its owner's business."""


@pytest.fixture
async def queue(amqp: Amqp) -> AsyncIterator[Looked]:
    """A RabbitMQ with letters."""
    async with Looked(amqp[0], prefix=amqp[1]) as queue:
        turn = encode(Turn(VERSION, domain_id("dead.test"), "dead.test", 1, []))
        await queue.bury([turn] * LETTERS, "of the tests")
        await until(lambda: _all_there(queue))
        yield queue


async def _all_there(queue: RabbitQueue) -> bool:
    return await queue.dead_count() == LETTERS


@pytest.fixture
def desk(database: Database, dsn: str, queue: Looked) -> Desk:
    """That of a dashboard on it."""
    place = Opened(dsn, "the database", "", nothing, database)
    return Desk(Settings(database_url=dsn), place, queue, "RabbitMQ", ())


async def test_nobody_is_told_of_fewer_letters_while_one_looks(desk: Desk, queue: Looked) -> None:
    """Many who look have the letters sent once; who counts them meanwhile, or looks at the overview, is told of all."""
    looking = asyncio.gather(*(letter_facts.letters(desk) for _ in range(10)))
    counts = set[int | None]()
    while not looking.done():
        counts |= {await desk.queue.dead_count(), (await overview(desk)).queue.dead}
        desk.fresh.drop("overview")
        await asyncio.sleep(0)
    found = await looking
    again = await letter_facts.letters(desk)

    assert [len(one) for one in [*found, again]] == [LETTERS] * 11
    assert counts == {LETTERS}
    assert queue.looks == 1


async def test_letters_are_found_by_their_numbers_while_many_look(desk: Desk, queue: Looked) -> None:
    """Who drops or retries some by their numbers finds them, and who looks afterwards sees them no more."""
    ids = [one.id for one in await letter_facts.letters(desk)]

    async def look() -> None:
        for _ in range(3):
            desk.fresh.drop(letter_facts.SEEN)
            await letter_facts.letters(desk)

    _, dropped, retried, _ = await asyncio.gather(
        look(), letter_facts.drop(desk, ids[:2]), letter_facts.retry(desk, ids[-2:]), look()
    )
    left = await letter_facts.letters(desk)

    assert (dropped, len(retried)) == (2, 2)
    assert {one.id for one in left} == set(ids[2:-2])
    assert await queue.dead_count() == LETTERS - 4


async def test_letters_that_come_are_seen_soon(
    desk: Desk, queue: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While their number is the same they are not looked at again; when it is another they are, also within the half minute."""
    before = await letter_facts.letters(desk)
    same = await letter_facts.letters(desk)
    monkeypatch.setattr(letter_facts, "NEWS", 0.0)
    await queue.bury([b"one more"], "of the tests")

    async def told() -> bool:
        return len(await letter_facts.letters(desk)) == LETTERS + 1

    await until(told)

    assert (len(before), same is before) == (LETTERS, True)


async def test_who_waits_too_long_for_the_letters_is_told(queue: Looked) -> None:
    """While somebody has the letters in hand, another one is told so after a while; then they can be had again."""
    box = LetterBox(queue, patience=0.01)
    async with box.opened():
        with pytest.raises(LettersInHandError, match="ask again in a moment"):
            await box.dead_letters(1)

    assert len(await box.dead_letters(1)) == 1
