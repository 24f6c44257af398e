"""Where a page's time goes: a crawl under py-spy, with PostgreSQL's own account of its statements, as a picture.

    a small web ──► crawl run, under py-spy ──► a new PostgreSQL with pg_stat_statements
                          │ stacks                   │ counters
                          └──► parts, functions ◄────┴──► a table here, and one HTML file to look at

1. py-spy tells how processor time is divided; how much there was, the crawler tells itself. So a slow or busy machine changes no share.
2. What is done once (imports, the end) is counted apart from what each page costs.
3. C code counts for the Python function that calls it. ``--native`` looks into it, and costs the crawler half as much again.
"""

import argparse
import contextlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseError
from tests.bench.ground import environment, server, settings_for
from tests.bench.measuring import Meter, Table, amount, conclude, load_average, note, say
from tests.bench.profile_parts import profiled, stacks_in
from tests.bench.profile_picture import Findings, drawn, short
from tests.bench.profile_spying import pages_of, run, spy_program, stacks_of
from tests.bench.profile_statements import commits, statements
from tests.bench.profile_web import Served, served
from tests.bench.statements import PRELOAD, Statements

SITES: Final = 6
PACE: Final = ("--delay", "0", "--per-domain", "16")
"""For a web of our own; others are visited as the crawler visits anybody."""
RATE: Final = 250
NATIVE_RATE: Final = 100
SHOWN: Final = 16
OUTPUT: Final = Path("build/profile.html")


@dataclass(frozen=True, slots=True)
class Task:
    """What is crawled, and how."""

    urls: Sequence[str]
    options: Sequence[str]
    settings: Mapping[str, str]


async def bench(given: argparse.Namespace) -> bool:
    """Measure, and draw."""
    spy = spy_program()
    begun = load_average()
    with contextlib.ExitStack() as stack:
        web = None
        if not given.urls:
            web = stack.enter_context(served(SITES, max(2, given.pages // SITES), tls=given.tls))
        task = task_of(given, web)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-")))
        async with server(given.database, PRELOAD) as postgres:
            dsn = await postgres.create()
            async with await Database.open(dsn, size=1) as database:
                await migrate(database)
                counts = await _begin(database)
                meter = Meter({"PostgreSQL": [] if postgres.pid is None else [postgres.pid]})
                before, made = meter.read(0), await commits(database)
                note(f"crawling under py-spy; {begun}")
                raw = folder / "stacks"
                command = [spy, *_spying(given, raw), "--", *_crawl(task, dsn)]
                summary = await run(command, environment(task.settings), given.patience)
                spent = meter.read(0).costs["PostgreSQL"].cpu - before.costs["PostgreSQL"].cpu
                found = Findings(
                    about=[
                        *_about(given, task, web),
                        ("database", postgres.about),
                        ("load", f"{begun}; at the end {load_average()}"),
                    ],
                    pages=pages_of(summary),
                    seconds=summary["seconds"],
                    cpu=summary["cpu_seconds"],
                    database_cpu=None if postgres.pid is None else spent,
                    profile=profiled(stacks_in(stacks_of(raw))),
                    statements=await statements(database) if counts else (),
                    commits=await commits(database) - made,
                )
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(drawn(found), "utf-8")
        stacks = given.output.with_suffix(".stacks")
        shutil.copyfile(raw, stacks)
    report(found)
    say(f"the picture: {given.output.absolute()}")
    say(f"the stacks: {stacks.absolute()} (as flamegraph.pl and speedscope.app read them)")
    return True


def report(found: Findings) -> None:
    """The same as tables."""
    table = Table(["part", "ms a page", "share", "samples"])
    for part, samples in found.parts():
        table.rows.append(
            [
                part.name,
                f"{found.each(samples):.3f}",
                f"{found.each(samples) / found.page:.1%}",
                f"{samples:,}",
            ]
        )
    table.rows.append(
        [
            "the crawler, a page",
            f"{found.page:.3f}",
            "100.0%",
            f"{found.profile.samples - found.profile.once:,}",
        ]
    )
    table.rows.append(
        ["once, a page's part", f"{found.each(found.profile.once):.3f}", "", f"{found.profile.once:,}"]
    )
    if found.database is not None:
        table.rows.append(["PostgreSQL, a page", f"{found.database:.3f}", "", ""])
    say(f"{found.pages:,} pages; processor time in ms\n\n{table}\n")
    functions = Table(["function", "ms a page", "part"])
    for (name, part), samples in sorted(found.profile.functions.items(), key=lambda pair: -pair[1])[:SHOWN]:
        functions.rows.append([short(name), f"{found.each(samples):.3f}", part.name])
    say(f"{functions}\n")
    if found.statements:
        statement = Table(
            ["statement, by the clock", "calls a page", "ms a page", "of it planning", "bytes of WAL"]
        )
        for one in found.statements[:SHOWN]:
            figures = (one.calls / found.pages, one.time / found.pages, one.planning / found.pages)
            statement.rows.append(
                [one.name, *(f"{figure:.4f}" for figure in figures), f"{one.wal / found.pages:.0f}"]
            )
        say(f"{statement}\n")


def task_of(given: argparse.Namespace, web: Served | None) -> Task:
    """What to crawl."""
    settings = dict(given.set)
    if web is None:
        options = () if not given.pages_given else ("--max-pages", str(given.pages))
        return Task(
            given.urls,
            (*options, *given.option),
            {"ALLOW_NETS": "127.0.0.0/8", "CONTACT": "bench@example.com"} | settings,
        )
    own = (
        settings_for(web.names)
        | {"PER_ADDRESS": "0"}
        | ({} if web.ca is None else {"TLS_CA_FILE": str(web.ca)})
    )
    return Task(web.site.seeds(), (*PACE, *given.option), own | settings)


def _spying(given: argparse.Namespace, raw: Path) -> list[str]:
    rate = given.rate or (NATIVE_RATE if given.native else RATE)
    return [
        "record",
        "--format",
        "raw",
        "--output",
        str(raw),
        "--rate",
        str(rate),
        "--subprocesses",
        *(["--native"] if given.native else []),
    ]


def _crawl(task: Task, dsn: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "crawler",
        "run",
        *task.urls,
        *task.options,
        "--database",
        dsn,
        "--json",
        "--quiet",
    ]


async def _begin(database: Database) -> bool:
    """Count statements from now on, if the server can."""
    try:
        await Statements(database).begin()
    except DatabaseError:
        note("the server has no pg_stat_statements loaded: no account of its statements")
        return False
    return True


def _about(given: argparse.Namespace, task: Task, web: Served | None) -> list[tuple[str, str]]:
    what = f"{SITES} sites of a web made for this, pages of 30 KB and 91 links{', over TLS' if given.tls else ''}"
    version = subprocess.run(
        [spy_program(), "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    rate = given.rate or (NATIVE_RATE if given.native else RATE)
    return [
        ("crawled", what if web is not None else " ".join(task.urls)),
        ("options", shlex.join(task.options) or "none"),
        ("crawler", commit or "of no git repository"),
        ("sampled", f"{version}, {rate} times a second{', C code too' if given.native else ''}"),
        ("machine", f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"),
    ]


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return name.removeprefix("CRAWL_"), value


def main() -> int:
    """Read what was given, and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.profile",
        description=__doc__.splitlines()[0],
        epilog="example: python -m tests.bench.profile http://python.test:8090/ --option=--delay=0 --option=--per-domain=16",
    )
    add = parser.add_argument
    add(
        "urls",
        nargs="*",
        metavar="URL",
        help="seeds of another web, visited with the crawler's own pace [default: a web of our own]",
    )
    add("--pages", type=amount, metavar="N", help="how many pages [default: 3k; of another web: all]")
    add("--tls", action="store_true", help="our own web speaks TLS")
    add(
        "--option",
        action="append",
        default=[],
        metavar="OPTION",
        help="one more for crawl run, such as --option=--delay=0; may be repeated",
    )
    add(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting of the crawler; may be repeated",
    )
    add("--native", action="store_true", help="look into C code too: slower, and rougher")
    add(
        "--rate",
        type=amount,
        metavar="N",
        help=f"samples a second [default: {RATE}; {NATIVE_RATE} with --native]",
    )
    add(
        "--patience",
        type=float,
        default=900.0,
        metavar="SECONDS",
        help="for the crawl [default: %(default).0f]",
    )
    add("--database", metavar="DSN", help="a PostgreSQL [default: an embedded one, new]")
    add(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="FILE",
        help="where the picture goes [default: %(default)s]",
    )
    given = parser.parse_args()
    given.pages_given = given.pages is not None
    given.pages = given.pages or 3000
    return conclude(parser.prog, bench(given))


if __name__ == "__main__":
    sys.exit(main())
