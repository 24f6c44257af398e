"""The promise of `crawler.ports.Queue`, asked of everything that makes it."""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from crawler.adapters.postgres import Database
from crawler.core.errors import MessageError
from crawler.ports import DeadLetter, urgent_places
from tests.contract.carriers import Broker, Client, Consumer, PostgresBroker, RabbitBroker
from tests.making import until

REPOSITORY: Final = Path(__file__).parents[2]


@pytest.fixture(params=["postgres", "rabbit"])
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Where each implementation is: a DSN, or the URL and the prefix of the queues. Nothing else is started."""
    asked = request.getfixturevalue({"postgres": "dsn", "rabbit": "amqp"}[request.param])
    return (asked,) if isinstance(asked, str) else asked


@pytest.fixture
async def broker(way: tuple[str, ...]) -> AsyncIterator[Broker]:
    """Each implementation in turn."""
    async with AsyncExitStack() as stack:
        match way:
            case (dsn,):
                database = await stack.enter_async_context(await Database.open(dsn))
                yield PostgresBroker(dsn, database, stack)
            case (url, prefix):
                yield RabbitBroker(url, prefix, stack)


@pytest.fixture
async def client(broker: Broker) -> Client:
    """Somebody who publishes."""
    return await broker.client()


async def waiting(client: Client, how_many: int) -> bool:
    """Do so many messages wait? What is given back takes its time."""
    return await client.queue.depth() == how_many


async def test_each_to_one(broker: Broker, client: Client) -> None:
    """Every message is confirmed, and delivered to exactly one of several consumers."""
    bodies = [str(number).encode() for number in range(60)]
    seen: list[bytes] = []
    async with Consumer(await broker.client(), 7) as one, Consumer(await broker.client(), 7) as two:
        confirmed = await client.queue.publish(bodies)

        async def consume(consumer: Consumer) -> None:
            while True:
                delivery = await consumer.next()
                seen.append(delivery.body)
                delivery.ack()
                if len(seen) == len(bodies):
                    done.set()

        done = asyncio.Event()
        tasks = [asyncio.create_task(consume(consumer)) for consumer in (one, two)]
        async with asyncio.timeout(15):
            await done.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    assert confirmed == [True] * 60
    assert sorted(seen) == sorted(bodies)
    assert await broker.empty()


async def test_prefetch(broker: Broker, client: Client) -> None:
    """A consumer has no more than its prefetch unsettled; the rest waits for others, and is the depth."""
    await client.queue.publish([b"1", b"2", b"3", b"4", b"5"])
    depth = [await client.queue.depth()]
    async with Consumer(await broker.client(), 2) as one:
        first = await one.next(), await one.next()
        depth.append(await client.queue.depth())
        async with Consumer(await broker.client(), 2) as two:
            await two.take(2)
            depth.append(await client.queue.depth())
            first[0].ack()
            last = await one.next()
            depth.append(await client.queue.depth())

            assert (one.got, two.got, last.body) == (3, 2, b"5")
            assert depth == [5, 3, 1, 0]


async def test_urgent_places(broker: Broker, client: Client) -> None:
    """A consumer whose hands are full is handed urgent messages all the same, a few of them; the others go to somebody else."""
    await client.queue.publish([b"1", b"2", b"3"])
    async with Consumer(await broker.client(), 2) as one:
        await one.take(2)
        await client.queue.publish([b"a", b"b", b"c"], urgent=True)
        urgent = await one.take(urgent_places(2))
        async with Consumer(await broker.client(), 1) as two:
            other = await two.next()

            assert (urgent, other.body, one.got) == ([b"a", b"b"], b"c", 4)


@pytest.mark.parametrize("prefetch", [1, 10])
async def test_order(broker: Broker, client: Client, prefetch: int) -> None:
    """Messages come in the order they were published, urgent ones before all others."""
    await client.queue.publish([b"1", b"2"])
    await client.queue.publish([b"urgent 1", b"urgent 2"], urgent=True)
    await client.queue.publish([b"3"])
    order = []
    async with Consumer(await broker.client(), prefetch) as consumer:
        for _ in range(5):
            delivery = await consumer.next()
            order.append(delivery.body)
            delivery.ack()

    assert order == [b"urgent 1", b"urgent 2", b"1", b"2", b"3"]


async def test_published_later(broker: Broker, client: Client) -> None:
    """Who waits for messages hears of a new one at once, from whichever program it comes."""
    async with Consumer(await broker.client(), 5) as consumer:
        await client.queue.publish([b"1"])
        first = await consumer.take(1)
        async with asyncio.timeout(1):  # sooner than it would look by itself
            await client.queue.publish([b"2"])
            second = await consumer.take(1)

    assert (first, second) == ([b"1"], [b"2"])


async def test_ack(broker: Broker, client: Client) -> None:
    """What was acknowledged does not come again; what was not, when its consumer was cancelled, does."""
    await client.queue.publish([b"done", b"not done", b"neither"])
    async with Consumer(await broker.client(), 3) as one:
        done = await one.next()
        await one.take(2)
        done.ack()
    await until(lambda: waiting(client, 2))
    async with Consumer(await broker.client(), 3) as two:
        again = await two.take(2)

    assert again == [b"not done", b"neither"]


async def test_back(broker: Broker, client: Client) -> None:
    """What a consumer gives back is delivered again, to it or to somebody else."""
    await client.queue.publish([b"1", b"2"])
    async with Consumer(await broker.client(), 2) as one:
        for delivery in (await one.next(), await one.next()):
            delivery.back()
        again = await one.take(2)
    async with Consumer(await broker.client(), 2) as two:
        elsewhere = await two.take(2)

    assert sorted(again) == sorted(elsewhere) == [b"1", b"2"]


async def test_killed(broker: Broker, client: Client) -> None:
    """What a program had that was killed is delivered to another."""
    await client.queue.publish([b"1", b"2"])
    victim = await asyncio.create_subprocess_exec(
        *broker.victim(), stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    assert victim.stdout
    had = [(await victim.stdout.readline()).strip() for _ in range(2)]
    victim.kill()
    await victim.communicate()
    async with Consumer(await broker.client(), 5) as consumer:
        got = await consumer.take(2)

    assert got == had == [b"1", b"2"]


async def test_five_deliveries(broker: Broker, client: Client) -> None:
    """What was delivered five times to consumers that died lies with the dead letters, the others go on."""
    await client.queue.publish([b"deadly"])
    for _ in range(5):
        async with Consumer(await broker.client(), 1) as consumer:
            await consumer.take(1)
            await consumer.client.die()
    await client.queue.publish([b"harmless"])
    async with Consumer(await broker.client(), 1) as consumer:
        got = await consumer.take(1)
        await until(broker.dead)

    assert got == [b"harmless"]
    assert [body for body, _ in await broker.dead()] == [b"deadly"]


async def test_dead_letters(broker: Broker, client: Client) -> None:
    """What is buried, by whoever sends it or whoever gets it, is kept with its reason, odd characters and all."""
    await client.queue.bury([b"1", b"2"], "never \0 sent")
    await client.queue.publish([b"3", b"4"])
    async with Consumer(await broker.client(), 5) as consumer:
        delivery, other = await consumer.next(), await consumer.next()
        delivery.dead("not \ud800 understood")
        other.ack()

    assert sorted(await broker.dead()) == [
        (b"1", "never \ufffd sent"),
        (b"2", "never \ufffd sent"),
        (b"3", "not \ufffd understood"),
    ]
    assert await broker.empty()


async def test_cut(broker: Broker, client: Client) -> None:
    """A consumer whose connections break keeps what it has, takes up the rest, and settles it all, once."""
    bodies = [b"1", b"2", b"3"]
    await client.queue.publish(bodies)
    async with Consumer(await broker.client(), 5) as one, Consumer(await broker.client(), 0) as idle:
        had = [await one.next() for _ in range(3)]
        for number in range(3):
            await one.client.cut()
            await client.queue.publish([b"new %d" % number])
            delivery = await one.next()
            delivery.ack()
            bodies.append(delivery.body)
        for delivery in had:
            delivery.ack()
        await until(broker.empty)
    async with Consumer(await broker.client(), 5) as later:
        await client.queue.publish([b"last"])
        last = await later.take(1)

    assert Counter(bodies) == Counter([b"1", b"2", b"3", b"new 0", b"new 1", b"new 2"])
    assert (one.got, idle.got) == (6, 0)
    assert last == [b"last"]


async def test_letters(broker: Broker, client: Client) -> None:
    """Looking at dead letters leaves them where they are, in their order, each with its own number and the moment it died."""
    before = datetime.now(UTC) - timedelta(seconds=2)  # a broker may only know the second
    bodies = [b"%d" % number for number in range(5)]
    await client.queue.bury(bodies, "because")
    oldest = await client.queue.dead_letters(2)
    again = await client.queue.dead_letters(10)

    assert [letter.body for letter in oldest] == bodies[:2]
    assert [letter.body for letter in again] == bodies
    assert len({letter.letter_id for letter in again}) == 5
    assert {letter.reason for letter in again} == {"because"}
    assert all(letter.buried_at and before < letter.buried_at <= datetime.now(UTC) for letter in again)
    assert (await client.queue.dead_count(), await client.queue.depth()) == (5, 0)


async def test_exhume_chosen(broker: Broker, client: Client) -> None:
    """Of the dead letters those that are named are worked on and removed; a number that nobody has does no harm."""
    await client.queue.bury([b"1", b"2", b"3", b"4"], "because")
    numbers = {letter.body: letter.letter_id for letter in await client.queue.dead_letters(10)}
    seen: list[DeadLetter] = []

    async def work(letter: DeadLetter) -> None:
        seen.append(letter)

    done = await client.queue.exhume([numbers[b"4"], numbers[b"2"], "0", "nobody's"], work)

    assert done == 2
    assert [(letter.letter_id, letter.body) for letter in seen] == [
        (numbers[b"2"], b"2"),
        (numbers[b"4"], b"4"),
    ]
    assert [letter.body for letter in await client.queue.dead_letters(10)] == [b"1", b"3"]


async def test_exhume_all(broker: Broker, client: Client) -> None:
    """All dead letters that there are can be put back on the queue; what dies meanwhile is left for the next time."""
    await client.queue.bury([b"1", b"2", b"3"], "because")

    async def work(letter: DeadLetter) -> None:
        await client.queue.publish([letter.body])
        if letter.body == b"1":
            await client.queue.bury([b"later"], "because")

    done = await client.queue.exhume(None, work)
    async with Consumer(await broker.client(), 5) as consumer:
        got = await consumer.take(3)

    assert done == 3
    assert got == [b"1", b"2", b"3"]
    assert await broker.dead() == [(b"later", "because")]


async def test_exhume_fails(broker: Broker, client: Client) -> None:
    """A letter whose work fails stays, with all that come after it."""
    await client.queue.bury([b"1", b"2", b"3"], "because")

    async def work(letter: DeadLetter) -> None:
        if letter.body == b"2":
            raise MessageError("not this one")

    with pytest.raises(MessageError, match="not this one"):
        await client.queue.exhume(None, work)

    assert await broker.dead() == [(b"2", "because"), (b"3", "because")]


async def test_nothing(broker: Broker, client: Client) -> None:
    """Nothing to publish, nothing to bury and no letters are no trouble."""

    async def work(letter: DeadLetter) -> None:
        raise AssertionError(letter)

    await client.queue.bury([], "because")

    assert await client.queue.publish([]) == []
    assert await client.queue.dead_letters(5) == []
    assert await client.queue.exhume(None, work) == await client.queue.exhume(["1"], work) == 0
