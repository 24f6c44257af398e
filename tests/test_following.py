"""Pages as they are stored: none is missed and none comes twice, in whatever order transactions end."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from typing import Any, Final

import pytest

from crawler.adapters.postgres import Database
from crawler.core.model import Crawl, Page
from crawler.exporting import pages
from crawler.following import BYTES, Follower, PlaceLostError
from crawler.selection import Selection
from tests.making import Frontiers, slow, until, visit
from tests.storing import BEGIN, Stored, crawl_of, numbered, put, seen_again, store

A: Final = "https://a.example/"
B: Final = "https://b.example/"
LATER: Final = BEGIN + timedelta(hours=1)


@pytest.fixture
async def looking(dsn: str) -> AsyncIterator[Database]:
    """A database of the test's own, opened as who looks opens it."""
    async with await Database.open(dsn, size=4) as database:
        yield database


async def following(database: Database, crawl: Crawl, **selection: Any) -> Follower:
    """A follower from now on."""
    return Follower(database, crawl.crawl_id, await Follower.now(database), Selection(**selection))


async def all_of(follower: Follower) -> list[str]:
    """The URLs of all that there is now."""
    urls: list[str] = []
    while rows := await follower.more():
        urls += [row["url"] for row in rows]
    return urls


async def reached(database: Database, follower: Follower) -> list[str]:
    """The URLs of all that is committed: no other transaction of the server holds it up any more."""
    end = await database.value("follow_end")
    urls: list[str] = []

    async def behind() -> bool:
        urls.extend(await all_of(follower))
        return follower.cursor >= int(end)

    await until(behind)
    return urls


async def test_a_transaction_that_ends_late_is_not_missed(looking: Database) -> None:
    """Of two open transactions the second ends first: nothing of it comes before the first has ended, and then both do, once."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    async with AsyncExitStack() as first:
        _, one = await first.enter_async_context(slow(looking))
        await put(one, crawl, [Stored(A)])
        async with slow(looking) as (_, other):
            await put(other, crawl, [Stored(B)])
        while_open = await all_of(follower)
    both = await reached(looking, follower)

    assert while_open == []
    assert both == [A, B]
    assert await all_of(follower) == []


async def test_a_transaction_that_is_undone_brings_nothing(looking: Database) -> None:
    """What was rolled back is not there, and what came after it is."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    async with looking.connection() as connection:
        undone = connection.transaction()
        await undone.start()
        await put(connection, crawl, [Stored(A)])
        await undone.rollback()
    await store(looking, crawl, [Stored(B)])

    assert await reached(looking, follower) == [B]


async def test_each_page_comes_once(looking: Database) -> None:
    """Writers that begin, write and end in any order, and a follower that looks in between and is made anew: each page once."""
    dice = random.Random(7)
    crawl = await crawl_of(looking)
    await store(looking, crawl, [Stored(A), Stored(B)])  # two who make a domain wait for each other
    follower = await following(looking, crawl)
    came = Counter[str]()
    fresh = [page for pages in zip(numbered(60), numbered(60, "b.example"), strict=True) for page in pages]
    written = len(fresh)
    open_: list[tuple[AsyncExitStack, Any]] = []
    while fresh or open_:
        deed = dice.choice(["begin", "write", "write", "end", "look"])
        if deed == "begin" and fresh and len(open_) < 3:
            stack = AsyncExitStack()
            _, connection = await stack.enter_async_context(slow(looking))
            open_.append((stack, connection))
        elif deed == "write" and open_ and fresh:
            some = [fresh.pop() for _ in range(min(len(fresh), dice.randint(1, 8)))]
            await put(dice.choice(open_)[1], crawl, sorted(some, key=lambda page: page.url))
        elif deed == "end" and open_:
            stack, _ = open_.pop(dice.randrange(len(open_)))
            await stack.aclose()
        elif deed == "look":
            came.update(row["url"] for row in await follower.more(dice.randint(1, 5)))
            follower = Follower(looking, crawl.crawl_id, follower.cursor)
    came.update(await reached(looking, follower))

    assert len(came) == written
    assert set(came.values()) == {1}


async def test_a_page_that_was_only_seen_again_comes_for_what_it_became_before(looking: Database) -> None:
    """A new page that another visit found unchanged before anybody looked comes once; seen again later, it does not."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    await store(looking, crawl, [Stored(A)])
    async with slow(looking) as (_, connection):
        await seen_again(connection, crawl, A, LATER)
    first = await reached(looking, follower)
    async with slow(looking) as (_, connection):
        await seen_again(connection, crawl, A, LATER + timedelta(hours=1))

    assert first == [A]
    assert await reached(looking, follower) == []


async def test_a_page_that_became_another_comes_again(looking: Database) -> None:
    """A page comes for each time it became another; twice before anybody looked is once, as it is."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    await store(looking, crawl, [Stored(A)])
    first = await reached(looking, follower)
    await store(looking, crawl, [Stored(A, LATER, body="<p>second")])
    await store(looking, crawl, [Stored(A, LATER + timedelta(hours=1), outcome="gone", body=None)])

    assert first == [A]
    assert await reached(looking, follower) == [A]


async def test_a_large_transaction_comes_whole(looking: Database) -> None:
    """A transaction with more pages than were asked for comes in one piece, and the cursor is behind it."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    await store(looking, crawl, numbered(30))
    await store(looking, crawl, [Stored(B)])
    await reached(looking, await following(looking, crawl))

    assert len(await follower.more(10)) == 30
    assert [row["url"] for row in await follower.more(10)] == [B]


async def test_only_what_is_selected_comes(looking: Database) -> None:
    """A follower of a selection is given no other page, and of no other crawl."""
    crawl, other = await crawl_of(looking), await crawl_of(looking, "other")
    follower = await following(looking, crawl, domains=("a.example",), outcomes=("ok",), types=("text/*",))
    await store(looking, other, [Stored(A)])
    await store(
        looking,
        crawl,
        [
            Stored(A),
            Stored(f"{A}gone", outcome="gone"),
            Stored(f"{A}pdf", content_type="application/pdf"),
            Stored(B),
        ],
    )

    assert await reached(looking, follower) == [A]


async def test_the_cursor_of_another_database_is_told(looking: Database) -> None:
    """A cursor that this database has not reached is of another one, or of one that was restored since."""
    crawl = await crawl_of(looking)

    with pytest.raises(PlaceLostError, match="begin anew"):
        await Follower(looking, crawl.crawl_id, 2**40).more()


async def test_a_restored_dump_is_all_there(looking: Database) -> None:
    """Attempts with the numbers of another cluster, which this one has not reached, are from before the follower; new ones come."""
    crawl = await crawl_of(looking)
    await store(looking, crawl, [Stored(A)])
    await looking.script("update fetches set tx = 1::bigint << 40")
    follower = await following(looking, crawl)
    async with aclosing(pages(looking, crawl, before=follower.cursor)) as rows:
        stored = [row["url"] async for row in rows]
    await store(looking, crawl, [Stored(B)])

    assert stored == [A]
    assert await reached(looking, follower) == [B]
    assert await looking.ask("select count(*) from fetches where tx is null") == 1


async def test_what_hooks_say_anew_comes(looking: Database) -> None:
    """A page whose text is as it was comes again if hooks say something else of it, and not if they say the same."""
    heart = Frontiers(looking)
    crawl_id = await heart.crawl(A)
    _, (item,) = await heart.hold("a.example")
    page = Page("text/html", "utf-8", "title", text_digest=bytes(32))
    came = []
    follower = Follower(looking, crawl_id, await Follower.now(looking))
    for price in (1, 2, 2):
        await heart.record([visit(item, page=page, fields=f'{{"price": {price}}}')])
        came.append(await reached(looking, follower))

    assert came == [[A], [A], []]


async def test_an_answer_is_no_larger_than_memory_has_room_for(looking: Database) -> None:
    """Large pages come as few at a time as fit, whatever was asked for; one that is larger than that comes alone."""
    crawl = await crawl_of(looking)
    follower = await following(looking, crawl)
    small, large, larger = BYTES // 3, BYTES - 1, BYTES + 1
    for n, size in enumerate((small, small, large, larger, small)):
        await store(looking, crawl, [Stored(f"{A}{n}")])
        await looking.script(
            f"update pages set length = {size} where fetched_at = changed_at and length < 1000"
        )
    await reached(looking, await following(looking, crawl))
    answers = []
    while rows := await follower.more():
        answers.append([row["url"].removeprefix(A) for row in rows])

    assert answers == [["0", "1"], ["2"], ["3"], ["4"]]
