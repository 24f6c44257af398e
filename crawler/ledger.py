"""What a turn writes down: each visit settled, its links, and in the end what is known of the domain."""

import asyncio
import random
from datetime import UTC, datetime
from typing import Final

from crawler.core.model import FoundLink, Outcome, Settlement, Visit
from crawler.core.sessions import sessions_in
from crawler.core.settlement import settle
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import canonical, domain_id, domain_of, url_hash
from crawler.crawlbook import CrawlBook, KnownCrawl
from crawler.reading import Read
from crawler.recorder import Recorder

MAX_HOPS: Final = 10
"""Redirects in a row."""
SHOWN: Final = 40
"""Characters of a session identifier in a detail."""
AT_ONCE: Final = 250
"""Links that are looked at before others have their turn: the worst that a site can write take some 40 ms."""


class Ledger:
    """Turns what happened in one turn into what the recorder writes."""

    def __init__(self, turn: Turn, crawls: CrawlBook, recorder: Recorder) -> None:
        self._turn = turn
        self._crawls = crawls
        self._recorder = recorder

    async def visited(self, item: TurnUrl, known: KnownCrawl, seen: Read, *, domain_wait: float) -> None:
        """Write down a visit: page, redirect or failure. *domain_wait*: seconds a throttled domain waits."""
        answer = seen.answer
        redirect_url = None
        detail = answer.detail
        links: tuple[FoundLink, ...] = ()
        if seen.page is not None:
            links = await self._follow(item, known, seen.page.links)
        elif answer.outcome is Outcome.REDIRECT:
            redirect_url = canonical(answer.redirect_to or "", item.url)
            if redirect_url == item.url:
                detail = _to_itself(answer.redirect_to or "")
            else:
                links, detail = await self._redirect(item, known, redirect_url)
        settlement = settle(
            answer.outcome,
            status=answer.status,
            attempts=item.attempts,
            jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
            revisit=None,
            detail=detail,
            domain_wait=domain_wait,
        )
        await self._put(item, settlement, seen, links, redirect_url)

    async def unasked(
        self, item: TurnUrl, outcome: Outcome, detail: str, *, ask_robots_in: float | None = None
    ) -> None:
        """Write down why a URL was not asked for."""
        settlement = settle(
            outcome,
            status=None,
            attempts=item.attempts,
            jitter=random.random(),  # noqa: S311 - as above
            revisit=None,
            detail=detail,
            robots_ask_in=ask_robots_in,
        )
        await self._put(item, settlement)

    async def _put(
        self,
        item: TurnUrl,
        settlement: Settlement,
        seen: Read | None = None,
        links: tuple[FoundLink, ...] = (),
        redirect_url: str | None = None,
    ) -> None:
        await self._recorder.put(
            Visit(
                domain_id=self._turn.domain_id,
                crawl_id=item.crawl_id,
                url_hash=item.url_hash,
                url=item.url,
                taken=item.due_at,
                previous=item.outcome,
                depth=item.depth,
                settlement=settlement,
                at=datetime.now(UTC),
                answer=None if seen is None else seen.answer,
                page=None if seen is None else seen.page,
                redirect_url=redirect_url,
                digest=None if seen is None else seen.digest,
                compressed=None if seen is None else seen.compressed,
                links=links,
            )
        )

    async def _follow(self, item: TurnUrl, known: KnownCrawl, urls: tuple[str, ...]) -> tuple[FoundLink, ...]:
        """The links to follow."""
        found: list[FoundLink] = []
        for start in range(0, len(urls), AT_ONCE):
            if start:
                await asyncio.sleep(0)
            some = urls[start : start + AT_ONCE]
            found += known.follow(some, item.depth, (self._turn.domain_id, item.url_hash))
        return tuple(found)

    async def _redirect(
        self, item: TurnUrl, known: KnownCrawl, target: str | None
    ) -> tuple[tuple[FoundLink, ...], str]:
        """The target as a link, or why it is none. A seed passes its seedhood on."""
        if target is None:
            return (), "redirects to what is no URL we can fetch"
        if item.hops >= MAX_HOPS:
            return (), f"more than {MAX_HOPS} redirects in a row: not followed"
        if item.seed:
            await self._crawls.adopt(item.crawl_id, target)
        elif (refusal := known.scope.refusal(target, item.depth)) is not None:
            return (), f"redirects out of scope: {refusal}"
        name = domain_of(target)
        link = FoundLink(
            domain=name,
            domain_id=domain_id(name),
            crawl_id=item.crawl_id,
            url_hash=url_hash(target),
            url=target,
            depth=item.depth,
            hops=item.hops + 1,
            seed=item.seed,
            found_domain_id=self._turn.domain_id,
            found_hash=item.url_hash,
        )
        return (link,), ""


def _to_itself(location: str) -> str:
    """Why a redirect leads nowhere: the site wants something carried along that we do not keep."""
    if session := sessions_in(location):
        return f"redirects to itself with a session identifier ({session[0][:SHOWN]}): it shows its pages only to who keeps one"
    return "redirects to itself: it shows its pages only to who keeps cookies, or never"
