"""A worker that is struck in the middle of its work: the real one, with one call wrapped so that the process stops itself there.

    python -m tests.system.victim STEP NTH

Its settings come from the environment. The NTH time that it comes to STEP it stands still (SIGSTOP), so that it can be looked at:
then it is killed, or goes on (SIGCONT) and works like any other.
"""

import asyncio
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import uvloop

from crawler.adapters.connecting import Connector
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Session
from crawler.adapters.recording import Recording
from crawler.cli.stopping import heed_signals
from crawler.intake import Intake
from crawler.ports import Delivery
from crawler.processes import open_worker
from crawler.settings import load
from crawler.telemetry import configure

Strike: TypeAlias = Callable[[], None]
"""Called each time the step is come to: the NTH time it does not return until SIGCONT."""
Call: TypeAlias = Callable[..., Awaitable[Any]]

ON_ITS_WAY: Final = 0.1
"""Seconds after which an ack has left: the queue's own task sends it."""


def striking(nth: int) -> Strike:
    """Stops this process the *nth* time that it is called."""
    left = nth

    def strike() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    return strike


def delivered(accept: Call, strike: Strike) -> Call:
    """Turns were delivered, and are not accepted yet."""

    async def struck(*args: Any) -> Any:
        strike()
        return await accept(*args)

    return struck


def accepted(accept: Call, strike: Strike) -> Call:
    """Turns were accepted, and nothing of them was asked for yet."""

    async def struck(*args: Any) -> Any:
        found = await accept(*args)
        if found:
            strike()
        return found

    return struck


def connected(connect: Call, strike: Strike) -> Call:
    """There is a new connection to a site, and nothing was asked for on it yet."""

    async def struck(*args: Any, **more: Any) -> Any:
        connection = await connect(*args, **more)
        strike()
        return connection

    return struck


def writing(fetch: Call, strike: Strike) -> Call:
    """All of a batch is written, and its domains are released; COMMIT was not said yet."""

    async def struck(session: Session, name: str, *args: Any) -> Any:
        rows = await fetch(session, name, *args)
        if name == "release":
            strike()
        return rows

    return struck


def committed(record: Call, strike: Strike) -> Call:
    """A batch with releases is on disk, and none of its messages is acknowledged."""

    async def struck(recording: Recording, visits: Any, releases: Any, *args: Any, **more: Any) -> Any:
        recorded = await record(recording, visits, releases, *args, **more)
        if releases:
            strike()
        return recorded

    return struck


def acknowledged(offer: Callable[..., None], strike: Strike) -> Callable[..., None]:
    """A message was acknowledged just now."""

    def struck(intake: Intake, delivery: Delivery) -> None:
        def ack() -> None:
            delivery.ack()
            asyncio.get_running_loop().call_later(ON_ITS_WAY, strike)

        offer(intake, replace(delivery, ack=ack))

    return struck


STEPS: Final[Mapping[str, tuple[type, str, Callable[..., Any]]]] = {
    "delivered": (Frontier, "accept", delivered),
    "accepted": (Frontier, "accept", accepted),
    "connected": (Connector, "_create_direct_connection", connected),
    "writing": (Session, "fetch", writing),
    "committed": (Recording, "record", committed),
    "acknowledged": (Intake, "offer", acknowledged),
}


async def work() -> None:
    """Be a worker for as long as it lasts."""
    settings = load(overrides={}, environ=os.environ).settings
    stop, hurry = asyncio.Event(), asyncio.Event()
    heed_signals(stop, hurry, lambda: None)
    async with open_worker(settings, settings.database_url or "", patience=math.inf) as worker:
        await worker.run(stop, hurry)


if __name__ == "__main__":
    step, nth = sys.argv[1:]
    owner, name, struck = STEPS[step]
    setattr(owner, name, struck(getattr(owner, name), striking(int(nth))))
    configure(debug=True)
    uvloop.run(work())
