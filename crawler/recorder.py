"""Group commit: many pages, one transaction.

    put(visit) ──► gathering ──50 ms or 200 pages──► one transaction ──► every waiting release is told
                             ──a quarter of the turns is over──►

1. ``await release(...)`` returns only when the turn and every visit put before it are on disk, or raises.
2. A page is written with its links or not at all.
3. Memory is bounded: while ``max_bytes`` are not on disk yet, ``put`` waits first.
4. A batch whose commit was not confirmed is written again, as often as it takes: recording is idempotent.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from crawler.adapters.recording import Recorded, Recording
from crawler.core.errors import DatabaseBusyError, DatabaseUnavailableError
from crawler.core.metrics import PHASES, Buckets
from crawler.core.model import Answer, Outcome, Release, UrlKind, Visit
from crawler.crawlbook import CrawlBook

GATHER: Final = 0.05
"""Seconds from the first visit of a batch to its transaction."""
BATCH: Final = 200
HURRY: Final = 0.25
"""Of the turns: when so many only wait for their releases, nothing more is gathered. A crawl of a few sites stands still meanwhile."""
MAX_BYTES: Final = 64 * 1024 * 1024
VISIT_BYTES: Final = 4096
"""What a visit weighs besides its bodies, roughly."""


class Recorder:
    """Writes visits and releases in batches, one after another."""

    def __init__(
        self,
        recording: Recording,
        crawls: CrawlBook,
        *,
        patience: float,
        due: Callable[[Mapping[int, float]], None],
        failed: Callable[[DatabaseUnavailableError], object] = lambda _: None,
        turns: Callable[[], int] = lambda: 0,
        max_bytes: int = MAX_BYTES,
        gather: float = GATHER,
    ) -> None:
        self._recording = recording
        self._crawls = crawls
        self._patience = patience
        self._due = due
        self._failed = failed
        self._turns = turns
        self._max_bytes = max_bytes
        self._gather = gather
        self._visits: list[Visit] = []
        self._releases: list[tuple[Release, asyncio.Future[bool]]] = []
        self._witnesses: list[asyncio.Future[None]] = []
        self._bytes = 0
        self._writing = 0
        self._began: float | None = None
        self._held_up: list[int] = []
        self._something = asyncio.Event()
        self._full = asyncio.Event()
        self._room = asyncio.Event()
        self.pages = 0
        """Newly stored pages."""
        self.visits = 0
        """Requests, those included that a budget left out."""
        self.wire_bytes = 0
        """Of these."""
        self.outcomes = Counter[str]()
        """Visits to pages by outcome, those included that nothing was asked for."""
        self.fetches = Counter[str]()
        """Attempts by outcome, sitemaps included: as in the table fetches."""
        self.received = 0
        """Bytes over the wire, of these attempts."""
        self.phases = {phase: Buckets() for phase in PHASES}
        """Of these attempts."""
        self.commits = Buckets()
        """How long batches took to write."""
        self.away = False
        """The database does not answer."""
        self.last_commit = 0.0
        """``time.time`` of the last commit that had visits."""

    def __repr__(self) -> str:
        return f"<Recorder {self.waiting} visits, {self._bytes / 1000:.0f} kB waiting>"

    @property
    def waiting(self) -> int:
        """Visits not on disk yet, those included that are being written."""
        return len(self._visits) + self._writing

    @property
    def age(self) -> float:
        """Seconds since the batch that is being written was begun; 0: none is."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def held_up(self) -> frozenset[int]:
        """Domains with a visit that waits for room."""
        return frozenset(self._held_up)

    async def put(self, visit: Visit) -> None:
        """Have the visit written down soon; waits first while too much is waiting already."""
        if self._bytes >= self._max_bytes:
            await self._wait_for_room(visit.domain_id)
        self._visits.append(visit)
        self._bytes += _weight(visit)
        if len(self._visits) >= BATCH or self._bytes >= self._max_bytes:
            self._full.set()
        self._something.set()

    async def _wait_for_room(self, domain_id: int) -> None:
        self._held_up.append(domain_id)
        try:
            while self._bytes >= self._max_bytes:  # and not if: whoever was woken first may have taken it
                self._room.clear()
                await self._room.wait()
        finally:
            self._held_up.remove(domain_id)

    async def release(self, release: Release) -> bool:
        """Let go of a domain, once all its visits are on disk: returns when that has happened.

        False: the domain was not held under that turn any more.
        """
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._releases.append((release, told))
        self._hurry()
        return await told

    async def written(self) -> None:
        """Return when every visit put before is on disk."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._witnesses.append(told)
        self._hurry()
        await told

    def _hurry(self) -> None:
        if len(self._releases) + len(self._witnesses) >= HURRY * self._turns():
            self._full.set()
        self._something.set()

    async def run(self) -> None:
        """Write batches until cancelled; what waits then is written first.

        Raises:
            DatabaseUnavailableError: for longer than the patience.
        """
        try:
            while True:
                await self._something.wait()
                try:
                    async with asyncio.timeout(self._gather):
                        await self._full.wait()
                except TimeoutError:
                    pass
                await self._flush()
        except asyncio.CancelledError:
            await self._flush()
            raise
        finally:
            self._give_up()

    async def _flush(self) -> None:
        self._something.clear()
        self._full.clear()
        visits, self._visits = self._visits, []
        releases, self._releases = self._releases, []
        witnesses, self._witnesses = self._witnesses, []
        if visits or releases:
            self._writing, self._began = len(visits), (began := time.monotonic())
            try:
                recorded = await self._write(visits, releases)
            except (
                BaseException
            ):  # cancelled in the middle, say: it may be on disk or not, and recording it again does no harm
                self._visits[:0] = visits
                self._releases[:0] = releases
                self._witnesses[:0] = witnesses
                raise
            finally:
                self._writing, self._began = 0, None
            self.commits.observe(time.monotonic() - began)
            self._bytes -= sum(map(_weight, visits))
            self.away = False
            self._room.set()
            self._tell(visits, releases, recorded)
        for told in witnesses:
            if not told.done():
                told.set_result(None)

    def _give_up(self) -> None:
        """Whoever waits for a release that will not be written any more hears of it."""
        waiting: list[asyncio.Future[Any]] = [told for _, told in self._releases]
        for told in waiting + self._witnesses:
            if not told.done():
                told.set_exception(
                    DatabaseUnavailableError("the recorder has stopped before this was on disk")
                )
                told.exception()  # nobody need hear it

    def _tell(
        self, visits: list[Visit], releases: list[tuple[Release, asyncio.Future[bool]]], recorded: Recorded
    ) -> None:
        for visit in recorded.written:  # a visit that was left out has put no link on the frontier
            self._crawls.saw(visit.links)
            if visit.kind is UrlKind.PAGE:
                self.outcomes[visit.settlement.outcome] += 1
            if visit.answer is not None:
                self._attempted(visit.settlement.outcome, visit.answer)
        for visit in visits:
            if visit.answer is not None:
                self.visits += 1
                self.wire_bytes += visit.answer.wire_bytes
        if visits:
            self.last_commit = time.time()
        self.pages += sum(recorded.stored.values())
        for release, told in releases:
            if not told.done():
                told.set_result((release.domain_id, release.turn) in recorded.released)
        if recorded.full:
            self._crawls.changed()
        self._due(recorded.next_in)

    def _attempted(self, outcome: Outcome, answer: Answer) -> None:
        self.fetches[outcome] += 1
        self.received += answer.wire_bytes
        for phase, seconds in answer.phases:
            self.phases[phase].observe(seconds)

    async def _write(
        self, visits: list[Visit], releases: list[tuple[Release, asyncio.Future[bool]]]
    ) -> Recorded:
        clock = asyncio.get_running_loop().time
        crawls = {visit.crawl_id for visit in visits}
        budgeted, metered = self._crawls.budgeted(crawls), self._crawls.metered(crawls)
        versions = self._crawls.versions(crawls)
        away_since: float | None = None
        pause = 0.02
        while True:
            try:
                return await self._recording.record(
                    visits,
                    [release for release, _ in releases],
                    budgeted,
                    lambda r: max(0.0, r.rest_until - time.monotonic()),
                    metered=metered,
                    versions=versions,
                )
            except DatabaseBusyError:
                pass
            except DatabaseUnavailableError as error:
                self.away = True
                self._failed(error)
                away_since = away_since or clock()
                if clock() - away_since > self._patience:
                    raise
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)


def _weight(visit: Visit) -> int:
    kept = (
        len(visit.compressed or b"")
        + len(visit.fields or "")
        + len(visit.targets[1] if visit.targets else b"")
    )
    return VISIT_BYTES + kept + 200 * len(visit.links)
