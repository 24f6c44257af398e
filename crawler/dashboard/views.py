"""What each page shows: which models it asks for, and what a reader may ask of it.

    an address ──► Asked ──► View.look(desk, asked) ──► models, by name ──► a template

A view gives equal models as long as nothing has changed: no ``now`` is among them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from crawler.core.errors import BrokerError, DatabaseSlowError, NotKnownError, UsageError
from crawler.core.model import Outcome
from crawler.dashboard import (
    crawl_facts,
    domain_facts,
    error_facts,
    letter_facts,
    page_facts,
    schedule_facts,
    timeline,
)
from crawler.dashboard import overview as overview_facts
from crawler.dashboard import search as search_facts
from crawler.dashboard.desk import Desk
from crawler.dashboard.families import FAMILY, GOOD, MOVED
from crawler.dashboard.models import Series

Context: TypeAlias = dict[str, Any]
Asked: TypeAlias = Mapping[str, str]
"""The parameters of an address, those of its path among them."""

FOUND_AT_ONCE: Final = 50
FAILURES: Final = 100
HOUR_AGE: Final = 10.0
"""Seconds for which a crawl's last hour is good."""
ANSWERS_AGE: Final = 1.0
LIMITS: Final = (
    ("max_pages", "Pages at most", "1000; 0: no limit"),
    ("max_depth", "Links from a seed at most", "5; 0: no limit"),
    ("max_pages_per_domain", "Pages of one domain at most", "10000; 0: no limit"),
    ("max_bytes", "Bytes at most", "10GiB"),
    ("delay", "Pause between requests", "2s"),
    ("per_domain", "Requests to one domain at once", "1"),
    ("refresh", "Look again", "off, adaptive, 7d, or a cron rule"),
    ("keep_versions", "Earlier versions to keep", "3"),
    ("user_agent", "User agent", "mybot/1.0 (+https://example.com/bot)"),
)
"""What a form offers of `crawl set`: the key, what it is, and an example."""
BAD: Final = tuple(outcome.value for outcome in Outcome if FAMILY[outcome] not in {GOOD, MOVED})


@dataclass(frozen=True, slots=True)
class View:
    """A page."""

    template: str
    look: Callable[[Desk, Asked], Awaitable[Context]]
    active: str
    """Which of the pages in the bar it belongs to."""
    names: tuple[str, ...] = ()
    """The parameters that make it another page."""
    needs: tuple[str, ...] = ()
    """Those without which it has nothing to show."""
    pace: float = 1.0
    """How many times rarer than usual it is looked at while somebody listens; 0: it is not live."""

    def key(self, asked: Asked) -> str:
        """Its parameters as a query, always in the same order."""
        return urlencode([(name, asked[name]) for name in self.names if asked.get(name)])


async def _answers(desk: Desk) -> None:
    """Whether the database answers at all: what has no end of its own, as `Database.looking` has, is asked only then."""
    await desk.fresh.get("clock", ANSWERS_AGE, lambda: timeline.clock(desk))


async def overview(desk: Desk, _: Asked) -> Context:
    """Is all well?"""
    it = await overview_facts.overview(desk)
    since = it.hour.since.replace(second=0, microsecond=0)
    return {"it": it.model_copy(update={"now": it.hour.until}), "since": since.isoformat()}


async def crawls(desk: Desk, _: Asked) -> Context:
    """All crawls: those that run first, then the youngest."""
    found = sorted(await crawl_facts.crawls(desk), key=lambda one: one.created_at, reverse=True)
    return {"crawls": sorted(found, key=lambda one: one.state != "running"), "LIMITS": LIMITS}


async def crawl(desk: Desk, asked: Asked) -> Context:
    """One crawl."""
    it = await crawl_facts.crawl_full(desk, asked["name"])
    hour = await desk.fresh.get(("hour", asked["name"]), HOUR_AGE, lambda: _hour(desk, asked["name"]))
    nobody = not any(one.slots and not one.silent for one in await overview_facts.workers(desk))
    return {"it": it, "hour": hour, "name": asked["name"], "LIMITS": LIMITS, "nobody": nobody}


async def _hour(desk: Desk, name: str) -> Series:
    until = (await timeline.clock(desk)).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return await timeline.series(desk, since=until - timedelta(hours=1), until=until, step=60, crawl=name)


async def domains(desk: Desk, _: Asked) -> Context:
    """The domains to look at."""
    return {"tops": await domain_facts.domain_tops(desk)}


async def domain(desk: Desk, asked: Asked) -> Context:
    """One domain."""
    it = await domain_facts.domain_full(desk, asked["name"])
    return {"it": it, "name": it.domain}


async def url(desk: Desk, asked: Asked) -> Context:
    """One URL, in all crawls."""
    address = asked.get("url", "").strip()
    if not address:
        return {"url": "", "why": None, "pages": [], "attempts": []}
    await _answers(desk)
    why = await page_facts.why(desk, address)
    try:
        stored = await page_facts.pages_of(desk, address)
    except NotKnownError:  # the reasons tell why
        stored = []
    return {"url": why.url, "why": why, "pages": stored, "attempts": await page_facts.attempts(desk, address)}


async def search(desk: Desk, asked: Asked) -> Context:
    """What was found. A question that cannot be asked is told above the form."""
    given: dict[str, Any] = {
        name: asked.get(name, "").strip() or None for name in ("crawl", "domain", "outcome", "after")
    }
    context: Context = {
        "found": None,
        "trouble": None,
        "crawls": [one.name for one in await crawl_facts.crawls(desk)],
    }
    try:
        times = {name: moment(asked.get(name, "")) for name in ("since", "until")}
        context["found"] = await search_facts.pages(
            desk,
            crawl=given["crawl"],
            domain=given["domain"],
            outcome=given["outcome"],
            since=times["since"],
            until=times["until"],
            limit=FOUND_AT_ONCE,
            after=given["after"],
        )
    except (UsageError, NotKnownError, DatabaseSlowError) as error:
        context["trouble"] = str(error)
        times = dict.fromkeys(("since", "until"))
    iso = {name: None if at is None else at.isoformat() for name, at in times.items()}
    local = {
        f"{name}_local": "" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
        for name, at in times.items()
    }
    return {**context, "asked": {**given, **iso, **local}}


async def workers(desk: Desk, _: Asked) -> Context:
    """Who works."""
    return {"workers": await overview_facts.workers(desk)}


async def schedule(desk: Desk, _: Asked) -> Context:
    """What happens when."""
    await _answers(desk)
    return {"it": await schedule_facts.schedule(desk)}


async def errors(desk: Desk, asked: Asked) -> Context:
    """What went wrong. The failures are told also while the broker, which has the letters, is away."""
    outcome, crawl_name = asked.get("outcome") or None, asked.get("crawl") or None
    context: Context = {
        "letters": [],
        "letters_trouble": None,
        "asked": {"outcome": outcome, "crawl": crawl_name},
        "BAD": BAD,
    }
    await _answers(desk)
    try:
        context["letters"] = await letter_facts.letters(desk)
    except BrokerError as error:
        context["letters_trouble"] = str(error)
    failures = await error_facts.errors(desk, crawl=crawl_name, outcome=outcome, limit=FAILURES)
    return {**context, "errors": failures}


def moment(text: str) -> datetime | None:
    """A time as a form or a link of ours gives it; without a zone it is UTC. Raises UsageError."""
    if not text.strip():
        return None
    try:
        there = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no time: write it as 2026-11-21T20:44") from None
    return there.replace(tzinfo=UTC) if there.tzinfo is None else there


VIEWS: Final[Mapping[str, View]] = MappingProxyType(
    {
        "overview": View("overview.html", overview, "overview"),
        "crawls": View("crawls.html", crawls, "crawls"),
        "crawl": View("crawl.html", crawl, "crawls", ("name",), ("name",)),
        "domains": View("domains.html", domains, "domains", pace=2.5),
        "domain": View("domain.html", domain, "domains", ("name",), ("name",)),
        "url": View("url.html", url, "search", ("url",), ("url",), pace=2.5),
        "search": View("search.html", search, "search", pace=0),
        "workers": View("workers.html", workers, "workers"),
        "schedule": View("schedule.html", schedule, "schedule", pace=2.5),
        "errors": View("errors.html", errors, "errors", ("crawl", "outcome")),
    }
)
PAGES: Final = (
    ("overview", "/", "Overview"),
    ("crawls", "/crawls", "Crawls"),
    ("domains", "/domains", "Domains"),
    ("search", "/search", "Search"),
    ("workers", "/workers", "Workers"),
    ("schedule", "/schedule", "Schedule"),
    ("errors", "/errors", "Errors"),
)
"""The bar."""
