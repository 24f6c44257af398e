"""What a turn writes down of a page, without holding up the others."""

import asyncio
from typing import Any

from crawler.core.model import Answer, Crawl, CrawlState, Outcome, Page, ScopeKind, Visit
from crawler.core.refresh_rule import parse_rule
from crawler.core.scope import Scope, scope_key
from crawler.core.turns import VERSION, Turn, TurnUrl
from crawler.core.urls import domain_id, url_hash
from crawler.crawlbook import KnownCrawl, SeenUrls
from crawler.ledger import AT_ONCE, Ledger
from crawler.reading import Read

URL = "http://h.test/"


class Noted:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []

    async def put(self, visit: Visit) -> None:
        """Keep it."""
        self.visits.append(visit)


async def test_others_go_on_while_links_are_looked_at() -> None:
    """The links of a page are all followed, in their order, and the event loop goes round between some of them and the next."""
    links = tuple(f"{URL}{n}" for n in range(5 * AT_ONCE))
    crawl = Crawl(1, "test", CrawlState.RUNNING, 1, ScopeKind.DOMAIN)
    known = KnownCrawl(
        crawl, Scope.of(crawl, {scope_key(ScopeKind.DOMAIN, URL)}), SeenUrls(), parse_rule("off")
    )
    item = TurnUrl(1, url_hash(URL), URL, 0, 0, 0, 0, seed=True, outcome=None)
    noted: Any = Noted()
    nobody: Any = None
    ledger = Ledger(Turn(VERSION, domain_id("h.test"), "h.test", 1, [item]), nobody, noted, nobody)
    seen = Read(Answer(Outcome.OK, 0, 0, status=200), Page("text/html", links=links))
    task = asyncio.create_task(ledger.visited(item, known, seen, domain_wait=0))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1

    assert tuple(link.url for link in noted.visits[0].links) == links
    assert rounds >= 5
