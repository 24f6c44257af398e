"""`crawl set`: change the limits of a crawl."""

import click

from crawler.cli.looking import print_facts, print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.cli.steering import steered
from crawler.core.errors import StateError
from crawler.core.model import CrawlState
from crawler.phrases import seen
from crawler.settings import Settings
from crawler.wishes import HEADER, KEYS, changed, shown


@click.command(
    "set",
    epilog=f"The keys: {', '.join([*KEYS, HEADER])}. {HEADER} may stand several times; together they replace those before.",
)
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="KEY=VALUE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: what is set then.")
@database_options
@click.pass_context
def command(
    ctx: click.Context, /, *, name: str, pairs: tuple[str, ...], as_json: bool, **_named: object
) -> int:
    """Change the limits of crawl NAME, running or not; without KEY=VALUE, show them. The value `none` takes a limit away.

    What a limit had stopped goes on when it is raised. The key refresh says when pages are looked at again: off, adaptive, an interval,
    or a cron expression in UTC or, with CRON_TZ=Zone before it, in a zone. Daylight saving is as in Debian's cron: a fixed time that is
    skipped in spring comes when the clock has jumped, one that occurs twice in autumn comes once.

    \b
    Example:
      crawl set example.com max-pages=5000 delay=2s
      crawl set example.com max-bytes=none types=application/pdf
      crawl set example.com header='Accept-Language: en'
      crawl set example.com refresh='CRON_TZ=Europe/Berlin 0 3 * * *'
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_set(settings_from(ctx).settings, name, pairs, as_json=as_json))


async def _set(settings: Settings, name: str, pairs: tuple[str, ...], *, as_json: bool) -> None:
    async with steered(settings, name) as one:
        crawl, crawl_id = one.crawl, one.crawl.crawl_id
        if crawl.deleting:
            raise StateError(f"the crawl {seen(name)} is being deleted")
        if pairs:
            await one.crawls.change(crawl, changed(crawl, pairs, await one.crawls.seed_domains(crawl_id)))
            await one.crawls.start(crawl_id)
        now = await one.crawls.by_id(crawl_id) or crawl
        idle = await one.idle()
    told = shown(now)
    if as_json:
        print_json({"crawl": name, "state": now.state.value, **told})
        return
    print_facts([*told.items()] or [("no limits", "the settings hold")])
    if now.state is CrawlState.RUNNING and crawl.state is not CrawlState.RUNNING:
        click.echo(f"{seen(name)} goes on{idle}")
