"""`crawl search`: the pages of a crawl, by their words."""

import math
import shlex
import sys
from dataclasses import dataclass
from typing import Final

import click

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.core.errors import DatabaseSlowError, FaircrawlError
from crawler.core.model import Crawl
from crawler.core.urls import domain_id
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count, seen
from crawler.searching import RANKED, Found, marked, search
from crawler.selection import domains
from crawler.settings import Settings
from crawler.wording import keep_words

BOLD: Final = ("\x1b[1m", "\x1b[0m")
STARS: Final = ("*", "*")
LOOKED_AT: Final = 20_000
"""Pages at which is looked to count those that are not read yet."""


@click.command("search")
@click.argument("name")
@click.argument("words", nargs=-1, required=True)
@click.option("--domain", metavar="DOMAIN", help="Only among the pages of this domain.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    metavar="N",
    help="How many pages are shown.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    words: tuple[str, ...],
    domain: str | None,
    limit: int,
    as_json: bool,
    **_named: object,
) -> int:
    """Show the pages of crawl NAME in whose title and text all of WORDS are, the best first.

    A word finds its other forms too, in the language of the page. "words in quotes" stand side by side, -word must not be
    there, and "or" stands between words of which one will do. Only crawls that are searched can be: see the first example.

    \b
    Example:
      crawl set example.com search=true
      crawl search example.com crash recovery
      crawl search example.com '"write-ahead log" -checkpoint'
    """  # noqa: D301  # \b tells click to keep the lines
    number = None if domain is None else domain_id(domains([domain])[0])
    return run(_search(settings_from(ctx).settings, name, " ".join(words), number, limit, as_json=as_json))


async def _search(
    settings: Settings, name: str, words: str, domain: int | None, limit: int, *, as_json: bool
) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        crawl = await crawl_named(Crawls(place.database), name)
        if not crawl.search:
            raise FaircrawlError(
                f"crawl {crawl.name} is not searched: `crawl set {shlex.quote(crawl.name)} search=true{place.option}`"
                " has its pages read"
            )
        unread = await _unread(settings, place, crawl)
        found = await search(place.database, crawl.crawl_id, words, domain_id=domain, most=limit)
    if as_json:
        _print_json(crawl, words, found, unread)
    else:
        _print(crawl, found, unread)


@dataclass(frozen=True, slots=True)
class _Unread:
    """Pages that are not read yet."""

    pages: int
    is_all: bool
    """Whether there are no more."""

    def __bool__(self) -> bool:
        return self.pages > 0 or not self.is_all


async def _counted(database: Database, crawl: Crawl) -> _Unread:
    try:
        async with database.looking() as session:
            (row,) = await session.fetch("search_unread", crawl.crawl_id, LOOKED_AT)
    except DatabaseSlowError:
        return _Unread(0, is_all=False)
    return _Unread(row["unread"], row["looked"] < LOOKED_AT)


async def _unread(settings: Settings, place: Opened, crawl: Crawl) -> _Unread:
    """How many pages are not read yet. Those of an embedded database are read here and now, if nobody else does."""
    unread = await _counted(place.database, crawl)
    if not unread or settings.database_url is not None or await place.database.value("search_kept"):
        return unread
    shows, all_ = sys.stderr.isatty(), f" of {unread.pages:,}" if unread.is_all else ""

    def told(read: int) -> None:
        if shows:
            click.echo(f"\rcrawl: reading {read:,}{all_} pages", err=True, nl=False)

    await keep_words(place.database, only=crawl.crawl_id, seconds=math.inf, told=told)
    if shows:
        click.echo("\r\x1b[K", err=True, nl=False)
    return await _counted(place.database, crawl)


def _print(crawl: Crawl, found: Found, unread: _Unread) -> None:
    mark = BOLD if sys.stdout.isatty() else STARS
    for hit in found.hits:
        click.secho(seen(hit.title or hit.url), bold=True)
        click.echo(f"  {seen(hit.url)}  ({hit.rank:.2f})")
        if hit.snippet:
            click.echo(f"  {marked(hit.snippet, hit.marks, mark)}")
    if not found.hits:
        click.echo(f"No page of crawl {crawl.name} has these words.")
    elif found.matches > len(found.hits):
        all_ = f"{found.matches:,}" if found.is_all else f"more than {RANKED:,}, of which as many were ranked"
        click.echo(f"{count(len(found.hits), 'page')} of {all_}.")
    if unread:
        pages = count(unread.pages, "page") if unread.pages else "perhaps some pages"
        more = "or more " if unread.pages and not unread.is_all else ""
        click.echo(
            f"crawl: {pages} {more}not read yet: upkeep (`crawl scheduler`, `crawl run`) reads them", err=True
        )


def _print_json(crawl: Crawl, words: str, found: Found, unread: _Unread) -> None:
    print_json(
        {
            "crawl": crawl.name,
            "words": words,
            "matches": found.matches,
            "all": found.is_all,
            "unread": unread.pages,
            "unread_all": unread.is_all,
            "pages": [
                {
                    "url": hit.url,
                    "title": hit.title,
                    "language": hit.language,
                    "rank": round(hit.rank, 6),
                    "snippet": hit.snippet,
                    "marks": [list(mark) for mark in hit.marks],
                }
                for hit in found.hits
            ],
        }
    )
