"""Which crawl is meant: by its name, or by the URL that it knows."""

from typing import Final

from crawler.adapters.crawls import Crawls
from crawler.core.errors import NotKnownError
from crawler.core.model import Crawl
from crawler.core.urls import domain_id, domain_of, url_hash
from crawler.phrases import seen

MOST_NAMES: Final = 20
"""So many crawls are named to who asks for one that is not there."""


class NothingYetError(NotKnownError):
    """no crawl here yet: begin with `crawl run URL`"""  # noqa: D415 - it follows "crawl: "


class NoSuchCrawlError(NotKnownError):
    """There is no crawl of that name."""

    exit_status = 2


async def crawl_named(crawls: Crawls, name: str) -> Crawl:
    """The crawl of that name.

    Raises:
        NoSuchCrawlError: there is none; the message names those that there are.
        NothingYetError: there is none at all.
    """
    if (crawl := await crawls.by_name(name)) is not None:
        return crawl
    names = [row["name"] for row in await crawls.rows()]
    if not names:
        raise NothingYetError
    more = f" and {len(names) - MOST_NAMES} more (see `crawl list`)" if len(names) > MOST_NAMES else ""
    there = "there is" if len(names) == 1 else "there are"
    raise NoSuchCrawlError(f"there is no crawl {seen(name)}: {there} {', '.join(names[:MOST_NAMES])}{more}")


async def concerned(crawls: Crawls, url: str, name: str | None) -> list[Crawl]:
    """The crawl that is named; or those that know the URL; or, if none does, all.

    Raises:
        NoSuchCrawlError: there is none of that name.
        NothingYetError: there is none at all.
    """
    if name is not None:
        return [await crawl_named(crawls, name)]
    known = await crawls.database.fetch("find_url", domain_id(domain_of(url)), url_hash(url))
    ids = [row["crawl_id"] for row in known] or [row["crawl_id"] for row in await crawls.rows()]
    found = [crawl for crawl_id in ids if (crawl := await crawls.by_id(crawl_id)) is not None]
    if not found:
        raise NothingYetError
    return found
