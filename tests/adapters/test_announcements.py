"""What sitemaps announce, on the frontier."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.announcements import Announced, Announcements, as_it_is, by_trust
from crawler.adapters.crawls import Limits, Wish
from crawler.adapters.postgres import Database
from crawler.announcing import TOO_MANY
from crawler.core.model import FoundLink, Outcome, Past, ScopeKind, SitemapRead, UrlKind
from crawler.core.revisit import START, brought_forward
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id, url_hash
from tests.adapters.test_plans import HUGE, plan
from tests.making import Frontiers, link, row, rows, settled, visit
from tests.system.stored import miscounted

SITE: Final = "https://a.example"
MAP: Final = f"{SITE}/map.xml"
PAGE: Final = f"{SITE}/page"
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


class Desk:
    """A crawl of one site, whose sitemap is read."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.heart = Frontiers(database)
        self.announcements = Announcements(database)
        self.crawl = 0

    async def begin(self, *urls: str, **limits: Any) -> "Desk":
        """Make the crawl, with these seeds."""
        self.crawl = await self.heart.crawl(*urls, **limits)
        return self

    def said(self, url: str = PAGE, **more: Any) -> FoundLink:
        """A URL that a sitemap names."""
        return link(self.crawl, url, **{"depth": 1, **more})

    def sitemap(self, url: str = MAP, **more: Any) -> FoundLink:
        """A sitemap, as a link."""
        return link(self.crawl, url, kind=UrlKind.SITEMAP, **more)

    async def announce(self, *links: FoundLink, adaptive: bool = False) -> None:
        """Put them on the frontier."""
        await self.announcements.announce(self.crawl, links, by_trust if adaptive else as_it_is)

    async def visited(self, outcome: Outcome = Outcome.OK, again_in: float | None = None, **more: Any) -> Any:
        """Visit the one URL that is due: its row after that."""
        (turn, (item,)) = (await self.heart.take())["a.example"]
        assert turn
        made = replace(settled(outcome), due_in=again_in, revisit=again_in)
        await self.heart.record([visit(item, made, **more)])
        await self.database.script("update domains set ready_at = now(), holder = null")
        return await self.heart.url(item.url)


@pytest.fixture
async def desk(database: Database) -> Desk:
    """A crawl without a seed."""
    return await Desk(database).begin()


async def test_what_is_new(desk: Desk) -> None:
    """A new URL stands on the frontier with lastmod and changefreq, those of more priority first, and is counted."""
    when = datetime(2026, 1, 2, tzinfo=UTC)
    dull = desk.said(f"{SITE}/dull", priority=0.1)
    vital = desk.said(f"{SITE}/vital", priority=0.9, lastmod=when, changefreq=86400.0)
    await desk.announce(dull, desk.said(f"{SITE}/usual"), vital)
    _, urls = (await desk.heart.take())["a.example"]
    stored = await desk.heart.url(vital.url)

    assert [item.url for item in urls] == [vital.url, f"{SITE}/usual", dull.url]
    assert (stored["lastmod"], stored["changefreq"]) == (when, DAY)
    assert await desk.heart.counts(desk.crawl) == {"": (3, 0)}


async def test_announced_twice(desk: Desk) -> None:
    """Announcing the same twice changes nothing: not one row, and no count."""
    said = [desk.said(f"{SITE}/{n}", lastmod=datetime(2026, 1, 2, tzinfo=UTC)) for n in range(50)]
    await desk.announce(*said)
    before = await rows(desk.database, "select u.*, xmin::text from urls u order by url")
    await desk.announce(*said)

    assert await rows(desk.database, "select u.*, xmin::text from urls u order by url") == before
    assert await miscounted(desk.database) == []


@pytest.mark.parametrize("adaptive", [True, False])
async def test_a_newer_lastmod(desk: Desk, *, adaptive: bool) -> None:
    """A visit is brought forward by trust where the crawl goes by how pages change, and not at all where it goes by the clock."""
    await desk.announce(desk.said())
    before = await desk.visited(again_in=START)
    page = await row(desk.database, "select fetched_at from pages")
    later = page["fetched_at"] + timedelta(minutes=1)
    await desk.announce(desk.said(lastmod=later), adaptive=adaptive)
    after = await desk.heart.url(PAGE)
    seconds = brought_forward(later, page["fetched_at"], START, 0, 0)
    domain = await desk.heart.domain("a.example")

    assert after["lastmod"] == later
    assert after["due_at"] == (
        page["fetched_at"] + timedelta(seconds=seconds) if adaptive else before["due_at"]
    )
    assert after["due_at"] - page["fetched_at"] >= HOUR
    assert not adaptive or domain["due_at"] <= after["due_at"]


async def test_who_cries_wolf(desk: Desk) -> None:
    """A site whose words never proved true brings nothing forward by more than a tenth."""
    await desk.announce(desk.said())
    before = await desk.visited(again_in=START)
    await desk.database.script("update domain_pages set promised = 100, kept = 0")
    await desk.announce(desk.said(lastmod=datetime.now(UTC) + HOUR), adaptive=True)
    after = await desk.heart.url(PAGE)

    assert before["due_at"] - after["due_at"] < timedelta(seconds=START) / 10


@pytest.mark.parametrize("adaptive", [True, False])
async def test_what_was_gone(desk: Desk, *, adaptive: bool) -> None:
    """What was gone is looked at again when a sitemap says that it changed since, whatever the rule, and never within the hour."""
    await desk.announce(desk.said())
    before = await desk.visited(Outcome.GONE)
    page = await row(desk.database, "select fetched_at from pages")
    await desk.announce(desk.said(lastmod=page["fetched_at"] - HOUR), adaptive=adaptive)
    old_news = await desk.heart.url(PAGE)
    await desk.announce(desk.said(lastmod=page["fetched_at"] + HOUR), adaptive=adaptive)
    after = await desk.heart.url(PAGE)

    assert before["due_at"] is old_news["due_at"] is None
    assert after["due_at"] >= page["fetched_at"] + HOUR


async def test_two_sitemaps_name_one_page(desk: Desk) -> None:
    """The newest lastmod counts, and a sitemap that says nothing of changefreq takes back nothing."""
    old, new = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    await desk.announce(desk.said(lastmod=new, changefreq=3600.0))
    await desk.announce(desk.said(lastmod=old))
    await desk.announce(desk.said(changefreq=86400.0))
    stored = await desk.heart.url(PAGE)

    assert (stored["lastmod"], stored["changefreq"]) == (new, DAY)


async def test_promises_are_counted(desk: Desk) -> None:
    """A visit after such a word counts as promised, and as kept if the page had changed; other visits count for nothing."""
    then = datetime(2026, 1, 1, tzinfo=UTC)
    promised = Past(fetched_at=then, digest=b"old", lastmod=then + DAY)
    ordinary = replace(promised, lastmod=then - DAY)
    for number, (past, changed) in enumerate(
        [(promised, True), (promised, False), (ordinary, True), (promised, None)]
    ):
        await desk.announce(desk.said(f"{SITE}/{number}"))
        await desk.visited(past=past, changed=changed)
    stored = await row(desk.database, "select promised, kept from domain_pages")

    assert tuple(stored) == (2, 1)  # fmt: skip


async def named(desk: Desk) -> None:
    """The site's robots.txt names the sitemap."""
    await desk.announcements.named(desk.crawl, SITE, [desk.sitemap()])


async def test_a_page_that_is_a_sitemap(desk: Desk) -> None:
    """What was linked as a page before robots.txt named it as a sitemap is read as one, and no longer counted."""
    await desk.announce(desk.said(MAP))
    await named(desk)
    stored = await desk.heart.url(MAP)

    assert (stored["kind"], stored["open"], stored["depth"]) == ("sitemap", True, 0)
    assert await miscounted(desk.database) == []


async def test_a_refused_page_that_is_a_sitemap(desk: Desk) -> None:
    """The same holds for what was refused by its type; what was stored as a page stays one."""
    await desk.announce(desk.said(MAP))
    await desk.visited(Outcome.TYPE_REFUSED)
    await named(desk)
    refused = await desk.heart.url(MAP)
    await desk.database.script("update urls set kind = 'page', outcome = 'ok', open = false, due_at = null")
    await named(desk)
    kept = await desk.heart.url(MAP)

    assert (refused["kind"], refused["outcome"]) == ("sitemap", None)
    assert refused["due_at"] is not None
    assert (kept["kind"], kept["due_at"]) == ("page", None)


async def test_a_sitemap_that_is_a_page(desk: Desk) -> None:
    """What turns out to be a page is due as one, and counted; a late worker changes nothing any more."""
    await desk.heart.crawls.seed(desk.crawl, [], [desk.sitemap()])
    _, (item,) = (await desk.heart.take())["a.example"]
    done = [await desk.announcements.sitemap_is_page(item, "a.example") for _ in range(2)]
    stored = await desk.heart.url(MAP)

    assert done == [True, False]
    assert (stored["kind"], stored["depth"], stored["open"]) == ("page", 1, True)
    assert await miscounted(desk.database) == []


async def read(desk: Desk, taken: int, urls: int) -> TurnUrl:
    """The sitemap was read: it named so many URLs, and so many were taken."""
    await desk.heart.crawls.seed(desk.crawl, [], [desk.sitemap()])
    _, (item,) = (await desk.heart.take())["a.example"]
    seen = SitemapRead("urlset", urls, taken, "")
    await desk.heart.record(
        [visit(item, settled(), kind=UrlKind.SITEMAP, sitemap=seen, page=None, digest=b"d")]
    )
    return item


async def robots(desk: Desk, origin: str, *sitemaps: str) -> None:
    """The robots.txt of an origin names these, from now on."""
    name = origin.partition("//")[2]
    async with desk.database.connection() as connection:
        await connection.execute(
            "insert into origins (domain_id, origin, sitemaps, good_at, fetched_at) values ($1, $2, $3, now(), now())",
            domain_id(name), origin, list(sitemaps),
        )  # fmt: skip


@pytest.mark.parametrize(("taken", "again"), [(1, True), (2, False)])
async def test_named_after_it_was_read(desk: Desk, taken: int, *, again: bool) -> None:
    """A sitemap that named more than it could then is read again when another origin's robots.txt names it, once; else it is not."""
    other = "https://b.example"
    await read(desk, taken, 2)
    await robots(desk, other, MAP)
    await desk.announcements.named(desk.crawl, other, [desk.sitemap()])
    stored = await desk.heart.url(MAP)
    kept = await row(desk.database, "select digest from sitemaps")

    assert (stored["due_at"] is not None) == again
    assert (kept["digest"] == b"") == again


async def test_who_vouches(desk: Desk) -> None:
    """Of the origins asked those vouch whose robots.txt names one of the sitemaps."""
    await robots(desk, SITE, MAP, f"{SITE}/other.xml")
    await robots(desk, "https://b.example", "https://b.example/own.xml")
    asked = [SITE, "https://b.example", "https://c.example"]

    assert await desk.announcements.vouching([MAP, "https://x.example/"], asked) == {SITE}


async def test_how_much(desk: Desk) -> None:
    """What sitemaps have brought is summed up, and how many stand on the frontier is counted up to a limit."""
    await read(desk, 7, 9)
    more = [desk.sitemap(f"{SITE}/{n}.xml") for n in range(5)]
    await desk.heart.crawls.seed(desk.crawl, [], more)
    number = domain_id("a.example")

    assert await desk.announcements.so_far(number, desk.crawl) == Announced(1, 7)
    assert [await desk.announcements.sitemaps(number, desk.crawl, most) for most in (3, 100)] == [3, 6]


async def test_more_pages_more_sitemaps(database: Database) -> None:
    """A sitemap that the crawl had no use for is looked at again when its limit is raised, and counted neither time."""
    desk = await Desk(database).begin(max_pages_per_domain=5)
    await desk.heart.crawls.seed(desk.crawl, [], [desk.sitemap()])
    await desk.visited(Outcome.SCOPE_REFUSED)
    await database.script(f"update urls set detail = '{TOO_MANY}'")
    await desk.heart.crawls.create_or_change(
        Wish("test", ScopeKind.ANY, limits=Limits(max_pages_per_domain=50))
    )
    stored = await desk.heart.url(MAP)

    assert (stored["open"], stored["outcome"]) == (True, None)
    assert await miscounted(database) == []


async def test_what_is_being_forgotten(desk: Desk) -> None:
    """Nothing is announced of a domain that is being forgotten."""
    await desk.announce(desk.said())
    await desk.database.script("update domains set forgotten_at = now()")
    await desk.announce(desk.said(f"{SITE}/new"))

    assert [found["url"] for found in await rows(desk.database, "select url from urls")] == [PAGE]


async def test_what_led_to_a_sitemap(desk: Desk) -> None:
    """The sitemaps above one are told from the nearest up; a loop of them ends, and the page that led to the first is none of them."""
    first, second = f"{SITE}/1.xml", f"{SITE}/2.xml"
    number = domain_id("a.example")
    await desk.heart.crawls.seed(desk.crawl, [], [desk.said(f"{SITE}/")])
    above = {"found_domain_id": number}
    await desk.heart.crawls.seed(
        desk.crawl, [], [desk.sitemap(first, found_hash=url_hash(f"{SITE}/"), **above)]
    )
    await desk.heart.crawls.seed(desk.crawl, [], [desk.sitemap(second, found_hash=url_hash(first), **above)])
    found = await desk.announcements.above(number, desk.crawl, url_hash(second))
    async with desk.database.connection() as connection:
        await connection.execute("update urls set found_hash = $1 where url = $2", url_hash(second), first)
    loop = await desk.announcements.above(number, desk.crawl, url_hash(second))

    assert found == [second, first]
    assert set(loop) == {first, second}


@pytest.mark.parametrize(
    "name",
    ["announced_so_far", "announced_sitemaps", "announced_known", "announce_again", "sitemaps_above", "origins_vouching",
     "sitemap_is_page", "record_page_is_sitemap", "record_sitemap_vouched"],
)  # fmt: skip
async def test_plans(database: Database, name: str) -> None:
    """A worker's statement reads no big table from end to end."""
    async with database.connection() as connection:
        text = await plan(connection, name)

    assert re.findall(rf"Seq Scan on {HUGE}\b", text) == [], text
