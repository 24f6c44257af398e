"""Domains: those to look at, and one in full."""

from datetime import datetime

from crawler.dashboard.models.answers import Attempt, Told


class DomainLine(Told):
    """A domain in a list."""

    domain: str
    fetches: int
    failed: int
    ms: float
    """Mean of an attempt."""
    urls: int
    """URLs that are due, for their first visit or another; about, where ``DomainTops.exact`` is false."""
    blocked: str | None
    waits_for: str | None
    ready_at: datetime | None


class DomainTops(Told):
    """The domains to look at."""

    slowest: list[DomainLine]
    failing: list[DomainLine]
    queued: list[DomainLine]
    seconds: float
    """The attempts of so many seconds were looked at, for the first two."""
    exact: bool
    """Whether the third was counted; otherwise it was estimated from a sample."""


class RobotsRules(Told):
    """The robots.txt of an origin."""

    origin: str
    status: int | None
    fetched_at: datetime | None
    expires_at: datetime | None
    good_at: datetime | None
    failures: int
    detail: str
    body: str | None
    """The last good copy, as text."""
    sitemaps: list[str]


class DomainCrawl(Told):
    """A crawl's share of a domain."""

    crawl: str
    state: str
    urls: int
    """At most 10,000 are counted."""
    pages: int
    """Stored."""
    waiting: int
    """URLs without an outcome, among the 10,000 that are due first."""


class DomainFull(Told):
    """One domain."""

    domain: str
    blocked: str | None
    delay: float
    """Seconds, as last known."""
    delay_by_hand: float | None
    per_domain_by_hand: int | None
    waits_for: str | None
    ready_at: datetime | None
    next_at: datetime | None
    """null: nothing of it is due; or it is being visited: then ``holder`` is a worker."""
    holder: str | None
    failures: int
    throttled: int
    visited_at: datetime | None
    address: str | None
    forgotten_at: datetime | None
    crawls: list[DomainCrawl]
    robots: list[RobotsRules]
    errors: list[Attempt]
    """The last twenty that went wrong."""
    errors_since: datetime | None = None
    """Before that was not looked for more, for the domain has too many attempts; null: there are no more than these, or twenty."""
