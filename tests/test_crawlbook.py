"""What a worker knows of the crawls it works for."""

from crawler.adapters.postgres import Database
from crawler.core.model import ScopeKind
from crawler.core.scope import scope_key
from crawler.crawlbook import CrawlBook
from tests.making import Frontiers, link

A = "https://a.example/"


async def test_a_seed_that_came_later(database: Database) -> None:
    """The links of a seed are followed also by a worker that has read the crawl's scope before the seed came."""
    heart = Frontiers(database)
    book = CrawlBook(heart.crawls)
    crawl = await heart.crawl("https://b.example/")
    await database.script("update crawls set scope = 'domain'")
    _, urls = (await heart.take())["b.example"]
    await book.know([crawl], urls)
    await heart.crawls.seed(crawl, [scope_key(ScopeKind.DOMAIN, A)], [link(crawl, A, seed=True)])
    _, seeds = (await heart.take())["a.example"]
    await book.know([crawl], seeds)
    known = book.get(crawl)

    assert known
    assert [link.url for link in known.follow([A + "1"], 0, (1, b""))] == [A + "1"]
