"""`crawl settings`: every setting in force, where it came from, secrets masked."""

import dataclasses
import json
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from crawler.cli.options import settings_from
from crawler.settings import Row, describe


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: durations in seconds, sizes in bytes.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Show every setting in force, and where it came from; passwords are masked.

    A setting is given in a TOML file (delay = "5s"), in a secret file (CRAWL_DELAY_FILE or
    /run/secrets/crawl_delay), in the environment (CRAWL_DELAY=5s) or on the command line; the later wins.

    \b
    Example:
      crawl --config crawl.toml settings
      CRAWL_DELAY=5s crawl settings --json
    """  # noqa: D301  # \b tells click to keep the lines
    rows = describe(settings_from(ctx))
    if as_json:
        click.echo(json.dumps([_plain(row) for row in rows], indent=2))
    elif sys.stdout.isatty():
        _table(rows)
    else:
        _lines(rows)


def _plain(row: Row) -> dict[str, object]:
    named = dataclasses.asdict(row)
    named["value"] = named.pop("raw")
    return named


def _table(rows: Sequence[Row]) -> None:
    table = Table("setting", "value", "from", "meaning", box=None, header_style="bold")
    for row in rows:
        style = "dim" if row.origin == "default" else "bold"
        table.add_row(f"[{style}]{row.name}", *map(_literal, (row.value, row.origin, row.help)))
    Console().print(table)


def _lines(rows: Sequence[Row]) -> None:
    name_width = max(len(row.name) for row in rows)
    value_width = max(len(row.value) for row in rows)
    for row in rows:
        click.echo(f"{row.name:{name_width}}  {row.value:{value_width}}  {row.origin}")


def _literal(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", r"\[")
