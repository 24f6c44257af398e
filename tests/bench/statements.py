"""Which statements a page's cost consists of: what pg_stat_statements counted between two moments, by the names of queries.sql."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crawler.adapters.postgres import QUERIES, Database
from tests.bench.measuring import Table

PRELOAD: Final = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_planning": "on",
    "track_io_timing": "off",
}
"""What the server has to be told; it makes every statement a little dearer."""
_BEGINNING: Final = 60
_READ: Final = """
select query, calls, total_exec_time + total_plan_time as ms, shared_blks_hit + shared_blks_read as blocks,
  shared_blks_read as read, wal_bytes::bigint as wal, wal_fpi as pages
from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database()) and calls > 0
order by 3 desc
"""


@dataclass(frozen=True, slots=True)
class Statements:
    """The counters of one database."""

    database: Database

    async def begin(self) -> None:
        """Count from now on."""
        await self.database.script("create extension if not exists pg_stat_statements")
        await self.database.ask("select pg_stat_statements_reset()")

    async def table(self, pages: int, most: int) -> Table:
        """The dearest statements since then, each figure for one of so many pages."""
        names = _names()
        table = Table(["statement", "calls", "ms", "blocks", "read", "bytes of WAL", "whole pages"])
        async with self.database.connection() as connection:
            rows = await connection.fetch(_READ)
        for row in rows[:most]:
            figures = (row[key] / pages for key in ("calls", "ms", "blocks", "read"))
            table.rows.append(
                [
                    names.get(row["query"].strip()[:_BEGINNING], " ".join(row["query"].split())[:_BEGINNING]),
                    *(f"{figure:.3f}" for figure in figures),
                    f"{row['wal'] / pages:.0f}",
                    f"{row['pages'] / pages:.3f}",
                ]
            )
        return table


def _names() -> Mapping[str, str]:
    """Names by how the statements begin, which the counters keep as it was written."""
    return {text.strip()[:_BEGINNING]: name for name, text in QUERIES.items()}
