"""`crawl list`: the crawls there are."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from crawler.adapters.crawls import crawl_of
from crawler.adapters.postgres import Database
from crawler.cli.looking import print_json, print_table, run
from crawler.cli.options import database_options, settings_from
from crawler.core.headers import masked
from crawler.core.model import LEFT
from crawler.naming import NothingYetError
from crawler.opening import opened_to_look
from crawler.phrases import relative
from crawler.revisiting import rule_words
from crawler.settings import Settings


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **_named: object) -> int:
    """List the crawls, the oldest first.

    \b
    Example:
      crawl list
      crawl list --json | jq -r '.[] | select(.state == "running") | .name'
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_list(settings_from(ctx).settings, as_json=as_json))


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with opened_to_look(settings) as place:
        rows = [] if place is None else await counted(place.database)
    if as_json:
        print_json([in_short(row) for row in rows])
    else:
        print_crawls(rows)


async def counted(database: Database) -> Sequence[Any]:
    """Every crawl with its sums: the rows of ``crawls_counted``."""
    return await database.fetch("crawls_counted")


def in_short(row: Any) -> dict[str, Any]:
    """A crawl for a program: moments in ISO 8601, bytes as they came over the wire."""
    outcomes: dict[str, int] = json.loads(row["outcomes"])
    return {
        "name": row["name"],
        "state": row["state"],
        "scope": row["scope"],
        "include": list(row["include"]),
        "exclude": list(row["exclude"]),
        "pages": row["stored"],
        "urls": row["urls"],
        "requests": row["requests"],
        "bytes": row["bytes"],
        "outcomes": outcomes,
        "limits": {
            name: row[name]
            for name in (
                "max_pages",
                "max_depth",
                "max_pages_per_domain",
                "delay",
                "per_domain",
                "user_agent",
                "parser",
                "max_bytes",
            )
        },
        "types": list(row["types"]),
        "headers": [list(pair) for pair in masked(crawl_of(row).headers)],
        "ignores_robots_of": list(row["owned_domains"]),
        "refresh": row["refresh"],
        "created_at": row["created_at"].isoformat(),
        "finished_at": row["finished_at"].isoformat() if row["finished_at"] else None,
        "finished_why": row["finished_why"],
    }


def print_crawls(rows: Sequence[Any]) -> None:
    """A table for a person; without a crawl, how to begin one."""
    if not rows:
        click.echo(str(NothingYetError()))
        return
    print_table(
        ("crawl", "state", ">pages", ">URLs", "scope", "refresh", "begun", "finished"),
        [
            (
                row["name"],
                "left" if row["attendant"] == LEFT else row["state"],
                f"{row['stored']:,}",
                f"{row['urls']:,}",
                row["scope"],
                rule_words(row["refresh"]),
                moment(row["created_at"], row["now"]),
                moment(row["finished_at"], row["now"]) if row["finished_at"] else "",
            )
            for row in rows
        ],
    )


def moment(when: datetime, now: datetime) -> str:
    """How long ago for a person who looks; elsewhere the moment itself, which is still true tomorrow."""
    return relative(when, now) if sys.stdout.isatty() else f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
