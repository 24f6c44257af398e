"""Crawls, and what they wait for."""

from datetime import datetime
from typing import Literal

from crawler.dashboard.models.answers import Rate, Told
from crawler.dashboard.models.domains import DomainLine


class CrawlShort(Told):
    """A crawl in a list."""

    name: str
    state: Literal["running", "paused", "finished", "cancelled", "left", "deleting"]
    scope: str
    created_at: datetime
    finished_at: datetime | None
    finished_why: str | None
    urls: int
    pages: int
    """Stored."""
    waiting: int
    """URLs without an outcome."""
    requests: int
    bytes: int
    outcomes: dict[str, int]
    """URLs by outcome; the empty name: not visited yet."""
    refresh: str
    """The rule, as ``crawl set NAME refresh=`` takes it."""
    limits: dict[str, str]
    """What is set of it, by the keys of ``crawl set``; secrets are masked."""


class WaitingDomain(Told):
    """Something that a crawl waits for."""

    domain: str
    urls: int
    next_at: datetime | None
    """null: never, for the domain is blocked; or now, for it is being visited."""
    why: str


class CrawlFull(Told):
    """One crawl, in full."""

    crawl: CrawlShort
    rate: Rate
    seeds: list[str]
    """The first twenty."""
    include: list[str]
    exclude: list[str]
    slowest: list[DomainLine]
    failing: list[DomainLine]
    waiting: list[WaitingDomain]
