"""`crawl check`: what is missing or wrong."""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import click

from crawler.checking import check
from crawler.cli import FAILED
from crawler.cli.looking import print_json, run
from crawler.cli.options import queue_options, settings_from
from crawler.core.errors import SettingsError
from crawler.findings import Finding, Level
from crawler.phrases import count, seen
from crawler.settings import Settings

COLOURS: Final[Mapping[Level, str]] = MappingProxyType(
    {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.WRONG: "red"}
)


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@queue_options
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **_named: object) -> int:
    """Say what is missing or wrong: settings, user agent, database, RabbitMQ, name servers, descriptors, memory.

    Exit status 1 if something prevents crawling; what is only a note or a warning does not.

    \b
    Example:
      crawl check
      crawl check --json | jq '.[] | select(.level != "ok")'
    """  # noqa: D301  # \b tells click to keep the lines
    try:
        settings = settings_from(ctx).settings
    except SettingsError as error:
        found = [Finding("settings", Level.WRONG, line) for line in str(error).splitlines()]
        return _tell(found, as_json=as_json)
    return run(_check_all(settings, as_json=as_json))


async def _check_all(settings: Settings, *, as_json: bool) -> int:
    return _tell(await check(settings), as_json=as_json)


def _tell(found: Sequence[Finding], *, as_json: bool) -> int:
    wrong = sum(one.level is Level.WRONG for one in found)
    if as_json:
        print_json([{"topic": one.topic, "level": one.level.value, "text": one.text} for one in found])
    else:
        _print(found)
        verdict = (
            f"{count(wrong, 'thing')} {'is' if wrong == 1 else 'are'} wrong" if wrong else "ready to crawl"
        )
        click.secho(verdict, bold=True)
    return FAILED if wrong else 0


def _print(found: Sequence[Finding]) -> None:
    levels, topics = (
        max(len(str(one)) for one in column)
        for column in zip(*((f.level, f.topic) for f in found), strict=True)
    )
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for one in found:
        level = click.style(f"{one.level.value:{levels}}", fg=COLOURS[one.level])
        margin = levels + topics + 4
        text = seen(one.text)
        if columns > margin + 20:
            lines = textwrap.wrap(text, columns - margin, break_long_words=False, break_on_hyphens=False)
            text = f"\n{' ' * margin}".join(lines)
        click.echo(f"{level}  {one.topic:{topics}}  {text}")
