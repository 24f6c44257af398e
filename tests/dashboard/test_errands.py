"""What goes on after its answer: how many at once, for how long it is known, and what is told when it fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.alerts import Alerts
from crawler.core.errors import DatabaseError, StateError
from crawler.dashboard import errands as module
from crawler.dashboard.desk import Desk
from crawler.dashboard.errands import MOST_AT_ONCE, Errands, NoSuchHandleError
from crawler.opening import Opened
from crawler.ports import Event
from crawler.settings import Settings
from tests.making import Frontiers, until

URL = "https://example.com/"


async def nothing() -> None:
    """The server is its owner's business."""


@pytest.fixture
async def desk(database: Database, dsn: str) -> Desk:
    """That of a dashboard on a database with a crawl, on which a silent worker is at work."""
    await Frontiers(database).crawl(URL)
    await database.script(
        "insert into workers (worker_id, host, boot, pid, version, slots) values ('one', 'host', 'boot', 1, '0', 10)"
    )
    place = Opened(dsn, "the database", "", nothing, database)
    return Desk(Settings(database_url=dsn), place, PostgresQueue(database), "PostgreSQL", ())


@pytest.fixture
async def errands(desk: Desk) -> AsyncIterator[Errands]:
    """Its errands."""
    errands = Errands(desk)
    async with asyncio.timeout(60), errands.running():
        yield errands


async def test_only_so_many_are_waited_for_at_once(errands: Errands) -> None:
    """Who comes when many wait already is told to come again; those that wait are told as not done."""
    handles = [await errands.wish([URL], None, 30.0) for _ in range(MOST_AT_ONCE)]
    told = await errands.told(handles[0])

    assert (told.done, told.urls[0].words) == (False, "is waited for")
    with pytest.raises(StateError, match="others wait for URLs already"):
        await errands.wish([URL], None, 30.0)


async def test_of_many_that_come_at_once_only_so_many_wait(errands: Errands) -> None:
    """Who comes together with many others is counted before anything is asked for."""
    came = [errands.wish([URL], None, 30.0) for _ in range(2 * MOST_AT_ONCE)]
    found = await asyncio.gather(*came, return_exceptions=True)

    assert sum(isinstance(one, str) for one in found) == MOST_AT_ONCE
    assert sum(isinstance(one, StateError) for one in found) == MOST_AT_ONCE


async def test_a_wish_that_never_began_takes_no_place(errands: Errands, database: Database) -> None:
    """Wishes that fail as they begin are not counted as waiting."""
    await database.close()
    came = [errands.wish([URL], None, 30.0) for _ in range(MOST_AT_ONCE)]
    found = await asyncio.gather(*came, return_exceptions=True)

    assert all(isinstance(one, DatabaseError) for one in found)
    with pytest.raises(DatabaseError):
        await errands.wish([URL], None, 30.0)


async def test_nothing_begins_after_the_end(desk: Desk) -> None:
    """When the dashboard has ended, who wishes for something is told so, and no deletion is begun."""
    errands = Errands(desk)
    async with errands.running():
        pass

    with pytest.raises(StateError, match="is stopping"):
        await errands.wish([URL], None, 30.0)
    with pytest.raises(StateError, match="is stopping"):
        errands.delete(1)


async def test_a_deletion_that_an_error_ended_is_taken_up(
    desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the database said, what is left of the crawl goes at the next look; the error is told."""
    monkeypatch.setattr(module, "EVERY", 0.05)
    await database.script(
        "create function refuse() returns trigger language plpgsql as 'begin raise ''no''; end';"
        "create trigger refuse before delete on urls for each row execute function refuse()"
    )
    crawl_id = await database.ask("select crawl_id from crawls")
    told = asyncio.Event()

    class Noted:
        """Hears what is critical."""

        def send(self, _: Event) -> None:
            """Note it."""
            told.set()

    desk.alerts = Alerts(Noted())
    errands = Errands(desk)
    async with asyncio.timeout(30), errands.running():
        errands.delete(crawl_id)
        await told.wait()
        before = await database.ask("select deleting from crawls")
        # Not to drop the trigger: that locks all of urls at once, and the deletion one part after the other.
        await database.script(
            "create or replace function refuse() returns trigger language plpgsql as 'begin return old; end'"
        )
        await until(lambda: database.ask("select not exists (select from crawls)"))

    assert before


async def test_a_handle_is_forgotten(errands: Errands, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a handle is known no more; what was wished for stays."""
    handle = await errands.wish([URL], None, 0.0)
    await errands.ended(handle)
    before = await errands.told(handle)
    monkeypatch.setattr(module, "KEPT", -1.0)

    assert not before.done
    with pytest.raises(NoSuchHandleError, match="stays wished for"):
        await errands.told(handle)


async def test_nobody_waits_when_the_dashboard_ends(desk: Desk, errands: Errands) -> None:
    """Who holds the line is answered as soon as the dashboard is told to stop: what was not done is told as such."""
    handle = await errands.wish([URL], None, 30.0)
    asyncio.get_running_loop().call_later(0.05, desk.stopping.set)
    await errands.ended(handle)
    told = await errands.told(handle)

    assert not told.done


async def test_what_a_wish_failed_by_is_told(errands: Errands, database: Database) -> None:
    """A database that goes away meanwhile is told to who asks with the handle."""
    handle = await errands.wish([URL], None, 30.0)
    await database.close()
    await errands.ended(handle)

    with pytest.raises(DatabaseError):
        await errands.told(handle)
