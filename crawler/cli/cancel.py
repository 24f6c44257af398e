"""`crawl cancel`: end a crawl, whatever is left of it."""

import click

from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.cli.steering import steered
from crawler.core.model import CrawlState
from crawler.phrases import seen
from crawler.settings import Settings
from crawler.steering import cancel


@click.command("cancel")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, as_json: bool, **_named: object) -> int:
    """End crawl NAME, whatever is left to do: open requests end, and none begins. Its pages stay.

    `crawl resume NAME` takes it back, `crawl delete NAME` removes its pages too.

    \b
    Example:
      crawl cancel example.com
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_cancel(settings_from(ctx).settings, name, as_json=as_json))


async def _cancel(settings: Settings, name: str, *, as_json: bool) -> None:
    async with steered(settings, name) as one:
        cancelled = await cancel(one.crawls, one.crawl)
        option = one.place.option
    named = seen(name)
    if as_json:
        print_json({"crawl": name, "state": CrawlState.CANCELLED.value, "changed": cancelled})
    else:
        done = "is cancelled" if cancelled else "was cancelled already"
        click.echo(f"{named} {done}: its pages stay, `crawl delete {named}{option}` removes them")
