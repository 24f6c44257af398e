"""The beginning of a service: started in any order, each waits for what it needs, says so, and gives up after a time.

    database ──not there────► database.awaited ─┐
    its tables ──not all────► schema.awaited   ─┼─► again, a moment later ──► ... ──► all there: the work begins
    RabbitMQ ──not there────► broker.awaited   ─┘                              └────► out of patience: the error itself

1. What no waiting mends (a wrong password, a database that does not exist) is raised at once.
2. What is waited for is told once, and so is that it came.
3. Whoever is told to stop while it waits stops at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NoReturn, TypeAlias

import structlog

from crawler.core.errors import (
    BrokerUnavailableError,
    DatabaseBusyError,
    DatabaseRefusesError,
    DatabaseUnavailableError,
    FaircrawlError,
    SchemaBehindError,
)
from crawler.phrases import span
from crawler.settings import Settings

log: Final = structlog.get_logger()

FIRST: Final = 0.1
"""Seconds between the first two attempts; then each time half as much again."""
LAST: Final = 2.0
BEGINS: Final = "it begins"

Needed: TypeAlias = Literal["database", "schema", "broker"]
Step: TypeAlias = Callable[[], Awaitable[object]]


class Beginning:
    """Waits until the work can begin.

    Args:
        settings: `start_patience` is for how long.
        stop: is set when nobody wants it to begin any more.
    """

    def __init__(self, settings: Settings, stop: asyncio.Event | None = None) -> None:
        self._patience = settings.start_patience
        self._named = settings.database_url is not None
        self._stop = stop or asyncio.Event()
        self.waits_for = BEGINS
        """Why the work has not begun; empty: it has."""

    async def made(self, *steps: Step) -> bool:
        """Take these steps one after the other, each until it succeeds; False: told to stop before that.

        Raises:
            DatabaseUnavailableError: the database was not there in time, or will not let us in.
            SchemaError: its tables are not those of this program, or were not in time.
            BrokerError: RabbitMQ was not there in time, or will not let us in.
        """
        told, work = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._take(steps))
        try:
            await asyncio.wait({told, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                work.cancelled() or work.exception()  # nobody misses what it says now
        if self._stop.is_set() and (work.cancelled() or work.exception() is not None):
            return False
        work.result()
        self.waits_for = ""
        return True

    async def _take(self, steps: tuple[Step, ...]) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for step in steps:
            awaited: set[Needed] = set()
            pause = FIRST
            while True:
                try:
                    await step()
                    break
                except FaircrawlError as error:
                    what = None if _told_to_end() else self._mendable(error)
                    if what is None or not self._patience:
                        raise
                    self.waits_for = str(error)
                    if what not in awaited:
                        awaited.add(what)
                        _tell(what, error, self._patience)
                    if clock() + pause - began > self._patience:
                        self._give_up(error)
                await asyncio.sleep(pause)
                pause = min(LAST, pause * 1.5)
            if awaited:
                _tell_came(awaited, clock() - began)
            self.waits_for = BEGINS

    def _mendable(self, error: FaircrawlError) -> Needed | None:
        """What is missing that may come by itself; None: there is no use in waiting."""
        match error:
            case BrokerUnavailableError():
                return "broker"
            case SchemaBehindError():
                return "schema"
            case DatabaseUnavailableError() | DatabaseBusyError() if self._named:
                return None if isinstance(error, DatabaseRefusesError) else "database"
        return None

    def _give_up(self, error: FaircrawlError) -> NoReturn:
        raise type(error)(f"{error} (waited for {span(self._patience)})") from error


def _told_to_end() -> bool:
    """Whether this task was cancelled, whatever came of it: who closes a connection to a server that hangs may say that it is lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell(what: Needed, error: FaircrawlError, patience: float) -> None:
    facts = {"reason": str(error), "patience": span(patience)}
    match what:
        case "database":
            log.warning("database.awaited", **facts)
        case "schema":
            log.warning("schema.awaited", **facts)
        case "broker":
            log.warning("broker.awaited", **facts)


def _tell_came(what: set[Needed], seconds: float) -> None:
    if "broker" in what:
        log.warning("broker.reached", after=span(seconds))
    else:
        log.warning("database.reached", after=span(seconds))
