"""Who looks after a crawl: the run that began it, and nobody else's.

run ──attend──► running, attended ──┬─ the run ends ─────────────► left (a pause) ──run again──► running, attended
                                    └─ the run is certainly dead ──► left, as soon as another run begins

Runs of one process that attend the same crawl hold it together: the last of them leaves it. A process that goes on is no sign that
its runs do: each hold has a token, and one that is no longer held is as dead as a process that is gone.
"""

import os
import secrets
import threading
from dataclasses import asdict, dataclass, field, replace
from typing import Final, TypeAlias

import msgspec

from crawler.adapters.crawls import Crawls
from crawler.census import Identity
from crawler.core.model import Crawl


@dataclass(frozen=True, slots=True)
class _Attendant(Identity):
    """The runs of a process that hold a crawl."""

    token: str = ""
    """Of the hold; none: written by a version that knew only processes."""


@dataclass(slots=True)
class _Hold:
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    runs: int = 0


_Key: TypeAlias = tuple[int, str, int]
_holds: Final[dict[_Key, _Hold]] = {}
"""Of this process, whose number is in the key (a fork has those of its parent too): by database and crawl."""
_turning: Final = threading.Lock()
"""Each run of a program that imports us has a thread of its own."""


class Attendance:
    """This run's hold on its crawl."""

    def __init__(self, crawls: Crawls, *, same_machine: bool) -> None:
        self._crawls = crawls
        self._same_machine = same_machine
        self._held: _Key | None = None

    async def take_up(self, crawl: Crawl, *, is_new: bool) -> None:
        """Attend the crawl: let it go on if its last run has left it. One that belongs to whoever works (`crawl seed`) stays theirs."""
        await self._leave_the_dead(crawl.crawl_id)
        if not is_new and crawl.attendant is None:
            return
        ours = self._hold(crawl.crawl_id)
        try:
            await self._attend(crawl, ours)
        except BaseException:
            self._let_go()
            raise

    async def leave(self, crawl_id: int) -> None:
        """The run is over: what is still due of the crawl waits for the next one."""
        ours = self._let_go()
        if ours is not None:
            await self._crawls.leave(crawl_id, ours)

    async def _attend(self, crawl: Crawl, ours: str) -> None:
        now: Crawl | None = crawl
        while now is not None:
            if now.is_left:
                await self._crawls.resume(now.crawl_id)
            if await self._crawls.database.value("crawl_attend", now.crawl_id, ours) is not None:
                return
            now = await self._crawls.by_id(now.crawl_id)  # left since somebody looked, or deleted

    def _hold(self, crawl_id: int) -> str:
        """Hold the crawl, with whoever of this process holds it: what is written of that."""
        self._held = (os.getpid(), self._crawls.database.dsn, crawl_id)
        with _turning:
            hold = _holds.setdefault(self._held, _Hold())
            hold.runs += 1
        return _written(hold.token)

    def _let_go(self) -> str | None:
        """What is written of the hold, if that was the last of it."""
        key, self._held = self._held, None
        if key is None:
            return None
        with _turning:
            hold = _holds[key]
            hold.runs -= 1
            if hold.runs:
                return None
            del _holds[key]
        return _written(hold.token)

    async def _leave_the_dead(self, own: int) -> None:
        for row in await self._crawls.database.fetch("crawls_attended"):
            if row["crawl_id"] == own:
                continue
            # 'hand': paused by hand after its run had ended, and resumed.
            if row["attendant"] == "hand" or self._is_dead(row["attendant"]):
                await self._crawls.leave(row["crawl_id"], row["attendant"])

    def _is_dead(self, written: str) -> bool:
        who = msgspec.json.decode(written, type=_Attendant)
        if replace(who, token="") != _Attendant.ours():
            return who.is_dead(same_machine=self._same_machine)
        with _turning:
            return who.token not in {hold.token for hold in _holds.values()}


def _written(token: str) -> str:
    return msgspec.json.encode(asdict(replace(_Attendant.ours(), token=token))).decode()
