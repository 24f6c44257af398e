"""`crawl refresh URL...`: what came of each, for people and for programs."""

from collections.abc import Sequence
from typing import Final

import click

from crawler.adapters.crawls import Crawls
from crawler.cli import DONE, FAILED
from crawler.cli.looking import print_facts, print_heading, print_json
from crawler.hook_processes import refuse_hooks
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import opened_to_look
from crawler.phrases import at, count, span
from crawler.refresh_words import as_dict, changed, is_done, is_late, other_queue, why_not
from crawler.settings import Settings
from crawler.url_wishes import refresh_urls
from crawler.wish_answers import Answered, Refused, Why

USAGE: Final = 2


async def refresh_named(
    settings: Settings, urls: Sequence[str], crawl: str | None, wait: float, *, as_json: bool
) -> int:
    """Have these canonical URLs visited, and show what came of it: the exit status."""
    await refuse_hooks(settings)
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        if crawl is not None:
            await crawl_named(Crawls(place.database), crawl)
        results = await refresh_urls(settings, place.database, urls, crawl=crawl, wait=wait)
        hint = await other_queue(settings, place.database) if any(map(is_late, results)) else ""
    option = place.option
    if as_json:
        print_json(
            {
                "done": all(map(is_done, results)),
                "urls": [as_dict(one, option, wait, hint) for one in results],
            }
        )
    for one in results:
        if isinstance(one, Answered):
            if not as_json:
                print_heading(one.url)
                print_facts(_facts(one))
        else:
            click.echo(f"crawl: {why_not(one, option, wait, hint)}", err=True)
    if any(isinstance(one, Refused) and one.why is Why.SEVERAL for one in results):
        return USAGE
    return DONE if all(map(is_done, results)) else FAILED


def _facts(one: Answered) -> list[tuple[str, str]]:
    status = "" if one.status is None else f" {one.status}"
    detail = f" ({one.detail})" if one.detail else ""
    facts = [
        ("crawl", one.crawl),
        ("outcome", f"{one.outcome}{status}{detail}"),
        ("took", f"{span(one.seconds)}, {count(one.bytes, 'byte')}"),
    ]
    if one.redirect_to:
        facts.append(("to", one.redirect_to))
    if one.change is not None:
        if one.title:
            facts.append(("title", one.title))
        facts.append(("change", changed(one, one.change)))
    facts.append(("next", "not by the clock" if one.next_at is None else at(one.next_at, one.now)))
    return facts
