"""Reading pages: what is heavy is read elsewhere, within bounds, and costs only itself."""

import asyncio
import gzip
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from crawler.core.model import Answer, Outcome
from crawler.core.sitemaps import read_sitemap
from crawler.parsers import Grants, Parsers
from crawler.parsing import LARGE, Job, parse
from crawler.reading import FAULT, UNREADABLE, Read, Reader, ReadSitemap

URL: Final = "http://a.test/"
HEAVY: Final = b"<title>Heavy</title><a href=/next>next</a>" + b"<p>word " * 40_000
SLOW_FOR_REFERENCE: Final = b"<a href=/next>next</a>" + b"<p>word <b>bold</b> " * 20_000
"""Some two seconds of CPU time for the reference parser."""


def answer(body: bytes, content_type: str | None = "text/html", **more: object) -> Answer:
    """A whole answer with that body."""
    return Answer(Outcome.OK, 0, 0, status=200, body=body, content_type=content_type, **more)  # type: ignore[arg-type]


class Desk:
    """A reader, its processes, and what it reported."""

    def __init__(self, grants: Grants) -> None:
        self.faults: list[tuple[str, str]] = []
        self.parsers = Parsers(grants=grants)
        self._reader = Reader(self.parsers, lambda error, url: self.faults.append((str(error), url)))

    async def read(
        self, body: bytes, content_type: str | None = "text/html", parser: str = "turbohtml"
    ) -> Read:
        """What comes of a body."""
        return await self._reader.read(answer(body, content_type), URL, parser=parser)

    async def sitemap(self, body: bytes | Answer) -> ReadSitemap:
        """What comes of a body, or an answer, in a sitemap's place."""
        return await self._reader.sitemap(body if isinstance(body, Answer) else answer(body), URL)

    async def busy(self) -> int:
        """The process that is at work now, once there is one that has spent more time than starting takes."""
        while not (pids := [pid for pid in self.parsers.pids if ticks(pid) > 80]):  # noqa: ASYNC110 - of another program
            await asyncio.sleep(0.01)
        return pids[0]


@asynccontextmanager
async def desk(**grants: int) -> AsyncIterator[Desk]:
    """A reader, closed in the end."""
    one = Desk(Grants(**grants))
    try:
        yield one
    finally:
        await one.parsers.close()


def ticks(pid: int) -> int:
    """Hundredths of a CPU second that a process has spent."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


async def until_dead(pid: int) -> None:
    """Wait for the end of a process."""
    while alive(pid):  # noqa: ASYNC110 - of another program
        await asyncio.sleep(0.01)


def job(body: bytes, parser: str = "turbohtml") -> Job:
    """A body to be read."""
    return Job(body=body, url=URL, content_type="text/html", headers=(), parser=parser)


@pytest.mark.parametrize(
    ("heavy", "one"),
    [
        (False, job(b"x" * (LARGE - 1))),
        (True, job(b"x" * LARGE)),
        (True, job(b"x", "html5lib")),
    ],
)
def test_what_is_heavy(*, heavy: bool, one: Job) -> None:
    """A body is heavy by its bytes, or by its parser."""
    assert one.is_heavy == heavy


async def test_killed_while_idle() -> None:
    """A process that ends while nobody uses it costs no page."""
    async with desk() as reader:
        await reader.read(HEAVY)
        (pid,) = reader.parsers.pids
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while reader.parsers.pids:  # noqa: ASYNC110 - of another program
                await asyncio.sleep(0.01)
        read = await reader.read(b'"' + HEAVY + b'"', "application/json")

        assert read.answer.outcome is Outcome.OK


async def test_a_heavy_page_reads_as_it_would_here() -> None:
    """What a parser process makes of a page is what would have been made of it here."""
    expected = parse(job(HEAVY))

    async with desk() as reader:
        read = await reader.read(HEAVY)

        assert (read.page, read.digest, read.compressed) == (
            expected.page,
            expected.digest,
            expected.compressed,
        )
        assert read.page is not None
        assert read.page.links == ("http://a.test/next",)


async def test_small_pages_need_no_process() -> None:
    """No process is started before a heavy page comes."""
    async with desk() as reader:
        await reader.read(b"<title>small</title>")

        assert reader.parsers.pids == ()


async def test_others_go_on_while_a_page_is_read() -> None:
    """Small pages are read while a heavy one is."""
    async with desk() as reader:
        heavy = asyncio.create_task(reader.read(SLOW_FOR_REFERENCE, parser="html5lib"))
        await reader.busy()
        for _ in range(100):
            await reader.read(b"<title>small</title>")

        assert not heavy.done()
        assert (await heavy).answer.outcome is Outcome.OK


async def test_a_process_is_used_again() -> None:
    """One page after another is read by the same process."""
    async with desk() as reader:
        await reader.read(HEAVY)
        first = reader.parsers.pids
        await reader.read(HEAVY)

        assert len(first) == 1
        assert reader.parsers.pids == first


async def test_a_parser_that_dies_is_followed_by_the_reference() -> None:
    """When the fast parser's process dies, the reference parser reads the first megabyte in another."""
    body = b"<a href=/next>next</a><p>" + b"word " * 1_800_000
    by_reference = parse(job(body, "html5lib")).page

    async with desk(memory=96 << 20, times_a_body=0) as reader:
        read = await reader.read(body)

        assert read.page == by_reference
        assert by_reference.text_digest != parse(job(body)).page.text_digest


async def test_a_page_that_no_parser_survives_is_a_decode_error() -> None:
    """When the reference parser gives up too, the page is a decode_error, without a body."""
    async with desk(memory=64 << 20, times_a_body=0) as reader:
        read = await reader.read(b"<a href=/next>next</a>" + b"<p>x" * 600_000)

        assert (read.answer.outcome, read.answer.detail) == (Outcome.DECODE_ERROR, UNREADABLE)
        assert (read.answer.body, read.page) == (b"", None)


async def test_a_page_that_costs_too_much_time_is_given_up() -> None:
    """A parser that takes more CPU seconds than granted is ended, and the page is a decode_error."""
    async with desk(seconds_of_reference=1) as reader:
        read = await reader.read(SLOW_FOR_REFERENCE * 2, parser="html5lib")

        assert (read.answer.outcome, read.answer.detail) == (Outcome.DECODE_ERROR, UNREADABLE)


async def test_a_killed_parser_costs_its_page_only() -> None:
    """A parser process that is killed in the middle is replaced, and the next page is read."""
    async with desk() as reader:
        slow = asyncio.create_task(reader.read(SLOW_FOR_REFERENCE, parser="html5lib"))
        pid = await reader.busy()
        os.kill(pid, signal.SIGKILL)

        assert (await slow).answer.outcome is Outcome.DECODE_ERROR
        assert (await reader.read(HEAVY)).answer.outcome is Outcome.OK
        assert pid not in reader.parsers.pids


async def test_cancelling_ends_the_process_at_work() -> None:
    """Whoever stops waiting for a page leaves no process busy with it."""
    async with desk() as reader:
        slow = asyncio.create_task(reader.read(SLOW_FOR_REFERENCE, parser="html5lib"))
        pid = await reader.busy()
        slow.cancel()
        with suppress(asyncio.CancelledError):
            await slow
        await until_dead(pid)

        assert reader.parsers.pids == ()


async def test_closing_leaves_no_process() -> None:
    """Closing ends the idle processes."""
    async with desk() as reader:
        await reader.read(HEAVY)
        (pid,) = reader.parsers.pids
        await reader.parsers.close()
        await until_dead(pid)

        assert reader.parsers.pids == ()


async def test_signals_to_the_whole_group_are_for_the_parent() -> None:
    """A parser process outlives Ctrl-C and SIGTERM: its parent decides."""
    async with desk() as reader:
        slow = asyncio.create_task(reader.read(SLOW_FOR_REFERENCE, parser="html5lib"))
        pid = await reader.busy()
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)

        assert (await slow).answer.outcome is Outcome.OK


async def test_a_fault_of_ours_is_reported() -> None:
    """An exception that should not have come is reported with its URL, here as in a process; the page is a decode_error."""
    async with desk() as reader:
        for body in (b"<p>small", HEAVY):
            read = await reader.read(body, parser="no such parser")

            assert (read.answer.outcome, read.answer.detail) == (Outcome.DECODE_ERROR, FAULT)
        assert [("no such parser" in error, url) for error, url in reader.faults] == [(True, URL)] * 2


async def test_a_type_that_is_not_stored_is_refused_after_all() -> None:
    """A heavy body that turns out to be of another type is refused, as a small one is."""
    async with desk() as reader:
        read = await reader.read(b"\x89PNG\r\n\x1a\n" + b"\0" * LARGE, None)

        assert (read.answer.outcome, read.answer.detail) == (Outcome.TYPE_REFUSED, "its bytes are image/png")
        assert read.compressed is None


PARENT: Final = """
import asyncio, sys
from crawler.parsers import Parsers
from crawler.parsing import Job

async def main():
    parsers = Parsers()
    job = Job(body=b"<p>word <b>bold</b> " * 40_000, url="http://a.test/", content_type="text/html", headers=(), parser="html5lib")
    reading = asyncio.create_task(parsers.read(job))
    while not parsers.pids:
        await asyncio.sleep(0.01)
    print(parsers.pids[0], flush=True)
    await reading

asyncio.run(main())
"""


async def test_a_parser_ends_with_its_parent() -> None:
    """A parser process whose parent is killed ends by itself, soon after its page at the latest."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - a moment
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await asyncio.wait_for(until_dead(pid), 60)

    assert not alive(pid)


SITEMAP: Final = b"<urlset><url><loc>http://a.test/x</loc><lastmod>2020-01-02</lastmod><priority>0.5</priority></url></urlset>"


async def test_a_sitemap_is_read_in_a_process() -> None:
    """A sitemap comes back from its process as it would have been read here, with the digest of its bytes."""
    for body in (SITEMAP, gzip.compress(SITEMAP)):
        async with desk() as reader:
            read = await reader.sitemap(body)

            assert read.sitemap == read_sitemap(body, URL, datetime.now(UTC))
            assert (read.answer.outcome, read.digest) == (Outcome.OK, hashlib.sha256(body).digest())
            assert len(reader.parsers.pids) == 1


async def test_what_is_no_sitemap_is_refused() -> None:
    """A page of HTML in a sitemap's place is type_refused, with what it is, and without a body."""
    async with desk() as reader:
        read = await reader.sitemap(b"<!doctype html><title>not found</title>")

        assert (read.answer.outcome, read.answer.detail) == (
            Outcome.TYPE_REFUSED,
            "this is not a sitemap: it is a page of HTML",
        )
        assert (read.answer.body, read.sitemap, read.digest) == (b"", None, None)


async def test_an_answer_that_is_not_ok_is_not_read() -> None:
    """What was not found stays as it is, and costs no process."""
    gone = Answer(Outcome.GONE, 0, 0, status=404)
    async with desk() as reader:
        read = await reader.sitemap(gone)

        assert (read.answer, read.sitemap, reader.parsers.pids) == (gone, None, ())


async def test_a_sitemap_beyond_its_memory_is_a_decode_error() -> None:
    """A sitemap that takes more memory than granted ends its process, and the next one is read."""
    names = b"<urlset>" + b"".join(b"<a%d/>" % number for number in range(1_500_000))
    async with desk(memory_of_sitemap=64 << 20) as reader:
        read = await reader.sitemap(names)
        after = await reader.sitemap(SITEMAP)

        assert (read.answer.outcome, read.answer.detail) == (Outcome.DECODE_ERROR, UNREADABLE)
        assert after.sitemap is not None


async def test_a_sitemap_beyond_its_time_is_a_decode_error() -> None:
    """A sitemap that takes more CPU seconds than granted ends its process."""
    bad = b"<urlset>" + b"<url><loc>http://[/</loc></url>" * 400_000
    async with desk(seconds_of_sitemap=0) as reader:
        read = await reader.sitemap(bad)

        assert (read.answer.outcome, read.answer.detail) == (Outcome.DECODE_ERROR, UNREADABLE)


async def test_pages_and_sitemaps_share_a_process() -> None:
    """One after the other, they are read by the same process."""
    async with desk() as reader:
        await reader.read(HEAVY)
        first = reader.parsers.pids
        sitemap = await reader.sitemap(SITEMAP)
        page = await reader.read(HEAVY)

        assert (sitemap.sitemap is not None, page.page is not None) == (True, True)
        assert reader.parsers.pids == first
