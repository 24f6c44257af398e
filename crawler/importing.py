"""Coming from elsewhere: what `crawl import` does. Files of other programs become seeds, or URLs that count as visited.

    files ──foreign.py──► Mention, Fault ──canonical? may the crawl have it?──► batches ──► `seeding.seed` ──► the frontier

1. Any number of lines takes the memory of two batches; a packed file is unpacked as it is read.
2. A batch is safe once it is put: whatever happens then, the same command goes on, and finds it known.
3. What says nothing of a URL is counted and passed over, with the first few told; so is what the crawl would not follow.
4. Several visits to a URL are one, the last, also where it was put before (`adapters.importing`). Those that stand one after the other,
   as in a CDX, tell of its changes.
5. Whatever a file holds, others have their turn after each piece of it, also after each that it unpacks to: who wants it to stop is heard.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from crawler.adapters.seeding import Told
from crawler.adapters.zstd import MAGIC as ZSTD
from crawler.core.mentions import GIVEN_UP, Fault, Mention, ended
from crawler.core.model import Outcome
from crawler.core.revisit import Sight, adaptive, learned
from crawler.core.scope import Scope
from crawler.core.urls import url_hash
from crawler.foreign import HEAD, Form, Packing, Reading, UnknownFileError, form_of, packing_of
from crawler.seeding import HEARD, PATIENCE, ROWS, TOLD, Batch, Teller
from crawler.seeds import Sieve, Source, open_input, refuse_line, seed_in

STDIN: Final = "-"
SLICE: Final = 256
"""Mentions looked at before others have their turn."""
LINES: Final = 10 * ROWS
"""Of a batch, however few URLs they name: who watches sees it move. No batch ends among the visits to one URL."""
BY_PRIORITY: Final = 5.0
"""Seconds between what a sitemap calls most and what it calls least important, as for those that are found (`recording.sooner`)."""


@dataclass(slots=True)
class _File:
    """One that is being read."""

    file: Path
    shown: str
    """As people know it."""
    source: Source
    fd: int
    packing: Packing | None = None
    form: Form | None = None
    head: bytearray = field(default_factory=bytearray)
    began: bool = False
    """Whether it is known whether it is packed."""


class Judge:
    """What a crawl has no use for.

    Args:
        sieve: what it does not take of seeds.
        scope: what it follows, for URLs that were visited elsewhere: as links, they would have to be in it. None: these are to be seeds.
        at: when they were visited, whatever the files say; None: as they say.
    """

    def __init__(self, sieve: Sieve, scope: Scope | None, at: datetime | None) -> None:
        self._sieve = sieve
        self._scope = scope
        self._at = at

    def refusal(self, url: str) -> str | None:
        """Why it is not taken; None: it is."""
        return self._sieve.refusal(url, self._sieve.place(url))

    def useless(self, url: str, mention: Mention) -> str | None:
        """Why the crawl has no use for it; None: it has."""
        if self._scope is not None:
            if ended(mention) is None:
                return f"does not count as seen: it is {mention.state} elsewhere"
            why = self._scope.refusal(url, 1)
            return None if why is None else f"is not taken: {why}"
        if mention.state == GIVEN_UP:
            return f"is no seed: it is {GIVEN_UP} elsewhere"
        if ended(mention) in (Outcome.GONE, Outcome.HTTP_ERROR):
            return f"is no seed: it was answered with {mention.status} elsewhere"
        return None

    def told(self, url: str, mention: Mention) -> Told:
        """The row for it."""
        place = self._sieve.place(url)
        key = self._sieve.key(url, place)
        row = Told(
            place.domain_id,
            url_hash(url),
            url,
            place.domain,
            key,
            lastmod=mention.lastmod,
            changefreq=mention.changefreq,
        )
        if self._scope is None:
            said = mention.priority
            return row if said is None else row._replace(sooner=BY_PRIORITY * (said - 0.5))
        return row._replace(
            at=self._at or mention.at,
            outcome=ended(mention),
            status=mention.status,
            content_type=mention.mime,
            revisit=None if mention.changefreq is None else adaptive(Sight(changefreq=mention.changefreq)),
        )


def later(row: Told, digest: str | None, mention: Mention) -> Told:
    """The row for a URL that was visited again. *digest*: what came the time before."""
    if row.at is None or mention.at is None or mention.at <= row.at:
        return row
    period = row.period
    if digest is not None and mention.digest is not None:
        sight = Sight(
            changed=digest != mention.digest,
            elapsed=(mention.at - row.at).total_seconds(),
            period=learned(Sight()) if period is None else period,
        )
        period = learned(sight)
    known = Sight(changed=False, period=period, changefreq=row.changefreq)
    return row._replace(
        at=mention.at,
        outcome=ended(mention),
        status=mention.status,
        content_type=mention.mime or row.content_type,
        period=period,
        revisit=row.revisit if period is None else adaptive(known),
    )


class Importer:
    """Files in, batches out: for `seeding.seed`."""

    def __init__(self, files: Sequence[Path], reading: Reading, judge: Judge, teller: Teller) -> None:
        self._files = iter(files)
        self._reading = reading
        self._judge = judge
        self._say = teller.say
        self._now: _File | None = None
        self._shown = ""
        self._mentions: Iterator[Mention | Fault | None] = iter(())
        self._held: Mention | None = None  # the first of the next batch
        self._last: tuple[str, str | None] = (
            "",
            None,
        )  # the URL that was taken last, and the digest of what came
        self._told = {"bad": 0, "left_out": 0}
        self.damaged = 0
        """Files that could not be read, or not to their end."""
        self.stopped = False
        self.ended = False

    def stop(self) -> None:
        """Let it end here."""
        self.stopped = True
        if self._now is not None:
            self._now.source.stop()

    def close(self) -> None:
        """Nothing more is read."""
        if self._now is not None:
            os.close(self._now.fd)
            self._now = None

    async def next(self) -> Batch:
        """The next batch: a full one, or what came within a while; after the last one, `ended` is True."""
        batch = Batch()
        clock = asyncio.get_running_loop().time
        until: float | None = None
        if self._held is not None:
            held, self._held = self._held, None
            self._take(batch, held)
        while not self.ended:
            if not await self._taken(batch):
                break
            if batch.lines and until is None:
                until = clock() + PATIENCE
            if not await self._read(until):
                break
        return batch

    async def _taken(self, batch: Batch) -> bool:
        """Take what was read; False: the batch is full."""
        for n, said in enumerate(self._mentions, 1):
            if said is not None and not self._take(batch, said):
                return False
            if said is None or n % SLICE == 0:
                await asyncio.sleep(0)  # the last batch is being put meanwhile
                if self.stopped:
                    break
        return batch.bad + batch.left_out < LINES

    async def _read(self, until: float | None) -> bool:
        """Read on; False: nothing has come in time."""
        if self._now is None:
            self._open()
            return True
        piece = await self._now.source.read(until)
        if piece is None:
            return False
        if not piece and not self.stopped:
            await asyncio.sleep(HEARD)  # Ctrl-C may have ended who writes
        if self.stopped:  # what comes before a stop is half a line
            self.close()
            self.ended = True
        elif piece:
            self._mentions = self._said(self._now, piece)
        else:
            self._mentions = self._rest(self._now)
            self.close()
        return True

    def _open(self) -> None:
        file = next(self._files, None)
        if file is None or self.stopped:
            self.ended = True
            return
        shown = "standard input" if str(file) == STDIN else str(file)
        fd = open_input(file, shown)
        self._now = _File(file, shown, Source(fd, file, shown), fd)
        self._shown = shown

    def _said(self, now: _File, piece: bytes) -> Iterator[Mention | Fault | None]:
        """What the file says with one more piece of it; None after each piece that this unpacks to."""
        if not now.began:
            now.head += piece
            if len(now.head) < len(ZSTD):
                return
            now.began, now.packing = True, packing_of(bytes(now.head))
            piece = bytes(now.head)
            now.head.clear()
        for unpacked in (piece,) if now.packing is None else now.packing.feed(piece):
            if now.form is not None:
                yield from now.form.feed(unpacked)
            else:
                now.head += unpacked
                if len(now.head) >= HEAD:
                    yield from self._recognised(now)
            yield None
            if self._now is not now:
                return
        yield None

    def _recognised(self, now: _File) -> Iterator[Mention | Fault]:
        """What the first bytes say, when there are enough of them to see what they are. What is unknown is read no further."""
        head = bytes(now.head)
        now.head.clear()
        try:
            now.form = form_of(head, now.file, self._reading)
        except UnknownFileError as error:
            self._damaged(now, f"not imported: {error}")
            self.close()
            return
        yield from now.form.feed(head)

    def _rest(self, now: _File) -> Iterator[Mention | Fault]:
        """What the file says at its end."""
        if now.packing is not None:
            now.packing.end()
        if now.form is None:
            yield from self._recognised(now)
        if now.form is not None:
            yield from now.form.end()
            for detail in filter(None, (now.packing and now.packing.detail, now.form.detail)):
                self._damaged(now, str(detail))

    def _damaged(self, now: _File, why: str) -> None:
        self.damaged += 1
        self._say(f"{now.shown}: {why}")

    def _take(self, batch: Batch, said: Mention | Fault) -> bool:
        """Take it; False: it is for the next batch."""
        if isinstance(said, Fault):
            batch.lines += 1
            self._pass_over(batch, "bad", said.number, said.why)
            return True
        url = seed_in(said.text)
        if url is None:
            batch.lines += 1
            self._pass_over(batch, "bad", said.number, refuse_line(said.text))
            return True
        if (known := batch.rows.get(url)) is None and (len(batch.rows) >= ROWS or batch.lines >= LINES):
            self._held = said
            return False
        batch.lines += 1
        if (why := self._judge.refusal(url)) is not None:
            self._pass_over(batch, "bad", said.number, f"{url} {why}")
        elif (why := self._judge.useless(url, said)) is not None:
            self._pass_over(batch, "left_out", said.number, f"{url} {why}")
        elif isinstance(known, Told):
            if known.outcome is not None:
                batch.rows[url] = later(known, self._last[1] if self._last[0] == url else None, said)
            self._last = url, said.digest
        else:
            batch.rows[url] = self._judge.told(url, said)
            self._last = url, said.digest
        return True

    def _pass_over(self, batch: Batch, kind: str, number: int, why: str) -> None:
        setattr(batch, kind, getattr(batch, kind) + 1)
        self._told[kind] += 1
        if self._told[kind] <= TOLD:
            self._say(f"skipped: {self._shown}{f' {number}' if number else ''}: {why}")
