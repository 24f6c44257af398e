"""Taking a crawl, or a domain, out of the database without a trace.

    mark (deleting, forgotten) ──► barrier ──► urls, pages, versions, sitemaps, links, words, fetches, counts, a few at a time
                                           ──► bodies nobody names ──► the row itself

1. Whoever records after the barrier sees the mark and writes nothing for what is marked; whoever began before it has ended.
   So nothing comes back, whatever turns are still out: a late worker is harmless.
2. It can be cut short anywhere and taken up again: the mark stays until the end.
3. A body goes only when no page and no version names it, looked at again under its lock (a page that takes it meanwhile waits, or we do).
4. One at a time deletes a crawl; whoever comes meanwhile waits for the end. Two would lock the bodies of the same pages, and drop others'.
5. A domain's row stays while it is held, rests, or has something set by hand: with it, the pause it is owed would be forgotten.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from crawler.adapters.crawls import CHANGED
from crawler.adapters.postgres import QUERIES, Database, columns
from crawler.adapters.touching import hold

DOMAIN_CHANGED: Final = "domain_changed"
"""The channel on which a change of a domain, made by hand, is told to everybody, with its number."""
FORGOTTEN: Final = "forgotten by request"
DOMAINS: Final = 50
ROWS: Final = 2000
"""At most so many in a transaction."""
AGAIN: Final = 0.5
"""Seconds between two looks whether somebody else has ended."""
FIRST: Final = -(2**63)


@dataclass(slots=True)
class Erased:
    """What was taken out."""

    urls: int = 0
    pages: int = 0
    bodies: int = 0


class Erasing:
    """The statements that remove."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def crawl(self, crawl_id: int) -> Erased:
        """Delete a crawl, running or not, and everything that is only its."""
        await self._database.fetch("crawl_delete_begin", crawl_id)
        await self._database.notify(CHANGED, str(crawl_id))
        erased = Erased()
        async with self._alone(crawl_id):
            await self._barrier()
            after = FIRST
            while rows := await self._database.fetch("erase_domains", crawl_id, after, DOMAINS):
                domains = [row["domain_id"] for row in rows]
                await self._contents(domains, crawl_id, erased)
                await self._drop_domains(domains)
                after = domains[-1]
            await self._database.fetch("crawl_delete_end", crawl_id)
        await self._database.notify(CHANGED, str(crawl_id))
        return erased

    async def domain(self, domain_id: int, name: str) -> Erased:
        """Remove all we hold of a domain. It stays blocked, and nothing is written for it, until it is unblocked."""
        await self._database.fetch("domain_forget", domain_id, name, FORGOTTEN)
        await self._database.notify(DOMAIN_CHANGED, str(domain_id))
        await self._barrier()
        erased = Erased()
        await self._contents([domain_id], None, erased)
        await self._database.fetch("domain_origins", domain_id)
        async with self._database.transaction() as session:
            await hold(session, [(domain_id, name)])
            await session.fetch("domain_blank", domain_id)
        await self._database.notify(DOMAIN_CHANGED, str(domain_id))
        return erased

    @contextlib.asynccontextmanager
    async def _alone(self, crawl_id: int) -> AsyncIterator[None]:
        """Nobody else deletes this crawl meanwhile, whatever program: the lock goes with its session."""
        async with self._database.connection() as connection:
            # By polling: who waits in the database holds a snapshot, and that for as long as a large crawl takes.
            while not await connection.fetchval(QUERIES["erase_alone"], crawl_id):  # noqa: ASYNC110 - as above
                await asyncio.sleep(AGAIN)
            yield

    async def _barrier(self) -> None:
        async with self._database.transaction() as session:
            await session.fetch("erase_barrier")

    async def _contents(self, domains: list[int], crawl_id: int | None, erased: Erased) -> None:
        while await self._urls(domains, crawl_id, erased):
            pass
        while n := await self._named(domains, crawl_id, erased, "erase_digests", "erase_pages"):
            erased.pages += n
        while await self._named(domains, crawl_id, erased, "erase_version_digests", "erase_versions"):
            pass
        for erase in (
            "erase_sitemaps",
            "erase_links",
            "erase_words",
        ):  # after the pages: who reads their words holds these
            while await self._some(erase, domains, crawl_id):
                pass
        await self._database.fetch("erase_fetches", domains, crawl_id)
        async with self._database.transaction() as session:
            stored = Counter[int]()
            for row in await session.fetch("erase_domain_pages", domains, crawl_id):
                stored[row["crawl_id"]] += row["pages"]
            if stored and crawl_id is None:
                await session.fetch("erase_budget", *columns(sorted(stored.items()), 2))

    async def _urls(self, domains: list[int], crawl_id: int | None, erased: Erased) -> int:
        async with self._database.transaction() as session:
            await session.fetch("look_up_all")
            rows = await session.fetch("erase_urls", domains, crawl_id, ROWS)
            counts = sorted((row["crawl_id"], row["outcome"], -row["counted"]) for row in rows)
            if counts:
                await session.fetch("record_counts", 0, *columns(((c, o, n, 0, 0) for c, o, n in counts), 5))
        erased.urls -= sum(int(n) for _, _, n in counts)
        return sum(row["n"] for row in rows)

    async def _named(
        self, domains: list[int], crawl_id: int | None, erased: Erased, digests: str, erase: str
    ) -> int:
        """Remove some of what names bodies, by these statements, and the bodies: how many rows."""
        # The pages and what they alone name are gone together: were it two transactions, a cut between them would leave bodies behind
        # that nobody looks for. The bodies are locked first, as by everybody; the pages are looked up for that.
        async with self._database.transaction() as session:
            await session.fetch("look_up_all")
            named = await session.fetch(digests, domains, crawl_id, ROWS)
            await session.fetch("bodies_lock", [row["digest"] for row in named])
            rows = await session.fetch(erase, domains, crawl_id, ROWS)
            last = list({row["digest"] for row in rows if row["digest"] is not None})
            erased.bodies += len(await session.fetch("bodies_drop", last))
        return len(rows)

    async def _some(self, erase: str, domains: list[int], crawl_id: int | None) -> int:
        """Remove some rows by this statement: how many."""
        async with self._database.transaction() as session:
            await session.fetch("look_up_all")
            return len(await session.fetch(erase, domains, crawl_id, ROWS))

    async def _drop_domains(self, domains: list[int]) -> None:
        """Those that are of no use any more; the others become due as what is left of them is, when they are next released."""
        async with self._database.transaction() as session:
            await session.fetch("domains_lock", domains)
            await session.fetch("domains_drop", domains)
