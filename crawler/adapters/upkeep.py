"""What falls into disuse: bodies that nobody names, and robots.txt that expired where nobody comes by."""

from dataclasses import dataclass
from typing import Final

from crawler.adapters.postgres import Database

BODIES: Final = 2000
"""Bodies that are looked at in a step."""
FIRST: Final = -(2**63)


async def drop_unused_bodies(database: Database) -> int:
    """Remove the bodies that no page and no version names and that nobody touched for a day: how many.

    In steps, the bodies locked first (step 1 of the lock order) and looked at again under their locks, as `Erasing` does: who takes one
    for a page at the same moment has touched it before that look, or waits and then puts it there again. To be cut off, or done by two
    at once, does no harm.
    """
    after, dropped = b"", 0
    while True:
        async with database.transaction() as session:
            await session.fetch("look_up_all")
            (found,) = await session.fetch("bodies_unused", after, BODIES)
            if unused := found["unused"]:
                await session.fetch("bodies_lock", unused)
                dropped += len(await session.fetch("bodies_unused_drop", unused))
        if found["last"] is None:
            return dropped
        after = found["last"]


@dataclass(slots=True)
class RobotsRounds:
    """Has expired robots.txt asked for again where no visit would do it: some domains at a time, round after round.

    A wish is all it leaves (`crawler.refreshing`): whoever is at work claims the domain when that bears a request, so nobody is hurried,
    and turns go on beside it. The domains are gone through in the order of their numbers, which are hashes: neighbours at one
    address are far apart.
    """

    database: Database
    most: int
    """Domains to ask for in a step."""
    looked_at: int
    """Domains to look at in a step."""
    after: int = FIRST

    async def step(self) -> int:
        """Wish for some: how many domains. Nobody is at work: none, for nobody would hear it."""
        if not await self.database.value("workers_slots"):
            return 0
        async with self.database.transaction() as session:
            await session.fetch("look_up_all")
            (found,) = await session.fetch("robots_expired", self.after, self.looked_at, self.most)
        self.after = FIRST if found["seen"] < self.looked_at else found["last"]
        wished = await self.database.fetch("robots_renew", found["stale"]) if found["stale"] else []
        return len(wished)
