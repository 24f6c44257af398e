"""Whether this process has a core to itself and uses it up: then work that can be done elsewhere should be."""

import time
from collections.abc import Callable
from typing import Final

LOOK: Final = 0.25
"""Seconds between two looks."""
FULL: Final = 0.85
"""Of a core: from here on whatever arrives waits for what is being done."""
AT_EASE: Final = 0.5
"""Of a core: who had too much to do has little enough only from here down. It is less busy because others help."""


class Saturation:
    """How much of the time since the last look the process has spent computing.

    Args:
        clock: seconds of the wall.
        used: seconds of processor time, of all threads of this process.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._used = used
        self._at, self._spent = clock(), used()
        self._is_full = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'full' if self._is_full else 'at ease'}>"

    @property
    def is_full(self) -> bool:
        """Whether the process was busy nearly all the time, a moment ago. Costs next to nothing to ask."""
        now = self._clock()
        if now - self._at >= LOOK:
            spent = self._used()
            enough = AT_EASE if self._is_full else FULL
            self._is_full = spent - self._spent >= enough * (now - self._at)
            self._at, self._spent = now, spent
        return self._is_full
