"""`crawl diff`: what changed on a page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from crawler.adapters.zstd import unpack
from crawler.cli.looking import print_facts, print_heading, print_json, run
from crawler.cli.options import database_options, settings_from
from crawler.core.trees import visible_text
from crawler.core.urls import canonical_or_error
from crawler.differing import Difference, difference, source_lines, text_lines
from crawler.naming import NothingYetError
from crawler.opening import opened_to_look
from crawler.page_lines import text_of
from crawler.phrases import at, count, seen, size
from crawler.settings import Settings
from crawler.stored import earlier, how_to_keep, stored_page, version_facts, version_of

MOST_LINES: Final = 1000
"""That are shown: more of them nobody reads."""
COLOURS: Final = {"-": "red", "+": "green"}


@click.command("diff")
@click.argument("url")
@click.option("--crawl", metavar="NAME", help="Which crawl's page, if several know the URL.")
@click.option(
    "--from", "old", type=click.IntRange(0), default=1, show_default=True, metavar="N",
    help="Compare what it was N changes ago ...",
)  # fmt: skip
@click.option(
    "--to", "new", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="... with what it was N changes ago; 0: with what it is.",
)  # fmt: skip
@click.option("--source", is_flag=True, help="Compare the source (HTML), and not the visible text.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@database_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    url: str,
    crawl: str | None,
    old: int,
    new: int,
    source: bool,
    as_json: bool,
    **_named: object,
) -> int:
    """Show what changed on a page: its visible text before the last change, and now.

    The versions are those of `crawl show URL --versions`; a crawl keeps them if it was told so:
    `crawl set NAME keep-versions=3`. Every sentence is a line, with - in front if it is gone, with + if it is
    new. Of very different pages the first 1,000 lines are shown. The exit status is 0 whether or not
    anything differs.

    \b
    Example:
      crawl diff https://example.com/
      crawl diff https://example.com/ --from 3 --to 2 --source
    """  # noqa: D301  # \b tells click to keep the lines
    if old == new:
        raise click.UsageError(f"--from {old} and --to {new} are the same version")
    wanted = canonical_or_error(url)
    return run(_diff(settings_from(ctx).settings, wanted, crawl, (old, new), source=source, as_json=as_json))


async def _diff(
    settings: Settings, url: str, crawl: str | None, numbers: tuple[int, int], *, source: bool, as_json: bool
) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        page = await stored_page(place, url, crawl)
        now = await place.database.ask("select now()")
        if numbers == (1, 0) and not await earlier(place.database, page):
            _tell_alone(page, now, as_json=as_json)
            return
        old, new = [await version_of(place.database, page, number) for number in numbers]
    before, after = (_lines(row, source=source) for row in (old, new))
    found = difference(before, after, most=MOST_LINES)
    if as_json:
        told = [version_facts(row, number) for row, number in zip((old, new), numbers, strict=True)]
        print_json(_as_dict(page, told, found, same=_same(old, new, found), source=source))
        return
    print_heading(page["url"])
    titles = [row["title"] or "" for row in (old, new)]
    print_facts(
        [
            ("crawl", page["crawl"]),
            *((_label(n), _ending(row, now)) for n, row in zip(numbers, (old, new), strict=True)),
            *(
                [("title", f"{titles[0] or 'none'} -> {titles[1] or 'none'}")]
                if titles[0] != titles[1]
                else []
            ),
            ("differs", _summary(old, new, found, source=source)),
        ]
    )
    if found.hunks:
        click.echo()
    _print_hunks(found)


def _lines(row: Any, *, source: bool) -> list[str]:
    """The lines that are compared; none of what is no text."""
    if row["data"] is None:
        return []
    body = unpack(row["data"])
    text = visible_text(body, row["content_type"], row["charset"])
    if source:  # what has no text is no source either: a picture
        return source_lines(text_of(body, row["charset"])) if text or row["charset"] else []
    return text_lines(text)


def _same(old: Any, new: Any, found: Difference) -> str | None:
    """What of both is the same: ``bytes``, ``lines`` (though the bytes are not), or None."""
    if old["digest"] == new["digest"]:
        return "bytes"
    return None if found.hunks or found.left_out else "lines"


def _summary(old: Any, new: Any, found: Difference, *, source: bool) -> str:
    match _same(old, new, found):
        case "bytes":
            return "in nothing: both are the same bytes"
        case "lines" if source:
            return "in bytes, but in no line: its white space, or what is no text"
        case "lines":
            return "in bytes, but not in the visible text: --source compares the source"
    return f"{count(found.removed, 'line')} gone, {count(found.added, 'line')} new"


def _label(number: int) -> str:
    return f"version {number}" if number else "now"


def _ending(row: Any, now: datetime) -> str:
    """What a version was, and until when."""
    status = "" if row["status"] is None else f" ({row['status']})"
    about = [f"{row['outcome']}{status}"]
    about += [] if row["length"] is None else [size(row["length"])]
    return f"{', '.join(about)}, seen until {at(row['fetched_at'], now)}"


def _tell_alone(page: Any, now: datetime, *, as_json: bool) -> None:
    """There is nothing to compare it with."""
    if as_json:
        print_json(_as_dict(page, [version_facts(page, 0)], Difference(0, 0, (), 0), same=None, source=False))
        return
    print_heading(page["url"])
    if page["changed_at"] is not None and page["changed_at"] == page["first_at"]:
        words = (
            f"There is one version: it has not changed since it was first seen, {at(page['first_at'], now)}."
        )
    else:
        when = "" if page["changed_at"] is None else f" (it changed {at(page['changed_at'], now)})"
        words = f"There is one version: what it was before is not kept{when}."
    click.echo(f"{words}\nShould it change, {how_to_keep(page['crawl'])}.")


def _as_dict(
    page: Any, versions: Sequence[dict[str, Any]], found: Difference, *, same: str | None, source: bool
) -> dict[str, Any]:
    return {
        "url": page["url"],
        "crawl": page["crawl"],
        "of": "source" if source else "text",
        "from": versions[0] if len(versions) > 1 else None,
        "to": versions[-1],
        "same": same,
        "added": found.added,
        "removed": found.removed,
        "left_out": found.left_out,
        "hunks": [
            {
                "from_line": hunk.before + 1,
                "to_line": hunk.after + 1,
                "lines": [line.sign + line.text for line in hunk.lines],
            }
            for hunk in found.hunks
        ],
    }


def _print_hunks(found: Difference) -> None:
    for hunk in found.hunks:
        click.secho(hunk.heading, fg="cyan")
        for line in hunk.lines:
            click.secho(line.sign + seen(line.text.expandtabs(2)), fg=COLOURS.get(line.sign))
    if found.left_out:
        click.echo(
            f"... and {count(found.left_out, 'line')} more that differ; `crawl show URL --version N --text` writes out each version"
        )
