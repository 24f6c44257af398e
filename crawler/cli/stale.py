"""`crawl status --stale`: which domains were last visited too long ago."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.list import moment
from crawler.cli.looking import print_heading, print_table, write
from crawler.core.amounts import show_duration
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened
from crawler.phrases import count, span
from crawler.staleness import MOST_DUE, Stale, stale_domains

FEW: Final = 20
"""Domains that are shown to who does not ask for all."""
COUNTED: Final = 200
"""Domains that are counted for them."""
TITLES: Final = ("domain", ">last visited", ">due", "why")


async def show_stale(
    place: Opened | None, name: str | None, seconds: float, *, everything: bool, as_json: bool
) -> None:
    """Tell the domains that were not visited for so many seconds. Raises UsageError if there is no such crawl."""
    if place is None:
        if name is not None:
            raise NothingYetError
        click.echo("[]" if as_json else str(NothingYetError()))
        return
    crawl_id = None if name is None else (await crawl_named(Crawls(place.database), name)).crawl_id
    now: datetime = await place.database.ask("select now()")
    before = now - timedelta(seconds=seconds)
    found = stale_domains(
        place.database, before, now, crawl_id=crawl_id, most=None if everything or as_json else COUNTED + 1
    )
    if as_json:
        between = b"["
        async for one in found:
            write(
                between
                + b"\n  "
                + json.dumps(_as_dict(one), ensure_ascii=False).encode("utf-8", "backslashreplace")
            )
            between = b","
        write(b"[]\n" if between == b"[" else b"\n]\n")
        return
    shown, n = list[Stale](), 0
    async for one in found:
        n += 1
        if everything or n <= FEW:
            shown.append(one)
    of = "" if name is None else f" of crawl {name}"
    if not n:
        click.echo(f"No domain{of} has waited for {span(seconds)} to be visited.")
        return
    number = f"more than {COUNTED:,} domains" if n > COUNTED and not everything else count(n, "domain")
    print_heading(f"{number}{of} not visited for {span(seconds)}, the oldest first")
    print_table(TITLES, [_row(one, now) for one in shown], indent="  ")
    if n > len(shown):
        more = f"--stale {show_duration(seconds)} --all"
        click.echo(f"  ... {'more' if n > COUNTED else f'{n - len(shown):,} more'}: {more} shows them")


def _row(one: Stale, now: datetime) -> tuple[str, str, str, str]:
    visited = "never" if one.visited_at is None else moment(one.visited_at, now)
    return one.name, visited, f"{one.due:,}{'' if one.is_all else '+'}", one.why


def _as_dict(one: Stale) -> dict[str, Any]:
    return {
        "domain": one.name,
        "visited_at": _iso(one.visited_at),
        "since": one.since.isoformat(),
        "due": one.due,
        "due_is_all": one.is_all,
        "why": one.why,
        "crawls": [
            {
                "name": share.crawl,
                "state": share.state.value,
                "refresh": share.rule,
                "due": min(share.due, MOST_DUE),
                "next_at": _iso(share.next_at),
            }
            for share in one.shares
        ],
    }


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
