"""Robots rules of origins: a cache of what PostgreSQL remembers, asked for again when it is time.

Only the holder of a domain asks for the robots.txt of its origins, so nobody else writes these rows.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from crawler.adapters.postgres import Database
from crawler.adapters.touching import touch
from crawler.core.content import clean
from crawler.core.robots_record import RobotsRecord, Standing, effective, needs_fetch
from crawler.core.urls import domain_id as number_of
from crawler.core.urls import domain_of

KEPT_IN_MEMORY: Final = 20_000
"""Origins."""


@dataclass(slots=True)
class Known:
    """The record of an origin, and its rules as parsed for each product token that asked."""

    record: RobotsRecord | None
    parsed: dict[str, Standing]


class RulesBook:
    """Robots rules, by origin."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, Known] = OrderedDict()

    def peek(self, origin: str, now: datetime) -> Known | None:
        """The rules in memory, if they are there and need not be asked for."""
        known = self._known.get(origin)
        if known is None or needs_fetch(known.record, now):
            return None
        self._known.move_to_end(origin)
        return known

    def forget(self, domain_ids: Collection[int]) -> None:
        """Remember nothing of these domains: they were forgotten."""
        for origin in [one for one in self._known if number_of(domain_of(f"{one}/")) in domain_ids]:
            del self._known[origin]

    async def load(self, domain_id: int, origin: str) -> Known:
        """What PostgreSQL remembers of the origin, however old."""
        row = await self._database.row("robots_get", domain_id, origin)
        return self._remember(origin, None if row is None else RobotsRecord(**row))

    async def store(self, domain_id: int, domain: str, record: RobotsRecord, *, token: str) -> Known:
        """Write down what asking brought. Rules that have changed arm again what the old ones refused."""
        old = self._known.get(record.origin)
        known = self._remember(record.origin, record)
        now = record.fetched_at
        if now is None:
            raise AssertionError(record)
        standing = standing_of(known, now, token)
        await self._database.fetch(
            "robots_put", domain_id, record.origin, record.status, record.body, record.good_at, record.fetched_at, record.expires_at,
            record.failures, clean(record.detail), list(standing.rules.sitemaps),
        )  # fmt: skip
        before = None if old is None or old.record is None else standing_of(old, now, token).rules.digest
        if before is not None and before != standing.rules.digest:
            async with self._database.transaction() as session:
                again = await session.fetch("robots_rearm", domain_id, record.origin)
                if again:  # by the database's clock, not by ours
                    youngest = max(row["crawl_id"] for row in again)
                    await touch(session, [(domain_id, domain, again[0]["due_at"], youngest)])
        return known

    def _remember(self, origin: str, record: RobotsRecord | None) -> Known:
        known = self._known[origin] = Known(record, {})
        self._known.move_to_end(origin)
        if len(self._known) > KEPT_IN_MEMORY:
            self._known.popitem(last=False)
        return known


def standing_of(known: Known, now: datetime, token: str) -> Standing:
    """The rules in force for a product token, parsed once."""
    if (standing := known.parsed.get(token)) is None:
        standing = known.parsed[token] = effective(known.record, now, token)
    return standing
