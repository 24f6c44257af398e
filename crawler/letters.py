"""Turns that were given up, and what it means to try them again.

    dead letter ──a turn────────────► what was buried of it is due again, in one transaction ──► the letter goes
         ├───────another version's──► on the queue again, for a worker that understands it ────► the letter goes
         └───────no turn at all─────► nobody will ever understand it: it stays, until it is dropped

1. A letter goes only after its retry is safe. Cut short between the two, a second retry finds nothing buried, and arms nothing twice.
2. Only what burying took out of the frontier is armed. A turn that failed otherwise never left it: its lease has ended, or will.
3. What is being erased (a deleted crawl, a forgotten domain) is left alone, and nothing comes back.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from crawler.adapters.crawls import CHANGED
from crawler.adapters.postgres import Database, Session, columns
from crawler.adapters.touching import touch
from crawler.core import turns
from crawler.core.errors import BrokerError, FaircrawlError, MessageError
from crawler.core.model import Outcome
from crawler.ports import DeadLetter, Queue

BURIED: Final = "its turn was lost "
"""How the detail of a URL begins that was buried (`Dispatcher`)."""
LOOKED_AT: Final = 10_000
"""Among so many of the oldest letters one is found by its number: each may hold 500 URLs."""
AT_ONCE: Final = 500
INT, BIGINT = 2**31, 2**63
_version: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


class NoSuchLetterError(FaircrawlError):
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
            among = f" among the {LOOKED_AT:,} oldest" if await self._queue.dead_count() > LOOKED_AT else ""
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
        left = await self._queue.dead_count()
        stays: dict[str, Retried] = {}
        done: list[Retried] = []
        while left > 0:
            letters = await self.oldest(len(stays) + min(AT_ONCE, left))
            fresh = [letter for letter in letters if letter.dead.letter_id not in stays][:left]
            if not fresh:
                break
            for one in await self.retry(fresh):
                if one.fate is Fate.REFUSED:
                    stays[one.letter.dead.letter_id] = one
                else:
                    done.append(one)
            left -= len(fresh)
        return [*done, *stays.values()]

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
            if armed:
                await _set_going(session, turn, rows, armed)
        for crawl_id in armed:
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
    counts = [
        (row["crawl_id"], outcome, n, 0, 0)
        for row in rows
        if row["armed"]
        for outcome, n in (
            (Outcome.DECODE_ERROR.value, -row["armed"]),
            (row["previous"] or "", row["armed"]),
        )
    ]
    for some in counts:  # one by one: two of them may be of the same crawl and outcome
        await session.fetch("record_counts", 0, *columns([some], 5))
    return rows


async def _set_going(session: Session, turn: turns.Turn, rows: Sequence[Any], crawls: Sequence[int]) -> None:
    """Finished crawls go on, as their limits allow; then the domain hears of it, last of all (queries.sql, lock order)."""
    await session.fetch("look_up")
    due = [
        (turn.domain_id, turn.domain, row["due_at"], row["crawl_id"]) for row in rows if row["armed"]
    ]
    for crawl_id in crawls:
        if await session.value("crawl_run", crawl_id) is not None:
            due += [
                (row["domain_id"], row["name"], row["due_at"], crawl_id)
                for row in await session.fetch("crawl_touch", crawl_id)
            ]
    await touch(session, due)
    await session.fetch("domain_found", turn.domain_id)
