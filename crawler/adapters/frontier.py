"""The frontier in PostgreSQL: who may visit which domain, and which of its URLs.

    due ──dispatch──► queued ──accept──► held ──release──► at rest ──► due
                        │ give_back        │ (renew)  │ no renewal: the lease ends, and it is due again by itself

Every arrow bumps the domain's fencing number; the statements and their reasons are in queries.sql.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from crawler.adapters.fitting import SPENT
from crawler.adapters.postgres import Database, Record, Session, columns
from crawler.adapters.touching import hold
from crawler.core import turns
from crawler.core.model import Past
from crawler.core.moments import micros, moment

OVER_BUDGET: Final = "the pages this crawl may store of the domain are used up (--max-pages-per-domain)"
SHRUNK: Final = "most pages of the domain say the same: its budget shrank to "
"""Before the number of pages."""
LOST_FOR_GOOD: Final = 5
"""A turn lost more often than this goes to the dead letters."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A domain taken for a turn, before its URLs are known."""

    domain_id: int
    domain: str
    turn: int
    lost: int
    delay: float
    concurrency: int | None
    address: str | None = None
    lines: int = 1
    """Crawls that the room was shared among."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A turn that a worker was given by the queue, and asks for."""

    domain_id: int
    turn: int
    address: str | None = None
    """Where the domain will be visited, as far as that is known."""
    most: int = 0
    """How many domains may be visited at once at that address; 0: any number."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the database says of a domain when a worker becomes its holder."""

    turn: int
    lost: int
    delay: float
    """The pause it was given last, in seconds."""
    delay_by_hand: float | None
    concurrency_by_hand: int | None
    blocked: str | None
    failures: int
    throttled: int


class Frontier:
    """The statements about domains and their turns."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def dispatch(self, room: int, queue_lease: float, dispatcher: str = "") -> list[Dispatched]:
        """Take up to *room* domains that are due and ready, for *queue_lease* seconds."""
        rows = await self.database.fetch("dispatch", room, timedelta(seconds=queue_lease), dispatcher)
        return [
            Dispatched(
                r["domain_id"],
                r["name"],
                r["turn"],
                r["lost"],
                r["delay"].total_seconds(),
                r["concurrency_by_hand"],
                r["address"],
                r["lines"],
            )
            for r in rows
        ]

    async def turn_urls(self, taken: Sequence[tuple[int, int]]) -> dict[int, list[turns.TurnUrl]]:
        """The URLs for each (domain_id, most) dispatched; a domain with nothing due is missing."""
        found: dict[int, list[turns.TurnUrl]] = {}
        rows = await self.database.fetch("turn_urls", [d for d, _ in taken], [most for _, most in taken])
        for row in rows:
            found.setdefault(row["domain_id"], []).append(turn_url(row))
        return found

    async def past(self, domain_id: int, urls: Iterable[turns.TurnUrl]) -> dict[tuple[int, bytes], Past]:
        """What is known of these URLs of a domain from before, by crawl and hash; the others were never visited."""
        keys = [(url.crawl_id, url.url_hash) for url in urls]
        rows = await self.database.fetch("urls_past", domain_id, *columns(keys, 2))
        return {
            (row["crawl_id"], row["url_hash"]): Past(
                row["fetched_at"],
                row["etag"],
                row["last_modified"],
                row["digest"],
                row["text_digest"],
                row["period"],
                row["lastmod"],
                row["changefreq"],
            )
            for row in rows
        }

    async def release_empty(self, taken: Sequence[Dispatched]) -> None:
        """Put back domains that were dispatched with nothing to do, due when something is."""
        await self.database.fetch("finish_full")
        async with self.database.transaction() as session:
            closed = await session.fetch(
                "close_over_budget", [d.domain_id for d in taken], OVER_BUDGET, SHRUNK, SPENT
            )
            await _count(session, ((row["crawl_id"], row["previous"], "scope_refused") for row in closed))
            await self._put_back(session, taken)

    async def bury(
        self, taken: Sequence[Dispatched], urls: Sequence[tuple[int, turns.TurnUrl]], why: str
    ) -> None:
        """Take what was dispatched out of the frontier, for its turn was lost too often; its domains go on without it."""
        async with self.database.transaction() as session:
            buried = await session.fetch(
                "bury_urls",
                [d for d, _ in urls],
                [u.crawl_id for _, u in urls],
                [u.url_hash for _, u in urls],
                [moment(u.due_at) for _, u in urls],
                why,
                [u.outcome for _, u in urls],
            )
            await _count(session, (tuple(row) for row in buried))
            await self._put_back(session, taken)

    async def _put_back(self, session: Session, taken: Sequence[Dispatched]) -> None:
        await hold(session, ((d.domain_id, d.domain) for d in taken))
        await session.fetch("release_empty", [d.domain_id for d in taken], [d.turn for d in taken])

    async def give_back(self, turned: Sequence[tuple[int, int]]) -> None:
        """Free domains whose turn (domain_id, turn) was dispatched and will not be accepted."""
        if turned:
            await self.database.fetch("give_back", [d for d, _ in turned], [t for _, t in turned])

    async def next_due(self) -> float | None:
        """Seconds until some domain is due and ready; None: nothing is due at all."""
        seconds = await self.database.value("next_due")
        return None if seconds is None else float(seconds)

    async def accept(self, offers: Sequence[Offer], worker: str, work_lease: float) -> dict[int, Accepted]:
        """Become the holder of each offered domain that is still as dispatched, for *work_lease* seconds.

        Keyed by domain; who is missing was given to somebody else, or withdrawn, or found no room at its address: drop the
        message. Accepting bumps the number by one: of several messages of a domain, only one with the number before that was
        accepted.
        """
        lease = timedelta(seconds=work_lease)
        args = (
            [o.domain_id for o in offers],
            [o.turn for o in offers],
            worker,
            lease,
            [o.address for o in offers],
            [o.most for o in offers],
        )
        crowded = sorted({o.address for o in offers if o.address is not None and o.most})
        if not crowded:
            rows = await self.database.fetch("accept", *args)
        else:
            async with self.database.transaction() as session:
                await session.fetch("address_lock", crowded)
                rows = await session.fetch("accept", *args)
        return {
            r["domain_id"]: Accepted(
                r["turn"],
                r["lost"],
                r["delay"].total_seconds(),
                None if r["delay_by_hand"] is None else r["delay_by_hand"].total_seconds(),
                r["concurrency_by_hand"],
                r["blocked"],
                r["failures"],
                r["throttled"],
            )
            for r in rows
            if r["taken"]
        }

    async def venture(self, domain_id: int, turn: int) -> None:
        """Count a turn that comes after a lost one: if it does not end with a release, it was lost too."""
        await self.database.fetch("venture", domain_id, turn)

    async def renew(self, held: Sequence[tuple[int, int]], work_lease: float) -> set[int]:
        """Domains of *held* (domain_id, turn) whose lease is now *work_lease* seconds long again; the others are not renewed."""
        rows = await self.database.fetch(
            "renew", [d for d, _ in held], [t for _, t in held], timedelta(seconds=work_lease)
        )
        return {r["domain_id"] for r in rows}

    async def claim(self, domain_id: int, domain: str, worker: str, lease: float) -> int | None:
        """Hold a domain at rest for one request outside a turn: its number, or None while it is not free."""
        turn = await self.database.value("claim", domain_id, domain, worker, timedelta(seconds=lease))
        return None if turn is None else int(turn)

    async def release_claim(self, domain_id: int, turn: int, owed: float) -> None:
        """Let go of a claimed domain, which is owed a pause of so many seconds."""
        await self.database.fetch("release_claim", domain_id, turn, owed)


def turn_url(row: Record) -> turns.TurnUrl:
    """A URL as `turn_urls` and `urgent_urls` bring it."""
    return turns.TurnUrl(
        row["crawl_id"], row["url_hash"], row["url"], micros(row["due_at"]), row["depth"], row["hops"], row["attempts"],
        row["seed"], row["outcome"], row["kind"],
    )  # fmt: skip


async def _count(session: Session, moves: Iterable[tuple[int, str | None, str]]) -> None:
    """Count URLs over from one outcome to another, outside a worker: slot 0."""
    moved = Counter[tuple[int, str]]()
    for crawl_id, previous, outcome in moves:
        moved[crawl_id, previous or ""] -= 1
        moved[crawl_id, outcome] += 1
    if moved:
        await session.fetch(
            "record_counts", 0, *columns(((c, o, n, 0, 0) for (c, o), n in sorted(moved.items())), 5)
        )
