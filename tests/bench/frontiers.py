"""Frontiers of any size, made in minutes: every row as seeding would have written it, by COPY.

    Plan ──fill──► crawls, scope_keys, domains, urls, crawl_counts (origins) ──vacuum, analyze, checkpoint──► as after a quiet night

The rows lie in the order in which they were found, which is none: neither that of the keys nor that of the moments they are due.
"""

import asyncio
import multiprocessing
import random
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from crawler.adapters.crawls import Crawls, Limits, Wish
from crawler.adapters.migrations import migrate
from crawler.adapters.partitions import make_partitions
from crawler.adapters.postgres import Database
from crawler.core.model import ScopeKind
from crawler.core.urls import domain_id, url_hash
from tests.bench.measuring import BenchError, note
from tests.bench.web import name_of, url_of

CRAWL: Final = "bench"
BATCH: Final = 20_000
"""URLs of one COPY."""
FILLED: Final = ("crawls", "crawl_counts", "scope_keys", "domains", "urls")
FILLERS: Final = 2
SPREAD: Final = 86400.0
"""Seconds over which the moments lie at which the domains became due."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A frontier: all of it due, so that a worker finds work for as long as there is any."""

    domains: int
    each: int
    """URLs of a domain."""
    port: int
    """Of the web that answers for them."""
    delay: float
    """The pause that the domains were given last, in seconds."""
    robots_known: bool
    """Whether each domain's robots.txt was asked for lately (it has none)."""

    @property
    def urls(self) -> int:
        """How many there are in all."""
        return self.domains * self.each


async def fill(dsn: str, plan: Plan) -> int:
    """Migrate an empty database and put the frontier there: the number of its crawl."""
    began = time.monotonic()
    async with await Database.open(dsn) as database:
        await migrate(database)
        await make_partitions(database, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        wish = Wish(CRAWL, ScopeKind.DOMAIN, limits=Limits(delay=plan.delay, max_pages_per_domain=10_000))
        crawl, _ = await Crawls(database).create_or_change(wish)
    step = max(1, min(BATCH // plan.each, -(-plan.domains // FILLERS)))
    parts = [(start, min(start + step, plan.domains)) for start in range(0, plan.domains, step)]
    context = multiprocessing.get_context("spawn")
    fillers = [
        context.Process(target=_fill_parts, args=(dsn, crawl.crawl_id, plan, parts[n::FILLERS]), daemon=True)
        for n in range(FILLERS)
    ]
    try:
        for filler in fillers:
            filler.start()
        for filler in fillers:
            await asyncio.to_thread(filler.join)
            if filler.exitcode:
                raise BenchError("the frontier could not be filled: see above")
    finally:
        for filler in fillers:
            filler.kill()
    await _settle_down(dsn, crawl.crawl_id, plan)
    took = time.monotonic() - began
    note(f"filled {plan.urls:,} URLs of {plan.domains:,} domains in {took:.0f} s")
    return crawl.crawl_id


def _fill_parts(dsn: str, crawl_id: int, plan: Plan, parts: list[tuple[int, int]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for our parent, who ends us
    asyncio.run(_copy_parts(dsn, crawl_id, plan, parts))


async def _copy_parts(dsn: str, crawl_id: int, plan: Plan, parts: list[tuple[int, int]]) -> None:
    connection = await asyncpg.connect(dsn, server_settings={"synchronous_commit": "off"})
    try:
        for start, end in parts:
            await _copy(connection, crawl_id, plan, range(start, end))
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection, crawl_id: int, plan: Plan, numbers: range) -> None:
    dice = random.Random(numbers.start)
    now = datetime.now(UTC)
    pause = timedelta(seconds=plan.delay)
    domains, urls, origins, keys = [], [], [], []
    for number in numbers:
        name = name_of(number, plan.domains, plan.each)
        key = domain_id(name)
        due_at = now - timedelta(seconds=60 + dice.random() * SPREAD)
        domains.append((key, name, due_at, crawl_id, pause))
        keys.append((crawl_id, key))
        if plan.robots_known:
            origin = f"http://{name}:{plan.port}"
            origins.append((key, origin, 404, b"", now, now, now + timedelta(hours=24), "answered 404"))
        for page in range(plan.each):
            url = url_of(number, plan.domains, plan.each, plan.port, page)
            urls.append((key, crawl_id, url_hash(url), url, due_at + timedelta(microseconds=page), 1))
    await connection.copy_records_to_table("scope_keys", records=keys, columns=("crawl_id", "scope_key"))
    await connection.copy_records_to_table(
        "urls", records=urls, columns=("domain_id", "crawl_id", "url_hash", "url", "due_at", "depth")
    )
    await connection.copy_records_to_table(
        "origins",
        records=origins,
        columns=("domain_id", "origin", "status", "body", "good_at", "fetched_at", "expires_at", "detail"),
    )
    await connection.copy_records_to_table(
        "domains", records=domains, columns=("domain_id", "name", "due_at", "due_for", "delay")
    )


async def _settle_down(dsn: str, crawl_id: int, plan: Plan) -> None:
    """What autovacuum and the checkpointer would have done by and by: else they would do it while we measure."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "insert into crawl_counts (crawl_id, slot, outcome, urls) values ($1, 0, '', $2)",
            crawl_id,
            plan.urls,
        )
        if plan.robots_known:
            await connection.execute("vacuum (analyze) origins")
        for table in FILLED:  # not what is empty: autovacuum leaves that alone too
            await connection.execute(f"vacuum (analyze) {table}")
        try:
            await connection.execute("checkpoint")
        except asyncpg.InsufficientPrivilegeError:
            note("no checkpoint: this user of the database may not ask for one")
    finally:
        await connection.close()
