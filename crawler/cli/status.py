"""`crawl status`: how the crawls are doing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click

from crawler.adapters.crawls import Crawls, crawl_of
from crawler.adapters.postgres import Database
from crawler.cli import FAILED
from crawler.cli.list import counted, in_short, print_crawls
from crawler.cli.looking import print_facts, print_heading, print_json, print_table, run
from crawler.cli.machinery import Machinery, machinery
from crawler.cli.options import DURATION, queue_options, settings_from
from crawler.cli.stale import show_stale
from crawler.core.model import LEFT
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count, relative, size, span
from crawler.revisiting import rule_sentence
from crawler.settings import Settings
from crawler.wishes import shown

RECENT: Final = 60.0
"""Seconds over which the speed is measured."""
MOST_DOMAINS: Final = 5
MOST_WAITING: Final = 10
APART: Final = {
    "user-agent": "user agent",
    "types": "also stored",
    "header": "headers",
    "i-own": "no robots of",
    "refresh": "refresh",
}
"""What is set of a crawl and has a line of its own."""


@dataclass(frozen=True, slots=True)
class Doing:
    """All that is shown of one crawl."""

    row: Any
    """Of ``crawls_counted``."""
    pages_per_second: float
    domains: Sequence[Any]
    waiting: Sequence[Any]


@click.command("status")
@click.argument("name", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: an object, or without NAME a list of them."
)
@click.option(
    "--stale",
    type=DURATION,
    metavar="DURATION",
    help="The domains that were not visited for so long, such as 7d.",
)
@click.option(
    "--all", "everything", is_flag=True, help="With --stale: all of them, and not only the first 20."
)
@queue_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    as_json: bool,
    stale: float | None,
    everything: bool,
    **_named: object,
) -> int:
    """Show how crawl NAME is doing; without a NAME every crawl in short, or the only one in full.

    With --database or --amqp also who works on them, and what waits on the queue.

    With --stale the domains that were last visited longer ago than that, or never, though something of them
    was due since then: the oldest first, with how many of their URLs are due, and why nobody comes.
    With a NAME only those of which that crawl has URLs; a visit for any crawl counts. --json tells all of them.

    \b
    Example:
      crawl status
      crawl status example.com --json
      crawl status --stale 7d
      crawl status --database postgresql://crawl@db/crawl --amqp amqp://crawl@broker/crawl
    """  # noqa: D301  # \b tells click to keep the lines
    if everything and stale is None:
        raise click.UsageError("--all goes with --stale: crawl status --stale 7d --all")
    settings = settings_from(ctx).settings
    if stale is not None:
        return run(_stale(settings, name, stale, everything=everything, as_json=as_json))
    return run(_status(settings, name, as_json=as_json))


async def _stale(
    settings: Settings, name: str | None, seconds: float, *, everything: bool, as_json: bool
) -> None:
    async with opened_to_look(settings) as place:
        await show_stale(place, name, seconds, everything=everything, as_json=as_json)


async def _status(settings: Settings, name: str | None, *, as_json: bool) -> int:
    async with opened_to_look(settings) as place:
        rows = [] if place is None else await counted(place.database)
        if place is None or not rows:
            if name is not None:
                raise NothingYetError
            if as_json:
                print_json([])
            else:
                click.echo(str(NothingYetError()))
            return 0
        chosen = [row for row in rows if name in (None, row["name"])]
        if not chosen and name is not None:
            await crawl_named(Crawls(place.database), name)
            return FAILED  # it was made this moment
        shared = await machinery(settings, place)
        if as_json:
            told = [_as_dict(await _doing(place.database, row), shared) for row in chosen]
            print_json(told if name is None else told[0])
        elif len(chosen) == 1:
            _print(await _doing(place.database, chosen[0]), shared, place)
        else:
            print_crawls(chosen)
            click.echo()
            print_facts([*shared.facts(), ("more", f"crawl status NAME{place.option}")])
            shared.print_workers()
    return 0


async def _doing(database: Database, row: Any) -> Doing:
    crawl_id = row["crawl_id"]
    young = max(1.0, (row["now"] - row["created_at"]).total_seconds())
    recent = await database.value("crawl_recent", crawl_id, RECENT)
    return Doing(
        row,
        recent / min(RECENT, young),
        await database.fetch("crawl_domains", crawl_id, MOST_DOMAINS),
        await database.fetch("crawl_waiting", crawl_id, MOST_WAITING),
    )


def _as_dict(doing: Doing, shared: Machinery) -> dict[str, Any]:
    by_list: dict[str, list[dict[str, Any]]] = {"slow": [], "failing": []}
    for row in doing.domains:
        by_list[row["list"]].append(
            {
                "domain": row["name"],
                "fetches": row["fetches"],
                "ms": round(row["ms"]),
                "failed": row["failed"],
            }
        )
    return in_short(doing.row) | {
        "pages_per_second": round(doing.pages_per_second, 2),
        "slowest_domains": by_list["slow"],
        "failing_domains": by_list["failing"],
        "waiting": [
            {
                "domain": row["name"],
                "urls": row["urls"],
                "next_at": row["next_at"].isoformat() if row["next_at"] and not row["blocked"] else None,
                "outcome": row["outcome"],
                "why": row["blocked"] or row["waits_for"],
            }
            for row in doing.waiting
        ],
        **shared.as_dict(),
    }


def _print(doing: Doing, shared: Machinery, place: Opened) -> None:
    row = doing.row
    print_heading(f"crawl {row['name']}: {_state(row, shared)}")
    outcomes: dict[str, int] = json.loads(row["outcomes"])
    print_facts(
        [
            ("pages", f"{row['stored']:,} stored of {count(row['urls'], 'URL')} known{_limits(row)}"),
            ("speed", f"{doing.pages_per_second:.1f} pages/s in the last minute"),
            ("traffic", f"{count(row['requests'], 'request')}, {size(row['bytes'])}"),
            (
                "outcomes",
                ", ".join(f"{n:,} {outcome or 'not visited yet'}" for outcome, n in outcomes.items())
                or "none",
            ),
            ("refresh", rule_sentence(row["refresh"], row["now"])),
            *_apart(row),
            *shared.facts(),
            ("data", place.place),
        ]
    )
    shared.print_workers()
    _print_domains(doing.domains)
    _print_waiting(doing)


def _print_domains(domains: Sequence[Any]) -> None:
    for kind, title in (("slow", "slowest domains of the last day"), ("failing", "most failing domains")):
        rows = [
            (one["name"], f"{one['fetches']:,}", f"{one['ms']:,.0f}", f"{one['failed']:,}")
            for one in domains
            if one["list"] == kind
        ]
        if rows:
            click.echo()
            print_heading(title)
            print_table(("domain", ">requests", ">ms each", ">failed"), rows, indent="  ")


def _print_waiting(doing: Doing) -> None:
    if not doing.waiting:
        return
    now = doing.row["now"]
    click.echo()
    works = doing.row["state"] == "running"
    print_heading("what waits, the soonest first" if works else "what is left undone")
    print_table(
        ("domain", ">URLs", "next", "because of"),
        [
            (one["name"], f"{one['urls']:,}", _next(one, now) if works else "-", _because(one))
            for one in doing.waiting
        ],
        indent="  ",
    )


def _next(one: Any, now: datetime) -> str:
    if one["blocked"] or one["next_at"] is None:
        return "never"
    if one["held"]:
        return "in the queue" if one["queued"] else "being visited"
    return relative(max(one["next_at"], now), now)


def _because(one: Any) -> str:
    return str(one["blocked"] or one["waits_for"] or one["outcome"] or "not visited yet")


def _state(row: Any, shared: Machinery) -> str:
    since = row["finished_at"] or row["created_at"]
    ago = span((row["now"] - since).total_seconds())
    if row["state"] == "finished":
        why = {"max_pages": "--max-pages is reached", "max_bytes": "--max-bytes is reached"}.get(
            row["finished_why"], "nothing is left to do"
        )
        return f"finished {ago} ago ({why})"
    if row["state"] != "running":
        if row["deleting"]:
            return "being deleted"
        return "its run has ended; run it again to go on" if row["attendant"] == LEFT else str(row["state"])
    if row["rearm"] is not None:
        return f"running, begun {ago} ago; `crawl resume {row['name']}` was cut short: give it again"
    return f"running, begun {ago} ago{'' if shared.slots else _idle(row, shared)}"


def _idle(row: Any, shared: Machinery) -> str:
    same = "the same `crawl run` goes on"
    if shared.many and row["attendant"] is None:  # it was seeded: it belongs to whoever works
        same = "`crawl worker` goes on with it"
    elif shared.many:
        same += ", and so does `crawl worker`"
    return f"; nobody works on it: {same}"


def _limits(row: Any) -> str:
    limits = [f"--{key} {value}" for key, value in shown(crawl_of(row)).items() if key not in APART]
    return "; " + " ".join([f"--scope {row['scope']}", *limits])


def _apart(row: Any) -> list[tuple[str, str]]:
    told = shown(crawl_of(row))
    return [(label, told[key]) for key, label in APART.items() if key in told and key != "refresh"]
