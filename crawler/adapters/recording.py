"""Writing down a batch of visits: ONE transaction, in the lock order of queries.sql.

    bodies ─► links ─► settle, pages (pages.py), fetches, domain_pages ─► counts, budgets ─► touch ─► release ─► COMMIT

1. Recording a batch twice writes and counts nothing the second time (the answer to COMMIT may be lost).
2. No crawl stores more than its max_pages: what does not fit is left out whole, its URL stays as it was.
3. A released domain becomes due exactly when the earliest of its URLs is.
4. A page counts once for what its domain may store, by whether it says what another has said before.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from crawler.adapters.fitting import OverBudgetError, not_erased, spend, within_budget
from crawler.adapters.pages import record_pages, small
from crawler.adapters.postgres import Database, Session, columns
from crawler.adapters.touching import NOBODY, touch
from crawler.core.content import clean
from crawler.core.errors import DatabaseBusyError
from crawler.core.model import FoundLink, Release, UrlKind, Visit
from crawler.core.moments import NEVER, moment

BUDGET_TRIES: Final = 5
LINK_ROWS: Final = 1000
"""At most so many link rows a statement."""
INT: Final = 2**31 - 1
NONE: Final[Mapping[int, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a batch has set in motion."""

    next_in: Mapping[int, float]
    """Seconds until each released or touched domain is due and ready; what is not due at all is missing."""
    touched: int
    """How many domains have a URL that was new."""
    stored: Mapping[int, int]
    """Newly stored pages, by crawl."""
    full: tuple[int, ...]
    """Crawls whose budget is used up: they are finished."""
    written: Sequence[Visit] = ()
    """The visits, without those that did not fit into a budget."""
    released: frozenset[tuple[int, int]] = frozenset()
    """The released domains, each with its turn; the others were not held under their number any more."""


class Recording:
    """Records batches as one worker."""

    def __init__(self, database: Database, worker: str, slot: int) -> None:
        self._database = database
        self._worker = worker
        self._slot = slot

    async def record(
        self,
        visits: Sequence[Visit],
        releases: Sequence[Release],
        budgeted: frozenset[int],
        owed: Callable[[Release], float],
        *,
        metered: frozenset[int] = frozenset(),
        versions: Mapping[int, int] = NONE,
    ) -> Recorded:
        """Write the batch. *owed*: the pause a release still owes, asked at the last moment.

        *budgeted*: crawls with max_pages, which is never exceeded. *metered*: those with max_bytes, which are over when it is reached.
        *versions*: how many earlier bodies of a page are kept, for the crawls that keep any.

        Raises:
            DatabaseBusyError, DatabaseUnavailableError: nothing was written, or all of it; give the same batch again.
        """
        cut = False
        for _ in range(BUDGET_TRIES):
            try:
                return await self._write(
                    visits, releases, budgeted, owed, metered=metered, versions=versions, cut=cut
                )
            except OverBudgetError as over:
                budgeted, cut = budgeted | over.crawls, True
        raise DatabaseBusyError("the budgets of the crawls keep changing")

    async def _write(
        self,
        visits: Sequence[Visit],
        releases: Sequence[Release],
        budgeted: frozenset[int],
        owed: Callable[[Release], float],
        *,
        metered: frozenset[int],
        versions: Mapping[int, int],
        cut: bool,
    ) -> Recorded:
        async with self._database.transaction() as session:
            if visits:
                visits = await not_erased(session, visits)
            if cut:
                visits = await within_budget(session, visits, budgeted)
            await _bodies(session, visits)
            found = await record_links(session, (link for visit in visits for link in visit.links))
            counts = _Counts()
            for row in await session.fetch("record_settle", *_settle_rows(visits)):
                counts.urls[row["crawl_id"], row["previous"] or ""] -= row["n"]
                counts.urls[row["crawl_id"], row["outcome"]] += row["n"]
            for row in found.rows:
                counts.urls[row["crawl_id"], ""] += row["n"]
            new = await record_pages(session, visits, versions)
            await self._fetches(session, visits, counts)
            stored = Counter[int]()
            for (_, crawl_id), n in new.items():
                stored[crawl_id] += n
            await counts.write(session, self._slot)
            limited = sorted(crawl for crawl in stored if crawl in budgeted)
            await spend(session, stored, limited)
            next_in, released = await _domains(session, found, releases, owed)
        full: tuple[int, ...] = ()
        if limited or cut or metered:
            full = tuple(row["crawl_id"] for row in await self._database.fetch("finish_full"))
        return Recorded(next_in, len(found.due), stored, full, visits, released)

    async def _fetches(self, session: Session, visits: Sequence[Visit], counts: "_Counts") -> None:
        rows: list[tuple[object, ...]] = []
        details: list[str] = []
        for visit in visits:
            if (answer := visit.answer) is None:
                continue
            rows.append(
                (visit.at, visit.domain_id, visit.crawl_id, visit.url_hash, visit.settlement.outcome.value, small(answer.status),
                 answer.wire_bytes, min(round(answer.seconds * 1000), INT))
            )  # fmt: skip
            details.append(clean(visit.settlement.detail))
        if not rows:
            return
        for row in await session.fetch("record_fetches", *columns(rows, 8), self._worker, details):
            counts.fetches[row["crawl_id"], row["outcome"]] += row["n"]
            counts.bytes[row["crawl_id"], row["outcome"]] += row["bytes"]


class _Counts:
    """What a batch adds to crawl_counts, by crawl and outcome ('' is: none yet)."""

    def __init__(self) -> None:
        self.urls = Counter[tuple[int, str]]()
        self.fetches = Counter[tuple[int, str]]()
        self.bytes = Counter[tuple[int, str]]()

    async def write(self, session: Session, slot: int) -> None:
        keys = sorted({*self.urls, *self.fetches})
        if keys:
            rows = ((c, str(o), self.urls[c, o], self.fetches[c, o], self.bytes[c, o]) for c, o in keys)
            await session.fetch("record_counts", slot, *columns(rows, 5))


@dataclass(frozen=True, slots=True)
class Found:
    """What inserting links found to be new."""

    rows: list[Mapping[str, Any]]
    due: dict[int, tuple[datetime, int]]
    """The earliest due_at of the new URLs and the youngest crawl they belong to, by domain."""
    names: dict[int, str]

    def touched(self) -> Iterator[tuple[int, str, datetime, int]]:
        """The domains as `touch` takes them."""
        return ((d, self.names[d], due_at, crawl_id) for d, (due_at, crawl_id) in self.due.items())

    @property
    def new(self) -> int:
        """How many URLs were not known before."""
        return sum(row["n"] for row in self.rows)


def sooner(link: FoundLink) -> float:
    """Seconds of priority, spent as an earlier due_at, so that one index gives the order: seeds, sitemaps, then by depth.

    What an index of sitemaps names comes among the pages: there may be hundreds.
    """
    if link.seed:
        return 60.0
    if link.kind is UrlKind.SITEMAP:
        return 45.0 if link.depth else 58.0
    said = 0.0 if link.priority is None else 5 * (link.priority - 0.5)
    return max(0.0, 50 - link.depth - link.hops + said)


async def _bodies(session: Session, visits: Iterable[Visit]) -> None:
    bodies: dict[bytes, tuple[int, bytes]] = {}
    for visit in visits:
        if visit.digest is not None and visit.compressed is not None:
            bodies[visit.digest] = visit.size, visit.compressed
    if bodies:
        await session.fetch(
            "record_bodies", *columns(((d, size, data) for d, (size, data) in bodies.items()), 3)
        )


async def record_links(session: Session, links: Iterable[FoundLink]) -> Found:
    """Step 2: put links on the frontier. The caller touches the domains found in the same transaction, as its last step."""
    wanted: dict[tuple[int, int, bytes], FoundLink] = {}
    for link in links:
        wanted.setdefault((link.domain_id, link.crawl_id, link.url_hash), link)
    found = Found([], {}, {})
    ordered = [wanted[key] for key in sorted(wanted)]
    for start in range(0, len(ordered), LINK_ROWS):
        chunk = ordered[start : start + LINK_ROWS]
        rows = await session.fetch("record_links", *columns(map(_link_row, chunk), 13))
        names = {link.domain_id: link.domain for link in chunk}
        for row in rows:
            found.rows.append(row)
            domain_id = row["domain_id"]
            found.names[domain_id] = names[domain_id]
            earliest, crawl_id = found.due.get(domain_id, (row["due_at"], row["crawl_id"]))
            found.due[domain_id] = min(earliest, row["due_at"]), max(crawl_id, row["crawl_id"])
    return found


async def _domains(
    session: Session, found: Found, releases: Sequence[Release], owed: Callable[[Release], float]
) -> tuple[dict[int, float], frozenset[tuple[int, int]]]:
    """Touch every domain with a new URL and every one to be released, then release: when each is due, and what was released."""
    held = ((release.domain_id, release.domain, NEVER, NOBODY) for release in releases)
    rows = [*found.touched(), *held]
    if not rows:
        return {}, frozenset()
    await touch(session, rows)
    next_in, free = dict.fromkeys(found.due, 0.0), set[tuple[int, int]]()
    if releases:
        released = (
            (
                r.domain_id,
                r.turn,
                owed(r),
                r.delay,
                small(r.failures),
                small(r.throttled),
                clean(r.waits_for),
                r.visited,
                r.address,
            )
            for r in sorted(releases, key=lambda r: r.domain_id)
        )
        for row in await session.fetch("release", *columns(released, 9)):
            free.add((row["domain_id"], row["turn"]))
            next_in.pop(row["domain_id"], None)
            if row["next_in"] is not None:
                next_in[row["domain_id"]] = row["next_in"]
    return next_in, frozenset(free)


def _link_row(link: FoundLink) -> tuple[object, ...]:
    return (
        link.domain_id, link.crawl_id, link.url_hash, link.url, sooner(link), small(link.depth), small(link.hops), link.seed,
        link.found_domain_id, link.found_hash, link.kind.value, link.lastmod, link.changefreq,
    )  # fmt: skip


def _settle_rows(visits: Iterable[Visit]) -> list[list[object]]:
    rows = (
        (v.domain_id, v.crawl_id, v.url_hash, moment(v.taken), s.due_in, s.open, small(s.attempts), s.outcome.value, clean(s.detail),
         v.previous, s.revisit, s.period, s.due_at, v.rule)
        for v in visits
        for s in (v.settlement,)
    )  # fmt: skip
    return columns(rows, 14)
