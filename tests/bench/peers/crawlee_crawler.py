"""crawlee at its best on pages without JavaScript: its Parsel crawler, its default HTTP client, its default storage on disk.

    crawlee_crawler.py STORE CONCURRENCY URL... ──► STORE/datasets/default/*.json: url, status, headers, links, body

It runs in the environment of the peers, so it imports nothing of ours, and mypy knows nothing of what it imports.
"""

# mypy: ignore-errors

import sys

import uvloop
from crawlee import ConcurrencySettings
from crawlee.configuration import Configuration
from crawlee.crawlers import ParselCrawler, ParselCrawlingContext


async def crawl(store: str, concurrency: int, urls: list[str]) -> None:
    """To the end."""
    crawler = ParselCrawler(
        configuration=Configuration(storage_dir=store),
        # From the first request on as many as the others: left alone it would begin with a few, and look how busy the machine is.
        concurrency_settings=ConcurrencySettings(
            min_concurrency=concurrency, desired_concurrency=concurrency, max_concurrency=concurrency
        ),
        respect_robots_txt_file=True,
    )

    @crawler.router.default_handler
    async def page(context: ParselCrawlingContext) -> None:
        links = await context.extract_links()
        body = await context.http_response.read()
        await context.push_data(
            {
                "url": context.request.loaded_url,
                "status": context.http_response.status_code,
                "headers": dict(context.http_response.headers),
                "links": [link.url for link in links],
                "body": body.decode("utf-8", "replace"),
            }
        )
        await context.add_requests(links)

    await crawler.run(urls)


if __name__ == "__main__":
    uvloop.run(crawl(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
