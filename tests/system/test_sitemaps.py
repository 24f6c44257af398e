"""Sitemaps and feeds in whole crawls, by the real program: what the web's log, the export and the database say of them."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.adapters.postgres import Database
from crawler.core.urls import domain_of
from crawler.demo.language import Reply, Site, bomb, page, redirect, silence, status, text
from crawler.demo.server import Web, hurried, serving
from crawler.opening import opened
from crawler.settings import Settings
from tests import making
from tests.system.program import Program, kill
from tests.system.stored import counted_truly, miscounted, rows
from tests.system.test_hostile import watched

BASE: Final = {
    "ALLOW_NETS": "127.0.0.0/8",
    "RUN_PATIENCE": "0",
    "FIRST_BYTE_TIMEOUT": "2s",
    "TOTAL_TIMEOUT": "20s",
    "READ_TIMEOUT": "5s",
}
NAMESPACE: Final = "http://www.sitemaps.org/schemas/sitemap/0.9"
DELAY: Final = 0.05


def xml(*locs: str, index: bool = False, more: str = "") -> bytes:
    """A sitemap, or an index of them; *more* goes into each entry."""
    root, entry = ("sitemapindex", "sitemap") if index else ("urlset", "url")
    entries = "".join(f"<{entry}><loc>{loc}</loc>{more}</{entry}>" for loc in locs)
    return f'<?xml version="1.0"?><{root} xmlns="{NAMESPACE}">{entries}</{root}>'.encode()


def urlset(*locs: str, more: str = "") -> Reply:
    """A sitemap."""
    return Reply(xml(*locs, more=more), headers={"Content-Type": "application/xml"})


def index(*locs: str) -> Reply:
    """An index of sitemaps."""
    return Reply(xml(*locs, index=True), headers={"Content-Type": "application/xml"})


def naming(*sitemaps: str, rules: str = "") -> Reply:
    """A robots.txt that names sitemaps."""
    return text(f"User-agent: *\n{rules}" + "".join(f"Sitemap: {url}\n" for url in sitemaps))


def rss(*links: str) -> Reply:
    """A feed."""
    items = "".join(f"<item><link>{link}</link></item>" for link in links)
    body = f'<rss version="2.0"><channel>{items}</channel></rss>'
    return Reply(body.encode(), headers={"Content-Type": "application/rss+xml"})


def pages(*names: str) -> dict[str, Reply]:
    """Pages without a link."""
    return {name: page(name) for name in names}


@dataclass(frozen=True, slots=True)
class Case:
    """A host, and the paths that are asked of it besides /robots.txt and the start page, each once."""

    about: str
    site: Site
    asked: set[str]
    start: Reply = field(default_factory=lambda: page("start"))


def at(host: str, *paths: str) -> list[str]:
    """Absolute URLs of a host."""
    return [f"http://{host}.test:PORT{path}" for path in paths]


CASES: Final[Mapping[str, Case]] = {
    "several": Case(
        "robots.txt names three, one absolute, two relative, behind a byte order mark, with CRLF",
        {
            "/robots.txt": Reply(
                b"\xef\xbb\xbfSitemap: http://several.test:PORT/1.xml\r\nsitemap:/2.xml\r\nUser-agent: *\r\n"
                b"Disallow:\r\nSITEMAP: 3.xml\r\n",
                headers={"Content-Type": "text/plain"},
            ),
            **{f"/{n}.xml": urlset(*at("several", f"/p{n}")) for n in (1, 2, 3)},
            **pages("/p1", "/p2", "/p3"),
        },
        {"/1.xml", "/2.xml", "/3.xml", "/p1", "/p2", "/p3"},
    ),
    "deep": Case(
        "indexes of indexes are followed to the third level, and no deeper",
        {
            "/robots.txt": naming("/0.xml"),
            **{f"/{n}.xml": index(*at("deep", f"/{n + 1}.xml", f"/s{n}.xml")) for n in range(5)},
            **{f"/s{n}.xml": urlset(*at("deep", f"/p{n}")) for n in range(5)},
            **pages(*(f"/p{n}" for n in range(5))),
        },
        {*(f"/{n}.xml" for n in range(4)), *(f"/s{n}.xml" for n in range(3)), "/p0", "/p1", "/p2"},
    ),
    "loops": Case(
        "an index that names itself, and two that name each other, are read once each",
        {
            "/robots.txt": naming("/self.xml", "/a.xml"),
            "/self.xml": index(*at("loops", "/self.xml", "/a.xml")),
            "/a.xml": index(*at("loops", "/b.xml")),
            "/b.xml": index(*at("loops", "/a.xml", "/c.xml")),
            "/c.xml": urlset(*at("loops", "/p")),
            **pages("/p"),
        },
        {"/self.xml", "/a.xml", "/b.xml", "/c.xml", "/p"},
    ),
    "forms": Case(
        "gzip by name, gzip by encoding, plain text; an RSS and an Atom feed that the start page names",
        {
            "/robots.txt": naming("/a.xml.gz", "/b.xml", "/c.txt"),
            "/a.xml.gz": Reply(
                gzip.compress(b"<urlset><url><loc>/pa</loc></url></urlset>"),
                headers={"Content-Type": "application/gzip"},
            ),
            "/b.xml": Reply(
                gzip.compress(b"<urlset><url><loc>/pb</loc></url></urlset>"),
                headers={"Content-Type": "text/xml", "Content-Encoding": "gzip"},
            ),
            "/c.txt": text("http://forms.test:PORT/pc\n"),
            "/rss": rss("/pd"),
            "/atom": Reply(
                b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><link href="/pe"/></entry></feed>',
                headers={"Content-Type": "application/atom+xml"},
            ),
            **pages("/pa", "/pb", "/pc", "/pd", "/pe"),
        },
        {"/a.xml.gz", "/b.xml", "/c.txt", "/rss", "/atom", "/pa", "/pb", "/pc", "/pd", "/pe"},
        page(
            "start",
            head='<link rel=alternate type="application/rss+xml" href=/rss>'
            '<link rel=alternate type="application/atom+xml" href=/atom>',
        ),
    ),
    "usual": Case(
        "where robots.txt names none, the usual places are looked at: the second, when the first has none",
        {"/sitemap_index.xml": urlset(*at("usual", "/p")), **pages("/p")},
        {"/sitemap.xml", "/sitemap_index.xml", "/p"},
    ),
    "first": Case(
        "the second usual place is left alone when the first has a sitemap",
        {"/sitemap.xml": urlset(*at("first", "/p")), "/sitemap_index.xml": urlset(), **pages("/p")},
        {"/sitemap.xml", "/p"},
    ),
    "named": Case(
        "the usual places are left alone when robots.txt names a sitemap, though that is gone",
        {"/robots.txt": naming("/gone.xml"), "/sitemap.xml": urlset(*at("named", "/p")), **pages("/p")},
        {"/gone.xml"},
    ),
    "soft": Case(
        "a page of HTML that stands for everything that is lost is no sitemap",
        {"/sitemap*": page("not found", "/trap"), **pages("/trap")},
        {"/sitemap.xml", "/sitemap_index.xml"},
    ),
    "forbidden": Case(
        "403 is no sitemap", {"/sitemap*": status(403)}, {"/sitemap.xml", "/sitemap_index.xml"}
    ),
    "broken": Case(
        "500 at a place that we only guessed is not tried again, and nobody waits for it",
        {"/sitemap*": status(500)},
        {"/sitemap.xml", "/sitemap_index.xml"},
    ),
    "mute": Case(
        "a guessed place that never answers holds up nothing",
        {"/sitemap*": silence(), "/p": page("p")},
        {"/sitemap.xml", "/p"},
        page("start", "/p"),
    ),
    "closed": Case(
        "a sitemap that robots.txt disallows is not asked for",
        {
            "/robots.txt": naming("/private/map.xml", "/open.xml", rules="Disallow: /private/\n"),
            "/private/*": urlset(*at("closed", "/p")),
            "/open.xml": urlset(*at("closed", "/q", "/private/x")),
            **pages("/p", "/q"),
        },
        {"/open.xml", "/q"},
    ),
    "moved": Case(
        "redirects of a sitemap are followed, and it may still name what the first place could",
        {
            "/sitemap.xml": redirect("/maps/one.xml"),
            "/maps/one.xml": redirect("/maps/two.xml", 302),
            "/maps/two.xml": urlset(*at("moved", "/p")),
            **pages("/p"),
        },
        {"/sitemap.xml", "/maps/one.xml", "/maps/two.xml", "/p"},
    ),
    "home": Case(
        "a sitemap that redirects to the start page, which is known, or to a page that nobody has linked yet, loses neither",
        {
            "/robots.txt": naming("/a.xml", "/b.xml"),
            "/a.xml": redirect("/"),
            "/b.xml": redirect("/login"),
            "/login": page("login", "/behind"),
            **pages("/behind"),
        },
        {"/a.xml", "/b.xml", "/login", "/behind"},
    ),
    "html": Case(
        "a list of links in HTML, named as a sitemap and linked as a page, is visited as a page",
        {"/robots.txt": naming("/map.html"), "/map.html": page("map", "/p"), **pages("/p")},
        {"/map.html", "/p"},
        page("start", "/map.html"),
    ),
    "folder": Case(
        "a sitemap in a folder that robots.txt names speaks for the whole origin; what an index at the root names does too",
        {
            "/robots.txt": naming("/maps/a.xml"),
            "/maps/a.xml": urlset(*at("folder", "/p")),
            **pages("/p"),
        },
        {"/maps/a.xml", "/p"},
    ),
    "asks": Case(
        "robots.txt names a sitemap of another host, which may speak for this one, also through an index",
        {"/robots.txt": naming(*at("speaks", "/for-asks.xml")), **pages("/p", "/q", "/r")},
        {"/p", "/q"},
    ),
    "speaks": Case(
        "its sitemap names URLs of the host that asked for it, and of one that did not",
        {
            "/robots.txt": naming("/none.xml"),
            "/none.xml": urlset(*at("asks", "/r")),
            "/for-asks.xml": index(*at("speaks", "/deeper.xml")),
            "/deeper.xml": urlset(*at("asks", "/p", "/q"), *at("silent", "/p"), *at("speaks", "/own")),
            **pages("/own"),
        },
        {"/none.xml", "/for-asks.xml", "/deeper.xml", "/own"},
    ),
    "silent": Case(
        "another host may not speak for this one, for its robots.txt does not say so",
        {"/robots.txt": text("User-agent: *\n"), **pages("/p")},
        {"/sitemap.xml", "/sitemap_index.xml"},
    ),
    "www.twin": Case(
        "with www and without are two origins: neither speaks for the other",
        {"/robots.txt": naming("/map.xml"), "/map.xml": urlset(*at("twin", "/p"), *at("www.twin", "/q")), **pages("/q")},
        {"/map.xml", "/q"},
    ),
    "linked": Case(
        "a feed that is linked as a page too is asked for once, and read as the feed that it is",
        {"/sitemap.xml": urlset(), "/feed.xml": rss("/p"), **pages("/p")},
        {"/sitemap.xml", "/feed.xml", "/p"},
        page("start", "/feed.xml", head='<link rel=alternate type="application/rss+xml" href=/feed.xml>'),
    ),
    "comments": Case(
        "the feed of a page that is no start page is left alone",
        {
            "/sitemap.xml": urlset(),
            "/post": page("post", head='<link rel=alternate type="application/rss+xml" href=/post/feed>'),
            "/post/feed": rss("/post"),
        },
        {"/sitemap.xml", "/post"},
        page("start", "/post"),
    ),
    "lies": Case(
        "what is no web page, what leads inside, and session identifiers do no harm",
        {
            "/robots.txt": naming("/map.xml", "http://10.0.0.1/map.xml", "file:///etc/passwd", "javascript:x"),
            "/map.xml": urlset(
                "javascript:alert(1)", "http://127.0.0.1:PORT/x", "http://10.0.0.1/", "data:,x", "ftp://lies.test/x",
                *at("lies", "/p?PHPSESSID=0123456789abcdef0123456789abcdef", "/p?PHPSESSID=fedcba98765432100123456789abcdef"),
            ),
            **pages("/p"),
        },
        {"/map.xml", "/p"},
    ),
    "laughs": Case(
        "entities are not expanded, a bomb is not unpacked to its end, and what was named before is crawled",
        {
            "/robots.txt": naming("/laughs.xml", "/bomb.xml", "/file.xml"),
            "/laughs.xml": Reply(
                b'<!DOCTYPE urlset [<!ENTITY a "ha">'
                + b"".join(b'<!ENTITY %c "%s">' % (n + 1, b"&%c;" % n * 20) for n in range(97, 110))
                + b"]><urlset><url><loc>/&n;</loc></url><url><loc>/p</loc></url></urlset>"
            ),
            "/file.xml": Reply(
                b'<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>/q?&x;</loc></url></urlset>'
            ),
            "/bomb.xml": bomb(60),
            **pages("/p"),
        },
        {"/laughs.xml", "/bomb.xml", "/file.xml", "/p"},
    ),
}  # fmt: skip
TOGETHER: Final = pytest.mark.xdist_group("sitemaps")
"""They share what is costly to make."""
EMPTY: Final = text("User-agent: *\n")


@dataclass(frozen=True, slots=True)
class Crawled:
    """What came of the one crawl of all hosts."""

    web: Web
    program: Program
    summary: Mapping[str, Any]
    exported: Mapping[str, Any]


def on(data: Path, web: Web, **settings: str) -> Program:
    """The program, on that data folder, which knows the web's names."""
    return Program(data, {**BASE, "HOSTS_FILE": str(web.hosts_file(data.parent)), **settings})


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    """All hosts, crawled at once."""
    sites: dict[str, Site] = {f"{name}.test": {"/": case.start, **case.site} for name, case in CASES.items()}
    with serving(sites) as web:
        program = on(tmp_path_factory.mktemp("sitemaps") / "data", web)
        summary = program.crawl(
            "--sitemaps",
            *(web.url(host) for host in sites),
            "--name",
            "all",
            "--delay",
            str(DELAY),
            "--concurrency",
            "50",
        )
        yield Crawled(web, program, summary, program.pages("all"))


@TOGETHER
@pytest.mark.parametrize("name", CASES)
def test_what_a_host_is_asked(crawled: Crawled, name: str) -> None:
    """Of each host exactly that is asked which its case says, and each once; `html` and `home` twice what turned out to be a page."""
    case = CASES[name]
    asked = Counter(crawled.web.asked(f"{name}.test"))
    again = {path for path in ("/map.html", "/login") if path in case.asked}

    assert set(asked) == {"/robots.txt", "/", *case.asked}, case.about
    assert {path for path, times in asked.items() if times > 1} == again, case.about


@TOGETHER
def test_sitemaps_are_no_pages(crawled: Crawled) -> None:
    """No sitemap stands in the export, in the summary or among the counts of pages; they are waited for as pages are: a whole pause."""
    is_sitemap = {".xml", ".gz", ".txt", "/rss", "/atom", "/feed"}
    stored = [url for url in crawled.exported if any(url.endswith(end) for end in is_sitemap)]
    ok = crawled.summary["outcomes"]["ok"]

    assert stored == []
    assert crawled.summary["pages"] == ok == sum(p["outcome"] == "ok" for p in crawled.exported.values())
    assert hurried(crawled.web.log, DELAY, lambda host: domain_of(f"http://{host}/")) == []
    assert crawled.summary["state"] == "finished"


@TOGETHER
async def test_counts_are_true(crawled: Crawled) -> None:
    """What `crawl status` counts by outcome is what the rows of pages say, and every sitemap that was read has its row."""
    forms = await rows(
        crawled.program.data, "select form, count(*) as n from sitemaps where urls > 0 group by 1"
    )

    assert await counted_truly(crawled.program.data)
    assert {row["form"] for row in forms} == {"urlset", "index", "rss", "atom", "text"}


MAPPED: Final[Site] = {
    "/robots.txt": naming("/map.xml"),
    "/": page("start", "/linked"),
    "/map.xml": urlset(*at("mapped", *(f"/p{n}" for n in range(10)))),
    **pages("/linked", *(f"/p{n}" for n in range(10))),
}


def run(program: Program, web: Web, *arguments: str) -> Mapping[str, Any]:
    """A crawl of the one host: its summary."""
    return program.crawl(web.url("mapped.test"), "--name", "one", "--delay", "0.01", "--sitemaps", *arguments)


async def test_budgets_are_exact(data: Path) -> None:
    """A sitemap takes nothing of --max-pages, nor of --max-pages-per-domain; with a higher limit the crawl goes on where it ended."""
    with serving({"mapped.test": MAPPED}) as web:
        program = on(data, web)
        stored = [run(program, web, "--max-pages", str(n))["outcomes"]["ok"] for n in (3, 7)]
        exported = program.pages("one")
        run(program, web, "--max-pages", "0", "--max-pages-per-domain", "9")
        by_domain = program.pages("one")
        wrong = not await counted_truly(program.data)
        summary = run(program, web, "--max-pages-per-domain", "0")

    assert stored == [3, 7]
    assert len(exported) == 7
    assert sum(one["outcome"] == "ok" for one in by_domain.values()) == 9
    assert not wrong
    assert summary["outcomes"] == {"ok": 12}
    assert Counter(web.asked())["/map.xml"] == 1


async def test_no_sitemaps_until_they_are_wanted(data: Path) -> None:
    """--no-sitemaps asks for none; `crawl set NAME sitemaps=true` reads them, also in a crawl that was done."""
    with serving({"mapped.test": MAPPED}) as web:
        program = on(data, web)
        without = run(program, web, "--no-sitemaps")
        asked = set(web.asked())
        program.run("set", "one", "sitemaps=true")
        with_them = run(program, web)
        true = await counted_truly(program.data)

    assert without["outcomes"] == {"ok": 2}
    assert asked == {"/robots.txt", "/", "/linked"}
    assert sum(with_them["outcomes"].values()) == 12
    assert Counter(web.asked())["/map.xml"] == 1
    assert true


async def test_a_sitemap_is_looked_at_again(data: Path) -> None:
    """A later reading with the same bytes asks for nothing else; one that names another page has that crawled, and only that."""
    first, more = (urlset(*at("mapped", *paths)) for paths in (("/p0",), ("/p0", "/p1")))
    replies = chain([first, first], repeat(more))
    with serving({"mapped.test": {**MAPPED, "/map.xml": lambda _path: next(replies)}}) as web:
        program = on(data, web)
        asked: list[set[str]] = []
        changed: list[bool] = []
        async with opened(Settings(data=program.data)) as place:
            for _ in range(3):
                before = len(web.log)
                await asyncio.to_thread(run, program, web, "--refresh", "adaptive")
                asked.append({one.path for one in web.log[before:]} - {"/robots.txt"})
                seen = await making.row(
                    place.database, "select changed_at = fetched_at as is_new from sitemaps"
                )
                changed.append(seen["is_new"])
                await place.database.script(DUE)
            wrong = await miscounted(place.database)

    assert asked == [{"/", "/linked", "/map.xml", "/p0"}, {"/map.xml"}, {"/map.xml", "/p1"}]
    assert changed == [True, False, True]
    assert wrong == []


DUE: Final = """
update urls set due_at = now() where kind = 'sitemap';
update domains set due_at = now(), ready_at = now();
"""
"""The day on which the sitemap is looked at again has come."""


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--scope", "page"), set[str]()),
        (("--include", "/p[0-4]$"), {f"/p{n}" for n in range(5)}),
        (("--exclude", "/p[0-7]$"), {"/linked", "/p8", "/p9"}),
        (("--max-depth", "1"), {"/linked", *(f"/p{n}" for n in range(10))}),
    ],
)
def test_the_scope_holds(data: Path, options: tuple[str, ...], wanted: set[str]) -> None:
    """What a sitemap names is as deep as a link of a seed, and passes the same scope; --scope page reads no sitemap."""
    with serving({"mapped.test": MAPPED}) as web:
        run(on(data, web), web, *options)
        asked = set(web.asked()) - {"/robots.txt", "/", "/map.xml"}

    assert asked == wanted
    assert ("/map.xml" in web.asked()) == ("page" not in options)


def endless(path: str) -> Reply:
    """An index of sitemaps that nobody has seen before, each of which is another one."""
    return index(*(f"http://endless.test:PORT{path}-{n}" for n in range(300)))


def flood(path: str) -> Reply:
    """A sitemap of pages that nobody has seen before."""
    return urlset(*(f"http://flood.test:PORT{path}/{n}" for n in range(2000)))


PIECE: Final = b"<urlset>" + b"<url><loc>http://huge.test:PORT/p</loc></url>" * 20_000
HOSTILE: Final[Mapping[str, Site]] = {
    "endless.test": {"/robots.txt": naming("/i"), "/": page("start"), "/i*": endless},
    "flood.test": {
        "/robots.txt": naming("/all"),
        "/": page("start"),
        "/all": index(*(f"http://flood.test:PORT/s{n}" for n in range(500))),
        "/s*": flood,
    },
    "huge.test": {
        "/robots.txt": naming("/60MB.xml", "/drops.xml"),
        "/": page("start"),
        "/60MB.xml": Reply(PIECE, headers={"Content-Length": "", "Connection": "close"}, times=70),
        "/drops.xml": Reply(b"<urlset>" + b"<url><loc>/q</loc></url>" * 10, times=1000, pause=0.5),
        **pages("/p"),
    },
    "hosts.test": {
        "/robots.txt": naming("/map.xml"),
        "/": page("start"),
        "/map.xml": urlset(*(f"http://victim{n}.test/" for n in range(50_000))),
    },
}


async def test_hostile_sitemaps(data: Path) -> None:
    """Sitemaps without end, too large, too slow, and full of other hosts cost a bounded number of requests, rows and bytes of memory."""
    with serving(HOSTILE) as web:
        program = on(data, web, TOTAL_TIMEOUT="10s")
        seeds = [web.url(host) for host in HOSTILE]
        words = (
            "run",
            *seeds,
            "--name",
            "one",
            "--delay",
            "0.01",
            "--scope",
            "any",
            "--max-pages-per-domain",
            "30",
        )
        process = program.start(*words)
        with watched(process.pid) as memory:
            process.communicate(timeout=120)
        asked = Counter(one.host for one in web.log)
    sql = "select d.name, u.kind, count(*) as n from urls u join domains d using (domain_id) group by 1, 2"
    known = {(row["name"], row["kind"]): row["n"] for row in await rows(program.data, sql)}
    huge = await rows(program.data, "select s.taken, s.detail from sitemaps s join urls u using (domain_id, crawl_id, url_hash) "
                                    "where u.url like '%60MB%'")  # fmt: skip

    assert asked["endless.test"] <= 2 + 12
    assert known["endless.test", "sitemap"] <= 12
    assert asked["flood.test"] <= 2 + 12 + 40
    assert known["flood.test", "page"] <= 1000 + 2 * 2000
    assert {name for name, _ in known} == set(HOSTILE)
    assert [row["taken"] for row in huge] == [1]
    assert huge[0]["detail"]
    assert memory.peak < 500e6


async def test_killed_while_announcing(data: Path) -> None:
    """After kill -9 in the midst of 50,000 URLs of a sitemap, a second run has all of them on the frontier."""
    urls = [f"http://mapped.test:PORT/article/{n}" for n in range(50_000)]
    site = {
        "/robots.txt": naming("/map.xml"),
        "/": page("start"),
        "/map.xml": urlset(*urls),
        "/article/*": page("x"),
    }
    haste = {"WORK_LEASE": "4s", "QUEUE_LEASE": "5s", "TURN_SECONDS": "1s", "TOTAL_TIMEOUT": "3s", "READ_TIMEOUT": "2s",
             "FIRST_BYTE_TIMEOUT": "2s", "CONNECT_TIMEOUT": "2s", "TLS_TIMEOUT": "2s", "DNS_TIMEOUT": "2s"}  # fmt: skip
    with serving({"mapped.test": site}) as web:
        program = on(data, web, **haste)
        words = ("run", web.url("mapped.test"), "--name", "one", "--delay", "0.3")
        async with opened(Settings(data=program.data)) as place:
            first = program.start(*words)
            in_the_midst = await known(place.database, lambda pages, read: pages > 2000 or read)
            kill(first)
            second = program.start(*words)
            after = await known(place.database, lambda _, read: read)
            kill(second)
            wrong = await miscounted(place.database)
        doubled = {path for path, times in Counter(web.asked()).items() if times > 1}

    assert in_the_midst[0] < 50_001
    assert after == (50_001, True)
    assert wrong == []
    assert doubled <= {"/robots.txt", "/", "/map.xml"}


async def known(database: Database, fact: Callable[[int, bool], bool]) -> tuple[int, bool]:
    """How many pages are on the frontier, and whether a sitemap has been read to its end, as soon as *fact* holds of them."""
    sql = "select (select count(*) from urls where kind = 'page') as pages, exists (select from sitemaps) as read"
    async with asyncio.timeout(90):
        while True:  # the rows are all there is to wait for: they set no event here
            found = await making.row(database, sql)
            if fact(found["pages"], found["read"]):
                return found["pages"], found["read"]
            await asyncio.sleep(0.02)
