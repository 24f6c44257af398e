"""`crawl export`: the pages of a crawl, or what they link to."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.looking import run
from crawler.cli.options import SIZE, database_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.core.errors import UsageError
from crawler.core.model import Outcome
from crawler.export_files import is_stream
from crawler.export_formats import Kind, Order, is_zstd, kind_of, refuse_unwritable_as
from crawler.exporting import export_to, without_pages
from crawler.follow_export import follow_to, refuse_unfollowable
from crawler.linking import Graph, links_to, refuse_unlinkable
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count, seen
from crawler.selection import NOW, Selection, domains, media_types, moment
from crawler.settings import Settings

STORED: Final = [one.value for one in Outcome if one is not Outcome.NOT_MODIFIED]
"""Outcomes that a page can have: one that was not modified is as it was."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be done."""

    order: Order
    links: Graph | None
    follow: bool
    until_finished: bool


@click.command("export")
@click.argument("name")
@click.option(
    "--format",
    "kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="jsonl: a JSON object a line. parquet: typed columns. warc: as archives keep it. [default: by the name of FILE, or jsonl]",
)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="Where to; the file appears when it is whole. A name that ends with / is a folder of files. [default: -, standard output]",
)
@click.option("--bodies", is_flag=True, help="Add the HTML of each page, as the key body.")
@click.option(
    "--compress",
    type=click.Choice(["zstd"]),
    help="Compress JSON lines or edges. [default: if FILE ends with .zst]",
)
@click.option(
    "--domain", "names", multiple=True, metavar="D", help="Only pages of this domain; may be repeated."
)
@click.option(
    "--outcome", "outcomes", multiple=True, type=click.Choice(STORED), metavar="O",
    help="Only pages that ended so, such as ok; may be repeated.",
)  # fmt: skip
@click.option(
    "--types", metavar="MIME,...", help="Only pages of these media types, such as text/html,image/*"
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Only what is new or changed since then: 2026-11-22T08:00Z, or an age like 7d.",
)
@click.option("--until", metavar="WHEN", help="Only what was new or changed before then.")
@click.option(
    "--follow", is_flag=True,
    help="Write what is stored, then what comes as it is stored, until told to stop; --since now leaves out the first.",
)  # fmt: skip
@click.option(
    "--until-finished",
    is_flag=True,
    help="With --follow: end when the crawl does not run (any more), and all is written.",
)
@click.option(
    "--links", type=click.Choice([graph.value for graph in Graph]), is_flag=False, flag_value=Graph.EDGES.value,
    help="Write no pages, but what they link to: edges, two URLs a line; webgraph, numbers and a table of URLs. [default: edges]",
)  # fmt: skip
@click.option(
    "--warc-size",
    type=SIZE,
    metavar="SIZE",
    help="With warc: bytes of a file at most. [default: 1 GB, by custom]",
)
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, **given: Any) -> int:
    """Write what is stored of crawl NAME, a page a line, ordered by domain and URL.

    Each line has the keys url, crawl, first_at, fetched_at, changed_at, status, outcome, content_type, charset, title, language,
    text, length, digest, depth, redirect_to, directives, headers and fields (what hooks said). Pages that say noindex are there:
    look at directives.

    What was interrupted goes on where it was, if the same command is given again.

    \b
    Example:
      crawl export example.com -o pages.jsonl
      crawl export example.com --outcome ok --since 7d -o week.parquet
      crawl export example.com --follow -o pages.jsonl
      crawl export example.com | jq -r 'select(.outcome == "ok") | .title'
    """  # noqa: D301  # \b tells click to keep the lines
    asked = _asked(given, datetime.now(UTC))
    return run(_export(settings_from(ctx).settings, name, asked))


def _asked(given: dict[str, Any], now: datetime) -> _Asked:
    """What the options say. Raises UsageError: they contradict each other."""
    if given["since"] is not None:
        given["since"] = given["since"].strip()
    output = Path(given["output"])
    links = None if given["links"] is None else Graph(given["links"])
    kind = Kind(given["kind"]) if given["kind"] else Kind.JSONL if links else kind_of(output)
    words = {key: given[key] for key in ("names", "outcomes", "types", "since", "until") if given[key]}
    # The clock that says when pages became what they are is not ours: what is stored from now on, the cursor alone tells.
    from_now = given["follow"] and given["since"] == NOW
    selection = Selection(
        domains(given["names"]),
        given["outcomes"],
        media_types(given["types"]) if given["types"] is not None else (),
        None if given["since"] is None or from_now else moment(given["since"], now),
        moment(given["until"], now) if given["until"] is not None else None,
    )
    zstd = given["compress"] == "zstd" or is_zstd(output)
    if given["warc_size"] is not None and kind is not Kind.WARC:
        raise UsageError("--warc-size is of --format warc: give it that too")
    folder, size = given["output"].endswith("/"), given["warc_size"]
    order = Order(output, kind, given["bodies"], zstd, selection, words, folder, size)
    if given["follow"]:
        refuse_unfollowable(order)
    elif given["until_finished"]:
        raise UsageError("--until-finished says when --follow ends: give it that too")
    if links is not None:
        if given["follow"] or given["kind"]:
            raise UsageError(
                f"--links has formats of its own: leave out {'--follow' if given['follow'] else '--format'}"
            )
        refuse_unlinkable(order, links)
    if links is not Graph.WEBGRAPH:
        refuse_unwritable_as(order)
    return _Asked(order, links, given["follow"], given["until_finished"])


async def _export(settings: Settings, name: str, asked: _Asked) -> None:
    order = asked.order
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        written = await _written(place, name, asked)
    if not is_stream(order.output) and sys.stderr.isatty():
        noun = "page" if asked.links is None else "link"
        _tell(f"{count(written, noun)} of crawl {seen(name)} in {order.output}")


async def _written(place: Opened, name: str, asked: _Asked) -> int:
    order = asked.order
    crawl = await crawl_named(Crawls(place.database), name)
    for domain in await without_pages(place.database, crawl, order.selection):
        _tell(f"there is no page of {domain} in crawl {crawl.name}")
    if asked.links is not None:
        return await links_to(place.database, crawl, order, asked.links, _tell)
    if asked.follow:
        stop = asyncio.Event()
        heed_signals(stop, asyncio.Event(), lambda: None)
        return await follow_to(place.database, crawl, order, stop, _tell, until_finished=asked.until_finished)
    return await export_to(place.database, crawl, order, _tell)


def _tell(line: str) -> None:
    click.echo(f"crawl: {line}", err=True)
