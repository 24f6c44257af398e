"""`crawl pause`: hand out no more of a crawl, until it is resumed."""

import click

from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.cli.steering import steered
from crawler.core.model import CrawlState
from crawler.phrases import seen
from crawler.settings import Settings
from crawler.steering import pause


@click.command("pause")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, as_json: bool, **_named: object) -> int:
    """Let crawl NAME rest: open requests end, and none begins until `crawl resume NAME`.

    Other crawls go on, also on the same domains.

    \b
    Example:
      crawl pause example.com
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_pause(settings_from(ctx).settings, name, as_json=as_json))


async def _pause(settings: Settings, name: str, *, as_json: bool) -> None:
    async with steered(settings, name) as one:
        paused = await pause(one.crawls, one.crawl)
        option = one.place.option
    named = seen(name)
    if as_json:
        print_json({"crawl": name, "state": CrawlState.PAUSED.value, "changed": paused})
    else:
        click.echo(
            f"{named} {'is paused' if paused else 'was paused already'}: `crawl resume {named}{option}` goes on"
        )
