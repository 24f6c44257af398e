"""What a worker says of itself with each heartbeat, in the table of workers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from crawler.adapters.looking import Looking
from crawler.adapters.postgres import Database
from crawler.core.model import Outcome, Visit
from crawler.core.vitals import Vitals
from crawler.demo.language import page, robots, silence
from crawler.demo.server import Web, serving
from crawler.processes import open_worker
from crawler.settings import Settings
from crawler.supply import SHORT
from crawler.worker import Worker
from tests.making import Frontiers, release, settled, slow, until, visit


@contextlib.asynccontextmanager
async def working(dsn: str, web: Web, delay: float) -> AsyncIterator[Worker]:
    """A worker at work."""
    settings = Settings(
        database_url=dsn, delay=delay, allow_nets=(ip_network("127.0.0.0/8"),), dns_servers=(web.names.where,), hosts_file=None,
        domains_at_once=7, per_domain=2, user_agent="agent/1.0",
    )  # fmt: skip
    stop, hurry = asyncio.Event(), asyncio.Event()
    async with open_worker(settings, dsn) as worker, asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop, hurry))
        try:
            yield worker
        finally:
            hurry.set()
            stop.set()


async def said(database: Database) -> Vitals:
    """What the one worker has written of itself."""
    (row,) = await Looking(database).workers()
    return row.vitals


async def test_what_its_turns_do(dsn: str, database: Database) -> None:
    """A turn that waits for a site asks, one that waits for its pause rests; the heartbeat says so, with what is in use."""
    sites = {
        "asks.test": {"/robots.txt": silence()},
        "rests.test": {"/": page("a"), "/robots.txt": robots("/private")},
    }
    with serving(sites) as web:
        await Frontiers(database).crawl(web.url("asks.test"), web.url("rests.test"))
        async with working(dsn, web, delay=30.0) as worker:
            await until(lambda: _found(worker, asking=1, resting=1))
            await worker._presence.sign_in()
            vitals = await said(database)

    assert (vitals.turns, vitals.asking, vitals.resting, vitals.writing) == (2, 1, 1, 0)
    assert (vitals.requests, vitals.lookups, vitals.away, vitals.lack) == (1, 0, "", "")
    assert 0 < vitals.memory < (vitals.memory_limit or 0)
    assert 0 < vitals.open_files < vitals.open_files_limit
    assert vitals.dns == {"{}:{}".format(*web.names.where): (2, 0)}
    assert (vitals.user_agent, vitals.delay, vitals.per_domain) == ("agent/1.0", 30.0, 2)
    assert vitals.clock_skew == 0.0


async def _found(worker: Worker, **expected: int) -> bool:
    vitals = worker._meter.vitals()
    return {name: getattr(vitals, name) for name in expected} == expected


async def test_how_fast_it_was(dsn: str, database: Database) -> None:
    """Speed is measured from one heartbeat to the next: pages, attempts, bytes, processor time, and how long a commit took."""
    site = {"/": page("start", *(f"/{n}" for n in range(20))), **{f"/{n}": page(f"{n}") for n in range(20)}}
    with serving({"one.test": site}) as web:
        async with working(dsn, web, delay=0.0) as worker:
            await until(lambda: _here(database))
            first = await said(database)
            await Frontiers(database).crawl(web.url("one.test"))
            worker.wake()
            await until(lambda: _stored(worker, 21))
            worker._meter.least = 0.0  # not before: a worker signs in twice when it begins
            await worker._presence.sign_in()
            vitals = await said(database)
            await worker._presence.sign_in()
            still = await said(database)

    assert (first.seconds, first.pages) == (0.0, 0.0)
    assert vitals.seconds > 0
    assert vitals.pages * vitals.seconds == pytest.approx(21, abs=0.1)
    assert vitals.fetches * vitals.seconds >= 21 - 0.1
    assert vitals.bytes > 0
    assert 0 < vitals.cpu < 2
    assert vitals.commit_ms > 0
    assert (still.pages, still.renewals_missed) == (0.0, 0)


async def test_a_database_that_does_not_commit(dsn: str, database: Database) -> None:
    """What is being written waits for the disk like the rest, and its time counts; so does a turn whose visit finds no room."""
    with serving({"one.test": {"/": page("a")}, "two.test": {"/": page("b")}}) as web:
        async with working(dsn, web, delay=SHORT) as worker:  # longer pauses: a turn ends with what it has
            worker.recorder._max_bytes = 1
            async with slow(database) as (_, connection):
                await connection.execute("lock table pages in share mode")
                await Frontiers(database).crawl(web.url("one.test"), web.url("two.test"))
                worker.wake()
                await until(lambda: _found(worker, turns=2, writing=2, unwritten=1))
                first, later = (worker._meter.vitals().commit_ms for _ in range(2))
                waiting = worker._meter.reading().values["crawl_recorder_waiting_visits", ()]
            await until(lambda: _stored(worker, 2))
            await until(lambda: _found(worker, writing=0, unwritten=0))

    assert 0 < first < later
    assert waiting == 1


@contextlib.asynccontextmanager
async def writing(
    dsn: str, heart: Frontiers, *pages: str, **limits: Any
) -> AsyncIterator[tuple[Worker, int]]:
    """A worker that only writes down what it is given, and the number of a crawl of these pages."""
    async with open_worker(Settings(database_url=dsn), dsn) as worker:
        worker._meter.least = 0.0
        crawl = await heart.crawl(*pages, **limits)
        await worker._crawls.know([crawl])
        task = asyncio.create_task(worker.recorder.run())
        try:
            yield worker, crawl
        finally:
            task.cancel()
            await asyncio.wait([task])


async def written(worker: Worker, turn: int, visits: list[Visit]) -> Vitals:
    """How it was while these visits were written down, and nothing else."""
    worker._meter.vitals()
    for each in visits:
        await worker.recorder.put(each)
    await worker.recorder.release(release("a.example", turn, delay=0.0))
    return worker._meter.vitals()


async def test_the_speed_of_a_recrawl(dsn: str, database: Database) -> None:
    """A page that is found unchanged counts like a new one, though none is stored."""
    heart = Frontiers(database)
    async with writing(dsn, heart, "https://a.example/1", "https://a.example/2") as (worker, _):
        turn, urls = await heart.hold("a.example")
        new = await written(worker, turn, [visit(url, settled(again_in=0.0)) for url in urls])
        turn, urls = await heart.hold("a.example")
        same = await written(worker, turn, [visit(url, settled(Outcome.NOT_MODIFIED)) for url in urls])

    assert [round(one.pages * one.seconds) for one in (new, same)] == [2, 2]
    assert worker.recorder.pages == 2


async def test_what_a_budget_left_out(dsn: str, database: Database) -> None:
    """Fetches and bytes are those of the table: a visit that a budget left out is in neither, and what was asked for is known."""
    heart = Frontiers(database)
    async with writing(dsn, heart, "https://a.example/1", "https://a.example/2", max_pages=2) as (worker, _):
        turn, urls = await heart.hold("a.example")
        await heart.crawl(max_pages=1)
        vitals = await written(worker, turn, [visit(url) for url in urls])
        values = worker._meter.reading().values
    kept = await database.ask("select sum(bytes)::int from fetches")

    assert round(vitals.fetches * vitals.seconds) == 1
    assert vitals.bytes == pytest.approx(kept * vitals.fetches)
    assert values["crawl_fetches_total", (Outcome.OK,)] == 1
    assert values["crawl_received_bytes_total", ()] == kept
    assert (worker.progress().visits, worker.progress().wire_bytes) == (2, 2 * kept)


async def _here(database: Database) -> bool:
    return bool(await Looking(database).workers())


async def _stored(worker: Worker, pages: int) -> bool:
    return worker.recorder.pages >= pages


async def test_a_scheduler_has_none(database: Database) -> None:
    """Who has no vitals writes an empty object."""
    await database.fetch("worker_here", "s", "host", "", 1, 0, "0", 0, "postgres", "{}")
    (row,) = await Looking(database).workers()

    assert row.said == {}
    assert json.loads(await database.ask("select vitals::text from workers")) == {}
