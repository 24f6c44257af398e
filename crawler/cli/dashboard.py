"""`crawl dashboard`: the web page and the API."""

import asyncio
import socket
from functools import partial
from typing import Any, Final

import click
import uvloop

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts, alerting
from crawler.beginning import Beginning
from crawler.cli import DONE
from crawler.cli.options import log_options, queue_options, reach_options, settings_from
from crawler.cli.stopping import heed_signals
from crawler.core.errors import FaircrawlError, UsageError
from crawler.monitoring import answered, survey_groups
from crawler.opening import Opened, prepare, reached
from crawler.queues import opened_queue
from crawler.settings import Settings
from crawler.telemetry import announce
from scheduler.jobs import EVERYBODY, leader_jobs

POOL: Final = 8
"""Connections to the database: what people look at must not wait for what programs ask."""
EXTRA: Final = frozenset(
    {"fastapi", "fastapi_offline", "jinja2", "markupsafe", "pydantic", "starlette", "uvicorn"}
)
"""What comes with ``faircrawl[dashboard]``."""


class NoDashboardError(FaircrawlError):
    """the dashboard is not installed here: pip install 'faircrawl[dashboard]'"""  # noqa: D415 - it follows "crawl: "


@click.command("dashboard")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address or name to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port; 0: any free one.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but warnings, and the link to open.")
@log_options
@reach_options
@queue_options
@click.pass_context
def command(ctx: click.Context, /, *, host: str, port: int, quiet: bool, **_named: object) -> int:
    """Show what the crawls are doing, to people at a web page and to programs by an API, until told to stop.

    On this machine alone, anybody here may look; whoever changes something needs the token: CRAWL_API_TOKEN, or one that is made at
    the start and stands in the link that is printed. Elsewhere (--host) everything needs it, and it must be set.
    The API tells about itself at /docs, metrics are at /metrics, and /bot is for webmasters.

    \b
    Example:
      crawl dashboard
      CRAWL_API_TOKEN=... crawl dashboard --host 0.0.0.0 --database postgresql://crawl@db/crawl
    """  # noqa: D301  # \b tells click to keep the lines
    settings = settings_from(ctx).settings
    serving = _installed()
    here = serving.is_here(host)
    if settings.api_token is None and not here:
        raise UsageError(
            f"--host {host} can be reached from elsewhere: set CRAWL_API_TOKEN, which everybody must show then"
        )
    listener = serving.bound(host, port)
    with alerting(settings) as alerts, listener:
        return uvloop.run(_serve(settings, alerts, listener, here=here, quiet=quiet))


def _installed() -> Any:
    """The module that serves. Raises NoDashboardError."""
    try:
        from crawler.dashboard import app, serving  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in EXTRA:
            raise NoDashboardError from None
        raise
    return serving


async def _serve(
    settings: Settings, alerts: Alerts, listener: socket.socket, *, here: bool, quiet: bool
) -> int:
    from crawler.dashboard.app import make_app  # noqa: PLC0415 - as above
    from crawler.dashboard.auth import Guard, new_token  # noqa: PLC0415
    from crawler.dashboard.desk import Desk, JobLine  # noqa: PLC0415
    from crawler.dashboard.serving import served  # noqa: PLC0415

    stop, form = asyncio.Event(), settings.log_format
    heed_signals(stop, asyncio.Event(), lambda: None)
    beginning = Beginning(settings, stop)
    async with (
        reached(settings) as place,
        await Database.open(place.dsn, size=POOL) as database,
        opened_queue(settings, database) as queue,
    ):
        jobs = (
            *(JobLine(name, about, every, everybody=True) for name, (about, every) in EVERYBODY.items()),
            *(
                JobLine(job.name, job.about, job.every, everybody=False)
                for job in leader_jobs(database, settings.fetches_kept)
            ),
        )
        desk = Desk(
            settings,
            Opened(place.dsn, place.place, place.option, place.revive, database),
            queue,
            "PostgreSQL" if settings.amqp_url is None else "RabbitMQ",
            jobs,
            alerts=alerts,
            waits_for=lambda: beginning.waits_for,
        )
        token = settings.api_token or new_token()
        address = _address(listener)
        guard = Guard(token, here, int(listener.getsockname()[1]))
        app = make_app(desk, guard)
        groups, ready = partial(survey_groups, app.state.survey), app.state.readiness
        async with answered(settings, groups, ready, quiet=quiet), served(app, listener):
            # RabbitMQ may be away: what can be shown without it is shown.
            if not await beginning.made(partial(prepare, settings, place.database)):
                return DONE
            alerts.at_work = True
            if settings.api_token is None:
                announce(form, f"the dashboard is at {address}/login?token={token}", "dashboard.started")
            elif not quiet:
                announce(form, f"the dashboard is at {address}/", "dashboard.started")
            await stop.wait()
    return DONE


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - what it is, not what we choose
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
