"""What comes from one queue of RabbitMQ: a channel of its own, on which its messages come, and on which they are settled."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.abc import DeliveredMessage

from crawler.adapters.rabbit_link import Link
from crawler.adapters.rabbit_wire import words

LARGEST: Final = 65535
"""What AMQP has room for in a prefetch count."""


@dataclass(slots=True, eq=False)
class Held:
    """A message that the broker gave us."""

    key: str
    """Its message_id, or something that is no message's."""
    message_id: str | None
    body: bytes
    feed: "Feed"
    tag: int
    decided: bool = False


class Feed:
    """One subscription, until its channel is closed or lost. Use `open`, then `start`."""

    def __init__(self, link: Link, name: str, most: int, channel: AbstractChannel, raw: RawChannel) -> None:
        self._link = link
        self._channel = channel
        # One layer below aio-pika, which would double the cost of a message (83 us instead of 38).
        self._raw = raw
        self.name = name
        self.most = most
        """Messages that the broker gives before it hears of one."""
        self.alive = True
        self.came = 0
        """Messages, so far; and as many as that at the last look."""
        self.seen = 0
        self.waiting: deque[Held] = deque()
        """What came and was not handed out yet."""
        self.unsettled: dict[int, None] = {}
        """The numbers (delivery tags) that the broker waits to hear of, in the order in which they came."""
        self.acked: set[int] = set()
        self.returned: set[int] = set()

    def __repr__(self) -> str:
        return f"<Feed {self.name}: {len(self.unsettled)} of {self.most} unsettled>"

    @classmethod
    async def open(cls, link: Link, name: str, most: int) -> Self:
        """On a new channel, that takes nothing yet."""
        channel = await link.channel()
        return cls(link, name, most, channel, await channel.get_underlay_channel())

    async def start(
        self, arrived: Callable[[Self, DeliveredMessage], None], lost: asyncio.Future[str]
    ) -> int:
        """Have *arrived* called with each message; *lost* hears why there are no more. Returns how many wait."""

        def over(why: str) -> None:
            if self.alive and not lost.done():
                lost.set_result(why)

        async def each(message: DeliveredMessage) -> None:
            if self.alive:
                arrived(self, message)

        def deleted(_: object) -> None:
            self._link.forget()
            over(f'the queue "{self.name}" was deleted')

        self._channel.close_callbacks.add(lambda _, error: over(words(error)))
        self._raw.on_consumer_cancel_callbacks.add(deleted)
        async with self._link.answer():
            there = (await self._raw.queue_declare(self.name, passive=True)).message_count
            await self._raw.basic_qos(prefetch_count=min(self.most, LARGEST))
            await self._raw.basic_consume(self.name, each)
        return there or 0

    async def tell(self) -> None:
        """Tell the broker what was decided; one word does for all that came first, if there is no gap in them."""
        if not (self.alive and (self.acked or self.returned)):
            return
        async with self._link.answer():
            upto = 0
            for tag in itertools.takewhile(self.acked.__contains__, self.unsettled):
                upto = tag
            if upto:
                await self._raw.basic_ack(upto, multiple=True, wait=False)
                self._told([tag for tag in self.acked if tag <= upto])
            for tag in sorted(self.acked):
                await self._raw.basic_ack(tag, wait=False)
                self._told([tag])
            for tag in sorted(self.returned):
                await self._raw.basic_nack(tag, requeue=True, wait=False)
                self._told([tag])

    async def close(self) -> None:
        """Take nothing any more: what was not settled goes back."""
        self.alive = False
        async with self._link.answer():
            await self._channel.close()

    def _told(self, tags: Iterable[int]) -> None:
        for tag in tags:
            self.unsettled.pop(tag, None)
            self.acked.discard(tag)
            self.returned.discard(tag)
