"""Pages to a file or to standard output as they are stored, until told to stop.

    what is stored by now, by domain and URL ──► what is stored from then on, transaction by transaction ──► none yet: wait
                                       └──────lines on disk──► the place: bytes and cursor──────┘

1. Each page stands in it once for each time that it became what it is: run again, it cuts off what the place does not speak of.
2. There are whole lines only, however it ends.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.core.errors import StateError, UsageError
from crawler.core.model import Crawl, CrawlState
from crawler.export_files import Place, is_stream, reaches
from crawler.export_formats import JsonLines, Kind, Order, growing
from crawler.exporting import PAUSE, Tell, options_of, pages
from crawler.following import Follower, PlaceLostError, home
from crawler.selection import NOW, Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

POLL: Final = 0.5
"""Seconds between two looks for what is new: each costs the database as good as nothing."""

REMEMBER: Final = 120
"""Looks that found nothing, after which the place moves on without a page: whoever comes back need not look through that time again."""


def refuse_unfollowable(order: Order) -> None:
    """Tell a person at once. Raises UsageError."""
    if order.kind is not Kind.JSONL:
        raise UsageError("--follow writes JSON lines: a file of another format has an end")
    if order.selection.until is not None:
        raise UsageError("--follow has no end: leave out --until")


async def follow_to(
    database: Database, crawl: Crawl, order: Order, stop: asyncio.Event, tell: Tell, *, until_finished: bool
) -> int:
    """Write the pages of *crawl* as ordered, until *stop* is set, or it is finished: how many there are.

    Raises:
        FaircrawlError: the file cannot be written.
        UsageError: nor could it ever, another program writes it, or there is a file of that name that is no such stream.
        StateError: the crawl was deleted.
        PlaceLostError: the place is of another database.
        BrokenPipeError: whoever read standard output has gone.
    """
    with contextlib.ExitStack() as stack:
        place = None
        if not is_stream(order.output):
            place = stack.enter_context(Place(order.output, options_of(crawl, order, follow=True)))
            _refuse_strange(order, place)
            if place.known is not None:
                if place.known["database"] != await home(database):
                    raise PlaceLostError
                tell(f"goes on after {place.known['state']['lines']} lines")
        following = _Following(database, crawl, order, stop, place)
        try:
            await following.stored()
            await following.new(until_finished=until_finished)
            return following.lines.close()
        except BaseException:
            following.lines.drop()
            raise


def _refuse_strange(order: Order, place: Place) -> None:
    """Raises UsageError: there is something else. A place whose file was removed is none: it is begun anew."""
    known = place.known
    if known is not None and reaches(order.output, known["state"]["bytes"]):
        return
    if reaches(order.output, 1):
        raise UsageError(
            f"{order.output} was not written by this command, which would have to write it anew: remove it, or name another file"
        )
    if place.others:
        raise UsageError(
            f"an export with other options was interrupted at {order.output}: give its command again, or remove {place.file}"
        )
    place.known = None


class _Following:
    def __init__(
        self, database: Database, crawl: Crawl, order: Order, stop: asyncio.Event, place: Place | None
    ) -> None:
        known: Mapping[str, Any] = {} if place is None or place.known is None else place.known
        self._database = database
        self._crawl = crawl
        self._stop = stop
        self._place = place
        self._after: str | None = known.get("after")
        self._reading: bool = known.get("reading", order.words.get("since") != NOW)
        self._cursor: int | None = known.get("cursor")
        self._home: list[str] = known.get("database", [])
        self._selection = Selection.of_json(known["selection"]) if known else order.selection
        state = known.get("state")
        self.lines = JsonLines(growing(order.output, state), crawl.name, order, state)

    async def stored(self) -> None:
        """What is there already, but for what comes by the cursor."""
        if self._cursor is None:
            self._home = await home(self._database)
            self._cursor = await Follower.now(self._database)
            self._keep()
        if not self._reading:
            return
        n = 0
        read = pages(self._database, self._crawl, self._selection, after=self._after, before=self._cursor)
        async with contextlib.aclosing(read) as rows:
            async for row in rows:
                self.lines.add(row)
                self._after = row["url"]
                n += 1
                if n % PAUSE == 0:
                    self._keep()
                if self._stop.is_set():
                    break
            else:
                self._reading, self._after = False, None
        self._keep()

    async def new(self, *, until_finished: bool) -> None:
        """What comes, until told to stop."""
        follower = Follower(self._database, self._crawl.crawl_id, self._cursor, self._selection)
        end: int | None = None
        idle = 0
        while not self._stop.is_set():
            if end is None and await self._has_ended() and until_finished:
                end = int(await self._database.value("follow_end"))
            rows = await follower.more()
            for row in rows:
                self.lines.add(row)
            if rows:
                self._cursor = follower.cursor
                self._keep()
                continue
            if end is not None and follower.cursor >= end:
                break
            idle += 1
            if idle % REMEMBER == 0:
                self._cursor = follower.cursor
                self._keep()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), POLL)
        if not self._reading:
            self._cursor = follower.cursor
            self._keep()

    async def _has_ended(self) -> bool:
        crawl = await Crawls(self._database).by_name(self._crawl.name)
        if crawl is None or crawl.crawl_id != self._crawl.crawl_id:
            raise StateError(f"the crawl {self._crawl.name} was deleted")
        return crawl.state is not CrawlState.RUNNING

    def _keep(self) -> None:
        state = self.lines.pause()
        if self._place is not None and state is not None:
            self._place.keep(
                state=state,
                after=self._after,
                reading=self._reading,
                cursor=self._cursor,
                database=self._home,
                selection=self._selection.as_json(),
            )
