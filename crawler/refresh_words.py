"""What came of wishing that a URL be visited now, in words: why it was not, and what to do."""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from crawler.adapters.postgres import Database
from crawler.core.urls import domain_of
from crawler.phrases import relative, seen, span
from crawler.settings import Settings
from crawler.wish_answers import Answered, Change, Refused, Result, Waits, Why

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


def is_done(one: Result) -> bool:
    """Whether it has its answer; the rules, and who did not want to wait, have given it before."""
    return isinstance(one, Answered) or one.why in {Why.ROBOTS, Why.NOT_WAITED}


def is_late(one: Result) -> bool:
    """Whether it was waited for in vain."""
    return isinstance(one, Waits) and one.why is Why.LATE


async def other_queue(settings: Settings, database: Database) -> str:
    """What to do if those at work take their turns from another queue than ours: they hear of it, but not as something urgent."""
    ours = "postgres" if settings.amqp_url is None else "rabbit"
    if not await database.value("workers_elsewhere", ours):
        return ""
    return (
        "; those at work take their turns from RabbitMQ: name it with --amqp or CRAWL_AMQP_URL"
        if settings.amqp_url is None
        else "; those at work take their turns from PostgreSQL, not from --amqp"
    )


def why_not(one: Refused | Waits, option: str, wait: float, hint: str) -> str:
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


def as_dict(one: Result, option: str, wait: float, hint: str) -> dict[str, Any]:
    """What came of it, for a program."""
    if isinstance(one, Refused | Waits):
        waits = {"ready_in": one.ready_in} if isinstance(one, Waits) else {}
        return {
            "url": one.url,
            "answered": False,
            "why": one.why.value,
            "words": why_not(one, option, wait, hint),
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


def changed(one: Answered, change: Change) -> str:
    """What the visit found, compared with what was kept."""
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
