"""Whose turn it is to answer: servers in rotation, those that failed left alone for a while, then tried again.

    healthy ──failed──► resting 2 s, 4 s ... 60 s ──its rest is over──► on trial: one question goes there first
       ▲                    ▲                                               │
       └────────────────────┼────────────────────answered───────────────────┤
                            └────────────────────anything else──────────────┘

1. Every order names every server once: a resting one is asked last, never left out.
2. Those that are healthy are first equally often.
3. A server rests only when another answered what it could not, and it answered nothing else meanwhile:
   a name that cannot be resolved is no server's fault, nor is one that some servers cannot resolve.
4. Of the questions that come while a server is on trial, one goes there.
"""

from dataclasses import dataclass
from typing import Final

LONGEST_REST: Final = 60.0
"""Seconds."""
_DOUBLINGS: Final = 6


@dataclass(slots=True)
class _Health:
    failures: int = 0
    """Rests in a row."""
    rests_until: float = 0.0
    answered: float = float("-inf")

    def rest(self, now: float) -> None:
        self.failures = min(self.failures + 1, _DOUBLINGS)
        self.rests_until = now + min(2.0**self.failures, LONGEST_REST)


class Rotation:
    """The order in which to ask so many servers, which are numbers here. Times are seconds of a monotonic clock."""

    def __init__(self, count: int) -> None:
        self._health = [_Health() for _ in range(count)]
        self._turn = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._health)}, failures {[one.failures for one in self._health]}>"

    def order(self, now: float) -> list[int]:
        """Every server once, the best to ask first."""
        healthy: list[int] = []
        trial: list[int] = []
        resting: list[int] = []
        for number, one in enumerate(self._health):
            group = healthy if not one.failures else trial if one.rests_until <= now else resting
            group.append(number)
        resting.sort(key=lambda number: self._health[number].rests_until)
        if trial:
            # Unless it answers, it goes on resting: so nobody else has to wait for it meanwhile.
            first, *rest = trial
            self._health[first].rest(now)
            return [first, *self._ring(healthy), *rest, *resting]
        self._turn += 1
        return [*self._ring(healthy), *resting]

    def knew(self, number: int, now: float) -> None:
        """A server answered."""
        one = self._health[number]
        one.failures, one.rests_until, one.answered = 0, 0.0, now

    def failed(self, number: int, asked: float, now: float) -> None:
        """A server was asked, and another one answered that now."""
        one = self._health[number]
        if one.answered < asked and one.rests_until <= now:
            one.rest(now)

    def _ring(self, healthy: list[int]) -> list[int]:
        place = self._turn % len(healthy) if healthy else 0
        return healthy[place:] + healthy[:place]
