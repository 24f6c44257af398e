"""The parser processes of a worker: as many as there are cores, started when first needed.

    wants(job)? ──no──► it is read right here
    read(job) ──► a free process ──task──► reads ──reply──► Parsed
                      │ dead, silent, or over its CPU seconds or its memory
                      └──► another process, with the reference parser ──► Parsed, or None: nobody can read it

1. A page costs a process at most. Whoever waits for another page does not notice.
   Huge ones wait for each other, so that one core is left to the others.
2. What holds of every process of ours holds of these (`crawler.servant`): one page at a time, and none is left behind.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import structlog

from crawler.core.content import reads_as_html, sniff
from crawler.parser_process import Reply, Task, parsed_of, parsed_sitemap_of
from crawler.parsing import FAST, SLOW, Job, Parsed, ParsedSitemap, SitemapJob
from crawler.saturation import Saturation
from crawler.servant import DiedError, Servant, Servants

log: Final = structlog.get_logger()

MEDIUM: Final = 16 * 1024
"""Bytes from which on reading a page takes longer than handing it over does."""
IN_LINE: Final = 16
"""Bodies for each process, with the one that it reads. With fewer we would read too, and be too late to hand it the next: 8 % slower."""
HUGE: Final = 1 << 20
"""Bytes from which on bodies are read one at a time: each may take 16 times its size in memory."""
PATIENCE: Final = 5.0
"""Wall-clock seconds for each CPU second granted: the machine may be busy."""


WARMING: Final = Job(
    body=b"<p>",
    url="http://a.invalid/",
    content_type="text/html",
    headers=(),
    parser=FAST,
)
"""What a process reads first, so that it has everything at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What reading one body may cost a parser process."""

    seconds: int = 2
    seconds_a_megabyte: int = 1
    """CPU time: ten times what an ordinary page of that size takes."""
    seconds_of_reference: int = 12
    """CPU time of the reference parser, which reads one megabyte at most."""
    memory: int = 128 << 20
    times_a_body: int = 18
    """Bytes of data, and so many more for each byte of the body: dense ordinary HTML takes 30 MB and twelve."""
    seconds_of_sitemap: int = 20
    """CPU time, for a few kilobytes may unpack to fifty megabytes."""
    memory_of_sitemap: int = 256 << 20
    """Bytes of data besides twice the body: the most that an honest one was seen to take is 160 MB."""

    def task(self, job: Job) -> Task:
        """What goes to the process with the body."""
        size = len(job.body)
        seconds = self.seconds + self.seconds_a_megabyte * (size >> 20)
        return Task(
            url=job.url,
            content_type=job.content_type,
            headers=job.headers,
            parser=job.parser,
            types=tuple(job.types),
            cpu_seconds=self.seconds_of_reference if job.parser == SLOW else seconds,
            memory=self.memory + self.times_a_body * size,
            near_duplicates=job.near_duplicates,
        )

    def sitemap_task(self, job: SitemapJob) -> Task:
        """What goes to the process with a sitemap."""
        return Task(
            url=job.url,
            content_type=None,
            headers=(),
            parser="",
            types=(),
            cpu_seconds=self.seconds_of_sitemap,
            memory=self.memory_of_sitemap + 2 * len(job.body),
            sitemap_at=job.now,
        )


GRANTS: Final = Grants()


class ParserFaultError(Exception):
    """The parser met something it was not written for: a fault of ours."""


class Parsers:
    """Reads bodies in processes of their own.

    Args:
        sharers: how many workers share this machine's cores with this one, itself included.
        grants: what a body may cost.
        saturation: of this process.
        cores: of this machine; None: as the system says.
    """

    def __init__(
        self,
        sharers: int = 1,
        grants: Grants = GRANTS,
        *,
        saturation: Saturation | None = None,
        cores: int | None = None,
    ) -> None:
        self._grants = grants
        self._saturation = saturation or Saturation()
        self._most = max(1, (cores or os.cpu_count() or 1) // sharers)
        self._room = asyncio.Semaphore(self._most)
        self._room_for_huge = asyncio.Semaphore(1)
        self._servants = Servants(_start)
        self._asked = self._long = 0
        """Bodies that are read or wait for it, and those of them that may take long."""
        self._warming: asyncio.Task[None] | None = None
        self.cpu_seconds = 0.0
        """Spent on what was read."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._servants!r} of {self._most}>"

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes there are now."""
        return self._servants.pids

    @property
    def is_warming(self) -> bool:
        """Whether a process is being started that no body waits for."""
        return self._warming is not None

    def wants(self, job: Job) -> bool:
        """Whether a body should be read in a process of its own.

        A heavy one always: the other turns cannot wait so long. A medium one while this process has no time left,
        and there is another core with a process that will soon have time for it: handing it over takes a fifth of
        reading it, and to start a process takes longer than to read any medium page.
        """
        if job.is_heavy:
            return True
        if len(job.body) < MEDIUM or self._most < 2 or not self._saturation.is_full:  # noqa: PLR2004 - another one
            return False
        started = len(self._servants)
        if self._asked >= started and started < self._most and self._warming is None:
            self._warming = asyncio.create_task(self._warm())
        return self._asked - self._long < (started - self._long) * IN_LINE

    async def read(self, job: Job) -> Parsed | None:
        """Read a body; None: no parser could, within its limits.

        Raises:
            ParserFaultError: the parser raised what it should not have.
        """
        async with self._place(job.body, is_long=job.is_heavy):
            parsed = await self._ask_page(job)
            if (
                parsed is None
                and job.parser != SLOW
                and reads_as_html(sniff(job.body, job.content_type), job.body)
            ):
                log.debug("page.overtaxed", url=job.url, bytes=len(job.body))
                parsed = await self._ask_page(replace(job, parser=SLOW))
            return parsed

    async def read_sitemap(self, job: SitemapJob) -> ParsedSitemap | None:
        """Read a sitemap; None: it cannot be, within its limits.

        Raises:
            ParserFaultError: as `read`.
        """
        async with self._place(job.body, is_long=True):
            answer = await self._ask(self._grants.sitemap_task(job), job.body)
            return None if answer is None else parsed_sitemap_of(answer[0])

    @contextlib.asynccontextmanager
    async def _place(self, body: bytes, *, is_long: bool) -> AsyncIterator[None]:
        """Until there is a process for a body, and while it is read."""
        self._asked += 1
        self._long += is_long
        try:
            async with (
                self._room_for_huge if len(body) > HUGE else contextlib.nullcontext(),
                self._room,
            ):
                yield
        finally:
            self._asked -= 1
            self._long -= is_long

    async def _warm(self) -> None:
        """Have one more process that has read all it needs to know, and waits for work."""
        process = None
        try:
            process = await _start()
            await _asked(process, self._grants.task(WARMING), WARMING.body)
            self._servants.add(process)
        except (OSError, DiedError):  # who needs one starts one, and tells what is wrong
            pass
        finally:
            self._warming = None
            if process is not None and not process.fit:
                await process.kill()

    async def close(self) -> None:
        """End all processes, also those at work."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        await self._servants.close()

    async def _ask_page(self, job: Job) -> Parsed | None:
        answer = await self._ask(self._grants.task(job), job.body)
        return None if answer is None else parsed_of(*answer)

    async def _ask(self, task: Task, body: bytes) -> tuple[Reply, bytes] | None:
        """What a process makes of a body; None: it died of it."""
        if not self._servants.has_idle and self._warming is not None:
            await asyncio.wait([self._warming])
        try:
            async with self._servants.one() as process:
                reply, packed = await _asked(process, task, body)
        except DiedError:
            return None
        self.cpu_seconds += reply.cpu_seconds
        if reply.fault:
            raise ParserFaultError(reply.fault)
        return reply, packed


async def _start() -> Servant:
    # Its last words, when it runs out of memory, are nobody's business.
    return await Servant.start("crawler.parser_process", stderr=asyncio.subprocess.DEVNULL)


async def _asked(process: Servant, task: Task, body: bytes) -> tuple[Reply, bytes]:
    """What a process makes of a body. Raises DiedError."""
    process.tell(msgspec.msgpack.encode(task), body)
    said, packed = await process.hear(task.cpu_seconds * PATIENCE)
    reply = msgspec.msgpack.decode(said, type=Reply)
    process.fit = not reply.last
    return reply, packed
