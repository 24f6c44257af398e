"""Seeds for many machines: what `crawl seed` does. They are put on the frontier, and on the queue; the workers do the rest.

    arguments, a file, a pipe ──► Reader ──batches──► the crawl, made with the first ──► Seeding.put ──► dispatched
                                     └── the next batch is read while the last is put

1. Any number of lines takes the memory of two batches.
2. A batch is safe once it is put: whatever happens then, the same command goes on, and finds it known.
3. A line that is no seed is counted and passed over, with the first few told.
4. The queue comes second: without the broker, the seeds are safe in the database, and the workers take them up.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from crawler.adapters.crawls import Crawls
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.seeding import Row, Rows, Seeding, Sown, Told
from crawler.core.errors import BrokerError, DatabaseBusyError, DatabaseUnavailableError
from crawler.core.lines import Lines
from crawler.core.model import Crawl
from crawler.core.urls import url_hash
from crawler.dispatch import LEAST_HIGH_WATER, Dispatcher, TurnSizes
from crawler.enduring import AWAY
from crawler.opening import Opened
from crawler.phrases import seen
from crawler.queues import opened_queue
from crawler.seeds import Sieve, Source, is_remark, refuse_line, seed_in
from crawler.settings import Settings

ROWS: Final = 20_000
"""Seeds of a batch: what is put within half a second or so, for others wait for what it touches."""
PATIENCE: Final = 1.0
"""Seconds after which a batch is put that is not full: whoever writes into the pipe takes his time."""
HEARD: Final = 0.05
"""Seconds: Ctrl-C also ends who writes into the pipe, in the middle of a line, and we may hear of that end first."""
TOLD: Final = 3
"""Bad lines that are shown; the others are counted."""
LONGEST_PAUSE: Final = 2.0
NOTHING: Final = Sown(new=0, known=0, forgotten=0, again=0, domains=0)

T = TypeVar("T")


class Teller(Protocol):
    """Shows how it goes."""

    def __call__(self, tally: "Tally") -> None:
        """Show it: called several times a second."""

    def say(self, text: str) -> None:
        """A line that stays."""


@dataclass(slots=True)
class Tally:
    """What has become of the lines that were put. Empty ones and remarks are not counted."""

    lines: int = 0
    new: int = 0
    known: int = 0
    """On the frontier already, or named twice."""
    bad: int = 0
    forgotten: int = 0
    """Of forgotten domains."""
    again: int = 0
    """Of the known: had failed, and are tried again."""
    queued: int = 0
    """Turns that were put on the broker's queue."""
    left_out: int = 0
    """URLs of other programs' files that this crawl has no use for (`crawl import`)."""
    overdue: int = 0
    """Of the new: visited elsewhere, and due again already."""


@dataclass(slots=True)
class Batch:
    """Seeds that are put together, and the lines that it took to read them."""

    rows: dict[str, Row | Told] = field(default_factory=dict)
    """By URL."""
    lines: int = 0
    bad: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. Without a single seed there is no crawl."""

    crawl: Crawl | None
    is_new: bool
    seconds: float


class Batches(Protocol):
    """Gives batches."""

    ended: bool

    async def next(self) -> Batch:
        """The next batch; after the last one, `ended` is True."""


class Sowing(Protocol):
    """Puts batches on the frontier of one crawl."""

    async def put(self, rows: Rows) -> Sown:
        """Put a batch of different URLs there."""


class Reader:
    """Arguments and lines in, batches of seeds out."""

    def __init__(self, named: Sequence[str], source: Source | None, sieve: Sieve, teller: Teller) -> None:
        self._named = named
        self._source = source
        self._sieve = sieve
        self._say = teller.say
        self._lines = Lines()
        self._number = 0
        self._told = 0
        self.ended = False

    async def next(self) -> Batch:
        """The next batch: a full one, or what came within a while; after the last one, `ended` is True."""
        batch = Batch()
        for text in self._named:
            self._take(batch, text, None)
        self._named = ()
        clock = asyncio.get_running_loop().time
        until: float | None = None
        while not self.ended and len(batch.rows) < ROWS and (until is None or clock() < until):
            piece = b"" if self._source is None else await self._source.read(until)
            if piece is None:
                break
            if not piece and self._lines.pending:
                await asyncio.sleep(HEARD)
            self._take_lines(batch, piece)
            if batch.lines and until is None:
                until = clock() + PATIENCE
            await asyncio.sleep(0)  # the last batch is being put meanwhile
        return batch

    def _take_lines(self, batch: Batch, piece: bytes) -> None:
        self.ended = not piece
        if piece:
            lines = self._lines.feed(piece)
        elif self._source is None or self._source.stopped:  # what comes before a stop is half a line
            lines = []
        else:
            lines = self._lines.end()
        for number, line in enumerate(lines, self._number + 1):
            text = line.strip()
            if not is_remark(text):
                self._take(batch, text, number)
        self._number += len(lines)

    def _take(self, batch: Batch, text: str, number: int | None) -> None:
        batch.lines += 1
        url = seed_in(text)
        if url is None:
            self._pass_over(batch, number, refuse_line, text)
            return
        if url in batch.rows:
            return
        place = self._sieve.place(url)
        if (why := self._sieve.refusal(url, place)) is not None:
            self._pass_over(batch, number, "{} {}".format, url, why)
            return
        key = self._sieve.key(url, place)
        batch.rows[url] = Row(place.domain_id, url_hash(url), url, place.domain, key)

    def _pass_over(self, batch: Batch, number: int | None, reason: Callable[..., str], *words: str) -> None:
        batch.bad += 1
        self._told += 1
        if self._told <= TOLD:
            self._say(f"skipped: {'' if number is None else f'line {number}: '}{reason(*words)}")


class Sower:
    """Puts batches on the frontier of one crawl, and its turns on the broker's queue."""

    def __init__(
        self,
        opened: Opened,
        crawl_id: int,
        sowing: Sowing,
        dispatcher: Dispatcher | None,
        *,
        tally: Tally,
        teller: Teller,
    ) -> None:
        self._opened = opened
        self._crawl_id = crawl_id
        self._crawls = Crawls(opened.database)
        self._sowing = sowing
        self._dispatcher = dispatcher
        self._tally = tally
        self._teller = teller
        self._blocked: set[str] = set()

    async def put(self, batch: Batch) -> None:
        """Put a batch, and count it.

        Raises:
            DatabaseUnavailableError, DatabaseBusyError: for too long.
        """
        sown = NOTHING
        if batch.rows:
            sown = await self._persist(lambda: self._sowing.put(batch.rows.values()))
        count(self._tally, batch, sown)
        self._teller(self._tally)
        self._warn(sown.blocked)
        if sown.woken:
            await self.start()
        if sown.domains:
            await self._dispatch(sown.domains)

    async def start(self) -> None:
        """Let a finished crawl run again if anything of it is open, with all that is due of it."""
        await self._persist(lambda: self._crawls.start(self._crawl_id))

    async def _dispatch(self, domains: int) -> None:
        """Until the queue is full or nothing is left, but no longer than our own seeds can be the reason."""
        most = max(domains, LEAST_HIGH_WATER)
        try:
            while self._dispatcher is not None and most > 0:
                taken = await self._dispatcher.dispatch_once()
                self._tally.queued += taken
                most = most - taken if taken else 0
        except BrokerError as error:
            self._dispatcher = None
            self._teller.say(
                f"warning: {error}; the seeds are safe in the database, and the workers will take them up"
            )
        except (DatabaseBusyError, DatabaseUnavailableError):
            pass  # the next batch, or the workers

    def _warn(self, blocked: Collection[tuple[str, str]]) -> None:
        """A seed of a blocked domain waits until that is unblocked."""
        for name, why in blocked:
            if name in self._blocked or len(self._blocked) > TOLD:
                continue
            self._blocked.add(name)
            if len(self._blocked) > TOLD:
                self._teller.say("warning: more domains of the seeds are blocked")
            else:
                unblock = f"`crawl domain {name}{self._opened.option} --unblock`"
                self._teller.say(f"warning: {name} is blocked ({seen(why)}): {unblock}")

    async def _persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it again while the database is busy or away, for as long as a worker would."""
        clock = asyncio.get_running_loop().time
        until, pause = clock() + AWAY, 0.1
        while True:
            try:
                return await work()
            except DatabaseBusyError:
                if clock() > until:
                    raise
            except DatabaseUnavailableError:
                if clock() > until:
                    raise
                await self._opened.revive()
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)


async def seed(
    settings: Settings,
    opened: Opened,
    reader: Batches,
    make: Callable[[Collection[str], bool], Awaitable[tuple[Crawl, bool]]],
    *,
    tally: Tally,
    teller: Teller,
    sowing: Callable[[Database, int], Sowing] = Seeding,
) -> Result:
    """Read all there is, and put it on the frontier.

    Args:
        settings: Whether there is a broker, and how long turns are.
        opened: Where the frontier is.
        reader: What is read.
        make: Makes the crawl, or finds it, when the first seeds are known: the domains of these, and whether they are all.
            It returns the crawl, and whether it is new.
        tally: Is kept up to date, for who is interrupted.
        teller: Shows it.
        sowing: Puts it there.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    batch = await reader.next()
    while not batch.rows and not reader.ended:
        count(tally, batch, NOTHING)
        batch = await reader.next()
    if not batch.rows:
        count(tally, batch, NOTHING)
        return Result(None, is_new=False, seconds=clock() - began)
    crawl, is_new = await make({row.domain for row in batch.rows.values()}, reader.ended)
    async with _dispatcher(settings, opened.dsn) as dispatcher, asyncio.TaskGroup() as tasks:
        sown_by = sowing(opened.database, crawl.crawl_id)
        sower = Sower(opened, crawl.crawl_id, sown_by, dispatcher, tally=tally, teller=teller)
        putting = tasks.create_task(sower.put(batch))
        while not reader.ended:
            batch = await reader.next()
            await putting
            if batch.lines:
                putting = tasks.create_task(sower.put(batch))
        await putting
        if not is_new:
            await sower.start()
    now = await Crawls(opened.database).by_id(crawl.crawl_id)
    return Result(now or crawl, is_new, clock() - began)


def count(tally: Tally, batch: Batch, sown: Sown) -> None:
    """Add a batch that is safe now."""
    twice = batch.lines - batch.bad - batch.left_out - len(batch.rows)
    tally.lines += batch.lines
    tally.bad += batch.bad
    tally.left_out += batch.left_out
    tally.overdue += sown.overdue
    tally.new += sown.new
    tally.known += sown.known + twice
    tally.forgotten += sown.forgotten
    tally.again += sown.again


@contextlib.asynccontextmanager
async def _dispatcher(settings: Settings, dsn: str) -> AsyncIterator[Dispatcher | None]:
    """What puts turns on the broker's queue; None: there is none, and the workers dispatch when they hear of new seeds."""
    if settings.amqp_url is None:
        yield None
        return
    async with (
        await Database.open(dsn, size=2, lookups=True) as database,
        opened_queue(settings, database) as queue,
    ):
        sizes = TurnSizes(settings.turn_seconds, settings.per_domain)
        yield Dispatcher(Frontier(database), queue, queue_lease=settings.queue_lease, sizes=sizes)
