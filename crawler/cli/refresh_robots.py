"""`crawl refresh --robots`: ask for the robots.txt of a domain now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from crawler.adapters.domains import Domains
from crawler.cli import FAILED
from crawler.cli.looking import print_facts, print_heading, print_json
from crawler.core.errors import FaircrawlError, NotKnownError
from crawler.core.robots import DENY_ALL
from crawler.core.robots_record import Standing
from crawler.opening import Opened, opened_to_look
from crawler.phrases import count, relative, seen, span
from crawler.robots_wishes import MOST_URLS, Refreshed, all_asked, wishing, workers
from crawler.settings import Settings


class NothingToAskError(FaircrawlError):
    """There is no robots.txt that could be asked for."""


async def refresh_robots(settings: Settings, name: str, wait: float, *, as_json: bool) -> int:
    """Ask for it now, and show what has changed: the exit status."""
    async with opened_to_look(settings) as place:
        row = None if place is None else await Domains(place.database).row(name)
        if place is None or row is None:
            raise NotKnownError(f"nothing is known of {seen(name)}")
        if row["blocked"] is not None:
            why = f"it is blocked ({seen(row['blocked'])}): `crawl domain {name}{place.option} --unblock`"
            raise NothingToAskError(f"{seen(name)} is not asked for anything, for {why}")
        async with wishing(settings, place.database, name) as wish:
            found = await wish.fulfilled(wait)
        if not found:
            raise NothingToAskError(
                f"the robots.txt of {seen(name)} was never asked for: that is done before its first page"
            )
        missing = None if all_asked(found) else await _why_not(place, name, embedded=wish.hands is not None)
    now = row["now"]
    if as_json:
        print_json(
            {"domain": name, "done": missing is None, "why": missing, "origins": list(map(_as_dict, found))}
        )
    else:
        print_heading(f"robots.txt of {seen(name)}")
        for one in found:
            print_facts(_facts(one, now))
    if missing is not None:
        late = f"it was not asked for within {span(wait)}" if wait else "it is still to be asked for"
        click.echo(f"crawl: {late}: {missing}", err=True)
    return 0 if missing is None or not wait else FAILED


async def _why_not(place: Opened, name: str, *, embedded: bool) -> str:
    """Why nobody has asked yet, and who will."""
    at_work = await workers(place.database)
    alone = embedded and not at_work
    row = await Domains(place.database).row(name)
    if row is None or row["blocked"] is not None:
        return f"{seen(name)} was blocked meanwhile"
    if not alone and not at_work:
        return "no worker is at work: the next one asks before it visits the domain (`crawl worker`)"
    if row["ready_at"] > row["now"] and row["holder"] is None:
        because = f" ({seen(row['waits_for'])})" if row["waits_for"] else ""
        return f"{seen(name)} rests, it is ready {relative(row['ready_at'], row['now'])}{because}"
    if alone:
        return "it has not answered yet; the next visit asks again"
    return "the workers at work ask as soon as the domain's pause is over"


def _facts(one: Refreshed, now: datetime) -> Sequence[tuple[str, str]]:
    record = one.record
    if not one.asked:
        return [("origin", record.origin), ("answer", "none yet: see below"), ("rules", _told(one.before))]
    asked = (
        "" if record.fetched_at is None else f", {relative(record.fetched_at, max(now, record.fetched_at))}"
    )
    answer = f"robots.txt {record.detail or 'gave no answer'}{asked}"
    if not one.changed:
        return [("origin", record.origin), ("answer", answer), ("rules", f"as before: {_told(one.now)}")]
    return [
        ("origin", record.origin),
        ("answer", answer),
        ("before", _told(one.before)),
        ("now", _told(one.now)),
        ("URLs", _urls(one)),
    ]


def _urls(one: Refreshed) -> str:
    first = "the first " if one.urls == MOST_URLS else ""
    said = f"of {first}{count(one.urls, 'known URL')}, {one.newly_refused:,} became disallowed and {one.newly_allowed:,} allowed"
    if one.armed:
        said += (
            f"; {one.armed:,} that robots.txt had refused {'is' if one.armed == 1 else 'are'} looked at again"
        )
    return said


def _told(standing: Standing) -> str:
    """The rules in a sentence."""
    rules = standing.rules
    if rules is DENY_ALL:
        return f"everything is disallowed: {standing.reason}"
    if rules.digest == DENY_ALL.digest:
        said = "everything is disallowed"
    elif len(rules):
        said = f"{count(len(rules), 'pattern')}, the front page is {'allowed' if rules.allows('/') else 'disallowed'}"
    else:
        said = "everything is allowed"
    pace = f", {span(rules.crawl_delay)} between requests" if rules.crawl_delay else ""
    return f"{said}{pace} ({standing.reason})"


def _as_dict(one: Refreshed) -> dict[str, Any]:
    return {
        "origin": one.record.origin,
        "asked": one.asked,
        "status": one.record.status,
        "detail": one.record.detail,
        "changed": one.changed,
        "before": _told(one.before),
        "now": _told(one.now),
        "crawl_delay": one.now.rules.crawl_delay,
        "urls": one.urls,
        "newly_refused": one.newly_refused,
        "newly_allowed": one.newly_allowed,
        "armed": one.armed,
    }
