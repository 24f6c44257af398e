"""What the runs say: a row for each crawler, ratios with their spread, and what was to be reached.

    rounds of Runs ──► Summary: a row each ──► findings: PASS or FAIL, with the figures

1. A ratio is taken within a round, of runs that followed one another; the middle one of all rounds counts, the others are its spread.
2. Where our own ways are compared with each other, processor time is compared by the yardstick; with the peers it is as measured.
3. Nobody is faster for having fetched less: what a crawler lacks of the pages that others got is told.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.measuring import Table, middle
from tests.bench.peers.racing import CRAWLER, POSTGRES, RABBIT, WEB, Run

ALONE: Final = "Faircrawl"
TWO: Final = "Faircrawl, 2 processes"
BEHIND: Final = "Faircrawl, RabbitMQ"
OURS: Final = (ALONE, TWO, BEHIND)
SCRAPY: Final = "Scrapy"
CRAWLEE: Final = "crawlee"
WGET2: Final = "wget2"
FASTER: Final = {SCRAPY: 12.0, CRAWLEE: 10.0, WGET2: 0.35}
"""So many times a peer's pages a second."""
AT_MOST: Final = 2.6
"""Milliseconds of processor time that crawler and PostgreSQL together may use for a page."""
WITH_RABBIT: Final = 1.2
WITH_TWO: Final = 1.1
SAME: Final = 0.01
"""How much of the pages one may lack."""

Round = Mapping[str, Run]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several rounds: the middle one, the least and the most."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread":
        """What these say."""
        known = list(figures)
        return cls(min(known), middle(known), max(known))

    def __str__(self) -> str:
        if self.least == self.most:  # of a single round, or as good as
            return number(self.middle)
        return f"{number(self.middle)} ({number(self.least)} to {number(self.most)})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the things that were to be reached."""

    good: bool
    what: str
    figure: str
    bound: str

    def __str__(self) -> str:
        return f"{'PASS' if self.good else 'FAIL'}  {self.what}: {self.figure}; {self.bound}"


def number(figure: float) -> str:
    """Three digits, as far as they matter."""
    return f"{figure:.2f}" if figure < 10 else f"{figure:.1f}" if figure < 100 else f"{figure:,.0f}"


def names(rounds: Sequence[Round]) -> list[str]:
    """Who took part."""
    return list(rounds[0])


def common(rounds: Sequence[Round]) -> frozenset[str]:
    """The pages that at least two crawlers got; of one crawler alone: all that it got. Our ways count as one."""
    got: dict[str, set[str]] = {}
    for name, run in ((name, run) for each in rounds for name, run in each.items()):
        got.setdefault(ALONE if name in OURS else name, set()).update(run.log.pages)
    times = Counter(page for pages in got.values() for page in pages)
    return frozenset(page for page, count in times.items() if count >= min(2, len(got)))


def lacks(run: Run, pages: frozenset[str]) -> float:
    """Which part of these pages it lacks: not fetched, or not stored."""
    if not pages:
        return 0.0
    return 1 - min(len(pages & run.log.pages), run.stored) / len(pages)


def pages_table(rounds: Sequence[Round]) -> Table:
    """Who got what: in the first round."""
    pages = common(rounds)
    table = Table(["", "pages stored", "of the common pages, fetched", "pages of its own", "requests"])
    for name in names(rounds):
        run = rounds[0][name]
        part = f"{len(pages & run.log.pages):,} of {len(pages):,}"
        table.rows.append(
            [name, f"{run.stored:,}", part, f"{len(run.log.pages - pages):,}", f"{run.log.requests:,}"]
        )
    return table


def speed_table(rounds: Sequence[Round]) -> Table:
    """Pages a second, and how often that goes into ours."""
    table = Table(["", "pages/s", "seconds", "Faircrawl is so many times as fast"])
    for name in names(rounds):
        speed = Spread.of(each[name].speed for each in rounds)
        seconds = middle(each[name].seconds for each in rounds)
        ratio = str(faster(rounds, name)) if ALONE in rounds[0] and name not in OURS else ""
        table.rows.append([name, str(speed), number(seconds), ratio])
    return table


def cost_table(rounds: Sequence[Round]) -> Table:
    """Processor time of a page in each program, in milliseconds."""
    programs = [program for program in (CRAWLER, POSTGRES, RABBIT, WEB) if _anybody(rounds, program)]
    table = Table(["", *(f"{program}, ms" for program in programs), "all but the web server, ms"])
    for name in names(rounds):
        cells = [
            number(middle(each[name].each(program) for each in rounds))
            if program in rounds[0][name].cpu
            else ""
            for program in programs
        ]
        whole = Spread.of(each[name].each(CRAWLER, POSTGRES, RABBIT) for each in rounds)
        table.rows.append([name, *cells, str(whole)])
    return table


def memory_table(rounds: Sequence[Round]) -> Table:
    """The most memory of each program, in megabytes."""
    programs = [program for program in (CRAWLER, POSTGRES, RABBIT, WEB) if _anybody(rounds, program)]
    table = Table(["", *(f"{program}, MB" for program in programs)])
    for name in names(rounds):
        cells = [
            f"{middle(each[name].memory[program] / 1e6 for each in rounds):,.0f}"
            if program in rounds[0][name].memory
            else ""
            for program in programs
        ]
        table.rows.append([name, *cells])
    return table


def faster(rounds: Sequence[Round], peer: str) -> Spread:
    """How many times as fast as this peer we are."""
    return _ratios(rounds, ALONE, peer, lambda run: run.speed)


def findings(rounds: Sequence[Round]) -> list[Finding]:
    """What was to be reached, of whatever took part."""
    there = names(rounds)
    found = []
    for peer in there if ALONE in there else ():
        if peer in FASTER:
            ratio = faster(rounds, peer)
            what = f"pages/s, times those of {peer}"
            found.append(_finding(what, ratio, least=FASTER[peer]))
    if ALONE in there:
        cost = Spread.of(each[ALONE].each(CRAWLER, POSTGRES) for each in rounds)
        found.append(_finding("crawler and PostgreSQL, ms of processor time a page", cost, most=AT_MOST))
    for way, bound, what in (
        (BEHIND, WITH_RABBIT, "the crawler's processor time a page with RabbitMQ"),
        (TWO, WITH_TWO, "the crawler's processor time a page with two processes"),
    ):
        if ALONE in there and way in there:
            even = _ratios(rounds, way, ALONE, lambda run: run.even(CRAWLER))
            raw = _ratios(rounds, way, ALONE, lambda run: run.each(CRAWLER))
            found.append(
                _finding(
                    f"{what}, times that of one process alone",
                    even,
                    most=bound,
                    more=f", as measured {number(raw.middle)}",
                )
            )
    pages = common(rounds)
    most = {name: max(lacks(each[name], pages) for each in rounds) for name in there}
    short = {name: lack for name, lack in most.items() if lack > SAME}
    figure = (
        ", ".join(f"{name} lacks {lack:.1%}" for name, lack in short.items()) or f"{max(most.values()):.1%}"
    )
    found.append(
        Finding(
            not short, "pages that a crawler lacks of those that others got", figure, f"at most {SAME:.0%}"
        )
    )
    return found


def _finding(
    what: str, spread: Spread, *, least: float = 0.0, most: float = float("inf"), more: str = ""
) -> Finding:
    good = least <= spread.middle <= most
    bound = f"at most {most:g}" if most < float("inf") else f"at least {least:g}"
    return Finding(good, what, f"{spread}{more}", bound)


def _ratios(rounds: Sequence[Round], one: str, other: str, figure: Callable[[Run], float]) -> Spread:
    return Spread.of(figure(each[one]) / figure(each[other]) for each in rounds)


def _anybody(rounds: Sequence[Round], program: str) -> bool:
    return any(program in run.cpu for run in rounds[0].values())
