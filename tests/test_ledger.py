"""What a turn writes down of a page, without holding up the others."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from crawler.core.model import (
    UNKNOWN,
    Answer,
    Crawl,
    CrawlState,
    Outcome,
    Page,
    Past,
    ScopeKind,
    Settlement,
    Visit,
)
from crawler.core.moments import micros
from crawler.core.refresh_rule import parse_rule
from crawler.core.scope import Scope, scope_key
from crawler.core.turns import VERSION, Turn, TurnUrl
from crawler.core.urls import domain_id, url_hash
from crawler.crawlbook import KnownCrawl, SeenUrls
from crawler.ledger import AT_ONCE, NO_TARGETS, Ledger
from crawler.reading import Read

URL = "http://h.test/"
CRAWL = Crawl(1, "test", CrawlState.RUNNING, 1, ScopeKind.DOMAIN)
DAY = 86400.0


class Noted:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []

    async def put(self, visit: Visit) -> None:
        """Keep it."""
        self.visits.append(visit)


def following(rule: str) -> KnownCrawl:
    """The crawl, with a refresh rule."""
    scope = Scope.of(CRAWL, {scope_key(ScopeKind.DOMAIN, URL)})
    return KnownCrawl(CRAWL, scope, SeenUrls(), parse_rule(rule))


def turn_url(due_at: int = 0) -> TurnUrl:
    """The URL, as a turn handed it out."""
    return TurnUrl(1, url_hash(URL), URL, due_at, 0, 0, 0, seed=True, outcome=None)


def ledger_of(item: TurnUrl, noted: Any) -> Ledger:
    """The ledger of its turn."""
    nobody: Any = None
    return Ledger(Turn(VERSION, domain_id("h.test"), "h.test", 1, [item]), nobody, noted, nobody)


async def settled(rule: str, due_at: datetime, past: Past = UNKNOWN) -> Settlement:
    """A visit under a rule that found nothing new; the first one, where nothing is known from before."""
    noted, item = Noted(), turn_url(micros(due_at))
    same = Answer(Outcome.NOT_MODIFIED, 0, 0, status=304)
    seen = Read(same if past.digest else Answer(Outcome.OK, 0, 0, status=200))
    await ledger_of(item, noted).visited(item, following(rule), seen, past=past, domain_wait=0)
    return noted.visits[0].settlement


@pytest.mark.parametrize(
    ("before", "keeps", "targets"),
    [("ok", True, NO_TARGETS), (None, True, None), ("ok", False, None)],
)
async def test_links_of_what_is_gone(before: str | None, targets: Any, *, keeps: bool) -> None:
    """What is no page any more has its links removed, if the crawl keeps any and there may be some; else nothing is asked."""
    noted, item = Noted(), structs.replace(turn_url(), outcome=before)
    known = replace(following("off"), crawl=replace(CRAWL, keep_links=keeps))
    gone = Read(Answer(Outcome.GONE, 0, 0, status=404))
    await ledger_of(item, noted).visited(item, known, gone, domain_wait=0)

    assert noted.visits[0].targets == targets


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=3)])
async def test_a_time_of_the_clock_is_handed_on_as_that(ahead: timedelta) -> None:
    """Under a cron expression the settlement names the very time, which is later than the time that was served."""
    served = datetime.now(UTC) + ahead
    made = await settled("0 3 * * *", served)

    assert made.due_at is not None
    assert made.due_at == parse_rule("0 3 * * *").next_time(served)


@pytest.mark.parametrize("rule", ["off", "30d", "adaptive"])
async def test_every_rule_learns(rule: str) -> None:
    """How often a page changes is learned under every rule; only a cron expression has a time of the clock."""
    now = datetime.now(UTC)
    past = Past(fetched_at=now - timedelta(days=20), digest=b"same", period=20 * DAY)
    made, first = await settled(rule, now, past), await settled(rule, now)

    assert made.period == pytest.approx(30 * DAY, rel=1e-3)
    assert first.period == 14 * DAY
    assert made.due_at is None


async def test_others_go_on_while_links_are_looked_at() -> None:
    """The links of a page are all followed, in their order, and the event loop goes round between some of them and the next."""
    links = tuple(f"{URL}{n}" for n in range(5 * AT_ONCE))
    known, item, noted = following("off"), turn_url(), Noted()
    ledger = ledger_of(item, noted)
    seen = Read(Answer(Outcome.OK, 0, 0, status=200), Page("text/html", links=links))
    task = asyncio.create_task(ledger.visited(item, known, seen, domain_wait=0))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1

    assert tuple(link.url for link in noted.visits[0].links) == links
    assert rounds >= 5
