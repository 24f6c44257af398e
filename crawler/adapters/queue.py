"""The queue on PostgreSQL alone, for one machine: the promise of `crawler.ports.Queue` in one table.

    publish ──insert, NOTIFY──► waiting ──take (SKIP LOCKED)──► with a consumer ──ack──► gone
                                   ▲                               │
                                   └── back, or its session ended ─┘   five times: crawl.dead

A consumer is a number whose advisory lock its listening session holds. The server drops the lock with the session, so a
message of a consumer without a lock is an orphan, and waits again; but only when it has none at two looks in a row, for a
session that broke is taken up again by the same consumer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.content import clean
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.ports import DEAD, TURNS, URGENT, DeadLetter, Delivery, urgent_places

CHANNEL: Final = "crawl_turns"
LOCK_CLASS: Final = 20011
"""The first key of a consumer's advisory lock, as queries.sql names it."""
LOOK_AGAIN: Final = 2.0
"""Seconds between looks when no notification comes."""
ORPHANS_EVERY: Final = 5.0
ORPHANED_FOR: Final = 1.0
"""Seconds without a lock after which a consumer is given up: a session is taken up again in a tenth of that."""
AFTER_TROUBLE: Final = 0.2
LETTERS_AT_ONCE: Final = 100
LAST_WORDS: Final = 5.0
"""Seconds for giving everything back at the end; the end of the session does it too, later."""


class PostgresQueue:
    """`crawler.ports.Queue` in the table messages."""

    def __init__(
        self, database: Database, *, orphans_every: float = ORPHANS_EVERY, orphaned_for: float = ORPHANED_FOR
    ) -> None:
        self._database = database
        self._orphans_every = orphans_every
        self._orphaned_for = orphaned_for
        self._consumers: set[_Consumer] = set()

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Insert the messages in one statement: all are safe, or it raises."""
        if bodies:
            await self._database.fetch("message_put", URGENT if urgent else TURNS, list(bodies), None)
            for consumer in self._consumers:
                consumer.wake.set()
            await self._database.notify(CHANNEL)
        return [True] * len(bodies)

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters."""
        await self._database.fetch("message_put", DEAD, list(bodies), clean(reason))

    async def depth(self) -> int:
        """Messages that wait for a consumer."""
        return int(await self._database.value("message_depth", [TURNS, URGENT]))

    async def dead_count(self) -> int:
        """How many dead letters there are."""
        return int(await self._database.value("message_depth", [DEAD]))

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, at most so many."""
        return [_letter(row) for row in await self._database.fetch("message_letters", DEAD, None, 0, most)]

    async def exhume(
        self, chosen: Collection[str] | None, work: Callable[[DeadLetter], Awaitable[None]]
    ) -> int:
        """Do *work* with each of these dead letters (None: all there are now), then remove it: how many."""
        newest = await self._database.ask(
            "select coalesce(max(message_id), 0) from messages where queue = $1", DEAD
        )
        numbers = None if chosen is None else [int(number) for number in chosen if number.isdecimal()]
        done, last = 0, 0
        while rows := await self._database.fetch("message_letters", DEAD, numbers, last, LETTERS_AT_ONCE):
            for row in rows:
                if row["message_id"] > newest:  # buried by the work itself, perhaps
                    return done
                await work(_letter(row))
                await self._database.fetch("message_drop", row["message_id"], DEAD)
                done, last = done + 1, row["message_id"]
        return done

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled; then what is still held goes back."""
        number = int(await self._database.ask("select nextval('consumers')"))
        consumer = _Consumer(
            self._database,
            number,
            prefetch,
            deliver,
            orphans_every=self._orphans_every,
            orphaned_for=self._orphaned_for,
        )
        self._consumers.add(consumer)
        try:
            await consumer.run()
        finally:
            self._consumers.discard(consumer)
            with contextlib.suppress(TimeoutError, DatabaseBusyError, DatabaseUnavailableError):
                async with asyncio.timeout(LAST_WORDS):
                    await consumer.let_go()


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(str(row["message_id"]), row["body"], row["reason"] or "", row["sent_at"])


class _Consumer:
    """Whoever takes messages, and what it has of them."""

    def __init__(
        self,
        database: Database,
        number: int,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        *,
        orphans_every: float,
        orphaned_for: float,
    ) -> None:
        self._database = database
        self._number = number
        self._prefetch = prefetch
        self._deliver = deliver
        self._orphans_every = orphans_every
        self._orphaned_for = orphaned_for
        self.wake = asyncio.Event()
        self._held: set[int] = set()
        self._acked: list[int] = []
        self._returned: list[int] = []
        self._dead: list[tuple[int, str]] = []
        self._look_at = 0.0
        self._suspects: list[int] = []

    async def run(self) -> None:
        """Listen, and hand out until cancelled."""
        locked = asyncio.Event()

        async def lock(connection: Any) -> None:
            await connection.execute("select pg_advisory_lock($1, $2)", LOCK_CLASS, self._number)
            locked.set()

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    self._database.listen([CHANNEL], lambda *_: self.wake.set(), connected=lock)
                )
                await locked.wait()
                await self._hand_out()
        except BaseExceptionGroup as group:  # what went wrong, as if there were no tasks here
            raise group.exceptions[0] from group

    async def let_go(self) -> None:
        """Settle what was decided, and give back all the rest."""
        await self._settle()
        await self._database.fetch("message_back_but", self._number, [])

    async def _hand_out(self) -> None:
        clock = asyncio.get_running_loop().time
        in_trouble = False
        while True:
            self.wake.clear()
            try:
                if in_trouble:  # the answer to a take may have been lost, and what was taken with it
                    await self._database.fetch("message_back_but", self._number, list(self._held))
                    in_trouble = False
                full = await self._round()
            except (DatabaseBusyError, DatabaseUnavailableError):
                in_trouble = True
                await asyncio.sleep(AFTER_TROUBLE)
                continue
            if not full:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(LOOK_AGAIN, self._look_at - clock()))):
                        await self.wake.wait()

    async def _round(self) -> bool:
        """Settle, look, take; True: there may be more to take."""
        await self._settle()
        await self._free_orphans()
        room, queues = self._prefetch - len(self._held), [URGENT, TURNS]
        if room <= 0:
            room, queues = room + urgent_places(self._prefetch), [URGENT]
        if room <= 0 or self._prefetch <= 0:
            return False
        rows = await self._database.fetch("message_take", self._number, room, queues)
        self._held.update(row["message_id"] for row in rows)
        for row in sorted(rows, key=lambda row: (row["queue"] != URGENT, row["message_id"])):
            self._deliver(self._delivery(row["message_id"], row["body"]))
        return len(rows) == room

    async def _free_orphans(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() < self._look_at:
            return
        rows = await self._database.fetch("message_orphans", self._suspects)
        self._suspects = [row["consumer"] for row in rows if row["consumer"] != self._number]
        self._look_at = clock() + (self._orphaned_for if self._suspects else self._orphans_every)

    def _delivery(self, message_id: int, body: bytes) -> Delivery:
        def ack() -> None:
            self._acked.append(message_id)
            self.wake.set()

        def back() -> None:
            self._returned.append(message_id)
            self.wake.set()

        def dead(reason: str) -> None:
            self._dead.append((message_id, clean(reason)))
            self.wake.set()

        return Delivery(body, ack, back, dead)

    async def _settle(self) -> None:
        """Tell the table what became of the messages held: many acks are one statement. Only then they are forgotten."""
        if acked := self._acked[:]:
            await self._database.fetch("message_ack", acked, self._number)
            self._held.difference_update(acked)
            del self._acked[: len(acked)]
        if returned := self._returned[:]:
            await self._database.fetch("message_back", self._number, returned)
            self._held.difference_update(returned)
            del self._returned[: len(returned)]
        while self._dead:
            message_id, reason = self._dead[0]
            await self._database.fetch("message_dead", message_id, self._number, reason)
            self._held.discard(message_id)
            del self._dead[0]
