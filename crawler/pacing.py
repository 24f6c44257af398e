"""One slot of a turn: a request at a time, and a whole pause after each answer."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeAlias

from crawler.core.model import Outcome

NOTICE: Final = 0.05
"""Seconds for which a site may go on with an answer that we have cut off: it hears of that a moment later."""
CUT_OFF: Final = frozenset({Outcome.TOO_LARGE, Outcome.TOO_SLOW, Outcome.TYPE_REFUSED, Outcome.TIMEOUT})


Doing: TypeAlias = Literal["asking", "resting", "writing", "working"]


class Slot:
    """Waits out the pause after its own last answer.

    All times are of `time.monotonic`, in seconds: the event loop's own clock stands still while it works.
    *last* is when the domain may have been asked last, None if long ago.
    The pause is asked for anew each time: the answer may have been the robots.txt that makes it longer.
    """

    def __init__(
        self, number: int, last: float | None, *, delay: Callable[[], float], stopped: asyncio.Event
    ) -> None:
        self.number = number
        self.asking = False
        """A request is open."""
        self.resting = False
        """A pause is being waited out."""
        self._last = last
        self._delay = delay
        self._stopped = stopped

    @property
    def ready_at(self) -> float:
        """When the next request may begin."""
        return 0.0 if self._last is None else self._last + self._delay()

    async def rest(self, until: float) -> bool:
        """Wait until the pause is over; False at once if that is after *until*, or as soon as the turn is to stop."""
        if self.ready_at > until:
            return False
        self.resting = True
        try:
            while not self._stopped.is_set() and (left := self.ready_at - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._stopped.wait()
        finally:
            self.resting = False
        return not self._stopped.is_set()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Make a request inside: the pause begins when it ends, however it ends."""
        self.asking = True
        try:
            yield
        finally:
            self.asking = False
            self._last = time.monotonic()

    def ended(self, outcome: Outcome) -> None:
        """How the last request ended: the pause begins when the site is done with it too."""
        if outcome in CUT_OFF and self._last is not None:
            self._last += NOTICE


def doing(slots: Sequence[Slot]) -> Doing:
    """What a turn is at that has these: one request is enough to ask, and none at work to rest."""
    if any(slot.asking for slot in slots):
        return "asking"
    return "resting" if all(slot.resting for slot in slots) else "working"
