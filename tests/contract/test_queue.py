"""The promise of `crawler.ports.Queue`, asked of everything that makes it."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Protocol, Self

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.ports import Delivery, Queue
from tests.making import blocked, cut, rows, until

REPOSITORY: Final = Path(__file__).parents[2]
VICTIM: Final = """
import asyncio, sys
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue

async def main():
    async with await Database.open(sys.argv[1], size=2) as database:
        await PostgresQueue(database).consume(10, lambda delivery: print(delivery.body.decode(), flush=True))

asyncio.run(main())
"""


class Client(Protocol):
    """One program's connection to the broker."""

    queue: Queue

    async def die(self) -> None:
        """Lose every connection, for good, without a farewell."""

    async def cut(self) -> None:
        """Lose every connection once; it may connect again."""


class Broker(Protocol):
    """Whatever carries the messages."""

    async def client(self) -> Client:
        """Connect once more."""

    async def dead(self) -> list[tuple[bytes, str]]:
        """The dead letters with their reasons."""

    async def empty(self) -> bool:
        """Is there no message any more, dead letters apart, whoever has them?"""

    def victim(self) -> list[str]:
        """A command line: a program that consumes, prints what it gets, and settles nothing."""


class PostgresClient:
    """A pool of its own."""

    def __init__(self, database: Database) -> None:
        self._queue = PostgresQueue(database, orphans_every=0.2, orphaned_for=0.3)
        self.queue: Queue = self._queue
        self._database = database

    async def die(self) -> None:
        """End the pool; the listening session goes with the task."""
        self._database._pool.terminate()

    async def cut(self) -> None:
        """Let the server end every session of this client: those of the pool, and the one that holds the lock."""
        numbers = [consumer._number for consumer in self._queue._consumers]
        pids = [h._con.get_server_pid() for h in self._database._pool._holders if h._con is not None]
        async with await Database.open(self._database.dsn, size=1) as other:
            await other.ask(
                "select count(pg_terminate_backend(pid)) from (select unnest($1::int[]) as pid union select pid from pg_locks"
                " where locktype = 'advisory' and classid = 20011 and objid::int = any($2::int[])) x",
                pids,
                numbers,
            )


class PostgresBroker:
    """The table messages."""

    def __init__(self, dsn: str, database: Database, stack: AsyncExitStack) -> None:
        self._dsn = dsn
        self._database = database
        self._stack = stack

    async def client(self) -> Client:
        """Connect once more."""
        return PostgresClient(await self._stack.enter_async_context(await Database.open(self._dsn, size=2)))

    async def dead(self) -> list[tuple[bytes, str]]:
        """The dead letters with their reasons."""
        sql = "select body, reason from messages where queue = 'crawl.dead' order by message_id"
        return [(r["body"], r["reason"]) for r in await rows(self._database, sql)]

    async def empty(self) -> bool:
        """Is there no message any more, dead letters apart, whoever has them?"""
        return not await self._database.ask("select count(*) from messages where queue <> 'crawl.dead'")

    def victim(self) -> list[str]:
        """A command line: a program that consumes, prints what it gets, and settles nothing."""
        return [sys.executable, "-c", VICTIM, self._dsn]


class Consumer:
    """Somebody who consumes while the `async with` lasts."""

    def __init__(self, client: Client, prefetch: int) -> None:
        self.client = client
        self._prefetch = prefetch
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self.got = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.client.queue.consume(self._prefetch, self._deliver))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            await self._task

    async def next(self) -> Delivery:
        """The next delivery."""
        async with asyncio.timeout(15):
            return await self._arrived.get()

    async def take(self, how_many: int) -> list[bytes]:
        """So many deliveries, not settled: their bodies."""
        return [(await self.next()).body for _ in range(how_many)]

    def _deliver(self, delivery: Delivery) -> None:
        self.got += 1
        self._arrived.put_nowait(delivery)


@pytest.fixture(params=["postgres"])
async def broker(request: pytest.FixtureRequest, dsn: str) -> AsyncIterator[Broker]:
    """Each implementation in turn."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await Database.open(dsn))
        yield PostgresBroker(dsn, database, stack)


@pytest.fixture
async def client(broker: Broker) -> Client:
    """Somebody who publishes."""
    return await broker.client()


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
    depth = await client.queue.depth()
    async with Consumer(await broker.client(), 3) as two:
        again = await two.take(2)

    assert depth == 2
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

        assert Counter(bodies) == Counter([b"1", b"2", b"3", b"new 0", b"new 1", b"new 2"])
        assert (one.got, idle.got) == (6, 0)


async def test_lost_answer(broker: Broker, client: Client, dsn: str) -> None:
    """A consumer whose connection breaks while it takes messages neither loses them nor gives up."""
    async with Consumer(await broker.client(), 1) as consumer, await Database.open(dsn) as other:
        await client.queue.publish([b"first"])
        first = await consumer.next()
        async with other.transaction() as session:
            await session._connection.execute("lock table messages in exclusive mode")
            first.ack()
            await blocked(other)
            await cut(other, "delete from messages%")
        await client.queue.publish([b"second"])
        second = await consumer.next()
        second.ack()
        await until(broker.empty)

        assert consumer.got == 2
