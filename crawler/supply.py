"""The URLs of a turn, one after another for each of its slots; and more of them, for as long as the turn may last.

    slot ──next──► agenda ──► a URL                                                      done ──► those who wait look again
                     │ empty, and its pages led to more of the domain
                     └──► all written down ──► what is due of the domain now ──► agenda

A site that is asked without a pause is read faster than a turn is released and begun anew, which takes a tenth of a second, and
not before the slowest of its pages has been read: without this, a crawl of one large site would stand still half of the time.

1. A turn has no more URLs than it could have been dispatched with (`crawler.core.turns.most_urls`), and lasts no longer.
2. A URL is handed out once in a turn, however it ended.
3. While others may be waiting for its place, it goes on no longer than it would take to begin anew.
4. A site that is left alone between requests has nothing to gain, and a turn that only serves a wish leads nowhere.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, TypeAlias

from crawler.conduct import Conduct
from crawler.core.agenda import Agenda, is_wished
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.core.turns import TurnUrl, most_urls
from crawler.equipment import Tools
from crawler.ledger import Ledger

if TYPE_CHECKING:
    from crawler.core.model import Past

SHORT: Final = 0.25
"""Seconds of pause from which on a turn that begins anew keeps nobody waiting. As long as it may take to begin one."""


GoesOn: TypeAlias = Callable[[float], bool]


def never(_age: float) -> bool:
    """A turn that keeps to the URLs it was made with."""
    return False


class Supply:
    """What the slots of one turn take their URLs from.

    Args:
        lasts: whether the turn may begin another request.
        goes_on: whether a turn as old as this, in seconds, may have more than the URLs that it was made with, as things are now.
    """

    def __init__(
        self,
        agenda: Agenda,
        conduct: Conduct,
        ledger: Ledger,
        tools: Tools,
        lasts: Callable[[], bool],
        *,
        goes_on: GoesOn,
    ) -> None:
        self._agenda = agenda
        self._conduct = conduct
        self._ledger = ledger
        self._tools = tools
        self._lasts = lasts
        self._goes_on = goes_on
        self._began = time.monotonic()
        self.past: dict[tuple[int, bytes], Past] = {}
        """What is known of URLs from before, where that matters: by crawl and hash."""
        self._at_work = 0
        self._news = asyncio.Event()
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Supply of {self._agenda}, {self._at_work} at work>"

    @property
    def slots(self) -> int:
        """How many slots the turn can use, as things are now."""
        slots = self._conduct.pace.slots
        return slots if self._may_grow else min(slots, len(self._agenda))

    @property
    def _may_grow(self) -> bool:
        age = time.monotonic() - self._began
        return self._goes_on(age) and not self._conduct.after_loss and self._conduct.pace.delay < SHORT

    async def know(self, urls: Collection[TurnUrl]) -> None:
        """Look up the crawls of these URLs, and what is known of them from before, where that matters."""
        crawls, crawl_ids = self._tools.crawls, {url.crawl_id for url in urls}
        await crawls.know(crawl_ids, urls)
        self._conduct.serve(crawl_ids)
        seen = [url for url in urls if url.outcome is not None or crawls.refreshes(url.crawl_id)]
        if seen:
            self.past |= await self._tools.frontier.past(self._ledger.domain_id, seen)

    async def next(self, slot: int) -> TurnUrl | None:
        """The next URL for the slot of that number, once there is one; None: there will be none for it. Say `done` after it."""
        while slot < self._conduct.pace.slots:
            if (item := self._agenda.take()) is not None:
                self._at_work += 1
                return item
            if not self._may_grow or not self._lasts():
                return None
            if await self._more() or self._ledger.led_home:
                continue
            if not self._at_work:
                self.look_again()
                return None
            self._news.clear()
            await self._news.wait()
        return None  # the site has asked for fewer meanwhile

    def done(self, item: TurnUrl) -> None:
        """A slot has nothing more to do with it."""
        self._at_work -= 1
        self._agenda.done(item)
        self.look_again()

    def look_again(self) -> None:
        """There is something new for those who wait."""
        self._news.set()

    async def _more(self) -> bool:
        """Whether there is something in line now: if pages of this turn led to more, that was asked for."""
        async with self._asking:
            if len(self._agenda):
                return True
            room = self._room()
            if not self._ledger.led_home or room <= 0 or not self._lasts():
                self._ledger.led_home = False
                return False
            self._ledger.led_home = False
            domain_id = self._ledger.domain_id
            try:
                await self._tools.recorder.written()
                found = await self._tools.frontier.turn_urls([(domain_id, room + self._at_work)])
                # What somebody waits for is told to the turn by whoever hears of it.
                urls = [url for url in found.get(domain_id, ()) if not is_wished(url)]
                if urls := self._agenda.unknown(urls)[:room]:
                    await self.know(urls)
            except (DatabaseBusyError, DatabaseUnavailableError):
                return False  # all this can wait for the next turn
            if not self._lasts():
                return False
            self._agenda.add(urls)
        self.look_again()
        return bool(urls)

    def _room(self) -> int:
        pace = self._conduct.pace
        most = most_urls(self._tools.manners.turn_seconds, pace.delay, pace.slots)
        return most - self._agenda.known
