"""What the end of a turn by an exception costs: the turn, and never the worker."""

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from crawler.adapters.connecting import SocketsExhaustedError
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.alerts import Alerts
from crawler.core.errors import DatabaseBusyError, DatabaseError, DatabaseUnavailableError, UrlError
from crawler.core.turns import VERSION, Turn
from crawler.ports import Delivery, Event
from crawler.settings import Settings
from crawler.worker import Worker


class Visit:
    """A turn that ends by these exceptions, one at each attempt, and then well."""

    def __init__(self, *errors: BaseException) -> None:
        self.turn = Turn(VERSION, 7, "site.test", 1, [])
        self._errors = list(errors)
        self.log: list[str] = []

    async def run(self) -> None:
        """Fail, or not."""
        self.log.append("run")
        if self._errors:
            raise self._errors.pop(0)

    def stop(self) -> None:
        """Ask for nothing more."""
        self.log.append("stop")


class Web:
    """Connections that are closed when asked to."""

    async def forget(self, domain: str) -> None:
        """None are open."""


class Tools:
    """What a worker's turns are made with, as far as their ends go."""

    web = Web()


class Told:
    """A sender that remembers."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def send(self, event: Event) -> None:
        """Take note."""
        assert event.message
        self.kinds.append(event.kind)


@pytest.fixture
async def worker() -> AsyncIterator[tuple[Worker, Told]]:
    """A worker that has not begun, so that nobody asks its database; and what it finds critical."""
    told = Told()
    async with await Database.open("postgresql://nobody@127.0.0.1:1/none") as database:
        worker = Worker(Settings(), database, PostgresQueue(database), alerts=Alerts(told))
        worker._tools = Tools()  # type: ignore[assignment]  # it makes its own when it runs
        yield worker, told


def no_files() -> SocketsExhaustedError:
    """The system gave no descriptor."""
    error = SocketsExhaustedError()
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    return error


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    """As the slots of a turn fail, together."""
    return ExceptionGroup("slots", errors)


RELEASED = ["run", "stop", "run"]


@pytest.mark.parametrize(
    ("errors", "log", "settled", "kinds"),
    [
        ([], ["run"], "ack", []),
        ([asyncio.CancelledError()], ["run"], "ack", []),
        ([DatabaseUnavailableError()], ["run"], "ack", []),
        ([group(DatabaseUnavailableError(), DatabaseBusyError())], ["run"], "ack", []),
        ([no_files()], RELEASED, "ack", ["descriptors"]),
        ([group(no_files(), no_files())], RELEASED, "ack", ["descriptors"]),
        ([no_files(), no_files()], RELEASED, "ack", ["descriptors"]),
        ([no_files(), DatabaseUnavailableError()], RELEASED, "ack", ["descriptors"]),
        ([MemoryError()], RELEASED, "ack", ["memory"]),
        ([KeyError("x")], ["run"], "KeyError: 'x'", ["bug"]),
        ([group(KeyError("x"))], ["run"], "KeyError: 'x'", ["bug"]),
        ([group(ValueError("y"), DatabaseUnavailableError())], ["run"], "ValueError: y", ["bug"]),
        ([DatabaseError("no such column")], ["run"], "DatabaseError: no such column", ["bug"]),
        ([UrlError("no URL")], ["run"], "UrlError: no URL", ["bug"]),
    ],
)
async def test_what_an_exception_costs(
    worker: tuple[Worker, Told], errors: list[BaseException], log: list[str], settled: str, kinds: list[str]
) -> None:
    """A lack releases the domain and asks for nothing more; an absence loses the turn; a fault of ours buries it, and is told."""
    at_work, told = worker
    visit, answers = Visit(*errors), list[str]()
    delivery = Delivery(b"", lambda: answers.append("ack"), lambda: answers.append("back"), answers.append)
    await at_work._turn(visit, delivery)  # type: ignore[arg-type]

    assert visit.log == log
    assert answers == [settled]
    assert told.kinds == kinds
