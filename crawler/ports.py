"""What the worker and the dispatcher ask of a queue, whoever carries it.

One promise, one contract suite (tests/contract/), two that keep it: `adapters.queue` on PostgreSQL alone, and RabbitMQ.

1. A published message is delivered at least once, to one consumer at a time, urgent ones first.
2. What a consumer had and did not settle when it died is delivered again, and after five deliveries lies with the dead letters.
3. No consumer has more than *prefetch* unsettled messages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

TURNS: Final = "crawl.turns"
URGENT: Final = "crawl.turns.urgent"
DEAD: Final = "crawl.dead"


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message in a consumer's hands: settle it by one of the three calls (they return at once)."""

    body: bytes
    ack: Callable[[], None]
    """Done with: it is gone."""
    back: Callable[[], None]
    """Not begun: somebody else may have it."""
    dead: Callable[[str], None]
    """Not to be understood, or deadly: keep it aside, with the reason."""


class Queue(Protocol):
    """Where turns wait for workers."""

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Send the messages; True for each that is safe with the queue."""

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters."""

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled, never more than *prefetch* unsettled."""

    async def depth(self) -> int:
        """How many messages wait for a consumer."""
