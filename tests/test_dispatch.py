"""What is due goes onto the queue, no more than there is room for, and nothing is lost on the way."""

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.adapters.frontier import LOST_FOR_GOOD, Dispatched
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.errors import DatabaseUnavailableError
from crawler.core.turns import MOST_URLS, Turn, decode
from crawler.core.urls import domain_id
from crawler.dispatch import LEAST_HIGH_WATER, LOOK_AGAIN, Dispatcher, TurnSizes
from tests.making import QUEUE_LEASE, Frontiers, blocked, row, rows, slow, until

A = "https://a.example/"
SIZES = TurnSizes(turn_seconds=60.0, per_domain=1)


class Bench:
    """A dispatcher, and what it does."""

    def __init__(self, database: Database, queue: PostgresQueue | None = None) -> None:
        self.database = database
        self.heart = Frontiers(database)
        self.queue = queue or PostgresQueue(database)
        self.dispatcher = Dispatcher(self.heart.frontier, self.queue, queue_lease=QUEUE_LEASE, sizes=SIZES)

    async def messages(self, queue: str = "crawl.turns") -> list[Turn]:
        """The turns on a queue."""
        sql = "select body from messages where queue = $1 order by message_id"
        return [decode(r["body"]) for r in await rows(self.database, sql, queue)]

    async def lose(self, *, venture: bool = True) -> list[Turn]:
        """Accept what was dispatched, begin with it (*venture*) or wait out its pause for ever, and let the lease end: what it was."""
        turns = await self.messages()
        for turn in turns:
            accepted = await self.heart.accept(turn.domain, turn.turn)
            if accepted is not None and accepted.lost and venture:
                await self.heart.frontier.venture(turn.domain_id, accepted.turn)
        await self.database.script("delete from messages; update domains set ready_at = now()")
        return turns


@pytest.fixture
def bench(database: Database) -> Bench:
    """A dispatcher."""
    return Bench(database)


async def test_round(bench: Bench) -> None:
    """Every due domain becomes one message, which can be accepted; then there is nothing left to do."""
    await bench.heart.crawl(A, A + "2", "https://b.example/")
    rounds = [await bench.dispatcher.dispatch_once(), await bench.dispatcher.dispatch_once()]
    turns = await bench.messages()
    accepted = [await bench.heart.accept(turn.domain, turn.turn) for turn in turns]

    assert rounds == [2, 0]
    assert {turn.domain: len(turn.urls) for turn in turns} == {"a.example": 2, "b.example": 1}
    assert all(accepted)


@pytest.mark.parametrize(
    ("waiting", "slots", "taken"), [(1000, 500, 0), (998, 0, 2), (1000, 501, 2), (990, 0, 5)]
)
async def test_high_water(bench: Bench, waiting: int, slots: int, taken: int) -> None:
    """The queue is filled to twice the slots of all workers, at least a thousand turns, and no further."""
    await bench.heart.crawl(*(f"https://{n}.example/" for n in range(5)))
    await bench.database.script(
        f"insert into messages (queue, body) select 'crawl.turns', 'x' from generate_series(1, {waiting});"
        f"insert into workers (worker_id, host, boot, pid, version, slots) values ('w', 'h', '', 1, '', {slots});"
        "insert into workers (worker_id, host, boot, pid, version, slots, seen_at)"
        " values ('gone', 'h', '', 1, '', 9999, now() - interval '1 hour')"
    )
    took = await bench.dispatcher.dispatch_once()

    assert LEAST_HIGH_WATER == 1000
    assert took == taken
    assert await bench.queue.depth() == waiting + taken
    assert await bench.database.ask("select count(*) from domains where holder = 'queue'") == taken


async def test_lost_turn(bench: Bench) -> None:
    """After a lost turn a domain gets one URL; lost five times more, that URL is a dead letter and the others go on."""
    crawl = await bench.heart.crawl(A + "1", A + "2", A + "3")
    sizes = []
    for _ in range(LOST_FOR_GOOD + 1):
        await bench.dispatcher.dispatch_once()
        sizes += [len(turn.urls) for turn in await bench.lose()]
    await bench.dispatcher.dispatch_once()
    live, (dead,) = await bench.messages(), await bench.messages("crawl.dead")
    buried = await bench.heart.url(dead.urls[0].url)
    await bench.dispatcher.dispatch_once()
    (after,) = await bench.messages()
    letter = await row(bench.database, "select * from messages where queue = 'crawl.dead'")

    assert sizes == [3, 1, 1, 1, 1, 1]
    assert live == []
    assert len(dead.urls) == 1
    assert (buried["due_at"], buried["open"]) == (None, False)
    assert {u.url for u in after.urls} == {A + "1", A + "2", A + "3"} - {dead.urls[0].url}
    assert "lost 6 times" in letter["reason"]
    assert await bench.heart.counts(crawl) == {"": (2, 0), "decode_error": (1, 0)}


async def test_lost_while_waiting(bench: Bench) -> None:
    """Turns that were cut off before they asked for anything are no reason to give a URL up, however many there were."""
    crawl = await bench.heart.crawl(A + "1", A + "2")
    for _ in range(3 * LOST_FOR_GOOD):
        await bench.dispatcher.dispatch_once()
        await bench.lose(venture=False)
    await bench.dispatcher.dispatch_once()

    assert len(await bench.messages()) == 1
    assert await bench.messages("crawl.dead") == []
    assert await bench.heart.counts(crawl) == {"": (2, 0)}


async def test_nothing_due(bench: Bench) -> None:
    """A domain without a due URL is not sent, and sleeps until it has one."""
    await bench.heart.crawl(A)
    await bench.database.script("update urls set due_at = now() + interval '1 hour'")
    rounds = [await bench.dispatcher.dispatch_once(), await bench.dispatcher.dispatch_once()]
    url, domain = await bench.heart.url(A), await bench.heart.domain("a.example")

    assert rounds == [1, 0]
    assert await bench.messages() == []
    assert (domain["due_at"], domain["holder"]) == (url["due_at"], None)


class Refusing(PostgresQueue):
    """A broker that does not confirm, or is not there."""

    there = True

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Refuse everything but the first."""
        if not self.there:
            raise DatabaseUnavailableError
        await super().publish(bodies[:1], urgent=urgent)
        return [True] + [False] * (len(bodies) - 1)


async def test_not_confirmed(database: Database) -> None:
    """A turn that the queue did not confirm is given back at once, and its message is void should it turn up."""
    bench = Bench(database, Refusing(database))
    await bench.heart.crawl(A, "https://b.example/", "https://c.example/")
    before = {r["name"]: r["turn"] for r in await rows(database, "select name, turn from domains")}
    await bench.dispatcher.dispatch_once()
    states = await rows(database, "select name, holder, turn from domains order by holder")

    assert [(r["holder"], r["turn"] - before[r["name"]]) for r in states] == [
        ("queue", 1),
        (None, 2),
        (None, 2),
    ]


async def test_queue_away(database: Database) -> None:
    """A queue that is not there costs no domain its queue lease: it is dispatched again."""
    queue = Refusing(database)
    bench = Bench(database, queue)
    await bench.heart.crawl(A)
    queue.there = False
    with pytest.raises(DatabaseUnavailableError):
        await bench.dispatcher.dispatch_once()
    free = await bench.heart.domain("a.example")
    queue.there = True
    again = await bench.dispatcher.dispatch_once()

    assert free["holder"] is None
    assert again == 1


async def test_cancelled_in_the_middle(bench: Bench) -> None:
    """A dispatcher that is cancelled in the middle of a round ends it: what it took is on the queue."""
    await bench.heart.crawl(A)
    async with slow(bench.database) as (_, connection):
        await connection.execute("lock table messages in exclusive mode")
        running = asyncio.create_task(bench.dispatcher.run())
        await blocked(bench.database)
        running.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([running])
    (turn,) = await bench.messages()

    assert running.cancelled()
    assert await bench.heart.accept("a.example", turn.turn)


async def test_woken(bench: Bench) -> None:
    """Whoever wakes the dispatcher is served at once, and what becomes ready soon when it is ready."""
    running = asyncio.create_task(bench.dispatcher.run())
    await bench.heart.crawl(A)
    loop = asyncio.get_running_loop()
    began = loop.time()
    bench.dispatcher.wake()
    await until(bench.messages)
    first = loop.time() - began
    await bench.lose()
    bench.dispatcher.wake()
    await until(bench.messages)
    running.cancel()
    await asyncio.wait([running])

    assert first < 0.9  # it looks by itself once a second
    assert running.cancelled()


async def test_pause_ends(bench: Bench) -> None:
    """After a round that took some, the dispatcher is awake when the next pause ends: nobody else would wake it."""
    await bench.heart.crawl(A, "https://b.example/")
    await bench.database.script(
        "update domains set ready_at = now() + interval '0.9 s' where name = 'b.example'"
    )
    clock = asyncio.get_running_loop().time
    bench.dispatcher._next = at_the_next_look = clock() + LOOK_AGAIN  # as `run` has it
    taken = await bench.dispatcher.dispatch_once()

    assert taken == 1
    assert bench.dispatcher._next < at_the_next_look


def dispatched(lost: int, delay: float, concurrency: int | None) -> Dispatched:
    """A domain just taken."""
    return Dispatched(domain_id("a.example"), "a.example", 1, lost, delay, concurrency)


@given(
    st.integers(0, 9),
    st.just(0.0) | st.floats(1e-3, 1e5),
    st.none() | st.integers(1, 50),
    st.floats(1, 600),
    st.integers(1, 20),
)
def test_turn_sizes(lost: int, delay: float, concurrency: int | None, seconds: float, slots: int) -> None:
    """A turn takes at least one URL, at most 500, and no more than its slots can ask for; after a loss, one."""
    most = TurnSizes(seconds, slots).most(dispatched(lost, delay, concurrency))
    asked = math.inf if delay == 0 else math.ceil(seconds / delay) * (concurrency or slots)

    assert 1 <= most <= MOST_URLS
    assert most <= max(1, asked)
    assert most == 1 or not lost


@pytest.mark.parametrize(
    ("delay", "concurrency", "most"),
    [(1, None, 60), (0, None, 500), (7, None, 9), (600, None, 1), (10, 4, 24)],
)
def test_turn_size(delay: float, concurrency: int | None, most: int) -> None:
    """A turn takes as many URLs as can be asked for in its time, by each of its slots."""
    assert SIZES.most(dispatched(0, delay, concurrency)) == most
