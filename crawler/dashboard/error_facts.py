"""What went wrong lately."""

from dataclasses import replace
from typing import Any, Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.looking import FAILURES
from crawler.core.errors import UsageError
from crawler.core.model import Outcome
from crawler.dashboard.desk import Desk
from crawler.dashboard.lately import Wanted, newest
from crawler.dashboard.models import Attempt
from crawler.naming import crawl_named

MOST: Final = 500
STEPS: Final = 2
"""So often some 40,000 attempts are looked through (`lately.ROWS`): of what happens rarely, fewer are told than there are."""


async def errors(
    desk: Desk, *, crawl: str | None = None, outcome: str | None = None, limit: int = 50
) -> list[Attempt]:
    """The last attempts that went wrong, or that had this outcome, the newest first.

    Raises:
        NotKnownError: there is no such crawl.
        UsageError: there is no such outcome.
        DatabaseSlowError: it took too long.
    """
    crawl_id = None if crawl is None else (await crawl_named(Crawls(desk.database), crawl)).crawl_id
    outcomes = FAILURES if outcome is None else (known_outcome(outcome),)
    limit, wanted, rows = max(1, min(limit, MOST)), Wanted(crawl_id, outcomes), list[Any]()
    async with desk.database.looking() as session:
        for _ in range(STEPS):
            found = await newest(session, wanted, limit - len(rows))
            rows += found.rows
            if len(rows) >= limit or found.rest is None:
                break
            wanted = replace(wanted, until=found.rest)
    return [attempt(row) for row in rows]


def known_outcome(name: str) -> str:
    """That outcome. Raises UsageError: there is none of that name."""
    try:
        return Outcome(name).value
    except ValueError:
        raise UsageError(f"there is no such outcome: there are {', '.join(Outcome)}") from None


def attempt(row: Any) -> Attempt:
    """A row of fetches, with the names that belong to it."""
    return Attempt(
        at=row["at"],
        url=row["url"],
        crawl=row["crawl"],
        outcome=row["outcome"],
        status=row["status"],
        bytes=row["bytes"],
        ms=row["ms"],
        worker=row["worker"],
        detail=row["detail"],
    )
