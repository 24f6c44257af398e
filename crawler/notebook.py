"""The Python interface: `crawl` and `stored_pages`, for notebooks and programs.

    for page in crawl("https://example.com/", max_pages=100): ...
    async for page in crawl("https://example.com/", max_pages=100): ...

    crawl(...) ──► Pages ──iter, aiter──► a thread: database, crawl ──batches──► page, page, ... ──end, break, error──► nothing is left

1. Nothing is begun before the first page is asked for. Whatever ends the iteration ends the crawl: what was fetched is written down,
   and the embedded database, the processes and the thread are gone. A later iteration goes on.
2. The crawl does not wait for who looks at its pages, and neither does it hold them in memory: they are in the database.
3. The program's loop, its signals, its log and its limits stay as they are.
"""

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeAlias, TypeVar, Unpack

from crawler.apart import Apart, Counter
from crawler.calling import called, refuse_strange, signature
from crawler.core.errors import FaircrawlError, StateError, UsageError, leaves
from crawler.core.model import Outcome
from crawler.given import Options, Place
from crawler.handing import Row, Summary, crawled, looked_up
from crawler.page import Page
from crawler.phrases import seen
from crawler.selection import Selection, domains, media_types, moment
from crawler.settings import Settings, load

if TYPE_CHECKING:
    import concurrent.futures

R = TypeVar("R")
T = TypeVar("T")
Reading: TypeAlias = Callable[[Counter[Row]], Coroutine[Any, Any, R]]

ALL: Final = "all"


class _Pages(Generic[R]):
    """Pages to iterate over, with ``for`` or with ``async for``; each time from the beginning."""

    def __init__(self, name: str, reading: "Reading[R]") -> None:
        self.name = name
        """Of the crawl."""
        self._reading = reading
        self._run: Apart[Row, R] | None = None

    def __repr__(self) -> str:
        return f"<pages of crawl {self.name}>"

    def __iter__(self) -> Generator[Page, None, None]:
        run = self._begin()
        try:
            while batch := _plain(run.ask().result):
                for row in batch:
                    yield Page.of_row(row, self.name)
        finally:
            run.stop()
            run.join()
        self._over(_plain(run.ended.result))

    async def __aiter__(self) -> AsyncGenerator[Page, None]:
        run = self._begin()
        hold = _Hold(run)
        try:
            while batch := _plain((await _settled(run.ask())).result):
                for row in batch:
                    yield Page.of_row(row, self.name)
        finally:
            hold.drop()
            if _loop() is not None:  # else nobody can wait: its loop is gone, and this is finalized
                await _settled(run.ended)
                run.join()
        self._over(_plain(run.ended.result))

    def close(self) -> None:
        """End the iteration that goes on, if any: when this returns, nothing of it is left."""
        if self._run is not None:
            self._run.stop()
            self._run.join()

    async def aclose(self) -> None:
        """As `close`, while the loop goes on."""
        if self._run is not None:
            self._run.stop()
            await _settled(self._run.ended)
            self._run.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self) -> "Apart[Row, R]":
        if self._run is not None and not self._run.ended.done():
            raise StateError("somebody reads these pages already: end that first, with close() or aclose()")
        self._run = Apart(self._reading, f"crawl {self.name}")
        return self._run

    def _over(self, result: R | None) -> None:
        """All pages were handed over."""


class Pages(_Pages[Summary]):
    """The pages of a crawl, while it runs: what `crawl` returns."""

    @property
    def summary(self) -> Summary:
        """How the last iteration ended. Raises StateError: none has, or that one has nothing to tell."""
        if self._run is None or not self._run.ended.done():
            raise StateError("there is a summary when an iteration over the pages has ended")
        if self._run.ended.exception() is not None:
            raise StateError("there is no summary: the last iteration over the pages ended with an error")
        result = self._run.ended.result()
        if result is None:
            raise StateError("there is no summary: the last iteration was left before the crawl had begun")
        return result

    def _over(self, result: Summary | None) -> None:
        if result is not None and result.failure:
            raise FaircrawlError(result.failure)


class StoredPages(_Pages[None]):
    """The pages that a crawl has stored: what `stored_pages` returns."""


class _Hold:
    """Stops the work when whoever iterated is gone without a word, its loop with it."""

    def __init__(self, run: Apart[Any, Any]) -> None:
        self.drop = run.stop

    def __del__(self) -> None:
        self.drop()


def crawl(
    *urls: str | Iterable[str],
    outcomes: str | Iterable[str] = (Outcome.OK,),
    only_new: bool = False,
    temporary: bool = False,
    **options: Unpack[Options],
) -> Pages:
    """Crawl from these URLs, politely, and iterate over the pages as they are stored.

    ``for page in crawl("https://example.com/", max_pages=100): print(page.url, page.title)``, or with ``async for``. What is stored
    of this crawl already comes first, then what is new, and what became another, as soon as it is written down. Leave the loop when
    you like: the crawl ends with it, and the same call goes on.

    Args:
        urls: the seeds.
        outcomes: pages that ended so: ``ok``; ``["ok", "gone"]``, for instance; ``"all"``: every URL that was answered for good.
        only_new: leave out what was stored before.
        temporary: store nothing: the data lie in a folder that is removed in the end.
        options: those of the command `crawl run`, with underscores: ``max_pages=100``, ``include=["/docs/"]``, ``delay="2s"``,
            ``headers={"Accept-Language": "de"}``. Seconds may be a number, ``"2s"`` or a timedelta; bytes a number or ``"10MiB"``.

    Raises:
        UsageError: something is asked for that cannot be.
        TypeError: there is no such option.
    """
    if "hooks" in options and "hook" in options:
        raise TypeError("crawl() got hook and hooks, which are the same: give one of them")
    call = called(urls, options)
    if temporary and (options.get("data") is not None or options.get("database") is not None):
        raise UsageError("temporary data have no place: leave out data and database, or temporary")
    selection = Selection(outcomes=_outcomes(outcomes))
    return Pages(
        call.wish.name,
        lambda counter: crawled(call, selection, counter, only_new=only_new, temporary=temporary),
    )


crawl.__signature__ = signature(crawl)  # type: ignore[attr-defined]  # for help() and notebooks: with every option


def stored_pages(
    name: str,
    *,
    outcomes: str | Iterable[str] = (Outcome.OK,),
    domain: str | Iterable[str] = (),
    types: str | Iterable[str] = (),
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    **place: Unpack[Place],
) -> StoredPages:
    """Iterate over what the crawl of that name has stored, by domain and URL, and fetch nothing. With ``for`` or ``async for``.

    Args:
        name: of the crawl: the first seed's domain, unless it was given another.
        outcomes: as of `crawl`.
        domain: only pages of these registrable domains.
        types: only these media types: ``"text/html"``, ``["application/pdf", "image/*"]``.
        since: only what became what it is then or later: a moment, ``"2026-11-22"``, or an age such as ``"7d"``.
        until: only what became what it is before.
        place: `data` or `database`, as of `crawl`.

    Raises:
        UsageError: something is asked for that cannot be.
        NotKnownError: there is no such crawl; raised when the first page is asked for, as all that the database says is.
    """
    for strange in place.keys() - Place.__annotations__.keys():
        refuse_strange(
            strange, (*inspect.signature(stored_pages).parameters, *Place.__annotations__), "stored_pages"
        )
    data, database = place.get("data"), place.get("database")
    if data is not None and database is not None:
        raise UsageError("data and database exclude each other: give one of them")
    overrides = {"data": None if data is None else Path(data), "database_url": database}
    settings: Settings = load(overrides=overrides, environ=os.environ).settings
    now = datetime.now(UTC)
    selection = Selection(
        domains=domains(_several(domain)),
        outcomes=_outcomes(outcomes),
        types=media_types(",".join(_several(types))) if types else (),
        since=_moment(since, now),
        until=_moment(until, now),
    )
    return StoredPages(name, lambda counter: looked_up(settings, name, selection, counter))


def _outcomes(given: str | Iterable[str]) -> tuple[str, ...]:
    if given == ALL:
        return ()
    found = tuple(str(one) for one in _several(given))
    known = [one.value for one in Outcome]
    for one in found:
        if one not in known:
            raise UsageError(f"outcomes: there is no {seen(one)}: say {ALL!r}, or some of {', '.join(known)}")
    if not found:
        raise UsageError(f"outcomes: none is named: say {ALL!r} for all")
    return found


def _several(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _moment(given: datetime | str | None, now: datetime) -> datetime | None:
    if isinstance(given, datetime):
        return given if given.tzinfo is not None else given.astimezone()
    return None if given is None else moment(given, now)


def _plain(result: Callable[[], T]) -> T:
    """A result; of several errors together, the first that is for people."""
    try:
        return result()
    except BaseExceptionGroup as errors:
        for error in leaves(errors):
            if isinstance(error, FaircrawlError):
                raise error from None
        raise


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _settled(future: "concurrent.futures.Future[T]") -> "concurrent.futures.Future[T]":
    """Wait, whatever comes of it. A loop that is closed meanwhile is not told."""
    loop, settled = asyncio.get_running_loop(), asyncio.Event()

    def tell(_future: object) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settled.set)

    future.add_done_callback(tell)
    await settled.wait()
    return future
