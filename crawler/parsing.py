"""One body in, all we keep of it out: parsed once, hashed once, compressed once.

    Job ──► media type, page facts, links ──► worth storing? ──► digest, zstd ──► Parsed

It is the same work wherever it is done: in the worker for what is small, in a parser process for what is not.
"""

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from crawler.adapters.zstd import pack
from crawler.core.content import may_store
from crawler.core.links import parse_page
from crawler.core.model import Page
from crawler.core.sitemaps import Sitemap, read_sitemap

LARGE: Final = 96 * 1024
"""Bytes from which on a body may take longer than the other turns should wait: the worst of this size that was found takes 45 ms."""
FAST: Final = "turbohtml"
SLOW: Final = "html5lib"
"""The reference parser takes 60 times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A body to be read, and how."""

    body: bytes
    url: str
    """Where it came from, canonical."""
    content_type: str | None
    headers: tuple[tuple[str, str], ...]
    parser: str
    types: frozenset[str] = frozenset()
    """Media types stored besides the usual ones."""
    near_duplicates: bool = True
    """Whether the SimHash of its text is wanted."""

    @property
    def is_heavy(self) -> bool:
        """Whether reading it may take longer than everything else should wait."""
        return len(self.body) >= LARGE or self.parser == SLOW


@dataclass(frozen=True, slots=True)
class Parsed:
    """What is kept of a body."""

    page: Page
    digest: bytes = b""
    """SHA-256 of the body."""
    compressed: bytes | None = None
    """zstd; None: the body is of a type that is not stored."""


def parse(job: Job) -> Parsed:
    """Read a body.

    Raises:
        crawler.core.content.UnreadableError: no parser could make anything of it.
    """
    page = parse_page(
        job.body,
        job.url,
        job.content_type,
        job.headers,
        parser=job.parser,
        clock=time.perf_counter,
        near_duplicates=job.near_duplicates,
    )
    if not may_store(page.media_type, job.types):
        return Parsed(page)
    return Parsed(page, hashlib.sha256(job.body).digest(), pack(job.body))


@dataclass(frozen=True, slots=True)
class SitemapJob:
    """A sitemap or a feed to be read: never here, always in a parser process.

    The names of elements that libxml2 has met it never forgets: 300 hostile sitemaps of 80 kB cost 90 MB.
    """

    body: bytes
    url: str
    """Where it came from, canonical."""
    now: datetime
    """What no page can have changed after."""


@dataclass(frozen=True, slots=True)
class ParsedSitemap:
    """What is kept of a sitemap."""

    sitemap: Sitemap
    digest: bytes
    """SHA-256 of the body."""


def parse_sitemap(job: SitemapJob) -> ParsedSitemap:
    """Read a sitemap."""
    return ParsedSitemap(read_sitemap(job.body, job.url, job.now), hashlib.sha256(job.body).digest())
