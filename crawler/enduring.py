"""Work that goes on when the database or the broker was away, and gives up when they stay away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from crawler.core.errors import (
    BrokerUnavailableError,
    DatabaseBusyError,
    DatabaseUnavailableError,
    FaircrawlError,
)

AWAY: Final = 30.0
"""Seconds for which the database may be away before a worker gives up."""
CALM: Final = 3.0
"""Seconds without trouble after which it counts as over."""
AGAIN: Final = 0.5
"""Seconds between attempts while the database is away."""


class Endurance:
    """What the pieces of work of one worker have met.

    Args:
        patience: seconds for which the database or the broker may be away.
        failed: is told of every attempt that failed.
    """

    def __init__(self, patience: float, failed: Callable[[FaircrawlError], object]) -> None:
        self._patience = patience
        self._failed = failed
        self._away: dict[object, str] = {}

    @property
    def away(self) -> str:
        """What does not answer: the database or the broker; empty: both do."""
        return next(iter(self._away.values()), "")

    @property
    def all_away(self) -> frozenset[str]:
        """As `away`, and both if it is both."""
        return frozenset(self._away.values())

    async def endure(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* for ever: again when the database or the broker was busy or away, unless it stays away."""
        loop = asyncio.get_running_loop()
        away_since: float | None = None
        while True:
            began = loop.time()
            calm = loop.call_later(CALM, self._away.pop, work, None)
            try:
                await work()
            except DatabaseBusyError:
                pass
            except (DatabaseUnavailableError, BrokerUnavailableError) as error:
                self._away[work] = "database" if isinstance(error, DatabaseUnavailableError) else "broker"
                self._failed(error)
                if away_since is None or loop.time() - began > AWAY:
                    away_since = loop.time()
                if loop.time() - away_since > self._patience:
                    raise
            finally:
                calm.cancel()
            await asyncio.sleep(AGAIN)
