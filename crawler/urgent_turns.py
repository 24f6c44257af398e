"""Turns of what somebody waits for, and of nothing else.

wished ──take──► a turn ──► visited here (own_visits), or published on the urgent queue
                   └─ not published: given back
"""

from typing import Final

from crawler.adapters.frontier import Frontier
from crawler.adapters.urgent import MOST, Urgent
from crawler.core.turns import VERSION, Turn, encode
from crawler.ports import Queue

LEASE: Final = 15.0
"""Seconds that an urgent turn may wait for a worker: after that its domain is dispatched as any other."""


class UrgentTurns:
    """Takes domains for urgent turns."""

    def __init__(self, frontier: Frontier, urgent: Urgent) -> None:
        self._frontier = frontier
        self._urgent = urgent

    async def take(self, domain_id: int) -> Turn | None:
        """The domain, taken for a turn of what is wished of it; None: somebody has it, it rests, or nothing is wished."""
        taken = await self._urgent.take(domain_id, LEASE)
        if taken is None:
            return None
        made = False
        try:
            # After a lost turn only one: should it be deadly, it takes one URL with it.
            urls = (await self._urgent.urls([domain_id], 1 if taken.lost else MOST)).get(domain_id)
            if urls:
                made = True
                return Turn(VERSION, domain_id, taken.domain, taken.turn, urls, taken.address)
        finally:
            if not made:
                await self._frontier.give_back([(domain_id, taken.turn)])
        return None

    async def publish(self, domain_id: int, queue: Queue) -> bool:
        """Put an urgent turn of the domain on the queue; False: as with `take`, or the queue did not confirm it.

        Raises:
            BrokerError: the queue cannot be reached; the domain was given back.
        """
        turn = await self.take(domain_id)
        if turn is None:
            return False
        safe = False
        try:
            (safe,) = await queue.publish([encode(turn)], urgent=True)
        finally:
            if not safe:
                await self._frontier.give_back([(domain_id, turn.turn)])
        return safe
