"""The pages of a crawl for who iterates over them: what is stored, then what comes, and how it ended.

    cursor ──► crawl at work ─────────────────────────────────────────────────► over ──► summary
         └──► stored before the cursor ──batches──► attempts since the cursor ──batches──► all of them

1. Each page comes once, unless it became another meanwhile; none is missed.
2. Memory holds two batches of packed rows, however slow the reader is; nor does a slow one keep a transaction open.
3. Who leaves does not wait for what is being read.
4. A database that is away for a moment holds up the reader no longer than the crawl.
"""

import asyncio
import contextlib
import resource
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.alerts import alerting
from crawler.apart import Counter
from crawler.calling import Call
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.core.model import Crawl, CrawlState, Outcome
from crawler.crawling import Summary as Ended
from crawler.crawling import crawl
from crawler.exporting import pages
from crawler.following import Follower
from crawler.hook_processes import refuse_hooks
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import opened, opened_to_look
from crawler.phrases import seen
from crawler.quiet import quiet
from crawler.selection import Selection
from crawler.settings import Settings, secrets_in
from crawler.steering import refuse_stopped

Row: TypeAlias = Any
"""Of the statement `export`."""
BATCH: Final = 50
"""Pages handed over at once."""
HEAVY: Final = 4 << 20
"""Bytes of packed bodies that are enough for a batch."""
LOOK: Final = 0.1
"""Seconds between looks for new pages."""
_ALL: Final = 1 << 62
PATIENCE: Final = 2.0
"""Seconds for which a transaction is kept open for a reader who does not come for the next batch."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a crawl ended."""

    crawl: str
    """Its name."""
    pages: int
    """Newly stored in this run."""
    requests: int
    seconds: float
    """From the first request to the last commit."""
    wire_bytes: int
    outcomes: Mapping[str, int]
    """Of all its URLs, how many ended so: ``{"ok": 100, "gone": 3}``. Those that were not visited yet stand under the empty text."""
    interrupted: bool
    """Somebody left the loop; the same call goes on."""
    complete: bool
    """Nothing is left to do, or a limit is reached."""
    failure: str = ""
    """Why nothing could be stored at all."""


async def crawled(
    call: Call, selection: Selection, counter: Counter[Row], *, only_new: bool, temporary: bool
) -> Summary:
    """Crawl, and hand over the pages.

    Raises:
        UsageError: the crawl exists with another scope, or a hook cannot be loaded.
        StateError: it was paused or cancelled by hand.
        DatabaseError: the database is not there, or stayed away.
    """
    async with contextlib.AsyncExitStack() as stack:
        settings = stack.enter_context(_folder(_modest(call.settings), temporary=temporary))
        stack.enter_context(quiet(secrets_in(settings)))
        alerts = stack.enter_context(alerting(settings, crawl=call.wish.name))
        await refuse_hooks(settings)
        place = await stack.enter_async_context(opened(settings))
        database = await stack.enter_async_context(await Database.open(place.dsn, size=2))
        counter.be_careful()
        await refuse_stopped(place, call.wish.name)
        reader = _Reader(database, selection, counter, since=await Follower.now(database))
        stored = None if only_new else call.wish.limits.max_pages or _ALL
        async with asyncio.TaskGroup() as tasks:

            async def begin(crawl_id: int) -> None:
                tasks.create_task(_unless(counter.stopped, reader.read(crawl_id, stored)))

            stop = asyncio.Event()
            told = tasks.create_task(_tell(counter.stopped, stop))
            if call.max_time is not None:
                asyncio.get_running_loop().call_later(call.max_time, stop.set)
            ended = await crawl(
                settings,
                place,
                call.wish,
                call.seeds,
                stop=stop,
                hurry=counter.stopped,
                tell=lambda *_: None,
                alerts=alerts,
                prepare=begin,
            )
            left = counter.stopped.is_set()
            reader.over.set()
            told.cancel()
        return _summary(ended, interrupted=ended.interrupted and left, handed=reader.handed)


async def looked_up(settings: Settings, name: str, selection: Selection, counter: Counter[Row]) -> None:
    """Hand over what a crawl has stored.

    Raises:
        NotKnownError: there is no such crawl.
        DatabaseError: the database is not there.
    """
    with quiet(secrets_in(settings)):
        async with opened_to_look(settings) as place:
            if place is None:
                raise NothingYetError
            found = await crawl_named(Crawls(place.database), name)
            await _Reader(place.database, selection, counter, since=None).read_stored(found, _ALL)


class _Reader:
    """Hands over the pages of a crawl."""

    def __init__(
        self, database: Database, selection: Selection, counter: Counter[Row], *, since: int | None
    ) -> None:
        self.over = asyncio.Event()
        """The crawl is over: what it has written is all that comes."""
        self.handed = 0
        """Pages."""
        self._database = database
        self._selection = selection
        self._counter = counter
        self._since = since

    async def read(self, crawl_id: int, stored: int | None) -> None:
        """Hand over what is stored, so many pages at most (None: nothing of it), and then what comes, until the crawl is over."""
        found = await Crawls(self._database).by_id(crawl_id)
        if found is not None and (stored is None or await self.read_stored(found, stored)):
            await self._follow(crawl_id)

    async def read_stored(self, crawl: Crawl, most: int) -> bool:
        """Hand over what is stored; False: nobody wants more of it."""
        after: str | None = None
        given: asyncio.Future[bool] | None = None
        while given is None or await given:  # also when the cursor broke: two must not wait for whoever asks
            given = None
            rows = pages(self._database, crawl, self._selection, after=after, before=self._since)
            try:
                async with contextlib.aclosing(rows), contextlib.aclosing(_batches(rows, most)) as batches:
                    async for batch in batches:
                        most -= sum(row["outcome"] == Outcome.OK for row in batch)
                        after = batch[-1]["url"]
                        given = asyncio.ensure_future(self._give(batch))
                        await asyncio.wait([given], timeout=PATIENCE)
                        if not given.done():
                            break
                        if not given.result():
                            return False
                    else:
                        return True
            except (DatabaseBusyError, DatabaseUnavailableError):
                if self._since is None or self.over.is_set():
                    raise
                await asyncio.sleep(LOOK)
        return False

    async def _follow(self, crawl_id: int) -> None:
        follower = Follower(self._database, crawl_id, self._since, self._selection)
        end: int | None = None
        while not self._counter.stopped.is_set():
            try:
                if end is None and self.over.is_set():
                    end = await self._database.value("follow_end")
                rows = await follower.more(BATCH)
            except (DatabaseBusyError, DatabaseUnavailableError):
                if self.over.is_set():
                    raise
                rows = []
            for start in range(0, len(rows), BATCH):
                if not await self._give(rows[start : start + BATCH]):
                    return
            if rows:
                continue
            if end is not None and follower.cursor >= end:
                return
            await asyncio.sleep(LOOK)

    async def _give(self, batch: Sequence[Row]) -> bool:
        self.handed += len(batch)
        return await self._counter.give(batch)


async def _batches(rows: AsyncIterator[Row], most: int) -> AsyncGenerator[list[Row], None]:
    """Rows together, until so many were ok."""
    batch: list[Row] = []
    weight = 0
    async for row in rows:
        if most <= 0:
            break
        most -= row["outcome"] == Outcome.OK
        batch.append(row)
        weight += len(row["data"] or b"")
        if len(batch) >= BATCH or weight >= HEAVY:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


async def _unless(stopped: asyncio.Event, reading: Coroutine[Any, Any, None]) -> None:
    """Read until that is set: nobody waits for the database then."""
    async with asyncio.TaskGroup() as tasks:
        both = tasks.create_task(reading), tasks.create_task(stopped.wait())
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()


async def _tell(stopped: asyncio.Event, stop: asyncio.Event) -> None:
    await stopped.wait()
    stop.set()


def _summary(ended: Ended, *, interrupted: bool, handed: int) -> Summary:
    counts = {row["outcome"]: row["urls"] for row in ended.totals if row["urls"]}
    return Summary(
        crawl=ended.crawl.name,
        pages=ended.pages,
        requests=ended.requests,
        seconds=ended.seconds,
        wire_bytes=ended.wire_bytes,
        outcomes=MappingProxyType(counts),
        interrupted=interrupted,
        complete=ended.crawl.state is CrawlState.FINISHED,
        failure="" if handed or ended.seeds_stored or ended.interrupted else _failure(ended),
    )


def _failure(ended: Ended) -> str:
    """Why no seed was stored, in one sentence."""
    failed = [
        f"{row['url']}: {row['outcome'] or 'not visited'}"
        + (f" ({seen(row['detail'])})" if row["detail"] else "")
        for row in ended.seeds_failed
    ]
    blocked = [f"{row['name']} is blocked: {seen(row['blocked'])}" for row in ended.waiting if row["blocked"]]
    return f"no seed of the crawl {seen(ended.crawl.name)} could be stored: {'; '.join(failed + blocked)}"


def _modest(settings: Settings) -> Settings:
    """With as many descriptors as the program has, unless it is told how many: its limit is its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if settings.max_open_files is not None or settings.processes > 1 or soft == resource.RLIM_INFINITY:
        return settings
    return replace(settings, max_open_files=max(64, soft))


@contextlib.contextmanager
def _folder(settings: Settings, *, temporary: bool) -> Iterator[Settings]:
    """The settings, with a data folder that is gone in the end, if it is to be *temporary*."""
    if not temporary:
        yield settings
        return
    folder = Path(tempfile.mkdtemp(prefix="faircrawl-"))
    try:
        yield replace(settings, data=folder / "data", database_url=None, amqp_url=None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
