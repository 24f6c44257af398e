"""Does a page cost more than it did? The same crawl by this tree and by an older one, at the same time on the same processors.

    this tree ──copy──► crawl ┐                          ┌─► this / base, of each pair ──► the median, at most 1.05
    a commit ──archive─► crawl ┴─ again and again ────────┘
    both ──valgrind──► instructions of reading a page ──► this / base, to the thousandth

1. No figure is compared with one of another day or another machine: what disturbs one tree disturbs the other as much.
2. What decides is processor time, not the clock; and instructions, which nothing disturbs.
3. Nobody compares by hand: it fails when a page costs more than it may.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from crawler.core.errors import leaves
from tests.bench.guard_counting import can_count, instructions, write_pages
from tests.bench.guard_crawls import KINDS, Crawled, crawl
from tests.bench.guard_trees import Tree, base_tree, default_base, this_tree
from tests.bench.measuring import (
    BenchError,
    Table,
    amount,
    conclude,
    load_average,
    middle,
    note,
    say,
    verdict,
)
from tests.bench.profile_web import Served, served

MOST: Final = 1.05
SITES: Final = 6
PAIRS: Final = 5
PAGES: Final = 2400

T = TypeVar("T")
Pair: TypeAlias = tuple[Crawled, Crawled]
"""What the base has cost, and this tree."""


@dataclass(frozen=True, slots=True)
class Trees:
    """What is compared, and by which interpreter each is run."""

    base: Tree
    this: Tree
    base_python: str


async def bench(given: argparse.Namespace) -> bool:
    """Measure; True: no page costs more than it may."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-")))
        for name in ("this", "base", "pages"):
            (folder / name).mkdir()
        ref = given.base or default_base()
        other = given.base_python is not None
        trees = Trees(
            base_tree(folder / "base", ref, any_packages=other),
            base_tree(folder / "this", ref, any_packages=other)
            if given.itself
            else this_tree(folder / "this"),
            given.base_python or sys.executable,
        )
        note(f"base: {trees.base.name}")
        note(f"this: {trees.this.name}")
        counts = await _counts(trees, folder / "pages") if given.instructions else None
        pairs: list[Pair] = []
        if given.pairs:
            web = stack.enter_context(served(SITES, max(2, given.pages // SITES)))
            for number in range(given.pairs):
                pairs.append(await _pair(trees, web, number))
                note(f"pair {number + 1} of {given.pairs}: {_told(pairs[-1])}; {load_average()}")
    return report(pairs, counts, given.most)


def report(pairs: Sequence[Pair], counts: tuple[float, float] | None, most: float) -> bool:
    """The table, and whether all is within its bounds."""
    table = Table(["a page", "base", "this", "ratio", "of the pairs"])
    verdicts: list[tuple[str, float]] = []
    if pairs:
        for name, kinds in (*((kind, [kind]) for kind in KINDS), ("both", KINDS)):
            ratios = sorted(this.each(*kinds) / base.each(*kinds) for base, this in pairs)
            base, this = (middle(pair[at].each(*kinds) for pair in pairs) for at in (0, 1))
            table.rows.append(
                [
                    f"{name}, ms",
                    f"{base:.3f}",
                    f"{this:.3f}",
                    f"{middle(ratios):.3f}",
                    f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
                ]
            )
            if (
                name != "PostgreSQL"
            ):  # a tenth of the whole, and its upkeep comes when it comes: shown, and judged with the other
                verdicts.append((f"processor time of a page, {name}", middle(ratios)))
    if counts is not None:
        base, this = counts
        ratio = this / base
        table.rows.append(
            ["reading it, instructions", f"{base:,.0f}", f"{this:,.0f}", f"{ratio:.3f}", "always the same"]
        )
        verdicts.append(("instructions of reading a page", ratio))
    say(str(table))
    judged = [verdict(f"{what}, compared with the base", ratio, most=most) for what, ratio in verdicts]
    return all(judged)


async def _counts(trees: Trees, pages: Path) -> tuple[float, float] | None:
    """Instructions a page, of the base and of this tree; None: they cannot be counted here."""
    if not can_count():
        note("there is no valgrind: instructions are not counted (apt-get install valgrind)")
        return None
    note("counting instructions: a minute")
    write_pages(pages)
    base, this = await _together(
        instructions(trees.base, pages, trees.base_python), instructions(trees.this, pages)
    )
    return base, this


async def _pair(trees: Trees, web: Served, number: int) -> Pair:
    """Both crawl, at the same time; who begins takes turns."""
    of_base, of_this = crawl(trees.base, web, trees.base_python), crawl(trees.this, web)
    if number % 2:
        base, this = await _together(of_base, of_this)
    else:
        this, base = await _together(of_this, of_base)
    if base.pages != this.pages or not base.pages:
        raise BenchError(f"they did not do the same: {base.pages:,} and {this.pages:,} pages")
    return base, this


async def _together(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, T]) -> tuple[T, T]:
    """Both, at the same time; if one fails, that is what happened."""
    try:
        async with asyncio.TaskGroup() as tasks:
            one, other = tasks.create_task(first), tasks.create_task(second)
    except ExceptionGroup as group:
        raise next(iter(leaves(group))) from None
    return one.result(), other.result()


def _told(pair: Pair) -> str:
    base, this = pair
    return ", ".join(f"{kind} {base.each(kind):.2f} and {this.each(kind):.2f} ms" for kind in KINDS)


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.guard",
        description=__doc__.splitlines()[0],
        epilog="example: python -m tests.bench.guard --base v0.1.0 --pairs 9",
    )
    add = parser.add_argument
    about = "a commit to compare with [default: HEAD, if something is not committed; else where the branch left its upstream, or HEAD~1]"
    add("--base", metavar="COMMIT", help=about)
    add("--itself", action="store_true", help="compare the base with itself: how far the rest can be trusted")
    add(
        "--pairs",
        type=int,
        default=PAIRS,
        metavar="N",
        help="crawls of each; the median counts; 0: none [default: %(default)s]",
    )
    add(
        "--pages",
        type=amount,
        default=str(PAGES),
        metavar="N",
        help="pages of a crawl [default: %(default)s]",
    )
    add(
        "--most",
        type=float,
        default=MOST,
        metavar="RATIO",
        help="how much more a page may cost [default: %(default)s]",
    )
    add("--no-instructions", dest="instructions", action="store_false", help="do not count instructions")
    add(
        "--base-python",
        metavar="FILE",
        help="the Python of a virtualenv with the base's packages [default: this one]",
    )
    return conclude(parser.prog, bench(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
