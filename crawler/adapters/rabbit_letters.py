"""The dead letters on RabbitMQ: to look at one is to have it delivered, and to close the channel is to put it back.

get, get, get ... ──► work ──ack──► gone
                       └─ not chosen, or the work failed: back, in their order
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from crawler.adapters.rabbit_link import DELIVERIES, Link
from crawler.core.errors import BrokerError
from crawler.ports import DeadLetter

COMING_BACK: Final = 1.0
"""Seconds: longer only if somebody else took them at once."""
LOOK_AGAIN: Final = 0.005
WHOLE: Final = 1000
"""So many letters are taken even if fewer would do: what comes back goes behind all that came back before, so only the whole
queue keeps its order."""
REASON: Final = "reason"
"""The header in which a letter that we buried says why."""
DEATHS: Final[Mapping[str, str]] = MappingProxyType({
    "delivery_limit": f"delivered {DELIVERIES} times, and its consumer died each time",
    "rejected": "rejected by its consumer",
    "expired": "waited longer than the broker lets it",
    "maxlen": "the queue was full",
})  # fmt: skip
"""What RabbitMQ calls the ways of dying."""


class Letters:
    """The queue of the dead."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def look(self, most: int) -> list[DeadLetter]:
        """The oldest, at most so many; they stay."""
        found: list[DeadLetter] = []
        async with contextlib.aclosing(self._each()) as letters:
            async for seen, letter, _ in letters:
                if len(found) < most:
                    found.append(letter)
                if len(found) >= most and seen >= WHOLE:
                    break
        return found

    async def exhume(
        self, chosen: Collection[str] | None, work: Callable[[DeadLetter], Awaitable[None]]
    ) -> int:
        """As `crawler.ports.Queue.exhume`. When the connection is lost after *work*, that letter is still there."""
        wanted = None if chosen is None else set(chosen)
        found, done = set[str](), 0
        async with contextlib.aclosing(self._each()) as letters:
            async for seen, letter, remove in letters:
                if wanted is None or letter.letter_id in wanted:
                    await work(letter)
                    await remove()
                    found.add(letter.letter_id)
                    done += 1
                if found == wanted and seen >= WHOLE:
                    break
        return done

    async def _each(self) -> AsyncGenerator[tuple[int, DeadLetter, Callable[[], Awaitable[None]]], None]:
        """What there is now: the how manieth it is, the letter, and how to remove it. All others go back at the end."""
        channel = await self._link.channel()
        held = 0
        try:
            async with self._link.answer():
                queue = await channel.get_queue(self._link.names.dead)
            for seen in range(1, 1 + (queue.declaration_result.message_count or 0)):
                async with self._link.answer():
                    message = await queue.get(fail=False, timeout=None)
                if message is None:
                    break
                held += 1

                async def remove(message: AbstractIncomingMessage = message) -> None:
                    nonlocal held
                    async with self._link.answer():
                        await message.ack()
                    held -= 1

                yield seen, _letter(message), remove
        finally:
            with contextlib.suppress(BrokerError):
                await self._give_back(channel, held)

    async def _give_back(self, channel: AbstractChannel, held: int) -> None:
        """Close the channel, and wait until the letters are back.

        They come back some time after the closing was confirmed, and whoever asks next should find them.
        """
        if held:
            whole = held + await self._ready(channel)
        async with self._link.answer():
            await channel.close()
        if held:
            channel = await self._link.kept()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMING_BACK):
                    while await self._ready(channel) < whole:  # noqa: ASYNC110 - the broker tells nobody
                        await asyncio.sleep(LOOK_AGAIN)

    async def _ready(self, channel: AbstractChannel) -> int:
        async with self._link.answer():
            queue = await channel.get_queue(self._link.names.dead)
        return queue.declaration_result.message_count or 0


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    # What was not published by us may have no number.
    number = message.message_id or blake2b(message.body, digest_size=8).hexdigest()
    death = _last_death(message)
    reason = message.headers.get(REASON)
    if not isinstance(reason, str):
        kind = str(death.get("reason", ""))
        reason = DEATHS.get(kind, kind)
    died_at = death.get("time")
    at = died_at if isinstance(died_at, datetime) else message.timestamp
    return DeadLetter(number, message.body, reason, at)


def _last_death(message: AbstractIncomingMessage) -> Mapping[str, object]:
    deaths = message.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, dict) else {}
