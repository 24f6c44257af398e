"""What is told of dead letters, and what is done with them.

On RabbitMQ to look at them is to have all of them sent, and nobody else finds them meanwhile: so one looks for all, and seldom.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

from crawler.dashboard.deeds import Retried
from crawler.dashboard.desk import Desk
from crawler.dashboard.models import LetterState
from crawler.letter_words import said
from crawler.letters import Letter, Letters

MOST: Final = 1000
"""Letters that are told of: the oldest."""
SEEN: Final = "letters"
"""By which they are known to `Desk.fresh`."""
FIRST: Final = 10
"""URLs that are told of each."""
AGE: Final = 30.0
"""Seconds for which they are good while their number is the same."""
NEWS: Final = 2.0
"""Seconds for which they are good when it is another."""


async def letters(desk: Desk) -> list[LetterState]:
    """The oldest dead letters. Raises BrokerError: the queue does not answer."""
    same = await desk.queue.dead_count() == desk.letters.counted
    return await desk.fresh.get(SEEN, AGE if same else NEWS, lambda: _look(desk))


async def _look(desk: Desk) -> list[LetterState]:
    async with desk.letters.opened() as queue:
        return [_letter(one) for one in await Letters(desk.database, queue).oldest(MOST)]


@contextlib.asynccontextmanager
async def _changing(desk: Desk) -> AsyncIterator[Letters]:
    """The letters, of which nothing that was seen before holds afterwards."""
    async with desk.letters.opened() as queue:
        try:
            yield Letters(desk.database, queue)
        finally:
            desk.fresh.drop(SEEN)


async def retry(desk: Desk, ids: Sequence[str] | None) -> list[Retried]:
    """Try these again, or all. Raises NoSuchLetterError: one of them is not there; nothing was done."""
    async with _changing(desk) as there:
        done = await (there.retry_all() if ids is None else there.retry(await there.named(ids)))
    return [
        Retried(
            id=one.letter.dead.letter_id,
            retry=cast("Any", one.fate.value),
            domain=one.letter.turn.domain if one.letter.turn else None,
            urls=one.urls,
            words=said(one, desk.place.option),
        )
        for one in done
    ]


async def drop(desk: Desk, ids: Sequence[str] | None) -> int:
    """Remove these for good, or all: how many. Raises NoSuchLetterError: one of them is not there; nothing was done."""
    async with _changing(desk) as there:
        return await there.drop(None if ids is None else await there.named(ids))


def _letter(letter: Letter) -> LetterState:
    dead, turn = letter.dead, letter.turn
    return LetterState(
        id=dead.letter_id,
        kind=cast("Any", letter.kind.value),
        buried_at=dead.buried_at,
        reason=dead.reason,
        domain=turn.domain if turn else None,
        urls=[url.url for url in turn.urls[:FIRST]] if turn else [],
        count=len(turn.urls) if turn else 0,
    )
