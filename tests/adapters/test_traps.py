"""The budget of a domain that says the same again and again: counted exactly, used up, and given anew by hand."""

import random
import re
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from crawler.adapters.frontier import OVER_BUDGET, SHRUNK
from crawler.adapters.pages import _page_row
from crawler.adapters.postgres import LOOKUPS, QUERIES, SESSION, Database, columns
from crawler.core.model import Outcome, Page, Visit
from crawler.core.simhash import ALIKE, simhash
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id
from tests.making import Frontiers, release, row, rows, settled, visit

A, B = "https://a.example/", "https://b.example/"
NUMBERS = str.maketrans("01", "xy")
SEEDS = 230
"""A few more URLs than a `tight` domain has room for."""


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


def said(item: TurnUrl, gist: int | None, **more: Any) -> Visit:
    """A visit to a page that says this."""
    return replace(visit(item), page=Page("text/html", "utf-8", gist=gist), **more)


def nearly(item: TurnUrl, gist: int, simhash: int | None) -> Visit:
    """A visit to a page of this SimHash, that says something of its own."""
    return replace(visit(item), page=Page("text/html", "utf-8", gist=gist, simhash=simhash))


async def budget(heart: Frontiers, crawl_id: int) -> tuple[int, int, int, int]:
    """Pages, those that said something new, those that did not, and the room left, of the one domain."""
    sql = "select pages, fresh, alike, room from domain_pages where crawl_id = $1"
    return tuple(await row(heart.database, sql, crawl_id))


async def tight(heart: Frontiers, crawl_id: int) -> None:
    """Leave the domain room for 200 pages instead of 1,000."""
    await heart.database.script(
        f"insert into domain_pages (domain_id, crawl_id, granted) values ({domain_id('a.example')}, {crawl_id}, -800)"
    )


async def visit_all(heart: Frontiers, gist: int | None, name: str = "a.example") -> int:
    """Visit what is handed out until nothing is, every page saying the same: how many turns that took."""
    turns = 0
    while True:
        taken = {d.domain: d for d in await heart.frontier.dispatch(10, 600)}
        urls = await heart.frontier.turn_urls([(taken[name].domain_id, 500)]) if name in taken else {}
        if not urls:
            await heart.frontier.release_empty(list(taken.values()))
            return turns
        accepted = await heart.accept(name, taken[name].turn)
        assert accepted is not None
        visits = [said(item, gist) for items in urls.values() for item in items]
        await heart.record(visits, [release(name, accepted.turn)])
        turns += 1


async def test_counted(heart: Frontiers) -> None:
    """A page counts as new or as a copy, of an earlier one or of one in its batch; without text it is neither."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(7)), name="counted")
    _, urls = await heart.hold("a.example")
    await heart.record([said(urls[0], 1), said(urls[1], 2), said(urls[2], 1)])
    first = await budget(heart, crawl)
    await heart.record([said(urls[3], 2), said(urls[4], 3), said(urls[5], None)])
    gone = replace(visit(urls[6], settled(Outcome.GONE)), page=None)
    await heart.record([gone])

    assert first == (3, 2, 1, 1000 + 4 * 2 - 1)
    assert await budget(heart, crawl) == (6, 3, 2, 1000 + 4 * 3 - 2)


async def test_nearly_the_same_counts_as_the_same(heart: Frontiers) -> None:
    """A page that differs by three bits from another, earlier or in its batch, is a copy; one that differs by four is none."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(8)), name="nearly")
    _, urls = await heart.hold("a.example")
    await heart.record([nearly(urls[0], 0, 0), nearly(urls[1], 1, 0b111), nearly(urls[2], 2, None)])
    first = await budget(heart, crawl)
    await heart.record(
        [nearly(urls[3], 3, 0b111000), nearly(urls[4], 4, -1), nearly(urls[5], 5, 0b1111 << 40)]
    )
    second = await budget(heart, crawl)
    await heart.record([nearly(urls[6], 6, -8), nearly(urls[7], 7, None)])

    assert first == (3, 2, 1, 1000 + 4 * 2 - 1)
    assert second == (6, 4, 2, 1000 + 4 * 4 - 2)
    assert await budget(heart, crawl) == (8, 5, 3, 1000 + 4 * 5 - 3)


async def test_few_are_looked_at(heart: Frontiers, database: Database) -> None:
    """However many pages of a domain begin with the same bits and are not near, thirty of them are looked at."""
    crawl = await heart.crawl(f"{A}0")
    _, urls = await heart.hold("a.example")
    await database.script(
        "insert into pages (domain_id, crawl_id, url_hash, fetched_at, outcome, simhash)"
        f" select {domain_id('a.example')}, {crawl}, n::text::bytea, now(), 'ok', 1000 + (n << 12) from generate_series(1, 3000) n;"
        " analyze pages"
    )
    session = SESSION | LOOKUPS | {"session_preload_libraries": "auto_explain", "client_min_messages": "log"}
    told: list[str] = []
    connection = await asyncpg.connect(database.dsn, server_settings=session)
    connection.add_log_listener(lambda _, message: told.append(message.message))
    await connection.execute(
        "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_analyze = on"
    )
    rows = [_page_row(nearly(urls[0], 1, 0))]
    await connection.fetch(QUERIES["record_pages"], *columns(rows, 25), ALIKE)
    await connection.close()
    read = [
        float(n)
        for text in told
        for n in re.findall(r"using pages_\d+_domain_id_crawl_id_expr\w* .*rows=([\d.]+) ", text)
    ]

    assert max(read) == 30


async def test_counted_once(heart: Frontiers) -> None:
    """A batch recorded twice, the answer to COMMIT having been lost, counts nothing the second time, and a later visit neither."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(3)))
    _, urls = await heart.hold("a.example")
    batch = [said(url, 1) for url in urls]
    await heart.record(batch)
    once = await budget(heart, crawl)
    await heart.record(batch)
    await heart.record([said(urls[0], 9)])

    assert once == (3, 1, 2, 1002)
    assert await budget(heart, crawl) == once


async def test_counted_by_domain_and_crawl(heart: Frontiers) -> None:
    """What another domain or another crawl has stored makes no page a copy."""
    one = await heart.crawl(A, B, name="one")
    two = await heart.crawl(A, name="two")
    turns = await heart.take()
    await heart.record([said(url, 1) for _, urls in turns.values() for url in urls])

    assert await rows(heart.database, "select crawl_id, fresh, alike from domain_pages order by 1") == [
        (one, 1, 0), (one, 1, 0), (two, 1, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_counts_are_exact(heart: Frontiers, seed: int) -> None:
    """However pages are batched, each text is new once and a copy every other time, and the room is what that earns."""
    dice = random.Random(seed)
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(60)))
    _, urls = await heart.hold("a.example")
    gists = [dice.choice([None, *range(dice.choice([3, 12]))]) for _ in urls]
    visits = [said(url, gist) for url, gist in zip(urls, gists, strict=True)]
    while visits:
        n = dice.randrange(1, 20)
        batch, visits = visits[:n], visits[n:]
        for _ in range(dice.choice([1, 1, 2])):
            await heart.record(batch)
    fresh = len({gist for gist in gists if gist is not None})
    alike = sum(gist is not None for gist in gists) - fresh

    assert await budget(heart, crawl) == (60, fresh, alike, 1000 + 4 * fresh - alike)


async def test_a_pure_trap_ends(heart: Frontiers) -> None:
    """A domain whose pages all say the same is closed when its room is used up, without a limit; every URL is final."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    turns = await visit_all(heart, 1)
    closed = await row(
        heart.database, "select count(*), min(detail), max(detail) from urls where outcome = 'scope_refused'"
    )

    assert await budget(heart, crawl) == (205, 1, 204, 0)
    assert turns == 2
    assert tuple(closed) == (SEEDS - 205, f"{SHRUNK}205 pages", f"{SHRUNK}205 pages")
    assert await heart.crawls.finish(crawl)


@pytest.mark.parametrize("known", [True, False])
async def test_a_trap_of_a_few_words_each_ends(heart: Frontiers, known: bool) -> None:  # noqa: FBT001 - a case
    """A domain whose pages differ by a word or two each, so that no gist is another's, loses its room too; without SimHash none."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    dice, left = random.Random(1), None
    words = [
        f"{a}{b}"
        for a in ("amber", "birch", "cedar", "delta", "fjord")
        for b in map(str, "abcdefghijklmnopqrstuvw")
    ]
    text = " ".join(words)
    turn, urls = await heart.hold("a.example")
    said_of_all = [
        text.replace(dice.choice(words), dice.choice(words)) + f" {n:b}".translate(NUMBERS)
        for n in range(SEEDS)
    ]
    for batch in range(0, len(urls), 20):
        visits = [
            nearly(url, batch + n, simhash(said_of_all[batch + n]) if known else None)
            for n, url in enumerate(urls[batch : batch + 20])
        ]
        await heart.record(visits)
        left = await budget(heart, crawl)
    await heart.record([], [release("a.example", turn)])

    assert left is not None
    assert (left[2] > 0.9 * left[0]) == known
    assert (left[3] < 200) == known


async def test_an_honest_domain_does_not(heart: Frontiers) -> None:
    """A domain of which every fifth page says something new is never closed."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    turn, urls = await heart.hold("a.example")
    await heart.record([said(url, n // 5) for n, url in enumerate(urls)], [release("a.example", turn)])
    _, rest = await heart.hold("a.example")

    assert len(urls) == 200
    assert await budget(heart, crawl) == (200, 40, 160, 200)
    assert len(rest) == SEEDS - 200


async def test_pages_without_text_close_nothing(heart: Frontiers) -> None:
    """Pages without text, such as pictures, use up no room."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    await visit_all(heart, None)

    assert await budget(heart, crawl) == (SEEDS, 0, 0, 200)


async def test_never_more_than_the_limit(heart: Frontiers) -> None:
    """The room earned is no more than --max-pages-per-domain, whose own reason is told."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(9)), max_pages_per_domain=3)
    await visit_all(heart, None)
    why = await rows(heart.database, "select distinct detail from urls where outcome = 'scope_refused'")

    assert (await budget(heart, crawl))[0] == 3
    assert why == [(OVER_BUDGET,)]


async def test_another_limit_gives_room(heart: Frontiers) -> None:
    """Setting another limit gives a domain that had none left room for 1,000 pages more; the same limit again gives nothing."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    await visit_all(heart, 1)
    await heart.crawl()
    same = await budget(heart, crawl)
    await heart.crawl(max_pages_per_domain=300)
    more = await budget(heart, crawl)
    _, urls = await heart.hold("a.example")

    assert same == (205, 1, 204, 0)
    assert more == (205, 1, 204, 1000)
    assert len(urls) == SEEDS - 205
    assert await heart.counts(crawl) == {"": (SEEDS - 205, 0), "ok": (205, 205)}


async def test_a_lower_limit_gives_nothing(heart: Frontiers) -> None:
    """A limit below what is stored gives a closed domain nothing."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(SEEDS)))
    await tight(heart, crawl)
    await visit_all(heart, 1)
    await heart.crawl(max_pages_per_domain=100)

    assert await budget(heart, crawl) == (205, 1, 204, 0)
    assert await heart.take() == {}
