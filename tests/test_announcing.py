"""What robots.txt, sitemaps and feeds announce, before it is on the frontier and on its way there."""

import asyncio
from dataclasses import replace
from typing import Any, Final

import pytest

from crawler.adapters.announcements import Announcements
from crawler.adapters.postgres import Database
from crawler.announcing import (
    ELSEWHERE,
    NAMED,
    SLICE,
    TOO_MANY,
    UNREAD,
    Announcer,
    feeds_of,
    next_place,
    reads_sitemaps,
    sitemaps_of,
    told,
)
from crawler.core.model import Answer, Crawl, CrawlState, Outcome, Past, ScopeKind, UrlKind, Visit
from crawler.core.refresh_rule import parse_rule
from crawler.core.scope import Scope, scope_key
from crawler.core.sitemaps import MAX_LEVEL, Entry, Sitemap
from crawler.core.turns import VERSION, Turn, TurnUrl
from crawler.core.urls import domain_id, url_hash
from crawler.crawlbook import KnownCrawl, SeenUrls
from crawler.ledger import HTML, SAME, Ledger
from crawler.reading import ReadSitemap
from tests.making import Frontiers, link, rows
from tests.test_ledger import Noted

SITE: Final = "https://a.example"
MAP: Final = f"{SITE}/maps/map.xml"
ROOT: Final = Crawl(1, "test", CrawlState.RUNNING, 1, ScopeKind.DOMAIN)
FOUND: Final = 1, b"hash"


def known(crawl: Crawl = ROOT) -> KnownCrawl:
    """A crawl of the site."""
    keys = {scope_key(ScopeKind.DOMAIN, f"{SITE}/")}
    return KnownCrawl(crawl, Scope.of(crawl, keys), SeenUrls(), parse_rule("off"))


def item(url: str = f"{SITE}/", *, seed: bool = False, depth: int = 0, outcome: str | None = None) -> TurnUrl:
    """A URL of a turn."""
    return TurnUrl(1, url_hash(url), url, 0, depth, 0, 0, seed=seed, outcome=outcome)


@pytest.mark.parametrize(
    ("crawl", "reads"),
    [(ROOT, True), (replace(ROOT, sitemaps=False), False), (replace(ROOT, scope=ScopeKind.PAGE), False)],
)
def test_who_reads_sitemaps(crawl: Crawl, *, reads: bool) -> None:
    """A crawl reads sitemaps unless it was told not to, or wants no other pages: then it looks for none."""
    feeds = feeds_of(known(crawl), item(), FOUND, [f"{SITE}/feed"])

    assert reads_sitemaps(crawl) is reads
    assert bool(sitemaps_of(known(crawl), item(), FOUND, ["/map.xml"])) is reads
    assert bool(feeds) is reads


def test_what_robots_txt_names() -> None:
    """Sitemaps are taken as robots.txt names them, each once, a thousand at most, ten of them elsewhere; what is no web address is none."""
    said = [
        "/1.xml",
        f"{SITE}/1.xml#x",
        "2.xml",
        "ftp://a.example/3.xml",
        "javascript:x",
        "https://b.example/4.xml",
    ]
    found = sitemaps_of(known(), item(f"{SITE}/deep/page"), FOUND, said)
    many = sitemaps_of(known(), item(), FOUND, [f"/{n}.xml" for n in range(2 * NAMED)])
    others = [f"https://victim{n}.example/" for n in range(100)]
    far = sitemaps_of(known(), item(), FOUND, [*others, "/own.xml"])

    assert [one.url for one in found] == [f"{SITE}/1.xml", f"{SITE}/2.xml", "https://b.example/4.xml"]
    assert {(one.kind, one.depth, one.found_hash) for one in found} == {(UrlKind.SITEMAP, 0, b"hash")}
    assert len(many) == NAMED
    assert [one.url for one in far] == [*others[:ELSEWHERE], f"{SITE}/own.xml"]


def test_the_usual_places() -> None:
    """Where robots.txt names none, the first usual place comes, and the second after that; what was told is left out."""
    crawl = known()
    first = sitemaps_of(crawl, item(), FOUND, [])
    second = next_place(crawl, item(first[0].url), FOUND)
    told(crawl, first)

    assert [one.url for one in (*first, *second)] == [f"{SITE}/sitemap.xml", f"{SITE}/sitemap_index.xml"]
    assert next_place(crawl, item(second[0].url), FOUND) == next_place(crawl, item(MAP), FOUND) == ()
    assert sitemaps_of(crawl, item(), FOUND, []) == ()


def test_what_lies_elsewhere_is_named_again() -> None:
    """A sitemap of another origin is named to the frontier though it was told: it may name more now."""
    crawl = known()
    first = sitemaps_of(crawl, item(), FOUND, ["https://b.example/map.xml"])
    told(crawl, first)

    assert sitemaps_of(crawl, item(), FOUND, ["https://b.example/map.xml"]) == first != ()


def test_known_as_a_page() -> None:
    """That a URL is known as a page keeps nobody from naming it as a sitemap."""
    crawl = known()
    crawl.seen.add(f"{SITE}/map.xml")

    assert [one.url for one in sitemaps_of(crawl, item(), FOUND, ["/map.xml"])] == [f"{SITE}/map.xml"]


def test_feeds() -> None:
    """The feeds of a seed and of an origin's start page are taken if they are in scope; those of other pages are not."""
    feeds = [f"{SITE}/feed", "https://b.example/feed"]

    assert [one.url for one in feeds_of(known(), item(), FOUND, feeds)] == feeds[:1]
    assert len(feeds_of(known(), item(f"{SITE}/blog", seed=True), FOUND, feeds)) == 1
    assert feeds_of(known(), item(f"{SITE}/blog"), FOUND, feeds) == ()


class Desk:
    """Reads sitemaps of a crawl of the site into a database."""

    def __init__(self, database: Database, crawl: Crawl = ROOT) -> None:
        self.database = database
        self.heart = Frontiers(database)
        self.announcer = Announcer(Announcements(database))
        self.known = known(crawl)
        self.noted = Noted()
        nobody: Any = None
        recorder: Any = self.noted
        self.ledger = Ledger(
            Turn(VERSION, domain_id("a.example"), "a.example", 1, []), nobody, recorder, self.announcer
        )

    async def begin(self) -> "Desk":
        """The crawl, and its sitemap on the frontier."""
        crawl = await self.heart.crawl()
        assert crawl == ROOT.crawl_id
        await self.heart.crawls.seed(1, [], [link(1, MAP, kind=UrlKind.SITEMAP)])
        return self

    async def named_by_robots(self) -> None:
        """The site's robots.txt names the sitemap."""
        async with self.database.connection() as connection:
            await connection.execute(
                "insert into origins (domain_id, origin, sitemaps) values ($1, $2, $3)",
                domain_id("a.example"), SITE, [MAP],
            )  # fmt: skip

    async def read(self, *urls: str, depth: int = 0, below: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        """Announce what the sitemap names: how many were taken, and the sitemaps below."""
        sitemap = Sitemap("index" if below else "urlset", tuple(map(Entry, urls)), tuple(map(Entry, below)))
        number = domain_id("a.example")
        taken, links = await self.announcer.announce(self.known, item(MAP, depth=depth), number, sitemap)
        return taken, [one.url for one in links]

    async def visit(self, answer: Answer, *, past: Past, sitemap: Sitemap | None = None) -> Visit:
        """Write down a visit to the sitemap."""
        seen = ReadSitemap(answer, sitemap, b"digest" if sitemap else None)
        await self.ledger.sitemap(item(MAP), self.known, seen, past=past, domain_wait=0)
        return self.noted.visits[-1]


@pytest.fixture
async def desk(database: Database) -> Desk:
    """A crawl with a sitemap."""
    return await Desk(database).begin()


async def test_a_folder(desk: Desk) -> None:
    """A sitemap that nobody names speaks for its own folder; named in robots.txt, for the whole origin, and for no other."""
    urls = f"{SITE}/maps/1", f"{SITE}/2", "http://a.example/3", "https://www.a.example/4"
    alone, _ = await desk.read(*urls)
    await desk.named_by_robots()
    named, _ = await desk.read(*urls)

    assert (alone, named) == (1, 2)


async def test_among_many_origins(desk: Desk) -> None:
    """However many other origins a sitemap names, its own is not overlooked."""
    await desk.named_by_robots()
    others = [f"https://{n}.a.example/" for n in range(3000)]

    assert await desk.read(*others, f"{SITE}/1", f"{SITE}/2") == (2, [])


async def test_levels(desk: Desk) -> None:
    """An index hands on the sitemaps that it may name, down to the last level."""
    await desk.named_by_robots()
    below = (f"{SITE}/1.xml", "https://b.example/2.xml")

    assert await desk.read(below=below) == (0, [f"{SITE}/1.xml"])
    assert await desk.read(below=below, depth=MAX_LEVEL) == (0, [])


async def test_room(database: Database) -> None:
    """An index fills the frontier with no more sitemaps than the crawl has use for, those that stand there counted."""
    desk = await Desk(database, replace(ROOT, max_pages=100)).begin()
    await desk.named_by_robots()
    _, links = await desk.read(below=tuple(f"{SITE}/{n}.xml" for n in range(1000)))

    assert len(links) == 9


async def test_enough(database: Database) -> None:
    """A new sitemap is refused when the domain's have announced enough, one that was read before is not; and none is read unwanted."""
    desk = await Desk(database, replace(ROOT, max_pages_per_domain=100)).begin()
    number = domain_id("a.example")
    before = await desk.announcer.refusal(desk.known, item(MAP), number)
    await database.script(
        "insert into sitemaps (domain_id, crawl_id, url_hash, fetched_at, changed_at, digest, form, urls, taken) "
        f"values ({number}, 1, 'x', now(), now(), '', 'urlset', 1000, 1000)"
    )
    unwanted = known(replace(ROOT, sitemaps=False))

    assert before is None
    assert await desk.announcer.refusal(desk.known, item(MAP), number) == TOO_MANY
    assert await desk.announcer.refusal(desk.known, item(MAP, outcome="ok"), number) is None
    assert await desk.announcer.refusal(unwanted, item(MAP, outcome="ok"), number) == UNREAD


async def test_others_go_on(desk: Desk) -> None:
    """While many URLs are announced the event loop goes round between some of them and the next."""
    await desk.named_by_robots()
    task = asyncio.create_task(desk.read(*(f"{SITE}/{n}" for n in range(10 * SLICE))))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1

    assert await task == (10 * SLICE, [])
    assert rounds >= 20
    assert len(await rows(desk.database, "select from urls where kind = 'page'")) == 10 * SLICE


SAID: Final = Sitemap("urlset", (Entry(f"{SITE}/maps/1"),), named=1)
OK: Final = Answer(Outcome.OK, 0, 0, status=200, body=b"x" * 1000)


async def test_the_same_again(desk: Desk) -> None:
    """The same bytes and 304 announce nothing and count as unchanged; other bytes announce, and none are kept in memory."""
    same = await desk.visit(OK, past=Past(digest=b"digest"), sitemap=SAID)
    told = await desk.visit(Answer(Outcome.NOT_MODIFIED, 0, 0, status=304), past=Past(digest=b"digest"))
    nothing = await rows(desk.database, "select from urls where kind = 'page'")
    other = await desk.visit(OK, past=Past(digest=b"older"), sitemap=SAID)

    assert (same.settlement.outcome, same.settlement.detail) == (Outcome.NOT_MODIFIED, SAME)
    assert [same.changed, told.changed, other.changed] == [False, False, True]
    assert nothing == []
    assert len(await rows(desk.database, "select from urls where kind = 'page'")) == 1
    assert other.answer is not None
    assert other.answer.body == b""


async def test_a_named_sitemap_is_waited_for(desk: Desk) -> None:
    """What somebody names is tried again when it fails; a page of HTML in its place is visited as a page, if it is in scope."""
    failed = await desk.visit(Answer(Outcome.HTTP_ERROR, 0, 0, status=500), past=Past())
    await desk.database.script("update urls set due_at = 'epoch'")
    await desk.visit(Answer(Outcome.TYPE_REFUSED, 0, 0, status=200, detail=HTML), past=Past())
    kinds = await rows(desk.database, "select kind from urls")

    assert failed.settlement.open
    assert failed.links == ()
    assert [found["kind"] for found in kinds] == ["page"]
