"""`crawl migrate`: bring the database up to date."""

from functools import partial

import click

from crawler.adapters.migrations import applied, known_migrations, migrate, unknown
from crawler.beginning import Beginning
from crawler.cli.looking import print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.opening import reached
from crawler.settings import Settings


@click.command("migrate")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **_named: object) -> int:
    """Bring the database up to date, and say what was done. Several at once do it once.

    An embedded database is brought up to date by itself whenever it is used.

    \b
    Example:
      crawl migrate --database postgresql://crawl@localhost/crawl
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_migrate(settings_from(ctx).settings, as_json=as_json))


async def _migrate(settings: Settings, *, as_json: bool) -> None:
    async with reached(settings, size=2) as place:
        database = place.database
        await Beginning(settings).made(partial(database.ask, "select 1"))
        done = await migrate(database)
        have = await applied(database)
        newer = unknown(have, known_migrations())
    if as_json:
        print_json(
            {
                "applied": [{"number": one.number, "name": one.name} for one in done],
                "version": max(have, default=0),
            }
        )
        return
    for one in done:
        click.echo(f"applied {one.number:04} {one.name}")
    last = have[max(have)]
    state = "is up to date" if done else "was up to date already"
    made = (
        ", of a newer faircrawl that this one can go on with: upgrade this program in the end"
        if newer
        else ""
    )
    click.echo(f"{place.place} {state}: its last migration is {last.number:04} {last.name}{made}")
