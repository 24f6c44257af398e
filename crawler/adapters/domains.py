"""What a person decides about a domain: its pace, and whether it is visited at all. Told to running turns at once."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crawler.adapters.erasing import DOMAIN_CHANGED
from crawler.adapters.postgres import Database, Record
from crawler.core.robots_record import RobotsRecord
from crawler.core.urls import domain_id

AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class ByHand:
    """What is set by hand of a domain."""

    blocked: str | None
    delay: float | None
    """Seconds."""
    concurrency: int | None
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody waits for the robots.txt of these origins of a domain: they are to be asked for now."""

    domain_id: int
    domain: str
    delay: float
    """The pause the domain is given, in seconds."""
    origins: tuple[str, ...]
    user_agent: str | None
    """Of the youngest crawl that knows the domain; None: as in the settings."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What to set; `None` in a tuple takes it away, no tuple leaves it as it is."""

    delay: tuple[float | None] | None = None
    concurrency: tuple[int | None] | None = None


class Domains:
    """The statements about domains by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def row(self, name: str) -> Record | None:
        """All that is known of a domain itself."""
        return await self._database.row("find_domain", domain_id(name))

    async def crawls(self, name: str) -> list[Record]:
        """What each crawl has of it."""
        return await self._database.fetch("domain_crawls", domain_id(name))

    async def rules(self, name: str) -> list[Record]:
        """What is known of the robots.txt of its origins."""
        return await self._database.fetch("domain_rules", domain_id(name))

    async def robots(self, name: str) -> list[RobotsRecord]:
        """All that is remembered of the robots.txt of its origins."""
        return [RobotsRecord(**row) for row in await self._database.fetch("robots_all", domain_id(name))]

    async def wish(self, name: str) -> None:
        """Have the robots.txt of its origins asked for now: no copy of them is used before that.

        It is enough to do this once; those who are at work are told again by `nudge`, should nobody have been able to do it.
        """
        await self._database.fetch("robots_wish", domain_id(name))
        await self.nudge(name)

    async def nudge(self, name: str) -> None:
        """Tell those at work to look at the domain."""
        await self._tell([domain_id(name)])

    async def wishes(self, domain_ids: Collection[int]) -> list[Wish]:
        """What is still wished of these domains."""
        rows = await self._database.fetch("robots_wished", list(domain_ids))
        return [
            Wish(row["domain_id"], row["name"], row["delay"], tuple(row["origins"]), row["user_agent"])
            for row in rows
        ]

    async def by_hand(self, domain_ids: Collection[int]) -> dict[int, ByHand]:
        """What is set by hand of these domains; those that there are not are missing."""
        rows = await self._database.fetch("domains_by_hand", list(domain_ids))
        return {
            row["domain_id"]: ByHand(
                row["blocked"], row["delay"], row["concurrency_by_hand"], row["forgotten"]
            )
            for row in rows
        }

    async def block(self, names: Iterable[str], reason: str) -> int:
        """Visit them no more, also those never seen; how many were not blocked with that reason before."""
        ordered = sorted(set(names))
        new = 0
        for start in range(0, len(ordered), AT_ONCE):
            some = ordered[start : start + AT_ONCE]
            rows = await self._database.fetch(
                "domains_block", [domain_id(name) for name in some], some, reason
            )
            await self._tell([row["domain_id"] for row in rows])
            new += len(rows)
        return new

    async def unblock(self, name: str) -> bool:
        """Visit it again; False: it was not blocked."""
        found = await self._database.fetch("domain_unblock", domain_id(name))
        await self._tell([row["domain_id"] for row in found])
        return bool(found)

    async def tune(self, name: str, tuning: Tuning) -> None:
        """Set its pace, or leave it to the crawls again."""
        delay, concurrency = tuning.delay, tuning.concurrency
        await self._database.fetch(
            "domain_tune", domain_id(name), name, delay is not None, delay and delay[0], concurrency is not None,
            concurrency and concurrency[0],
        )  # fmt: skip
        await self._tell([domain_id(name)])

    async def _tell(self, domain_ids: Sequence[int]) -> None:
        if len(domain_ids) == 1:
            await self._database.notify(DOMAIN_CHANGED, str(domain_ids[0]))
        elif domain_ids:  # a list of a million must not be a million notifications: everybody looks
            await self._database.notify(DOMAIN_CHANGED)
