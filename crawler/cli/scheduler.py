"""`crawl scheduler`: the clock of many machines."""

import asyncio
from typing import Final

import click
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.cli import Door
from crawler.cli.options import queue_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.opening import opened
from crawler.queues import opened_queue
from crawler.settings import Settings
from crawler.telemetry import configure
from scheduler.timetable import Timetable

POOL: Final = 6
"""Connections to the database: dispatch must not wait for three jobs that count or clean up."""


@click.command("scheduler")
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
    door = ctx.find_object(Door)
    configure(debug=door is not None and door.debug)
    settings = settings_from(ctx).settings
    with alerting(settings) as alerts:
        return uvloop.run(_run(settings, alerts, quiet=quiet))


async def _run(settings: Settings, alerts: Alerts, *, quiet: bool) -> int:
    stop = asyncio.Event()

    def stopping() -> None:
        if not quiet:
            click.echo("crawl: stopping when the jobs under way have ended", err=True)

    async with (
        opened(settings) as place,
        await Database.open(place.dsn, size=POOL, lookups=True) as database,
        opened_queue(settings, database) as queue,
    ):
        await queue.depth()  # a wrong name is told now; later the broker may go away and come back
        alerts.at_work = True
        heed_signals(stop, asyncio.Event(), stopping)
        async with Timetable(settings, database, queue, alerts).running():
            if not quiet:
                click.echo("crawl: the timetable is running", err=True)
            await stop.wait()
    return 0
