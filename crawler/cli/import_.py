"""`crawl import`: bring seeds, and URLs that were visited elsewhere, from the files of other programs."""

import asyncio
import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import uvloop

from crawler.adapters.crawls import Crawls, Wish
from crawler.adapters.importing import Importing
from crawler.adapters.seeding import Seeding
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
from crawler.core.errors import UsageError
from crawler.core.headers import is_secret, parse_headers
from crawler.core.lastmod import lastmod
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.scope import KeySet, Scope, scope_key
from crawler.core.urls import canonical_or_error, domain_of
from crawler.foreign import AUTO, FORMATS, Reading
from crawler.importing import STDIN, Importer, Judge
from crawler.opening import Opened, opened
from crawler.seeding import Reader, Tally, Teller, seed
from crawler.seeds import refuse_name
from crawler.settings import Settings
from crawler.telemetry import configure
from crawler.wishing import Making, sieve_of

NOW: Final = "now"


@click.command("import")
@click.argument("name")
@click.argument("files", nargs=-1, required=True, metavar="FILE...|-", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=AUTO,
    show_default=True,
    help="What the files are: a URL a line, sitemaps and feeds, CDX and CDXJ, or Scrapy's feeds (JSON lines, JSON, CSV, XML).",
)
@click.option(
    "--seen",
    is_flag=True,
    help="The URLs were visited elsewhere: they are not fetched now, but when the crawl's refresh rule wants them again.",
)
@click.option(
    "--at",
    metavar="WHEN",
    help="With --seen: when they were visited, such as 2026-03-01; now. [default: as the file says, or now]",
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="URL",
    help="A seed besides, put on the queue after what the files hold; may be repeated.",
)
@click.option(
    "--url-key",
    metavar="KEY",
    help="Where an item of a feed has its URL. [default: url, response_url or link]",
)
@sowing_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:  # fmt: skip
    """Make crawl NAME, or extend it, with what other programs know: as seeds, or with --seen as URLs that were visited.

    The files may be packed (gzip, zstd). A line that says nothing of a URL is passed over, and so is what NAME would not follow.
    What NAME knows already stays as it is, so that the same command may be given again.

    \b
    Example:
      crawl import news sitemap.xml.gz
      crawl import news --seen --seed https://example.com/ archive.cdx.gz
      crawl import shop --seen --at 2026-03-01 --scope any items.jsonl
      zcat urls.gz | crawl import news -
    """  # noqa: D301  # \b tells click to keep the lines
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    refuse_name(given["name"])
    for file in given["files"]:
        _refuse_unreadable(file)
    if given["at"] is not None and not given["seen"]:
        raise click.UsageError("--at says when URLs were visited elsewhere: give --seen too", ctx)
    named = tuple(dict.fromkeys(canonical_or_error(text) for text in given["seeds"]))
    settings, asked = checked(ctx, given, named)
    secret = next((header for header, _ in parse_headers(given["headers"]) if is_secret(header)), None)
    if given["seen"] and secret is not None and not named:
        raise UsageError(
            f"the header {secret} holds a secret, which is sent to the seeds' domains only: name them, with --seed"
        )
    try:
        return uvloop.run(_import(settings, given, asked, named))
    except asyncio.CancelledError:
        raise click.Abort from None


def _refuse_unreadable(file: Path) -> None:
    """Tell a person before anything is done. Raises UsageError."""
    if str(file) == STDIN:
        return
    if file.is_dir():
        queue = "; Scrapy's queue is pickled, and never read" if (file / "requests.seen").exists() else ""
        raise UsageError(f"{file} is a folder: name the files in it{queue}")
    if not os.access(file, os.R_OK):
        raise UsageError(f"{file} cannot be read: {'permission denied' if file.exists() else 'no such file'}")


async def _import(
    settings: Settings, given: Mapping[str, Any], asked: frozenset[str], named: Sequence[str]
) -> int:
    tally = Tally()
    async with opened(settings) as place:
        with telling(f"importing {given['name']}", quiet=given["quiet"]) as teller:
            making = Making(place, settings, given, asked, teller)
            outline = await making.outline()
            importer = await _importer(place, settings, given, outline, named=named, teller=teller)
            heed_signals(importer, teller)

            async def make(domains: Collection[str], all_known: bool) -> tuple[Crawl, bool]:  # noqa: FBT001 - as `seed` calls it
                own = {domain_of(url) for url in named}
                # What was seen elsewhere is no seed: secrets are not sent there, and it makes no crawl one of many domains.
                return (
                    await making.make(own, all_known=True)
                    if given["seen"] and own
                    else await making.make(domains, all_known)
                )

            try:
                with last_words(tally, teller):
                    result = await seed(
                        settings, place, importer, make, tally=tally, teller=teller, sowing=Importing if given["seen"] else Seeding
                    )  # fmt: skip
                    if named and not importer.stopped:
                        # Last, or whoever works would fetch what the files say was seen.
                        reader = Reader(named, None, sieve_of(outline, settings), teller)
                        last = await seed(settings, place, reader, making.make, tally=tally, teller=teller)
                        result = last if result.crawl is None else result
            finally:
                importer.close()
        workers = int(await place.database.value("workers_slots"))
    if given["as_json"]:
        told = as_dict(given["name"], result, tally, place)
        queued = None if settings.amqp_url is None else tally.queued
        click.echo(
            json.dumps(
                told | {"queued": queued, "damaged_files": importer.damaged, "interrupted": importer.stopped}
            )
        )
    elif importer.stopped:
        click.echo(f"interrupted: {counts(tally)} were taken; the same command goes on")
    elif result.crawl is None:
        click.echo(f"crawl: nothing to import: {counts(tally)}", err=True)
    else:
        click.echo(as_text(result.crawl, result, tally, place, workers=workers))
    if importer.stopped:
        return INTERRUPTED
    return DONE if (tally.new or tally.known) and not importer.damaged else FAILED


async def _importer(
    place: Opened,
    settings: Settings,
    given: Mapping[str, Any],
    outline: Wish,
    *,
    named: Sequence[str],
    teller: Teller,
) -> Importer:
    """What reads the files. Raises UsageError: it cannot be told what the crawl would follow, or when that was."""
    now = await place.database.value("clock")
    sieve = sieve_of(outline, settings)
    scope = await _scope(place, given, outline, named) if given["seen"] else None
    reading = Reading(given["form"], given["url_key"], now)
    return Importer(given["files"], reading, Judge(sieve, scope, _moment(given["at"], now)), teller)


def _moment(text: str | None, now: datetime) -> datetime | None:
    """The moment that --at means. Raises UsageError."""
    if text is None:
        return None
    found = now if text == NOW else lastmod(text, now)
    if found is None:
        raise UsageError(f"--at {text} is no time: give one such as 2026-03-01, 2026-03-01T12:00Z or now")
    return min(found, now)


async def _scope(place: Opened, given: Mapping[str, Any], outline: Wish, named: Sequence[str]) -> Scope:
    """What the crawl follows, with the seeds that are named. Raises UsageError: it has none, so that nothing is in its scope."""
    crawls = Crawls(place.database)
    crawl = await crawls.by_name(given["name"])
    known = () if crawl is None else await crawls.keys(crawl.crawl_id)
    keys = KeySet((*known, *(scope_key(outline.scope, url) for url in named)))
    if not keys and outline.scope is not ScopeKind.ANY:
        raise UsageError(
            f"nothing is in the scope of the crawl {given['name']}, since it has no seed: name where it begins, "
            "with --seed URL, or take every URL, with --scope any"
        )
    like = Crawl(0, "", CrawlState.RUNNING, 0, outline.scope, outline.include, outline.exclude)
    return Scope.of(like, keys)
