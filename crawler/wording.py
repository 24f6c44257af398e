"""Upkeep of what is searched: reads the words of pages that are new or changed, and removes those that are wanted no more.

    crawls with search=true ──► domains visited since ──► pages with another body ──► text_process ──► page_words
    crawls without ───────────► their words go

1. It may be cut off anywhere and be done by two at once: a page's words are written in a statement of their own with the body they were
   read from, and a domain counts as read only when all of it was, as of the visit before.
2. Words stand only while their page does: writing them holds its row, and who erases takes pages first.
3. What a page does to a parser, it does to a process of its own; such a page is found by its title.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from crawler.adapters.postgres import Database, columns
from crawler.core.errors import DatabaseBusyError, DatabaseError, DatabaseUnavailableError
from crawler.core.words import dictionary, words_of
from crawler.servant import DiedError, Servant, Servants
from crawler.text_process import Question

log: Final = structlog.get_logger()

BUSY: Final = 20.0
"""Seconds after which the job ends for now: other jobs of upkeep wait for it."""
PAGES: Final = 20
"""Pages that are read and written at once; their bodies are in memory."""
DOMAINS: Final = 500
ROWS: Final = 2_000
PATIENCE: Final = 10.0
"""Seconds for the text of a page, and as many for each megabyte that is stored of it."""
FIRST: Final = -(2**63)


@dataclass(slots=True)
class Worded:
    """What was done."""

    read: int = 0
    """Pages."""
    removed: int = 0
    """Words of pages."""
    more: bool = False
    """There was no time for all."""


async def keep_words(
    database: Database,
    *,
    only: int | None = None,
    seconds: float = BUSY,
    told: Callable[[int], None] = lambda _: None,
) -> Worded:
    """Bring the words of all crawls up to date, or of this one *only*; for so many seconds at most. *told*: how many pages, as it goes."""
    async with _texts() as texts:
        wording = _Wording(database, texts, time.monotonic() + seconds, told)
        return await wording.all(only)


@dataclass(slots=True)
class _Wording:
    database: Database
    texts: Servants
    until: float
    told: Callable[[int], None]
    done: Worded = field(default_factory=Worded)
    known: frozenset[str] = frozenset()
    """The dictionaries of the server."""

    async def all(self, only: int | None) -> Worded:
        """Everything, as long as there is time."""
        await self._forget()
        crawls = [row["crawl_id"] for row in await self.database.fetch("search_crawls")]
        for crawl_id in crawls:
            if only in {None, crawl_id}:
                self.known = self.known or frozenset(
                    row["name"] for row in await self.database.fetch("search_dictionaries")
                )
                await self._crawl(crawl_id)
        return self.done

    def _late(self) -> bool:
        self.done.more = self.done.more or time.monotonic() > self.until
        return self.done.more

    async def _crawl(self, crawl_id: int) -> None:
        after = FIRST
        while rows := await self.database.fetch("search_domains", crawl_id, after, DOMAINS):
            for row in rows:
                if self._late():
                    return
                await self._domain(row["domain_id"], crawl_id, row["visited_at"])
            after = rows[-1]["domain_id"]

    async def _domain(self, domain_id: int, crawl_id: int, visited_at: Any) -> None:
        """Read what is to be read of a domain."""
        key = domain_id, crawl_id
        await self.database.fetch("search_begin", *key)
        await self._remove("search_gone", *key)
        after = b""
        while rows := await self._stale(key, after):
            await self._write(key, [await self._words(row) for row in rows])
            self.done.read += len(rows)
            self.told(self.done.read)
            after = rows[-1]["url_hash"]
            if self._late():
                return
        await self.database.fetch("search_done", *key, visited_at)

    async def _stale(self, key: tuple[int, int], after: bytes) -> list[Any]:
        async with self.database.transaction() as session:
            await session.fetch("look_up_all")
            return list(await session.fetch("search_stale", *key, after, PAGES))

    async def _words(self, row: Any) -> tuple[bytes, bytes, str, str, str]:
        """A page as search_write takes it."""
        said = ""
        if row["data"] is not None:
            question = msgspec.msgpack.encode(Question(row["content_type"], row["charset"]))
            try:
                async with self.texts.one() as process:
                    process.tell(question, row["data"])
                    text, _ = await process.hear(PATIENCE * (1 + len(row["data"]) / 1e6))
                    process.fit = True
                    said = text.decode()
            except DiedError:
                log.debug("page.overtaxed", digest=row["digest"].hex())
        return (
            row["url_hash"], row["digest"], dictionary(row["language"], self.known), words_of(row["title"] or ""), said,
        )  # fmt: skip

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
        while rows := await self.database.fetch("search_unwanted", DOMAINS):
            for row in rows:
                if self._late():
                    return
                key = row["domain_id"], row["crawl_id"]
                await self._remove("search_forget", *key)
                await self.database.fetch("search_done", *key, None)

    async def _remove(self, statement: str, *key: int) -> None:
        removed = ROWS
        while removed == ROWS:
            async with self.database.transaction() as session:
                await session.fetch("look_up_all")
                removed = len(await session.fetch(statement, *key, ROWS))
            self.done.removed += removed


@contextlib.asynccontextmanager
async def _texts() -> AsyncIterator[Servants]:
    texts = Servants(_start)
    try:
        yield texts
    finally:
        await texts.close()


async def _start() -> Servant:
    # Its last words, when it runs out of memory, are nobody's business.
    return await Servant.start("crawler.text_process", stderr=asyncio.subprocess.DEVNULL)
