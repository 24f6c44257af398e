"""Archives: a series of files, and the index that finds pages in them."""

import contextlib
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator  # type: ignore[import-untyped]  # it brings no types
from warcio.cli import main as warcio  # type: ignore[import-untyped]  # it brings no types

from crawler.adapters.postgres import Database
from crawler.adapters.zstd import pack, unpack
from crawler.core.cdxj import surt
from crawler.core.errors import FaircrawlError, UsageError
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.warc import Earlier
from crawler.export_files import Place
from crawler.export_formats import Kind, Order, order_for, refuse_unwritable_as
from crawler.exporting import export_to, options_of
from crawler.firsts import FIRST_SLOTS, Firsts
from crawler.warcing import WarcWriter
from tests.storing import Stored, crawl_of, numbered, store

CRAWL: Final = Crawl(1, "docs of a/b", CrawlState.RUNNING, 1, ScopeKind.ANY, owned_domains=("own.example",))
AT: Final = datetime(2031, 5, 1, tzinfo=UTC)


def row(url: str, body: bytes | None = None, **more: Any) -> dict[str, Any]:
    """A row of the statement `export`: a page with a body of its own, if none is given."""
    body = f"<title>{url}</title>".encode() * 40 if body is None else body
    return {
        "url": url, "depth": 2, "fetched_at": AT, "first_at": AT, "changed_at": AT, "outcome": "ok", "detail": "", "status": 200,
        "address": None, "protocol": "HTTP/1.1", "request_headers": '[["User-Agent", "faircrawl/1"]]',
        "headers": '[["Content-Type", "text/html; charset=utf-8"], ["Content-Encoding", "gzip"]]', "directives": ["noindex"],
        "content_type": "text/html", "charset": "utf-8", "title": "naïve", "language": None, "redirect_to": None, "length": len(body),
        "digest": sha256(body).digest(), "text_digest": None, "fields": '{"a": 1}', "data": pack(body),
    } | more  # fmt: skip


def gone(url: str) -> dict[str, Any]:
    """A row of a page that is not there."""
    return row(url, outcome="gone", status=404, content_type=None, length=None, digest=None, data=None)


def rows(many: int) -> list[dict[str, Any]]:
    """Pages, of which every fifth has the body of the first, and every seventh is gone."""
    made = []
    for n in range(many):
        url, at = f"http://www.example.com/{n:04}?b=2&a=1", AT + timedelta(seconds=n)
        page = gone(url) if n % 7 == 6 else row(url, b"the same " * 50 if n % 5 == 0 else None)
        made.append(page | {"fetched_at": at})
    return made


def written(output: Path, pages: Sequence[dict[str, Any]], **more: Any) -> int:
    """An archive of these: how many pages it has."""
    writer = WarcWriter(output, CRAWL, **more)
    for page in pages:
        writer.add(page)
    return writer.close()


def index_of(file: Path) -> list[tuple[str, str, dict[str, str]]]:
    """The lines of an index."""
    lines = [line.split(" ", 2) for line in file.read_text().splitlines()]
    return [(key, time, json.loads(facts)) for key, time, facts in lines]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in it, hidden ones too."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def replayed(folder: Path, index: Sequence[tuple[str, str, dict[str, str]]], url: str) -> bytes:
    """The body of a URL as a replay tool finds it: by its key, in the file, at the offset, in so many bytes; if told so, of another URL."""
    (facts,) = [facts for key, _, facts in index if key == surt(url)]
    with (folder / facts["filename"]).open("rb") as file:
        file.seek(int(facts["offset"]))
        member = file.read(int(facts["length"]))
    ((kind, headers, payload),) = [
        (one.rec_type, one.rec_headers, one.content_stream().read())
        for one in ArchiveIterator(io.BytesIO(member))
    ]
    assert headers.get_header("WARC-Target-URI") == url
    found: bytes = payload
    return (
        replayed(folder, index, headers.get_header("WARC-Refers-To-Target-URI"))
        if kind == "revisit"
        else found
    )


@pytest.mark.parametrize("name", ["docs", "docs.warc.gz", "docs.warc"])
def test_a_series(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each page is found by the index, whole, in files of the size asked for; warcio and fastwarc agree with every digest."""
    pages = rows(60)
    count = written(tmp_path / name, pages, size=9000)
    files = sorted(file for file in tmp_path.iterdir() if file.suffix != ".cdxj")
    index = index_of(tmp_path / "docs.cdxj")
    with pytest.raises(SystemExit) as checked:
        warcio(["check", "-v", *map(str, files)])
    said = capsys.readouterr().out
    fast = [
        (one.verify_block_digest(), one.record_id)
        for file in files
        for one in FastIterator(io.BytesIO(file.read_bytes()), parse_http=False)
    ]

    assert count == len(index) == 60
    assert len(files) > 3
    assert all(file.stat().st_size <= 9000 for file in files)
    assert {file.suffix for file in files} == {".warc" if name == "docs.warc" else ".gz"}
    assert checked.value.code == 0
    assert said.count("digest pass") + said.count("not checked (revisit)") == len(fast) == 3 * 60 + len(files)
    assert {right for right, _ in fast} == {True}
    assert len({identity for _, identity in fast}) == len(fast)
    assert index == sorted(index, key=lambda one: one[:2])
    assert [facts["mime"] for *_, facts in index].count("warc/revisit") == 9
    assert [facts["status"] for *_, facts in index].count("404") == 8
    assert all(
        replayed(tmp_path, index, page["url"]) == (b"" if page["data"] is None else unpack(page["data"]))
        for page in pages
    )


def test_what_a_file_begins_with(tmp_path: Path) -> None:
    """Each file says of which crawl it is, who asked, and whose robots.txt was not obeyed; in a folder it is named after the crawl."""
    written(tmp_path, rows(3))
    with (tmp_path / "docs-of-a-b-00000.warc.gz").open("rb") as file:
        begin = next(iter(ArchiveIterator(file)))
        said = begin.content_stream().read().decode()

    assert begin.rec_type == "warcinfo"
    assert begin.rec_headers.get_header("WARC-Date") == "2031-05-01T00:00:00.000000Z"
    assert "isPartOf: docs of a/b\r\n" in said
    assert "robots: obey, but on the operator's own own.example\r\n" in said
    assert "http-header-user-agent: faircrawl/1\r\n" in said


def test_what_the_crawler_made_of_it(tmp_path: Path) -> None:
    """The metadata of a page say how it was found, how it ended, and what hooks said of it."""
    written(tmp_path / "x", [row("http://a.example/", b"x")])
    with (tmp_path / "x-00000.warc.gz").open("rb") as file:
        (said,) = [
            one.content_stream().read().decode()
            for one in ArchiveIterator(file)
            if one.rec_type == "metadata"
        ]

    assert said.splitlines() == [
        "hopsFromSeed: LL",
        "outcome: ok",
        "first-stored: 2031-05-01T00:00:00.000000Z",
        "last-changed: 2031-05-01T00:00:00.000000Z",
        "charset: utf-8",
        "title: naïve",
        "directives: noindex",
        "body-digest: sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        'fields: {"a": 1}',
    ]


def test_what_is_no_answer(tmp_path: Path) -> None:
    """A page that never got an answer is not there; an empty body is an answer, and nobody refers to it."""
    silent = row("http://a.example/dns", status=None, outcome="dns_error", data=None, digest=None)
    empty = [row(f"http://a.example/{n}", b"") for n in range(2)]
    count = written(tmp_path / "x", [silent, *empty])
    index = index_of(tmp_path / "x.cdxj")

    assert count == 2
    assert [facts["mime"] for *_, facts in index] == ["text/html"] * 2


def test_nothing_to_write(tmp_path: Path) -> None:
    """A crawl without pages has an empty index, and no file."""
    assert written(tmp_path / "x", []) == 0
    assert contents(tmp_path) == {"x.cdxj": b""}


@settings(max_examples=30)
@given(
    st.dictionaries(st.integers(1, 29), st.integers(0, 11), max_size=4), st.sampled_from([2000, 9000, 10**6])
)
def test_interrupted(stops: dict[int, int], size: int) -> None:
    """However often an export is interrupted, some pages after a pause, it is the same bytes in the end, and no more files."""
    pages = rows(30)
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        whole, here = Path(one), Path(other)
        written(whole / "x", pages, size=size)
        state: Any = None
        done = 0
        for stop, lost in sorted(stops.items()):
            writer = WarcWriter(here / "x", CRAWL, state, size=size, least=0)
            for page in pages[done:stop]:
                writer.add(page)
            state, done = json.loads(json.dumps(writer.pause())), stop
            for page in pages[stop : stop + lost]:
                writer.add(page)
            writer.drop()
        writer = WarcWriter(here / "x", CRAWL, state, size=size)
        for page in pages[done:]:
            writer.add(page)

        assert writer.close() == len(pages)
        assert contents(here) == contents(whole)


def test_dropped(tmp_path: Path) -> None:
    """An export that ends early before it paused leaves nothing, whole files neither; a small one does not pause."""
    writer = WarcWriter(tmp_path / "x", CRAWL, size=2000)
    for page in rows(20):
        writer.add(page)
    there = list(tmp_path.glob("x-*"))
    paused = writer.pause()
    writer.drop()

    assert len(there) > 1
    assert paused is None
    assert contents(tmp_path) == {}


def test_given_up(tmp_path: Path) -> None:
    """What an export left that paused and was given up is no archive: the next one begins anew."""
    writer = WarcWriter(tmp_path / "x", CRAWL, size=2000, least=0)
    for page in rows(20):
        writer.add(page)
    assert writer.pause() is not None
    writer.drop()
    written(tmp_path / "x", rows(2))

    assert sorted(contents(tmp_path)) == ["x-00000.warc.gz", "x.cdxj"]


def test_refused(tmp_path: Path) -> None:
    """An archive is not replaced, standard output is no place for a series, and what is gone is not gone on with."""
    written(tmp_path / "x", rows(2))
    there = contents(tmp_path)
    with pytest.raises(UsageError, match=r"x-00000.warc.gz is there already"):
        WarcWriter(tmp_path / "x", CRAWL)
    with pytest.raises(UsageError, match="WARC is a series of files"):
        WarcWriter(Path("-"), CRAWL)
    known = {"file": 1, "offset": 7, "lines": 0, "firsts": 0, "records": 3, "pages": 1}
    with pytest.raises(
        FaircrawlError, match=r"y-00001.warc.gz.part, with which this export goes on, is gone"
    ):
        WarcWriter(tmp_path / "y", CRAWL, known)
    with (
        contextlib.closing(WarcWriter(tmp_path / "z", CRAWL)),
        pytest.raises(FaircrawlError, match="cannot be written"),
    ):
        WarcWriter(tmp_path / "z", CRAWL)

    assert {name: data for name, data in contents(tmp_path).items() if name.startswith("x")} == there


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(0, 200))
def test_firsts(numbers: list[int], stop: int) -> None:
    """Each body is had by who had it first, however many there are, and after it was closed too, as far as it was kept."""
    with TemporaryDirectory() as folder:
        firsts = Firsts(Path(folder) / "x", slots=2)
        known: dict[bytes, Earlier] = {}
        for place, number in enumerate(numbers):
            digest = sha256(bytes([number])).digest()
            if place == stop:
                kept = firsts.sync()
                firsts.add(bytes(32), Earlier("http://lost.example/", AT, "A" * 32, 1))
                firsts.close()
                firsts = Firsts(Path(folder) / "x", kept, slots=2)
            assert firsts.first(digest) == known.get(digest)
            if digest not in known:
                known[digest] = Earlier(
                    f"http://a.example/{place}", AT + timedelta(microseconds=place), f"{place:032}", place
                )
                firsts.add(digest, known[digest])

        assert all(firsts.first(digest) == earlier for digest, earlier in known.items())
        assert firsts.first(bytes(32)) is None
        firsts.discard()
        assert list(Path(folder).iterdir()) == []


async def test_from_the_database(database: Database, tmp_path: Path) -> None:
    """What is stored of a crawl is written by its name: pages, and what their headers were."""
    crawl = await crawl_of(database)
    await store(
        database,
        crawl,
        [
            Stored("https://a.example/1"),
            Stored("https://a.example/2", body="one"),
            Stored("https://b.example/", body="one"),
        ],
    )
    count = await export_to(database, crawl, order_for(tmp_path / "x.warc.gz"))
    index = index_of(tmp_path / "x.cdxj")
    with (tmp_path / "x-00000.warc.gz").open("rb") as file:
        headers = [one.http_headers.headers for one in ArchiveIterator(file) if one.rec_type == "response"]

    assert count == 3
    assert replayed(tmp_path, index, "https://b.example/") == b"one"
    assert headers[0] == [("Content-Type", "text/html"), ("Set-Cookie", "a"), ("set-cookie", "b")]


async def test_killed_when_it_had_only_to_tidy_up(database: Database, tmp_path: Path) -> None:
    """An archive with its index is whole: the same command tidies up, nobody else replaces it, and both names of it are one."""
    crawl = await crawl_of(database)
    await store(database, crawl, numbered(3))
    order = order_for(tmp_path / "x.warc.gz")
    await export_to(database, crawl, order)
    whole = contents(tmp_path)
    for name in ("cdxj.lines", "firsts", "firsts.table"):  # as a kill leaves them
        (tmp_path / f".x.{name}").touch()
    with pytest.raises(UsageError, match="is there already"):
        await export_to(database, crawl, order)
    with Place(tmp_path / "x.cdxj", options_of(crawl, order, suffix=".warc.gz")) as place:
        place.keep(after="https://a.example/000000", state={"file": 0}, selection=order.selection.as_json())
        with pytest.raises(UsageError, match="is being written"):
            await export_to(database, crawl, order_for(tmp_path / "x.warc"))
    refuse_unwritable_as(Order(tmp_path / "x", Kind.WARC))

    assert await export_to(database, crawl, Order(tmp_path / "x", Kind.WARC)) == 3
    assert contents(tmp_path) == whole


def test_the_room_for_a_table_is_taken(tmp_path: Path) -> None:
    """A table has its place on the disk before anybody writes to it: of a full disk one hears by an error, not by a signal."""
    with contextlib.closing(Firsts(tmp_path / "x")):
        room = (tmp_path / "x.table").stat().st_blocks * 512

    assert room >= FIRST_SLOTS * 8
