"""Scrapy at its best on a web of many sites: its guide to broad crawls, its own link extractor, everything into a feed of JSON lines.

    scrapy_spider.py STORE CONCURRENCY PER_DOMAIN URL... ──► STORE/pages.jsonl: url, status, headers, links, body

It runs in the environment of the peers, so it imports nothing of ours, and mypy knows nothing of what it imports.
"""

# mypy: ignore-errors

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.http import HtmlResponse, Response
from scrapy.linkextractors import LinkExtractor


class Pages(Spider):
    """Stores every page of HTML, and follows every link that stays on the sites."""

    name = "pages"

    def __init__(self, urls: list[str], **given: Any) -> None:
        super().__init__(**given)
        self.start_urls = urls
        self.allowed_domains = [urlsplit(url).hostname for url in urls]
        # The extractor compares the whole authority, the port included.
        self.extractor = LinkExtractor(allow_domains=[urlsplit(url).netloc for url in urls])

    def parse(self, response: Response) -> Iterator[Any]:
        """One page."""
        if not isinstance(response, HtmlResponse):
            return
        links = [link.url for link in self.extractor.extract_links(response)]
        yield {
            "url": response.url,
            "status": response.status,
            "headers": dict(response.headers.to_unicode_dict()),
            "links": links,
            "body": response.text,
        }
        for link in links:
            yield Request(link)


def main() -> None:
    """Crawl to the end."""
    store, concurrency, per_domain, *urls = sys.argv[1:]
    process = CrawlerProcess(
        {
            # As the guide to broad crawls has them.
            "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.DownloaderAwarePriorityQueue",
            "CONCURRENT_REQUESTS": int(concurrency),
            "REACTOR_THREADPOOL_MAXSIZE": 20,
            "LOG_LEVEL": "INFO",
            "COOKIES_ENABLED": False,
            "RETRY_ENABLED": False,
            # The guide would also have redirects off; then pages behind them would be missing.
            # What all crawlers of this bench have in common.
            "CONCURRENT_REQUESTS_PER_DOMAIN": int(per_domain),
            "DOWNLOAD_DELAY": 0,
            "ROBOTSTXT_OBEY": True,
            "ASYNCIO_EVENT_LOOP": "uvloop.Loop",
            "TELNETCONSOLE_ENABLED": False,
            "FEEDS": {f"{store}/pages.jsonl": {"format": "jsonlines"}},
        }
    )
    process.crawl(Pages, urls=urls)
    process.start()


if __name__ == "__main__":
    main()
