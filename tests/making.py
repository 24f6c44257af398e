"""Crawls, links, visits and releases for the tests of the frontier, made in as few words as possible."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from crawler.adapters.crawls import Crawls, Limits, Wish
from crawler.adapters.frontier import Accepted, Frontier, Offer
from crawler.adapters.postgres import Database, Session
from crawler.adapters.recording import Recorded, Recording, record_links
from crawler.adapters.touching import touch
from crawler.core.model import Answer, FoundLink, Outcome, Page, Release, ScopeKind, Settlement, Visit
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id, domain_of, url_hash

QUEUE_LEASE: Final = 600.0
WORK_LEASE: Final = 60.0
_numbers = itertools.count(1)


def link(crawl_id: int, url: str, **more: Any) -> FoundLink:
    """A URL to put on the frontier."""
    name = domain_of(url)
    return FoundLink(name, domain_id(name), crawl_id, url_hash(url), url, **{"depth": 0, **more})


def settled(outcome: Outcome = Outcome.OK, *, again_in: float | None = None, **more: Any) -> Settlement:
    """A settlement: final, unless it says when to come again."""
    return Settlement(again_in, again_in is not None, int(again_in is not None), outcome, **more)


def visit(item: TurnUrl, settlement: Settlement | None = None, **more: Any) -> Visit:
    """A visit to a URL as a turn handed it out. A page that is ok has a body of its own."""
    settlement = settlement or settled()
    number = next(_numbers)
    body = b"<title>page %d</title>" % number if settlement.outcome is Outcome.OK else b""
    answer = Answer(
        settlement.outcome, 0.0, 0.25, status=200, body=body, wire_bytes=len(body), headers=(("Server", "test"),),
        address="127.0.0.1", protocol="HTTP/1.1",
    )  # fmt: skip
    made = Visit(
        domain_id(domain_of(item.url)), item.crawl_id, item.url_hash, item.url, item.due_at, item.outcome, item.depth,
        settlement, datetime.now(UTC), answer=answer,
    )  # fmt: skip
    if body:
        digest = blake2b(body, digest_size=32).digest()
        made = replace(
            made,
            digest=digest,
            compressed=body,
            size=len(body),
            page=Page("text/html", "utf-8", f"page {number}"),
        )
    return replace(made, **more)


def release(name: str, turn: int, *, owed: float = 0.0, **more: Any) -> Release:
    """A release of a domain; `rest_until` is taken by `record` for the pause still owed."""
    return Release(domain_id(name), name, turn, owed, **{"delay": 1.0, **more})


class Frontiers:
    """One worker's hands on a database: the statements of the heart, with what the tests rarely vary left out."""

    def __init__(self, database: Database, worker: str = "worker", slot: int = 1) -> None:
        self.database = database
        self.worker = worker
        self.crawls = Crawls(database)
        self.frontier = Frontier(database)
        self.recording = Recording(database, worker, slot)

    async def crawl(self, *urls: str, name: str = "test", **limits: Any) -> int:
        """Make a crawl with these seeds: its number."""
        wish = Wish(name, ScopeKind.ANY, limits=Limits(**limits))
        crawl, _ = await self.crawls.create_or_change(wish)
        await self.seed(crawl.crawl_id, *urls)
        return crawl.crawl_id

    async def seed(self, crawl_id: int, *urls: str) -> int:
        """Add seeds: how many were new."""
        return await self.crawls.seed(crawl_id, [], [link(crawl_id, url, seed=True) for url in urls])

    async def take(self, *, room: int = 100, most: int = 500) -> dict[str, tuple[int, list[TurnUrl]]]:
        """Dispatch: the fencing number and the URLs of each domain taken."""
        taken = await self.frontier.dispatch(room, QUEUE_LEASE)
        urls = await self.frontier.turn_urls([(t.domain_id, most) for t in taken])
        return {t.domain: (t.turn, urls.get(t.domain_id, [])) for t in taken}

    async def accept(self, name: str, turn: int) -> Accepted | None:
        """Become the holder of a dispatched domain."""
        found = await self.frontier.accept([Offer(domain_id(name), turn)], self.worker, WORK_LEASE)
        return found.get(domain_id(name))

    async def hold(self, name: str) -> tuple[int, list[TurnUrl]]:
        """Dispatch everything, and accept this one: its number, and its URLs."""
        turn, urls = (await self.take())[name]
        accepted = await self.accept(name, turn)
        assert accepted is not None
        return accepted.turn, urls

    async def record(
        self, visits: Sequence[Visit] = (), releases: Sequence[Release] = (), budgeted: Sequence[int] = ()
    ) -> Recorded:
        """Record a batch."""
        return await self.recording.record(visits, releases, frozenset(budgeted), lambda r: r.rest_until)

    async def domain(self, name: str) -> Any:
        """The row of a domain."""
        return await row(self.database, "select *, now() as now from domains where name = $1", name)

    async def url(self, url: str, crawl_id: int | None = None) -> Any:
        """The row of a URL."""
        sql = "select *, now() as now from urls where url = $1 and crawl_id = coalesce($2, crawl_id)"
        return await row(self.database, sql, url, crawl_id)

    async def counts(self, crawl_id: int) -> dict[str, tuple[int, int]]:
        """URLs and fetches by outcome, as counted."""
        return {r["outcome"]: (r["urls"], r["fetches"]) for r in await self.crawls.totals(crawl_id)}


async def rows(database: Database, sql: str, *args: object) -> list[Any]:
    """Rows of a question that only tests ask."""
    async with database.connection() as connection:
        return list(await connection.fetch(sql, *args))


async def row(database: Database, sql: str, *args: object) -> Any:
    """The one row of a question that only tests ask."""
    found = await rows(database, sql, *args)
    assert len(found) == 1
    return found[0]


async def insert(session: Session, *links: FoundLink) -> None:
    """Put links on the frontier as part of somebody's transaction, and touch their domains."""
    found = await record_links(session, links)
    await touch(session, found.touched())


@contextlib.asynccontextmanager
async def slow(database: Database) -> AsyncIterator[tuple[Session, Any]]:
    """A transaction that the test holds open: as a session, and its connection. Committed at the end."""
    async with database.connection() as connection, connection.transaction():
        yield Session(connection), connection


async def blocked(database: Database, how_many: int = 1) -> None:
    """Return when so many sessions of this database wait for a lock."""
    sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while await database.ask(sql) < how_many:  # noqa: ASYNC110 - a lock in the server sets no event here
            await asyncio.sleep(0.005)


async def until(fact: Callable[[], Awaitable[object]]) -> None:
    """Return when that is so: it is in the database, which sets no event here."""
    async with asyncio.timeout(15):
        while not await fact():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def cut(database: Database, doing: str = "%") -> int:
    """End the other sessions of this database whose last statement is like this: how many."""
    sql = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend' and query ilike $1"
    )
    found = await database.ask(sql, doing)
    return int(found)
