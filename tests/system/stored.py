"""What the database of a data folder holds, for tests that ask what no command tells."""

from pathlib import Path
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.opening import opened_to_look
from crawler.settings import Settings
from tests import making

COUNTS: Final = """
select crawl_id, outcome, sum(urls) as n from crawl_counts group by 1, 2 having sum(urls) <> 0
except select crawl_id, coalesce(outcome, ''), count(*) from urls where kind = 'page' group by 1, 2
"""
"""Outcomes that are counted wrongly."""


async def rows(data: Path, sql: str) -> list[Any]:
    """Rows of a question."""
    async with opened_to_look(Settings(data=data)) as place:
        assert place is not None
        return await making.rows(place.database, sql)


async def counted_truly(data: Path) -> bool:
    """Whether each crawl's counts by outcome are what the rows of its pages say."""
    counted = await rows(data, "select 1 from crawl_counts where urls > 0 limit 1")
    return bool(counted) and await rows(data, COUNTS) == []


async def miscounted(database: Database) -> list[Any]:
    """Outcomes that are counted wrongly, in a database that is open."""
    return await making.rows(database, COUNTS)
