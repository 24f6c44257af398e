"""Crawls in PostgreSQL: making them, seeding them, changing and ending them."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from crawler.adapters.frontier import OVER_BUDGET
from crawler.adapters.postgres import Database, Record, Session, columns
from crawler.adapters.recording import record_links
from crawler.core.errors import UsageError
from crawler.core.model import Crawl, CrawlState, FoundLink, ScopeKind

CHANGED: Final = "crawl_changed"
"""The channel on which a change of a crawl is told to everybody, with its number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be changed of a crawl when it is run again; None: no limit, or the setting."""

    max_pages: int | None = None
    max_depth: int | None = None
    max_pages_per_domain: int | None = None
    delay: float | None = None
    per_domain: int | None = None
    user_agent: str | None = None
    parser: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """A crawl as somebody asks for it."""

    name: str
    scope: ScopeKind
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    refresh: str = "off"
    limits: Limits = Limits()


class Crawls:
    """The statements about crawls."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def by_id(self, crawl_id: int) -> Crawl | None:
        """The crawl of that number."""
        row = await self.database.row("crawl_get", crawl_id)
        return None if row is None else _crawl(row)

    async def by_name(self, name: str) -> Crawl | None:
        """The crawl of that name."""
        row = await self.database.row("crawl_by_name", name)
        return None if row is None else _crawl(row)

    async def rows(self) -> list[Record]:
        """Every crawl, as its row."""
        return await self.database.fetch("crawl_list")

    async def versions(self, crawl_ids: Sequence[int]) -> dict[int, int]:
        """The version of each crawl that still exists."""
        return {
            row["crawl_id"]: row["version"]
            for row in await self.database.fetch("crawl_versions", list(crawl_ids))
        }

    async def keys(self, crawl_id: int) -> "array[int]":
        """The scope keys of its seeds."""
        return array("q", (row["scope_key"] for row in await self.database.fetch("crawl_keys", crawl_id)))

    async def create_or_change(self, wish: Wish) -> tuple[Crawl, bool]:
        """Make the crawl, or give the one of that name the wished limits; True: it is new.

        Raises:
            UsageError: a crawl of that name exists with another scope.
        """
        limits = wish.limits
        row = await self.database.row(
            "crawl_create", wish.name, wish.scope.value, list(wish.include), list(wish.exclude), limits.max_pages, limits.max_depth,
            limits.max_pages_per_domain, limits.delay, limits.per_domain, limits.user_agent, wish.refresh, limits.parser,
        )  # fmt: skip
        if row is not None:
            return _crawl(row), True
        crawl = await self.by_name(wish.name)
        if crawl is None:
            raise UsageError(f"the crawl {wish.name} was just deleted: try again")
        if (crawl.scope, crawl.include, crawl.exclude) != (wish.scope, wish.include, wish.exclude):
            asked = _scope_words(wish.scope, wish.include, wish.exclude)
            raise UsageError(
                f"the crawl {wish.name} exists with {_scope_words(crawl.scope, crawl.include, crawl.exclude)}, not {asked}: "
                f"to make a new crawl with it, give it another name: --name {wish.name}-2"
            )
        await self._change(crawl, limits)
        changed = await self.by_id(crawl.crawl_id)
        return changed or crawl, False

    async def _change(self, crawl: Crawl, limits: Limits) -> None:
        async with self.database.transaction() as session:
            again: list[Record] = []
            if (
                limits.max_pages_per_domain != crawl.max_pages_per_domain
            ):  # before the crawl's row: lock order
                most = limits.max_pages_per_domain or 2**31 - 1
                again = await session.fetch("reopen_budget", crawl.crawl_id, OVER_BUDGET, most)
                n = sum(row["n"] for row in again)
                if n:
                    await session.fetch("record_counts", 0, *columns([(crawl.crawl_id, "", n, 0, 0),
                                                                      (crawl.crawl_id, "scope_refused", -n, 0, 0)], 5))  # fmt: skip
            values = [getattr(limits, field.name) for field in fields(limits)]
            if not await session.fetch("crawl_change", crawl.crawl_id, *values):
                return
            if limits.max_pages is not None:
                await session.fetch("crawl_recount", crawl.crawl_id)
            await _touch(session, again)
        await self.database.notify(CHANGED, str(crawl.crawl_id))

    async def start(self, crawl_id: int) -> None:
        """Set a finished crawl running again, if anything of it is open and its budget allows it."""
        async with self.database.transaction() as session:
            await session.fetch("crawl_lock", crawl_id)
            if await session.value("crawl_run", crawl_id) is not None:
                await _touch(session, await session.fetch("crawl_touch", crawl_id))
        await self.database.notify(CHANGED, str(crawl_id))

    async def seed(self, crawl_id: int, keys: Iterable[int], seeds: Sequence[FoundLink]) -> int:
        """Put seeds on the frontier and their keys into the scope: how many were not known before."""
        async with self.database.transaction() as session:
            await session.fetch("crawl_hold", crawl_id)
            wider = await session.fetch("add_keys", crawl_id, sorted(set(keys)))
            found = await record_links(session, seeds)
            new = found.new
            if new:
                await session.fetch("record_counts", 0, *columns([(crawl_id, "", new, 0, 0)], 5))
            again = await session.fetch(
                "rearm_seeds", crawl_id, [seed.domain_id for seed in seeds], [seed.url_hash for seed in seeds]
            )
            if wider:
                await session.fetch("crawl_bump", crawl_id)
            if (new or again) and await session.value("crawl_run", crawl_id) is not None:
                again = await session.fetch(
                    "crawl_touch", crawl_id
                )  # what else is due of it counts again too
            await _touch(
                session,
                [
                    *again,
                    *({"domain_id": d, "name": found.names[d], "due_at": at} for d, at in found.due.items()),
                ],
            )
        await self.database.notify(CHANGED, str(crawl_id))
        return new

    async def add_keys(self, crawl_id: int, keys: Iterable[int]) -> bool:
        """Widen the scope (a seed has moved); True: it was narrower before."""
        async with self.database.transaction() as session:
            await session.fetch("crawl_lock", crawl_id)
            if not await session.fetch("add_keys", crawl_id, sorted(set(keys))):
                return False
            await session.fetch("crawl_bump", crawl_id)
        await self.database.notify(CHANGED, str(crawl_id))
        return True

    async def busy(self, crawl_id: int, patience: float) -> bool:
        """Is a visit going on, or will one be possible within *patience* seconds?"""
        async with self.database.transaction() as session:
            await session.fetch("look_up")
            return bool(await session.value("crawl_busy", crawl_id, timedelta(seconds=patience)))

    async def finish(self, crawl_id: int) -> bool:
        """Declare it finished if nothing is open any more."""
        async with self.database.transaction() as session:
            await session.fetch("finish_lock", crawl_id)
            await session.fetch("look_up")
            done = await session.value("finish", crawl_id) is not None
        if done:
            await self.database.notify(CHANGED, str(crawl_id))
        return done

    async def totals(self, crawl_id: int) -> list[Record]:
        """URLs, fetches and bytes by outcome ('' is: none yet)."""
        return await self.database.fetch("crawl_totals", crawl_id)

    async def waiting(self, crawl_id: int, most: int = 10) -> list[Record]:
        """What is still open, by domain, the soonest first."""
        return await self.database.fetch("crawl_waiting", crawl_id, most)


async def _touch(session: Session, rows: Sequence[Any]) -> None:
    if rows:
        await session.fetch("touch", *columns(((r["domain_id"], r["name"], r["due_at"]) for r in rows), 3))


def _scope_words(scope: ScopeKind, include: Sequence[str], exclude: Sequence[str]) -> str:
    more = [*(f"--include {text}" for text in include), *(f"--exclude {text}" for text in exclude)]
    return " ".join([f"--scope {scope.value}", *more])


def _crawl(row: Any) -> Crawl:
    known = {field.name: row[field.name] for field in fields(Crawl) if field.name in row.keys()}  # noqa: SIM118 - a Record
    known.update(
        state=CrawlState(row["state"]),
        scope=ScopeKind(row["scope"]),
        include=tuple(row["include"]),
        exclude=tuple(row["exclude"]),
    )
    return Crawl(**known)
