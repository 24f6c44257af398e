"""How fresh pages are kept: `crawler.core.revisit` on synthetic changes, against a fixed interval with as many fetches.

    python -m tests.bench.freshness [--pages 800] [--days 365] [--seeds 3]

*Fresh* is the share of time in which what we hold is what the site shows; *age* is for how long, on average over
time and pages, what we hold has been out of date (0 while it is fresh), in days (Cho and Garcia-Molina,
"Synchronizing a database to improve freshness", 2000).

All policies see the same changes. Each is compared with a fixed interval that makes exactly as many fetches, spread
evenly over all pages. Only ``ours`` is what the crawler does; ``x 1.5, x 0.5`` is what the design had, with as many
fetches as it happens to make; the others are candidates from the literature, priced to make as many as ours.
"""

import argparse
import math
import random
import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias

from crawler.core.revisit import (
    CHANGEFREQ,
    DAY,
    LATEST,
    SELDOM,
    SOONEST,
    START,
    Sight,
    adaptive,
    brought_forward,
    learned,
)
from tests.bench.changes import WORLDS, Figures, Tally, Trace, periods
from tests.bench.measuring import Table

MINUTE: Final = 60.0
MARGIN: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Past:
    """What a policy may know when it decides."""

    changed: bool | None
    """None: at the first visit."""
    elapsed: float
    """Seconds since the visit before."""
    kept: float | None
    """The one number that it kept itself."""
    period: float
    """Seconds between changes on average, which only a truthful site knows."""


Policy: TypeAlias = Callable[[Past], tuple[float, float]]
"""Seconds to the next visit, and the number to keep."""


def ours(past: Past) -> tuple[float, float]:
    """What the crawler does, without hints."""
    return _decided(Sight(changed=past.changed, elapsed=past.elapsed, period=past.kept))


def _decided(sight: Sight) -> tuple[float, float]:
    return adaptive(sight), learned(sight)


def design(past: Past) -> tuple[float, float]:
    """What the design had: the interval itself x 1.5 or x 0.5."""
    before = START if past.kept is None else past.kept
    interval = before if past.changed is None else before * (0.5 if past.changed else 1.5)
    interval = min(max(interval, SOONEST), LATEST)
    return interval, interval


def hinted(word: Callable[[float], str]) -> Policy:
    """What the crawler does on a site whose sitemap says such a word of a page with such a period."""

    def decide(past: Past) -> tuple[float, float]:
        says = CHANGEFREQ[word(past.period)]
        return _decided(Sight(changed=past.changed, elapsed=past.elapsed, period=past.kept, changefreq=says))

    return decide


def true_word(period: float) -> str:
    """The word of sitemaps.org that comes nearest."""
    words = [word for word in CHANGEFREQ if word != "always"]
    return min(words, key=lambda word: abs(math.log(CHANGEFREQ[word] / min(period, CHANGEFREQ["never"]))))


def estimated(allot: Callable[[float], float]) -> Policy:
    """The candidates: the crawler's own estimate of the period, and another interval for it, within the crawler's bounds."""

    def decide(past: Past) -> tuple[float, float]:
        period = ours(past)[1]
        interval = START if past.changed is None else allot(period)
        return min(max(interval, SOONEST), LATEST), period

    return decide


def proportional(price: float) -> Policy:
    """An interval in proportion to the period; `price` is that of a page that changes every seven days."""
    return estimated(lambda period: period * price / START)


def square_root(price: float) -> Policy:
    """The geometric mean of the price and the period, not less than the price: as fresh as can be, for slow pages.

    Without its least interval, it loses to equal ones where many pages change faster than that.
    """
    return estimated(lambda period: max(price, math.sqrt(price * period), SELDOM * period))


def freshest(price: float) -> Policy:
    """Visits allotted so that most are fresh (Cho and Garcia-Molina, 2003): what changes fastest is given up."""

    @lru_cache(maxsize=4096)
    def solved(step: int) -> float:
        period = math.exp(step / 20)
        low, high = SOONEST, LATEST
        for _ in range(20):
            middle = math.sqrt(low * high)
            gain = period * (1 - (1 + middle / period) * math.exp(-middle / period))
            low, high = (middle, high) if gain < price else (low, middle)
        return high

    return estimated(lambda period: solved(round(20 * math.log(period))))


def measure(traces: Sequence[Trace], periods: Sequence[float], policy: Policy, horizon: float) -> Figures:
    """Visit pages as a policy says, from their first visit to the horizon (seconds)."""
    fetches, tally = 0, Tally()
    for trace, period in zip(traces, periods, strict=True):
        now, place, past = 0.0, 0, Past(None, 0.0, None, period)
        while True:
            interval, kept = policy(past)
            ends = now + interval
            place = tally.count(trace, place, now, min(ends, horizon))
            if ends >= horizon:
                break
            changed = place > 0 and trace[place - 1] > now
            fetches += 1
            now, past = ends, Past(changed, interval, kept, period)
    return tally.figures(fetches, horizon * len(traces))


def fixed(traces: Sequence[Trace], fetches: int, horizon: float) -> Figures:
    """Visit all pages equally often, with exactly so many fetches in all."""
    each, more = divmod(fetches, len(traces))
    tally = Tally()
    for number, trace in enumerate(traces):
        visits = each + (number < more)
        interval, place = horizon / (visits + 1), 0
        for visit in range(visits + 1):
            place = tally.count(trace, place, visit * interval, (visit + 1) * interval)
    return tally.figures(fetches, horizon * len(traces))


@dataclass(frozen=True, slots=True)
class World:
    """Pages that change."""

    traces: list[Trace]
    periods: list[float]
    horizon: float

    def run(self, policy: Policy) -> tuple[Figures, Figures]:
        """What a policy comes to, and a fixed interval with as many fetches."""
        own = measure(self.traces, self.periods, policy, self.horizon)
        return own, fixed(self.traces, own.fetches, self.horizon)

    def as_many(self, candidate: Callable[[float], Policy], fetches: int) -> Policy:
        """The candidate at the price at which it makes about so many fetches."""
        part = slice(0, max(len(self.traces) // 20, 100))
        traces, spans = self.traces[part], self.periods[part]
        target = fetches * len(traces) / len(self.traces)
        low, high = MINUTE, LATEST
        for _ in range(9):
            middle = math.sqrt(low * high)
            made = measure(traces, spans, candidate(middle), self.horizon).fetches
            low, high = (middle, high) if made > target else (low, middle)
        return candidate(math.sqrt(low * high))


def world(name: str, pages: int, days: float, seed: int) -> World:
    """The pages of one seed."""
    drawn, changes = WORLDS[name]
    rng = random.Random(f"{name} {seed}")
    spans = periods(drawn, pages, rng)
    return World([changes(period, days * DAY, rng) for period in spans], spans, days * DAY)


def announced(
    traces: Sequence[Trace], days: int, says: Callable[[float, float], float | None]
) -> tuple[Figures, int]:
    """A domain whose sitemap is read once a day; `says` gives a lastmod from the last change and the time.

    Returns the figures, and the visits that were made because of the sitemap.
    """
    zero = datetime(2026, 1, 1, tzinfo=UTC)
    tally, fetches, promised, kept, trust = Tally(), 0, 0, 0, 0
    first = Sight()
    fetched, revisit = [0.0] * len(traces), [adaptive(first)] * len(traces)
    period = [learned(first)] * len(traces)
    places, last, due = [0] * len(traces), [0.0] * len(traces), [START] * len(traces)
    early = [False] * len(traces)
    for day in range(days):
        now = day * DAY
        for page, trace in enumerate(traces):
            seen = bisect_right(trace, now)
            lastmod = says(trace[seen - 1] if seen else 0.0, now)
            if lastmod is not None:
                since = brought_forward(
                    zero + timedelta(seconds=lastmod),
                    zero + timedelta(seconds=fetched[page]),
                    revisit[page],
                    promised,
                    kept,
                )
                sooner = max(now, fetched[page] + since)
                if sooner < due[page] - MARGIN:
                    due[page], early[page] = sooner, True
            while due[page] < now + DAY:
                places[page] = tally.count(trace, places[page], last[page], due[page])
                changed = places[page] > 0 and trace[places[page] - 1] > last[page]
                fetches += 1
                trust += early[page]
                promised += early[page]
                kept += early[page] and changed
                sight = Sight(changed=changed, elapsed=due[page] - last[page], period=period[page])
                revisit[page], period[page] = _decided(sight)
                fetched[page] = last[page] = due[page]
                due[page], early[page] = due[page] + revisit[page], False
    for page, trace in enumerate(traces):
        tally.count(trace, places[page], last[page], days * DAY)
    return tally.figures(fetches, days * DAY * len(traces)), trust


SITEMAPS: Final[Mapping[str, Callable[[float, float], float | None]]] = {
    "no lastmod": lambda _changed, _now: None,
    "true lastmod": lambda changed, _now: changed,
    "always new": lambda _changed, now: now,
}
WORDS: Final[Mapping[str, Policy]] = {
    "no changefreq": ours,
    "true changefreq": hinted(true_word),
    "always 'always'": hinted(lambda _period: "always"),
    "always 'never'": hinted(lambda _period: "never"),
}


CANDIDATES: Final[Mapping[str, Callable[[float], Policy]]] = {
    "proportional": proportional,
    "most fresh": freshest,
    "square root": square_root,
}


def policies(pages: int, days: int, seeds: int) -> Table:
    """The policies on all worlds, each against the fixed interval with as many fetches."""
    table = Table(["changes", "policy", "a fetch every", "fresh", "fixed", "age, days", "fixed"])
    for name in WORLDS:
        rows: dict[str, list[tuple[Figures, Figures]]] = {}
        for seed in range(seeds):
            here = world(name, pages, days, seed)
            rows.setdefault("x 1.5, x 0.5", []).append(here.run(design))
            rows.setdefault("ours", []).append(here.run(ours))
            fetches = rows["ours"][-1][0].fetches
            for label, candidate in CANDIDATES.items():
                rows.setdefault(label, []).append(here.run(here.as_many(candidate, fetches)))
        _add(table, name, rows, pages * days)
    return table


def hints(pages: int, days: int, seeds: int) -> Table:
    """What sites say, true or not, and what it costs."""
    table = Table(["changes", "the site says", "a fetch every", "fresh", "fixed", "age, days", "fixed"])
    for name in ("as Cho, at random", "half still, at random"):
        rows: dict[str, list[tuple[Figures, Figures]]] = {}
        for seed in range(seeds):
            here = world(name, pages, days, seed)
            for says, policy in WORDS.items():
                rows.setdefault(says, []).append(here.run(policy))
            for says, lastmod in SITEMAPS.items():
                own, _ = announced(here.traces, days, lastmod)
                rows.setdefault(says, []).append((own, fixed(here.traces, own.fetches, here.horizon)))
        _add(table, name, rows, pages * days)
    return table


def _add(
    table: Table, name: str, rows: Mapping[str, Sequence[tuple[Figures, Figures]]], page_days: int
) -> None:
    for policy, runs in rows.items():
        shown = [
            _spread([100 * one.fresh for one, _ in runs], "%"),
            _spread([100 * two.fresh for _, two in runs], "%"),
            _spread([one.age for one, _ in runs]),
            _spread([two.age for _, two in runs]),
        ]
        every = statistics.mean(page_days / one.fetches for one, _ in runs)
        table.rows.append([name, policy, f"{every:.2f} d", *shown])


def _spread(values: Sequence[float], unit: str = "") -> str:
    """The mean, and the standard deviation between seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    mean = statistics.mean(values)
    return f"{mean:.1f} ± {deviation:.1f} {unit}" if unit else f"{mean:.3f} ± {deviation:.3f}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=800)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(policies(args.pages, args.days, args.seeds))  # noqa: T201 - a program
    print()  # noqa: T201 - a program
    print(hints(args.pages, args.days, args.seeds))  # noqa: T201 - a program


if __name__ == "__main__":
    main()
