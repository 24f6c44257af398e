"""Who looks after a crawl: the run that began it, and nobody else's.

run ──attend──► running, attended ──┬─ the run ends ─────────────► left (a pause) ──run again──► running, attended
                                    └─ the run is certainly dead ──► left, as soon as another run begins
"""

from dataclasses import asdict

import msgspec

from crawler.adapters.crawls import Crawls
from crawler.census import Identity
from crawler.core.model import Crawl


class Attendance:
    """This run's hold on its crawl."""

    def __init__(self, crawls: Crawls, *, same_machine: bool) -> None:
        self._crawls = crawls
        self._same_machine = same_machine
        self._ours = msgspec.json.encode(asdict(Identity.ours())).decode()

    async def take_up(self, crawl: Crawl, *, is_new: bool) -> None:
        """Attend the crawl: let it go on if its last run has left it. One that belongs to whoever works (`crawl seed`) stays theirs."""
        await self._leave_the_dead(crawl.crawl_id)
        if not is_new and crawl.attendant is None:
            return
        if crawl.is_left:
            await self._crawls.resume(crawl.crawl_id)
        await self._crawls.database.fetch("crawl_attend", crawl.crawl_id, self._ours)

    async def leave(self, crawl_id: int) -> None:
        """The run is over: what is still due of the crawl waits for the next one."""
        await self._crawls.leave(crawl_id, self._ours)

    async def _leave_the_dead(self, own: int) -> None:
        for row in await self._crawls.database.fetch("crawls_attended"):
            if row["crawl_id"] == own or row["attendant"] == self._ours:
                continue
            # 'hand': paused by hand after its run had ended, and resumed.
            who = None if row["attendant"] == "hand" else msgspec.json.decode(row["attendant"], type=Identity)
            if who is None or who.is_dead(same_machine=self._same_machine):
                await self._crawls.leave(row["crawl_id"], row["attendant"])
