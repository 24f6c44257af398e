"""What PostgreSQL says of its own work: time by statement, by the names of queries.sql, and what was written.

The counters keep a statement as it was sent, but with `$1` for each constant (also for `true`, and for `epoch` in extract), and only
the first of a list of them: so a name is found by the words between.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crawler.adapters.postgres import QUERIES, Database

SHOWN: Final = 70
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_GAP: Final = re.compile(r"\$\d+(?: (?=\)))?")
MIGRATIONS: Final = "(migrations and partitions)"
DRIVER: Final = "(asyncpg: looks up types)"
_DEFINES: Final = ("create ", "alter ", "drop ", "do ", "comment ")
_READ: Final = """
select query, sum(calls)::float as calls, sum(total_exec_time) as running, sum(total_plan_time) as planning, sum(rows)::float as rows,
  sum(shared_blks_hit + shared_blks_read)::float as blocks, sum(wal_bytes)::float as wal
from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database()) and calls > 0
group by query
"""
_DATABASE: Final = "select xact_commit from pg_stat_database where datname = current_database()"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement's counters: times in milliseconds."""

    name: str
    calls: float
    running: float
    planning: float
    rows: float
    blocks: float
    wal: float

    @property
    def time(self) -> float:
        """Planning and running."""
        return self.running + self.planning


def bare(text: str) -> str:
    """A statement without comments, in one line."""
    return " ".join(_COMMENT.sub(" ", text).split()).removesuffix(";")


def is_of(counted: str, text: str) -> bool:
    """Whether this is how the counters keep that statement (both `bare`): the same words, with gaps where it has constants."""
    first, *between = _GAP.split(counted)
    if not between:
        return counted == text
    last = between.pop()
    place = len(first)
    for words in between:
        place = text.find(words, place)
        if place < 0:
            return False
        place += len(words)
    return text.startswith(first) and text.endswith(last) and place <= len(text) - len(last)


def name_of(query: str, names: Mapping[str, str]) -> str:
    """What a statement is called: as in queries.sql (all names, if they differ in a constant alone), as a group, or by its words."""
    counted = bare(query)
    if found := [name for text, name in names.items() if is_of(counted, text)]:
        return " or ".join(found)
    if counted.lower().startswith(_DEFINES):
        return MIGRATIONS
    return DRIVER if "typeinfo" in counted else counted[:SHOWN]


def names() -> Mapping[str, str]:
    """The names of queries.sql by their statements, `bare`."""
    return {bare(text): name for name, text in QUERIES.items()}


async def statements(database: Database) -> Sequence[Statement]:
    """All statements of this database since the counters were reset, the dearest first; those of one name are one."""
    known = names()
    found: dict[str, Statement] = {}
    async with database.connection() as connection:
        rows = await connection.fetch(_READ)
    for row in rows:
        name = name_of(row["query"], known)
        if "pg_stat_statements" in name:
            continue
        old = found.get(name, Statement(name, 0, 0, 0, 0, 0, 0))
        found[name] = Statement(
            name,
            *(
                getattr(old, key) + row[key]
                for key in ("calls", "running", "planning", "rows", "blocks", "wal")
            ),
        )
    return sorted(found.values(), key=lambda statement: -statement.time)


async def commits(database: Database) -> int:
    """Transactions since the counters were reset."""
    return int(await database.ask(_DATABASE))
