"""`crawl run`: a whole crawl in one process tree."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from crawler.adapters.crawls import Wish
from crawler.adapters.domains import Domains
from crawler.alerts import Alerts, alerting
from crawler.cli import FAILED, INTERRUPTED, Door
from crawler.cli.options import DURATION, fetch_options, log_options, queue_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.cli.summary import as_dict, as_text
from crawler.cli.telling import telling
from crawler.cli.wishing import crawl_options
from crawler.core.urls import domain_id
from crawler.crawling import Summary, crawl
from crawler.export_formats import order_for, refuse_unwritable_as
from crawler.exporting import export_to
from crawler.hook_processes import refuse_hooks
from crawler.memory import collect_less
from crawler.monitoring import watched
from crawler.opening import Opened, opened
from crawler.phrases import seen
from crawler.seeds import Seeds
from crawler.settings import Settings
from crawler.steering import refuse_stopped
from crawler.telemetry import configure
from crawler.wishing import seeds_asked, wish_by


@click.command("run")
@click.argument("urls", nargs=-1, metavar="URL...")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read more seeds, one a line.",
)
@click.option("--name", help="The crawl's name. [default: the first seed's domain]")
@crawl_options
@fetch_options
@click.option(
    "--max-time", type=DURATION, help="End this run after so long; the same command goes on. [default: none]"
)
@click.option(
    "--export",
    "export_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the pages to FILE in the end: .jsonl, .jsonl.zst, .parquet or .warc.gz.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress, only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@log_options
@queue_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Crawl from these URLs, politely, until nothing is left to do, and store every page.

    Run again, it goes on where it was, or does nothing if all is done.

    \b
    Example:
      crawl run https://example.com/
      crawl run https://example.com/ --max-pages 1000 --delay 2s --export pages.jsonl
    """  # noqa: D301  # \b tells click to keep the lines
    if given["as_json"] and str(given["export_file"]) == "-":
        raise click.UsageError(
            "--json and --export - both write to standard output: give --export a file", ctx
        )
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    if given["export_file"] is not None:
        refuse_unwritable_as(order_for(given["export_file"]))
    seeds = seeds_asked(given["urls"], given)
    for line in seeds.bad[:3]:
        click.echo(f"crawl: skipped: {seen(line)}", err=True)
    if len(seeds.bad) > len(seeds.bad[:3]):
        click.echo(f"crawl: skipped: {len(seeds.bad)} seeds in all", err=True)
    settings = settings_from(
        ctx,
        user_agent=given["user_agent"],
    ).settings
    wish = wish_by(seeds, given, settings)
    with alerting(settings, crawl=wish.name) as alerts:
        collect_less()
        return uvloop.run(
            _run(
                settings,
                wish,
                seeds,
                alerts,
                max_time=given["max_time"],
                as_json=given["as_json"],
                quiet=given["quiet"],
                export_file=given["export_file"],
            )
        )


async def _run(
    settings: Settings,
    wish: Wish,
    seeds: Seeds,
    alerts: Alerts,
    *,
    max_time: float | None,
    as_json: bool,
    quiet: bool,
    export_file: Path | None,
) -> int:
    stop, hurry, time_is_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
    await refuse_hooks(settings)
    async with opened(settings) as place, watched(settings, place.database, quiet=quiet) as told:
        await refuse_stopped(place, wish.name)
        await _tell_blocked(place, seeds)
        if max_time is not None:
            asyncio.get_running_loop().call_later(max_time, _time_is_up, stop, time_is_up)
        with telling(f"crawling {wish.name}", quiet=quiet or settings.log_format == "json") as teller:
            heed_signals(stop, hurry, teller.stopping)
            summary = await crawl(
                settings,
                place,
                wish,
                seeds.urls,
                stop=stop,
                hurry=hurry,
                tell=teller,
                alerts=alerts,
                begun=told.begun,
            )
        if time_is_up.is_set():
            summary = replace(summary, interrupted=False)
        if export_file is not None:
            await export_to(place.database, summary.crawl, order_for(export_file), anew=True)
        option = place.option
    if as_json:
        click.echo(json.dumps(as_dict(summary, place.place) | {"time_is_up": time_is_up.is_set()}))
    else:
        # Pages on standard output are for a program: what a person is told goes elsewhere.
        click.echo(as_text(summary, place.place, option), err=str(export_file) == "-")
    return _status(summary)


def _time_is_up(stop: asyncio.Event, time_is_up: asyncio.Event) -> None:
    if not stop.is_set():
        stop.set()
        time_is_up.set()
        click.echo("crawl: --max-time is over: the same command goes on", err=True)


async def _tell_blocked(place: Opened, seeds: Seeds) -> None:
    """A seed of a blocked domain waits until that is unblocked: better said now."""
    numbers = {domain_id(name): name for name in seeds.domains}
    for number, standing in (await Domains(place.database).by_hand(numbers)).items():
        if standing.blocked is not None:
            name = numbers[number]
            click.echo(
                f"crawl: warning: {name} is blocked ({seen(standing.blocked)}): `crawl domain {name}{place.option} --unblock`",
                err=True,
            )


def _status(summary: Summary) -> int:
    if summary.interrupted:
        return INTERRUPTED
    return 0 if summary.seeds_stored else FAILED
