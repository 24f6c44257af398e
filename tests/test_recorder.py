"""Group commit: what its laws promise, on a real server, cut off where it hurts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.adapters.recording import NONE, Recorded, Recording
from crawler.core.errors import DatabaseUnavailableError
from crawler.core.model import Release, Visit
from crawler.core.moments import NEVER
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id
from crawler.crawlbook import CrawlBook
from crawler.recorder import VISIT_BYTES, Recorder, _weight
from tests.making import Frontiers, blocked, cut, link, release, slow, visit

A = "https://a.example/"
COMMIT_WAITS = """
create function wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(1); return null; end';
create constraint trigger wait after insert on pages deferrable initially deferred for each row execute function wait();
"""


class Watched(Recording):
    """A recording that can be held up, or lose its answer; how often it was asked for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "worker", 1)
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.answers_lost = 0
        self.batches: list[int] = []

    async def record(
        self,
        visits: Sequence[Visit],
        releases: Sequence[Release],
        budgeted: frozenset[int],
        owed: Callable[[Release], float],
        *,
        metered: frozenset[int] = frozenset(),
        versions: Mapping[int, int] = NONE,
    ) -> Recorded:
        """Record, at last."""
        self.batches.append(len(visits))
        self.began.set()
        await self.gate.wait()
        recorded = await super().record(visits, releases, budgeted, owed, metered=metered, versions=versions)
        if self.answers_lost:
            self.answers_lost -= 1
            raise DatabaseUnavailableError
        return recorded


class Bench:
    """A recorder at work on a crawl of some pages, all handed out."""

    def __init__(self, database: Database, patience: float = 10.0, max_bytes: int = 1_000_000) -> None:
        self.database = database
        self.heart = Frontiers(database)
        self.recording = Watched(database)
        self.crawls = CrawlBook(Crawls(database))
        self.due: list[Mapping[int, float]] = []
        self.recorder = Recorder(
            self.recording, self.crawls, patience=patience, due=self.due.append, max_bytes=max_bytes
        )

    async def hand_out(self, pages: int, **limits: Any) -> tuple[int, list[Visit]]:
        """The number of a turn, and a visit to each of its URLs."""
        self.crawl = await self.heart.crawl(*(f"{A}{n}" for n in range(pages)), **limits)
        await self.crawls.know([self.crawl])
        turn, urls = await self.heart.hold("a.example")
        return turn, [visit(url) for url in urls]

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[asyncio.Task[None]]:
        """Record while the `async with` lasts."""
        task = asyncio.create_task(self.recorder.run())
        try:
            async with asyncio.timeout(20):
                yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_release_means_on_disk(database: Database) -> None:
    """A release returns when it and every visit put before it are on disk, and the domain's next visit is told.

    Who releases it again hears that it is not held any more.
    """
    bench = Bench(database)
    turn, visits = await bench.hand_out(3)
    async with bench.at_work():
        for each in visits:
            await bench.recorder.put(each)
        held = await bench.recorder.release(release("a.example", turn))
        again = await bench.recorder.release(release("a.example", turn))
        stored = await database.ask("select count(*) from pages")
        domain = await bench.heart.domain("a.example")

    assert stored == 3
    assert (held, again) == (True, False)
    assert domain["holder"] is None
    assert (bench.recorder.pages, bench.recorder.visits, bench.recorder.waiting) == (3, 3, 0)
    assert bench.recording.batches == [3, 0]
    assert bench.due == [{}, {}]


async def test_release_waits(database: Database) -> None:
    """A release does not return while its transaction waits for somebody else's."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(1)
    async with bench.at_work():
        async with slow(database) as (session, _):
            await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
            await bench.recorder.put(visits[0])
            waiting = asyncio.create_task(bench.recorder.release(release("a.example", turn)))
            await blocked(database)
            early = waiting.done()
        await waiting

    assert not early


async def test_memory(database: Database) -> None:
    """However many put at once, no more than max_bytes and one visit is in memory, what is being written included."""
    most = 10 * VISIT_BYTES
    bench = Bench(database, max_bytes=most)
    turn, visits = await bench.hand_out(60)
    weight = max(map(_weight, visits))
    bench.recording.gate.clear()
    highest = 0
    async with bench.at_work():
        puts = [asyncio.create_task(bench.recorder.put(each)) for each in visits]
        await bench.recording.began.wait()
        held_up = sum(put.done() for put in puts)
        bench.recording.gate.set()
        for put in asyncio.as_completed(puts):
            await put
            highest = max(highest, bench.recorder._bytes)
        await bench.recorder.release(release("a.example", turn))

    assert held_up <= 11
    assert highest <= most + weight
    assert max(bench.recording.batches) <= 11
    assert bench.recorder._bytes == 0
    assert bench.recorder.pages == 60


async def test_what_is_being_written(database: Database) -> None:
    """Visits that are being written are not on disk yet, and it is known since when; so is who waits for room meanwhile."""
    bench = Bench(database, max_bytes=1)
    turn, visits = await bench.hand_out(2)
    recorder = bench.recorder
    bench.recording.gate.clear()
    async with bench.at_work():
        await recorder.put(visits[0])
        await bench.recording.began.wait()
        waits = asyncio.create_task(recorder.put(visits[1]))
        await asyncio.sleep(0)
        meanwhile = recorder.waiting, recorder.held_up, recorder.age > 0
        bench.recording.gate.set()
        await waits
        await recorder.release(release("a.example", turn))

    assert meanwhile == (1, frozenset({domain_id("a.example")}), True)
    assert (recorder.waiting, recorder.held_up, recorder.age) == (0, frozenset(), 0.0)


async def test_cut_in_commit(database: Database) -> None:
    """A batch whose connection was cut in the middle of COMMIT is written again, once."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(2, max_pages=10)
    await database.script(COMMIT_WAITS)
    async with bench.at_work():
        async with slow(database) as (_, connection):
            await connection.execute("select pg_advisory_xact_lock(1)")
            for each in visits:
                await bench.recorder.put(each)
            waiting = asyncio.create_task(bench.recorder.release(release("a.example", turn)))
            await blocked(database)
            ended = await cut(database, "commit%")
        await waiting

    assert ended == 1
    assert bench.recording.batches == [2, 2]
    assert await database.ask("select pages from crawls") == 2
    assert await bench.heart.counts(bench.crawl) == {"ok": (2, 2)}


async def test_lost_answers(database: Database) -> None:
    """A batch that was committed, but nobody heard of it, is counted once however often it is written again."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(2, max_pages=2)
    bench.recording.answers_lost = 3
    async with bench.at_work():
        for each in visits:
            await bench.recorder.put(each)
        await bench.recorder.release(release("a.example", turn))

    assert bench.recording.batches == [2] * 4
    assert await database.ask("select pages from crawls") == 2
    assert await bench.heart.counts(bench.crawl) == {"ok": (2, 2)}


async def test_seen_when_committed(database: Database) -> None:
    """Links count as known to the frontier when they are on disk; those of a page that a budget left out do not."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(2, max_pages=5)
    await bench.heart.crawl(max_pages=1)
    links = [link(bench.crawl, A + name) for name in ("kept", "left out")]
    async with bench.at_work():
        for each, found in zip(visits, links, strict=True):
            await bench.recorder.put(replace(each, links=(found,)))
        early = [found.url in bench.crawls._known[bench.crawl].seen for found in links]
        await bench.recorder.release(release("a.example", turn))
    seen = [found.url in bench.crawls._known[bench.crawl].seen for found in links]
    stored = await database.ask(
        "select array_agg(url) from urls where url like '%kept' or url like '%left out'"
    )

    assert early == [False, False]
    assert seen == [True, False]
    assert stored == [A + "kept"]


async def test_cancelled_in_the_middle(database: Database) -> None:
    """A recorder that is cancelled while it writes ends what it has begun, and what waits, first."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(3)
    async with bench.at_work() as task:
        bench.recording.gate.clear()
        await bench.recorder.put(visits[0])
        await bench.recording.began.wait()
        await bench.recorder.put(visits[1])
        released = asyncio.create_task(bench.recorder.release(release("a.example", turn)))
        await asyncio.sleep(0)
        bench.recording.gate.set()
        task.cancel()
        await released
        await asyncio.wait([task])
    stored = await database.ask("select count(*) from pages")

    assert task.cancelled()
    assert stored == 2
    assert (await bench.heart.domain("a.example"))["holder"] is None


async def test_database_away(database: Database) -> None:
    """A database that stays away for longer than the patience ends the recorder, and every waiting release hears of it."""
    bench = Bench(database, patience=0.1)
    turn, visits = await bench.hand_out(1)
    bench.recording.answers_lost = 1_000_000
    task = asyncio.create_task(bench.recorder.run())
    await bench.recorder.put(visits[0])
    waiting = [asyncio.create_task(bench.recorder.release(release("a.example", turn))) for _ in range(2)]
    await bench.recording.began.wait()
    waiting.append(asyncio.create_task(bench.recorder.release(release("a.example", turn))))
    async with asyncio.timeout(20):
        results = await asyncio.gather(task, *waiting, return_exceptions=True)

    assert [type(result) for result in results] == [DatabaseUnavailableError] * 4


async def test_batches(database: Database) -> None:
    """Visits that come together are written together, at most so many that nobody waits long."""
    bench = Bench(database)
    turn, visits = await bench.hand_out(450)
    async with bench.at_work():
        for each in visits:
            await bench.recorder.put(each)
        await bench.recorder.release(release("a.example", turn))

    assert sum(bench.recording.batches) == 450
    assert len(bench.recording.batches) <= 4
    assert repr(bench.recorder) == "<Recorder 0 visits, 0 kB waiting>"


async def test_hurry(database: Database) -> None:
    """When a quarter of the turns only waits for its releases, nothing more is gathered; before that, they wait with the others."""
    bench = Bench(database)
    recorder = Recorder(
        bench.recording, bench.crawls, patience=10.0, due=bench.due.append, turns=lambda: 8, gather=600.0
    )
    bench.recorder = recorder
    turn, visits = await bench.hand_out(1)
    async with bench.at_work():
        await recorder.put(visits[0])
        first = asyncio.create_task(recorder.release(release("a.example", turn)))
        await asyncio.sleep(0.2)
        waited = list(bench.recording.batches)
        late = await recorder.release(release("b.example", 1))

        assert (await first, late, waited) == (True, False, [])
    assert bench.recording.batches == [1]


@pytest.mark.parametrize("weight", [0, 1000])
def test_weight(weight: int) -> None:
    """A visit weighs what its bodies and links do, and a little more."""
    plain = visit_of(0)
    heavy = visit_of(weight)

    assert _weight(heavy) - _weight(plain) == weight


def visit_of(weight: int) -> Visit:
    """A visit whose packed body has that many bytes."""
    row = TurnUrl(1, b"h", A, 0, 0, 0, 0, False, None)  # noqa: FBT003 - a row
    return replace(visit(row), compressed=b"x" * weight)
