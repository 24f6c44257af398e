"""The next visit as it is written down: a time of the clock by the clock, whatever a worker believes it is; and what is learned."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from crawler.adapters.postgres import Database
from crawler.core.moments import moment
from crawler.core.refresh_rule import parse_rule
from crawler.core.revisit import Sight
from tests.making import Frontiers, settled, visit

URL: Final = "https://a.example/"
RULE: Final = parse_rule("0 * * * *")


@pytest.mark.parametrize("off", [timedelta(0), timedelta(minutes=7), timedelta(hours=5)])
async def test_a_clock_that_runs_ahead(database: Database, off: timedelta) -> None:
    """A page is due at a time of the cron expression to the microsecond, so that none is served twice by a clock that runs ahead."""
    heart = Frontiers(database)
    await heart.crawl(URL)
    _, (item,) = await heart.hold("a.example")
    now, served = datetime.now(UTC) + off, moment(item.due_at)
    seconds, time = RULE.next_visit(Sight(), now, served), RULE.next_time(max(now, served))
    await heart.record([visit(item, replace(settled(), due_in=seconds, due_at=time))])
    row = await heart.url(URL)

    assert row["due_at"] == time
    assert (row["due_at"].minute, row["due_at"].second, row["due_at"].microsecond) == (0, 0, 0)


async def test_a_clock_that_runs_behind(database: Database) -> None:
    """A time that is over by the database's clock is not due at once, or all that a slow clock has missed would be made up for."""
    heart = Frontiers(database)
    await heart.crawl(URL)
    _, (item,) = await heart.hold("a.example")
    over = datetime.now(UTC) - timedelta(hours=2)
    await heart.record([visit(item, replace(settled(), due_in=1800.0, due_at=over))])
    row = await heart.url(URL)

    assert 1790 < (row["due_at"] - row["now"]).total_seconds() <= 1800


async def test_what_was_learned_is_there_at_the_next_visit(database: Database) -> None:
    """The period that a visit decided is what the next one finds; a visit that says nothing of it leaves it."""
    heart = Frontiers(database)
    crawl = await heart.crawl(URL)
    found = []
    for period in (86400.5, None, 7200.0):
        _, (item,) = await heart.hold("a.example")
        await heart.record([visit(item, replace(settled(), period=period))])
        known = await heart.frontier.past((await heart.domain("a.example"))["domain_id"], [item])
        found.append(known[crawl, item.url_hash].period)
        await database.script(
            "update urls set due_at = now(); update domains set due_at = now(), ready_at = now(), holder = null"
        )

    assert found == [86400.5, 86400.5, 7200.0]
