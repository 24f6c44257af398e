"""A crawl of the demo's web, with what it needs to be judged.

served ──► embedded PostgreSQL in a folder ──► crawl ──► every URL is read ──► not served any more ──► Witness
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.adapters.crawls import Limits, Wish
from crawler.core.addresses import parse_networks
from crawler.core.model import ScopeKind
from crawler.core.urls import domain_of
from crawler.crawling import Summary, crawl
from crawler.demo.language import MIB
from crawler.demo.promises import Found, Witness
from crawler.demo.server import Web
from crawler.demo.webs import SEEDS, expected
from crawler.opening import opened
from crawler.progress import Progress, waits_for
from crawler.settings import Settings

NAME: Final = "demo"
BUDGET: Final = 20
"""Pages of one domain."""
DELAY: Final = 0.5
"""Seconds."""
MAX_BODY: Final = MIB
PATIENCE: Final = 5.0
"""Seconds that a silent server, and a retry, are waited for."""

_URLS: Final = """
select json_agg(row_to_json(one)) from (
  select u.url, u.outcome, u.detail, p.title, p.charset, p.redirect_to, coalesce(p.directives, '{}') as directives,
    host(p.address) as address,
    (select count(*) from fetches f where f.domain_id = u.domain_id and f.url_hash = u.url_hash and f.crawl_id = u.crawl_id) as fetches,
    (select coalesce(sum(f.bytes), 0) from fetches f
     where f.domain_id = u.domain_id and f.url_hash = u.url_hash and f.crawl_id = u.crawl_id) as bytes
  from urls u left join pages p on p.domain_id = u.domain_id and p.crawl_id = u.crawl_id and p.url_hash = u.url_hash
  where u.crawl_id = $1) one
"""
"""All that is known of every URL of a crawl, as one JSON text: a few hundred rows."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How far it has come."""

    seconds: float
    requests: int
    domains: int
    """That were asked for something so far."""
    pages: int
    waits_for: str
    """What holds it up, in a few words."""


def settings_for(web: Web, data: Path, postgres_bin: Path | None) -> Settings:
    """The crawler's settings: as they are, but for what keeps it on this machine and makes it quick."""
    return Settings(
        data=data,
        postgres_bin=postgres_bin,
        dns_servers=(web.names.where,),
        hosts_file=None,
        allow_nets=parse_networks(["127.0.0.0/8"]),
        delay=DELAY,
        max_body=MAX_BODY,
        dns_timeout=PATIENCE,
        first_byte_timeout=PATIENCE,
        run_patience=PATIENCE,
        max_pages_per_domain=BUDGET,
        processes=2,
    )


async def crawled(
    web: Web, data: Path, *, postgres_bin: Path | None, stop: asyncio.Event, tell: Callable[[Moment], None]
) -> tuple[Summary, dict[str, Found]]:
    """Crawl the web that is served into a database in *data*: how it ended, and what is known of every URL. *stop* cuts it off."""
    settings = settings_for(web, data, postgres_bin)
    wish = Wish(NAME, ScopeKind.ANY, limits=Limits(max_pages_per_domain=settings.max_pages_per_domain))
    urls = [web.url(host) for host in SEEDS]
    async with opened(settings) as place:
        began = time.monotonic()

        def told(progress: Progress, _waiting: object) -> None:
            log = web.log[:]
            domains = {domain_of(f"http://{one.host}/") for one in log}
            tell(
                Moment(time.monotonic() - began, len(log), len(domains), progress.pages, waits_for(progress))
            )

        summary = await crawl(settings, place, wish, urls, stop=stop, hurry=stop, tell=told)
        told_urls = await place.database.ask(_URLS, summary.crawl.crawl_id)
    return summary, {row["url"]: Found(**row) for row in json.loads(told_urls or "[]")}


def witness(web: Web, found: Mapping[str, Found]) -> Witness:
    """What was seen, once nothing is served any more: then the log is whole."""
    return Witness(
        log=tuple(web.log),
        found=found,
        expected=expected(web.sites),
        port=web.port,
        delay=DELAY,
        max_body=MAX_BODY,
        budget=BUDGET,
        trap_port=web.trap_port,
        trapped=web.trapped,
    )
