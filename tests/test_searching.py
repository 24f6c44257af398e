"""What was crawled, by its words: read by upkeep, asked, forgotten; and groups of pages that say the same."""

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.erasing import Erasing
from crawler.adapters.postgres import Database
from crawler.adapters.zstd import pack
from crawler.core.content import text_digest
from crawler.core.errors import UsageError
from crawler.core.model import Outcome, Page, Visit
from crawler.core.simhash import simhash
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id
from crawler.duplicates import Kind, Question, largest_groups, members_of
from crawler.searching import marked, search
from crawler.upkeep import upkeep_jobs
from crawler.wording import Worded, keep_words
from tests.forking import crawled
from tests.making import Frontiers, release, rows, settled, visit

A, B = "https://a.example/", "https://b.example/"
LOG = "The write-ahead log is synced. After crashes it is recovered: recovery takes a moment."
TAIL = " ".join(f"{a}{b}" for a in ("amber", "birch", "cedar", "delta") for b in "abcdefghijk")


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


def stored(item: TurnUrl, text: str, title: str = "A page", language: str | None = "en") -> Visit:
    """A visit to a page of that text."""
    body = f"<title>{title}</title><p>{text}".encode()
    page = Page(
        "text/html",
        "utf-8",
        title=title,
        language=language,
        text_digest=text_digest(text),
        simhash=simhash(text),
    )
    return replace(
        visit(item), page=page, digest=hashlib.sha256(body).digest(), compressed=pack(body), size=len(body)
    )


async def crawl_of(
    heart: Frontiers, pages: dict[str, Any], *, searched: bool = True, name: str = "test"
) -> int:
    """A crawl of these pages: text by URL, or what `stored` takes."""
    crawl_id = await heart.crawl(*pages, name=name)
    await heart.database.script(f"update crawls set search = {searched} where crawl_id = {crawl_id}")
    await visit_again(heart, pages)
    return crawl_id


async def visit_again(heart: Frontiers, pages: dict[str, Any]) -> None:
    """Visit what is due of these pages, and let go."""
    for domain, (turn, urls) in (await heart.take()).items():
        accepted = await heart.accept(domain, turn)
        assert accepted is not None
        visits = [
            stored(url, **pages[url.url]) if isinstance(pages[url.url], dict) else stored(url, pages[url.url])
            for url in urls
        ]
        await heart.record(visits, [release(domain, accepted.turn, visited=True)])


async def found(heart: Frontiers, crawl_id: int, words: str, **more: Any) -> list[str]:
    """The URLs that these words find, the best first."""
    answer = await search(heart.database, crawl_id, words, **{"domain_id": None, "most": 10, **more})
    return [hit.url for hit in answer.hits]


async def test_found(heart: Frontiers) -> None:
    """Pages are found by their words, in the forms of their language; the title counts more; quotes, minus and "or" are understood."""
    crawl = await crawl_of(
        heart,
        {
            A: LOG,
            f"{A}title": {"text": "Something else, of a log.", "title": "Recovery"},
            f"{B}de": {"text": "Die Häuser wurden gebaut.", "language": "de"},
            f"{B}xx": {"text": "crashes, no language said", "language": None},
        },
    )
    done = await keep_words(heart.database)

    assert done == Worded(read=4)
    assert await found(heart, crawl, "recovery log") == [f"{A}title", A]
    assert set(await found(heart, crawl, "crash")) == {A}
    assert set(await found(heart, crawl, "crashes")) == {A, f"{B}xx"}
    assert await found(heart, crawl, "Haus") == [f"{B}de"]
    assert await found(heart, crawl, '"write-ahead log"') == [A]
    assert await found(heart, crawl, '"log ahead"') == []
    assert await found(heart, crawl, "log -recovered") == [f"{A}title", A][:1]
    assert set(await found(heart, crawl, "Haus or moment")) == {A, f"{B}de"}
    assert await found(heart, crawl, "crashes", domain_id=domain_id("b.example")) == [f"{B}xx"]
    with pytest.raises(UsageError, match="no word"):
        await found(heart, crawl, '"" ...')


async def test_shown(heart: Frontiers) -> None:
    """The place where the words stand is shown, on one line, and what was asked for is marked in it; no page obeys a terminal."""
    crawl = await crawl_of(heart, {A: f"{'before ' * 200}\x1b[31m\x01{LOG}\x02\u202e"})
    await keep_words(heart.database)
    (hit,) = (await search(heart.database, crawl, "recovery", domain_id=None, most=1)).hits
    said = marked(hit.snippet, hit.marks, ("<", ">"))

    assert "crashes it is recovered: <recovery> takes" in said
    assert said.isprintable()
    assert 0 < hit.rank < 1


async def test_changed_and_gone(heart: Frontiers) -> None:
    """What a page says now is what finds it; a page that is gone is not found."""
    crawl = await crawl_of(heart, {A: "first words", f"{A}2": "other words"})
    await keep_words(heart.database)
    await heart.database.script(
        "update urls set due_at = now(), open = true, outcome = null; update domains set due_at = now(), ready_at = now()"
    )
    turn, urls = await heart.hold("a.example")
    gone = [replace(visit(url, settled(Outcome.GONE)), page=None) for url in urls if url.url != A]
    again = [stored(url, "second words") for url in urls if url.url == A]
    await heart.record(gone + again, [release("a.example", turn, visited=True)])
    done = await keep_words(heart.database)

    assert done == Worded(read=1, removed=1)
    assert await found(heart, crawl, "words") == [A]
    assert await found(heart, crawl, "first") == []
    assert await keep_words(heart.database) == Worded()


async def test_cut_off(heart: Frontiers) -> None:
    """Cut off for want of time, it goes on where it was; nothing is read twice."""
    crawl = await crawl_of(heart, {f"{A}{n}": f"page number{n}" for n in range(50)})
    steps = [await keep_words(heart.database, seconds=0.0)]
    first = await keep_words(heart.database, seconds=-math.inf)
    done = await keep_words(heart.database)

    assert steps[0].more
    assert first.more
    assert steps[0].read + first.read + done.read == 50
    assert await heart.database.value("search_unread", crawl, 100) == 0


async def test_wanted_no_more(heart: Frontiers) -> None:
    """A crawl that is not searched any more has no words; its pages are read anew when it is again."""
    crawl = await crawl_of(heart, {A: "words", f"{B}1": "words"})
    job = next(job for job in upkeep_jobs(0) if job.name == "search")
    told = [await job.work(heart.database)]
    for searched in ("false", "true"):
        await heart.database.script(f"update crawls set search = {searched}")
        told.append(await job.work(heart.database))

    assert told == ["2 pages read", "0 pages read, the words of 2 pages removed", "2 pages read"]
    assert len(await found(heart, crawl, "words")) == 2


async def test_erased(heart: Frontiers) -> None:
    """A domain that is removed leaves no words behind, and none are written for it afterwards."""
    await crawl_of(heart, {A: "words", B: "words"})
    await keep_words(heart.database)
    (kept,) = await rows(
        heart.database, "select * from page_words where domain_id = $1", domain_id("a.example")
    )
    await Erasing(heart.database).domain(domain_id("a.example"), "a.example")
    late = [[kept["url_hash"]], [kept["read_digest"]], ["simple"], ["title"], ["words"]]
    await heart.database.fetch("search_write", kept["domain_id"], kept["crawl_id"], *late)

    assert [row[0] for row in await rows(heart.database, "select domain_id from page_words")] == [
        domain_id("b.example")
    ]


@pytest.mark.parametrize(
    "text",
    [
        " ".join(f"{n:x}" for n in range(200_000)),
        "-".join("a" * 200_000),
        "a.b@" * 100_000 + "/" * 100_000,
        "x" * 300_000,
        "é" * 300_000 + " " + "\u0130 " * 100_000,
        "<" * 1000 + "<p>" * 50_000 + "end",
    ],
)
async def test_any_text_fits(heart: Frontiers, text: str) -> None:
    """However long a text is, and whatever it is made of, its page is read, and found by its title."""
    crawl = await crawl_of(heart, {A: {"text": text, "title": "needle"}})
    done = await keep_words(heart.database)

    assert done == Worded(read=1)
    assert await found(heart, crawl, "needle") == [A]


async def duplicates(
    heart: Frontiers, crawl_id: int, kind: Kind, *, domain: int | None = None, most: int = 10
) -> list[list[str]]:
    """The groups of that kind."""
    asked = Question(crawl_id, domain, kind, 5, most)
    groups = await largest_groups(heart.database, asked)
    members: dict[int, list[str]] = {}
    async for row in members_of(heart.database, asked, groups):
        members.setdefault(row["place"], []).append(row["url"])
    assert [group.pages for group in groups] == [len(urls) for urls in members.values()]
    return list(members.values())


async def test_duplicates(heart: Frontiers) -> None:
    """Groups are by bytes, by text, or by nearly the same text; the largest come first; across domains, or within one."""
    same = [A, f"{A}same", f"{A}too"]
    short = [f"{A}short", f"{B}short"]
    crawl = await crawl_of(
        heart,
        {
            **dict.fromkeys(same, TAIL),
            **dict.fromkeys(short, "few words"),
            f"{B}other": {"text": TAIL, "title": "Another"},
            f"{B}near": f"{TAIL} word",
            f"{A}own": TAIL[::-1],
        },
    )
    near = [*same, f"{B}near", f"{B}other"]

    assert await duplicates(heart, crawl, Kind.EXACT) == [same, short]
    assert await duplicates(heart, crawl, Kind.TEXT) == [[*same, f"{B}other"], short]
    assert await duplicates(heart, crawl, Kind.NEAR) == [near, short]
    assert await duplicates(heart, crawl, Kind.NEAR, most=1) == [near]
    assert await duplicates(heart, crawl, Kind.NEAR, domain=domain_id("b.example")) == [near[3:]]


async def test_commands(heart: Frontiers) -> None:
    """Both commands tell people and programs; a crawl that is not searched is told how to be, and what is not read is counted."""
    crawl = await crawl_of(heart, {A: LOG, f"{A}2": LOG}, searched=False, name="docs")
    at = ("--database", heart.database.dsn)
    refused = await crawled("search", "docs", "log", *at, env={})
    await heart.database.script("update crawls set search = true")
    await keep_words(heart.database, only=crawl)
    plain = await crawled("search", "docs", "write-ahead", *at, env={})
    told = json.loads(
        (await crawled("search", "docs", "--json", *at, "--", "log", "-nowhere", env={})).stdout
    )
    none = await crawled("search", "docs", "nowhere", *at, env={})
    groups = await crawled("duplicates", "docs", *at, env={})
    lines = (await crawled("duplicates", "docs", "--exact", "--json", *at, env={})).stdout.splitlines()
    wrong = await crawled("duplicates", "docs", "--exact", "--distance", "3", *at, env={})

    assert (refused.returncode, refused.stdout) == (1, b"")
    assert refused.stderr.startswith(b"crawl: crawl docs is not searched: `crawl set docs search=true")
    assert b"*write*-*ahead* log is synced." in plain.stdout
    assert (told["matches"], told["all"], told["unread"], len(told["pages"])) == (2, True, 0, 2)
    assert none.stdout == b"No page of crawl docs has these words.\n"
    assert groups.stdout.decode().splitlines() == [
        "2 pages that are the same, byte for byte",
        f"  {A}",
        f"  {A}2",
    ]
    assert [json.loads(line)["urls"] for line in lines] == [[A, f"{A}2"]]
    assert wrong.returncode == 2
    assert (await Crawls(heart.database).by_id(crawl)) is not None
