"""What goes on after its answer was given: crawls that are being deleted, URLs that somebody wants visited now.

    POST /api/refresh ──► an errand with a handle ──► done, and remembered for an hour
    DELETE /api/crawls/x ──► an errand by its name ──► done, and forgotten
    at the start, and every minute ──► crawls that are being deleted, and by nobody any more ──► the same

1. Every errand has a parent, which ends it when the dashboard ends: what it had to do is in the database. A deletion is taken up by
   the next dashboard, or by this one if an error ended it; URLs stay wished for.
2. The same deletion is not begun twice at once. Of wishes there are at most `MOST_AT_ONCE` under way and `MOST_KEPT` remembered.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from crawler.adapters.erasing import Erasing
from crawler.adapters.looking import Looking
from crawler.core.errors import (
    DatabaseBusyError,
    DatabaseSlowError,
    DatabaseUnavailableError,
    FaircrawlError,
    NotKnownError,
    StateError,
    leaves,
)
from crawler.core.urls import domain_id, domain_of, url_hash
from crawler.dashboard.desk import Desk
from crawler.dashboard.models import RefreshAnswer, Refreshed
from crawler.phrases import seen
from crawler.refresh_words import as_dict, changed, other_queue
from crawler.url_wishes import refresh_urls
from crawler.wish_answers import Answered, Result, Waits

KEPT: Final = 3600.0
"""Seconds for which a handle is known."""
MOST_KEPT: Final = 1000
MOST_AT_ONCE: Final = 20
PAUSE: Final = 2.0
"""Seconds before a deletion goes on that the database interrupted, or that may not begin yet."""
EVERY: Final = 60.0
"""Seconds between two looks for deletions that were cut off."""
FACTS: Final = (
    "outcome",
    "status",
    "detail",
    "bytes",
    "title",
    "redirect_to",
    "change",
    "seconds",
    "next_at",
    "why",
    "ready_in",
)


class NoSuchHandleError(NotKnownError):
    """There is no such handle: it is known for an hour, until the dashboard ends. What was wished for stays wished for."""


class BrokenOffError(StateError):
    """Nobody waits for these URLs any more: what was wished for stays wished for, and why this ended is in the dashboard's log."""


@dataclass(slots=True)
class Errand:
    """URLs that somebody wants visited."""

    urls: Sequence[str]
    crawl: str | None
    wait: float
    begun: float
    since: datetime | None = None
    """When they were wished for, by the database's clock; None: it was not asked yet."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    results: Sequence[Result] = ()
    hint: str = ""
    trouble: FaircrawlError | None = None


class Errands:
    """Those of one dashboard."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parent: asyncio.TaskGroup | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._wishes: dict[str, Errand] = {}
        self._deletions: set[int] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Errands can be begun; those that are left at the end are cut."""
        async with asyncio.TaskGroup() as parent:
            self._parent = parent
            self._begin(self._take_up(), "deletions")
            try:
                yield
            finally:
                self._parent = None
                for task in self._open:
                    task.cancel()

    def delete(self, crawl_id: int) -> None:
        """Remove a crawl, and go on when the database comes back."""
        if crawl_id not in self._deletions:
            self._deletions.add(crawl_id)
            self._begin(self._delete(crawl_id), f"delete crawl {crawl_id}")

    async def _take_up(self) -> None:
        """Go on with what was cut off: by the end of a dashboard or of a `crawl delete`, or by an error."""
        look = Looking(self._desk.database)
        while self._desk.waits_for():  # noqa: ASYNC110 - the tables may not be there yet, and that sets no event
            await asyncio.sleep(PAUSE)
        while True:
            try:
                for crawl_id in await look.deleting():
                    self.delete(crawl_id)
            except DatabaseUnavailableError:
                self._desk.away.set()
            except (DatabaseBusyError, DatabaseSlowError):
                pass
            await asyncio.sleep(EVERY)

    async def _delete(self, crawl_id: int) -> None:
        try:
            while True:
                try:
                    await Erasing(self._desk.database).crawl(crawl_id)
                except (DatabaseUnavailableError, DatabaseBusyError) as error:
                    if isinstance(error, DatabaseUnavailableError):
                        self._desk.away.set()
                    await asyncio.sleep(PAUSE)
                else:
                    return
        finally:
            self._deletions.discard(crawl_id)

    async def wish(self, urls: Sequence[str], crawl: str | None, wait: float) -> str:
        """Have canonical URLs visited before all others: the handle. Raises StateError: too many are waited for."""
        now = time.monotonic()
        self._forget(now)
        if sum(not one.ended.is_set() for one in self._wishes.values()) >= MOST_AT_ONCE:
            raise StateError(f"{MOST_AT_ONCE} others wait for URLs already: ask again in a moment")
        handle = secrets.token_urlsafe(9)
        # Before anything is waited for: of those who come together each counts the others.
        errand = self._wishes[handle] = Errand(urls, crawl, wait, now)
        with contextlib.ExitStack() as undo:
            undo.callback(self._wishes.pop, handle)
            errand.since = await self._desk.database.ask("select clock_timestamp()")
            self._begin(self._wish(errand), f"refresh {handle}")
            undo.pop_all()
        return handle

    async def _wish(self, errand: Errand) -> None:
        desk = self._desk
        try:
            errand.results = await refresh_urls(
                desk.settings, desk.database, errand.urls, crawl=errand.crawl, wait=errand.wait
            )
            if any(isinstance(one, Waits) for one in errand.results):
                errand.hint = await other_queue(desk.settings, desk.database)
        except (FaircrawlError, ExceptionGroup) as error:  # several tasks wait for the URLs
            ours = [leaf for leaf in leaves(error) if isinstance(leaf, FaircrawlError)]
            if not ours:
                raise
            errand.trouble = ours[0]
        finally:
            if not errand.results and errand.trouble is None:
                errand.trouble = BrokenOffError()
            errand.ended.set()

    async def ended(self, handle: str) -> None:
        """Wait until nobody waits for these URLs any more, or the dashboard ends."""
        errand = self._errand(handle)
        waits = [asyncio.ensure_future(one.wait()) for one in (errand.ended, self._desk.stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def told(self, handle: str) -> RefreshAnswer:
        """What came of a wish so far. Raises NoSuchHandleError, or what the wish failed by."""
        errand = self._errand(handle)
        if errand.trouble is not None:
            raise errand.trouble
        if not errand.ended.is_set():
            told = [
                Refreshed(url=url, crawl=errand.crawl, done=False, words="is waited for")
                for url in errand.urls
            ]
        else:
            told = [await self._one(errand, result) for result in errand.results]
        return RefreshAnswer(handle=handle, done=all(one.done for one in told), urls=told)

    async def _one(self, errand: Errand, result: Result) -> Refreshed:
        known = as_dict(result, self._desk.place.option, errand.wait, errand.hint)
        facts: dict[str, Any] = {name: known[name] for name in FACTS if name in known}
        if isinstance(result, Answered):
            status = "" if result.status is None else f" {result.status}"
            words = f"{result.outcome}{status}"
            if result.change is not None:
                words += f": {changed(result, result.change)}"
            return Refreshed(url=result.url, crawl=result.crawl, done=True, words=words, facts=facts)
        if isinstance(result, Waits):
            key = domain_id(domain_of(result.url)), url_hash(result.url)
            for row in await self._desk.database.fetch("look_attempts", *key, 1):
                if errand.since is not None and row["at"] >= errand.since:  # after nobody waited any more
                    words = f"{row['outcome']}{'' if row['status'] is None else ' ' + str(row['status'])}"
                    facts = {"outcome": row["outcome"], "status": row["status"], "detail": row["detail"]}
                    return Refreshed(url=result.url, crawl=result.crawl, done=True, words=words, facts=facts)
            return Refreshed(
                url=result.url, crawl=result.crawl, done=False, words=str(known["words"]), facts=facts
            )
        crawl = result.crawls[0] if len(result.crawls) == 1 else None
        return Refreshed(url=seen(result.url), crawl=crawl, done=True, words=str(known["words"]), facts=facts)

    def _errand(self, handle: str) -> Errand:
        self._forget(time.monotonic())
        if handle not in self._wishes:
            raise NoSuchHandleError
        return self._wishes[handle]

    def _forget(self, now: float) -> None:
        old = [
            handle for handle, one in self._wishes.items() if one.ended.is_set() and now - one.begun > KEPT
        ]
        ended = [handle for handle, one in self._wishes.items() if one.ended.is_set()]
        surplus = max(0, len(self._wishes) - MOST_KEPT + 1)
        for handle in {*old, *ended[:surplus]}:
            del self._wishes[handle]

    def _begin(self, work: Coroutine[object, object, None], name: str) -> None:
        if self._parent is None:
            work.close()
            raise StateError("the dashboard is stopping: ask again when it runs")
        task = self._parent.create_task(self._told(work, name), name=name)
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        task.add_done_callback(lambda _: work.close())  # it may have been cut before it began

    async def _told(self, work: Coroutine[object, object, None], name: str) -> None:
        """Whatever goes wrong with one errand is told, and ends no other."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  # it is told
            self._desk.alerts.fault(error, errand=name)
