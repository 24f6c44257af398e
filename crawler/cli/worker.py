"""`crawl worker`: one of many, on any machine."""

import asyncio
import contextlib
import math
from functools import partial
from typing import Any, Final

import click
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.beginning import Beginning
from crawler.cli import DONE
from crawler.cli.options import fetch_options, log_options, metrics_options, queue_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.cli.telling import telling
from crawler.core.errors import UsageError
from crawler.hook_processes import refuse_hooks
from crawler.memory import collect_less
from crawler.monitoring import watched
from crawler.opening import prepare, reached
from crawler.phrases import count
from crawler.processes import at_work
from crawler.queues import reach_queue, refuse_stray
from crawler.settings import Settings, mask
from crawler.telemetry import announce

LOOK: Final = 0.25
"""Seconds between looks at how far the worker is."""
EVERY: Final = 60.0
"""Seconds between lines of progress where there is no terminal."""


@click.command("worker")
@fetch_options
@metrics_options
@log_options
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Fetch what all crawls of a database have to do, until told to stop.

    Start as many as you like, on as many machines: they share the work through the queue, and no domain is ever visited by two at
    once. One that dies is made up for by the others. What is not there yet, database or RabbitMQ, is waited for (CRAWL_START_PATIENCE).
    SIGTERM or Ctrl-C lets the open requests end, gives back the rest and exits
    with 0; a second one cuts them.

    \b
    Example:
      crawl worker --database postgresql://crawl@db/crawl --amqp amqp://crawl:password@mq/crawl
      crawl worker --processes 4 --concurrency 500 --port 9100 --log-format json
    """  # noqa: D301  # \b tells click to keep the lines
    settings = settings_from(ctx).settings
    refuse_unreachable(settings)
    refuse_stray(settings)
    with alerting(settings) as alerts:
        collect_less()
        return uvloop.run(_work(settings, alerts, quiet=given["quiet"]))


def refuse_unreachable(settings: Settings) -> None:
    """A worker on many machines visits more sites than a person can watch: a webmaster must be able to write.

    Raises:
        UsageError: the user agent names no contact.
    """
    named = settings.contact or "@" in settings.user_agent or "://" in settings.user_agent
    if settings.database_url is not None and not named:
        raise UsageError(
            "no webmaster could reach you: set CRAWL_CONTACT to a URL or an e-mail address, which becomes part of the user agent"
        )


async def _work(settings: Settings, alerts: Alerts, *, quiet: bool) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    form = settings.log_format
    heed_signals(stop, hurry, lambda: None)
    await refuse_hooks(settings)
    beginning = Beginning(settings, stop)
    async with (
        reached(settings) as place,
        watched(settings, place.database, quiet=quiet, waits_for=lambda: beginning.waits_for) as told,
    ):
        if not await beginning.made(
            partial(prepare, settings, place.database), partial(reach_queue, settings)
        ):
            return DONE
        await _tell_strangers(place.database, settings)
        with telling("worker", quiet=quiet or form == "json", every=EVERY) as teller:
            heed_signals(stop, hurry, teller.stopping)
            async with at_work(settings, place.dsn, hurry, patience=math.inf, alerts=alerts) as crew:
                told.begun(crew)
                if not quiet:
                    announce(form, _greeting(settings), "worker.started")
                while not stop.is_set():
                    now = crew.progress()
                    if now.away == "database":
                        await place.revive()
                    teller(now, ())
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK):
                            await stop.wait()
            done = crew.progress()
    if not quiet:
        text = f"stopped; {count(done.pages, 'page')} of {count(done.visits, 'visit')} stored"
        announce(form, text, "worker.stopped", pages=done.pages, visits=done.visits)
    return DONE


def _greeting(settings: Settings) -> str:
    carrier = "PostgreSQL" if settings.amqp_url is None else f"RabbitMQ at {mask(settings.amqp_url)}"
    domains = count(settings.domains_at_once, "domain")
    several = f" in each of {settings.processes} processes" if settings.processes > 1 else ""
    return f"visiting up to {domains} at once{several}; turns come from {carrier}"


async def _tell_strangers(database: Database, settings: Settings) -> None:
    """Workers on another queue get none of our turns, and we none of theirs: allowed, and seldom meant."""
    ours = "postgres" if settings.amqp_url is None else "rabbit"
    if others := await database.value("workers_elsewhere", ours):
        queue = "RabbitMQ" if ours == "postgres" else "PostgreSQL"
        what = "name it with --amqp or CRAWL_AMQP_URL" if ours == "postgres" else "give them --amqp too"
        text = f"{count(others, 'other worker')} of this database take turns from {queue}, and this one does not: {what}"
        announce(settings.log_format, text, "queue.doubted", level="warning", workers=others)
