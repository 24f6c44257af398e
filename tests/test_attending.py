"""Who looks after a crawl, where one process has several runs."""

import os
from collections.abc import AsyncIterator

import pytest

from crawler import attending
from crawler.adapters.crawls import Crawls, Wish
from crawler.adapters.postgres import Database
from crawler.attending import Attendance
from crawler.core.errors import DatabaseUnavailableError
from crawler.core.model import Crawl, CrawlState, ScopeKind


class Runs:
    """Runs of this process."""

    def __init__(self, database: Database) -> None:
        self.crawls = Crawls(database)

    async def crawl(self, name: str = "one") -> tuple[Crawl, bool]:
        """The crawl of that name as a run finds it when it begins, and whether it is new."""
        return await self.crawls.create_or_change(Wish(name, ScopeKind.HOST))

    def attendance(self) -> Attendance:
        """Of a run that begins now."""
        return Attendance(self.crawls, same_machine=True)

    async def begin(self, name: str = "one") -> tuple[Attendance, int]:
        """A run takes up the crawl of that name."""
        (found, is_new), attendance = await self.crawl(name), self.attendance()
        await attendance.take_up(found, is_new=is_new)
        return attendance, found.crawl_id

    async def state(self, crawl_id: int) -> tuple[CrawlState, bool]:
        """The state of a crawl, and whether its run has left it."""
        now = await self.crawls.by_id(crawl_id)
        assert now is not None
        return now.state, now.is_left


RUNNING = (CrawlState.RUNNING, False)
LEFT = (CrawlState.PAUSED, True)


@pytest.fixture
async def runs(database: Database) -> AsyncIterator[Runs]:
    """Runs on a database of their own, all of which end."""
    yield Runs(database)
    assert attending._holds == {}  # one that stays would keep a crawl running


@pytest.mark.parametrize("first", [0, 1])
async def test_two_runs_of_a_crawl(runs: Runs, first: int) -> None:
    """Whichever of two runs ends first, the crawl goes on until the other ends too."""
    both = [await runs.begin(), await runs.begin()]
    states = []
    for attendance, crawl_id in (both[first], both[1 - first]):
        await attendance.leave(crawl_id)
        states.append(await runs.state(crawl_id))

    assert states == [RUNNING, LEFT]


async def test_left_since_somebody_looked(runs: Runs) -> None:
    """A run that ends just when another takes up its crawl leaves it neither paused nor unattended."""
    before, number = await runs.begin()
    found, is_new = await runs.crawl()
    await before.leave(number)
    after = runs.attendance()
    await after.take_up(found, is_new=is_new)
    during = await runs.state(number)
    await after.leave(number)

    assert (during, await runs.state(number)) == (RUNNING, LEFT)


async def test_a_run_that_could_not_leave(runs: Runs, dsn: str) -> None:
    """A crawl whose run ended while the database was away is left as soon as another run begins, in the same process too."""
    async with await Database.open(dsn) as away:
        lost, number = await Runs(away).begin()
    with pytest.raises(DatabaseUnavailableError):
        await lost.leave(number)
    before = await runs.state(number)
    here, other = await runs.begin("other")
    after = await runs.state(number)
    await here.leave(other)

    assert (before, after) == (RUNNING, LEFT)


async def test_others_at_work(runs: Runs, database: Database) -> None:
    """A run that begins leaves neither what other runs of its process attend, nor what other processes do."""
    first, one = await runs.begin("one")
    second, two = await runs.begin("two")
    await database.script(
        f"update crawls set attendant = replace(attendant, '\"pid\":{os.getpid()},', '\"pid\":1,') where name = 'two'"
    )
    await database.script(
        "update crawls set attendant = (attendant::jsonb || '{\"began\": 0}')::text where name = 'two'"
    )
    third, three = await runs.begin("three")
    states = [await runs.state(number) for number in (one, two, three)]
    for attendance, number in ((first, one), (second, two), (third, three)):
        await attendance.leave(number)

    assert states == [RUNNING] * 3


async def test_a_crawl_that_was_deleted(runs: Runs, database: Database) -> None:
    """A run whose crawl is deleted while it takes it up holds nothing."""
    found, is_new = await runs.crawl()
    await database.script("delete from crawls")
    attendance = runs.attendance()
    await attendance.take_up(found, is_new=is_new)
    await attendance.leave(found.crawl_id)

    assert await runs.crawls.by_id(found.crawl_id) is None
