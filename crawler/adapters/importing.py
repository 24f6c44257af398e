"""URLs that were visited elsewhere, by the ten thousand: on the frontier as visited, and due again when the crawl's rule says so.

    COPY ──► hold the crawl ──► the new URLs ──► their last visits ──► later visits ──► count, by outcome ──► touch ──► COMMIT ──► NOTIFY

1. A batch is on the frontier whole, with what is known of the visits, or not at all. Put twice, it counts nothing the second time.
2. What is known stays as it is, but what was put here before has the latest of the visits that others tell of, in whatever order they do.
   Nothing that we saw ourselves is ever replaced by what others say.
3. They widen no scope, set nothing running, and count against no limit of pages: nothing of them is stored.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from crawler.adapters.crawls import CHANGED
from crawler.adapters.postgres import Database, Session, columns
from crawler.adapters.seeding import Rows, Sown, filled
from crawler.core.refresh_rule import ADAPTIVE, parse_rule
from crawler.core.revisit import START


class Importing:
    """Puts what was visited elsewhere on the frontier of one crawl."""

    def __init__(self, database: Database, crawl_id: int) -> None:
        self._database = database
        self._crawl_id = crawl_id

    async def put(self, rows: Rows) -> Sown:
        """Put a batch of different URLs there, each with an outcome.

        Raises:
            UsageError: the crawl is being deleted.
            DatabaseBusyError, DatabaseUnavailableError: nothing was written, or all of it; put the same batch again.
        """
        async with filled(self._database, self._crawl_id, rows) as (session, blocked):
            sown = await self._write(session, len(rows))
        await self._database.notify(CHANGED, str(self._crawl_id))
        return replace(sown, blocked=[(row["name"], row["blocked"]) for row in blocked])

    async def _write(self, session: Session, given: int) -> Sown:
        crawl_id = self._crawl_id
        following = await self._following(session)
        found = await session.fetch("import_put", crawl_id, *following)
        counts: Counter[str] = Counter({row["outcome"]: row["n"] for row in found})
        new = counts.total()
        if new:
            await session.fetch("import_pages", crawl_id)
        forgotten = int(await session.value("seed_forgotten")) if new < given else 0
        later = await session.fetch("import_later", crawl_id, *following) if new + forgotten < given else ()
        for row in later:
            counts[row["was"]] -= row["n"]
            counts[row["outcome"]] += row["n"]
        if changes := [(crawl_id, outcome, n, 0, 0) for outcome, n in counts.items() if n]:
            await session.fetch("record_counts", 0, *columns(changes, 5))
        domains = int(await session.value("seed_touch", crawl_id)) if new or later else 0
        overdue = sum(row["overdue"] for row in found)
        return Sown(new, given - new - forgotten, forgotten, again=0, domains=domains, overdue=overdue)

    async def _following(self, session: Session) -> tuple[str, float, datetime | None]:
        """How `import_put` sets the next visits: by the rule of this moment, whoever has just changed it."""
        (row,) = await session.fetch("import_rule", self._crawl_id)
        rule = parse_rule(row["refresh"])
        if rule.times is not None:
            at = rule.next_time(row["now"])
            return ("off", 0.0, None) if at is None else ("at", 0.0, at)
        if rule.text == ADAPTIVE:
            return "adaptive", START, None
        return ("off", 0.0, None) if rule.seconds is None else ("every", rule.seconds, None)
