"""What a piece of work costs, in seconds of a core of one kind of machine: a second is worth more on one than on another.

The same fixed work is done before and after, and what it takes says how much slower this machine is now. Garbage is not
collected meanwhile: that would cost what all tests before have left, not what the work does.
"""

import gc
import time
from types import TracebackType
from typing import Final, Self

USUAL: Final = 0.006
"""Seconds of a core that the fixed work takes where the tests' limits were written."""
ROUNDS: Final = 20_000


class Effort:
    """``with Effort() as effort: work()``, then ``effort.spent``: seconds of a core, of this thread alone."""

    def __enter__(self) -> Self:
        self._collected = gc.isenabled()
        gc.disable()
        self._slow = _yardstick()
        self._began = time.thread_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = time.thread_time() - self._began
        slow = max(self._slow, _yardstick(), USUAL)
        if self._collected:
            gc.enable()
        self.spent = took * USUAL / slow


def _yardstick() -> float:
    began = time.thread_time()
    words = {}
    for number in range(ROUNDS):
        word = f"/{number}"
        words[word] = word.partition("/")
    return time.thread_time() - began
