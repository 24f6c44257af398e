"""What is told of one URL: what is stored of it, by crawl; what decides about it; its attempts; its body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from crawler.adapters.crawls import Crawls
from crawler.adapters.zstd import unpack
from crawler.core.errors import NotKnownError
from crawler.core.headers import masked
from crawler.core.sessions import sessions_in
from crawler.core.urls import canonical_or_error, domain_id, domain_of, origin_of, url_hash
from crawler.dashboard.desk import Desk
from crawler.dashboard.error_facts import attempt
from crawler.dashboard.models import Attempt, CrawlReasons, PageFull, Reason, Version, Why
from crawler.explaining import PARTS, Reasons, reasons
from crawler.naming import concerned, crawl_named
from crawler.phrases import seen
from crawler.stored import earlier, fields_of, nothing_stored, stored_page, version_of

MOST_CRAWLS: Final = 20
"""Crawls of which `why` is told of a URL that none of them knows."""
MOST_ATTEMPTS: Final = 100
HARMLESS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/json": "application/json",
        "application/pdf": "application/pdf",
        "image/gif": "image/gif",
        "image/jpeg": "image/jpeg",
        "image/png": "image/png",
        "image/webp": "image/webp",
        "text/csv": "text/plain; charset=utf-8",
        "text/plain": "text/plain; charset=utf-8",
    }
)
"""As what a stored body is sent; anything else is ``application/octet-stream``. Nothing here can hold a script for our origin."""
OPAQUE: Final = "application/octet-stream"
ENDINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/json": "json",
        "application/pdf": "pdf",
        "application/xhtml+xml": "xhtml",
        "application/xml": "xml",
        "image/gif": "gif",
        "image/jpeg": "jpg",
        "image/png": "png",
        "image/webp": "webp",
        "text/csv": "csv",
        "text/html": "html",
        "text/plain": "txt",
        "text/xml": "xml",
    }
)
"""How the file is called in which a body is saved."""


@dataclass(frozen=True, slots=True)
class Body:
    """A stored body, as it may be sent."""

    data: bytes
    sent_as: str
    file: str
    """A name that is safe everywhere."""


async def pages_of(desk: Desk, url: str) -> list[PageFull]:
    """What each crawl has stored of a URL.

    Raises:
        UrlError: that is no URL.
        NotKnownError: nothing is stored of it; the message says why.
    """
    url = canonical_or_error(url)
    key = domain_id(domain_of(url)), url_hash(url)
    rows = await desk.database.fetch("look_pages", *key)
    if not rows:
        raise await nothing_stored(desk.database, url, key, None, desk.place.option)
    return [_page(row, await earlier(desk.database, row)) for row in rows]


async def why(desk: Desk, url: str, crawl: str | None = None) -> Why:
    """Everything that decides about a URL, in the crawls that know it, or in all.

    Raises:
        UrlError: that is no URL.
        NotKnownError: there is no such crawl, or none at all.
    """
    dropped = sessions_in(url.partition("#")[0])
    url = canonical_or_error(url)
    chosen = await concerned(Crawls(desk.database), url, crawl)
    told = [await reasons(desk.database, desk.settings, url, one) for one in chosen[:MOST_CRAWLS]]
    return Why(
        url=url,
        domain=domain_of(url),
        origin=origin_of(url),
        known=any(one.known.facts["known"] for one in told),
        dropped=list(dropped),
        crawls=[_reasons(one) for one in told],
    )


async def attempts(desk: Desk, url: str) -> list[Attempt]:
    """The attempts on a URL, by every crawl, the youngest first. Raises UrlError: that is no URL."""
    url = canonical_or_error(url)
    async with desk.database.looking() as session:
        rows = await session.fetch("look_attempts", domain_id(domain_of(url)), url_hash(url), MOST_ATTEMPTS)
    return [attempt({**row, "url": url}) for row in rows]


async def body(desk: Desk, url: str, crawl: str | None, version: int = 0) -> Body:
    """The body of a page, as it is or was. *version*: how many changes ago.

    Raises:
        UrlError: that is no URL.
        UsageError: several crawls have it, or no such version is kept.
        NotKnownError: nothing is stored of it, or nothing but its headers.
    """
    url = canonical_or_error(url)
    if crawl is not None:
        await crawl_named(Crawls(desk.database), crawl)
    row = await version_of(desk.database, await stored_page(desk.place, url, crawl), version)
    if row["data"] is None:
        raise NotKnownError(f"no body is kept of {seen(url)}: {row['outcome']} {row['detail']}".rstrip())
    kind = (row["content_type"] or "").partition(";")[0].strip().lower()
    digest = "" if row["digest"] is None else row["digest"].hex()[:16]
    file = f"{_plain(domain_of(url))}-{digest}.{ENDINGS.get(kind, 'bin')}"
    return Body(unpack(row["data"]), HARMLESS.get(kind, OPAQUE), file)


def _plain(name: str) -> str:
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in ".-") else "_" for sign in name)[
        :100
    ]


def _page(row: Any, versions: list[Any]) -> PageFull:
    return PageFull(
        url=row["url"],
        crawl=row["crawl"],
        domain=domain_of(row["url"]),
        outcome=row["outcome"],
        status=row["status"],
        detail=row["detail"],
        title=row["title"],
        content_type=row["content_type"],
        charset=row["charset"],
        language=row["language"],
        length=row["length"],
        first_at=row["first_at"],
        fetched_at=row["fetched_at"],
        changed_at=row["changed_at"],
        redirect_to=row["redirect_to"],
        etag=row["etag"],
        last_modified=row["last_modified"],
        digest=_hex(row["digest"]),
        text_digest=_hex(row["text_digest"]),
        directives=[word for word in row["directives"] if word],
        address=None if row["address"] is None else str(row["address"]),
        protocol=row["protocol"],
        request_headers=_shown(row["request_headers"]),
        headers=_shown(row["headers"]),
        depth=row["depth"],
        fields=fields_of(row),
        has_body=row["has_body"],
        versions=[
            Version(
                version=number,
                seen_until=one["fetched_at"],
                status=one["status"],
                length=one["length"],
                title=one["title"],
                digest=_hex(one["digest"]),
            )
            for number, one in enumerate(versions, 1)
        ],
    )


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _shown(text: str) -> list[tuple[str, str]]:
    """Headers as a browser may see them: what is stored has the cookies of a site, and the command line shows them."""
    return list(masked([(str(name), str(value)) for name, value in json.loads(text)]))


def _reasons(told: Reasons) -> CrawlReasons:
    parts = cast(
        "tuple[Literal['known', 'scope', 'robots', 'domain', 'visits', 'outcome', 'refresh', 'next'], ...]",
        PARTS,
    )
    return CrawlReasons(
        crawl=told.crawl.name,
        state=told.crawl.state.value,
        reasons=[
            Reason(part=part, words=getattr(told, part).words, facts=dict(getattr(told, part).facts))
            for part in parts
        ],
    )
