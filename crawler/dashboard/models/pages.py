"""Pages, and what decides about them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from crawler.dashboard.models.answers import Told


class PageShort(Told):
    """A page in a list."""

    url: str
    crawl: str
    domain: str
    outcome: str | None
    """null: not visited yet."""
    status: int | None
    title: str | None
    content_type: str | None
    length: int | None
    fetched_at: datetime | None
    due_at: datetime | None
    depth: int
    detail: str


class PageList(Told):
    """What was found."""

    pages: list[PageShort]
    next: str | None
    """What to give as ``after`` for more; null: that was all."""


class Version(Told):
    """What a page said before."""

    version: int
    seen_until: datetime
    status: int | None
    length: int | None
    title: str | None
    digest: str | None


class PageFull(Told):
    """All that is stored of a URL in a crawl, but for its body."""

    url: str
    crawl: str
    domain: str
    outcome: str
    status: int | None
    detail: str
    title: str | None
    content_type: str | None
    charset: str | None
    language: str | None
    length: int | None
    first_at: datetime | None
    fetched_at: datetime
    changed_at: datetime | None
    redirect_to: str | None
    etag: str | None
    last_modified: str | None
    digest: str | None
    text_digest: str | None
    directives: list[str]
    address: str | None
    protocol: str | None
    request_headers: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    depth: int
    fields: dict[str, Any]
    has_body: bool
    versions: list[Version]


class Reason(Told):
    """One of the things that decide about a URL."""

    part: Literal["known", "scope", "robots", "domain", "visits", "outcome", "refresh", "next"]
    words: str
    facts: dict[str, Any]


class CrawlReasons(Told):
    """What one crawl makes of a URL."""

    crawl: str
    state: str
    reasons: list[Reason]


class Why(Told):
    """Everything that decides about a URL."""

    url: str
    domain: str
    origin: str
    known: bool
    dropped: list[str]
    """Session identifiers that were taken out of it."""
    crawls: list[CrawlReasons]


class Refreshed(Told):
    """What came of one URL that was to be visited now."""

    url: str
    crawl: str | None
    done: bool
    words: str
    facts: dict[str, Any] = Field(default_factory=dict)


class RefreshAnswer(Told):
    """What came of a refresh, so far."""

    handle: str
    """``GET /api/refresh/{handle}`` tells more."""
    done: bool
    urls: list[Refreshed]
