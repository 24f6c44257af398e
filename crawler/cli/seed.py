"""`crawl seed`: give a crawl its seeds, for workers on any number of machines."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import uvloop
from click.core import ParameterSource
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crawler.adapters.hosts import HostsFile
from crawler.cli import DONE, FAILED, INTERRUPTED, Door
from crawler.cli.options import queue_options, settings_from
from crawler.cli.wishing import crawl_options
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Crawl, CrawlState
from crawler.core.urls import canonical_or_error, domain_of
from crawler.opening import Opened, opened
from crawler.phrases import count, seen, span
from crawler.seeding import Reader, Result, Tally, Teller, seed
from crawler.seeds import Source, open_input, refuse_name, refuse_private
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.wishing import Making, refuse_unclear, sieve_of, wish_of

STDIN: Final = "-"
LONG: Final = 1.0
"""Seconds after which it is worth saying how long it took."""
IDLE: Final = 3.0
"""Seconds without a batch after which nothing seems to come; also PostgreSQL may be slow."""
SHORT: Final = 0.001


@click.command("seed")
@click.argument("name")
@click.argument("urls", nargs=-1, metavar="URL...|-")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read seeds, one a line; -: from standard input.",
)
@crawl_options
@click.option(
    "--allow-net",
    multiple=True,
    metavar="CIDR",
    help="A private network that the workers may fetch from; may be repeated.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Make crawl NAME, or extend it, and put its seeds on the queue: `crawl worker` fetches, here or on other machines.

    Of a crawl that exists, what no option names stays as it is. A line that is no URL is passed over.
    Without --max-pages-per-domain, a crawl that begins with the seeds of a single domain, and not too many, stores all of it.

    \b
    Example:
      crawl seed news https://example.com/ https://example.org/ --max-pages 1000
      crawl seed news --file seeds.txt
      zcat seeds.gz | crawl seed news -
    """  # noqa: D301  # \b tells click to keep the lines
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    refuse_name(given["name"])
    file = _file(ctx, given)
    named = tuple(dict.fromkeys(canonical_or_error(text) for text in given["urls"] if text != STDIN))
    refuse_unclear(given)
    settings = settings_from(ctx, user_agent=given["user_agent"]).settings
    refuse_private(named, AddressPolicy(settings.allow_nets), HostsFile(settings.hosts_file))
    domains = {domain_of(url) for url in named}
    if given["ignore_robots"] and not given["i_own"] and not domains:
        raise click.UsageError(
            "--ignore-robots is for your own sites only: name every seed's domain with --i-own", ctx
        )
    wish_of(given, given["name"], domains, settings)  # whatever is wrong with it, before anything is done
    asked = frozenset(
        option for option in given if ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE
    )
    fd = None if file is None else open_input(file)
    try:
        source = None if fd is None or file is None else Source(fd, file)
        return uvloop.run(_seed(settings, given, asked, named, source))
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        if fd is not None:
            os.close(fd)


def _file(ctx: click.Context, given: Mapping[str, Any]) -> Path | None:
    """Where seeds are read from, besides those that were named."""
    file: Path | None = given["file"]
    if STDIN in given["urls"]:
        if file is not None and str(file) != STDIN:
            raise click.UsageError("- and --file both name a place to read from: give one of them", ctx)
        return Path(STDIN)
    if file is None and not given["urls"]:
        name = given["name"]
        raise click.UsageError(
            f"no URL to begin with: name one, as in `crawl seed {name} https://example.com/`, or give --file FILE, or -",
            ctx,
        )
    return file


async def _seed(
    settings: Settings,
    given: Mapping[str, Any],
    asked: frozenset[str],
    named: Sequence[str],
    source: Source | None,
) -> int:
    tally = Tally()
    async with opened(settings) as place:
        with _telling(given["name"], quiet=given["quiet"]) as teller:
            _heed_signals(source, teller)
            making = Making(place, settings, given, asked, teller)
            outline = await making.outline()
            reader = Reader(named, source, sieve_of(outline, settings), teller)
            with _last_words(tally, teller):
                result = await seed(settings, place, reader, making.make, tally=tally, teller=teller)
        workers = int(await place.database.value("workers_slots"))
    interrupted = source is not None and source.stopped
    if given["as_json"]:
        told = _as_dict(given["name"], result, tally, place)
        queued = None if settings.amqp_url is None else tally.queued
        click.echo(json.dumps(told | {"queued": queued, "interrupted": interrupted}))
    elif interrupted:
        click.echo(f"interrupted: {_counts(tally)} were taken; the same command goes on")
    elif result.crawl is None:
        click.echo(f"crawl: nothing to seed: {_counts(tally)}", err=True)
    else:
        click.echo(_as_text(result.crawl, result, tally, place, workers=workers))
    if interrupted:
        return INTERRUPTED
    return DONE if tally.new or tally.known else FAILED


def _heed_signals(source: Source | None, teller: Teller) -> None:
    """The first Ctrl-C or SIGTERM ends the reading, and what was read is put; the second ends it all."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def heed() -> None:
        if source is not None and not source.stopped:
            source.stop()
            teller.say("stopping when what was read is on the frontier; interrupt again to stop at once")
        elif task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, heed)


@contextlib.contextmanager
def _last_words(tally: Tally, teller: Teller) -> Iterator[None]:
    """However it fails, what was taken is safe."""
    try:
        yield
    except BaseException:
        if tally.lines:
            teller.say(f"{_counts(tally)} were taken before that; the same command goes on")
        raise


@contextlib.contextmanager
def _telling(name: str, *, quiet: bool) -> Iterator[Teller]:
    """The teller that fits where stderr goes."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not quiet:
        teller = OnTerminal(name, console)
        with Live(teller, console=console, refresh_per_second=4, transient=True):
            yield teller
    else:
        yield Elsewhere()


class Elsewhere:
    """Says only what has to be said."""

    def __call__(self, tally: Tally) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """A line that stays."""
        click.echo(f"crawl: {seen(text)}", err=True)


class OnTerminal:
    """Two lines that move."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._tally = Tally()
        self._began = self._last = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        """There is news."""
        self._tally = tally
        self._last = time.monotonic()

    def __rich__(self) -> Table:
        """The lines as they are now."""
        tally, now = self._tally, time.monotonic()
        speed = tally.lines / max(self._last - self._began, SHORT)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        table.add_row(
            f"seeding {self._name}",
            Text.assemble(
                (f"{tally.lines:,}", "bold green"), " lines  ", (f"{speed:,.0f}", "bold"), " lines/s  ", span(now - self._began)
            ),
        )  # fmt: skip
        waits = now - self._last > IDLE
        table.add_row("waits for" if waits else "so far", "more lines" if waits else _kinds(tally))
        return table

    def say(self, text: str) -> None:
        """A line that stays, above them."""
        self._console.print(Text(f"crawl: {seen(text)}"), soft_wrap=True)


def _kinds(tally: Tally) -> str:
    """What became of the lines."""
    words = [f"{tally.new:,} new", f"{tally.known:,} known"]
    if tally.again:
        words[-1] += f" ({tally.again:,} of them tried again)"
    words.append(f"{tally.bad:,} bad")
    if tally.forgotten:
        words.append(f"{tally.forgotten:,} of forgotten domains")
    return ", ".join(words)


def _counts(tally: Tally) -> str:
    return f"{count(tally.lines, 'line')} ({_kinds(tally)})"


def _as_dict(name: str, result: Result, tally: Tally, place: Opened) -> dict[str, Any]:
    """The summary as JSON has it."""
    return {
        "crawl": name,
        "state": None if result.crawl is None else result.crawl.state.value,
        "created": result.is_new,
        **asdict(tally),
        "seconds": round(result.seconds, 3),
        "lines_per_second": round(tally.lines / result.seconds, 1) if result.seconds else 0.0,
        "data": place.place,
    }


def _as_text(crawl: Crawl, result: Result, tally: Tally, place: Opened, *, workers: int) -> str:
    """The summary as a person reads it, with what to do next."""
    shown, option = seen(crawl.name), place.option
    lines = [f"crawl {shown} {'made' if result.is_new else 'extended'}: {_counts(tally)}"]
    if result.seconds > LONG:
        lines.append(f"  speed      {tally.lines / result.seconds:,.0f} lines/s, {span(result.seconds)}")
    if tally.queued:
        lines.append(f"  queue      {count(tally.queued, 'turn')} put on it")
    lines.append(f"  data       {place.place}")
    match crawl.state:
        case CrawlState.PAUSED | CrawlState.CANCELLED:
            lines.append(f"  state      {crawl.state}, and stays so")
            again = f"crawl resume {shown}{option}"
        case CrawlState.FINISHED if tally.new or tally.again:
            lines.append("  state      finished: a limit is reached")
            again = f"crawl set {shown} max-pages=N{option}"
        case CrawlState.FINISHED:
            lines.append("  state      finished, since nothing was new")
            again = f"crawl status {shown}{option}"
        case _ if workers:
            again = f"crawl status {shown}{option}"
        case _:
            again = f"crawl worker{option}"
    lines.append(f"  next       {again}")
    return "\n".join(lines)
