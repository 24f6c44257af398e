"""`crawl why`: everything that decides about a URL."""

from collections.abc import Sequence
from typing import Any

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.looking import print_facts, print_heading, print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.core.sessions import sessions_in
from crawler.core.urls import canonical_or_error, domain_of, origin_of
from crawler.explaining import PARTS, Reasons, reasons
from crawler.naming import NothingYetError, concerned
from crawler.opening import opened_to_look
from crawler.phrases import seen
from crawler.settings import Settings


@click.command("why")
@click.argument("url")
@click.option("--crawl", metavar="NAME", help="Only this crawl.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, url: str, crawl: str | None, as_json: bool, **_named: object) -> int:
    """Tell everything that decides about a URL: scope, robots.txt, its domain, its visits, the refresh rule, the next one.

    Every crawl that knows the URL is told; if none does, what each crawl would make of it.
    What is told is what is stored: nothing is asked of the site.

    \b
    Example:
      crawl why https://example.com/private/
      crawl why https://example.com/ --crawl example.com --json
    """  # noqa: D301  # \b tells click to keep the lines
    wanted = canonical_or_error(url)
    dropped = sessions_in(url.partition("#")[0])
    return run(_why(settings_from(ctx).settings, wanted, crawl, dropped, as_json=as_json))


async def _why(
    settings: Settings, url: str, name: str | None, dropped: Sequence[str], *, as_json: bool
) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        chosen = await concerned(Crawls(place.database), url, name)
        told = [await reasons(place.database, settings, url, crawl) for crawl in chosen]
    if as_json:
        print_json(
            {
                "url": url,
                "dropped": dropped,
                "domain": domain_of(url),
                "origin": origin_of(url),
                "known": any(one.known.facts["known"] for one in told),
                "crawls": [_as_dict(one) for one in told],
            }
        )
        return
    print_heading(url)
    if dropped:
        named = seen(" and ".join(dropped))
        click.echo(
            f"Without {named}: a session identifier, by which one page has many names, is no part of a URL."
        )
    for one in told:
        click.echo()
        _print(one)


def _as_dict(told: Reasons) -> dict[str, Any]:
    parts = {part: getattr(told, part) for part in PARTS}
    return {
        "crawl": told.crawl.name,
        "state": told.crawl.state.value,
        **{part: {"words": verdict.words, **verdict.facts} for part, verdict in parts.items()},
    }


def _print(told: Reasons) -> None:
    print_heading(f"crawl {told.crawl.name} ({told.crawl.state})")
    print_facts(
        [(part, sentence) for part in PARTS for sentence in f"{getattr(told, part).words}.".split("\n")]
    )
