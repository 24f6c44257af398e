"""What a page costs, however many URLs the frontier holds.

    for each size, for turns of one URL and of sixty:
      a frontier of that size ──crawl worker──► warm-up ──► so many pages: processor time of each process, memory, depth of the queue

1. The pages are of one kind whatever the size: first visits, to domains whose robots.txt is known, of a web that answers at once.
2. Sizes take turns, there and back, so that what else the machine does falls on all of them; the median round counts,
   compared by the yardstick.
3. The cost of a page is flat when no size costs more than 1.25 times what the smallest does.
"""

import argparse
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.queues import opened_queue
from crawler.settings import load
from tests.bench.frontiers import Plan, fill
from tests.bench.ground import OWN, Broker, Server, broker, clear, new_prefix, server, settings_for, workers
from tests.bench.measuring import (
    Meter,
    Span,
    Table,
    Yardstick,
    amount,
    conclude,
    load_average,
    middle,
    note,
    say,
    short,
    verdict,
)
from tests.bench.statements import PRELOAD, Statements
from tests.bench.web import Web, served
from tests.bench.windows import Window

FLAT: Final = 1.25
JUDGED: Final = 0.05
"""Who has a smaller share of a page's cost is told, and not judged: its figures are mostly chance."""
LEAST_DOMAINS: Final = 10_000
"""In turns of one URL: so many domains that none is visited twice, which would find connection, address and rules in memory."""
MOST_OF_A_DOMAIN: Final = 10
STOCK: Final = {"wal_compression": "off"}
"""Of the embedded PostgreSQL: as it is on a server that nobody has tuned, which is what many machines have in common."""
SHARE: Final = 0.85
"""How much of a frontier is visited at most: its end has no full slots."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How many URLs a turn has, and the settings that make it so."""

    urls: int
    delay: float
    """With a pause as long as a turn, a turn holds one URL; without any, all that its domain has."""
    slots: int
    """Domains at once."""

    def plan(self, size: int, port: int) -> Plan:
        """The frontier of that size."""
        each = self.urls if self.urls > 1 else max(1, min(MOST_OF_A_DOMAIN, size // LEAST_DOMAINS))
        return Plan(max(1, size // each), each, port, self.delay, robots_known=True)

    @property
    def settings(self) -> dict[str, str]:
        """What its workers are told."""
        return {
            "DELAY": f"{self.delay}s",
            "TURN_SECONDS": "60s",
            "DOMAINS_AT_ONCE": str(self.slots),
            # A short one lowers the high-water mark: else all domains of the smallest frontier were on the queue before we measure.
            "QUEUE_LEASE": "2m",
        }

    def __str__(self) -> str:
        return f"turns of {self.urls} URL{'s' if self.urls > 1 else ''}"


KINDS: Final[Mapping[int, Kind]] = {1: Kind(1, 60.0, 200), 60: Kind(60, 0.0, 20)}


@dataclass(slots=True)
class Field:
    """One size of one kind: its database, and what was measured there."""

    size: int
    kind: Kind
    dsn: str = ""
    prefix: str = ""
    left: int = 0
    """Pages that may still be visited before the frontier has to be made anew."""
    spans: list[Span] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    high_water: int = 0


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    given: argparse.Namespace
    web: Web
    server: Server
    broker: Broker | None
    yardstick: Yardstick

    async def prepare(self, one: Field) -> None:
        """See that the field has a frontier with enough left for a round."""
        wanted = self.given.warm + self.given.pages
        if one.left >= wanted:
            one.left -= wanted
            return
        await self.clear(one)
        plan = one.kind.plan(one.size, self.web.port)
        one.dsn, one.prefix = await self.server.create(), new_prefix()
        await fill(one.dsn, plan)
        one.left = int(plan.urls * SHARE) - wanted

    async def clear(self, one: Field) -> None:
        """Remove what the field has."""
        if one.dsn:
            await clear(self.broker, one.prefix)
            await self.server.drop(one.dsn)
            one.dsn = ""

    async def measure(self, one: Field) -> None:
        """One round."""
        told = settings_for(self.web) | one.kind.settings | {"AMQP_PREFIX": one.prefix}
        if self.broker is not None:
            told["AMQP_URL"] = self.broker.url
        settings = load(overrides={}, environ={f"CRAWL_{n}": v for n, v in told.items()}).settings
        given = self.given
        async with (
            await Database.open(one.dsn, size=2) as database,
            opened_queue(settings, database) as queue,
        ):
            sizes = TurnSizes(settings.turn_seconds, settings.per_domain)
            dispatcher = Dispatcher(Frontier(database), queue, queue_lease=settings.queue_lease, sizes=sizes)
            one.high_water = dispatcher.high_water(one.kind.slots)
            with workers(1, one.dsn, self.broker, told) as (worker,):
                trees = {"worker": [worker.process.pid]}
                if self.server.pid is not None:
                    trees["PostgreSQL"] = [self.server.pid]
                if self.broker is not None and self.broker.pid is not None:
                    trees["RabbitMQ"] = [self.broker.pid]
                window = Window(database, queue, [worker], Meter(trees), self.yardstick)
                counted = Statements(database) if given.statements else None
                span = await window.span(
                    lambda first, now: now.pages >= first.pages + given.warm,
                    lambda so_far: so_far.pages >= given.pages,
                    begun=None if counted is None else counted.begin,
                )
                if counted is not None:
                    say(f"\n{short(one.size)}, {one.kind}: what PostgreSQL did for a page")
                    say(str(await counted.table(span.pages, given.statements)))
        one.spans.append(span)
        one.depths += window.depths
        each = ", ".join(f"{name} {span.each(name):.2f} ms" for name in trees)
        note(f"{short(one.size)}, {one.kind}: {span.speed:.0f} pages/s, a page costs {each}")


async def bench(given: argparse.Namespace) -> bool:
    """Measure it all; True: the cost is flat."""
    settings = STOCK | dict(given.postgres) | (PRELOAD if given.statements else {})
    with broker(given.amqp) as one, served(links=given.links) as web, Yardstick() as yardstick:
        async with server(given.database, settings) as postgres:
            base = Bench(given, web, postgres, one, yardstick)
            fields = [Field(size, KINDS[urls]) for urls in given.turns for size in given.sizes]
            try:
                for number in range(given.rounds):
                    note(f"round {number + 1} of {given.rounds}; {load_average()}")
                    for each in reversed(fields) if number % 2 else fields:
                        await base.prepare(each)
                        await base.measure(each)
            finally:
                for each in fields:
                    with contextlib.suppress(OSError):
                        await clear(one, each.prefix)
            carrier = "PostgreSQL" if one is None else "RabbitMQ"
            say(f"{postgres.about}; turns come from {carrier}; {given.links} links a page; {load_average()}")
            flat = [report([each for each in fields if each.kind.urls == urls]) for urls in given.turns]
            return all(flat)


def report(fields: list[Field]) -> bool:
    """The table of one kind of turn, and whether its cost is flat."""
    base = fields[0]
    names = list(base.spans[0].end.costs)
    calm = min(span.yard for one in fields for span in one.spans)
    table = Table(
        [
            "frontier",
            "pages/s",
            *(f"{name} ms" for name in (*names, "all")),
            *(f"{name} MB" for name in names),
            "queue at most",
            "high water",
            "machine",
        ]
    )
    for one in fields:
        costs = [middle(span.each(name) for span in one.spans) for name in names]
        table.rows.append(
            [
                short(one.size),
                f"{middle(span.speed for span in one.spans):.0f}",
                *(f"{cost:.3f}" for cost in (*costs, sum(costs))),
                *(f"{one.spans[-1].memory(name):.0f}" for name in names),
                f"{max(one.depths):,}",
                f"{one.high_water:,}",
                f"{middle(span.yard for span in one.spans) / calm:.2f}",
            ]
        )
    say(
        f"\n{base.kind}, {base.kind.slots} domains at once; the cost of a page, median of {len(base.spans)} rounds"
    )
    say(str(table))
    say(
        "machine: how many times as much the same little work cost as in the calmest round; PASS and FAIL allow for it"
    )
    good = True
    for one in fields:
        stays = max(one.depths) <= one.high_water
        say(f"{'PASS' if stays else 'FAIL'}  {short(one.size)}: the queue stays below its high-water mark")
        good &= stays
    for one in fields[1:]:
        good &= _compare(one, base, names)
    return good


def _compare(one: Field, base: Field, names: list[str]) -> bool:
    """Whether a page costs there what it does in the smallest frontier."""

    def cost(field: Field, wanted: list[str]) -> tuple[float, float]:
        lots = [(sum(map(span.even, wanted)), sum(map(span.each, wanted))) for span in field.spans]
        return middle(even for even, _ in lots), middle(each for _, each in lots)

    whole = cost(base, names)[0]
    good = True
    for title, wanted in (("all together", names), *((name, [name]) for name in names)):
        (even, measured), (base_even, base_measured) = cost(one, wanted), cost(base, wanted)
        what = f"{short(one.size)}, compared with {short(base.size)}: {title}"
        if base_even < JUDGED * whole:
            say(f"      {what}: {even / base_even:.2f} times (too small to judge)")
        else:
            good &= verdict(what, even / base_even, most=FLAT, measured=measured / base_measured)
    return good


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.scale",
        description=__doc__.splitlines()[0],
        epilog="Ten million URLs take some 15 GB of disk for the two kinds of turn together, and minutes to be made.",
    )
    add = parser.add_argument
    add("--sizes", type=_sizes, default="10k,1m,10m", help="URLs in the frontier [default: %(default)s]")
    add("--turns", type=_turns, default="1,60", help="URLs of a turn: 1, 60 or both [default: %(default)s]")
    add("--pages", type=amount, default="4500", help="pages to measure in a round [default: %(default)s]")
    add("--warm", type=amount, default="1200", help="pages before those [default: %(default)s]")
    add("--rounds", type=amount, default="6", help="rounds; the median counts [default: %(default)s]")
    add("--links", type=int, default=0, help="links of a page, to pages the frontier holds [default: 0]")
    add("--database", metavar="DSN", help="a PostgreSQL to make databases on [default: an embedded one]")
    add("--postgres", type=_setting, action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the embedded PostgreSQL, such as wal_compression=on; may be repeated")  # fmt: skip
    add(
        "--amqp", metavar="URL", help=f"a RabbitMQ to carry the turns; {OWN}: start one [default: PostgreSQL]"
    )
    add("--statements", type=int, default=0, metavar="N", help="show the N dearest statements of each round")
    given = parser.parse_args()
    for kind in (KINDS[urls] for urls in given.turns):
        if kind.plan(given.sizes[0], 0).urls * SHARE < given.warm + given.pages:
            parser.error(
                f"{short(given.sizes[0])} URLs are too few for {given.warm} pages of warm-up and {given.pages} more: give larger --sizes,"
                " or smaller --warm and --pages"
            )
    return conclude(parser.prog, bench(given))


def _sizes(text: str) -> list[int]:
    return sorted({amount(word) for word in text.split(",")})


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting: write shared_buffers=1GB")
    return name, value


def _turns(text: str) -> list[int]:
    found = sorted({amount(word) for word in text.split(",")})
    if not set(found) <= KINDS.keys():
        raise argparse.ArgumentTypeError(f"{text!r}: turns have 1 or 60 URLs")
    return found


if __name__ == "__main__":
    sys.exit(main())
