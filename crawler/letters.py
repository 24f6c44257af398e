"""Turns that were given up, and what it means to try them again.

    dead letter ──a turn────────────► what was buried of it is due again, in one transaction ──► the letter goes
         ├───────another version's──► on the queue again, for a worker that understands it ────► the letter goes
         └───────no turn at all─────► nobody will ever understand it: it stays, until it is dropped

1. A letter goes only after its retry is safe. Cut short between the two, a second retry finds nothing buried, and arms nothing twice.
2. Only what burying took out of the frontier is armed. A turn that failed otherwise never left it: its lease has ended, or will.
3. What is being erased (a deleted crawl, a forgotten domain) is left alone, and nothing comes back.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from crawler.adapters.crawls import CHANGED, Crawls
from crawler.adapters.postgres import Database, Session, columns
from crawler.adapters.touching import touch
from crawler.core import turns
from crawler.core.errors import BrokerError, MessageError, NotKnownError
from crawler.core.model import Outcome
from crawler.ports import DeadLetter, Queue

BURIED: Final = "its turn was lost "
"""How the detail of a URL begins that was buried (`Dispatcher`)."""
LOOKED_AT: Final = 10_000
"""Among so many of the oldest letters one is found by its number: each may hold 500 URLs."""
AT_ONCE: Final = 500
INT, BIGINT = 2**31, 2**63
_version: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


class NoSuchLetterError(NotKnownError):
    """There is no such dead letter: `crawl dead list` shows them."""


class Kind(StrEnum):
    """What a dead letter is."""

    TURN = "turn"
    OTHER_VERSION = "another version"
    STRANGE = "no turn"


class Fate(StrEnum):
    """What came of a retry."""

    ARMED = "armed"
    """What was buried is due again."""
    STILL_DUE = "still due"
    """Nothing was buried: what was not visited since is due by itself."""
    VISITED = "visited"
    """Nothing was buried, and nothing is due."""
    ERASED = "erased"
    """Its crawl is deleted, or its domain is forgotten."""
    PUBLISHED = "published"
    """It is on the queue again, as it is."""
    REFUSED = "refused"
    """It is no turn: it stays where it is."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, as far as it is understood."""

    dead: DeadLetter
    kind: Kind
    turn: turns.Turn | None = None
    """Of a turn."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A letter that was tried again."""

    letter: Letter
    fate: Fate
    urls: int = 0
    """How many are due again."""
    crawls: Sequence[Any] = ()
    """Rows of ``crawls_of``: those whose URLs they are, as they are now."""
    blocked: str | None = None
    """Why the domain is blocked by hand."""


class Letters:
    """The dead letters of a queue, and the frontier that they belong to."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def count(self) -> int:
        """How many letters there are."""
        return await self._queue.dead_count()

    async def oldest(self, most: int) -> list[Letter]:
        """The oldest letters, at most so many."""
        return [read(dead) for dead in await self._queue.dead_letters(most)]

    async def named(self, letter_ids: Collection[str]) -> list[Letter]:
        """The letters of these numbers, the oldest first.

        Raises:
            NoSuchLetterError: one of them is not there.
        """
        wanted = set(letter_ids)
        found = [one for one in await self._queue.dead_letters(LOOKED_AT) if one.letter_id in wanted]
        lacking = wanted - {one.letter_id for one in found}
        if lacking:
            among = f" among the {LOOKED_AT:,} oldest" if await self.count() > LOOKED_AT else ""
            raise NoSuchLetterError(
                f"there is no dead letter {', '.join(sorted(lacking))}{among}: `crawl dead list` shows them; nothing was done"
            )
        return [read(one) for one in found]

    async def retry(self, letters: Collection[Letter]) -> list[Retried]:
        """Try these again; those that are no turn stay."""
        done = [Retried(letter, Fate.REFUSED) for letter in letters if letter.kind is Kind.STRANGE]
        known = {letter.dead.letter_id for letter in letters if letter.kind is not Kind.STRANGE}

        async def work(dead: DeadLetter) -> None:
            done.append(await self._retry(read(dead)))

        if known:
            await self._queue.exhume(known, work)
        return done

    async def retry_all(self) -> list[Retried]:
        """Try again all that there are now; one that comes back meanwhile, for nobody here understands it, stays."""
        left = await self.count()
        done: list[Retried] = []
        stay: list[Retried] = []
        while left > 0:
            known = {one.letter.dead.letter_id for one in stay}
            letters = await self.oldest(len(stay) + min(AT_ONCE, left))
            some = await self.retry([one for one in letters if one.dead.letter_id not in known][:left])
            if not some:
                break
            for one in some:
                (stay if one.fate is Fate.REFUSED else done).append(one)
            left -= len(some)
        return [*done, *stay]

    async def drop(self, letters: Collection[Letter] | None) -> int:
        """Remove these, or all: how many there were."""

        async def nothing(_: DeadLetter) -> None:
            """It only goes."""

        return await self._queue.exhume(
            None if letters is None else {one.dead.letter_id for one in letters}, nothing
        )

    async def _retry(self, letter: Letter) -> Retried:
        match letter:
            case Letter(turn=turns.Turn() as turn):
                return await self._rearm(letter, turn)
            case Letter(kind=Kind.OTHER_VERSION):
                if not all(await self._queue.publish([letter.dead.body])):
                    raise BrokerError(
                        f"the queue did not take the letter {letter.dead.letter_id}: it stays, try again"
                    )
                return Retried(letter, Fate.PUBLISHED)
        return Retried(letter, Fate.REFUSED)

    async def _rearm(self, letter: Letter, turn: turns.Turn) -> Retried:
        async with self._database.transaction() as session:
            rows = await _arm(session, turn)
            armed = sorted({row["crawl_id"] for row in rows if row["armed"]})
            woken = await _set_going(session, turn, rows) if armed else []
        for crawl_id in armed:
            if crawl_id in woken:  # what else is due of it; cut short here, `crawl resume` does it
                await Crawls(self._database).start(crawl_id)
            else:
                await self._database.notify(CHANGED, str(crawl_id))
        urls = sum(row["armed"] for row in rows)
        if not urls:
            due = any(row["due"] for row in rows)
            return Retried(letter, Fate.ERASED if not rows else Fate.STILL_DUE if due else Fate.VISITED)
        crawls = await self._database.fetch("crawls_of", armed)
        by_hand = await self._database.row("domains_by_hand", [turn.domain_id])
        return Retried(letter, Fate.ARMED, urls, crawls, by_hand["blocked"] if by_hand else None)


def read(dead: DeadLetter) -> Letter:
    """What a dead letter is. Anybody who may write to the broker may have written it."""
    try:
        turn = turns.decode(dead.body)
    except MessageError:
        return Letter(dead, Kind.OTHER_VERSION if _is_of_another_version(dead.body) else Kind.STRANGE)
    ours = all(0 <= url.crawl_id < INT for url in turn.urls) and -BIGINT <= turn.domain_id < BIGINT
    return Letter(dead, Kind.TURN, turn) if ours else Letter(dead, Kind.STRANGE)


def _is_of_another_version(body: bytes) -> bool:
    try:
        fields = _version.decode(body)
        return bool(fields) and msgspec.msgpack.decode(fields[0], type=int) != turns.VERSION
    except msgspec.MsgspecError:
        return False


async def _arm(session: Session, turn: turns.Turn) -> list[Any]:
    """What was buried of the turn is due again: rows of ``rearm_buried``. Nothing, where it is being erased."""
    urls = {(url.crawl_id, url.url_hash): url.outcome for url in turn.urls}
    crawls = {crawl_id for crawl_id, _ in urls}
    for crawl_id in sorted(crawls):
        await session.fetch("crawl_hold", crawl_id)
    erased = await session.fetch("record_erased", sorted(crawls), [turn.domain_id])
    if any(row["domain_id"] == turn.domain_id for row in erased):
        return []
    gone = {row["crawl_id"] for row in erased}
    keys = [(crawl_id, key, outcome) for (crawl_id, key), outcome in urls.items() if crawl_id not in gone]
    rows = await session.fetch("rearm_buried", turn.domain_id, *columns(keys, 3), BURIED)
    moved = Counter[tuple[int, str]]()
    for row in rows:
        moved[row["crawl_id"], Outcome.DECODE_ERROR.value] -= row["counted"]
        moved[row["crawl_id"], row["previous"] or ""] += row["counted"]
    counts = sorted((crawl_id, outcome, n, 0, 0) for (crawl_id, outcome), n in moved.items() if n)
    if counts:
        await session.fetch("record_counts", 0, *columns(counts, 5))
    return rows


async def _set_going(session: Session, turn: turns.Turn, rows: Sequence[Any]) -> list[int]:
    """Finished crawls run again, as their limits allow: which. Then the domain hears of it, last of all (lock order)."""
    await session.fetch("look_up")
    armed = [row for row in rows if row["armed"]]
    crawls = sorted({row["crawl_id"] for row in armed})
    woken = [crawl_id for crawl_id in crawls if await session.value("seed_run", crawl_id) is not None]
    await touch(session, ((turn.domain_id, turn.domain, row["due_at"], row["crawl_id"]) for row in armed))
    await session.fetch("domain_found", turn.domain_id)
    return woken
