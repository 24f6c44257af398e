"""What `crawl seed` and `crawl import` have in common: the options they check, what they show meanwhile, and how they end."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final, Protocol

import click
from click.core import ParameterSource
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crawler.adapters.hosts import HostsFile
from crawler.cli.options import Command, queue_options, settings_from
from crawler.cli.wishing import crawl_options
from crawler.core.addresses import AddressPolicy
from crawler.core.model import Crawl, CrawlState
from crawler.core.urls import domain_of
from crawler.opening import Opened
from crawler.phrases import count, seen, span
from crawler.seeding import Result, Tally, Teller
from crawler.seeds import refuse_private
from crawler.settings import Settings
from crawler.wishing import refuse_unclear, wish_of

LONG: Final = 1.0
"""Seconds after which it is worth saying how long it took."""
IDLE: Final = 3.0
"""Seconds without a batch after which nothing seems to come; also PostgreSQL may be slow."""
SHORT: Final = 0.001


def sowing_options(command: Command) -> Command:
    """The options of a crawl, where its data lie, and what the command shows."""
    net = click.option(
        "--allow-net",
        multiple=True,
        metavar="CIDR",
        help="A private network that the workers may fetch from; may be repeated.",
    )
    quiet = click.option("--quiet", "-q", is_flag=True, help="Show no progress, only the summary.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
    return crawl_options(net(quiet(as_json(queue_options(command)))))


class Stoppable(Protocol):
    """What is read."""

    stopped: bool

    def stop(self) -> None:
        """Let it end here."""


def checked(
    ctx: click.Context, given: Mapping[str, Any], named: Collection[str]
) -> tuple[Settings, frozenset[str]]:
    """The settings, and the options that were given by hand, when nothing is wrong with them and the *named* seeds.

    Raises:
        UsageError, click.UsageError: something is.
    """
    refuse_unclear(given)
    settings = settings_from(ctx, user_agent=given["user_agent"]).settings
    refuse_private(named, AddressPolicy(settings.allow_nets), HostsFile(settings.hosts_file))
    domains = {domain_of(url) for url in named}
    if given["ignore_robots"] and not given["i_own"] and not domains:
        raise click.UsageError(
            "--ignore-robots is for your own sites only: name every seed's domain with --i-own", ctx
        )
    wish_of(given, given["name"], domains, settings)  # whatever is wrong with it, before anything is done
    return settings, frozenset(
        option for option in given if ctx.get_parameter_source(option) is ParameterSource.COMMANDLINE
    )


def heed_signals(source: Stoppable | None, teller: Teller) -> None:
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
def last_words(tally: Tally, teller: Teller) -> Iterator[None]:
    """However it fails, what was taken is safe."""
    try:
        yield
    except BaseException:
        if tally.lines:
            teller.say(f"{counts(tally)} were taken before that; the same command goes on")
        raise


@contextlib.contextmanager
def telling(doing: str, *, quiet: bool) -> Iterator[Teller]:
    """The teller that fits where stderr goes. *doing*: what is done to which crawl, in two words."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not quiet:
        teller = OnTerminal(doing, console)
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

    def __init__(self, doing: str, console: Console) -> None:
        self._doing = doing
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
            self._doing,
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
    if tally.left_out:
        words.append(f"{tally.left_out:,} left out")
    if tally.forgotten:
        words.append(f"{tally.forgotten:,} of forgotten domains")
    return ", ".join(words)


def counts(tally: Tally) -> str:
    """How many lines, and what became of them."""
    return f"{count(tally.lines, 'line')} ({_kinds(tally)})"


def as_dict(name: str, result: Result, tally: Tally, place: Opened) -> dict[str, Any]:
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


def as_text(crawl: Crawl, result: Result, tally: Tally, place: Opened, *, workers: int) -> str:
    """The summary as a person reads it, with what to do next."""
    shown, option = seen(crawl.name), place.option
    lines = [f"crawl {shown} {'made' if result.is_new else 'extended'}: {counts(tally)}"]
    if result.seconds > LONG:
        lines.append(f"  speed      {tally.lines / result.seconds:,.0f} lines/s, {span(result.seconds)}")
    if tally.queued:
        lines.append(f"  queue      {count(tally.queued, 'turn')} put on it")
    if tally.overdue:
        why = f"last visited longer ago than the rule {crawl.refresh} wants (--at now would count from today)"
        lines.append(f"  due        {count(tally.overdue, 'URL')} at once: {why}")
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
