"""Who takes part, and what becomes of what the dead held."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from crawler.adapters.postgres import Database
from crawler.census import Identity
from crawler.presence import Presence
from tests.making import Frontiers, rows


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """Hands on a fresh database."""
    return Frontiers(database)


def presence(database: Database) -> Presence:
    """A worker of this process."""
    return Presence(database, slots=5, queue="postgres", same_machine=False)


def wrong_by(seconds: float) -> Callable[[], float]:
    """A clock."""
    return lambda: time.time() + seconds


def slow() -> Callable[[], float]:
    """The clock of who has waited for a minute, each time."""
    ticks = itertools.cycle((-30.0, 30.0))
    return lambda: time.time() + next(ticks)


@pytest.mark.parametrize(
    ("clock", "skew"),
    [(wrong_by(15), 15), (wrong_by(-15), -15), (wrong_by(0), 0), (slow(), 0)],
    ids=["ahead", "behind", "right", "a slow database"],
)
async def test_a_clock_that_is_wrong(database: Database, clock: Callable[[], float], skew: float) -> None:
    """By how much our clock differs from the database's is told with the next heartbeat; that a heartbeat takes long is no difference."""
    told: list[float] = []
    one = Presence(database, slots=5, queue="postgres", same_machine=False, clock=clock)

    def said(clock_skew: float) -> str:
        told.append(clock_skew)
        return "{}"

    one.vitals = said
    await one.sign_in()
    await one.sign_in()

    assert told == [0.0, pytest.approx(skew, abs=3)]
    assert abs(told[1]) <= abs(skew)


def ended() -> Identity:
    """A process of this machine that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(Identity.ours(), pid=process.pid)


async def row_of(database: Database, worker: str, identity: Identity) -> None:
    """Write down a worker that is another process."""
    own = identity.host, identity.boot, identity.pid, identity.began
    await database.fetch("worker_here", worker, *own, "0", 5, "postgres", "{}")


async def test_signing_out_holds_nothing(heart: Frontiers) -> None:
    """Who signs out is gone from the list, and what it could not release is free after one pause; nobody waits for the lease."""
    one = presence(heart.database)
    heart.worker = one.worker_id
    await heart.crawl("https://a.example/")
    await one.sign_in()
    await heart.hold("a.example")
    await one.sign_out()

    domain = await heart.domain("a.example")
    assert await rows(heart.database, "select * from workers") == []
    assert (domain["holder"], domain["lost"]) == (None, 1)
    assert (domain["ready_at"] - domain["now"]).total_seconds() <= 1


@pytest.mark.parametrize(
    ("dead", "freed"), [(True, True), (False, False)], ids=["a process that is no more", "one that lives"]
)
async def test_what_the_dead_held(heart: Frontiers, *, dead: bool, freed: bool) -> None:
    """What a certainly dead process of this machine held is free; what a living one holds is its."""
    await row_of(heart.database, "worker", ended() if dead else Identity.ours())
    await heart.crawl("https://a.example/")
    await heart.hold("a.example")
    await presence(heart.database).sign_in()

    assert ((await heart.domain("a.example"))["holder"] is None) == freed


async def test_another_machine(heart: Frontiers) -> None:
    """Of a process of another machine nothing is known: what it holds is its until the lease ends."""
    await row_of(heart.database, "worker", replace(ended(), host="elsewhere", boot="another"))
    await heart.crawl("https://a.example/")
    await heart.hold("a.example")
    await presence(heart.database).sign_in()

    assert (await heart.domain("a.example"))["holder"] == "worker"
