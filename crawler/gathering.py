"""Many callers, one round trip: what is asked for while an answer is under way goes together next.

    ask(a) ──► flush([a]) ───────────────► a's answer
    ask(b) ──► waits ──┐
    ask(c) ──► waits ──┴──► flush([b, c]) ──► b's and c's answers

1. Nobody waits who need not: alone, a question is asked at once.
2. A question that cannot be answered, or whose asker is cancelled, costs the others nothing but time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from crawler.core.errors import FaircrawlError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gathering(Generic[Item, Result]):
    """Answers questions in groups.

    Args:
        flush: answers several at once, in their order.
    """

    def __init__(self, flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._flush = flush
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._under_way = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._waiting)} waiting>"

    async def ask(self, item: Item) -> Result:
        """The answer to one question. Raises what `flush` raises for it alone."""
        told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        mine = item, told
        self._waiting.append(mine)
        try:
            async with self._under_way:
                if not told.done():
                    await self._answer(mine)
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        return told.result()

    async def _answer(self, mine: tuple[Item, asyncio.Future[Result]]) -> None:
        """Answer all that wait; whoever it fails for asks again, alone: the fault may be another's."""
        asked = list(self._waiting)
        if len(asked) > 1:
            try:
                self._tell(asked, await self._flush([item for item, _ in asked]))
            except FaircrawlError:  # it comes again, to the one whose fault it is
                asked = [mine]
            else:
                return
        self._tell([mine], await self._flush([mine[0]]))

    def _tell(self, asked: Sequence[tuple[Item, asyncio.Future[Result]]], answers: Sequence[Result]) -> None:
        for (_, told), answer in zip(asked, answers, strict=True):
            if not told.done():
                told.set_result(answer)
        self._waiting = [one for one in self._waiting if not one[1].done()]
