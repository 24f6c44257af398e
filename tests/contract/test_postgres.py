"""What only the queue on PostgreSQL has to keep: its table can be locked, and an answer can be lost."""

from contextlib import AsyncExitStack

from crawler.adapters.postgres import Database
from tests.contract.carriers import Consumer, PostgresBroker
from tests.making import blocked, cut, until


async def test_lost_answer(dsn: str) -> None:
    """A consumer whose connection breaks while it takes messages neither loses them nor gives up."""
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(await Database.open(dsn))
        broker = PostgresBroker(dsn, other, stack)
        client = await broker.client()
        consumer = await stack.enter_async_context(Consumer(await broker.client(), 1))
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
