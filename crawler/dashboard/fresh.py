"""What was found out a moment ago, for everybody who looks: ten viewers ask the database as often as one does.

    get(key) ──younger than its age──► as it is
        └──older──► one asks, the others wait for that one ──► what it found, or what went wrong, is theirs too

1. Of one key at most one question is under way. Who began before it had its answer asks no second one, also when it failed.
2. Who asks and is cut off leaves nothing behind: the next one who waits asks.
3. At most `MOST` answers are kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from crawler.core.errors import FaircrawlError

MOST: Final = 64

T = TypeVar("T")


@dataclass(slots=True)
class _Answer:
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    """When it was asked."""
    value: Any = None
    failed: tuple[float, FaircrawlError] | None = None


class Fresh:
    """Answers by key, each good for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, _Answer] = {}

    async def get(self, key: Hashable, age: float, ask: Callable[[], Awaitable[T]]) -> T:
        """What *ask* says, or said less than *age* seconds ago. Raises what it raises."""
        came = self._clock()
        answer = self._answers.get(key)
        if answer is None:
            self._make_room()
            answer = self._answers[key] = _Answer()
        async with answer.asking:
            if answer.at > came - age:
                known: T = answer.value
                return known
            if answer.failed is not None and answer.failed[0] >= came:
                raise answer.failed[1]
            began = self._clock()
            try:
                value = await ask()
            except FaircrawlError as error:
                answer.failed = self._clock(), error
                raise
            answer.at, answer.value, answer.failed = began, value, None
            return value

    def drop(self, key: Hashable) -> None:
        """Forget what was said, also by who is being asked now: something has changed."""
        self._answers.pop(key, None)

    def _make_room(self) -> None:
        if len(self._answers) >= MOST:
            idle = [key for key, one in self._answers.items() if not one.asking.locked()]
            for key in sorted(idle, key=lambda key: self._answers[key].at)[: len(self._answers) - MOST + 1]:
                del self._answers[key]
