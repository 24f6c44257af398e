"""The crawls a worker knows: a cache of what PostgreSQL holds, read again when a crawl's version has changed."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from crawler.adapters.crawls import Crawls
from crawler.core.agenda import is_wished
from crawler.core.model import Crawl, CrawlState, FoundLink
from crawler.core.refresh_rule import OFF, Rule, parse_rule
from crawler.core.scope import KeySet, Scope, scope_key
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id, domain_of, url_hash

SEEN_MOST: Final = 60_000
"""URLs remembered as known to the frontier, in each of two generations of one crawl: some 20 MB when full."""


class SeenUrls:
    """URLs that the frontier is known to hold: a filter in front of the database, which may forget but never invent.

    Two generations: when the younger is full, the older is dropped.
    """

    def __init__(self, most: int = SEEN_MOST) -> None:
        self._most = most
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, url: str) -> bool:
        return url in self._young or url in self._old

    def clear(self) -> None:
        """Forget all."""
        self._young, self._old = set(), set()

    def add(self, url: str) -> None:
        """Remember a URL whose insertion has been committed."""
        self._young.add(url)
        if len(self._young) >= self._most:
            self._old, self._young = self._young, set()


@dataclass(frozen=True, slots=True)
class KnownCrawl:
    """A crawl, with its scope ready to be asked."""

    crawl: Crawl
    scope: Scope
    seen: SeenUrls
    rule: Rule

    def follow(self, urls: Iterable[str], depth: int, found_at: tuple[int, bytes]) -> list[FoundLink]:
        """The links of a page at *depth* that are in scope and not known to be on the frontier already."""
        seen, refusal, crawl_id = self.seen, self.scope.refusal, self.crawl.crawl_id
        found: list[FoundLink] = []
        for url in urls:
            if url in seen or refusal(url, depth + 1) is not None:
                continue
            name = domain_of(url)
            found.append(
                FoundLink(name, domain_id(name), crawl_id, url_hash(url), url, depth + 1, 0, False, *found_at)  # noqa: FBT003
            )
        return found


class CrawlBook:
    """Every crawl that turned up in a turn."""

    def __init__(self, crawls: Crawls) -> None:
        self._crawls = crawls
        self._known: dict[int, KnownCrawl] = {}
        self._stale = asyncio.Event()
        self._reading = asyncio.Lock()

    async def know(self, crawl_ids: Iterable[int], seeds: Iterable[TurnUrl] = ()) -> None:
        """Read what is not known yet. A crawl that was deleted stays unknown.

        A seed that lies outside its crawl's scope came after we read that: it is read again, or no link of the seed would be followed.
        """
        named = [url for url in seeds if url.seed]
        for crawl_id in set(crawl_ids):
            if self._lacks(crawl_id, named):
                async with (
                    self._reading
                ):  # a hundred turns may find so at once, and a crawl may have a million keys
                    if self._lacks(crawl_id, named):
                        await self._read(crawl_id)

    def _lacks(self, crawl_id: int, named: Iterable[TurnUrl]) -> bool:
        known = self._known.get(crawl_id)
        return known is None or any(
            url.crawl_id == crawl_id and not known.scope.covers(url.url) for url in named
        )

    def get(self, crawl_id: int) -> KnownCrawl | None:
        """The crawl, if it is known and running."""
        known = self._known.get(crawl_id)
        return known if known is not None and known.crawl.state is CrawlState.RUNNING else None

    def serves(self, crawl_id: int) -> KnownCrawl | None:
        """The crawl, if it is known and what somebody waits for may be asked for in its name: running, finished, or left by its run."""
        known = self._known.get(crawl_id)
        if known is None or known.crawl.deleting:
            return None
        state = known.crawl.state
        return known if state in (CrawlState.RUNNING, CrawlState.FINISHED) or known.crawl.is_left else None

    def wants(self, url: TurnUrl) -> KnownCrawl | None:
        """The crawl, if it wants the URL now: for what somebody waits for it need not be running."""
        return self.serves(url.crawl_id) if is_wished(url) else self.get(url.crawl_id)

    def refreshes(self, crawl_id: int) -> bool:
        """Whether the crawl has a refresh rule, as far as is known."""
        known = self._known.get(crawl_id)
        return known is not None and known.crawl.refresh != OFF

    def budgeted(self, crawl_ids: Iterable[int]) -> frozenset[int]:
        """Those of the crawls whose pages are counted exactly."""
        return frozenset(
            c
            for c in crawl_ids
            if (known := self._known.get(c)) is not None and known.crawl.max_pages is not None
        )

    def metered(self, crawl_ids: Iterable[int]) -> frozenset[int]:
        """Those of the crawls whose bytes are limited."""
        return frozenset(
            c
            for c in crawl_ids
            if (known := self._known.get(c)) is not None and known.crawl.max_bytes is not None
        )

    def versions(self, crawl_ids: Iterable[int]) -> dict[int, int]:
        """How many earlier bodies of a page are kept, for those of the crawls that keep any."""
        known = (self._known.get(crawl_id) for crawl_id in crawl_ids)
        return {
            k.crawl.crawl_id: k.crawl.keep_versions for k in known if k is not None and k.crawl.keep_versions
        }

    def forget(self) -> None:
        """A domain was forgotten: what was seen of it may be found anew."""
        for known in self._known.values():
            known.seen.clear()

    def saw(self, links: Iterable[FoundLink]) -> None:
        """Their insertion has been committed."""
        for link in links:
            if (known := self._known.get(link.crawl_id)) is not None:
                known.seen.add(link.url)

    async def adopt(self, crawl_id: int, url: str) -> None:
        """A seed has moved to *url*: it inherits the seedhood, and with it the scope."""
        known = self._known.get(crawl_id)
        if known is None:  # deleted meanwhile
            return
        if await self._crawls.add_keys(crawl_id, [scope_key(known.crawl.scope, url)]):
            await self._read(crawl_id)

    def changed(self) -> None:
        """Somebody says that crawls have changed."""
        self._stale.set()

    async def keep(self) -> None:
        """Read again what has changed, when told and every few seconds, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(5):
                    await self._stale.wait()
            except TimeoutError:
                pass
            self._stale.clear()
            versions = await self._crawls.versions(list(self._known))
            for crawl_id, known in list(self._known.items()):
                if versions.get(crawl_id) != known.crawl.version:
                    await self._read(crawl_id)

    async def _read(self, crawl_id: int) -> None:
        crawl = await self._crawls.by_id(crawl_id)
        if crawl is None:
            self._known.pop(crawl_id, None)
            return
        old = self._known.get(crawl_id)
        keys = KeySet(await self._crawls.keys(crawl_id))
        self._known[crawl_id] = KnownCrawl(
            crawl, Scope.of(crawl, keys), old.seen if old else SeenUrls(), parse_rule(crawl.refresh)
        )
