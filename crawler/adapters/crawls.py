"""Crawls in PostgreSQL: making them, seeding them, changing and ending them."""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Self

from crawler.adapters.fitting import SPENT
from crawler.adapters.frontier import OVER_BUDGET, SHRUNK
from crawler.adapters.postgres import Database, Record, Session, columns
from crawler.adapters.recording import record_links
from crawler.adapters.retiming import Retimings
from crawler.adapters.touching import touch
from crawler.core.errors import UsageError
from crawler.core.model import Crawl, CrawlState, FoundLink, Outcome, ScopeKind
from crawler.core.refresh_rule import parse_rule
from crawler.core.urls import domain_id

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
    max_bytes: int | None = None
    types: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    trusted_domains: tuple[str, ...] = ()
    owned_domains: tuple[str, ...] = ()
    refresh: str | None = None
    """The rule of `crawler.core.refresh_rule`. None, here and below: as it is; of a new crawl off, on, 0, off and off."""
    sitemaps: bool | None = None
    keep_versions: int | None = None
    keep_links: bool | None = None
    search: bool | None = None

    @classmethod
    def of(cls, crawl: Crawl) -> Self:
        """Those that a crawl has."""
        return cls(**{field.name: getattr(crawl, field.name) for field in fields(cls)})

    def row(self) -> list[object]:
        """As `crawl_create` and `crawl_change` take them."""
        return [
            json.dumps(value) if name == "headers" else list(value) if isinstance(value, tuple) else value
            for name, value in ((field.name, getattr(self, field.name)) for field in fields(self))
        ]


@dataclass(frozen=True, slots=True)
class Wish:
    """A crawl as somebody asks for it."""

    name: str
    scope: ScopeKind
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limits: Limits = Limits()


class Crawls:
    """The statements about crawls."""

    def __init__(self, database: Database, *, rearmed_at_once: int = 500) -> None:
        self.database = database
        self._rearmed_at_once = rearmed_at_once  # domains that a resume touches in one transaction

    async def by_id(self, crawl_id: int) -> Crawl | None:
        """The crawl of that number."""
        row = await self.database.row("crawl_get", crawl_id)
        return None if row is None else crawl_of(row)

    async def by_name(self, name: str) -> Crawl | None:
        """The crawl of that name."""
        row = await self.database.row("crawl_by_name", name)
        return None if row is None else crawl_of(row)

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
            "crawl_create", wish.name, wish.scope.value, list(wish.include), list(wish.exclude), *limits.row()
        )  # fmt: skip
        if row is not None:
            return crawl_of(row), True
        crawl = await self.by_name(wish.name)
        if crawl is None:
            raise UsageError(f"the crawl {wish.name} was just deleted: try again")
        if (crawl.scope, crawl.include, crawl.exclude) != (wish.scope, wish.include, wish.exclude):
            asked = _scope_words(wish.scope, wish.include, wish.exclude)
            raise UsageError(
                f"the crawl {wish.name} exists with {_scope_words(crawl.scope, crawl.include, crawl.exclude)}, not {asked}: "
                f"to make a new crawl with it, give it another name: --name {wish.name}-2"
            )
        await self.change(crawl, limits)
        changed = await self.by_id(crawl.crawl_id)
        return changed or crawl, False

    async def change(self, crawl: Crawl, limits: Limits) -> None:
        """Give the crawl other limits; what only the old ones had refused is due again, and a new refresh rule holds for all.

        Raises:
            UsageError: the refresh rule is none.
        """
        if limits.refresh is not None:
            parse_rule(limits.refresh)
        async with self.database.transaction() as session:
            again = await _armed_again(session, crawl, limits)  # before the crawl's row: lock order
            changed = await session.fetch("crawl_change", crawl.crawl_id, *limits.row())
            if changed:
                if limits.max_pages is not None:
                    await session.fetch("crawl_recount", crawl.crawl_id)
                await touch(session, _due(crawl.crawl_id, again))
        if changed:
            await self.database.notify(CHANGED, str(crawl.crawl_id))
        await Retimings(self.database).go_on(crawl.crawl_id)

    async def start(self, crawl_id: int) -> None:
        """Set a finished crawl running again, if anything of it is open and its budget allows it.

        A resume that was cut short is taken up.
        """
        await self._rearm(crawl_id)
        async with self.database.transaction() as session:
            await session.fetch("crawl_lock", crawl_id)
            await session.fetch("look_up")
            if await session.value("crawl_run", crawl_id) is not None:
                await touch(session, _due(crawl_id, await session.fetch("crawl_touch", crawl_id)))
        await self.database.notify(CHANGED, str(crawl_id))

    async def pause(self, crawl_id: int) -> bool:
        """Hand out none of its URLs until it is resumed; False: it was not running.

        Its domains are dispatched once more, found to have nothing to do, and then left alone for a day at a time.
        """
        return await self._turn_to("crawl_pause", crawl_id)

    async def cancel(self, crawl_id: int) -> bool:
        """End it, whatever is still due; False: it was not going on."""
        return await self._turn_to("crawl_cancel", crawl_id)

    async def resume(self, crawl_id: int) -> bool:
        """Let a paused or cancelled crawl go on; False: it was neither, and no resume was cut short.

        The state is committed first: whoever releases a domain from then on counts its URLs as due. Those released before
        are touched after that, a few at a time; who dies meanwhile leaves the rest to the next `resume`, or to the day
        after which the domains of a paused crawl are looked at anyway.
        """
        resumed = await self._turn_to("crawl_resume", crawl_id)
        return await self._rearm(crawl_id) or resumed

    async def leave(self, crawl_id: int, attendant: str) -> None:
        """The run that attended the crawl is over: nobody goes on with it until it is run again."""
        if await self.database.value("crawl_leave", crawl_id, attendant) is not None:
            await self.database.notify(CHANGED, str(crawl_id))

    async def _turn_to(self, statement: str, crawl_id: int) -> bool:
        done = await self.database.value(statement, crawl_id) is not None
        if done:
            await self.database.notify(CHANGED, str(crawl_id))
        return done

    async def _rearm(self, crawl_id: int) -> bool:
        """Touch the domains of a crawl that is being resumed; True: there was something left to do."""
        came = await self.database.value("rearm_left", crawl_id)
        if came is None:
            return False
        while came is not None:
            rows = await self.database.fetch("rearm_domains", crawl_id, came, self._rearmed_at_once)
            async with self.database.transaction() as session:
                await touch(session, _due(crawl_id, rows))
            # In a transaction of its own: the crawl's row comes before the domains in the lock order. Touching twice is harmless.
            last = rows[-1]["domain_id"] if len(rows) == self._rearmed_at_once else None
            if not await self.database.fetch("rearm_step", crawl_id, came, last):
                break  # paused again, or somebody else resumes it
            came = last
        return True

    async def seed_domains(self, crawl_id: int) -> tuple[str, ...]:
        """The domains of the seeds that a person named."""
        return tuple(row["name"] for row in await self.database.fetch("crawl_seed_domains", crawl_id))

    async def seed(self, crawl_id: int, keys: Iterable[int], seeds: Sequence[FoundLink]) -> int:
        """Put seeds on the frontier and their keys into the scope: how many were not known before.

        Raises:
            UsageError: the crawl is being deleted.
        """
        async with self.database.transaction() as session:
            await session.fetch("crawl_hold", crawl_id)
            if await session.value("crawl_deleting", crawl_id):
                raise UsageError(
                    "the crawl is being deleted: wait until that is done, or give another --name"
                )
            found = await record_links(session, seeds)
            new = found.new
            again = await session.fetch(
                "rearm_seeds", crawl_id, [seed.domain_id for seed in seeds], [seed.url_hash for seed in seeds]
            )
            if new:
                await session.fetch("record_counts", 0, *columns([(crawl_id, "", new, 0, 0)], 5))
            # Step 4 with the crawl's row, not before: `add_keys` locks it too.
            if await session.fetch("add_keys", crawl_id, sorted(set(keys))):
                await session.fetch("crawl_bump", crawl_id)
            if (new or again) and await session.value("crawl_run", crawl_id) is not None:
                again = await session.fetch(
                    "crawl_touch", crawl_id
                )  # what else is due of it counts again too
            await touch(session, [*_due(crawl_id, again), *found.touched()])
        await self.database.notify(CHANGED, str(crawl_id))
        return new

    async def add_keys(self, crawl_id: int, keys: Iterable[int]) -> bool:
        """Widen the scope (a seed has moved); True: it was narrower before."""
        async with self.database.transaction() as session:
            if not await session.fetch("crawl_lock", crawl_id):  # deleted meanwhile
                return False
            if not await session.fetch("add_keys", crawl_id, sorted(set(keys))):
                return False
            await session.fetch("crawl_bump", crawl_id)
        await self.database.notify(CHANGED, str(crawl_id))
        return True

    async def busy(self, crawl_id: int, patience: float, since: datetime | None = None) -> bool:
        """Is a visit going on, or will one be possible within *patience* seconds?

        *since*: what was to be refreshed at that time counts too.
        """
        async with self.database.transaction() as session:
            await session.fetch("look_up")
            return bool(await session.value("crawl_busy", crawl_id, timedelta(seconds=patience), since))

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


async def _armed_again(session: Session, crawl: Crawl, limits: Limits) -> list[Record]:
    """Make due what only the limits of the crawl had refused, and these do not."""
    again: list[Record] = []
    if limits.max_pages_per_domain != crawl.max_pages_per_domain or limits.max_pages != crawl.max_pages:
        most = limits.max_pages_per_domain or 2**31 - 1
        again = await session.fetch("reopen_budget", crawl.crawl_id, OVER_BUDGET, SHRUNK, most, SPENT)
        if limits.max_pages_per_domain != crawl.max_pages_per_domain:
            await session.fetch("grant_room", crawl.crawl_id, most)
        n = sum(row["n"] for row in again)
        if n:
            await session.fetch("record_counts", 0, *columns([(crawl.crawl_id, "", n, 0, 0),
                                                              (crawl.crawl_id, "scope_refused", -n, 0, 0)], 5))  # fmt: skip
    if not set(limits.types) <= set(crawl.types):
        again += await session.fetch("rearm_refused", crawl.crawl_id, Outcome.TYPE_REFUSED.value, None)
    if owned := set(limits.owned_domains) - set(crawl.owned_domains):
        ids = [domain_id(name) for name in owned]
        again += await session.fetch("rearm_refused", crawl.crawl_id, Outcome.ROBOTS_REFUSED.value, ids)
    if limits.sitemaps and not crawl.sitemaps:
        again += await session.fetch("rearm_sitemaps", crawl.crawl_id)
    return again


def _due(crawl_id: int, rows: Iterable[Any]) -> Iterator[tuple[int, str, datetime, int]]:
    """Rows of domains that are due for this crawl, as `touch` takes them."""
    return ((row["domain_id"], row["name"], row["due_at"], crawl_id) for row in rows)


def _scope_words(scope: ScopeKind, include: Sequence[str], exclude: Sequence[str]) -> str:
    more = [*(f"--include {text}" for text in include), *(f"--exclude {text}" for text in exclude)]
    return " ".join([f"--scope {scope.value}", *more])


def crawl_of(row: Any) -> Crawl:
    """A crawl from its row."""
    known = {field.name: row[field.name] for field in fields(Crawl) if field.name in row.keys()}  # noqa: SIM118 - a Record
    known.update(
        state=CrawlState(row["state"]),
        scope=ScopeKind(row["scope"]),
        headers=tuple((name, value) for name, value in json.loads(row["headers"])),
        **{
            name: tuple(row[name])
            for name in ("include", "exclude", "types", "trusted_domains", "owned_domains")
        },
    )
    return Crawl(**known)
