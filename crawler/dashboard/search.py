"""Finding pages by crawl, domain, outcome and time: a list in pages, each found with a bounded amount of work.

    a domain                             ──► through its URLs, in the order of the key
    a time, an outcome alone, or nothing ──► through the last attempts, the newest first
    a crawl, an outcome of it: few URLs  ──► all of them, by the index of what is open or has that outcome; then those that are tried again
    a crawl, an outcome of it: many      ──► through all URLs, in the order of the key

1. A list may be shorter than was asked for, or empty, and yet have a ``next``: so much was looked at, and more is there.
2. No URL is told twice, and none that stays as it is while the list is read is left out.
3. By time, a URL is told by its last attempt, for as long as attempts are kept (``CRAWL_FETCHES_KEPT``); in a domain, by what is stored
   of its last visit, which a failure that is tried again has not replaced.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Session
from crawler.core.errors import UsageError
from crawler.core.metrics import UNVISITED
from crawler.core.urls import domain_id
from crawler.dashboard.desk import Desk
from crawler.dashboard.error_facts import known_outcome
from crawler.dashboard.lately import Wanted, moment, newest
from crawler.dashboard.models import PageList, PageShort
from crawler.naming import crawl_named

NOT_YET: Final = ""
"""The outcome of what was not visited yet, as the statements know it."""
CHUNK: Final = 4_000
"""URLs that one statement walks through."""
WALK: Final = 0.05
"""Seconds after which no further chunk is begun."""
FEW: Final = 4_000
"""URLs of a crawl, or of an outcome of it, that are read and sorted for each page of the list."""
MOST: Final = 500
FIRST: Final = (-(2**63), 0, b"")

Place = tuple[int, int, bytes]
"""A URL's key: domain, crawl, hash."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list goes on."""

    way: str
    """walk, few or lately."""
    at: datetime | None = None
    key: Place | None = None
    retried: bool = False
    """Only what is tried again: the others were told before."""

    def __str__(self) -> str:
        key = None if self.key is None else [self.key[0], self.key[1], self.key[2].hex()]
        text = json.dumps([self.way, None if self.at is None else self.at.isoformat(), key, self.retried])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """What `str` wrote. Raises UsageError."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return _cursor(*json.loads(data))
    except (ValueError, TypeError, UsageError, binascii.Error, RecursionError):
        raise UsageError("that is no `next` of an earlier answer: begin without `after`") from None


def _cursor(way: Any, at: Any, key: Any, retried: Any) -> Cursor:
    place = None if key is None else _place(*key)
    when = None if at is None else moment(datetime.fromisoformat(at))
    timed = when is not None
    if way not in {"walk", "few", "lately"} or not isinstance(retried, bool) or timed != (way == "lately"):
        raise ValueError
    return Cursor(way, when, place, retried)


def _place(domain: Any, crawl: Any, digest: Any) -> Place:
    if type(domain) is not int or type(crawl) is not int or not isinstance(digest, str):
        raise ValueError
    if not (-(2**63) <= domain < 2**63 and -(2**31) <= crawl < 2**31) or len(digest) > 64:  # noqa: PLR2004 - of a hash
        raise ValueError
    return domain, crawl, bytes.fromhex(digest)


@dataclass(frozen=True, slots=True)
class Search:
    """What is sought."""

    crawl_id: int | None
    domain: int | None
    outcome: str | None
    since: datetime | None
    until: datetime | None
    limit: int

    @property
    def timed(self) -> bool:
        """Whether it is about when a page was visited."""
        return self.since is not None or self.until is not None


def _outcome(name: str | None) -> str | None:
    if name is None:
        return None
    return NOT_YET if name == UNVISITED else known_outcome(name)


async def pages(
    desk: Desk,
    *,
    crawl: str | None = None,
    domain: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    after: str | None = None,
) -> PageList:
    """Pages that all of this holds for.

    *outcome*: also ``unvisited``, for what was not visited yet. *after*: the ``next`` of the answer before.

    Raises:
        NotKnownError: there is no such crawl.
        UsageError: that cannot be sought together, or is no outcome, or no ``next``.
        DatabaseSlowError: it took too long.
    """
    crawl_id = None if crawl is None else (await crawl_named(Crawls(desk.database), crawl)).crawl_id
    wanted = Search(
        crawl_id,
        None if domain is None else domain_id(domain),
        _outcome(outcome),
        None if since is None else moment(since),
        None if until is None else moment(until),
        max(1, min(limit, MOST)),
    )
    if wanted.timed and wanted.outcome == NOT_YET:
        raise UsageError("what was not visited yet has no time: leave out since and until, or the outcome")
    start = None if after is None else read_cursor(after)
    async with desk.database.looking() as session:
        way = await _way(session, wanted) if start is None else start.way
        if way == "lately":
            return await _lately(session, wanted, start)
        if way == "few":
            return await _few(session, wanted, start)
        return await _walk(session, wanted, start)


async def _way(session: Session, wanted: Search) -> str:
    if wanted.domain is not None:
        return "walk"
    if wanted.timed or (wanted.crawl_id is None and wanted.outcome != NOT_YET):
        return "lately"
    if wanted.crawl_id is None:
        return "walk"
    urls, of_outcome = await _share(session, wanted)
    few = urls <= FEW or (of_outcome <= FEW and wanted.outcome not in {None, NOT_YET})
    return "few" if few else "walk"


async def _share(session: Session, wanted: Search) -> tuple[int, int]:
    (row,) = await session.fetch("look_share", wanted.crawl_id, wanted.outcome)
    return row["urls"], row["wanted"]


async def _walk(session: Session, wanted: Search, start: Cursor | None) -> PageList:
    loop = asyncio.get_running_loop()
    until = loop.time() + WALK
    place = FIRST if start is None or start.key is None else start.key
    if wanted.domain is not None:
        place = (wanted.domain, max(place[1], wanted.crawl_id or 0), place[2])
    found: list[Any] = []
    while True:
        rows = await _chunk(session, wanted, place, wanted.limit - len(found))
        found += (row for row in rows if row["found"])
        end = next((row for row in rows if not row["found"]), None)
        if len(found) >= wanted.limit:
            return _list(found, Cursor("walk", key=_key(found[-1])))
        if end is None or end["looked"] < CHUNK:
            return _list(found, None)
        place = _key(end)
        if loop.time() >= until:
            return _list(found, Cursor("walk", key=place))


async def _chunk(session: Session, wanted: Search, place: Place, most: int) -> list[Any]:
    if wanted.domain is None:
        return await session.fetch("look_walk", *place, CHUNK, wanted.crawl_id, wanted.outcome, most)
    return await session.fetch(
        "look_walk_domain", *place, CHUNK, wanted.crawl_id, wanted.outcome, most, wanted.since, wanted.until
    )


async def _few(session: Session, wanted: Search, start: Cursor | None) -> PageList:
    place = FIRST if start is None or start.key is None else start.key
    urls, of_outcome = await _share(session, wanted)
    everything = urls <= FEW
    rows = await session.fetch(
        "look_few", wanted.crawl_id, wanted.outcome, 2 * FEW, *place, wanted.limit, everything
    )
    if len(rows) >= wanted.limit:
        return _list(rows, Cursor("few", key=_key(rows[-1])))
    if everything or not of_outcome:
        return _list(rows, None)
    # Of a large crawl, what has that outcome and will be tried again is in no index. Its last attempts tell.
    rest = await _lately(session, replace(wanted, limit=wanted.limit - len(rows)), None, retried=True)
    return PageList(pages=[*map(_page, rows), *rest.pages], next=rest.next)


async def _lately(
    session: Session, wanted: Search, start: Cursor | None, *, retried: bool = False
) -> PageList:
    retried = retried or (start is not None and start.retried)
    outcomes = None if wanted.outcome is None else (wanted.outcome,)
    sought = Wanted(wanted.crawl_id, outcomes, wanted.since, wanted.until)
    after = None
    if start is not None and start.at is not None:
        if start.key is None:
            sought = replace(sought, until=start.at)
        else:
            after = (start.at, *start.key)
    most = 2 * wanted.limit + 20  # several attempts at one URL count once
    found = await newest(session, sought, most, after)
    fits: Callable[[Any], bool] = lambda row: (  # noqa: E731 - one of two conditions, in place
        row["last"] and row["url"] is not None and row["kind"] == "page" and (row["open"] or not retried)
    )
    told: list[Any] = []
    for row in found.rows:
        if fits(row):
            told.append(row)
            if len(told) == wanted.limit:
                return _list(told, Cursor("lately", row["at"], _key(row), retried))
    if len(found.rows) >= most:
        last = found.rows[-1]
        return _list(told, Cursor("lately", last["at"], _key(last), retried))
    return _list(told, None if found.rest is None else Cursor("lately", found.rest, None, retried))


def _key(row: Any) -> Place:
    return row["domain_id"], row["crawl_id"], bytes(row["url_hash"])


def _list(rows: Sequence[Any], cursor: Cursor | None) -> PageList:
    return PageList(pages=[_page(row) for row in rows], next=None if cursor is None else str(cursor))


def _page(row: Any) -> PageShort:
    return PageShort(
        url=row["url"],
        crawl=row["crawl"],
        domain=row["domain"],
        outcome=row["outcome"],
        status=row["status"],
        title=row["title"],
        content_type=row["content_type"],
        length=row["length"],
        fetched_at=row["at"] if "at" in row.keys() else row["fetched_at"],  # noqa: SIM118 - a Record
        due_at=row["due_at"],
        depth=row["depth"],
        detail=row["detail"],
    )
