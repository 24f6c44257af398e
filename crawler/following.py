"""The pages of a crawl as they are stored: new ones and those that became others, each when its transaction was committed.

    now() ──► cursor ──► more() ──► pages ──► more() ──► none yet, ask again later ──► ...
                           └──► cursor: the place to go on from, however long ago that was

1. No page is missed: transactions end in another order than they begin, so only those are looked at before which none is open any more
   (pg_snapshot_xmin). One that stays open, whatever it does and in whichever database of the server, holds up what was begun after it.
2. No page comes twice, unless it became another in between; one that becomes another before it was handed over comes once, as it is.
3. Memory holds a transaction's pages at most, or so many as were asked for, or those of `BYTES`.
4. What can be followed is what the table fetches still tells: attempts of the last 30 days.
"""

from itertools import accumulate
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.errors import StateError
from crawler.selection import EVERYTHING, Selection

WINDOW: Final = 4096
"""Transactions looked at in one go, at first: a follower that was away for a week must not sort a week."""
MOST: Final = 200
"""Pages of one answer."""
BYTES: Final = 32_000_000
"""Of the bodies of one answer, unless one transaction has more."""
_WHOLE: Final = 2**31 - 1


class PlaceLostError(StateError):
    """That place is of another database, or of one from before it was restored: begin anew."""


async def home(database: Database) -> list[str]:
    """Which database this is. Another one, or this one after it was restored from a backup, answers something else.

    Who copied the disks of a server and begins again from the copy is not found out: it is the same one, at an earlier moment.
    """
    return list(await database.value("follow_home"))


async def _mend(database: Database) -> None:
    """Attempts that a restored dump brought along have numbers of another cluster: make them as old as they are.

    Raises DatabaseError: there are such, and this user may not write.
    """
    if await database.value("follow_strange"):
        await database.value("follow_mend")


class Follower:
    """Reads on from a cursor.

    Args:
        database: where.
        crawl_id: which crawl.
        cursor: the number of the first transaction to look at, as `now` or `cursor` told it; None: from the oldest attempt that there is.
        selection: which pages.
    """

    def __init__(
        self, database: Database, crawl_id: int, cursor: int | None, selection: Selection = EVERYTHING
    ) -> None:
        self._database = database
        self._crawl_id = crawl_id
        self._selection = selection
        self._window = WINDOW
        self._begun = False
        self.cursor = 0 if cursor is None else cursor
        """All of before it has been handed over."""

    def __repr__(self) -> str:
        return f"<Follower crawl {self._crawl_id} at {self.cursor}>"

    @staticmethod
    async def now(database: Database) -> int:
        """The cursor of this moment: all of before it is committed, and can be read by who begins to read now."""
        await _mend(database)
        return int(await database.value("follow_bound"))

    async def more(self, most: int = MOST) -> list[Any]:
        """The next pages, in the order of their transactions, as rows of the statement `export`; none: there is nothing new.

        At most so many and about `BYTES`, or all of one transaction if that has more. Once it has returned, `cursor` is behind them.

        Raises:
            PlaceLostError: the cursor is of another database.
        """
        if not self._begun:
            await _mend(self._database)
            self._begun = True
        bound = int(await self._database.value("follow_bound"))
        if self.cursor > bound:
            raise PlaceLostError
        while self.cursor < bound:
            attempts, reached = await self._attempts(min(bound, self.cursor + self._window), most)
            rows = await self._pages(attempts) if attempts else []
            self.cursor = reached
            if rows:
                return rows
        return []

    async def _attempts(self, until: int, most: int) -> tuple[list[Any], int]:
        """Attempts of whole transactions, and up to which one that is."""
        found = await self._look(until, most + 1)
        last = _fitting(found[:most])
        if last == len(found):
            self._window *= 2
            return found, until
        cut = found[last]["tx"]
        self._window = max(WINDOW, cut - self.cursor)
        whole = [row for row in found if row["tx"] < cut]
        if whole:
            return whole, cut
        return await self._look(cut + 1, _WHOLE), cut + 1

    async def _look(self, until: int, most: int) -> list[Any]:
        return await self._database.fetch("follow_attempts", self._crawl_id, self.cursor, until, most)

    async def _pages(self, attempts: list[Any]) -> list[Any]:
        keys = list(dict.fromkeys((row["domain_id"], row["url_hash"], row["at"]) for row in attempts))
        columns = [list(column) for column in zip(*keys, strict=True)]
        return await self._database.fetch(
            "follow", self._crawl_id, *columns, self._selection.domain_ids, *self._selection.arguments
        )


def _fitting(attempts: list[Any]) -> int:
    """How many of them, from the first, have no more than `BYTES`."""
    weights = accumulate(row["length"] for row in attempts)
    return next((n for n, weight in enumerate(weights) if weight > BYTES), len(attempts))
