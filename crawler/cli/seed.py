"""`crawl seed`: give a crawl its seeds, for workers on any number of machines."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from crawler.cli import DONE, FAILED, INTERRUPTED, Door
from crawler.cli.sowing import (
    as_dict,
    as_text,
    checked,
    counts,
    heed_signals,
    last_words,
    sowing_options,
    telling,
)
from crawler.core.urls import canonical_or_error
from crawler.opening import opened
from crawler.seeding import Reader, Tally, seed
from crawler.seeds import Source, open_input, refuse_name
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.wishing import Making, sieve_of

STDIN: Final = "-"


@click.command("seed")
@click.argument("name")
@click.argument("urls", nargs=-1, metavar="URL...|-")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read seeds, one a line; -: from standard input.",
)
@sowing_options
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
    settings, asked = checked(ctx, given, named)
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
        with telling(f"seeding {given['name']}", quiet=given["quiet"]) as teller:
            heed_signals(source, teller)
            making = Making(place, settings, given, asked, teller)
            outline = await making.outline()
            reader = Reader(named, source, sieve_of(outline, settings), teller)
            with last_words(tally, teller):
                result = await seed(settings, place, reader, making.make, tally=tally, teller=teller)
        workers = int(await place.database.value("workers_slots"))
    interrupted = source is not None and source.stopped
    if given["as_json"]:
        told = as_dict(given["name"], result, tally, place)
        queued = None if settings.amqp_url is None else tally.queued
        click.echo(json.dumps(told | {"queued": queued, "interrupted": interrupted}))
    elif interrupted:
        click.echo(f"interrupted: {counts(tally)} were taken; the same command goes on")
    elif result.crawl is None:
        click.echo(f"crawl: nothing to seed: {counts(tally)}", err=True)
    else:
        click.echo(as_text(result.crawl, result, tally, place, workers=workers))
    if interrupted:
        return INTERRUPTED
    return DONE if tally.new or tally.known else FAILED
