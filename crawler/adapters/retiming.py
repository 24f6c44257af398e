"""Giving the URLs of a crawl other next visits: another refresh rule (`crawl set`), or all of them due now (`crawl refresh --all`).

    begin ──► crawls.retime = the first domain ──step──► a few thousand URLs, in the order of their keys ──step──► ... ──► null

1. Whoever dies leaves the rest to whoever goes on: the place is in the crawl's row, and moves with the URLs or not at all.
2. Of several who go on, only one takes each step.
3. Only what has an outcome is moved, and nothing of what we refused; what somebody waits for (`crawl refresh URL`) stays in front.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from crawler.adapters.postgres import Database, Record, Session
from crawler.adapters.touching import touch
from crawler.core.refresh_rule import ADAPTIVE, Rule, parse_rule
from crawler.core.revisit import START

AT_ONCE: Final = 2000
"""URLs in a transaction."""
LAST_HASH: Final = b"\xff" * 16


class _SomebodyElseError(Exception):
    """Another one has taken this step: roll back."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """How `retime_rows` is to set the next visits."""

    name: str
    seconds: float = 0.0
    at: datetime | None = None


class Retimings:
    """The walks that are under way. *at_once*: URLs in a transaction."""

    def __init__(self, database: Database, *, at_once: int = AT_ONCE) -> None:
        self._database = database
        self._at_once = at_once

    async def all_now(self, crawl_id: int) -> int | None:
        """Have everything that was visited due now; `go_on` does it.

        What is left of an earlier time goes on instead: how many URLs are due of that. None: the crawl is neither running nor finished.
        """
        left = int(await self._database.value("retime_undone", crawl_id))
        return None if await self._database.value("retime_now", crawl_id, left) is None else left

    async def under_way(self) -> list[int]:
        """The crawls whose walk has not come to its end."""
        return [row["crawl_id"] for row in await self._database.fetch("retime_left")]

    async def go_on(self, crawl_id: int) -> int:
        """Walk on to the end: how many URLs were given another next visit."""
        moved = 0
        while (n := await self.step(crawl_id)) is not None:
            moved += n
        return moved

    async def step(self, crawl_id: int) -> int | None:
        """One transaction: how many URLs were given another next visit; None: there is nothing left to do."""
        try:
            async with self._database.transaction() as session:
                await session.fetch("record_hold")
                place = await session.fetch("retime_place", crawl_id)
                if not place:
                    return None
                here = place[0]
                mode = _mode(parse_rule(here["refresh"]), here)
                rows = await session.fetch(
                    "retime_rows", crawl_id, here["retime"], here["retime_hash"], self._at_once, mode.name, mode.seconds, mode.at
                )  # fmt: skip
                await self._move(session, crawl_id, here, _reached(rows, self._at_once))
                due = [row for row in rows if row["due_at"] is not None]
                await touch(
                    session, [(row["domain_id"], row["name"], row["due_at"], crawl_id) for row in due]
                )
                return int(sum(row["moved"] for row in rows))
        except _SomebodyElseError:
            return 0

    async def _move(
        self, session: Session, crawl_id: int, here: Record, reached: tuple[int, bytes] | None
    ) -> None:
        to = (None, b"") if reached is None else reached
        was = here["retime"], here["retime_hash"], here["refresh"], here["retime_now"]
        if not await session.fetch("retime_step", crawl_id, *was, *to):
            raise _SomebodyElseError


def _mode(rule: Rule, here: Record) -> _Mode:
    if here["retime_now"]:
        return _Mode("now", at=here["retime_at"])
    if rule.times is not None:
        return _Mode("at", at=rule.next_time(here["now"]))
    if rule.text == ADAPTIVE:
        return _Mode("adaptive", START)
    return _Mode("off") if rule.seconds is None else _Mode("every", rule.seconds)


def _reached(rows: list[Record], most: int) -> tuple[int, bytes] | None:
    """How far these rows bring the walk; None: to its end. The last row has no URL: it says how far was looked."""
    *urls, end = rows
    if len(urls) >= most:
        return urls[-1]["domain_id"], urls[-1]["url_hash"]
    return None if end["domain_id"] is None else (end["domain_id"], LAST_HASH)
