"""What pages said before, and what was read of sitemaps, goes with the crawl or the domain it is of: each on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from hashlib import blake2b

import pytest

from crawler.adapters.erasing import Erasing
from crawler.adapters.postgres import Database, columns
from crawler.adapters.upkeep import drop_unused_bodies
from crawler.core.model import Past, SitemapRead, UrlKind, Visit
from crawler.core.urls import domain_id
from tests.making import Frontiers, link, release, rows, settled, visit

A, B, MAP = "https://a.example/", "https://b.example/", "https://a.example/sitemap.xml"


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


async def test_two_delete_a_crawl_one_after_the_other(heart: Frontiers, dsn: str) -> None:
    """Whoever deletes a crawl that somebody is deleting waits for the end, and finds nothing left."""
    (crawl_id,) = await versions_of(heart, "one")
    async with await Database.open(dsn, size=2) as other:
        async with other.connection() as connection:
            await connection.execute("select pg_advisory_lock(20018, $1)", crawl_id)
            deletions = [asyncio.create_task(Erasing(one).crawl(crawl_id)) for one in (heart.database, other)]
            ended, _ = await asyncio.wait(deletions, timeout=0.3)
            before = await sizes(heart.database)
        found = await asyncio.gather(*deletions)

    assert not ended
    assert before["pages"] == 1
    assert sorted(one.pages for one in found) == [0, 1]
    assert set((await sizes(heart.database)).values()) == {0}


async def versions_of(heart: Frontiers, *names: str, same: bool = False) -> list[int]:
    """Crawls of A that keep versions, in which the page has said something else before: of each a body of its own, or the *same*."""
    crawls = [await heart.crawl(A, name=name, keep_versions=3) for name in names]
    first: dict[int, Visit] = {}
    for said in ("before", "now"):
        await heart.database.script(
            "update domains set holder = null, ready_at = '-infinity', due_at = now(); update urls set due_at = now()"
        )
        turn, urls = await heart.hold("a.example")
        visits = []
        for item in urls:
            body = f"<p>{said} {'' if same else item.crawl_id}".encode()
            made = visit(item, digest=blake2b(body, digest_size=32).digest(), compressed=body)
            past = first[item.crawl_id].digest if item.crawl_id in first else None
            visits.append(replace(made, past=Past(digest=past)))
            first.setdefault(item.crawl_id, made)
        released = [release("a.example", turn)]
        await heart.recording.record(
            visits, released, frozenset(), lambda _: 0.0, versions=dict.fromkeys(crawls, 3)
        )
    return crawls


async def sizes(database: Database) -> dict[str, int]:
    """How many rows there are of what history leaves behind."""
    tables = ("urls", "pages", "versions", "sitemaps", "fetch_hours", "bodies")
    return {table: await database.ask(f"select count(*) from {table}") for table in tables}


async def read_a_sitemap(heart: Frontiers, crawl_id: int) -> None:
    """Have the crawl know a sitemap, and an hour of its past counted."""
    await heart.crawls.seed(crawl_id, [], [link(crawl_id, MAP, kind=UrlKind.SITEMAP)])
    await heart.database.script("update domains set holder = null, ready_at = '-infinity', due_at = now()")
    turn, urls = await heart.hold("a.example")
    read = [
        visit(
            item,
            settled(),
            kind=UrlKind.SITEMAP,
            page=None,
            compressed=None,
            sitemap=SitemapRead("urlset", 2, 1),
        )
        for item in urls
        if item.url == MAP
    ]
    await heart.record(read, [release("a.example", turn)])
    await heart.database.script(
        f"insert into fetch_hours select date_trunc('hour', now()), {crawl_id}, 'ok', 1, 1, 1"
    )


async def test_delete(heart: Frontiers) -> None:
    """A deleted crawl leaves no version, no sitemap, no hour of its past, and no body that only a version named."""
    [crawl] = await versions_of(heart, "one")
    await read_a_sitemap(heart, crawl)
    before = await sizes(heart.database)
    erased = await Erasing(heart.database).crawl(crawl)

    assert before == {"urls": 2, "pages": 1, "versions": 1, "sitemaps": 1, "fetch_hours": 1, "bodies": 2}
    assert await sizes(heart.database) == dict.fromkeys(before, 0)
    assert (erased.urls, erased.pages, erased.bodies) == (1, 1, 2)


async def test_delete_leaves_others_alone(heart: Frontiers) -> None:
    """The versions of another crawl stay, and so do the bodies that they name, also of pages that are gone."""
    one, _ = await versions_of(heart, "one", "other", same=True)
    erased = await Erasing(heart.database).crawl(one)
    kept = await rows(
        heart.database, "select name from versions join crawls using (crawl_id) join bodies using (digest)"
    )

    assert [row["name"] for row in kept] == ["other"]
    assert erased.bodies == 0
    assert await heart.database.ask("select count(*) from bodies") == 2


async def test_a_page_is_deleted_whose_body_a_version_names(heart: Frontiers) -> None:
    """A body that is a page's in one crawl and an earlier version's in another stays when the page goes."""
    [crawl] = await versions_of(heart, "one")
    other = await heart.crawl(B, name="other")
    turn, urls = await heart.hold("b.example")
    [old] = await rows(heart.database, "select digest from versions")
    await heart.record(
        [visit(url, digest=old["digest"], compressed=b"same") for url in urls], [release("b.example", turn)]
    )
    await Erasing(heart.database).crawl(other)

    assert await heart.database.ask("select count(*) from versions join bodies using (digest)") == 1
    assert (await Erasing(heart.database).crawl(crawl)).bodies == 2


async def test_forget(heart: Frontiers) -> None:
    """A forgotten domain leaves no version and no sitemap in any crawl; the sums of the crawl, which name nobody, stay.

    A sitemap was not counted among the URLs, and is not taken from their number.
    """
    crawl, _ = await versions_of(heart, "one", "other")
    await read_a_sitemap(heart, crawl)
    erased = await Erasing(heart.database).domain(domain_id("a.example"), "a.example")

    assert await sizes(heart.database) == {
        "urls": 0, "pages": 0, "versions": 0, "sitemaps": 0, "fetch_hours": 1, "bodies": 0,
    }  # fmt: skip
    assert (erased.urls, erased.pages, erased.bodies) == (2, 2, 4)
    assert all(urls == 0 for urls, _ in (await heart.counts(crawl)).values())


@pytest.mark.parametrize("left", ["versions", "sitemaps"])
async def test_what_was_cut_short(heart: Frontiers, left: str) -> None:
    """A deletion that died when the URLs and pages were gone is ended by the next one."""
    [crawl] = await versions_of(heart, "one")
    await read_a_sitemap(heart, crawl)
    others = {"versions", "sitemaps"} - {left}
    await heart.database.fetch("crawl_delete_begin", crawl)
    await heart.database.script(
        "delete from urls; delete from pages; " + "".join(f"delete from {t};" for t in others)
    )
    await Erasing(heart.database).crawl(crawl)

    assert await heart.database.ask(f"select count(*) from {left}") == 0
    assert await heart.database.ask("select count(*) from crawls") == 0


async def test_upkeep_keeps_what_a_version_names(heart: Frontiers) -> None:
    """The daily removal of unused bodies leaves those of versions, however old they are, and takes those of nobody."""
    await versions_of(heart, "one")
    unused = columns([(b"unused", 1, b"")], 3)
    await heart.database.fetch("record_bodies", *unused)
    await heart.database.script("update bodies set touched_at = now() - interval '9 days'")
    dropped = await drop_unused_bodies(heart.database)

    assert dropped == 1
    assert await heart.database.ask("select count(*) from versions join bodies using (digest)") == 1
