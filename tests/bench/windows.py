"""A stretch of a crawl, measured while it goes on: from the page after the warm-up to the last one wanted.

worker starts ──warm-up──► Reading ──pages or seconds──► Reading: a Span
               └────────── depth of the queue, all the while
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from crawler.adapters.postgres import Database
from crawler.ports import Queue
from tests.bench.ground import Worker
from tests.bench.measuring import BenchError, Meter, Reading, Span, Yardstick

LOOK: Final = 0.25
PATIENCE: Final = 60.0
"""Seconds without a page after which something is wrong."""
STORED: Final = "select coalesce(sum(fetches), 0)::bigint from crawl_counts where outcome = 'ok'"


@dataclass(slots=True)
class Window:
    """One crawl under observation."""

    database: Database
    queue: Queue
    workers: Sequence[Worker]
    meter: Meter
    yardstick: Yardstick
    depths: list[int] = field(default_factory=list)
    """How many turns waited in the queue, at each look."""

    async def span(
        self,
        warm: Callable[[Reading, Reading], bool],
        over: Callable[[Span], bool],
        *,
        begun: Callable[[], Awaitable[None]] | None = None,
    ) -> Span:
        """From the first reading that is *warm* (compared with the very first) to the first that ends a span that is *over*.

        *begun* is called at the first of the two.
        """
        first = await self._read()
        begin = await self._until(first, lambda now: warm(first, now))
        if begun is not None:
            await begun()
        self.depths.clear()  # what the last workers gave back when they stopped has been taken by now
        end = await self._until(begin, lambda now: over(Span(begin, now)))
        return Span(begin, end, self.yardstick.mean(begin.at, end.at))

    async def _until(self, before: Reading, reached: Callable[[Reading], bool]) -> Reading:
        alive_at, pages = before.at, before.pages
        while True:
            await asyncio.sleep(LOOK)
            now = await self._read()
            if reached(now):
                return self.meter.read(now.pages)  # only now: it stops the processes for a moment
            if now.pages > pages:
                alive_at, pages = now.at, now.pages
            if now.at - alive_at > PATIENCE:
                raise BenchError(f"no page was stored for {PATIENCE:.0f} s, after {pages:,} pages")

    async def _read(self) -> Reading:
        for worker in self.workers:
            worker.check()
        self.depths.append(await self.queue.depth())
        pages = int(await self.database.ask(STORED))
        return Reading(time.monotonic(), pages, {})
