"""A connection to RabbitMQ that is there when it is needed, and the queues on it.

    channel() ──► connected? ──no──► dial ──► declare the three queues ──► a new channel
                       └────────────yes───────────────────────────────────────┘

1. Connecting is lazy: whoever asks for a channel connects, and connects again after a loss. One at a time does, the others wait.
2. Before anything else is done on a connection, the queues are there, with the properties that the promise of `crawler.ports`
   rests on, or it raises.
3. Nobody waits for ever: whoever does not get an answer in time hangs up, and with that ends everything on this connection.
"""

import asyncio
import contextlib
import os
import socket
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Self

from aio_pika.abc import AbstractChannel
from pamqp.common import FieldValue

from crawler.adapters.rabbit_wire import Connection, Line, Place, dial
from crawler.core.errors import BrokerError, BrokerUnavailableError

DELIVERIES: Final = 5
"""After so many a message lies with the dead letters."""
GOOD_BYE: Final = 2.0
"""Seconds for closing a connection in good order."""
WITHOUT_END: Final = 2**31 - 1
"""To look at a letter is to have it delivered; the limit that RabbitMQ 4 sets by itself is 20."""


@dataclass(frozen=True, slots=True)
class Names:
    """The queues' names, with the prefix."""

    turns: str
    urgent: str
    dead: str

    @classmethod
    def of(cls, prefix: str) -> Self:
        """Those of this prefix."""
        return cls(f"{prefix}.turns", f"{prefix}.turns.urgent", f"{prefix}.dead")

    def topology(self) -> dict[str, dict[str, FieldValue]]:
        """The arguments of each queue. All are quorum queues: a confirmed message is on the disks of a majority."""
        turns: dict[str, FieldValue] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERIES - 1,  # it counts redeliveries
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.dead,
            # A letter leaves its queue when the queue of the dead has it, and not before; that needs reject-publish.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        dead: dict[str, FieldValue] = {"x-queue-type": "quorum", "x-delivery-limit": WITHOUT_END}
        return {self.dead: dead, self.turns: turns, self.urgent: turns}


class Link:
    """One connection for one purpose."""

    def __init__(self, url: str, prefix: str, purpose: str, *, patience: float) -> None:
        self.place = Place.of(url, prefix)
        self.names = Names.of(prefix)
        self.patience = patience
        """Seconds for an answer."""
        self._url = url
        self._name = f"faircrawl {purpose}, {socket.gethostname()} {os.getpid()}"
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._line = Line()
        self._declared = False
        self._keeping = asyncio.Lock()
        self._kept: AbstractChannel | None = None

    def __repr__(self) -> str:
        return f"<Link {self._name}: {self.place}, {'up' if self.up else 'down'}>"

    @property
    def up(self) -> bool:
        """Is there a connection, as far as we know?"""
        return self._connection is not None and self._connection.connected.is_set()

    def answer(self) -> AbstractAsyncContextManager[None]:
        """For an ``async with`` around whatever asks the broker: laws of `rabbit_wire`, and law 3."""
        return self.place.answer(self.hang_up, self.patience)

    def hang_up(self) -> None:
        """Break the connection at once: everything that waits on it fails."""
        self._line.hang_up()

    def forget(self) -> None:
        """The queues may be gone: declare them again before the next channel is opened."""
        self._declared = False

    async def channel(self) -> AbstractChannel:
        """A new channel that confirms what is published on it. Raises BrokerError, BrokerUnavailableError."""
        async with self._connecting:
            if self.up:
                with contextlib.suppress(BrokerUnavailableError):  # it was lost, and we had not noticed
                    return await self._ready()
            await self.close()
            self._connection, self._line = await dial(
                self._url, self.place, self._name, seconds=self.patience
            )
            self._declared = False
            return await self._ready()

    async def kept(self) -> AbstractChannel:
        """A channel for whoever asks a question now and then, opened once."""
        async with self._keeping:
            channel = self._kept
            if channel is None or channel.is_closed or not (self.up and self._declared):
                if channel is not None and self.up:
                    async with self.answer():
                        await channel.close()
                channel = self._kept = await self.channel()
        return channel

    async def close(self) -> None:
        """Say good-bye, if there is somebody."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(BrokerError):
                async with self.place.answer(self.hang_up, GOOD_BYE):
                    await connection.close()

    async def _ready(self) -> AbstractChannel:
        if not self._declared:
            await self._declare()
            self._declared = True
        return await self._open()

    async def _open(self) -> AbstractChannel:
        async with self.answer():
            if self._connection is None:
                raise ConnectionError
            channel = self._connection.channel(on_return_raises=True)
            await channel.initialize()
        return channel

    async def _declare(self) -> None:
        channel = await self._open()
        async with self.answer():
            for name, arguments in self.names.topology().items():
                await channel.declare_queue(name, durable=True, arguments=arguments)
            await channel.close()
