"""What the crawler asks of those who carry things for it: turns, and what is critical.

Of a queue there is one promise, one contract suite (tests/contract/), two that keep it: `adapters.queue` on PostgreSQL alone, and RabbitMQ.

1. A published message is delivered at least once, to one consumer at a time, urgent ones first.
2. What a consumer had and did not settle when it died is delivered again, and after five deliveries lies with the dead letters.
3. No consumer is handed more than *prefetch* unsettled messages, but for a few urgent ones (`urgent_places`): somebody waits for those.
4. A dead letter stays until it is dropped or taken up again by hand.

What is critical goes to a sender, e.g. `adapters.sentry`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

TURNS: Final = "crawl.turns"
URGENT: Final = "crawl.turns.urgent"
DEAD: Final = "crawl.dead"
URGENT_AT_LEAST: Final = 2
URGENT_PART: Final = 20
"""Urgent messages beyond the prefetch: a twentieth of it, and two."""


def urgent_places(prefetch: int) -> int:
    """How many urgent messages a consumer is handed that has *prefetch* others."""
    return URGENT_AT_LEAST + prefetch // URGENT_PART


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


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, and why."""

    letter_id: str
    """By which it is named on the command line."""
    body: bytes
    reason: str
    buried_at: datetime | None
    """None: the queue does not know."""


class Queue(Protocol):
    """Where turns wait for workers."""

    async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
        """Send the messages; True for each that is safe with the queue."""

    async def bury(self, bodies: Sequence[bytes], reason: str) -> None:
        """Put messages straight among the dead letters."""

    async def consume(self, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        """Hand out messages until cancelled, never more than *prefetch* unsettled, and `urgent_places` more if these are urgent."""

    async def depth(self) -> int:
        """How many messages wait for a consumer."""

    async def dead_count(self) -> int:
        """How many dead letters there are."""

    async def dead_letters(self, most: int) -> list[DeadLetter]:
        """The oldest dead letters, at most so many; they stay."""

    async def exhume(
        self, chosen: Collection[str] | None, work: Callable[[DeadLetter], Awaitable[None]]
    ) -> int:
        """Do *work* with each dead letter of these numbers (None: all there are now), then remove it: how many.

        A letter whose *work* raises stays, with all that come after it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something critical that has happened."""

    message: str
    """What it means and what to do, in a sentence."""
    kind: str
    """By which events are grouped."""
    tags: Mapping[str, str]
    """What one would look for: the crawl, the domain, the worker."""
    facts: Mapping[str, str | int]
    error: BaseException | None
    """What it was told by."""


class Sends(Protocol):
    """Where events go, e.g. `crawler.adapters.sentry.Sentry`."""

    def send(self, event: Event) -> None:
        """Send an event, soon; neither waits nor raises."""
