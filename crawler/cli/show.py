"""`crawl show`: what is stored of a URL, now and before."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from crawler.adapters.zstd import unpack
from crawler.cli.list import moment
from crawler.cli.looking import print_facts, print_heading, print_json, print_table, run, write
from crawler.cli.options import database_options, settings_from
from crawler.core.errors import FaircrawlError
from crawler.core.trees import visible_text
from crawler.core.urls import canonical_or_error
from crawler.naming import NothingYetError
from crawler.opening import opened_to_look
from crawler.page_lines import page_object
from crawler.phrases import at, size
from crawler.phrases import seen as shown
from crawler.phrases import seen_text as shown_text
from crawler.settings import Settings
from crawler.stored import earlier, field_text, fields_of, how_to_keep, stored_page, version_facts, version_of

LINE: Final = 300
"""Characters of a text or of a field that are shown."""


@click.command("show")
@click.argument("url")
@click.option("--crawl", metavar="NAME", help="Which crawl's page, if several know the URL.")
@click.option("--body", "part", flag_value="body", help="Write the body as it is stored, byte for byte.")
@click.option("--text", "part", flag_value="text", help="Write the visible text.")
@click.option("--headers", "part", flag_value="headers", help="Write the headers of the answer.")
@click.option(
    "--versions", "part", flag_value="versions", help="List what the page was before, the newest first."
)
@click.option(
    "--version",
    "number",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Show what it was N changes ago, as far as it was kept. [default: 0, as it is]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --body, the body as text is in it.")
@database_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    url: str,
    crawl: str | None,
    part: str | None,
    number: int,
    as_json: bool,
    **_named: object,
) -> int:
    """Show what is stored of a URL: the last visit, its headers, its text, its body; and what it was before.

    Earlier versions are kept by crawls that were told so: `crawl set NAME keep-versions=3`.
    They are counted back from the page as it is, which has number 0; a page that says the same is no new version.

    \b
    Example:
      crawl show https://example.com/
      crawl show https://example.com/ --body > page.html
      crawl show https://example.com/ --versions
      crawl show https://example.com/ --version 1 --text
    """  # noqa: D301  # \b tells click to keep the lines
    if part == "versions" and number:
        raise click.UsageError("--versions lists them all, --version N shows one: give one of them")
    wanted = canonical_or_error(url)
    return run(_show(settings_from(ctx).settings, wanted, crawl, part, number, as_json=as_json))


async def _show(
    settings: Settings, url: str, crawl: str | None, part: str | None, number: int, *, as_json: bool
) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        page = await stored_page(place, url, crawl)
        now = await place.database.ask("select now()")
        if part == "versions":
            _list_versions(page, await earlier(place.database, page), now, as_json=as_json)
            return
        row = await version_of(place.database, page, number)
    body = None if row["data"] is None else unpack(row["data"])
    if as_json:
        print_json(_as_dict(row, number, bodies=part == "body"))
    elif part == "headers":
        click.echo("\n".join(_headers(row)))
    elif part is None:
        _print(row, now, body, number)
    elif body is None:
        raise FaircrawlError(f"no body is kept of {url}: {_ending(row)}")
    elif part == "body":
        write(body)
    else:
        text = visible_text(body, row["content_type"], row["charset"])
        write((shown_text(text) if sys.stdout.isatty() else text).encode("utf-8", "replace") + b"\n")


def _list_versions(page: Any, versions: Sequence[Any], now: datetime, *, as_json: bool) -> None:
    rows = list(enumerate([page, *versions]))
    if as_json:
        print_json([version_facts(row, number) for number, row in rows])
        return
    print_heading(page["url"])
    print_table(
        (">version", "seen until", ">status", ">length", "SHA-256", "title"),
        [
            (
                f"{number}",
                moment(row["fetched_at"], now),
                "" if row["status"] is None else f"{row['status']}",
                "" if row["length"] is None else size(row["length"]),
                "" if row["digest"] is None else row["digest"].hex()[:12],
                row["title"] or "",
            )
            for number, row in rows
        ],
        indent="  ",
    )
    if not versions:
        click.echo(f"  No earlier version is kept; {how_to_keep(page['crawl'])}.")


def _as_dict(row: Any, number: int, *, bodies: bool) -> dict[str, Any]:
    return page_object(row, row["crawl"], bodies=bodies) | {
        "version": number,
        "detail": row["detail"],
        "address": None if row["address"] is None else str(row["address"]),
        "protocol": row["protocol"],
        "request_headers": json.loads(row["request_headers"]),
        "etag": row["etag"],
        "last_modified": row["last_modified"],
        "text_digest": None if row["text_digest"] is None else row["text_digest"].hex(),
    }


def _headers(row: Any) -> list[str]:
    pairs: Sequence[tuple[str, str]] = json.loads(row["headers"])
    status = "" if row["status"] is None else f"{row['protocol'] or 'HTTP'} {row['status']}"
    return [status, *(shown(f"{name}: {value}") for name, value in pairs)]


def _ending(row: Mapping[str, Any]) -> str:
    status = f" ({row['status']})" if row["status"] is not None else ""
    target = f" to {row['redirect_to']}" if row["redirect_to"] else ""
    detail = f": {shown(row['detail'])}" if row["detail"] else ""
    return f"{row['outcome']}{status}{target}{detail}"


def _changed(row: Any, now: datetime) -> str | None:
    if row["changed_at"] is None:
        return None
    if row["changed_at"] == row["first_at"]:
        return "not since it was first seen"
    return at(row["changed_at"], now)


def _short(text: str) -> str:
    return text if len(text) <= LINE else f"{text[:LINE]}..."


def _print(row: Any, now: datetime, body: bytes | None, number: int) -> None:
    facts: list[tuple[str, str | None]] = [
        ("crawl", row["crawl"]),
        ("outcome", _ending(row)),
        ("title", row["title"]),
        ("version", str(number) if number else None),
        ("first seen", None if row["first_at"] is None else at(row["first_at"], now)),
        ("seen until" if number else "last fetched", at(row["fetched_at"], now)),
        ("last changed", _changed(row, now)),
        ("from", " by ".join(str(one) for one in (row["address"], row["protocol"]) if one)),
        ("type", " in ".join(one for one in (row["content_type"], row["charset"]) if one)),
        ("language", row["language"]),
        ("length", None if row["length"] is None else size(row["length"])),
        ("SHA-256", None if row["digest"] is None else row["digest"].hex()),
        ("depth", str(row["depth"])),
        ("directives", ", ".join(word for word in row["directives"] if word)),
    ]
    print_heading(row["url"])
    print_facts([(label, text) for label, text in facts if text])
    if fields := fields_of(row):
        click.echo()
        print_facts([(name, _short(shown(field_text(value)))) for name, value in fields.items()])
    if body is None:
        return
    text = visible_text(body, row["content_type"], row["charset"])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    few = lines[:5]
    if few:
        click.echo()
        print_facts([("text", _short(line)) for line in few])
    if len(lines) > len(few):
        print_facts(
            [("    ", f"... {len(lines) - len(few)} more lines: --text shows them, --body the source")]
        )
