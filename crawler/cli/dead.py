"""`crawl dead`: the turns that failed too often."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from crawler.cli import DONE, FAILED
from crawler.cli.list import moment
from crawler.cli.looking import print_json, print_table, run
from crawler.cli.options import queue_options, settings_from
from crawler.cli.steering import confirm
from crawler.core.errors import UsageError
from crawler.letter_words import first_url, said
from crawler.letters import Fate, Letter, Letters, Retried
from crawler.naming import NothingYetError
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count
from crawler.queues import opened_queue
from crawler.settings import Settings

TOLD: Final = 20
"""So many letters are told of one by one."""


@click.group("dead")
def command() -> None:
    """Look at the turns that failed too often, try them again, or drop them.

    A turn that was lost six times in a row (its worker died each time, or could not renew its lease) is buried: its URLs are
    taken out of the frontier, and its message is kept here. So is a message that no worker understands.

    \b
    Example:
      crawl dead list
      crawl dead retry 17
      crawl dead drop --all
    """  # noqa: D301  # \b tells click to keep the lines


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Show at most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@queue_options
@click.pass_context
def list_command(ctx: click.Context, /, *, limit: int, as_json: bool, **_named: object) -> int:
    """List the dead letters, the oldest first.

    \b
    Example:
      crawl dead list
      crawl dead list --json | jq -r '.[] | .first_url'
    """  # noqa: D301  # as above
    return run(_list(settings_from(ctx).settings, limit, as_json=as_json))


@command.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All there are now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@queue_options
@click.pass_context
def retry_command(
    ctx: click.Context, /, *, ids: tuple[str, ...], everything: bool, as_json: bool, **_named: object
) -> int:
    """Try again what is in these letters, and remove them.

    The URLs of a turn that was buried are due now, and a crawl that was finished without them goes on. A message of another version
    of the program is put on the queue again.

    \b
    Example:
      crawl dead retry 17 18
      crawl dead retry --all
    """  # noqa: D301  # as above
    _one_of(ctx, ids, everything=everything)
    return run(_retry(settings_from(ctx).settings, None if everything else ids, as_json=as_json))


@command.command("drop")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All there are now.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@queue_options
@click.pass_context
def drop_command(
    ctx: click.Context,
    /,
    *,
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    as_json: bool,
    **_named: object,
) -> int:
    """Remove these letters for good. URLs that were buried with them stay unvisited.

    \b
    Example:
      crawl dead drop 17
      crawl dead drop --all --yes
    """  # noqa: D301  # as above
    _one_of(ctx, ids, everything=everything)
    return run(_drop(settings_from(ctx).settings, None if everything else ids, yes=yes, as_json=as_json))


def _one_of(ctx: click.Context, ids: Sequence[str], *, everything: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("name the letters, as `crawl dead list` shows them, or say --all", ctx)


@contextlib.asynccontextmanager
async def _letters(settings: Settings) -> AsyncIterator[tuple[Letters, Opened] | None]:
    """The dead letters, and the database that they belong to; None where nothing was crawled yet."""
    async with opened_to_look(settings) as place:
        if place is None:
            if settings.amqp_url is not None:
                raise UsageError(
                    "no crawl here: name the database that goes with this RabbitMQ, --database DSN"
                )
            yield None
            return
        async with opened_queue(settings, place.database) as queue:
            yield Letters(place.database, queue), place


async def _list(settings: Settings, limit: int, *, as_json: bool) -> None:
    async with _letters(settings) as there:
        letters = [] if there is None else await there[0].oldest(limit)
        total = await there[0].count() if there is not None and len(letters) == limit else len(letters)
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
        return
    if not letters:
        click.echo("there are no dead letters")
        return
    now = datetime.now(UTC)
    print_table(
        ("id", "buried", ">URLs", "the first of them", "because"), [_row(one, now) for one in letters]
    )
    if total > len(letters):
        click.echo(f"crawl: {count(total - len(letters), 'more letter')}: see --limit", err=True)


async def _retry(settings: Settings, ids: Sequence[str] | None, *, as_json: bool) -> int:
    async with _letters(settings) as there:
        if there is None:
            raise NothingYetError
        letters, place = there
        done = await (letters.retry_all() if ids is None else letters.retry(await letters.named(ids)))
        idle = not await place.database.value("workers_slots")
    option = place.option
    refused = [one for one in done if one.fate is Fate.REFUSED]
    if as_json:
        print_json([_as_outcome(one) for one in done])
    elif not done:
        click.echo("there are no dead letters")
    else:
        _tell([one for one in done if one.fate is not Fate.REFUSED], option)
    if idle and not as_json and any(one.fate is Fate.ARMED for one in done):
        goes_on = "the same `crawl run`" if settings.database_url is None else "`crawl worker`"
        click.echo(f"nobody works on them now: {goes_on} goes on")
    for one in refused[:TOLD]:
        click.echo(f"crawl: {said(one, option)}", err=True)
    if len(refused) > TOLD:
        click.echo(f"crawl: {count(len(refused), 'letter')} in all are no turns, and stay", err=True)
    return FAILED if refused else DONE


async def _drop(settings: Settings, ids: Sequence[str] | None, *, yes: bool, as_json: bool) -> None:
    async with _letters(settings) as there:
        if there is None:
            raise NothingYetError
        letters, _ = there
        chosen = None if ids is None else await letters.named(ids)
        total = await letters.count() if chosen is None else len(chosen)
        if total:
            what = "it holds" if total == 1 else "they hold"
            confirm(
                f"Drop {count(total, 'dead letter')} for good? What was buried of the turns {what} stays unvisited.",
                yes=yes,
            )
        dropped = await letters.drop(chosen) if total else 0
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"{count(dropped, 'dead letter')} dropped" if dropped else "there are no dead letters")


def _row(letter: Letter, now: datetime) -> tuple[str, ...]:
    dead, turn = letter.dead, letter.turn
    known = (
        (f"{len(turn.urls):,}", first_url(turn) or turn.domain) if turn else ("", f"({letter.kind.value})")
    )
    buried = moment(dead.buried_at, now) if dead.buried_at else "-"
    return (dead.letter_id, buried, *known, dead.reason)


def _as_dict(letter: Letter) -> dict[str, Any]:
    dead, turn = letter.dead, letter.turn
    return {
        "id": dead.letter_id,
        "kind": letter.kind.value,
        "domain": turn and turn.domain,
        "urls": len(turn.urls) if turn else None,
        "first_url": turn and first_url(turn),
        "reason": dead.reason,
        "buried_at": dead.buried_at.isoformat() if dead.buried_at else None,
    }


def _as_outcome(one: Retried) -> dict[str, Any]:
    turn = one.letter.turn
    return {
        "id": one.letter.dead.letter_id,
        "retry": one.fate.value,
        "domain": turn and turn.domain,
        "urls": one.urls,
    }


def _tell(done: Sequence[Retried], option: str) -> None:
    if len(done) <= TOLD:
        for one in done:
            click.echo(said(one, option))
        return
    fates = Counter(one.fate for one in done)
    urls = sum(one.urls for one in done)
    parts = [f"{n:,} {fate.value}" for fate, n in sorted(fates.items())]
    click.echo(
        f"{count(len(done), 'letter')} tried again ({', '.join(parts)}); {count(urls, 'URL')} due again"
    )
