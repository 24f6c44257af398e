"""Upkeep of what is searched: reads the words of pages that are new or changed, and removes those that are wanted no more.

    crawls with search=true ──► domains visited since, the longest ago first ──► their pages, a range at a time ──► those with another body
        ──► text_process ──► page_words
    crawls without ───────────► their words go

1. It may be cut off anywhere and be done by two at once: a page's words are written in a statement of their own with the body they were
   read from, and a domain counts as read only when all of it was, as of the visit before that began.
2. However large a domain is, no statement looks at more than a range of its pages; it is cut off after a while for the others, and goes on
   from there. However many there are, each has its turn.
3. Words stand only while their page does: writing them holds its row, and who erases takes pages first.
4. What a page does to a parser, it does to a process of its own; such a page is found by its title.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from crawler.adapters.postgres import Database, columns
from crawler.core.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnavailableError,
    FaircrawlError,
)
from crawler.core.words import dictionary, words_of
from crawler.servant import DiedError, LateError, Servant, Servants
from crawler.text_process import Question

log: Final = structlog.get_logger()

BUSY: Final = 20.0
"""Seconds after which the job ends for now: other jobs of upkeep wait for it."""
SHARE: Final = 0.1
"""Of that, what one domain has before it is the next one's turn."""
PAGES: Final = 20
"""Pages that are read and written at once; their bodies are in memory."""
DOMAINS: Final = 2_000
ROWS: Final = 2_000
"""Pages that a statement looks through, or whose words it removes."""
PATIENCE: Final = 10.0
"""Seconds for the text of a page, and as many for each megabyte that is stored of it."""


async def _start() -> Servant:
    # Its last words, when it runs out of memory, are nobody's business.
    return await Servant.start("crawler.text_process", stderr=asyncio.subprocess.DEVNULL)


class Texts:
    """The text of pages, found in a process of its own. Use `texts`.

    Args:
        start: how a process is started.
    """

    def __init__(self, start: Callable[[], Awaitable[Servant]] = _start) -> None:
        self._start = start
        self._processes = Servants(self._started)

    async def of(self, page: Any, patience: float, first: int | None = None) -> str:
        """The words of a page (a row of `search_bodies`), or so many of the *first* characters of its text, signs and all.

        Raises:
            DiedError: it was too much for the process; LateError: in so many seconds of *patience*.
            FaircrawlError: no process can be started.
        """
        question = msgspec.msgpack.encode(Question(page["content_type"], page["charset"], first))
        async with self._processes.one() as process:
            process.tell(question, page["data"])
            text, _ = await process.hear(patience)
            process.fit = True
            return text.decode()

    async def close(self) -> None:
        """End the process."""
        await self._processes.close()

    async def _started(self) -> Servant:
        try:
            return await self._start()
        except OSError as error:
            raise FaircrawlError(f"no process can be started that finds the text of pages: {error}") from None


@contextlib.asynccontextmanager
async def texts() -> AsyncIterator[Texts]:
    """As long as it is open."""
    found = Texts()
    try:
        yield found
    finally:
        await found.close()


@dataclass(slots=True)
class Worded:
    """What was done."""

    read: int = 0
    """Pages."""
    removed: int = 0
    """Words of pages."""
    more: bool = False
    """There was no time for all."""
    overtaxing: int = 0
    """Pages whose text could not be found."""


async def keep_words(
    database: Database,
    *,
    only: int | None = None,
    seconds: float = BUSY,
    told: Callable[[int], None] = lambda _: None,
    by: Texts | None = None,
    rows: int = ROWS,
) -> Worded:
    """Bring the words of all crawls up to date, or of this one *only*; for so many seconds at most, and a page.

    *told*: how many pages, as it goes; *by*: what finds their text; *rows*: how many a statement looks through.

    Raises:
        DatabaseError: as the database does.
        FaircrawlError: no process can be started that reads pages.
    """
    async with contextlib.AsyncExitStack() as stack:
        process: Texts = by if by is not None else await stack.enter_async_context(texts())
        wording = _Wording(
            database, process, time.monotonic() + seconds, max(0.0, seconds * SHARE), told, rows
        )
        done = await wording.all(only)
    if done.overtaxing:
        log.warning("pages.overtaxed", pages=done.overtaxing)
    return done


@dataclass(slots=True)
class _Wording:
    database: Database
    texts: Texts
    until: float
    share: float
    told: Callable[[int], None]
    rows: int
    done: Worded = field(default_factory=Worded)
    known: frozenset[str] = frozenset()
    """The dictionaries of the server."""

    async def all(self, only: int | None) -> Worded:
        """Everything, as long as there is time; something in any case."""
        await self._forget()
        while rows := await self._ask("scan_freely", "search_domains", only, DOMAINS):
            self.known = self.known or frozenset(
                row["name"] for row in await self.database.fetch("search_dictionaries")
            )
            for row in rows:
                await self._domain(row)
                if self._late():
                    return self.done
        return self.done

    def _late(self) -> bool:
        self.done.more = self.done.more or time.monotonic() > self.until
        return self.done.more

    async def _domain(self, row: Any) -> None:
        """Read what is to be read of a domain, or as much as is its share."""
        key, as_of, after = (row["domain_id"], row["crawl_id"]), row["as_of"], row["searched_hash"]
        until = min(self.until, time.monotonic() + self.share)
        if not after:
            await self.database.fetch("search_begin", *key, as_of)
        while True:
            found = await self._ask("look_up_all", "search_range", *key, after, self.rows)
            if gone := [
                (page["url_hash"], page["read_digest"])
                for page in found
                if page["digest"] is None and page["read_digest"] is not None
            ]:
                self.done.removed += len(
                    await self._ask("look_up_all", "search_gone", *key, *columns(gone, 2))
                )
            stale = [
                page["url_hash"]
                for page in found
                if page["digest"] is not None and page["digest"] != page["read_digest"]
            ]
            reached = await self._read(key, stale, until)
            if reached is None and not (found and found[-1]["n"] == self.rows):
                await self.database.fetch("search_done", *key, as_of)
                return
            after = reached or found[-1]["url_hash"]
            await self.database.fetch("search_place", *key, as_of, after)
            if time.monotonic() > until:
                return

    async def _read(self, key: tuple[int, int], pages: Sequence[bytes], until: float) -> bytes | None:
        """Read these pages: the last one that there was time for; None: there was for all."""
        for start in range(0, len(pages), PAGES):
            some = pages[start : start + PAGES]
            read: list[tuple[bytes, bytes, str, str, str]] = []
            for row in await self._ask("look_up_all", "search_bodies", *key, some):
                read.append(await self._words(row))
                if time.monotonic() > until:
                    break
            await self._write(key, read)
            self.done.read += len(read)
            self.told(self.done.read)
            if time.monotonic() > until:
                reached = read[-1][0] if read else some[-1]
                return None if reached == pages[-1] else reached
        return None

    async def _ask(self, way: str, statement: str, *args: object) -> list[Any]:
        """*way*: the statement that says how PostgreSQL is to find it."""
        async with self.database.transaction() as session:
            await session.fetch(way)
            return list(await session.fetch(statement, *args))

    async def _words(self, row: Any) -> tuple[bytes, bytes, str, str, str]:
        """A page as search_write takes it."""
        return (
            row["url_hash"], row["digest"], dictionary(row["language"], self.known), words_of(row["title"] or ""),
            "" if row["data"] is None else await self._text(row),
        )  # fmt: skip

    async def _text(self, row: Any) -> str:
        """Who takes too long always will; who died may have been killed for another's sake, so another one is asked once."""
        for _ in range(2):
            try:
                return await self.texts.of(row, PATIENCE * (1 + len(row["data"]) / 1e6))
            except LateError:
                break
            except DiedError:
                continue
        log.debug("page.overtaxed", digest=row["digest"].hex())
        self.done.overtaxing += 1
        return ""

    async def _write(self, key: tuple[int, int], pages: Sequence[tuple[bytes, bytes, str, str, str]]) -> None:
        try:
            await self.database.fetch("search_write", *key, *columns(pages, 5))
        except (DatabaseBusyError, DatabaseUnavailableError):
            raise
        except DatabaseError as error:
            # A text that PostgreSQL does not take, though it should. Each by itself, and that one without: or it would be tried for ever.
            if len(pages) == 1 and not pages[0][4]:
                raise
            log.debug("page.unworded", reason=str(error))
            for page in pages:
                await self._write(key, [page if len(pages) > 1 else (*page[:4], "")])

    async def _forget(self) -> None:
        """Remove the words of crawls that are not searched any more."""
        while rows := await self._ask("scan_freely", "search_unwanted", DOMAINS):
            for row in rows:
                key = row["domain_id"], row["crawl_id"]
                await self.database.fetch("search_forsake", *key)
                removed = self.rows
                while removed == self.rows:
                    removed = len(await self._ask("look_up_all", "search_forget", *key, self.rows))
                    self.done.removed += removed
                    if self._late():
                        return
                await self.database.fetch("search_forgotten", *key)
