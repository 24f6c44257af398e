"""Live without reloading: server-sent events with the parts of a page that changed.

    viewer ─┐                    every 2 s, whoever comes first
    viewer ─┼─► Picture ───────► ask for the models ──► as before? nothing  ──► else render ──► each viewer: the regions that
    viewer ─┘  one of a page                                                                     it has not seen yet

1. Nothing is asked for and nothing is rendered while nobody listens, and once for all who look at the same page.
2. What did not change is neither rendered nor sent; a beat says every time that the line is alive.
3. What cannot be told, because the database is away, is told as such, and tried again.
4. A viewer owns no task: rendering happens in the task of one of them, and when that ends, in the next one's.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from crawler.core.errors import FaircrawlError, StateError

EVERY: Final = 2.0
"""Seconds between two looks."""
MOST_VIEWERS: Final = 200

Look: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
"""What a page shows now."""
Draw: TypeAlias = Callable[[Mapping[str, Any]], dict[str, str]]
"""Its regions, as HTML."""


class TooManyViewersError(StateError):
    """Too many pages are open: close some, or reload this one by hand."""


@dataclass(slots=True)
class Picture:
    """One page, as it was last seen."""

    look: Look
    draw: Draw
    every: float = EVERY
    viewers: int = 0
    looked: float = float("-inf")
    """When, by the monotonic clock."""
    context: Mapping[str, Any] | None = None
    regions: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    """Why it could not be seen."""
    drawn: int = 0
    """How often it was rendered."""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self, now: float) -> None:
        """See that it is not older than its time."""
        async with self._busy:
            if now - self.looked < self.every * 0.9:
                return
            try:
                context = await self.look()
            except FaircrawlError as error:
                self.trouble = str(error)
            else:
                self.trouble = ""
                if context != self.context:
                    self.context, self.regions = context, self.draw(context)
                    self.drawn += 1
            self.looked = time.monotonic()


class Gallery:
    """The pages that somebody looks at. All streams end when *stopping* is set."""

    def __init__(self, stopping: asyncio.Event, every: float = EVERY) -> None:
        self._stopping = stopping
        self._every = every
        self.pictures: dict[str, Picture] = {}
        self.viewers = 0

    def __repr__(self) -> str:
        return f"<Gallery {len(self.pictures)} pages, {self.viewers} viewers>"

    @property
    def crowded(self) -> bool:
        """Whether no more viewers are taken."""
        return self.viewers >= MOST_VIEWERS

    async def stream(
        self, key: str, look: Look, draw: Draw, *, pace: float = 1.0
    ) -> AsyncGenerator[str, None]:
        """What a viewer of the page *key* is sent, until it goes. *pace*: how many times rarer than usual."""
        with self._viewed(key, look, draw, pace) as picture:
            seen: dict[str, bytes] = {}
            yield f"retry: {round(1000 * self._every)}\n\n"
            while not self._stopping.is_set():
                await picture.fresh(time.monotonic())
                if picture.trouble:
                    yield event("trouble", picture.trouble)
                else:
                    yield event("regions", json.dumps(_unseen(picture.regions, seen)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), picture.every)

    @contextlib.contextmanager
    def _viewed(self, key: str, look: Look, draw: Draw, pace: float) -> Iterator[Picture]:
        picture = self.pictures.setdefault(key, Picture(look, draw, self._every * pace))
        picture.viewers += 1
        self.viewers += 1
        try:
            yield picture
        finally:
            self.viewers -= 1
            picture.viewers -= 1
            if not picture.viewers:
                del self.pictures[key]


def event(name: str, data: str) -> str:
    """One event; its data is one line or several."""
    lines = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
    return f"event: {name}\n{lines}\n"


def _unseen(regions: Mapping[str, str], seen: dict[str, bytes]) -> dict[str, str]:
    """The regions that the viewer does not have; then it has them."""
    fresh: dict[str, str] = {}
    for name, text in regions.items():
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
        if seen.get(name) != digest:
            seen[name] = digest
            fresh[name] = text
    return fresh
