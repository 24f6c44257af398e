"""The queue as the dashboard sees it: at most one of us has the dead letters in hand.

    look, retry, drop ──► in hand already? ──yes──► wait a while, or be told so
                                 └──no──► counted ──► the queue itself ──► back
    dead_count ──► in hand? ──yes──► what was counted before
                       └──no──► the queue says

1. On RabbitMQ to look at a letter is to have it: two who look would each find what the other one left, and who counts would find none.
2. Other programs (`crawl dead`, another dashboard) are not waited for.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final

from crawler.core.errors import BrokerError
from crawler.ports import DeadLetter, Delivery, Queue

PATIENCE: Final = 20.0
"""Seconds for which one waits for the letters."""


class LettersInHandError(BrokerError):
    """Somebody is just trying the dead letters again, or dropping them: ask again in a moment."""


class LetterBox:
    """A queue, and who has its dead letters in hand."""

    def __init__(self, queue: Queue, patience: float = PATIENCE) -> None:
        self._queue = queue
        self._patience = patience
        self._one = asyncio.Lock()
        self._held: int | None = None
        self.counted: int | None = None
        """How many letters there were when they were taken in hand last."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Queue]:
        """The queue itself, for who looks at the letters, retries or drops them. Raises LettersInHandError."""
        try:
            async with asyncio.timeout(self._patience):
                await self._one.acquire()
        except TimeoutError:
            raise LettersInHandError from None
        try:
            self._held = self.counted = await self._queue.dead_count()
            yield self._queue
        finally:
            self._held = None
            self._one.release()

    async def dead_count(self) -> int:
        """How many letters there are, those in hand among them."""
        if self._held is not None:
            return self._held
        count = await self._queue.dead_count()
        return count if self._held is None else self._held  # taken in hand while the queue was asked

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """The oldest, at most so many; they stay."""
        async with self.opened() as queue:
            return await queue.dead_letters(most)

    async def exhume(
        self, chosen: Collection[str] | None, work: Callable[[DeadLetter], Awaitable[None]]
    ) -> int:
        """As `crawler.ports.Queue.exhume`."""
        async with self.opened() as queue:
            return await queue.exhume(chosen, work)

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Send the messages; True for each that is safe with the queue."""
        return await self._queue.publish(bodies, urgent=urgent)

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters."""
        await self._queue.bury(bodies, reason)

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled."""
        await self._queue.consume(prefetch, deliver)

    async def depth(self) -> int:
        """How many messages wait for a consumer."""
        return await self._queue.depth()
