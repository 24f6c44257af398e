"""What was crawled, by its words: read by upkeep, asked, forgotten; and groups of pages that say the same."""

import asyncio
import hashlib
import json
import math
import time
from dataclasses import replace
from typing import Any

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.erasing import Erasing
from crawler.adapters.jobs import Jobs
from crawler.adapters.postgres import Database
from crawler.adapters.zstd import pack
from crawler.core.content import text_digest
from crawler.core.errors import FaircrawlError, UsageError
from crawler.core.model import Outcome, Page, Visit
from crawler.core.simhash import simhash
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id
from crawler.duplicates import Kind, Question, largest_groups, members_of
from crawler.searching import marked, search, snippet_of
from crawler.servant import Servant
from crawler.upkeep import Job, tried, upkeep_jobs
from crawler.wording import Texts, Worded, keep_words
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
    answer = await search(
        heart.database, crawl_id, words, **{"domain_id": None, "most": 10, "snippets": False, **more}
    )
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
    assert await found(heart, crawl, "words") == [A]
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
    (unread,) = await heart.database.fetch("search_unread", crawl, 100)
    assert unread["unread"] == 0


async def again(heart: Frontiers, pages: dict[str, Any]) -> None:
    """Visit all of these pages once more."""
    await heart.database.script(
        "update urls set due_at = now(), open = true, outcome = null; update domains set due_at = now(), ready_at = now()"
    )
    await visit_again(heart, pages)


async def test_each_domain_has_its_turn(heart: Frontiers) -> None:
    """What was never read comes first, then what waits longest, in whatever crawl: a domain that is always visited keeps nobody waiting."""
    busy = {f"{A}{n}": "busy words" for n in range(3)}
    first = await crawl_of(heart, busy, name="first")
    await keep_words(heart.database)
    second = await crawl_of(heart, {B: "patient words"}, name="second")
    await heart.database.script("update domains set visited_at = clock_timestamp() where name = 'a.example'")
    done = await keep_words(heart.database, seconds=-math.inf)

    assert (done.read, done.more) == (1, True)
    assert await found(heart, second, "patient") == [B]
    assert len(await found(heart, first, "busy")) == 3


async def test_large_domain(heart: Frontiers) -> None:
    """Cut off within a domain, it goes on from there; what has changed before that place meanwhile is read thereafter."""
    pages = {f"{A}{n}": f"page number{n}" for n in range(8)}
    crawl = await crawl_of(heart, pages)
    places = []
    for _ in range(4):
        assert (await keep_words(heart.database, seconds=-math.inf, rows=3)).read == 1
        places.append(await heart.database.ask("select searched_hash from domain_pages"))
    await again(heart, dict.fromkeys(pages, "changed words"))
    goes_on = await keep_words(heart.database, seconds=-math.inf, rows=3)
    place = await heart.database.ask("select searched_hash from domain_pages")
    done = await keep_words(heart.database, rows=3)

    assert sorted({*places, place}) == [*places, place]
    assert goes_on.read == 1
    assert done.read >= 7
    assert len(await found(heart, crawl, "changed")) == 8
    assert await heart.database.ask("select searched_hash from domain_pages") == b""
    assert await keep_words(heart.database) == Worded()
    looked = dict((await heart.database.fetch("search_unread", crawl, 5))[0])
    assert looked == {"unread": 0, "looked": 0}
    await again(heart, dict.fromkeys(pages, "changed again"))
    looked = dict((await heart.database.fetch("search_unread", crawl, 5))[0])
    assert looked == {"unread": 5, "looked": 5}


async def test_wanted_again(heart: Frontiers) -> None:
    """If words are wanted again before all of them were removed, those that were are read anew."""
    crawl = await crawl_of(heart, {f"{A}{n}": "words" for n in range(3)})
    await keep_words(heart.database)
    await heart.database.script("update crawls set search = false")
    cut = await keep_words(heart.database, seconds=-math.inf, rows=1)
    await heart.database.script("update crawls set search = true")
    done = await keep_words(heart.database)

    assert (cut.removed, cut.more, done) == (1, True, Worded(read=1))
    assert len(await found(heart, crawl, "words")) == 3


async def test_a_process_that_is_killed(heart: Frontiers) -> None:
    """After a process that died another one is asked; if that dies too, the page is found by its title, and counted."""
    dying = iter([True, False, True, True])

    async def start() -> Servant:
        return await Servant.start(
            "crawler.none" if next(dying) else "crawler.text_process", stderr=asyncio.subprocess.DEVNULL
        )

    crawl = await crawl_of(heart, {A: {"text": "words", "title": "first"}})
    mortal = Texts(start)
    done = await keep_words(heart.database, by=mortal)
    await mortal.close()
    assert done == Worded(read=1)
    assert await found(heart, crawl, "words") == [A]

    await again(heart, {A: {"text": "other", "title": "second"}})
    assert await keep_words(heart.database, by=mortal) == Worded(read=1, overtaxing=1)
    assert await found(heart, crawl, "second") == [A]
    assert await found(heart, crawl, "other") == []


async def test_no_process(heart: Frontiers) -> None:
    """That no process can be started is said in a line, and nothing is taken for read."""
    crawl = await crawl_of(heart, {A: "words"})

    async def start() -> Servant:
        raise OSError("too many open files")

    with pytest.raises(FaircrawlError, match=r"no process can be started .*too many open files"):
        await keep_words(heart.database, by=Texts(start))
    await keep_words(heart.database)
    assert await found(heart, crawl, "words") == [A]


async def test_a_job_that_fails(database: Database) -> None:
    """Whatever a job of upkeep raises, it is written down, and the others are done."""

    async def fails(_: Database) -> str:
        raise OSError("no more processes")

    jobs = Jobs(database)
    await jobs.plan(["fails"])
    await tried(Job("fails", "", 60, fails), database, jobs, "me")

    assert [(row["name"], row["detail"]) for row in await jobs.rows()] == [("fails", "no more processes")]


async def test_hostile_pages_are_shown(heart: Frontiers) -> None:
    """A page whose text PostgreSQL would think about for long is shown; one whose body no process can read is, without its words."""
    crawl = await crawl_of(
        heart,
        {
            A: {"text": "needle " + "a_" * 25_000, "title": "one"},
            f"{A}2": {"text": "needle", "title": "two"},
            B: "some needle, in (haystacks).",
        },
    )
    await keep_words(heart.database)
    await heart.database.script(
        "update bodies b set data = '\\x00' from pages p where p.digest = b.digest and p.title = 'two'"
    )
    began = time.monotonic()
    answer = await search(heart.database, crawl, "needle", domain_id=None, most=10)
    shown = {hit.url: marked(hit.snippet, hit.marks, ("<", ">")) for hit in answer.hits}

    assert time.monotonic() - began < 5
    assert (shown[A], shown[f"{A}2"], shown[B]) == ("<needle>", "", "some <needle>, in (haystacks")
    hurried = await search(heart.database, crawl, "needle", domain_id=None, most=10, patience=0)
    assert {hit.snippet for hit in hurried.hits} == {""}


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


def test_signs_come_back() -> None:
    """What PostgreSQL shows of a text without its signs is shown with them, fragment by fragment, and the marks stay at their words."""
    said, marks = snippet_of(
        "One (two). Three; one-two! End: one_two?",
        "\x01two\x02   Three\x03one \x01two\x02  End\x03one \x01two\x02",
    )

    assert said == "two). Three ... one-two! End ... one_two"
    assert [said[start:end] for start, end in marks] == ["two"] * 3


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
    assert (told["matches"], told["all"], told["unread"], told["unread_all"], len(told["pages"])) == (
        2,
        True,
        0,
        True,
        2,
    )
    assert none.stdout == b"No page of crawl docs has these words.\n"
    assert groups.stdout.decode().splitlines() == [
        "2 pages that are the same, byte for byte",
        f"  {A}",
        f"  {A}2",
    ]
    assert [json.loads(line)["urls"] for line in lines] == [[A, f"{A}2"]]
    assert wrong.returncode == 2
    assert (await Crawls(heart.database).by_id(crawl)) is not None
