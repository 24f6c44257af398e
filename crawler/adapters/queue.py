"""The queue on PostgreSQL alone, for one machine: the promise of `crawler.ports.Queue` in one table.

    publish ──insert, NOTIFY──► waiting ──take (SKIP LOCKED)──► with a consumer ──ack──► gone
                                   ▲                               │
                                   └── back, or its session ended ─┘   five times: crawl.dead

A consumer is a number whose advisory lock its listening session holds. The server drops the lock with the session, so a
message of a consumer without a lock is an orphan, and waits again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseBusyError
from crawler.ports import DEAD, TURNS, URGENT, Delivery

CHANNEL: Final = "crawl_turns"
LOCK_CLASS: Final = 20011
"""The first key of a consumer's advisory lock, as queries.sql names it."""
LOOK_AGAIN: Final = 2.0
"""Seconds between looks when no notification comes."""
ORPHANS_EVERY: Final = 5.0


class PostgresQueue:
    """`crawler.ports.Queue` in the table messages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake = asyncio.Event()
        self._held: set[int] = set()
        self._acked: list[int] = []
        self._returned: list[int] = []
        self._dead: list[tuple[int, str]] = []

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Insert the messages in one statement: all are safe, or it raises."""
        if bodies:
            await self._database.fetch("message_put", URGENT if urgent else TURNS, list(bodies), None)
            self._wake.set()
            await self._database.notify(CHANNEL)
        return [True] * len(bodies)

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters."""
        await self._database.fetch("message_put", DEAD, list(bodies), reason)

    async def depth(self) -> int:
        """Messages that wait for a consumer."""
        return int(await self._database.value("message_depth", [TURNS, URGENT]))

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled; then what is still held goes back."""
        consumer = int(await self._database.ask("select nextval('consumers')"))
        locked = asyncio.Event()

        async def lock(connection: Any) -> None:
            await connection.execute("select pg_advisory_lock($1, $2)", LOCK_CLASS, consumer)
            locked.set()

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    self._database.listen([CHANNEL], lambda *_: self._wake.set(), connected=lock)
                )
                await locked.wait()
                await self._hand_out(consumer, prefetch, deliver)
        finally:
            self._returned.extend(self._held.difference(self._acked, (message for message, _ in self._dead)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.shield(self._settle(consumer))

    async def _hand_out(self, consumer: int, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        clock = asyncio.get_running_loop().time
        looked_for_orphans = 0.0
        while True:
            self._wake.clear()
            await self._settle(consumer)
            if clock() - looked_for_orphans > ORPHANS_EVERY:
                await self._database.fetch("message_orphans")
                looked_for_orphans = clock()
            room = prefetch - len(self._held)
            rows = await self._take(consumer, room) if room > 0 else []
            for message_id, body in rows:
                self._held.add(message_id)
                deliver(self._delivery(message_id, body))
            if len(rows) < room or room <= 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await self._wake.wait()

    async def _take(self, consumer: int, most: int) -> list[tuple[int, bytes]]:
        rows = await self._database.fetch("message_take", consumer, most, [URGENT, TURNS])
        return sorted(((row["message_id"], row["body"]) for row in rows), key=lambda row: row[0])

    def _delivery(self, message_id: int, body: bytes) -> Delivery:
        def ack() -> None:
            self._acked.append(message_id)
            self._wake.set()

        def back() -> None:
            self._returned.append(message_id)
            self._wake.set()

        def dead(reason: str) -> None:
            self._dead.append((message_id, reason))
            self._wake.set()

        return Delivery(body, ack, back, dead)

    async def _settle(self, consumer: int) -> None:
        """Tell the table what became of the messages held: many acks are one statement."""
        acked, self._acked = self._acked, []
        returned, self._returned = self._returned, []
        dead, self._dead = self._dead, []
        try:
            if acked:
                await self._database.fetch("message_ack", acked, consumer)
                self._held.difference_update(acked)
            if returned:
                await self._database.fetch("message_back", consumer, returned)
                self._held.difference_update(returned)
            for message_id, reason in dead:
                await self._database.fetch("message_dead", message_id, consumer, reason)
                self._held.discard(message_id)
        except DatabaseBusyError:
            self._acked += acked
            self._returned += returned
            self._dead += dead
            self._wake.set()
