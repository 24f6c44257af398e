"""For how long a worker may go on: renewals that come and that do not, on a real server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from crawler.adapters.frontier import Offer
from crawler.adapters.postgres import Database
from crawler.core.moments import NEVER
from crawler.core.urls import domain_id
from crawler.leases import Lease, Leases, boottime
from tests.making import Frontiers, slow

LENGTH = 1.2
A, B = "https://a.example/", "https://b.example/"


class Keeper:
    """A worker that holds turns and renews them."""

    def __init__(self, database: Database) -> None:
        self.heart = Frontiers(database)
        self.leases = Leases(self.heart.frontier, LENGTH)
        self.lost: dict[str, float] = {}
        self.told = asyncio.Event()

    async def hold(self, *urls: str) -> dict[str, Lease]:
        """Accept the turns of all domains of these URLs."""
        await self.heart.crawl(*urls)
        leases = {}
        for name, (turn, _) in (await self.heart.take()).items():
            began = boottime()
            number = domain_id(name)
            accepted = (await self.heart.frontier.accept([Offer(number, turn)], "worker", LENGTH))[number]

            def lost(name: str = name) -> None:
                self.lost[name] = boottime()
                self.told.set()

            leases[name] = self.leases.hold(number, accepted.turn, began, lost)
        return leases

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Renew while the `async with` lasts."""
        task = asyncio.create_task(self.leases.keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture
def keeper(database: Database) -> Keeper:
    """A worker."""
    return Keeper(database)


def test_clock() -> None:
    """The clock of leases goes on while the machine sleeps."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = boottime()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= now <= after


async def test_renewed(keeper: Keeper) -> None:
    """Leases are renewed in time, again and again; each deadline is earlier than the database's by the domain's delay."""
    leases = await keeper.hold(A, B)
    until = max(lease.deadline for lease in leases.values()) + LENGTH
    async with keeper.keeping(), asyncio.timeout(10):
        while boottime() < until:
            await asyncio.sleep(0.02)
            for name, lease in leases.items():
                deadline, now = lease.deadline, boottime()
                row = await keeper.heart.domain(name)
                ends = now + (row["ready_at"] - row["now"]).total_seconds()

                assert now < deadline < ends - 0.5  # the delay is a second

    assert keeper.lost == {}
    assert len(keeper.leases) == 2


async def test_locked_until_the_end(keeper: Keeper) -> None:
    """A turn that cannot be renewed, its row being locked, is cut before its lease ends; the others go on."""
    leases = await keeper.hold(A, B)
    async with slow(keeper.heart.database) as (session, _):
        await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
        async with keeper.keeping(), asyncio.timeout(10):
            await keeper.told.wait()

    assert list(keeper.lost) == ["a.example"]
    assert keeper.lost["a.example"] <= leases["a.example"].deadline
    assert leases["b.example"].deadline > leases["a.example"].deadline
    assert len(keeper.leases) == 1
    assert keeper.leases.missed > 0


async def test_taken_by_another(keeper: Keeper) -> None:
    """A turn whose number is another's by now is cut, however often it asks."""
    leases = await keeper.hold(A)
    await keeper.heart.database.script("update domains set turn = turn + 1")
    async with keeper.keeping(), asyncio.timeout(10):
        await keeper.told.wait()

    assert keeper.lost["a.example"] <= leases["a.example"].deadline


async def test_database_away(keeper: Keeper) -> None:
    """Without a database every turn is cut before its lease ends."""
    leases = await keeper.hold(A, B)
    await keeper.heart.database.close()
    async with keeper.keeping(), asyncio.timeout(10):
        while len(keeper.lost) < 2:
            keeper.told.clear()
            await keeper.told.wait()

    assert all(keeper.lost[name] <= lease.deadline for name, lease in leases.items())


async def test_renewal_that_hangs(keeper: Keeper) -> None:
    """A renewal that hangs is given up, and its turn cut, when the lease is over."""
    leases = await keeper.hold(A)
    async with slow(keeper.heart.database) as (_, connection):
        await connection.execute("lock table domains in access exclusive mode")
        async with keeper.keeping(), asyncio.timeout(10):
            await keeper.told.wait()

    assert keeper.lost["a.example"] <= leases["a.example"].deadline + 0.06


async def test_released(keeper: Keeper) -> None:
    """What was let go is not renewed; letting go of an old lease does not touch its successor."""
    old = (await keeper.hold(A))["a.example"]
    new = keeper.leases.hold(old.domain_id, old.turn + 2, boottime(), lambda: None)
    keeper.leases.drop(old)
    still = len(keeper.leases)
    keeper.leases.drop(new)

    assert (still, len(keeper.leases)) == (1, 0)


async def test_late_is_what_missed_twice(keeper: Keeper) -> None:
    """What could not be renewed twice in a row is late, and no more once it was; what was is counted."""
    async with slow(keeper.heart.database) as (_, connection):
        await keeper.hold(A)
        await connection.execute("select from domains where name = 'a.example' for update")
        async with keeper.keeping(), asyncio.timeout(10):
            while not keeper.leases.late:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            late, missed = keeper.leases.late, keeper.leases.missed
            await connection.execute("rollback")
            await connection.execute("begin")
            while keeper.leases.late:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    assert (late, missed >= 2) == (1, True)
    assert keeper.leases.renewed + len(keeper.lost) >= 1
