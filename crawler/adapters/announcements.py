"""What sitemaps announce, on the frontier: URLs that are new, and what is said of those that are known.

    a sitemap's URLs ──1,000 at a time──► known? ──no──► put on the frontier, with lastmod and changefreq
                                             └──yes──► lastmod, changefreq; and perhaps an earlier visit

1. Announcing the same twice changes nothing: whoever dies in the middle does it again.
2. A visit is brought forward only where pages are visited by how they change, and by as much as such words proved true (`brought_forward`).
3. A page that was gone is looked at again when a sitemap says that it has changed since.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from crawler.adapters.postgres import Database, Record, columns
from crawler.adapters.recording import record_links, sooner
from crawler.adapters.touching import touch
from crawler.core.model import FoundLink
from crawler.core.moments import moment
from crawler.core.revisit import START, brought_forward
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id, domain_of

MOST_ORIGINS: Final = 1000
"""So many other origins of one sitemap are asked whether their robots.txt names it."""

Forward = Callable[[Record, FoundLink, datetime], datetime | None]


@dataclass(frozen=True, slots=True)
class Announced:
    """How much the sitemaps of a domain have announced to a crawl."""

    sitemaps: int
    taken: int


class Announcements:
    """The statements about what sitemaps say."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def so_far(self, domain_id: int, crawl_id: int) -> Announced:
        """How much was announced already."""
        row = await self._database.row("announced_so_far", domain_id, crawl_id)
        return Announced(0, 0) if row is None else Announced(row["sitemaps"], row["taken"])

    async def above(self, domain_id: int, crawl_id: int, url_hash: bytes) -> list[str]:
        """The sitemaps that led to one, itself among them: indexes, and what redirects."""
        rows = await self._database.fetch("sitemaps_above", domain_id, crawl_id, url_hash)
        return [row["url"] for row in rows]

    async def vouching(self, sitemaps: Sequence[str], origins: Sequence[str]) -> frozenset[str]:
        """Those of the origins whose robots.txt, as far as it is known, names one of these sitemaps."""
        ids = [domain_id(domain_of(f"{origin}/")) for origin in origins]
        rows = await self._database.fetch("origins_vouching", ids, list(origins), list(sitemaps))
        return frozenset(row["origin"] for row in rows)

    async def sitemaps(self, domain_id: int, crawl_id: int, most: int) -> int:
        """How many sitemaps of a domain stand on the frontier, counted up to *most*."""
        return int(await self._database.value("announced_sitemaps", domain_id, crawl_id, most))

    async def sitemap_is_page(self, item: TurnUrl, domain: str) -> bool:
        """Visit as a page what was handed out as a sitemap; False: it was settled, or handed out again, meanwhile."""
        number = domain_id(domain)
        async with self._database.transaction() as session:
            await session.fetch("record_hold")
            if await session.fetch("record_erased", [item.crawl_id], [number]):
                return False
            due_at = await session.value(
                "sitemap_is_page", number, item.crawl_id, item.url_hash, moment(item.due_at)
            )
            if due_at is not None:
                await session.fetch("record_counts", 0, *columns([(item.crawl_id, "", 1, 0, 0)], 5))
                await touch(session, [(number, domain, due_at, item.crawl_id)])
        return due_at is not None

    async def named(self, crawl_id: int, origin: str, links: Sequence[FoundLink]) -> None:
        """An origin names these sitemaps of one crawl: those that are known are made due where that changes what they are.

        They were taken for pages, and nothing was stored of them; or they were read before they could speak for the origin.
        """
        names = {link.domain_id: link.domain for link in links}
        rows = sorted(
            (k.domain_id, crawl_id, k.url_hash, sooner(k), k.depth, k.found_domain_id, k.found_hash)
            for k in links
        )
        async with self._database.transaction() as session:
            await session.fetch("record_hold")
            if await session.fetch("record_erased", [crawl_id], sorted(names)):
                return
            turned = await session.fetch("record_page_is_sitemap", *columns(rows, 7))
            gone = Counter[str]()
            for row in turned:
                gone[row["previous"]] += row["n"]
            keys = sorted((k.domain_id, k.url_hash) for k in links)
            own = domain_id(domain_of(f"{origin}/"))
            again = await session.fetch("record_sitemap_vouched", crawl_id, *columns(keys, 2), own, origin)
            if turned:
                counts = ((crawl_id, outcome, -n, 0, 0) for outcome, n in sorted(gone.items()))
                await session.fetch("record_counts", 0, *columns(counts, 5))
            await touch(session, _earliest([*turned, *again], names, crawl_id))

    async def announce(
        self,
        crawl_id: int,
        links: Sequence[FoundLink],
        forward: Forward,
        *,
        speaker: int | None = None,
        most: int = 0,
    ) -> None:
        """Put links of one crawl on the frontier, at most a thousand; *forward*: when what is known is due instead, or None.

        *speaker*: the domain whose sitemap names them. All of its sitemaps together put *most* there, at all times, and no more.
        """
        async with self._database.transaction() as session:
            await session.fetch("record_hold")
            domains = sorted({link.domain_id for link in links})
            if await session.fetch("record_erased", [crawl_id], domains):
                return  # of what is being removed nothing is announced; the next reading does it without that
            keys = [(link.domain_id, link.url_hash) for link in links]
            known = {
                (row["domain_id"], row["url_hash"]): row
                for row in await session.fetch("announced_known", crawl_id, *columns(keys, 2))
            }
            new = [link for link in links if _key(link) not in known]
            if speaker is not None:
                new = new[: max(0, most - await session.value("announced_urls", speaker, crawl_id))]
            found = await record_links(session, new)
            again = _again(links, known, forward)
            sooner = await session.fetch("announce_again", crawl_id, *columns(again, 6)) if again else []
            if found.new:
                if speaker is not None:
                    await session.fetch("record_announced", speaker, crawl_id, found.new)
                await session.fetch("record_counts", 0, *columns([(crawl_id, "", found.new, 0, 0)], 5))
            await touch(
                session,
                [
                    *found.touched(),
                    *((row["domain_id"], row["name"], row["due_at"], crawl_id) for row in sooner),
                ],
            )


def _key(link: FoundLink) -> tuple[int, bytes]:
    return link.domain_id, link.url_hash


def _again(
    links: Iterable[FoundLink], known: Mapping[tuple[int, bytes], Record], forward: Forward
) -> list[tuple[object, ...]]:
    """What changes of URLs that are known, in the order of their keys."""
    rows: dict[tuple[int, bytes], tuple[object, ...]] = {}
    for link in links:
        row = known.get(_key(link))
        if row is None or not _is_news(row, link):
            continue
        due_at = forward(row, link, row["now"])
        rows[_key(link)] = (*_key(link), row["due_at"], due_at, link.lastmod, link.changefreq)
    return [rows[key] for key in sorted(rows)]


def _is_news(row: Record, link: FoundLink) -> bool:
    """Whether it says more than is known: of several sitemaps that name a page, the newest lastmod counts."""
    newer = link.lastmod is not None and (row["lastmod"] is None or link.lastmod > row["lastmod"])
    return newer or link.changefreq not in (None, row["changefreq"])


def as_it_is(row: Record, link: FoundLink, now: datetime) -> datetime | None:
    """Of a crawl that goes by the clock, or never looks again: no visit is brought forward but to what was gone.

    That is by trust too, or who lies could have all that is gone asked for at each reading of a sitemap.
    """
    gone = row["outcome"] == "gone" and row["due_at"] is None and _since(row, link)
    return max(now, _forward(row, link)) if gone else None


def by_trust(row: Record, link: FoundLink, now: datetime) -> datetime | None:
    """Of a crawl that goes by how pages change: sooner, by as much as the site's words proved true."""
    if row["due_at"] is None or row["open"] or row["fetched_at"] is None:
        return as_it_is(row, link, now)
    earlier = _forward(row, link)
    return earlier if earlier < row["due_at"] else None


def _forward(row: Record, link: FoundLink) -> datetime:
    fetched_at: datetime = row["fetched_at"]
    revisit = row["revisit"] or START
    return fetched_at + timedelta(
        seconds=brought_forward(link.lastmod, fetched_at, revisit, row["promised"], row["kept"])
    )


def _since(row: Record, link: FoundLink) -> bool:
    """Whether the page is said to have changed since it was last asked for."""
    return link.lastmod is not None and row["fetched_at"] is not None and link.lastmod > row["fetched_at"]


def _earliest(
    rows: Iterable[Record], names: Mapping[int, str], crawl_id: int
) -> list[tuple[int, str, datetime, int]]:
    """By domain, the earliest of what is due, as `touch` takes it."""
    due: dict[int, datetime] = {}
    for row in rows:
        due[row["domain_id"]] = min(row["due_at"], due.get(row["domain_id"], row["due_at"]))
    return [(number, names[number], due[number], crawl_id) for number in due]
