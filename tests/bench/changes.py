"""Pages that change, at rates that were measured and in ways that were not: what the freshness bench visits."""

import math
import random
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from crawler.core.revisit import DAY

Trace: TypeAlias = Sequence[float]
"""When a page changes, in seconds from its first visit, in order."""
Drawn: TypeAlias = tuple[tuple[float, float, float], ...]
"""Shares of pages, and between how many days their changes lie on average, drawn log-uniformly."""

CHO: Final[Drawn] = ((0.23, 1 / 24, 1), (0.15, 1, 7), (0.16, 7, 30), (0.16, 30, 120), (0.30, 120, 3650))
"""About as Cho and Garcia-Molina measured it ("The evolution of the web", 2000): 40 % of pages within a week.

Where a bucket is open, its other end is ours: an hour, ten years.
"""
STILL: Final[Drawn] = ((0.5, math.inf, math.inf), (0.5, 1, 365))
"""Of pages that stay, half do not change in a year (Ntoulas, Cho and Olston, "What's new on the web?", 2004).

How the other half is spread is ours.
"""


def periods(drawn: Drawn, count: int, rng: random.Random) -> list[float]:
    """How far changes lie apart on average, in seconds, for so many pages."""
    found = []
    for _ in range(count):
        [(_, low, high)] = rng.choices(drawn, [share for share, *_ in drawn])
        found.append(
            DAY * (math.exp(rng.uniform(math.log(low), math.log(high))) if high < math.inf else high)
        )
    return found


def poisson(period: float, horizon: float, rng: random.Random) -> Trace:
    """Changes at random."""
    trace, now = array("d"), 0.0
    while (now := now + rng.expovariate(1) * period) < horizon:
        trace.append(now)
    return trace


def periodic(period: float, horizon: float, rng: random.Random) -> Trace:
    """Changes by the clock."""
    first = rng.random() * min(period, 10 * horizon)
    return array("d", (first + period * n for n in range(max(0, math.ceil((horizon - first) / period)))))


def bursty(period: float, horizon: float, rng: random.Random) -> Trace:
    """Ten times as fast for some three days, then silence for some 27: as often on average."""
    trace, now = array("d"), rng.expovariate(1) * 27 * DAY * rng.randrange(2)
    while now < horizon:
        ends = now + rng.expovariate(1) * 3 * DAY
        while (now := now + rng.expovariate(1) * period / 10) < min(ends, horizon):
            trace.append(now)
        now = ends + rng.expovariate(1) * 27 * DAY
    return trace


WORLDS: Final[Mapping[str, tuple[Drawn, Callable[[float, float, random.Random], Trace]]]] = {
    "as Cho, at random": (CHO, poisson),
    "half still, at random": (STILL, poisson),
    "as Cho, by the clock": (CHO, periodic),
    "as Cho, in bursts": (CHO, bursty),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a policy came to."""

    fetches: int
    fresh: float
    """Share of time."""
    age: float
    """Days."""


@dataclass(slots=True)
class Tally:
    """Sums over pages, in seconds."""

    fresh: float = 0.0
    age: float = 0.0

    def count(self, trace: Trace, place: int, now: float, ends: float) -> int:
        """Count the time between two visits; returns the place of the first change after them."""
        if place < len(trace) and trace[place] <= ends:
            first = trace[place]
            self.fresh += first - now
            self.age += (ends - first) ** 2 / 2
            return bisect_right(trace, ends, place)
        self.fresh += ends - now
        return place

    def figures(self, fetches: int, time: float) -> Figures:
        """What it comes to over so many seconds of pages."""
        return Figures(fetches, self.fresh / time, self.age / time / DAY)
