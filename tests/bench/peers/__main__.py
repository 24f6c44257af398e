"""Faircrawl side by side with Scrapy, crawlee and wget2: the same pages, in turn, several times, in one run.

sites ──► again and again: each crawler once ──► tables, PASS or FAIL ──► docs/benchmarks.md
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.measuring import Yardstick, amount, conclude, load_average, note, say
from tests.bench.peers import docs_web, synthetic
from tests.bench.peers.installing import cache
from tests.bench.peers.judging import ALONE, BEHIND, CRAWLEE, SCRAPY, TWO, WGET2, Round, common, findings
from tests.bench.peers.machine import ROOT, machine, versions
from tests.bench.peers.ours import Alone, Behind
from tests.bench.peers.peer import Peer, crawlee, scrapy, wget2
from tests.bench.peers.racing import CRAWLER, Racing, Task, race
from tests.bench.peers.report import Measured, as_page, as_text
from tests.broker import free_port

WHO: Final = {
    "run": ALONE,
    "scrapy": SCRAPY,
    "crawlee": CRAWLEE,
    "wget2": WGET2,
    "processes": TWO,
    "rabbit": BEHIND,
}
"""What a crawler is called on the command line."""
PAGE: Final = Path("docs/benchmarks.md")
AT_ONCE: Final = 100
"""Requests to all sites, as Scrapy's guide to broad crawls begins with."""
PER_DOMAIN: Final = 16
ENOUGH_PAGES: Final = 10_000
ENOUGH_RUNS: Final = 3
NO_WGET2: Final = (
    "wget2 took no part: this machine has none, and it could not be installed (apt-get install wget2)."
)


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: all is as it should be."""
    sites = synthetic.written(given.pages) if given.synthetic else docs_web.laid_out(given.sites)
    contest, left_out = _contest(given.only)
    per_domain = given.per_domain or min(PER_DOMAIN, max(1, AT_ONCE // len(sites)))
    busy, date = load_average(), datetime.now(UTC).strftime("%Y-%m-%d")
    rounds: list[Round] = []
    with Yardstick() as yardstick:
        task = Task(sites, free_port(), per_domain, yardstick)
        for turn in range(given.runs):
            note(f"round {turn + 1} of {given.runs}; {load_average()}")
            rounds.append(await _round(task, contest, backwards=bool(turn % 2)))
    say(as_text(rounds))
    for line in left_out:
        say(line)
    measured = Measured(
        rounds=rounds,
        sites=sites,
        per_domain=per_domain,
        concurrency=task.concurrency,
        peers={racing.title: racing.how for racing in contest.values() if isinstance(racing, Peer)},
        left_out=left_out,
        command=" ".join(["make bench", *([f'ARGS="{" ".join(sys.argv[1:])}"'] if sys.argv[1:] else [])]),
        machine=machine(),
        busy=busy,
        versions=versions(),
        date=date,
    )
    _write(given.write, measured, complete=set(WHO.values()) <= {*contest, WGET2})
    return all(finding.good for finding in findings(rounds))


async def _round(task: Task, contest: Mapping[str, Racing], *, backwards: bool) -> Round:
    order = list(contest)[::-1] if backwards else list(contest)
    done = {}
    for name in order:
        began = time.monotonic()
        run = done[name] = await race(name, task, contest[name])
        note(
            f"{name}: {run.stored:,} pages, {run.speed:.0f}/s, {run.each(CRAWLER):.2f} ms each; "
            f"{time.monotonic() - began:.0f} s with everything"
        )
    return {name: done[name] for name in contest}


def _contest(only: Sequence[str]) -> tuple[dict[str, Racing], list[str]]:
    makers = {"scrapy": scrapy, "crawlee": crawlee, "wget2": wget2}
    ours: dict[str, Racing] = {"run": Alone(), "processes": Alone(processes=2), "rabbit": Behind()}
    contest: dict[str, Racing] = {}
    left_out = []
    for word in (word for word in WHO if word in only):
        racing = ours.get(word) or makers[word]()
        if racing is None:
            left_out.append(NO_WGET2)
            note(NO_WGET2)
        else:
            contest[WHO[word]] = racing
    return contest, left_out


def _write(file: Path | None, measured: Measured, *, complete: bool) -> None:
    pages = len(common(measured.rounds))
    if file is None:
        if not complete or pages < ENOUGH_PAGES or len(measured.rounds) < ENOUGH_RUNS:
            enough = f"everybody, {ENOUGH_PAGES:,} pages and {ENOUGH_RUNS} runs"
            say(f"{PAGE} stays as it is: it is made of {enough} at least (--write FILE writes all the same)")
            return
        file = ROOT / PAGE
    file.write_text(as_page(measured))
    say(f"written: {file}")


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers",
        description=__doc__.splitlines()[0],
        epilog="A quick look: --sites small --runs 1. Three runs of all of them take some 25 minutes.",
    )
    add = parser.add_argument
    every = ",".join(docs_web.SOURCES)
    add(
        "--sites",
        type=_sites,
        default=every,
        help=f"of {every}; small: {','.join(docs_web.SMALL)} [default: all]",
    )
    add("--synthetic", action="store_true", help="pages that are made, instead of documentation packages")
    add("--pages", type=amount, help=f"how many of those [default: {ENOUGH_PAGES}]")
    add("--runs", type=amount, default="3", help="rounds; the middle one counts [default: %(default)s]")
    add("--only", type=_who, default=",".join(WHO), help="who takes part [default: %(default)s]")
    add(
        "--per-domain",
        type=amount,
        help=f"requests to one site at once [default: {PER_DOMAIN}, {AT_ONCE} in all]",
    )
    add(
        "--write", type=Path, metavar="FILE", help=f"where to [default: {PAGE}, when everything was measured]"
    )
    given = parser.parse_args()
    if given.pages and not given.synthetic:
        parser.error("--pages goes with --synthetic: real sites have the pages they have")
    given.pages = given.pages or ENOUGH_PAGES
    note(f"what is fetched once is kept in {cache()}")
    return conclude(parser.prog, bench(given))


def _sites(text: str) -> list[str]:
    return list(docs_web.SMALL) if text == "small" else _some_of(text, list(docs_web.SOURCES))


def _who(text: str) -> list[str]:
    return _some_of(text, list(WHO))


def _some_of(text: str, known: list[str]) -> list[str]:
    words = [word for word in text.split(",") if word]
    strange = [word for word in words if word not in known]
    if strange or not words:
        raise argparse.ArgumentTypeError(f"{strange[0] if strange else text!r} is none of {', '.join(known)}")
    return words


if __name__ == "__main__":
    sys.exit(main())
