"""Robots rules of origins: a cache of what PostgreSQL remembers, asked for again when it is time.

    load ──► known ──needs_fetch──► (asked for) ──store──► known, and what the old rules refused is due again
              ▲ forget: something was changed by hand, or somebody wishes that it be asked for now

1. Only the holder of a domain asks for the robots.txt of its origins, so nobody else writes these rows.
2. A new copy, and that what the old one refused is due again, are written together or not at all.
3. Memory is bounded by `MOST_BYTES`, whatever sites serve; long rules are read in a thread.
4. What many turns ask and write at once goes together: a site of four pages would cost as much for its rules as for the pages.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from crawler.adapters.origins import Asked, Key, forgotten, known_origins, put_origins
from crawler.adapters.postgres import Database
from crawler.adapters.touching import touch
from crawler.core.robots_record import RobotsRecord, Standing, effective, needs_fetch, rules_differ
from crawler.core.urls import canonical, domain_of
from crawler.core.urls import domain_id as number_of
from crawler.gathering import Gathering

KEPT_IN_MEMORY: Final = 20_000
"""Origins."""
MOST_BYTES: Final = 96 * 1024 * 1024
"""Of what they take together, but for the one that is asked for just now: one with 500 KiB of rules takes 13 MB."""
ORIGIN_BYTES: Final = 1000
MOST_SITEMAPS: Final = 1000
"""Of one robots.txt."""
LINE_BYTES: Final = 256
"""What an origin takes by itself, and each line of its rules once they are read."""
LONG: Final = 32 * 1024
"""Bytes of rules that take some 15 ms to read: more of them would hold up the visits to others (500 KiB take 0.2 s)."""


@dataclass(slots=True)
class Known:
    """The record of an origin, and its rules as parsed for each product token that asked."""

    record: RobotsRecord | None
    parsed: dict[str, Standing]

    @property
    def is_long(self) -> bool:
        """Whether it takes a while to read its rules."""
        return self.record is not None and len(self.record.body or b"") > LONG

    @property
    def weight(self) -> int:
        """Bytes of memory, about, when its rules have been read once."""
        body = b"" if self.record is None else self.record.body or b""
        return ORIGIN_BYTES + len(body) + LINE_BYTES * (body.count(b"\n") + body.count(b"\r"))


class RulesBook:
    """Robots rules, by origin."""

    def __init__(self, database: Database, *, most_bytes: int = MOST_BYTES) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self._loads = Gathering(self._load)
        self._stores = Gathering(self._store)
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._origins: defaultdict[int, set[str]] = defaultdict(set)
        self._wished: dict[int, set[str]] = {}
        self.weight = 0
        """Bytes, about."""

    def __repr__(self) -> str:
        return f"<Rules of {len(self._known)} origins, {self.weight / 1e6:.1f} MB>"

    def peek(self, origin: str, now: datetime) -> Known | None:
        """The rules in memory, if they are there and need not be asked for."""
        known = self._known.get(origin)
        if known is None or needs_fetch(known.record, now):
            return None
        self._known.move_to_end(origin)
        return known

    def forget(self, domain_ids: Collection[int]) -> None:
        """Remember nothing of these domains: something about them was changed by hand."""
        for domain_id in domain_ids:
            for origin in self._origins.pop(domain_id, ()):
                self.weight -= self._known.pop(origin).weight

    def clear(self) -> None:
        """Remember nothing: nobody knows what was changed."""
        self.forget(list(self._origins))

    def wish(self, domain_id: int, origins: Iterable[str]) -> None:
        """Whoever visits the domain shall look at these origins first: they are to be asked for now."""
        self._wished[domain_id] = set(origins)

    def is_wished(self, domain_id: int) -> bool:
        """Whether there is an origin to look at first."""
        return bool(self._wished.get(domain_id))

    def wished(self, domain_id: int) -> str | None:
        """The next origin to look at first; None: there is none. It is taken off the list.

        Nothing is remembered of it any more: an older copy may have been on its way here while the wish was heard.
        """
        origins = self._wished.get(domain_id)
        if not origins:
            self._wished.pop(domain_id, None)
            return None
        origin = origins.pop()
        if (known := self._known.pop(origin, None)) is not None:
            self.weight -= known.weight
            self._origins[domain_id].discard(origin)
        return origin

    async def load(self, domain_id: int, origin: str) -> Known:
        """What PostgreSQL remembers of the origin, however old."""
        return self._keep(origin, Known(await self._loads.ask((domain_id, origin)), {}))

    async def standing(self, known: Known, now: datetime, token: str) -> Standing:
        """As `standing_of`, without holding up anybody else."""
        if token not in known.parsed and known.is_long:
            known.parsed[token] = await asyncio.to_thread(effective, known.record, now, token)
        return standing_of(known, now, token)

    async def store(
        self,
        domain_id: int,
        domain: str,
        record: RobotsRecord,
        *,
        token: str,
        old: Known | None = None,
    ) -> Known:
        """Write down what asking brought. Rules that have changed arm again what the old ones refused.

        *old*: what was loaded before it was asked for; PostgreSQL is asked otherwise.
        """
        now = record.fetched_at
        if now is None:
            raise AssertionError(record)
        loaded = await self.load(domain_id, record.origin) if old is None else old
        before, known = loaded.record, Known(record, {})
        named = (await self.standing(known, now, token)).rules.sitemaps[:MOST_SITEMAPS]
        sitemaps = [url for text in named if (url := canonical(text, f"{record.origin}/")) is not None]
        compare = partial(rules_differ, before, record, now)
        differ = await asyncio.to_thread(compare) if known.is_long or loaded.is_long else compare()
        asked = Asked(domain_id, record, tuple(sitemaps), wished=before is not None and before.wished)
        expires_at = await (self._store_and_rearm(asked, domain) if differ else self._stores.ask(asked))
        if expires_at is None:
            return known  # forgotten meanwhile, and so is this
        known.record = replace(record, expires_at=expires_at)
        return self._keep(record.origin, known)

    async def _load(self, keys: Sequence[Key]) -> list[RobotsRecord | None]:
        known = await known_origins(self._database, list(dict.fromkeys(keys)))
        return [known.get(key) for key in keys]

    async def _store(self, asked: Sequence[Asked]) -> list[datetime | None]:
        """Write down many that refuse nothing else than before: when each expires; None: its domain is to be forgotten."""
        latest = {(one.domain_id, one.record.origin): one for one in asked}
        async with self._database.transaction() as session:
            gone = await forgotten(session, [one.domain_id for one in asked])
            expires = await put_origins(
                session, [one for one in latest.values() if one.domain_id not in gone]
            )
        return [expires.get((one.domain_id, one.record.origin)) for one in asked]

    async def _store_and_rearm(self, asked: Asked, domain: str) -> datetime | None:
        """As `_store`, of one whose rules differ: what the old ones refused is due again."""
        domain_id, origin = asked.domain_id, asked.record.origin
        async with self._database.transaction() as session:
            if await forgotten(session, [domain_id]):
                return None
            expires = await put_origins(session, [asked])
            if again := await session.fetch("robots_rearm", domain_id, origin):
                # Due by the database's clock, not by ours.
                youngest = max(row["crawl_id"] for row in again)
                await touch(session, [(domain_id, domain, again[0]["due_at"], youngest)])
        return expires[domain_id, origin]

    def _keep(self, origin: str, known: Known) -> Known:
        old = self._known.pop(origin, None)
        self._known[origin] = known
        self._origins[_domain_id(origin)].add(origin)
        self.weight += known.weight - (0 if old is None else old.weight)
        while len(self._known) > 1 and (len(self._known) > KEPT_IN_MEMORY or self.weight > self._most_bytes):
            oldest, dropped = self._known.popitem(last=False)
            self.weight -= dropped.weight
            origins = self._origins[_domain_id(oldest)]
            origins.discard(oldest)
            if not origins:
                del self._origins[_domain_id(oldest)]
        return known


def _domain_id(origin: str) -> int:
    return number_of(domain_of(f"{origin}/"))


def standing_of(known: Known, now: datetime, token: str) -> Standing:
    """The rules in force for a product token, parsed once."""
    if (standing := known.parsed.get(token)) is None:
        standing = known.parsed[token] = effective(known.record, now, token)
    return standing
