"""Room for large bodies: however many sites send them at once, only so many are in memory.

    a body grows past `LARGE` ──► wait for room ──► read on, parse, compress ──► give the room back

1. Small bodies never wait.
2. The room is held from the first byte too many until the body has been read and compressed: `Room.claim` sees to that.
3. Who holds room makes progress or runs into a deadline of its own, so everybody gets it in the end.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

LARGE: Final = 256 * 1024
"""Bytes up to which a body needs no room."""
MEMORY: Final = 96 << 20
"""Bytes that large bodies may fill together."""
LEAST: Final = 2


class Room:
    """How many large bodies are in memory at once.

    Args:
        max_body: the size of the largest, in bytes.
        sharers: how many workers share this machine's memory with this one, itself included.
    """

    def __init__(self, max_body: int, sharers: int = 1) -> None:
        self.places = max(LEAST, MEMORY // sharers // max(max_body, LARGE))
        self._free = asyncio.Semaphore(self.places)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.places} large bodies>"

    def claim(self) -> "Claim":
        """Whoever may need room: as a context, for as long as its body is in memory."""
        return Claim(self._free)


class Claim:
    """One body's claim to room."""

    __slots__ = ("_free", "_holds")

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._holds = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holds:
            self._holds = False
            self._free.release()

    def needs(self, size: int) -> bool:
        """Whether a body that has grown to so many bytes has to wait for room before it may go on."""
        return size > LARGE and not self._holds

    async def wait(self) -> None:
        """Wait for room, and hold it."""
        await self._free.acquire()
        self._holds = True
