"""What a crawl with a refresh rule does when its budgets are spent: it looks at what it has, and stores no more."""

from typing import Any

import pytest

from crawler.adapters.postgres import Database
from crawler.core.model import Outcome
from crawler.ledger import NO_TARGETS
from tests.making import Frontiers, release, row, rows, settled, visit

A = "http://a.example/"


@pytest.fixture
async def heart(database: Database) -> Frontiers:
    """One worker's hands."""
    return Frontiers(database)


@pytest.mark.parametrize("limits", [{"max_pages": 1}, {"max_pages_per_domain": 1}])
async def test_a_stored_page_that_fails_is_tried_again(heart: Frontiers, limits: dict[str, Any]) -> None:
    """A stored page that fails while the budget is spent is tried again, and keeps what is stored; a new URL is refused."""
    crawl = await heart.crawl(A, refresh="1d", **limits)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0], settled(revisit=86400.0))], [release("a.example", turn)], [crawl])
    await heart.seed(crawl, A + "new")
    await heart.database.script("update urls set due_at = now(); update domains set due_at = now()")
    turn, urls = await heart.hold("a.example")
    failed = visit(urls[0], settled(Outcome.TIMEOUT, again_in=0))
    await heart.record([failed], [release("a.example", turn)], [crawl])
    again, urls_again = await heart.hold("a.example")
    await heart.record([visit(urls_again[0])], [release("a.example", again)], [crawl])
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    new = await heart.url(A + "new")

    assert [url.url for url in urls] == [A]
    assert [url.url for url in urls_again] == [A]
    assert (new["outcome"], new["due_at"], new["open"]) == ("scope_refused", None, False)
    assert (await heart.url(A))["outcome"] == "ok"
    assert await heart.database.ask("select count(*) from pages where first_at is not null") == 1
    assert (await heart.take()) == {}


async def test_a_page_that_is_not_stored_leaves_nothing(heart: Frontiers) -> None:
    """Of a page that failed before and comes when the budget is used up neither fields nor links are kept."""
    crawl = await heart.crawl(A, A + "late", max_pages=2, keep_links=True)
    turn, urls = await heart.hold("a.example")
    late = next(url for url in urls if url.url == A + "late")
    failed = visit(late, settled(Outcome.TIMEOUT, again_in=0))
    await heart.record([failed, *(visit(url) for url in urls if url is not late)], [], [crawl])
    await heart.database.script("update crawls set max_pages = 1")
    said: dict[str, Any] = {"fields": '{"a":1}', "targets": (1, b"x")}
    await heart.record([visit(late, previous=Outcome.TIMEOUT, **said)], [release("a.example", turn)], [crawl])
    page = await row(heart.database, "select * from pages where url_hash = $1", late.url_hash)

    assert (page["outcome"], page["fields"], page["digest"]) == ("scope_refused", None, None)
    assert await heart.database.ask("select count(*) from links") == 0


async def test_links_of_what_is_no_page(heart: Frontiers) -> None:
    """What a page linked to goes when it is no page any more, by a visit that is newer; what others link to stays."""
    crawl = await heart.crawl(A, A + "2", A + "3", keep_links=True)
    turn, urls = await heart.hold("a.example")
    none: dict[str, Any] = {"targets": NO_TARGETS}
    earlier = visit(urls[1], settled(Outcome.GONE), **none)
    await heart.record([visit(url, targets=(1, b"x")) for url in urls], [], [crawl])
    gone = visit(urls[0], settled(Outcome.GONE), **none)
    unlinked = visit(urls[2], targets=(0, b"y"))
    await heart.record([gone, earlier, unlinked], [release("a.example", turn)], [crawl])
    left = await rows(heart.database, "select url_hash, n from links order by n")

    assert [tuple(one) for one in left] == [(urls[2].url_hash, 0), (urls[1].url_hash, 1)]


async def test_without_a_rule_a_stored_page_keeps_its_outcome(heart: Frontiers) -> None:
    """Without a rule a stored page that fails when the domain's pages are used up is left as it failed, and not refused."""
    crawl = await heart.crawl(A, max_pages_per_domain=1)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn)], [crawl])
    await heart.database.script("update urls set due_at = 'epoch'; update domains set due_at = now()")
    turn, urls = await heart.hold("a.example")
    failed = visit(urls[0], settled(Outcome.TIMEOUT, again_in=0))
    await heart.record([failed], [release("a.example", turn)], [crawl])
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    page = await heart.url(A)

    assert (page["outcome"], page["due_at"], page["open"]) == ("timeout", None, False)
    assert (await heart.take()) == {}
