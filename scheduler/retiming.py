"""Crawls whose URLs are being given their next visit anew: whoever began that may have died."""

from crawler.adapters.postgres import Database
from crawler.adapters.retiming import Retimings
from crawler.phrases import count


async def go_on(database: Database) -> str:
    """Go on with every crawl that is being retimed, a step of each in turn, and say what was done."""
    retimings, moved = Retimings(database), 0
    crawls = await retimings.under_way()
    left = crawls
    while left:
        steps = {crawl_id: await retimings.step(crawl_id) for crawl_id in left}
        moved += sum(n or 0 for n in steps.values())
        left = [crawl_id for crawl_id, n in steps.items() if n is not None]
    return (
        f"{count(moved, 'URL')} of {count(len(crawls), 'crawl')} moved" if crawls else "nothing to go on with"
    )
