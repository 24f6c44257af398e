"""Whatever keeps the promise of `crawler.ports.Queue`, as the contract's tests see it; and somebody who consumes."""

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Final, Protocol, Self

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.adapters.rabbit import RabbitQueue
from crawler.ports import Delivery, Queue
from tests.broker import Gate
from tests.making import rows

POSTGRES_VICTIM: Final = """
import asyncio, sys
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue

async def main():
    async with await Database.open(sys.argv[1], size=2) as database:
        await PostgresQueue(database).consume(10, lambda delivery: print(delivery.body.decode(), flush=True))

asyncio.run(main())
"""
RABBIT_VICTIM: Final = """
import asyncio, sys
from crawler.adapters.rabbit import RabbitQueue

async def main():
    async with RabbitQueue(sys.argv[1], prefix=sys.argv[2]) as queue:
        await queue.consume(10, lambda delivery: print(delivery.body.decode(), flush=True))

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
        self._queue = PostgresQueue(database, orphans_every=0.2, orphaned_for=1.0)
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
        return [sys.executable, "-c", POSTGRES_VICTIM, self._dsn]


class RabbitClient:
    """A queue with its own way to the broker."""

    def __init__(self, queue: RabbitQueue, gate: Gate) -> None:
        self.queue: Queue = queue
        self._gate = gate

    async def die(self) -> None:
        """Reset its connections, and let it make no other."""
        await self._gate.shut()

    async def cut(self) -> None:
        """Reset its connections."""
        await self._gate.cut()


class RabbitBroker:
    """Three queues of a RabbitMQ."""

    def __init__(self, url: str, prefix: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._prefix = prefix
        self._stack = stack

    async def client(self) -> Client:
        """Connect once more."""
        gate = await self._stack.enter_async_context(Gate(self._url))
        queue = RabbitQueue(gate.url, prefix=self._prefix, patience=5)
        return RabbitClient(await self._stack.enter_async_context(queue), gate)

    async def dead(self) -> list[tuple[bytes, str]]:
        """The dead letters with their reasons."""
        async with RabbitQueue(self._url, prefix=self._prefix) as queue:
            return [(letter.body, letter.reason) for letter in await queue.dead_letters(100)]

    async def empty(self) -> bool:
        """Is there no message any more? What somebody has is told by nobody: ask when everybody has gone."""
        async with RabbitQueue(self._url, prefix=self._prefix) as queue:
            return await queue.depth() == 0

    def victim(self) -> list[str]:
        """A command line: a program that consumes, prints what it gets, and settles nothing."""
        return [sys.executable, "-c", RABBIT_VICTIM, self._url, self._prefix]


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
