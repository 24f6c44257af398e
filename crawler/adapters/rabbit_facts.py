"""What a RabbitMQ is like, for who checks it: its version, what we may do there, and our queues.

    dial ──► a queue of our own: make it, write to it, read it ──► look at the three queues ──► gone

Each attempt has a channel of its own, because a refusal closes the channel.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, PublishError
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import FieldValue

from crawler.adapters.rabbit_link import Names
from crawler.adapters.rabbit_wire import Connection, Place, dial, words
from crawler.core.errors import BrokerError

ANSWER: Final = 10.0
"""Seconds for an answer."""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What one visit to a broker showed."""

    product: str
    version: str
    may_configure: bool
    may_write: bool
    may_read: bool
    queues: Mapping[str, tuple[int, int] | None]
    """Messages that wait and consumers, by the queue's full name; None: there is no such queue yet."""
    refusals: tuple[str, ...]
    """What the broker would not have, in its own words; also that a queue of ours has other properties."""


async def inspect(url: str, prefix: str) -> BrokerFacts:
    """Connect once, try what the program will do, and leave nothing behind.

    Raises BrokerUnavailableError (it cannot be reached) and BrokerError (it does not let us in).
    """
    place = Place.of(url, prefix)
    connection, line = await dial(url, place, "faircrawl checking")
    visit = _Visit(
        connection, partial(place.answer, line.hang_up, ANSWER), f"{prefix}.check.{secrets.token_hex(6)}"
    )
    try:
        async with visit.answer():
            properties = connection.transport.connection.server_properties if connection.transport else {}
        # In this order: what was made is written to, what was written is read.
        may_configure = await visit.attempt(visit.make)
        may_write = await visit.attempt(visit.write)
        may_read = await visit.attempt(visit.read)
        queues = {}
        for name, arguments in Names.of(prefix).topology().items():
            there = queues[name] = await visit.look(name)
            if there is not None and may_configure:
                await visit.attempt(partial(_declare_again, name, arguments))
    finally:
        with contextlib.suppress(BrokerError):
            async with visit.answer():
                await connection.close()
    return BrokerFacts(
        product=str(properties.get("product", "?")),
        version=str(properties.get("version", "?")),
        may_configure=may_configure,
        may_write=may_write,
        may_read=may_read,
        queues=queues,
        refusals=tuple(visit.refusals),
    )


@dataclass(frozen=True, slots=True)
class _Visit:
    connection: Connection
    answer: Callable[[], AbstractAsyncContextManager[None]]
    name: str
    """Of the queue to try things on; it vanishes with the connection."""
    refusals: list[str] = field(default_factory=list)

    async def attempt(self, work: Callable[[AbstractChannel], Awaitable[object]]) -> bool:
        """May we? Why not is noted."""
        async with self.answer(), self._channel() as channel:
            try:
                await work(channel)
            except (ChannelAccessRefused, ChannelPreconditionFailed) as error:
                self.refusals.append(words(error))
                return False
        return True

    async def make(self, channel: AbstractChannel) -> None:
        """Permission to configure."""
        await channel.declare_queue(self.name, exclusive=True, auto_delete=True)

    async def write(self, channel: AbstractChannel) -> None:
        """Permission to write: it is asked for before it is seen that there may be no such queue."""
        with contextlib.suppress(PublishError):
            await channel.default_exchange.publish(Message(b"check"), self.name)

    async def read(self, channel: AbstractChannel) -> None:
        """Permission to read: as to write."""
        with contextlib.suppress(ChannelNotFoundEntity):
            await (await channel.get_queue(self.name, ensure=False)).get(no_ack=True, fail=False)

    async def look(self, name: str) -> tuple[int, int] | None:
        """What there is in a queue of ours, and how many consume it."""
        async with self.answer(), self._channel() as channel:
            try:
                found = (await channel.get_queue(name)).declaration_result
            except (ChannelAccessRefused, ChannelNotFoundEntity) as error:
                why = words(error)
                if "no queue" not in why:  # it is there, but we may not look, or it has lost its majority
                    self.refusals.append(why)
                return None
        return found.message_count or 0, found.consumer_count or 0

    @contextlib.asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        channel = self.connection.channel(on_return_raises=True)
        await channel.initialize()
        try:
            yield channel
        finally:
            if not channel.is_closed:
                await channel.close()


async def _declare_again(name: str, arguments: dict[str, FieldValue], channel: AbstractChannel) -> None:
    """Has a queue that is there the properties that it should have?"""
    await channel.declare_queue(name, durable=True, arguments=arguments)
