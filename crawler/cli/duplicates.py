"""`crawl duplicates`: pages that are the same, say the same, or nearly do."""

import contextlib
import itertools
import json
from collections.abc import Sequence
from typing import Any, Final

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.looking import print_heading, run, write
from crawler.cli.options import database_options, settings_from
from crawler.core.grouping import MOST_DISTANCE
from crawler.core.simhash import NEAR, distance
from crawler.core.urls import domain_id, domain_of
from crawler.duplicates import Kind, Question, largest_groups, members_of
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import opened_to_look
from crawler.phrases import count, seen
from crawler.selection import domains
from crawler.settings import Settings

SHOWN: Final = 10
"""URLs of a group that a person is shown."""
MEANING: Final = {
    Kind.EXACT: "are the same, byte for byte",
    Kind.TEXT: "say the same",
    Kind.NEAR: "say nearly the same",
}


@click.command("duplicates")
@click.argument("name")
@click.option(
    "--near", "kind", flag_value=Kind.NEAR.value, default=True, help="That say nearly the same. [default]"
)
@click.option(
    "--text",
    "kind",
    flag_value=Kind.TEXT.value,
    help="That say the same: white space and times do not count.",
)
@click.option("--exact", "kind", flag_value=Kind.EXACT.value, help="That are the same, byte for byte.")
@click.option(
    "--distance",
    type=click.IntRange(0, MOST_DISTANCE),
    metavar="N",
    help=f"By how many of 64 bits two pages may differ that say nearly the same. [default: {NEAR}]",
)
@click.option("--domain", metavar="DOMAIN", help="Only among the pages of this domain.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="How many groups.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: an object a group, a line each, with all URLs."
)
@database_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    kind: str,
    distance: int | None,
    domain: str | None,
    limit: int,
    as_json: bool,
    **_named: object,
) -> int:
    """Show which pages of crawl NAME are the same, or nearly: the largest groups first.

    Two pages are in one group if they are near, or if a chain of near ones leads from one to the other.
    Pages with very little text are in one only if it is the same. It may be asked while the crawl runs.

    \b
    Example:
      crawl duplicates example.com
      crawl duplicates example.com --exact --json | jq -r '.urls[1:][]'
    """  # noqa: D301  # \b tells click to keep the lines
    if distance is not None and kind != Kind.NEAR:
        raise click.UsageError(f"--distance is for --near: pages found by --{kind} do not differ")
    number = None if domain is None else domain_id(domains([domain])[0])
    asked = Kind(kind), NEAR if distance is None else distance, limit
    return run(_duplicates(settings_from(ctx).settings, name, number, asked, as_json=as_json))


async def _duplicates(
    settings: Settings, name: str, domain: int | None, asked: tuple[Kind, int, int], *, as_json: bool
) -> None:
    kind, most_bits, limit = asked
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        crawl = await crawl_named(Crawls(place.database), name)
        question = Question(crawl.crawl_id, domain, kind, most_bits, limit)
        groups = await largest_groups(place.database, question)
        if not groups:
            if not as_json:
                click.echo(f"No two pages of crawl {crawl.name} {MEANING[kind]}.")
            return
        pages: list[Any] = []
        rows = members_of(place.database, question, groups)
        async with contextlib.aclosing(rows):  # type: ignore[type-var]
            async for row in rows:
                if pages and row["place"] != pages[0]["place"]:
                    _show(pages, as_json=as_json)
                    pages = []
                pages.append(row)
        _show(pages, as_json=as_json)


def _show(pages: Sequence[Any], *, as_json: bool) -> None:
    if len(pages) < 2:  # noqa: PLR2004 - the others have changed since
        return
    same = next(
        (
            kind
            for kind, fact in ((Kind.EXACT, "digest"), (Kind.TEXT, "text_digest"))
            if len({page[fact] for page in pages}) == 1
        ),
        Kind.NEAR,
    )
    if as_json:
        line: dict[str, Any] = {
            "kind": same.value,
            "pages": len(pages),
            "domains": len({domain_of(page["url"]) for page in pages}),
        }
        line |= {"bits": _bits(pages), "title": pages[0]["title"], "urls": [page["url"] for page in pages]}
        write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
        return
    print_heading(f"{count(len(pages), 'page')} that {MEANING[same]}")
    for page in itertools.islice(pages, SHOWN):
        click.echo(f"  {seen(page['url'])}")
    if len(pages) > SHOWN:
        click.echo(f"  ... and {len(pages) - SHOWN:,} more: --json has them all")


def _bits(pages: Sequence[Any]) -> int:
    """By how many bits the others differ from the first, at most."""
    hashes = [page["simhash"] for page in pages if page["simhash"] is not None]
    return max((distance(hashes[0], one) for one in hashes), default=0)
