"""One request of a turn, for a page or a sitemap: what is sent with it, and what is read of the answer."""

from collections.abc import Callable

from crawler.adapters.web import Web
from crawler.core.headers import conditional, sent_to
from crawler.core.model import Answer, Past, UrlKind
from crawler.core.sitemap_text import MAX_BYTES
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_of
from crawler.crawlbook import KnownCrawl
from crawler.refusals import types_read
from crawler.room import Claim


async def request(
    web: Web,
    item: TurnUrl,
    known: KnownCrawl,
    past: Past,
    *,
    user_agent: str,
    deadline: Callable[[], float],
    claim: Claim,
) -> Answer:
    """Ask for a URL, on condition that it is another than what is kept of it. The last three are as `Web.get` takes them."""
    own = sent_to(domain_of(item.url), known.crawl.headers, known.crawl.trusted_domains)
    is_page = item.kind == UrlKind.PAGE
    return await web.get(
        item.url,
        user_agent=user_agent,
        headers=(*own, *conditional(past)),
        accept_type=types_read(is_page=is_page, more=frozenset(known.crawl.types)),
        max_body=None if is_page else MAX_BYTES,
        truncate=not is_page,
        deadline=deadline,
        claim=claim,
    )
