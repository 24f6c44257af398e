"""One slot of a turn: a request at a time, and a whole pause after each answer."""

import asyncio
import contextlib
import time
from collections.abc import Callable


class Slot:
    """Waits out the pause after its own last answer.

    All times are of `time.monotonic`, in seconds: the event loop's own clock stands still while it works.
    The pause is asked for anew each time: the answer may have been the robots.txt that makes it longer.
    """

    def __init__(
        self, number: int, start_at: float, *, delay: Callable[[], float], stopped: asyncio.Event
    ) -> None:
        self.number = number
        self._start_at = start_at
        self._last: float | None = None
        self._delay = delay
        self._stopped = stopped

    @property
    def ready_at(self) -> float:
        """When the next request may begin."""
        return self._start_at if self._last is None else max(self._start_at, self._last + self._delay())

    async def rest(self, until: float) -> bool:
        """Wait until the pause is over; False at once if that is after *until*, or as soon as the turn is to stop."""
        if self.ready_at > until:
            return False
        while not self._stopped.is_set() and (left := self.ready_at - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stopped.wait()
        return not self._stopped.is_set()

    def answered(self, ended: float) -> None:
        """The last request ended then."""
        self._last = ended
