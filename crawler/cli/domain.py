"""`crawl domain`: look at a domain, slow it, block it, or remove all we hold of it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from crawler.adapters.domains import Domains, Tuning
from crawler.adapters.erasing import Erased, Erasing
from crawler.cli.looking import print_facts, print_heading, print_json, print_table, run
from crawler.cli.options import DURATION, database_options, settings_from
from crawler.cli.steering import confirm
from crawler.core.errors import NotKnownError, UrlError, UsageError
from crawler.core.urls import domain_id, domain_named
from crawler.opening import Opened, opened, opened_to_look
from crawler.phrases import at, count, relative, seen, span
from crawler.settings import Settings

BY_HAND = "by hand"
TOLD = 5
"""So many bad lines of a list are told one by one."""


class _OrNone(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has no arguments for it
    """What another type reads, or the word none."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name = inner.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of the value, or of None."""
        if isinstance(value, tuple):
            return value
        return (None,) if str(value).lower() == "none" else (self.inner.convert(value, param, ctx),)


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be done with the domain."""

    tuning: Tuning
    block: str | None
    unblock: bool
    forget: bool

    @property
    def any(self) -> bool:
        """Whether it is more than looking."""
        return self.tuning != Tuning() or self.block is not None or self.unblock or self.forget


@click.command("domain")
@click.argument("name", required=False)
@click.option(
    "--delay",
    type=_OrNone(DURATION),
    metavar="DURATION|none",
    help="Leave it alone so long after each answer.",
)
@click.option(
    "--per-domain", type=_OrNone(click.IntRange(1, 64)), metavar="N|none", help="So many requests at once."
)
@click.option(
    "--block", is_flag=False, flag_value=BY_HAND, metavar="[REASON]", help="Do not visit it any more."
)
@click.option("--unblock", is_flag=True, help="Visit it again.")
@click.option(
    "--forget",
    is_flag=True,
    help="Remove all we hold of it, in every crawl; it stays blocked, unless --unblock.",
)
@click.option(
    "--blocklist",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Block each domain of FILE, one a line.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before --forget.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Look at domain NAME, slow it, block it, or remove all we hold of it. A URL or a host names its domain.

    It reaches turns at work before their next request. The delay set here replaces that of settings and crawls, in both directions; the
    crawl-delay of a robots.txt still counts.

    \b
    Example:
      crawl domain example.com
      crawl domain example.com --delay 10s
      crawl domain example.com --block "asked by its webmaster"
      crawl domain example.com --forget
      crawl domain --blocklist blocked.txt
    """  # noqa: D301  # \b tells click to keep the lines
    orders = Orders(
        Tuning(given["delay"], given["per_domain"]), given["block"], given["unblock"], given["forget"]
    )
    if orders.block is not None and orders.unblock:
        raise click.UsageError("--block and --unblock exclude each other: give one of them", ctx)
    if orders.block == "":
        orders = Orders(orders.tuning, BY_HAND, orders.unblock, orders.forget)
    file, name = given["blocklist"], given["name"]
    if file is not None:
        if name is not None or orders.unblock or orders.forget or orders.tuning != Tuning():
            raise click.UsageError("--blocklist stands by itself, or with --block REASON", ctx)
        names = _listed(file)
        reason = orders.block or BY_HAND
        return run(_block_all(settings_from(ctx).settings, names, reason, as_json=given["as_json"]))
    if name is None:
        hint = (
            ": name it first, crawl domain example.com --block" if orders.block else ", or --blocklist FILE"
        )
        raise click.UsageError(f"name a domain{hint}", ctx)
    work = _domain(
        settings_from(ctx).settings, domain_named(name), orders, yes=given["yes"], as_json=given["as_json"]
    )
    return run(work)


def _listed(file: Path) -> list[str]:
    """The domains of a list; bad lines are told and skipped. Raises UsageError: it cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"--blocklist {file} cannot be read: {error.strerror}") from error
    names, bad = [], 0
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            names.append(domain_named(text))
        except UrlError as error:
            bad += 1
            if bad <= TOLD:
                click.echo(f"crawl: skipped: {file}, line {number}: {seen(str(error))}", err=True)
    if bad > TOLD:
        click.echo(f"crawl: skipped: {count(bad, 'line')} of {file} in all", err=True)
    if not names:
        raise UsageError(f"no line of {file} names a domain")
    return names


async def _block_all(settings: Settings, names: list[str], reason: str, *, as_json: bool) -> None:
    async with opened(settings) as place:
        new = await Domains(place.database).block(names, reason)
    total = len(set(names))
    if as_json:
        print_json({"domains": total, "changed": new})
    else:
        click.echo(f"{count(total, 'domain')} blocked, {new:,} of them newly")


@contextlib.asynccontextmanager
async def _open(settings: Settings, orders: Orders) -> AsyncIterator[Opened | None]:
    """A list of blocked domains may come before the first crawl; who only looks makes no database."""
    async with (opened if orders.any else opened_to_look)(settings) as place:
        yield place


async def _domain(settings: Settings, name: str, orders: Orders, *, yes: bool, as_json: bool) -> None:
    erased: Erased | None = None
    async with _open(settings, orders) as place:
        if place is None:
            raise NotKnownError(f"nothing is known of {seen(name)}")
        domains = Domains(place.database)
        if orders.forget:
            held = sum(row["urls"] for row in await domains.crawls(name))
            confirm(
                f"Remove all we hold of {seen(name)}, {count(held, 'URL')} of every crawl, for good?", yes=yes
            )
            erased = await Erasing(place.database).domain(domain_id(name), name)
        if orders.tuning != Tuning():
            await domains.tune(name, orders.tuning)
        if orders.block is not None:
            await domains.block([name], orders.block)
        if orders.unblock:
            await domains.unblock(name)
        row = await domains.row(name)
        if row is None:
            raise NotKnownError(f"nothing is known of {seen(name)}{place.option and ' in this database'}")
        crawls, rules = await domains.crawls(name), await domains.rules(name)
    if as_json:
        print_json(_as_dict(row, crawls, rules) | _as_erased(erased))
    else:
        _print(row, crawls, rules, erased)


def _as_erased(erased: Erased | None) -> dict[str, Any]:
    if erased is None:
        return {}
    return {"forgotten": {"urls": erased.urls, "pages": erased.pages, "bodies": erased.bodies}}


def _as_dict(row: Any, crawls: list[Any], rules: list[Any]) -> dict[str, Any]:
    by_hand = row["delay_by_hand"]
    return {
        "domain": row["name"],
        "blocked": row["blocked"],
        "delay": row["delay"].total_seconds(),
        "delay_by_hand": None if by_hand is None else by_hand.total_seconds(),
        "per_domain_by_hand": row["concurrency_by_hand"],
        "waits_for": row["waits_for"],
        "ready_at": row["ready_at"].isoformat() if row["ready_at"].year > 1 else None,
        "visited_at": row["visited_at"].isoformat() if row["visited_at"] else None,
        "address": None if row["address"] is None else str(row["address"]),
        "crawls": [
            {"crawl": one["name"], "state": one["state"], "urls": one["urls"], "pages": one["pages"], "open": one["open"]}
            for one in crawls
        ],
        "robots": [{"origin": one["origin"], "status": one["status"], "detail": one["detail"]} for one in rules],
    }  # fmt: skip


def _print(row: Any, crawls: list[Any], rules: list[Any], erased: Erased | None) -> None:
    now = row["now"]
    print_heading(f"domain {row['name']}")
    facts = []
    if erased is not None:
        facts.append(
            (
                "removed",
                f"{count(erased.urls, 'URL')}, {count(erased.pages, 'visited page')}, {erased.bodies:,} stored bodies",
            )
        )
    facts.append(("blocked", row["blocked"] or "no"))
    pause = f"{span(row['delay'].total_seconds())} as last known"
    if row["delay_by_hand"] is not None:
        pause = f"{span(row['delay_by_hand'].total_seconds())} set by hand, or what robots.txt asks for"
    facts.append(("pause", pause))
    if row["concurrency_by_hand"] is not None:
        facts.append(("at once", f"{count(row['concurrency_by_hand'], 'request')} set by hand"))
    facts.append(("visited", at(row["visited_at"], now) if row["visited_at"] else "not yet"))
    if row["ready_at"].year > 1 and row["ready_at"] > now:
        cause = f" ({row['waits_for']})" if row["waits_for"] else ""
        facts.append(("ready", relative(row["ready_at"], now) + cause))
    if row["address"] is not None:
        facts.append(("address", str(row["address"])))
    facts += [
        ("robots.txt", f"{one['origin']}: {one['detail'] or one['status'] or 'no answer'}") for one in rules
    ]
    print_facts(facts)
    if crawls:
        click.echo()
        print_table(
            ("crawl", "state", ">URLs", ">pages", ">open"),
            [
                (one["name"], one["state"], f"{one['urls']:,}", f"{one['pages']:,}", f"{one['open']:,}")
                for one in crawls
            ],
            indent="  ",
        )
