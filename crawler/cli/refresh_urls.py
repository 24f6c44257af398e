"""`crawl refresh URL...`: what came of each, for people and for programs."""

import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, assert_never

import click

from crawler.adapters.crawls import Crawls
from crawler.cli import DONE, FAILED
from crawler.cli.looking import NothingYetError, crawl_named, print_facts, print_heading, print_json
from crawler.core.urls import domain_of
from crawler.opening import Opened, opened_to_look
from crawler.phrases import at, count, relative, seen, span
from crawler.settings import Settings
from crawler.url_wishes import refresh_urls
from crawler.wish_answers import Answered, Change, Refused, Result, Waits, Why

USAGE: Final = 2
NOT_MODIFIED: Final = 304
_OUT_OF_SCOPE: Final = "{url} is not visited: {detail}; `crawl why {quoted}{option}` tells more"
REFUSED: Final[Mapping[Why, str]] = MappingProxyType(
    {
        Why.UNKNOWN: "nothing is known of {url}{by}: `crawl seed {crawl} {quoted}{option}` makes it known",
        Why.SEVERAL: "several crawls know {url}: say which with {names}",
        Why.PAUSED: "{url} is not visited, for the crawl {crawl} is paused: `crawl resume {crawl}{option}`",
        Why.CANCELLED: "{url} is not visited, for the crawl {crawl} was cancelled: `crawl resume {crawl}{option}` takes that back",
        Why.BLOCKED: "{url} is not visited, for its domain is blocked ({detail}): `crawl domain {domain}{option} --unblock`",
        Why.ROBOTS: (
            "{url} is not visited, for robots.txt forbids it ({detail}): `crawl refresh --robots {domain}{option}` asks again"
        ),
        Why.SCOPE: _OUT_OF_SCOPE,
        Why.BUDGET: _OUT_OF_SCOPE,
    }
)
"""Why nobody will ask for it."""
WAITS: Final[Mapping[Why, str]] = MappingProxyType(
    {
        Why.NOT_WAITED: "is the next of {domain} to be visited",
        Why.NOBODY: "was not visited, for no worker is at work: the first one visits it before all others (`crawl worker`)",
        Why.BLOCKED: "was not visited, for {domain} was blocked meanwhile",
        Why.RESTS: "was not visited, for {domain} rests: it is the first to be visited, in {ready}{because}",
        Why.LATE: "was not visited within {wait}; it stays the first of {domain}{hint}",
    }
)
"""Why it was not visited yet."""


async def refresh_named(
    settings: Settings, urls: Sequence[str], crawl: str | None, wait: float, *, as_json: bool
) -> int:
    """Have these canonical URLs visited, and show what came of it: the exit status."""
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        if crawl is not None:
            await crawl_named(Crawls(place.database), crawl)
        results = await refresh_urls(settings, place.database, urls, crawl=crawl, wait=wait)
        hint = await _other_queue(settings, place) if any(map(_is_late, results)) else ""
    option = place.option
    if as_json:
        print_json(
            {
                "done": all(map(_is_done, results)),
                "urls": [_as_dict(one, option, wait, hint) for one in results],
            }
        )
    for one in results:
        if isinstance(one, Answered):
            if not as_json:
                print_heading(one.url)
                print_facts(_facts(one))
        else:
            click.echo(f"crawl: {_why(one, option, wait, hint)}", err=True)
    if any(isinstance(one, Refused) and one.why is Why.SEVERAL for one in results):
        return USAGE
    return DONE if all(map(_is_done, results)) else FAILED


def _is_done(one: Result) -> bool:
    """Whether it has its answer; the rules, and who did not want to wait, have given it before."""
    return isinstance(one, Answered) or one.why in {Why.ROBOTS, Why.NOT_WAITED}


def _is_late(one: Result) -> bool:
    return isinstance(one, Waits) and one.why is Why.LATE


async def _other_queue(settings: Settings, place: Opened) -> str:
    """What to do if those at work take their turns from another queue than ours: they hear of it, but not as something urgent."""
    ours = "postgres" if settings.amqp_url is None else "rabbit"
    if not await place.database.value("workers_elsewhere", ours):
        return ""
    return (
        "; those at work take their turns from RabbitMQ: name it with --amqp or CRAWL_AMQP_URL"
        if settings.amqp_url is None
        else "; those at work take their turns from PostgreSQL, not from --amqp"
    )


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
        facts.append(("change", _changed(one, one.change)))
    facts.append(("next", "not by the clock" if one.next_at is None else at(one.next_at, one.now)))
    return facts


def _changed(one: Answered, change: Change) -> str:
    before = "" if one.changed_before is None else f"; it had changed {relative(one.changed_before, one.now)}"
    match change:
        case Change.NEW:
            return "it is stored for the first time"
        case Change.TEXT:
            return f"what it says has changed{before}"
        case Change.BYTES:
            return f"only its bytes have changed, not what it says{before}"
        case Change.NONE:
            return f"unchanged ({'304' if one.status == NOT_MODIFIED else 'the same bytes'}){before}"
    assert_never(change)


def _why(one: Refused | Waits, option: str, wait: float, hint: str) -> str:
    """Why it was not visited, in a line."""
    if isinstance(one, Waits):
        ready, because = span(one.ready_in or 0.0), f" ({seen(one.detail)})" if one.detail else ""
        words = WAITS[one.why].format(
            ready=ready, because=because, wait=span(wait), domain=seen(one.domain), hint=hint
        )
        return f"{seen(one.url)} {words}"
    crawl = one.crawls[0] if one.crawls else ""
    return REFUSED[one.why].format(
        url=seen(one.url),
        quoted=seen(shlex.quote(one.url)),
        crawl=crawl or "NAME",
        by=f" in crawl {crawl}" if crawl else "",
        names=" or ".join(f"--crawl {name}" for name in one.crawls),
        domain=domain_of(one.url),
        detail=seen(one.detail) or "the crawl may store no more pages",
        option=option,
    )


def _as_dict(one: Result, option: str, wait: float, hint: str) -> dict[str, Any]:
    if isinstance(one, Refused | Waits):
        waits = {"ready_in": one.ready_in} if isinstance(one, Waits) else {}
        return {
            "url": one.url,
            "answered": False,
            "why": one.why.value,
            "words": _why(one, option, wait, hint),
            **waits,
        }
    return {
        "url": one.url,
        "answered": True,
        "crawl": one.crawl,
        "outcome": one.outcome,
        "status": one.status,
        "detail": one.detail,
        "bytes": one.bytes,
        "title": one.title,
        "redirect_to": one.redirect_to,
        "change": None if one.change is None else one.change.value,
        "changed_before": None if one.changed_before is None else one.changed_before.isoformat(),
        "seconds": round(one.seconds, 3),
        "next_at": None if one.next_at is None else one.next_at.isoformat(),
    }
