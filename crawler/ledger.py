"""What a turn writes down: each visit settled, its links, and in the end what is known of the domain."""

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from crawler.adapters.zstd import pack
from crawler.announcing import Announcer, feeds_of, next_place, told
from crawler.core.model import (
    UNKNOWN,
    Answer,
    FoundLink,
    Outcome,
    Past,
    Settlement,
    SitemapRead,
    UrlKind,
    Visit,
)
from crawler.core.moments import moment
from crawler.core.revisit import DAY, Sight, learned, max_age
from crawler.core.sessions import sessions_in
from crawler.core.settlement import settle
from crawler.core.turns import Turn, TurnUrl
from crawler.core.urls import canonical, domain_id, domain_of, url_hash
from crawler.crawlbook import CrawlBook, KnownCrawl
from crawler.reading import NO_SITEMAP, Read, ReadSitemap
from crawler.recorder import Recorder

MAX_HOPS: Final = 10
"""Redirects in a row."""
SHOWN: Final = 40
"""Characters of a session identifier in a detail."""
OFTEN: Final = DAY
"""Seconds: sitemaps and feeds are taken to change this often until it is known better, for they tell of all the others."""
UNASKED: Final = "304 Not Modified, though nothing is kept of it that could be the same"
SAME: Final = "the same bytes as before"
HTML: Final = f"{NO_SITEMAP}: it is a page of HTML"
"""What the reader says of one; the type that it is sent as says little."""
NO_TARGETS: Final = (0, b"")
"""Of what is no page: links that an earlier visit has left are to go."""
AT_ONCE: Final = 250
"""Links that are looked at before others have their turn: the worst that a site can write take some 40 ms."""


class Ledger:
    """Turns what happened in one turn into what the recorder writes."""

    def __init__(self, turn: Turn, crawls: CrawlBook, recorder: Recorder, announcer: Announcer) -> None:
        self._turn = turn
        self._announcer = announcer
        self._crawls = crawls
        self._recorder = recorder
        self.led_home = False
        """Something that was written down led to the turn's own domain. Whoever looks there sets it back."""

    @property
    def domain_id(self) -> int:
        """Of the turn's domain."""
        return self._turn.domain_id

    async def visited(
        self,
        item: TurnUrl,
        known: KnownCrawl,
        seen: Read,
        *,
        past: Past = UNKNOWN,
        domain_wait: float,
        sitemaps: tuple[FoundLink, ...] = (),
    ) -> None:
        """Write down a visit: page, redirect or failure.

        *past*: what was known of the URL; *domain_wait*: seconds a throttled domain waits; *sitemaps*: to be put on the frontier with it.
        """
        answer = seen.answer
        redirect_url = None
        outcome, detail, changed = compared(seen, past)
        links: tuple[FoundLink, ...] = ()
        targets = NO_TARGETS if known.crawl.keep_links and item.outcome is not None else None
        if seen.page is not None:
            if known.crawl.keep_links and outcome is Outcome.OK:
                targets = len(seen.page.links), pack("".join(f"{url}\n" for url in seen.page.links).encode())
            sitemaps += feeds_of(known, item, (self._turn.domain_id, item.url_hash), seen.page.feeds)
            links = await self._follow(item, known, seen.page.links)
        elif answer.outcome is Outcome.REDIRECT:
            redirect_url = canonical(answer.redirect_to or "", item.url)
            if redirect_url == item.url:
                detail = _to_itself(answer.redirect_to or "")
            else:
                links, detail = await self._redirect(item, known, redirect_url)
        if sitemaps:
            await self._announcer.named(item, sitemaps)
        following = next_visit(known, item, past, answer, changed=changed)
        settlement = _settled(item, outcome, answer.status, detail, following, domain_wait=domain_wait)
        await self._put(
            item,
            settlement,
            seen,
            (*sitemaps, *links),
            redirect_url=redirect_url,
            past=past,
            changed=changed,
            rule=known.rule.text,
            targets=targets,
        )
        told(known, sitemaps)

    async def sitemap(
        self, item: TurnUrl, known: KnownCrawl, seen: ReadSitemap, *, past: Past, domain_wait: float
    ) -> None:
        """Write down a visit to a sitemap; what it names goes to the frontier before that."""
        answer = replace(seen.answer, body=b"")  # it may be 50 MB, and what it names takes a while
        outcome, detail = answer.outcome, answer.detail
        changed = None if past.digest is None else seen.digest not in (None, past.digest)
        links: tuple[FoundLink, ...] = ()
        read: SitemapRead | None = None
        guessed = False
        if seen.sitemap is not None and seen.sitemap.form is not None and changed is not False:
            taken, links = await self._announcer.announce(known, item, self._turn.domain_id, seen.sitemap)
            read = SitemapRead(seen.sitemap.form, seen.sitemap.named, taken, seen.sitemap.detail)
            detail = read.detail
        elif seen.sitemap is not None:
            outcome, detail = Outcome.NOT_MODIFIED, SAME
        elif outcome is Outcome.REDIRECT:
            target = canonical(answer.redirect_to or "", item.url)
            links, detail = await self._redirect(item, known, target)
        elif outcome is not Outcome.NOT_MODIFIED and past.digest is None:
            guessed, links = await self._none(item, known, answer)
        following = next_visit(known, item, replace(past, changefreq=OFTEN), answer, changed=changed)
        settlement = _settled(item, outcome, answer.status, detail, following, domain_wait=domain_wait)
        if guessed and settlement.open:
            settlement = replace(settlement, open=False, due_in=following.seconds, due_at=following.due_at)
        await self._put(
            item,
            settlement,
            Read(answer, digest=seen.digest),
            links,
            past=past,
            changed=changed,
            rule=known.rule.text,
            sitemap=read,
        )
        told(known, links)

    async def _none(
        self, item: TurnUrl, known: KnownCrawl, answer: Answer
    ) -> tuple[bool, tuple[FoundLink, ...]]:
        """There was no sitemap: whether we had only guessed its name, so that nobody waits for it; and where else one may lie.

        A page of HTML is visited as a page, which makes the settling of this visit void.
        """
        if answer.outcome is Outcome.TYPE_REFUSED and answer.detail == HTML:
            await self._announcer.is_page(known, item, self._turn.domain)
        if answer.outcome is Outcome.THROTTLED or await self._announcer.is_named(item):
            return False, ()
        found = self._turn.domain_id, item.url_hash
        return True, next_place(known, item, found) if answer.status is not None else ()

    async def unasked(
        self, item: TurnUrl, outcome: Outcome, detail: str, *, ask_robots_in: float | None = None
    ) -> None:
        """Write down why a URL was not asked for."""
        settlement = settle(
            outcome,
            status=None,
            attempts=item.attempts,
            jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
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
        *,
        redirect_url: str | None = None,
        past: Past = UNKNOWN,
        changed: bool | None = None,
        sitemap: SitemapRead | None = None,
        rule: str | None = None,
        targets: tuple[int, bytes] | None = None,
    ) -> None:
        same = settlement.outcome is Outcome.NOT_MODIFIED
        home = self._turn.domain_id
        self.led_home = self.led_home or any(link.domain_id == home for link in links)
        answer, size = (None, 0) if seen is None else (replace(seen.answer, body=b""), len(seen.answer.body))
        await self._recorder.put(
            Visit(
                domain_id=home,
                crawl_id=item.crawl_id,
                url_hash=item.url_hash,
                url=item.url,
                taken=item.due_at,
                previous=item.outcome,
                depth=item.depth,
                settlement=settlement,
                at=datetime.now(UTC),
                answer=answer,
                page=None if seen is None else seen.page,
                redirect_url=redirect_url,
                digest=None if seen is None else seen.digest,
                compressed=None if seen is None or same else seen.compressed,
                links=links,
                kind=UrlKind(item.kind),
                past=past,
                changed=changed,
                sitemap=sitemap,
                rule=rule,
                size=size,
                fields=None if seen is None else seen.fields,
                targets=targets,
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
        elif item.kind == UrlKind.PAGE and (refusal := known.scope.refusal(target, item.depth)) is not None:
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
            kind=UrlKind(item.kind),
        )
        return (link,), ""


def compared(seen: Read, past: Past) -> tuple[Outcome, str, bool | None]:
    """What came, measured by what was known: the outcome, its detail, and whether the page says something else.

    304 and the same bytes are no change; nor is a text that differs in nothing but its times (`Page.text_digest`), which is stored.
    None: nothing was known, or what came says nothing of it.
    """
    answer = seen.answer
    if answer.outcome is Outcome.NOT_MODIFIED:
        if past.digest is None:
            return Outcome.HTTP_ERROR, UNASKED, None
        return answer.outcome, answer.detail, False
    if answer.outcome is not Outcome.OK or past.digest is None:
        return answer.outcome, answer.detail, None
    if seen.digest == past.digest:
        return Outcome.NOT_MODIFIED, SAME, False
    text = None if seen.page is None else seen.page.text_digest
    return Outcome.OK, answer.detail, text is None or text != past.text_digest


@dataclass(frozen=True, slots=True)
class NextVisit:
    """When the crawl's rule wants a URL again."""

    seconds: float | None
    """From now; None: never by the clock."""
    due_at: datetime | None
    """The time of a cron expression that is meant: it stays that time, however wrong our clock is."""
    period: float
    """Seconds between the page's changes, as now estimated: learned under every rule, so that `adaptive` begins with it."""


def next_visit(
    known: KnownCrawl, item: TurnUrl, past: Past, answer: Answer, *, changed: bool | None
) -> NextVisit:
    """The next visit by the crawl's rule. What is not well counts as unchanged."""
    now, served = datetime.now(UTC), moment(item.due_at)
    well = answer.outcome in (Outcome.OK, Outcome.NOT_MODIFIED)
    sight = Sight(
        changed=changed if well else False,
        elapsed=None if past.fetched_at is None else (now - past.fetched_at).total_seconds(),
        period=past.period,
        max_age=max_age(answer.headers, now),
        changefreq=past.changefreq,
    )
    return NextVisit(
        known.rule.next_visit(sight, now, served), known.rule.next_time(max(now, served)), learned(sight)
    )


def _settled(
    item: TurnUrl,
    outcome: Outcome,
    status: int | None,
    detail: str,
    following: NextVisit,
    *,
    domain_wait: float,
) -> Settlement:
    """What a visit means for its URL, by the crawl's rule."""
    return settle(
        outcome,
        status=status,
        attempts=item.attempts,
        jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
        revisit=following.seconds,
        period=following.period,
        due_at=following.due_at,
        detail=detail,
        domain_wait=domain_wait,
    )


def _to_itself(location: str) -> str:
    """Why a redirect leads nowhere: the site wants something carried along that we do not keep."""
    if session := sessions_in(location):
        return f"redirects to itself with a session identifier ({session[0][:SHOWN]}): it shows its pages only to who keeps one"
    return "redirects to itself: it shows its pages only to who keeps cookies, or never"
