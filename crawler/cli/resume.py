"""`crawl resume`: let a paused or cancelled crawl go on."""

import click

from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.cli.steering import steered
from crawler.core.model import CrawlState
from crawler.phrases import seen
from crawler.settings import Settings
from crawler.steering import resume


@click.command("resume")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, as_json: bool, **_named: object) -> int:
    """Let crawl NAME, which was paused or cancelled, go on where it was.

    Cut short, it can be given again.

    \b
    Example:
      crawl resume example.com
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_resume(settings_from(ctx).settings, name, as_json=as_json))


async def _resume(settings: Settings, name: str, *, as_json: bool) -> None:
    async with steered(settings, name) as one:
        resumed = await resume(one.crawls, one.crawl)
        idle = await one.idle()
    named = seen(name)
    if as_json:
        print_json({"crawl": name, "state": CrawlState.RUNNING.value, "changed": resumed})
        return
    click.echo(f"{named} {'goes on' if resumed else 'is running already'}{idle}")
