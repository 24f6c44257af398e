"""The queries of docs/schema.md, run on a database with some rows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from crawler.adapters.postgres import Database
from crawler.core.model import Outcome
from tests.making import Frontiers, link, release, rows, settled, visit

pytestmark = pytest.mark.xdist_group("schema")  # they share what is costly to make

PAGE: Final = (Path(__file__).parent.parent.parent / "docs" / "schema.md").read_text("utf-8")
QUERIES: Final = {
    title: sql.strip().rstrip(";")
    for title, sql in re.findall(
        r"^### (.+?)\n(?:(?!^###).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
}
HOME, GONE, MOVED, WAITS = (
    f"https://{name}/" for name in ("example.com", "gone.example", "moved.example", "waits.example")
)


async def some_rows(database: Database) -> None:
    """A page with two copies, a dead link on it, a redirect, and a URL that waits."""
    heart = Frontiers(database)
    crawl = await heart.crawl(HOME, f"{HOME}copy", MOVED)
    turn, urls = await heart.hold("example.com")
    first, copy = (visit(url) for url in sorted(urls, key=lambda one: one.url))
    found = (link(crawl, GONE, depth=1, found_domain_id=first.domain_id, found_hash=first.url_hash),)
    same = replace(copy, digest=first.digest, compressed=first.compressed, page=first.page)
    await heart.record([replace(first, links=found), same], [release("example.com", turn)])
    for name, outcome in (("gone.example", Outcome.GONE), ("moved.example", Outcome.REDIRECT)):
        await heart.database.ask("update domains set ready_at = '-infinity', holder = null")
        turn, urls = await heart.hold(name)
        await heart.record([visit(url, settled(outcome)) for url in urls], [release(name, turn)])
    await heart.seed(crawl, WAITS)
    await heart.database.ask(
        "insert into origins (domain_id, origin, status, body) "
        "select domain_id, 'https://example.com', 200, 'User-agent: *'::bytea from domains where name = 'example.com'"
    )


@pytest.mark.parametrize("title", QUERIES)
async def test_a_query_runs(title: str, database: Database) -> None:
    """Each query of the page runs on the tables as they are."""
    await some_rows(database)
    found = await rows(database, QUERIES[title])

    assert isinstance(found, list)


async def test_every_query_is_tried() -> None:
    """No block of SQL stands in the page without a heading of its own."""
    assert PAGE.count("```sql") == len(QUERIES)


@pytest.mark.parametrize(
    "title",
    ["Pages by domain", "Redirects", "What waits, until when and why", "The robots.txt of an origin",
     "Pages that are the same, byte for byte", "The last attempts at a URL"],
)  # fmt: skip
async def test_a_query_finds(title: str, database: Database) -> None:
    """What is there is found."""
    await some_rows(database)

    assert await rows(database, QUERIES[title])


async def test_a_broken_link_is_told_with_the_page_that_has_it(database: Database) -> None:
    """The query for broken links names the link and where it was found."""
    await some_rows(database)
    found = await rows(database, QUERIES["Broken links, and the page that has them"])

    assert [(one["broken"], one["found_on"]) for one in found] == [(GONE, HOME)]


async def test_every_table_and_column_is_told(database: Database) -> None:
    """Each table has a paragraph, and its columns are named on the page."""
    sql = (
        "select c.relname as name, a.attname as col from pg_class c join pg_attribute a on a.attrelid = c.oid "
        "where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition "
        "and a.attnum > 0 and not a.attisdropped and c.relname <> 'migrations' order by 1, 2"
    )
    every = await rows(database, sql)
    keys = {
        "crawl_id",
        "domain_id",
        "url_hash",
        "scope_key",
        "worker_id",
        "message_id",
        "version",
        "started_at",
    }

    assert sorted({one["name"] for one in every if f"**`{one['name']}`**" not in PAGE}) == []
    assert sorted({one["col"] for one in every if f"`{one['col']}`" not in PAGE} - keys) == []
