"""What is stored of a URL: the page of a crawl, now and before; and why there is none."""

import json
import shlex
from typing import Any

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.core.errors import NotKnownError, UsageError
from crawler.core.model import UrlKind
from crawler.core.urls import domain_id, domain_of, url_hash
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened
from crawler.phrases import seen


async def stored_page(place: Opened, url: str, crawl: str | None) -> Any:
    """The stored page: a row of show_page. Raises UsageError if several crawls have one, NotKnownError if none has."""
    database, key = place.database, (domain_id(domain_of(url)), url_hash(url))
    if crawl is not None:
        await crawl_named(Crawls(database), crawl)
    rows = [row for row in await database.fetch("show_page", *key) if crawl in (None, row["crawl"])]
    if len(rows) > 1:
        names = " or ".join(f"--crawl {row['crawl']}" for row in rows)
        raise UsageError(f"several crawls know {url}: say which with {names}")
    if rows:
        return rows[0]
    raise await nothing_stored(database, url, key, crawl, place.option)


async def earlier(database: Database, page: Any) -> list[Any]:
    """What is known of the page's earlier versions, the newest first: rows of page_versions."""
    return await database.fetch("page_versions", page["domain_id"], page["crawl_id"], page["url_hash"])


async def version_of(database: Database, page: Any, number: int) -> Any:
    """The page as it was so many changes ago: a row as the page's own.

    Raises:
        UsageError: no such version is kept.
    """
    if not number:
        return page
    key = page["domain_id"], page["crawl_id"], page["url_hash"]
    found = await database.row("show_version", *key, number)
    if found is not None:
        return found
    kept = len(await earlier(database, page))
    if not kept:
        raise UsageError(f"no earlier version is kept of {page['url']}: {how_to_keep(page['crawl'])}")
    numbers = "only version 1 is" if kept == 1 else f"only versions 1 to {kept} are"
    raise UsageError(f"there is no version {number} of {page['url']}: {numbers} kept")


def how_to_keep(crawl: str) -> str:
    """What to do for versions to be kept from now on."""
    return f"`crawl set {shlex.quote(crawl)} keep-versions=3` keeps three from now on"


async def nothing_stored(
    database: Database, url: str, key: tuple[int, bytes], crawl: str | None, option: str
) -> NotKnownError:
    """Why nothing is stored of the URL, and what to do, as what is to be raised. *key*: its domain's and its own."""
    known = [row for row in await database.fetch("find_url", *key) if crawl in (None, row["crawl"])]
    if not known:
        if not await Crawls(database).rows():
            return NothingYetError()
        by = f"crawl {crawl}" if crawl else "any crawl"
        return NotKnownError(
            f"{url} is not known to {by}: `crawl why {shlex.quote(url)}{option}` tells what would happen"
        )
    if known[0]["kind"] == UrlKind.SITEMAP:
        return NotKnownError(
            f"{url} is a sitemap or a feed, of which no page is stored: `crawl why {shlex.quote(url)}{option}` tells what was read"
        )
    reason = known[0]["outcome"] or "not visited yet"
    detail = f" ({seen(known[0]['detail'])})" if known[0]["detail"] else ""
    return NotKnownError(
        f"nothing is stored of {url}: {reason}{detail}; `crawl why {shlex.quote(url)}{option}` tells more"
    )


def fields_of(row: Any) -> dict[str, Any]:
    """What hooks said of the page: of a row of show_page or look_pages. Of earlier versions it is not kept."""
    text = row.get("fields")
    return {} if text is None else dict(json.loads(text))


def field_text(value: object) -> str:
    """A field as a person reads it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def version_facts(row: Any, number: int) -> dict[str, Any]:
    """A version for a program. *row*: of show_page, show_version or page_versions."""
    return {
        "version": number,
        "seen_until": row["fetched_at"].isoformat(),
        **{name: row[name] for name in ("status", "content_type", "charset", "title", "language", "length")},
        **{name: None if row[name] is None else row[name].hex() for name in ("digest", "text_digest")},
    }
