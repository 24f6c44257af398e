"""Fair to crawls: whoever has little to do does not wait for whoever has much."""

import pytest

from crawler.adapters.postgres import Database
from tests.making import Frontiers, release


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """Hands on a fresh database."""
    return Frontiers(database)


def urls(prefix: str, how_many: int) -> list[str]:
    """A URL of each of so many domains."""
    return [f"https://{prefix}{number}.example/" for number in range(how_many)]


async def line_of(heart: Frontiers, name: str) -> int:
    """The crawl in whose line a domain stands."""
    return int((await heart.domain(name))["due_for"])


async def test_a_small_crawl_does_not_wait_for_a_big_one(heart: Frontiers) -> None:
    """Two crawls share the room of a dispatch, however long one of them has waited with however many domains."""
    await heart.crawl(*urls("big", 500), name="big")
    await heart.crawl(*urls("small", 30), name="small")

    first = await heart.take(room=20)
    second = await heart.take(room=100)

    assert sum(name.startswith("small") for name in first) == 10
    assert len(first) == 20
    assert sum(name.startswith("small") for name in second) == 20


async def test_the_longest_waiting_first(heart: Frontiers) -> None:
    """Within a crawl, the domain that could have been visited for the longest time is dispatched first."""
    crawl_id = await heart.crawl("https://second.example/")
    await heart.database.ask("update urls set due_at = due_at - interval '1 hour'")
    await heart.database.ask("update domains set due_at = due_at - interval '1 hour'")
    await heart.seed(crawl_id, "https://third.example/")
    await heart.database.ask(
        "update domains set due_at = due_at - interval '2 hours' where name = 'third.example'"
    )

    assert list(await heart.take(room=1)) == ["third.example"]
    assert list(await heart.take(room=1)) == ["second.example"]


async def test_alone(heart: Frontiers) -> None:
    """A crawl that is alone has all the room."""
    await heart.crawl(*urls("big", 50), name="big")

    assert len(await heart.take(room=40)) == 40


async def test_a_domain_of_two_crawls(heart: Frontiers) -> None:
    """A domain that two crawls want now stands in the line of the younger one, before and after its turn, and has URLs of both."""
    old = await heart.crawl("https://shared.example/a", "https://shared.example/b", name="old")
    before = await line_of(heart, "shared.example")
    young = await heart.crawl("https://shared.example/c", "https://shared.example/d", name="young")
    meanwhile = await line_of(heart, "shared.example")
    turn, items = await heart.hold("shared.example")
    await heart.record(releases=[release("shared.example", turn)])

    assert (before, meanwhile, await line_of(heart, "shared.example")) == (old, young, young)
    assert {item.crawl_id for item in items} == {old, young}


async def test_due_later(heart: Frontiers) -> None:
    """A domain that the younger crawl wants only later stands in the line of the crawl that wants it now."""
    old = await heart.crawl("https://shared.example/a", name="old")
    young = await heart.crawl("https://shared.example/b", name="young")
    await heart.database.ask("update urls set due_at = now() + interval '1 hour' where crawl_id = $1", young)
    turn, _ = await heart.hold("shared.example")
    await heart.record(releases=[release("shared.example", turn)])

    assert await line_of(heart, "shared.example") == old


async def test_line_of_a_crawl_that_is_gone(heart: Frontiers) -> None:
    """A domain in the line of a crawl that was deleted is dispatched like any other, and then stands where it belongs."""
    crawl_id = await heart.crawl("https://a.example/")
    await heart.database.ask("update domains set due_for = 999")
    turn, _ = await heart.hold("a.example")
    await heart.record(releases=[release("a.example", turn)])

    assert await line_of(heart, "a.example") == crawl_id


async def test_next_due_of_all_lines(heart: Frontiers) -> None:
    """The moment to dispatch again is the earliest of all lines."""
    await heart.crawl("https://a.example/", name="one")
    await heart.crawl("https://b.example/", name="two")
    await heart.database.ask(
        "update domains set ready_at = now() + interval '100 seconds' where name = 'a.example'"
    )
    await heart.database.ask(
        "update domains set ready_at = now() + interval '50 seconds' where name = 'b.example'"
    )

    seconds = await heart.frontier.next_due()

    assert seconds is not None
    assert 40 < seconds <= 50


async def test_dispatchers_at_once_share_the_lines(heart: Frontiers, dsn: str) -> None:
    """A line whose first domains another dispatcher is just taking is not waited for."""
    await heart.crawl(*urls("big", 10), name="big")
    async with await Database.open(dsn, lookups=True) as other, other.transaction() as session:
        await session._connection.fetch("select from domains where name < 'big5' for update")
        taken = await heart.take(room=100)

    assert sorted(taken) == [f"big{number}.example" for number in range(5, 10)]
