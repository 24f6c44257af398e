"""What robots.txt, sitemaps and feeds announce, put on the frontier.

    robots.txt, or else the usual places ─┐
    <link rel=alternate> of pages ────────┴─► a URL of kind sitemap ──visit──► what it names ──may it?──► in scope? ──► frontier
                                                    ▲                             │
                                                    └── an index: level + 1 ◄─────┘

1. A sitemap speaks for URLs of another origin only if that one's robots.txt names it (sitemaps.org, "cross submits").
2. However many sitemaps a domain has, and however many URLs they name: it fills the frontier no further than a crawl has use for.
3. Each sitemap is one URL of the frontier, so that a loop of indexes ends where it began.
4. What turns out to be a page of HTML is visited as one, and what was taken for a page is read as the sitemap that it is: neither is lost.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from crawler.adapters.announcements import MOST_ORIGINS, Announcements, Forward, as_it_is, by_trust
from crawler.core.model import Crawl, FoundLink, ScopeKind, UrlKind
from crawler.core.refresh_rule import ADAPTIVE
from crawler.core.sitemaps import MAX_LEVEL, Entry, Sitemap, may_name, usual_places
from crawler.core.turns import TurnUrl
from crawler.core.urls import canonical, domain_id, domain_of, origin_of, path_of, url_hash
from crawler.crawlbook import KnownCrawl

AT_ONCE: Final = 1000
"""URLs in a transaction."""
SLICE: Final = 250
"""URLs looked at before others have their turn."""
LEAST: Final = 1000
TIMES: Final = 5
"""After so many URLs, times what the crawl may store of a domain, or `LEAST`, the sitemaps of a domain have announced enough.

The one that reaches it is read to its end: 10,000 pages a domain make 50,000 URLs, and at most 100,000 rows.
"""
WITHOUT_LIMIT: Final = 10_000_000
"""The same for a crawl that has no limit."""
URLS_A_SITEMAP: Final = 100
FEW: Final = 10
"""So many URLs a sitemap should have, for its domain to have as many sitemaps as it may announce URLs; a few in any case."""
NAMED: Final = 1000
ELSEWHERE: Final = 10
"""Sitemaps of one robots.txt, and how many of them may lie in other domains: nobody shall send us to a thousand others."""
UNREAD: Final = "the crawl reads no sitemaps (--no-sitemaps)"
TOO_MANY: Final = "the sitemaps of this domain have announced as much as the crawl has use for"
"""`reopen_budget` knows how it begins."""


def reads_sitemaps(crawl: Crawl) -> bool:
    """Whether sitemaps are of any use to the crawl."""
    return crawl.sitemaps and crawl.scope is not ScopeKind.PAGE


def sitemaps_of(
    known: KnownCrawl, item: TurnUrl, found: tuple[int, bytes], named: Iterable[str]
) -> tuple[FoundLink, ...]:
    """The sitemaps of the origin of a URL: those that its robots.txt names, as written there, or else the first usual place.

    *found*: the row that led there. What was told before is left out, unless it lies elsewhere: being named here, it may name what
    lies here.
    """
    if not reads_sitemaps(known.crawl):
        return ()
    origin = origin_of(item.url)
    said = (canonical(text, f"{origin}/") for text in named)
    urls = tuple(dict.fromkeys(url for url in said if url is not None))[:NAMED]
    own = domain_of(item.url)
    elsewhere = [url for url in urls if domain_of(url) != own]
    left_out = frozenset(elsewhere[ELSEWHERE:])
    return tuple(
        _sitemap(known, url, 0, found)
        for url in urls or usual_places(origin)[:1]
        if url not in left_out and (_key(url) not in known.seen or origin_of(url) != origin)
    )


def next_place(known: KnownCrawl, item: TurnUrl, found: tuple[int, bytes]) -> tuple[FoundLink, ...]:
    """Where else a sitemap may lie, when there was none at a usual place."""
    places = usual_places(origin_of(item.url))
    after = places[places.index(item.url) + 1 :] if item.url in places else ()
    return tuple(_sitemap(known, url, 0, found) for url in after[:1] if _key(url) not in known.seen)


def feeds_of(
    known: KnownCrawl, item: TurnUrl, found: tuple[int, bytes], feeds: Iterable[str]
) -> tuple[FoundLink, ...]:
    """The feeds that a seed or the start page of an origin names, as far as they are in scope.

    On other pages stand the same ones, or a feed for each page: its comments.
    """
    if not (reads_sitemaps(known.crawl) and (item.seed or path_of(item.url) == "/")):
        return ()
    return tuple(
        _sitemap(known, url, 0, found)
        for url in feeds
        if _key(url) not in known.seen and known.scope.refusal(url, item.depth + 1) is None
    )


def told(known: KnownCrawl, links: Iterable[FoundLink]) -> None:
    """These links were written down: the sitemaps among them need not be told again.

    That a URL is known as a page does not say so, which is why they are remembered under keys of their own.
    """
    for link in links:
        if link.kind is UrlKind.SITEMAP:
            known.seen.add(_key(link.url))


class Announcer:
    """Puts on the frontier what sitemaps announce."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements

    async def refusal(self, known: KnownCrawl, item: TurnUrl, domain: int) -> str | None:
        """Why a sitemap need not be read; None: it is to be."""
        if not reads_sitemaps(known.crawl):
            return UNREAD
        if item.outcome is not None:
            return None
        so_far = await self._announcements.so_far(domain, item.crawl_id)
        enough = so_far.taken >= _most(known.crawl) or so_far.sitemaps >= _most_sitemaps(known.crawl)
        return TOO_MANY if enough else None

    async def announce(
        self, known: KnownCrawl, item: TurnUrl, domain: int, sitemap: Sitemap
    ) -> tuple[int, tuple[FoundLink, ...]]:
        """Put what it names on the frontier: how many pages that were, and the sitemaps below it, which go there with its own visit."""
        found = domain, item.url_hash
        may = await self._judge(item, domain, sitemap)
        taken = 0
        forward = by_trust if known.rule.text == ADAPTIVE else as_it_is
        waiting: list[FoundLink] = []
        for some in _sliced(sitemap.entries):
            waiting += [
                _page(known, entry, found)
                for entry in some
                if may(entry.url) and known.scope.refusal(entry.url, 1) is None
            ]
            await asyncio.sleep(0)
            if len(waiting) >= AT_ONCE - SLICE:
                taken += await self._put(known, domain, waiting, forward)
                waiting = []
        taken += await self._put(known, domain, waiting, forward)
        return taken, await self._below(known, item, found, [e.url for e in sitemap.sitemaps if may(e.url)])

    async def named(self, item: TurnUrl, links: Sequence[FoundLink]) -> None:
        """The origin of a URL names these sitemaps, which are put on the frontier next: what that means for those that are known."""
        await self._announcements.named(item.crawl_id, origin_of(item.url), links)

    async def is_page(self, known: KnownCrawl, item: TurnUrl, domain: str) -> bool:
        """What was taken for a sitemap is a page of HTML: is it visited as one now? Not if we had only guessed its name."""
        if item.url in usual_places(origin_of(item.url)) or known.scope.refusal(item.url, 1) is not None:
            return False
        return await self._announcements.sitemap_is_page(item, domain)

    async def is_named(self, item: TurnUrl) -> bool:
        """Whether anybody names it: else it was only looked for at a usual place."""
        origin = origin_of(item.url)
        return item.url not in usual_places(origin) or bool(
            await self._announcements.vouching([item.url], [origin])
        )

    async def _judge(self, item: TurnUrl, domain: int, sitemap: Sitemap) -> Callable[[str], bool]:
        """Who says whether it may name a URL: what led here, an index or a redirect, lends it its own right."""
        above = await self._announcements.above(domain, item.crawl_id, item.url_hash) or [item.url]
        own = origin_of(item.url)
        others: set[str] = set()
        for some in _sliced((*sitemap.entries, *sitemap.sitemaps)):
            others.update(origin_of(entry.url) for entry in some)
            await asyncio.sleep(0)
        vouched = await self._announcements.vouching(
            above, [own, *sorted(others - {own})[: MOST_ORIGINS - 1]]
        )
        by_robots, form = own in vouched, sitemap.form
        speakers = list({_folder(url): url for url in above}.values())
        return lambda url: any(may_name(url, speaker, by_robots, vouched, form) for speaker in speakers)

    async def _below(
        self, known: KnownCrawl, item: TurnUrl, found: tuple[int, bytes], urls: Sequence[str]
    ) -> tuple[FoundLink, ...]:
        """The sitemaps of an index, as far as there is room for them."""
        if not urls or item.depth >= MAX_LEVEL:
            return ()
        most = _most_sitemaps(known.crawl)
        room = most - await self._announcements.sitemaps(found[0], item.crawl_id, most)
        below: list[FoundLink] = []
        for start in range(0, min(len(urls), room), SLICE):
            some = urls[start : min(start + SLICE, room)]
            below += [_sitemap(known, url, item.depth + 1, found) for url in some]
            await asyncio.sleep(0)
        return tuple(below)

    async def _put(self, known: KnownCrawl, domain: int, links: list[FoundLink], forward: Forward) -> int:
        if links:
            crawl = known.crawl
            await self._announcements.announce(
                crawl.crawl_id, links, forward, speaker=domain, most=_most(crawl)
            )
        return len(links)


def _most(crawl: Crawl) -> int:
    """URLs that the sitemaps of one domain may announce."""
    limits = [limit for limit in (crawl.max_pages, crawl.max_pages_per_domain) if limit]
    return max(LEAST, TIMES * min(limits)) if limits else WITHOUT_LIMIT


def _most_sitemaps(crawl: Crawl) -> int:
    """Sitemaps of one domain that may be read, and stand on the frontier because an index names them."""
    return max(FEW, _most(crawl) // URLS_A_SITEMAP)


def _key(url: str) -> str:
    return f"sitemap {url}"


def _folder(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[0]


def _sliced(entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, ...]]:
    return (entries[start : start + SLICE] for start in range(0, len(entries), SLICE))


def _page(known: KnownCrawl, entry: Entry, found: tuple[int, bytes]) -> FoundLink:
    name = domain_of(entry.url)
    return FoundLink(
        domain=name,
        domain_id=domain_id(name),
        crawl_id=known.crawl.crawl_id,
        url_hash=url_hash(entry.url),
        url=entry.url,
        depth=1,
        found_domain_id=found[0],
        found_hash=found[1],
        priority=entry.priority,
        lastmod=entry.lastmod,
        changefreq=entry.changefreq,
    )


def _sitemap(known: KnownCrawl, url: str, level: int, found: tuple[int, bytes]) -> FoundLink:
    name = domain_of(url)
    return FoundLink(
        domain=name,
        domain_id=domain_id(name),
        crawl_id=known.crawl.crawl_id,
        url_hash=url_hash(url),
        url=url,
        depth=level,
        found_domain_id=found[0],
        found_hash=found[1],
        kind=UrlKind.SITEMAP,
    )
