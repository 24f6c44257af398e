"""`crawl scheduler`: the clock of many machines."""

import asyncio
from functools import partial
from typing import Final

import click
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.beginning import Beginning
from crawler.cli import DONE
from crawler.cli.options import log_options, metrics_options, queue_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.monitoring import surveyed
from crawler.opening import prepare, reached
from crawler.queues import opened_queue, refuse_stray
from crawler.settings import Settings
from crawler.telemetry import announce
from scheduler.timetable import Timetable

POOL: Final = 6
"""Connections to the database: dispatch must not wait for three jobs that count or clean up."""


@click.command("scheduler")
@metrics_options
@log_options
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but warnings.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, *, quiet: bool, **_named: object) -> int:
    """Hand out what comes due by the clock, and keep the tables in shape, until told to stop.

    Workers hand out what they find themselves; a scheduler sees to what waits while they are busy or away: pauses that end, retries,
    turns that were lost. Any number may run: one of them leads and does for all what is done once, such as dropping old records; when it
    dies, another does within seconds. See `crawl schedule`.

    \b
    Example:
      crawl scheduler --database postgresql://crawl@db/crawl --amqp amqp://crawl:password@mq/crawl
    """  # noqa: D301  # \b tells click to keep the lines
    settings = settings_from(ctx).settings
    refuse_stray(settings)
    with alerting(settings) as alerts:
        return uvloop.run(_run(settings, alerts, quiet=quiet))


async def _run(settings: Settings, alerts: Alerts, *, quiet: bool) -> int:
    stop = asyncio.Event()

    def stopping() -> None:
        if not quiet:
            announce(settings.log_format, "stopping when the jobs under way have ended", "scheduler.stopped")

    heed_signals(stop, asyncio.Event(), lambda: None)
    beginning = Beginning(settings, stop)
    async with (
        reached(settings) as place,
        await Database.open(place.dsn, size=POOL, lookups=True) as database,
        opened_queue(settings, database) as queue,
    ):
        timetable = Timetable(settings, database, queue, alerts)
        async with surveyed(
            settings, place.database, queue, timetable, quiet=quiet, waits_for=lambda: beginning.waits_for
        ):
            # A wrong name is told now; later the broker may go away and come back.
            if not await beginning.made(partial(prepare, settings, place.database), queue.depth):
                return DONE
            alerts.at_work = True
            heed_signals(stop, asyncio.Event(), stopping)
            async with timetable.running():
                if not quiet:
                    announce(settings.log_format, "the timetable is running", "scheduler.started")
                await stop.wait()
    return DONE
