"""`crawl refresh --all`: make everything due that a crawl has visited, and see to it where nobody else does."""

import asyncio
import contextlib
import json
from datetime import datetime
from typing import Final

import click

from crawler.adapters.crawls import Crawls, Limits, Wish
from crawler.adapters.postgres import Database
from crawler.adapters.retiming import Retimings
from crawler.alerts import alerting
from crawler.cli import FAILED, INTERRUPTED
from crawler.cli.looking import print_json, run
from crawler.cli.stopping import heed_signals
from crawler.cli.summary import as_dict, as_text
from crawler.cli.telling import telling
from crawler.core.errors import StateError
from crawler.core.model import Crawl
from crawler.crawling import crawl
from crawler.hook_processes import refuse_hooks
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count, seen, span
from crawler.presence import Presence
from crawler.settings import Settings
from crawler.steering import refuse_stopped

LOOK: Final = 1.0
"""Seconds between looks whether all is done."""


def refresh_all(settings: Settings, name: str, wait: float | None, *, as_json: bool) -> int:
    """Make all of the crawl due: the exit status. *wait*: seconds; None: not, or until all is done where nobody else works."""
    return run(_refresh_all(settings, name, wait, as_json=as_json))


async def _refresh_all(settings: Settings, name: str, wait: float | None, *, as_json: bool) -> int:
    await refuse_hooks(settings)
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        crawls = Crawls(place.database)
        found = await crawl_named(crawls, name)
        await refuse_stopped(place, name)
        if await _alone(settings, place.database) and wait != 0:
            return await _crawl(settings, place, found, wait, as_json=as_json)
        if found.is_left:
            await crawls.resume(found.crawl_id)
        urls = await _all_due(place.database, found)
        since: datetime = await place.database.value("clock")
        done = bool(wait) and await _done(crawls, settings, found.crawl_id, since, wait or 0.0)
        at_work = await place.database.value("workers_slots")
    words = _words(found, urls, at_work=bool(at_work), embedded=settings.database_url is None)
    if as_json:
        print_json({"crawl": found.name, "urls": urls, "done": done})
    else:
        click.echo(f"{words}; all of it is done" if done else words)
    if wait and not done:
        click.echo(f"crawl: not all was done within {span(wait)}; the rest goes on", err=True)
    return FAILED if wait and not done else 0


def _words(found: Crawl, urls: int, *, at_work: bool, embedded: bool) -> str:
    due = f"{count(urls, 'URL')} of crawl {seen(found.name)} {'is' if urls == 1 else 'are'} due now"
    if at_work:
        return f"{due}; those at work visit them, with every pause"
    again = "the same command without --wait 0, or `crawl run`," if embedded else "`crawl worker`"
    return f"{due}; nobody is at work: {again} visits them"


async def _alone(settings: Settings, database: Database) -> bool:
    """Whether the database is the embedded one and nobody is at work."""
    if settings.database_url is not None:
        return False
    presence = Presence(database, slots=0, queue="postgres", same_machine=True)
    await presence.sign_in()  # whoever is certainly dead is not at work
    await presence.sign_out()
    return not await database.value("workers_slots")


async def _all_due(database: Database, found: Crawl) -> int:
    """Make due what the crawl has visited, or go on with what is left of the time before: how many URLs are due."""
    retimings = Retimings(database)
    left = await retimings.all_now(found.crawl_id)
    if left is None:
        raise StateError(f"the crawl {seen(found.name)} was stopped meanwhile")
    return left + await retimings.go_on(found.crawl_id)


async def _done(crawls: Crawls, settings: Settings, crawl_id: int, since: datetime, wait: float) -> bool:
    """Wait until nothing is left that was due then; False: not in that time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait):
            while await crawls.busy(crawl_id, settings.run_patience, since):  # noqa: ASYNC110 - of other programs
                await asyncio.sleep(LOOK)
            return True
    return False


async def _crawl(
    settings: Settings, place: Opened, found: Crawl, wait: float | None, *, as_json: bool
) -> int:
    """Make it due and crawl until that is done, as `crawl run` does; *wait*: at most so long."""
    stop, hurry, time_is_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
    urls = 0

    async def all_due(_crawl_id: int) -> None:
        nonlocal urls
        urls = await _all_due(place.database, found)
        if not as_json:
            click.echo(f"crawl: {count(urls, 'URL')} of crawl {seen(found.name)} due now", err=True)

    def enough() -> None:
        time_is_up.set()
        stop.set()

    if wait is not None:
        asyncio.get_running_loop().call_later(wait, enough)
    wish = Wish(found.name, found.scope, found.include, found.exclude, Limits.of(found))
    with (
        alerting(settings, crawl=found.name) as alerts,
        telling(f"refreshing {found.name}", quiet=as_json) as teller,
    ):
        heed_signals(stop, hurry, teller.stopping)
        summary = await crawl(
            settings, place, wish, (), stop=stop, hurry=hurry, tell=teller, alerts=alerts, prepare=all_due
        )
    interrupted = summary.interrupted and not time_is_up.is_set()
    if as_json:
        click.echo(
            json.dumps(as_dict(summary, place.place) | {"refreshed": urls, "time_is_up": time_is_up.is_set()})
        )
    else:
        click.echo(as_text(summary, place.place, place.option))
    if interrupted:
        return INTERRUPTED
    return FAILED if time_is_up.is_set() else 0
