"""Files of other programs, read to their end: what is taken of them, and what is said of the rest."""

import asyncio
import gzip
import json
import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from backports import zstd

from crawler.adapters.hosts import HostsFile
from crawler.adapters.seeding import Told
from crawler.core.addresses import AddressPolicy
from crawler.core.mentions import STATES, Mention
from crawler.core.model import ScopeKind
from crawler.core.revisit import DAY, START
from crawler.core.scope import Scope
from crawler.foreign import AUTO, FORMATS, Reading
from crawler.importing import Importer, Judge, later
from crawler.seeding import Tally
from crawler.seeds import Sieve

A: Final = "https://a.example/"
B: Final = "https://b.example/"
HEADER: Final = " CDX N b a m s k r M S V g\n"
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
BOMB: Final = '<!DOCTYPE items [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><items><item><url>http://a.example/&b;</url></item></items>'


def packed(data: bytes) -> bytes:
    """As gzip, and the same each time: it is part of the tests' names."""
    return gzip.compress(data, mtime=0)


def capture(url: str) -> str:
    """A line of CDX."""
    return f"k 20260102030405 {url} text/html 200 X - - 9 9 a.warc.gz\n"


class Said:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, tally: Tally) -> None:
        """There is news."""

    def say(self, text: str) -> None:
        """A line that stays."""
        self.lines.append(text)


def importing(file: Path, said: Said, *files: Path, form: str = AUTO, scope: Scope | None = None) -> Importer:
    """What reads these files."""
    sieve = Sieve(ScopeKind.ANY, AddressPolicy(()), HostsFile(None), exclude=(), owned=())
    return Importer([file, *files], Reading(form, None, NOW), Judge(sieve, scope, None), said)


async def read(
    file: Path, content: bytes, form: str = AUTO, scope: Scope | None = None
) -> tuple[list[Any], Importer, list[str]]:
    """What is taken of a file: the rows of all batches, who read it, and what that said."""
    await asyncio.to_thread(file.write_bytes, content)
    said = Said()
    importer = importing(file, said, form=form, scope=scope)
    found: list[Any] = []
    while not importer.ended:
        batch = await importer.next()
        found += batch.rows.values()
        assert batch.lines - batch.bad - batch.left_out >= len(batch.rows)
    importer.close()
    return found, importer, said.lines


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("requests.seen", b"x", "it holds fingerprints of requests (Scrapy's requests.seen), of which no URL can be made"),
        ("seen.txt", b"0123456789abcdef0123456789abcdef01234567\n" * 3, "it holds fingerprints"),
        ("p0", pickle.dumps({"url": A}), "it is pickled, as the queue in Scrapy's JOBDIR, and never read"),
        ("x", packed(b"\0\0\0" + pickle.dumps([A])), "it is pickled"),
        ("x.warc", b"WARC/1.1\r\nWARC-Type: warcinfo\r\n", "it is a WARC: import its index"),
        ("x", bytes(range(1, 256)) * 9 + b"\0", "it is binary"),
        ("x", packed(packed(b"\n" * 1000)), "it is binary"),
        ("x", b"some prose\nand more of it\n", "it is no list of URLs, no sitemap, no CDX"),
        ("x.html", b"<!doctype html><a href=https://a.example/>x</a>", "it is no list of URLs"),
        ("x.xml", BOMB.encode(), "it is no list of URLs"),
        ("x.csv", b"a,b\n1,2\n", "(another name: --url-key)"),
        ("x.cdx", b" CDX N b m s\nk 2026 text/html 200\n", "its header names no column a (the URL)"),
    ],
)  # fmt: skip
async def test_unknown(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    """What is nothing that is known is said in one line, and nothing is taken of it."""
    found, importer, said = await read(tmp_path / name, content)

    assert (found, importer.damaged, len(said)) == ([], 1, 1)
    assert said[0].startswith(f"{tmp_path / name}: not imported: ")
    assert complaint in said[0]


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in {AUTO, "list", "sitemap"}])
async def test_not_as_named(tmp_path: Path, form: str) -> None:
    """A file that is not what --format says is not taken for anything else."""
    found, importer, _ = await read(tmp_path / "x", A.encode(), form)

    assert (found, importer.damaged) == ([], 1)


LONG: Final = packed("".join(f"{A}{n}\n" for n in range(30_000)).encode())


@pytest.mark.parametrize(
    ("content", "taken", "complaint"),
    [
        (LONG[: len(LONG) // 2], None, "its gzip is cut off"),
        (packed(A.encode() + b"\n") + packed(B.encode())[:12] + b"x" * 12, 1, "its gzip is broken"),
        (zstd.compress(A.encode() * 2000 + bytes(range(256)))[:-20], 0, "its zstd is cut off"),
        (zstd.compress(A.encode() + b"\n") + zstd.compress(B.encode()), 2, ""),
        (zstd.compress(A.encode() + b"\n") + b"\x28\xb5\x2f\xfd" + b"\xff" * 99, 1, "its zstd is broken"),
        (f"{A}\n".encode() + b"x" * 2_000_000 + f"\n{B}\n".encode(), 2, "2: 'xxxx"),
        (f'[{{"url": "{A}"}}, {{"url": "{B}'.encode(), 1, "it is cut off, or no JSON, after 1 elements"),
        (f'[{{"url": "{A}"}}, '.encode() + b"[" * 200_000, 1, "its element 2 is nested too deeply"),
        (f'{{"url": "{A}"}}\n{{"a": 1}}\n{"[" * 200_000}\n{{"url": "{B}"}}'.encode(), 2, "3: is nested too deeply"),
        (f"<items><item><url>{A}</url></item><item><url>{B}".encode(), 1, "it is cut off"),
        (f"<items><item><url>{A}</url></item><item><url>&lol;</url></item></items>".encode(), 1, "2: "),
        (f"<items><item><url><value>{A}</value><value>x</value></url></item></items>".encode(), 1, ""),
        (f"url\n{A}\n,\n".encode(), 1, "3: has no URL under url"),
        ((HEADER + capture(A) + "a b c\n" + capture(B)).encode(), 2, "3: has 3 columns instead of 11"),
        (f"<urlset><url><loc>{A}</loc></url><url><loc>/relative</loc></url></urlset>".encode(), 1, "relative to nobody knows what"),
        (f"<sitemapindex><sitemap><loc>{A}1.xml</loc></sitemap></sitemapindex>".encode(), 0,
         f"is an index of 1 sitemap, the first of them {A}1.xml"),
        (b"", 0, ""),
        (b"# nothing\n", 0, ""),
    ],
)  # fmt: skip
async def test_damaged(tmp_path: Path, content: bytes, taken: int | None, complaint: str) -> None:
    """What can be read of a broken file is taken, and what cannot is said, shortly."""
    found, importer, said = await read(tmp_path / "x", content)
    whole = "cut off" in complaint or "broken" in complaint or "element" in complaint

    assert (len(found) > 1000) if taken is None else [row.url for row in found] == [A, B][:taken]
    assert complaint in "\n".join(said)
    assert len(said) == bool(complaint) + ("3: is nested" in complaint)
    assert max(map(len, said), default=0) < 300
    assert importer.damaged == whole


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
async def test_stopped(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Who wants it to stop is heard at once, in a file that says nothing too, and in what a single piece of it unpacks to."""
    file, said = tmp_path / "x", Said()
    await asyncio.to_thread(file.write_bytes, pack(b"\n" * (1 << 20) + A.encode() + b"\n"))
    importer = importing(file, said)
    asyncio.get_running_loop().call_soon(importer.stop)
    batch = await importer.next()

    assert (batch.lines, importer.stopped, importer.ended) == (0, True, True)


async def test_read_no_further(tmp_path: Path) -> None:
    """Of a file that is nothing known no more is read than it takes to see that: of a terabyte a piece. The next one is read."""
    large, small, said = tmp_path / "disk.iso", tmp_path / "list", Said()
    await asyncio.to_thread(small.write_text, A)
    await asyncio.to_thread(large.touch)
    await asyncio.to_thread(os.truncate, large, 1 << 40)
    importer = importing(large, said, small)
    batch = await importer.next()

    assert ([*batch.rows], importer.damaged, importer.ended) == ([A], 1, True)
    assert said.lines == [f"{large}: not imported: it is binary"]


@pytest.mark.parametrize(
    ("seen", "outcomes"),
    [(True, {"FETCHED": "ok", "REDIRECTION": "redirect"}), (False, dict.fromkeys(("DISCOVERED", "FETCHED", "REDIRECTION", "FETCH_ERROR")))],
)  # fmt: skip
async def test_words_for_a_status(tmp_path: Path, *, seen: bool, outcomes: dict[str, str | None]) -> None:
    """What StormCrawler has not fetched does not count as seen, and is told; as seeds, all are taken but what it gave up."""
    lines = "".join(json.dumps({"url": A + word, "status": word}) + "\n" for word in STATES)
    scope = Scope(ScopeKind.ANY, ()) if seen else None
    found, _, said = await read(tmp_path / "x", lines.encode(), scope=scope)

    assert {row.url.removeprefix(A): row.outcome for row in found} == outcomes
    assert len(found) + len(said) == len(STATES)
    assert (
        f"{A}ERROR {'does not count as seen: it is' if seen else 'is no seed: it is'} ERROR elsewhere"
        in said[-1]
    )


async def test_few_are_told(tmp_path: Path) -> None:
    """Of many bad lines the first three are told, by file and line, and all are counted."""
    found, _, said = await read(tmp_path / "x", f"{A}\n".encode() + b"no\n" * 50)

    assert len(found) == 1
    assert [line.partition(": '")[0] for line in said] == [
        f"skipped: {tmp_path / 'x'} {n}" for n in (2, 3, 4)
    ]


async def test_batches(tmp_path: Path) -> None:
    """Visits to one URL that stand one after the other are one, also where a batch ends between them."""
    lines = "".join(capture(f"{A}{n}") * 2 for n in range(20_500))
    found, _, said = await read(tmp_path / "x", (HEADER + lines).encode(), scope=Scope(ScopeKind.ANY, ()))

    assert len(found) == len({row.url for row in found}) == 20_500
    assert said == []


def test_what_changes_often() -> None:
    """Several visits tell how often a page changes, and so when it is visited next; an older one than is known says nothing."""
    row = Told(1, b"", A, "a.example", 0, at=datetime(2026, 1, 1, tzinfo=UTC), outcome="ok")
    quiet = busy = row
    for day in range(2, 20):
        at = datetime(2026, 1, day, tzinfo=UTC)
        quiet = later(quiet, "same", Mention(A, at=at, digest="same"))
        busy = later(busy, "x", Mention(A, at=at, digest="y"))

    assert busy.revisit is not None
    assert quiet.revisit is not None
    assert busy.revisit < 5 * DAY < START < quiet.revisit
    assert busy.at == quiet.at == datetime(2026, 1, 19, tzinfo=UTC)
    assert later(busy, "y", Mention(A, at=NOW, status=404)).outcome == "gone"
    assert later(busy, "y", Mention(A, at=datetime(2020, 1, 1, tzinfo=UTC), status=404)) == busy
