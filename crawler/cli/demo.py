"""`crawl demo`: a small hostile web on loopback, crawled before the user's eyes."""

import asyncio
import contextlib
import io
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crawler.cli import DONE, FAILED, INTERRUPTED, Door
from crawler.cli.looking import print_json
from crawler.cli.options import settings_from
from crawler.cli.summary import as_dict
from crawler.core.errors import UsageError
from crawler.crawling import Summary
from crawler.demo.promises import Found, Verdict, judge
from crawler.demo.running import DELAY, Moment, crawled, witness
from crawler.demo.server import Web, serving
from crawler.demo.webs import ABOUT, NAMES, hostile_web
from crawler.opening import has_cluster
from crawler.phrases import count, seen
from crawler.telemetry import configure

EVERY: Final = 2.0
"""Seconds between lines of progress."""


@click.command("demo")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the database in DIR, to look into it afterwards. [default: removed at the end]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the promises as JSON, and nothing else.")
@click.pass_context
def command(ctx: click.Context, /, *, keep: Path | None, as_json: bool) -> int:
    """Serve a small hostile web on this machine, crawl it, and show which promises were kept.

    It needs no network, no privileges, and half a minute; nothing stays behind.
    Exit status 1: a promise was broken.

    \b
    Example:
      crawl demo
      crawl demo --keep /tmp/demo && crawl status --data /tmp/demo
    """  # noqa: D301  # \b tells click to keep the lines
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    if keep is not None and has_cluster(keep):
        raise UsageError(f"{keep} holds a database already: name a new folder")
    # Only where PostgreSQL is may differ here: whatever else was set up is for the real web.
    postgres_bin = settings_from(ctx).settings.postgres_bin
    teller = Teller(quiet=as_json)
    with _folder(keep) as data, serving(hostile_web(), NAMES) as web:
        teller.serves(web)
        summary, found = uvloop.run(_crawl(web, data, postgres_bin, teller))
    if summary.interrupted:
        click.echo("interrupted: there is nothing to judge", err=True)
        return INTERRUPTED
    verdicts = judge(witness(web, found))
    kept = all(verdict.kept for verdict in verdicts)
    if as_json:
        facts = {name: as_dict(summary, str(keep))[name] for name in ("pages", "seconds", "outcomes")}
        print_json(
            {"kept": kept, "promises": [asdict(one) for one in verdicts], "requests": len(web.log), **facts}
        )
    else:
        teller.judged(verdicts)
        teller.ends(web, keep)
    return DONE if kept else FAILED


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="faircrawl-demo-") as folder:
        yield Path(folder)


async def _crawl(
    web: Web, data: Path, postgres_bin: Path | None, teller: "Teller"
) -> tuple[Summary, dict[str, Found]]:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await crawled(web, data, postgres_bin=postgres_bin, stop=stop, tell=teller.moment)


class Teller:
    """Says what is served, how far it has come, and how it ended: in colour on a terminal, plainly elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._told = -EVERY
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # titles in many letters, whatever the locale has
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        can = (sys.stdout.encoding or "").lower().startswith("utf")
        self._marks = ("✓", "✗") if can else ("kept", "BROKEN")

    def serves(self, web: Web) -> None:
        """What there is to be crawled."""
        if self._quiet:
            return
        host, port = web.names.where
        self._rows(
            f"A small hostile web: {len(web.sites)} hosts on 127.0.0.1:{web.port}, names at {host}:{port}",
            [(Text(name, "cyan"), Text(what)) for name, what in ABOUT.items()],
        )
        click.echo()
        click.secho(f"Crawling it: 2 processes, {DELAY:g} s between two requests to a domain", bold=True)

    def moment(self, now: Moment) -> None:
        """Called several times a second."""
        if self._quiet or now.seconds - self._told < EVERY:
            return
        self._told = now.seconds
        far = (
            f"  {now.seconds:4.1f} s  {count(now.requests, 'request'):>12}  {count(now.domains, 'domain'):>10}"
            f"  {count(now.pages, 'page'):>9}"
        )
        line = f"{far}  {now.waits_for}".rstrip()
        fits = self._width is None or len(line) <= self._width
        click.echo(line if fits else f"{far}\n          {now.waits_for}")

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """The table of promises."""
        rows = [
            (
                Text(self._marks[0], "bold green") if one.kept else Text(self._marks[1], "bold red"),
                Text(one.promise, "" if one.kept else "red"),
                Text(seen(one.evidence), "dim" if one.kept else "red"),
            )
            for one in verdicts
        ]
        kept = sum(one.kept for one in verdicts)
        self._rows(f"{kept} of {count(len(verdicts), 'promise')} kept", rows)

    def ends(self, web: Web, keep: Path | None) -> None:
        """What to try next."""
        if keep is None:
            tries = [
                ("crawl demo --keep DIR", "keeps what was stored, to look into it"),
                ("crawl run https://example.com/ --max-pages 20", "crawls a real site"),
            ]
        else:
            where = f"--data {shlex.quote(str(keep))}"
            tries = [
                (f"crawl status demo {where}", "counts by outcome"),
                (f"crawl why {web.url('rules.test', '/private/1')} {where}", "why it was not fetched"),
                (f"crawl export demo {where}", "the pages"),
            ]
        self._rows("Next", [(Text(words, "cyan"), Text(what)) for words, what in tries], copied=True)

    def _rows(self, heading: str, rows: Sequence[tuple[Text, ...]], *, copied: bool = False) -> None:
        """A heading, and rows below it: a table on a terminal, a line each elsewhere. What is *copied* is not broken."""
        click.echo()
        click.secho(heading, bold=True)
        if copied or not sys.stdout.isatty():
            for row in rows:
                *before, words, what = (cell.plain for cell in row)
                click.echo("  " + " ".join([*before, words + ("  # " if copied else ": ") + what]))
            return
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column()
        for _ in rows[0][:-2]:
            table.add_column(no_wrap=True)
        console = Console(highlight=False)
        table.add_column(max_width=console.width * 2 // 5)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row("", *row)
        console.print(table)
