"""Exports: what they hold, what a selection leaves, and what is there after one was killed."""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import pyarrow.dataset
import pyarrow.parquet
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.core.errors import FaircrawlError, UsageError
from crawler.core.model import Crawl
from crawler.export_files import Place
from crawler.export_formats import Kind, Order, kind_of, order_for
from crawler.exporting import export_to, pages
from crawler.following import PlaceLostError
from crawler.parquet_files import ParquetFolder
from crawler.selection import Selection, media_types, moment
from tests.conftest import Server
from tests.killing import FULL, HOW, killed, names, written
from tests.storing import BEGIN, Stored, crawl_of, numbered, store

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
MANY: Final = 1100
"""Pages: two places are kept."""
SOME: Final = [
    Stored(
        "https://a.example/", links=["https://b.example/", "https://a.example/2"], directives=["noindex", ""]
    ),
    Stored("https://a.example/2", BEGIN + timedelta(hours=1), fields={"price": 3, "names": ["é\u2028"]}),
    Stored("https://a.example/picture", content_type="image/png", body="no text"),
    Stored("https://b.example/", outcome="gone", body=None, content_type=None),
    Stored("https://b.example/%25_", BEGIN + timedelta(hours=2), content_type="image/svg+xml"),
]


@pytest.fixture(scope="module")
def filled(server: Server) -> Iterator[str]:
    """The DSN of a database with a crawl of many pages of two domains, that has finished."""
    name = server.clone()

    async def fill() -> None:
        async with await Database.open(server.dsn(name), size=2) as database:
            crawl = await crawl_of(database, keep_links=True)
            for domain in ("a.example", "b.example"):
                some = numbered(MANY // 2, domain, links=[f"https://{domain}/1", "https://c.example/"])
                await store(database, crawl, some)
            await database.script("update crawls set state = 'finished'")

    server.do(fill())
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture
async def few(dsn: str) -> AsyncIterator[tuple[Database, Crawl]]:
    """A database with a crawl of `SOME` pages."""
    async with await Database.open(dsn, size=2) as database:
        crawl = await crawl_of(database)
        await store(database, crawl, SOME)
        yield database, crawl


def order(file: Path, **more: Any) -> Order:
    """To write that file."""
    return Order(file, kind_of(file), zstd=file.suffix == ".zst", **more)


def plain(file: Path) -> bytes:
    """What it holds, unpacked."""
    if file.suffix != ".zst":
        return file.read_bytes()
    with zstd.open(file) as packed:
        return packed.read()


# --- what is interrupted


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.zst"])
async def test_a_killed_export_goes_on(filled: str, tmp_path: Path, how: str, name: str) -> None:
    """Killed in the middle of a write it leaves no half file under its name; run again, it is as any other, byte by byte."""
    whole, file = tmp_path / f"whole-{name}", tmp_path / name
    count = await written(how, filled, order(whole))
    said: list[str] = []
    status = killed(how, filled, order(file), whole.stat().st_size * 7 // 10)
    there = names(tmp_path)
    again = await written(how, filled, order(file), said)

    assert status < 0
    assert (name in there) == (how == "follow")
    assert f".{name}.place" in there
    assert len(said) == 1
    assert said[0].startswith("goes on after ")
    assert again == count
    assert file.read_bytes() == whole.read_bytes()
    assert how == "follow" or names(tmp_path) == {file.name, whole.name}


async def test_what_is_stored_meanwhile_comes_once(dsn: str, tmp_path: Path) -> None:
    """A stream that was killed while it wrote what was there: pages new or changed since come once as they are, wherever they sort."""
    file, later = tmp_path / "x.jsonl", NOW
    many = numbered(700)
    changed = [replace(many[n], at=later, body=f"<p>other {n}") for n in (3, 690)]
    new = [Stored("https://a.example/!", later), Stored("https://z.example/", later)]
    async with await Database.open(dsn, size=2) as database:
        crawl = await crawl_of(database)
        await store(database, crawl, many)
        await database.script("update crawls set state = 'finished'")
        status = killed("follow", dsn, order(file), 350_000)
        before = [json.loads(line)["url"] for line in file.read_bytes().splitlines()[:500]]
        await store(database, crawl, [*changed, *new])
        await written("follow", dsn, order(file))
    urls = [json.loads(line)["url"] for line in file.read_bytes().splitlines()]
    expected = (
        Counter(page.url for page in many) + Counter(page.url for page in new) + Counter([changed[0].url])
    )

    assert status < 0
    assert before == [page.url for page in many[:500]] == urls[:500]
    assert Counter(urls) == expected  # the second one that changed had not been written before
    assert set(urls[-4:]) == {page.url for page in (*changed, *new)}


async def test_a_stream_leaves_other_files_alone(filled: str, tmp_path: Path) -> None:
    """A file of that name which is no stream of this command is not cut, not written anew and not added to."""
    file = tmp_path / "x.jsonl"
    file.write_text("three years")
    with pytest.raises(UsageError, match="was not written by this command"):
        await written("follow", filled, order(file))

    assert file.read_text() == "three years"
    assert names(tmp_path) == {"x.jsonl"}


async def test_an_interrupted_export_goes_on(filled: str, tmp_path: Path) -> None:
    """Ctrl-C leaves a part and a place, nothing under the final name and nothing locked; the same command makes it whole."""
    whole, file = tmp_path / "whole.jsonl", tmp_path / "x.jsonl"
    await written("export", filled, order(whole))
    task = asyncio.create_task(written("export", filled, order(file)))
    while not (tmp_path / ".x.jsonl.place").exists():  # noqa: ASYNC110 - each round ends when some rows have come
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    there = names(tmp_path)
    await written("export", filled, order(file))

    assert there == {"whole.jsonl", ".x.jsonl.part", ".x.jsonl.place"}
    assert file.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == {"whole.jsonl", "x.jsonl"}


async def test_a_full_disk_is_told(filled: str, tmp_path: Path) -> None:
    """What cannot be written is one line, the old file stays, and nothing is left beside it before the first place."""
    file = tmp_path / "x.jsonl"
    file.write_text("old")
    with pytest.raises(FaircrawlError, match=r"^/dev/full cannot be written: No space left on device$"):
        await written("export", filled, order(Path("/dev/full")))

    assert killed(FULL, filled, order(file), 10_000) == 1
    assert file.read_text() == "old"
    assert names(tmp_path) == {"x.jsonl"}


async def test_other_options_begin_anew(filled: str, tmp_path: Path) -> None:
    """Who asks for something else than what was interrupted is told so, and gets it whole; the part that was there is forgotten."""
    file, said = tmp_path / "x.jsonl", list[str]()
    killed("export", filled, order(file), 450_000)
    only = order(file, selection=Selection(domains=("b.example",)))
    count = await written("export", filled, only, said)

    assert said == ["an export with other options was interrupted here: this one begins anew"]
    assert count == MANY // 2 == len(file.read_bytes().splitlines())
    assert names(tmp_path) == {"x.jsonl"}


async def test_an_export_of_a_selection_goes_on(filled: str, tmp_path: Path) -> None:
    """A selection as a command line gives it, in tuples, is known again; what is written so far is nobody else's to read."""
    file, said = tmp_path / "x.jsonl", list[str]()
    names_of = {"names": ("a.example", "b.example"), "outcomes": ("ok",)}
    some = order(file, selection=Selection(("a.example", "b.example"), ("ok",)), words=names_of)
    killed("export", filled, some, 450_000)
    mode = (tmp_path / ".x.jsonl.part").stat().st_mode & 0o777

    assert await written("export", filled, some, said) == MANY
    assert [line.partition(" https")[0] for line in said] == ["goes on after"]
    assert mode == 0o600
    assert len(file.read_bytes().splitlines()) == MANY


async def test_a_stream_that_is_refused_keeps_its_place(filled: str, tmp_path: Path) -> None:
    """Another command for the file of a stream is refused, and the stream goes on after it; one whose file was removed begins anew."""
    file, said = tmp_path / "x.jsonl", list[str]()
    await written("follow", filled, order(file))
    with pytest.raises(UsageError, match="was not written by this command"):
        await written("follow", filled, order(file, bodies=True))
    await written("follow", filled, order(file), said)
    file.unlink()
    with pytest.raises(UsageError, match=r"interrupted .* or remove .*\.x\.jsonl\.place$"):
        await written("follow", filled, order(file, bodies=True))
    await written("follow", filled, order(file), said)

    assert said == [f"goes on after {MANY} lines"]
    assert len(file.read_bytes().splitlines()) == MANY


async def test_the_place_of_another_database_is_told(filled: str, tmp_path: Path) -> None:
    """A stream goes on only in the database that it came from, and not in that one from before it was restored: its timeline is another."""
    file, place = tmp_path / "x.jsonl", tmp_path / ".x.jsonl.place"
    await written("follow", filled, order(file))
    known = json.loads(place.read_text())
    for part in range(3):
        elsewhere = list(known["database"])
        elsewhere[part] += "0"
        place.write_text(json.dumps(known | {"database": elsewhere}))
        with pytest.raises(PlaceLostError, match="begin anew"):
            await written("follow", filled, order(file))

    assert len(known["database"]) == 3


async def test_links_say_that_they_begin_anew(filled: str, tmp_path: Path) -> None:
    """Links of other options than were interrupted begin anew, and say so, as pages do."""
    file, said = tmp_path / "x.tsv", list[str]()
    killed("links", filled, order(file), 70_000)
    await written("links", filled, order(file, selection=Selection(domains=("b.example",))), said)

    assert said == ["an export with other options was interrupted here: this one begins anew"]


async def test_what_was_only_imported_is_left_out(few: tuple[Database, Crawl]) -> None:
    """A page of which a list said that it was seen, and no more, has nothing to export."""
    database, crawl = few
    await database.script("update pages set detail = 'imported' where outcome = 'gone'")
    async with contextlib.aclosing(pages(database, crawl)) as rows:
        urls = [row["url"] async for row in rows]

    assert urls == [page.url for page in SOME if page.outcome != "gone"]


async def test_a_part_that_was_tidied_up_is_not_missed(filled: str, tmp_path: Path) -> None:
    """A place whose part file is gone, or shorter, is no place: the export begins anew."""
    file = tmp_path / "x.jsonl"
    killed("export", filled, order(file), 450_000)
    (tmp_path / ".x.jsonl.part").write_bytes(b"half")

    assert await written("export", filled, order(file)) == MANY
    assert len(file.read_bytes().splitlines()) == MANY


async def test_the_age_of_a_selection_is_that_of_the_first_time(filled: str, tmp_path: Path) -> None:
    """`--since 7d` an hour later is the same question, and goes on with the moment that it meant at first."""
    file = tmp_path / "x.jsonl"
    first = order(file, selection=Selection(since=BEGIN), words={"since": "7d"})
    killed("export", filled, first, 450_000)
    later = order(file, selection=Selection(since=NOW), words={"since": "7d"})

    assert await written("export", filled, later) == MANY


async def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    """The second who writes the same file is refused, in one line."""
    file = tmp_path / "x.jsonl"
    with Place(file, {}), pytest.raises(UsageError, match="is being written by another export"):
        Place(file, {})

    with Place(file, {}):
        pass
    assert names(tmp_path) == set()


async def test_a_folder_goes_on_part_by_part(filled: str, tmp_path: Path) -> None:
    """Of a folder of Parquet files the parts that were whole stay; what was interrupted is written again, and no page twice."""
    folder = tmp_path / "parts"
    folder.mkdir()
    async with await Database.open(filled, size=2) as database:
        crawl = await Crawls(database).by_name("test")
        assert crawl is not None
        first = ParquetFolder(folder, crawl.name, None, bodies=False, part_rows=400)
        state, last = None, ""
        async with contextlib.aclosing(pages(database, crawl)) as rows:
            n = 0
            async for row in rows:
                first.add(row)
                n += 1
                if n % 200 == 0 and (paused := first.pause()) is not None:
                    state, last = paused, row["url"]
                if n == 1000:
                    break
        between = names(folder)  # as a kill leaves it
        first.drop()
        (folder / ".part-00002.parquet.part").write_bytes(b"half")
        again = ParquetFolder(folder, crawl.name, state, bodies=False, part_rows=400)
        async with contextlib.aclosing(pages(database, crawl, after=last)) as rows:
            async for row in rows:
                again.add(row)
        count = again.close()
    read = pyarrow.dataset.dataset(folder).to_table(["url"]).column("url").to_pylist()

    assert between == {"part-00000.parquet", "part-00001.parquet", ".part-00002.parquet.part"}
    assert names(folder) == {"part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "_SUCCESS"}
    assert count == MANY == len(set(read)) == len(read)


# --- what is written


async def test_parquet_says_what_json_says(few: tuple[Database, Crawl], tmp_path: Path) -> None:
    """Column by column a Parquet file holds what the JSON lines hold: moments in UTC, headers by name and value, fields as JSON."""
    database, crawl = few
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.parquet"
    for file in (lines, table):
        assert await export_to(database, crawl, Order(file, kind_of(file), bodies=True)) == len(SOME)
    objects = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    read = pyarrow.parquet.read_table(table)
    metadata = pyarrow.parquet.read_metadata(table)

    assert read.column_names == list(objects[0])
    assert str(read.schema.field("fetched_at").type) == "timestamp[us, tz=UTC]"
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert [_as_json(row) for row in read.to_pylist()] == objects
    assert objects[1]["fields"] == SOME[1].fields
    assert objects[0]["directives"] == ["noindex"]


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    moments = {key: row[key] and row[key].isoformat() for key in ("first_at", "fetched_at", "changed_at")}
    return (
        row
        | moments
        | {
            "headers": [[pair["name"], pair["value"]] for pair in row["headers"]],
            "fields": None if row["fields"] is None else json.loads(row["fields"]),
            "body": None if row["body"] is None else row["body"].decode(),
        }
    )


async def test_nothing_is_a_file_too(few: tuple[Database, Crawl], tmp_path: Path) -> None:
    """Of no page there is an empty file, and a Parquet file, or folder of them, that says its columns."""
    database, crawl = few
    nothing = Selection(outcomes=("timeout",))
    for name in ("x.jsonl", "x.jsonl.zst", "x.parquet", "parts.parquet"):
        empty = order(tmp_path / name, selection=nothing, folder=name.startswith("parts"))
        assert await export_to(database, crawl, empty) == 0

    assert plain(tmp_path / "x.jsonl.zst") == plain(tmp_path / "x.jsonl") == b""
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").num_rows == 0
    assert "url" in pyarrow.dataset.dataset(tmp_path / "parts.parquet").schema.names
    assert names(tmp_path / "parts.parquet") == {"part-00000.parquet", "_SUCCESS"}


async def test_a_folder_with_other_things_is_refused(few: tuple[Database, Crawl], tmp_path: Path) -> None:
    """Nothing is removed from a folder that holds what no export wrote; one that an export wrote is replaced."""
    database, crawl = few
    folder = Order(tmp_path / "mine", Kind.PARQUET, folder=True)
    await export_to(database, crawl, folder)
    await export_to(database, crawl, folder)
    (tmp_path / "mine" / "thesis.txt").write_text("three years")

    with pytest.raises(UsageError, match=r"holds thesis.txt, which no export wrote"):
        await export_to(database, crawl, folder)
    assert names(tmp_path / "mine") == {"part-00000.parquet", "_SUCCESS", "thesis.txt"}


def test_without_pyarrow_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks pyarrow is told the command that installs it."""
    from crawler.export_formats import refuse_unwritable_as  # noqa: PLC0415 - as it is after the next line

    monkeypatch.delitem(sys.modules, "crawler.adapters.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(UsageError, match=r"^Parquet needs pyarrow: pip install 'faircrawl\[parquet\]'$"):
        refuse_unwritable_as(order_for(tmp_path / "x.parquet"))


# --- what is selected


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [0, 1, 2, 3, 4]),
        (Selection(domains=("b.example",)), [3, 4]),
        (Selection(domains=("b.example", "c.example"), outcomes=("ok",)), [4]),
        (Selection(outcomes=("ok", "gone")), [0, 1, 2, 3, 4]),
        (Selection(outcomes=("gone",)), [3]),
        (Selection(types=("image/*",)), [2, 4]),
        (Selection(types=("image/png", "text/html")), [0, 1, 2]),
        (Selection(types=("image/%",)), []),
        (Selection(since=BEGIN + timedelta(hours=1)), [1, 4]),
        (Selection(until=BEGIN + timedelta(hours=1)), [0, 2, 3]),
        (
            Selection(
                since=BEGIN + timedelta(hours=1), until=BEGIN + timedelta(hours=2), types=("text/html",)
            ),
            [1],
        ),
    ],
)
async def test_a_selection_leaves_what_it_says(
    few: tuple[Database, Crawl], selection: Selection, expected: list[int]
) -> None:
    """By domain, outcome, media type and time, all at once, in the order of domains and URLs."""
    database, crawl = few
    async with contextlib.aclosing(pages(database, crawl, selection)) as rows:
        urls = [row["url"] async for row in rows]

    assert urls == [SOME[n].url for n in expected]


@pytest.mark.parametrize("after", range(len(SOME)))
async def test_reading_on_is_reading_the_rest(few: tuple[Database, Crawl], after: int) -> None:
    """After any page come exactly those that come after it."""
    database, crawl = few
    async with contextlib.aclosing(pages(database, crawl, after=SOME[after].url)) as rows:
        urls = [row["url"] async for row in rows]

    assert urls == [page.url for page in SOME[after + 1 :]]


MOMENTS: Final = st.none() | st.datetimes(timezones=st.just(UTC))
WORDS: Final = st.lists(st.text(max_size=5), max_size=3).map(tuple)


@given(st.builds(Selection, WORDS, WORDS, WORDS, MOMENTS, MOMENTS))
def test_a_selection_is_what_it_was_after_being_kept(selection: Selection) -> None:
    """A place file gives back the selection that was written into it."""
    assert Selection.of_json(json.loads(json.dumps(selection.as_json()))) == selection


@given(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])),
    st.integers(0, 10_000),
)
def test_a_moment_is_an_iso_date_or_an_age(when: datetime, hours: int) -> None:
    """ISO 8601 is read as it was written, and an age is counted from now."""
    assert moment(when.isoformat(), NOW) == when
    assert moment(f"{hours}h", NOW) == NOW - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
    ],
)
def test_a_moment_without_a_zone_is_utc(text: str, expected: datetime) -> None:
    """Who names no time zone means UTC, as every moment in an export is."""
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "2026-13-01", "-1d", "d", "99999999999d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """In one line that says how it is written."""
    with pytest.raises(UsageError, match="is no moment: say 2026-11-22"):
        moment(text, NOW)


def test_media_types_are_read_as_people_write_them() -> None:
    """In any case, with spaces, each once; what is none is refused."""
    assert media_types(" Text/HTML, image/*,text/html ") == ("text/html", "image/*")
    for wrong in ("", "html", "text/", "*/*", "text/html;q=1"):
        with pytest.raises(UsageError, match="media type"):
            media_types(wrong)
