"""The queue on RabbitMQ, for any number of machines: the promise of `crawler.ports.Queue`.

    publish ──confirmed──► crawl.turns          ──► a consumer, with as many as its prefetch ──ack──► gone
            ──confirmed──► crawl.turns.urgent   ──► the same, before all others
                                │ delivered five times
    bury ──────────────────► crawl.dead

1. A message counts as published when the broker has confirmed it: then it is on the disks of a majority of the queue's replicas.
2. What was not confirmed may be there all the same. Who publishes it again makes two of it, which the turn's number tells apart.
3. Publishing has a connection of its own, because a broker that is short of memory stops reading from whoever publishes.
   Consumers, and questions, have another.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from aiormq.exceptions import ChannelAccessRefused, PublishError
from pamqp.commands import Basic

from crawler.adapters.rabbit_consumer import LOOK_AGAIN, Consumer
from crawler.adapters.rabbit_letters import REASON, Letters
from crawler.adapters.rabbit_link import Link
from crawler.adapters.rabbit_wire import AFTER_HANGING_UP, foreign
from crawler.core.content import clean
from crawler.core.errors import BrokerUnavailableError
from crawler.ports import DeadLetter, Delivery

PATIENCE: Final = 10.0
"""Seconds for an answer."""
GROUP: Final = 500
"""Messages whose confirms are awaited together."""
LONGEST_REASON: Final = 10_000
"""Characters: the headers of a message have to fit into one frame."""
ON_DISK: Final = 2
"""The delivery mode of a message that survives a restart."""


class RabbitQueue:
    """`crawler.ports.Queue` on RabbitMQ; connected to when it is first needed, and again after every loss.

    ``async with RabbitQueue("amqp://crawl:secret@localhost/crawl") as queue: ...``
    """

    def __init__(
        self, url: str, *, prefix: str = "crawl", patience: float = PATIENCE, look_again: float = LOOK_AGAIN
    ) -> None:
        self._publishing = Link(url, prefix, "publishing", patience=patience)
        self._asking = Link(url, prefix, "consuming", patience=patience)
        self._names = self._asking.names
        self._letters = Letters(self._asking)
        self._look_again = look_again
        self._mark = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<RabbitQueue {self._names.turns} on {self._asking.place}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._publishing.close()
        await self._asking.close()

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Send the messages; True for each that the broker confirmed.

        Raises:
            BrokerUnavailableError: there is no connection, and none can be made: nothing was sent.
            BrokerError: the broker does not let us.
        """
        name = self._names.urgent if urgent else self._names.turns
        confirmed: list[bool] = []
        for start in range(0, len(bodies), GROUP):
            if confirmed and not self._publishing.up:
                break  # what was sent has to be told, and nobody should wait once more for a broker that is gone
            group = bodies[start : start + GROUP]
            confirmed += await self._send(name, [(body, self._properties()) for body in group])
        return confirmed + [False] * (len(bodies) - len(confirmed))

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters: all are there, or it raises BrokerUnavailableError."""
        letters = [(body, self._properties(reason=reason)) for body in bodies]
        for start in range(0, len(letters), GROUP):
            if not all(await self._send(self._names.dead, letters[start : start + GROUP])):
                raise BrokerUnavailableError(
                    f"{self._publishing.place} did not confirm a dead letter in time"
                )

    async def depth(self) -> int:
        """Messages that wait for a consumer."""
        return await self._waiting(self._names.turns, self._names.urgent)

    async def dead_count(self) -> int:
        """How many dead letters there are, but for those that somebody is just looking at."""
        return await self._waiting(self._names.dead)

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, at most so many; they stay."""
        return await self._letters.look(most)

    async def exhume(
        self, chosen: Collection[str] | None, work: Callable[[DeadLetter], Awaitable[None]]
    ) -> int:
        """Do *work* with each of these dead letters (None: all there are now), then remove it: how many."""
        return await self._letters.exhume(chosen, work)

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled; then what is still held goes back."""

        async def bury(body: bytes, message_id: str | None, reason: str) -> None:
            letter = (body, self._properties(message_id, reason=reason))
            if not all(await self._send(self._names.dead, [letter])):
                raise BrokerUnavailableError(
                    f"{self._publishing.place} did not confirm a dead letter in time"
                )

        await Consumer(self._asking, prefetch, deliver, bury, look_again=self._look_again).run()

    def _properties(self, message_id: str | None = None, *, reason: str | None = None) -> Basic.Properties:
        number = message_id or f"{self._mark}-{next(self._numbers):x}"
        if reason is None:
            return Basic.Properties(delivery_mode=ON_DISK, message_id=number)
        return Basic.Properties(
            delivery_mode=ON_DISK,
            message_id=number,
            headers={REASON: clean(reason)[:LONGEST_REASON]},
            timestamp=datetime.now(UTC),
        )

    async def _send(self, name: str, messages: Sequence[tuple[bytes, Basic.Properties]]) -> list[bool]:
        """Send them all, then wait for all the confirms."""
        link = self._publishing
        # One layer below aio-pika, which would double the cost of a message (72 us instead of 44).
        channel = await (await link.kept()).get_underlay_channel()
        tasks = [
            asyncio.create_task(
                channel.basic_publish(  # type: ignore[call-arg] # its channels can do without waiting for the socket
                    body, routing_key=name, mandatory=True, properties=properties, wait=False
                )
            )
            for body, properties in messages
        ]
        try:
            _, late = await asyncio.wait(tasks, timeout=link.patience)
            if late:
                link.hang_up()
                await asyncio.wait(late, timeout=AFTER_HANGING_UP)
        finally:
            for task in tasks:
                task.cancel()
        return [self._safe(task) for task in tasks]

    def _safe(self, task: asyncio.Task[object]) -> bool:
        """Was it confirmed? Raises BrokerError: we may not publish."""
        if not task.done() or task.cancelled():
            return False
        match task.exception():
            case None:
                return isinstance(task.result(), Basic.Ack)
            case ChannelAccessRefused() as refused:
                raise self._publishing.place.told(refused) from refused
            case PublishError():
                self._publishing.forget()  # no such queue any more
            case error if not foreign(error):
                raise error
        return False

    async def _waiting(self, *names: str) -> int:
        """How many messages wait in these queues."""
        link = self._asking
        was_up = link.up
        try:
            return await self._count(names)
        except BrokerUnavailableError:
            if not was_up:
                raise
        link.forget()  # the connection had been lost without our knowing, or a queue was deleted
        return await self._count(names)

    async def _count(self, names: Sequence[str]) -> int:
        channel = await (await self._asking.kept()).get_underlay_channel()
        async with self._asking.answer():
            return sum(
                [(await channel.queue_declare(name, passive=True)).message_count or 0 for name in names]
            )
