"""`crawl delete`: remove a crawl and all that is only its."""

import click

from crawler.adapters.erasing import Erasing
from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.cli.steering import confirm, steered
from crawler.phrases import count, seen
from crawler.settings import Settings


@click.command("delete")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, name: str, yes: bool, as_json: bool, **_named: object) -> int:
    """Remove crawl NAME: its URLs, pages and counts, and the bodies that no other crawl has. A running one is cancelled first.

    What is known of domains and their robots.txt stays where another crawl, or a rule set by hand, needs it.
    Cut short, it can be given again.

    \b
    Example:
      crawl delete example.com
      crawl delete example.com --yes
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_delete(settings_from(ctx).settings, name, yes=yes, as_json=as_json))


async def _delete(settings: Settings, name: str, *, yes: bool, as_json: bool) -> None:
    named = seen(name)
    async with steered(settings, name) as one:
        crawl_id = one.crawl.crawl_id
        extent = await one.place.database.row("crawl_extent", crawl_id)
        urls, pages = (0, 0) if extent is None else (extent["urls"], extent["pages"])
        what = f"{count(pages, 'page')} and {count(urls, 'URL')}"
        confirm(f"Delete the crawl {named}, which is {one.crawl.state}, with {what}?", yes=yes)
        erased = await Erasing(one.place.database).crawl(crawl_id)
    if as_json:
        print_json({"crawl": name, "urls": erased.urls, "pages": erased.pages, "bodies": erased.bodies})
    else:
        click.echo(
            f"{named} is deleted: {count(erased.urls, 'URL')}, {count(erased.pages, 'visited page')}, "
            f"{erased.bodies:,} stored bodies that nobody else has"
        )
