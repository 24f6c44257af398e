"""`crawl export`: the pages of a crawl, to a file."""

import sys
from pathlib import Path

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.looking import run
from crawler.cli.options import database_options, settings_from
from crawler.exporting import export_to
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import opened_to_look
from crawler.phrases import count
from crawler.settings import Settings


@click.command("export")
@click.argument("name")
@click.option(
    "--format",
    type=click.Choice(["jsonl"]),
    default="jsonl",
    expose_value=False,  # one so far
    show_default=True,
    help="jsonl: a JSON object a line.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="-",
    metavar="FILE",
    help="Where to; the file appears when it is whole. [default: -, standard output]",
)
@click.option("--bodies", is_flag=True, help="Add the HTML of each page, as the key body.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, output: Path, bodies: bool, **_named: object) -> int:
    """Write what is stored of crawl NAME, a page a line, ordered by domain and URL.

    Each line has the keys url, crawl, first_at, fetched_at, changed_at, status, outcome, content_type, charset, title, language,
    text, length, digest, depth, redirect_to, directives and headers. Pages that say noindex are there:
    look at directives.

    \b
    Example:
      crawl export example.com -o pages.jsonl
      crawl export example.com | jq -r 'select(.outcome == "ok") | .title'
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_export(settings_from(ctx).settings, name, output, bodies=bodies))


async def _export(settings: Settings, name: str, output: Path, *, bodies: bool) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        crawl = await crawl_named(Crawls(place.database), name)
        lines = await export_to(place.database, crawl, output, bodies=bodies)
    if str(output) != "-" and sys.stderr.isatty():
        click.echo(f"crawl: {count(lines, 'page')} of crawl {crawl.name} in {output}", err=True)
