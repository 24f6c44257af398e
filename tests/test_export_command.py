"""`crawl export` from outside: what is refused before anything is asked, the stream and how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from crawler.adapters.postgres import Database
from crawler.cli.export import command
from crawler.core.errors import FaircrawlError
from crawler.core.model import Crawl
from tests.forking import crawled
from tests.killing import names
from tests.making import until
from tests.storing import BEGIN, Stored, crawl_of, numbered, store

A = "https://a.example/"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "yesterday is no moment"),
        (["--types", "html"], "html is no media type"),
        (["--outcome", "good"], "'good' is not one of"),
        (["--outcome", "not_modified"], "is not one of"),
        (["--domain", "a b"], "is neither a domain nor a URL"),
        (["--format", "parquet"], "Parquet cannot be written to standard output"),
        (["--format", "warc", "-o", "x", "--compress", "zstd"], "WARC is compressed by gzip"),
        (["--format", "parquet", "-o", "x", "--compress", "zstd"], "Parquet is compressed by zstd inside"),
        (["--format", "warc", "-o", "x", "--bodies"], "leave out --bodies"),
        (["-o", "x.jsonl", "--warc-size", "1MB"], "--warc-size is of --format warc"),
        (["-o", "pages/"], "pages is a folder: name a file in it"),
        (["-o", "/not/there/x.parquet"], "there is no folder /not/there"),
        (["--format", "parquet", "-o", "/not/there/x/"], "there is no folder /not/there"),
        (["--format", "parquet", "-o", "/dev/null/"], "name a folder, or leave out the /"),
        (["--follow", "-o", "x.parquet"], "--follow writes JSON lines"),
        (["--follow", "--until", "1d"], "--follow has no end"),
        (["--until-finished"], "give it that too"),
        (["--links", "nodes"], "'nodes' is not one of"),
        (["--links", "edges", "--follow"], "leave out --follow"),
        (["--links", "edges", "--format", "jsonl"], "leave out --format"),
        (["--links", "edges", "--since", "1d"], "only --domain"),
        (["--links", "webgraph"], "writes two files"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments: Sequence[str], said: str) -> None:
    """In one line, before any database is opened, and as wrong usage."""
    with pytest.raises((FaircrawlError, click.UsageError)) as told:
        command.main(["example.com", *arguments], standalone_mode=False)
    error = told.value

    assert said in str(error)
    assert "\n" not in str(error)
    assert getattr(error, "exit_status", getattr(error, "exit_code", None)) == 2


@pytest.fixture
async def crawl(database: Database) -> Crawl:
    """A crawl of three pages that has finished."""
    made = await crawl_of(database)
    await store(database, made, numbered(3))
    await database.script("update crawls set state = 'finished'")
    return made


@pytest.fixture
def stream(crawl: Crawl, dsn: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """`crawl export` of it, followed, to a file."""
    assert crawl.name == "test"
    arguments = ["export", "test", "--follow", "-o", str(tmp_path / "x.jsonl"), "--database", dsn]
    with subprocess.Popen(
        [sys.executable, "-m", "crawler", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


async def test_a_stream_goes_on_until_it_is_told_to_stop(
    database: Database, crawl: Crawl, stream: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """Stored pages, then new ones as they are stored; Ctrl-C ends it with whole lines and status 0, though the crawl has finished."""
    file = tmp_path / "x.jsonl"

    async def has(lines: int) -> bool:
        return file.exists() and file.read_bytes().count(b"\n") == lines

    await until(lambda: has(3))
    await store(database, crawl, [Stored(f"{A}new")])
    await until(lambda: has(4))
    await store(database, crawl, [Stored(f"{A}000001", BEGIN.replace(hour=23), body="<p>other")])
    await until(lambda: has(5))
    stream.send_signal(signal.SIGINT)
    _, said = stream.communicate(timeout=30)
    urls = [json.loads(line)["url"].removeprefix(A) for line in file.read_text().splitlines()]

    assert (stream.returncode, said) == (0, "")
    assert urls == ["000000", "000001", "000002", "new", "000001"]


async def test_a_stream_of_a_selection_knows_its_file(
    database: Database, crawl: Crawl, dsn: str, tmp_path: Path
) -> None:
    """Given again, a command with domains and outcomes goes on with the file that it wrote; another one is refused and spoils nothing."""
    file = tmp_path / "x.jsonl"
    stream = ["export", "test", "--follow", "--until-finished", "-o", str(file), "--database", dsn]
    one = [*stream, "--domain", "a.example", "--outcome", "ok"]
    first = await crawled(*one, env={})
    other = await crawled(*stream, "--domain", "a.example", env={})
    await store(database, crawl, [Stored(f"{A}new"), Stored(f"{A}gone", outcome="gone")])
    again = await crawled(*one, env={})
    urls = [json.loads(line)["url"].removeprefix(A) for line in file.read_text().splitlines()]

    assert (first.returncode, first.stderr) == (0, b"")
    assert (other.returncode, other.stderr.count(b"was not written by this command")) == (2, 1)
    assert (again.returncode, again.stderr) == (0, b"crawl: goes on after 3 lines\n")
    assert urls == ["000000", "000001", "000002", "new"]


async def test_from_now_on_is_not_by_our_clock(
    database: Database, crawl: Crawl, dsn: str, tmp_path: Path
) -> None:
    """`--follow --since now` brings what is stored from then on, though it was fetched before that by this machine's clock."""
    file = tmp_path / "x.jsonl"
    stream = ["export", "test", "--follow", "--until-finished", "--since", " now"]
    stream += ["-o", str(file), "--database", dsn]
    await crawled(*stream, env={})
    before = file.read_bytes()
    await store(database, crawl, [Stored(f"{A}new", BEGIN)])
    await crawled(*stream, env={})

    assert before == b""
    assert [json.loads(line)["url"] for line in file.read_text().splitlines()] == [f"{A}new"]


async def test_an_archive_is_of_files_of_a_size(crawl: Crawl, dsn: str, tmp_path: Path) -> None:
    """`--warc-size` is bytes of a file at most: what is more comes into another one."""
    assert crawl.name == "test"
    arguments = ["export", "test", "--format", "warc", "--warc-size", "2000", "-o", str(tmp_path / "x")]
    done = await crawled(*arguments, "--database", dsn, env={})
    sizes = {name: (tmp_path / name).stat().st_size for name in names(tmp_path) - {"x.cdxj"}}

    assert (done.returncode, done.stderr) == (0, b"")
    assert sizes.keys() == {"x-00000.warc.gz", "x-00001.warc.gz", "x-00002.warc.gz"}
    assert max(sizes.values()) <= 2000
