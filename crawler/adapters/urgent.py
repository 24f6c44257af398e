"""URLs that somebody waits for: wished, looked up by whoever can visit them, and taken out of turn.

    wish ──► due before 1971 ──► held: the holder looks them up          ──► settled: due when it is visited next
                             └──► free, or merely queued: take, publish ──┘

1. A wish is a mark on the row of the URL, set with its domain in one transaction: whoever dies after it loses nothing.
2. At most one turn of a domain is out at any time, urgent ones included.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from crawler.adapters.crawls import CHANGED
from crawler.adapters.erasing import DOMAIN_CHANGED
from crawler.adapters.frontier import turn_url
from crawler.adapters.postgres import Database, Record, columns
from crawler.adapters.touching import touch
from crawler.core.turns import TurnUrl

Key = tuple[int, int, bytes]
"""A URL of a crawl: domain_id, crawl_id, url_hash."""

URGENT: Final = "urgent"
"""The dispatcher of a domain that was taken for an urgent turn, as queries.sql names it."""
MOST: Final = 100
"""URLs of an urgent turn: those who wait for more have another one after it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A domain taken for an urgent turn."""

    domain: str
    turn: int
    lost: int
    address: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who may visit a domain, and when."""

    domain_id: int
    domain: str
    turn: int
    holder: str | None
    """None: it is free, or rests; ``queue``: a message is out; else the worker that visits it."""
    dispatcher: str | None
    blocked: str | None
    waits_for: str | None
    """Why it rests for longer than its pause."""
    lost: int
    delay: float
    """Its pause, in seconds."""
    ready_in: float
    """Seconds until it may be visited, or until the lease of its holder ends; not above 0: now."""

    @property
    def is_free(self) -> bool:
        """Whether nobody visits it, or is about to: rested, or a lease has ended."""
        return self.ready_in <= 0

    @property
    def rests(self) -> bool:
        """Whether nobody may visit it yet."""
        return self.holder is None and self.ready_in > 0

    @property
    def is_held(self) -> bool:
        """Whether a worker visits it."""
        return self.holder not in {None, "queue"} and self.ready_in > 0


class Urgent:
    """The statements about what somebody waits for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, keys: Collection[tuple[int, bytes]]) -> list[Record]:
        """Every crawl that knows these URLs (domain_id, url_hash), and what may speak against asking for them."""
        return await self._database.fetch("refresh_known", *columns(list(keys), 2))

    async def wish(self, crawl_id: int, keys: Iterable[tuple[int, bytes]]) -> list[Key]:
        """Have these URLs (domain_id, url_hash) of a crawl visited before all others of their domains: those that there still are.

        A finished crawl runs again, or counts as left by its run; whoever works hears of it.
        """
        async with self._database.transaction() as session:
            await session.fetch("crawl_hold", crawl_id)
            if await session.value("crawl_deleting", crawl_id):
                return []
            rows = await session.fetch("refresh_wish", crawl_id, *columns(list(keys), 2))
            runs = await session.fetch("refresh_run", crawl_id) if rows else []
            await touch(session, [(row["domain_id"], row["name"], row["due_at"], crawl_id) for row in rows])
        if runs:
            await self._database.notify(CHANGED, str(crawl_id))
        for domain_id in {row["domain_id"] for row in rows}:
            await self.nudge(domain_id)
        return [(row["domain_id"], crawl_id, row["url_hash"]) for row in rows]

    async def nudge(self, domain_id: int) -> None:
        """Tell whoever holds the domain to look what is wished of it."""
        await self._database.notify(DOMAIN_CHANGED, str(domain_id))

    async def done(self, crawl_ids: Iterable[int]) -> None:
        """What was wished of these crawls has an outcome: those that were finished before are so again, if nothing new was found."""
        for row in await self._database.fetch("refresh_done", sorted(set(crawl_ids))):
            await self._database.notify(CHANGED, str(row["crawl_id"]))

    async def seen(self, keys: Iterable[Key]) -> dict[Key, Record]:
        """What is kept of these URLs."""
        rows = await self._database.fetch("refresh_seen", *columns(list(keys), 3))
        return {_key(row): row for row in rows}

    async def left(self, keys: Iterable[Key]) -> set[Key]:
        """Those of these URLs that still wait to be visited."""
        return set(map(_key, await self._database.fetch("refresh_left", *columns(list(keys), 3))))

    async def standings(self, domain_ids: Iterable[int]) -> list[Standing]:
        """Who may visit these domains, and when."""
        rows = await self._database.fetch("refresh_domains", sorted(set(domain_ids)))
        return [Standing(**row) for row in rows]

    async def take(self, domain_id: int, lease: float) -> Taken | None:
        """Take a domain for an urgent turn, for *lease* seconds until it is accepted; None: it is held, rests, or was just taken."""
        row = await self._database.row("urgent", domain_id, timedelta(seconds=lease))
        return None if row is None else Taken(row["name"], row["turn"], row["lost"], row["address"])

    async def urls(self, domain_ids: Collection[int], most: int = MOST) -> dict[int, list[TurnUrl]]:
        """What somebody waits for, by domain, at most so many of each; a domain of which nothing is wished is missing."""
        found: dict[int, list[TurnUrl]] = {}
        for row in await self._database.fetch("urgent_urls", sorted(domain_ids), most):
            found.setdefault(row["domain_id"], []).append(turn_url(row))
        return found

    async def wished(self, domain_ids: Collection[int]) -> dict[int, list[TurnUrl]]:
        """As `urls`, for whoever holds these domains: cheap where nothing is wished."""
        rows = await self._database.fetch("urgent_wished", sorted(domain_ids)) if domain_ids else []
        return await self.urls([row["domain_id"] for row in rows]) if rows else {}

    async def at_work(self, queue: str) -> tuple[int, int]:
        """How many domains those at work can visit at once: who take their turns from that queue (``postgres``, ``rabbit``), and all."""
        (row,) = await self._database.fetch("workers_of", queue)
        return row["ours"], row["all"]


def _key(row: Record) -> Key:
    return row["domain_id"], row["crawl_id"], row["url_hash"]
