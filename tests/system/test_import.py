"""`crawl import` by the real program: what it takes from other programs' files, and what it makes of them."""

import gzip
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from backports import zstd

from crawler.adapters.postgres import Database
from crawler.core.urls import domain_id
from crawler.demo.language import page
from crawler.demo.server import serving
from tests.making import Frontiers, rows, until
from tests.system.program import Program, kill
from tests.system.test_seed import Seed, memory, tell, when

if TYPE_CHECKING:
    from collections.abc import Callable

A: Final = "https://a.example/"
B: Final = "https://b.example/"
HEADER: Final = " CDX N b a m s k r M S V g\n"
COUNTS: Final = "select coalesce(outcome, '') as outcome, count(*) as n from urls group by 1"


WHY: Final = "it holds fingerprints of requests (Scrapy's requests.seen), of which no URL can be made: import the spider's feed"


def capture(url: str, at: str = "20260102030405", status: str = "200", digest: str = "X") -> str:
    """A line of CDX."""
    return f"k {at} {url} text/html {status} {digest} - - 9 9 a.warc.gz\n"


def captured(url: str, status: str = "200") -> str:
    """A line of CDXJ."""
    said = {
        "url": url,
        "mime": "text/html",
        "status": status,
        "digest": "sha1:X",
        "offset": "1",
        "filename": "a.warc.gz",
    }
    return f"com,example)/ 20260102030405 {json.dumps(said)}\n"


def sitemap(*urls: str) -> str:
    """A sitemap of pages that change every hour."""
    inside = "".join(
        f"<url><loc>{url}</loc><changefreq>hourly</changefreq><priority>1.0</priority></url>" for url in urls
    )
    return (
        f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{inside}</urlset>'
    )


@pytest.fixture
def crawl(dsn: str) -> Seed:
    """The program."""
    return Seed(dsn)


async def seeds(database: Database) -> list[str]:
    """The seeds of all crawls."""
    return [row["url"] for row in await rows(database, "select url from urls where seed order by url")]


# --- every form ---------------------------------------------------------------------------------------------------------


async def test_every_form(crawl: Seed, database: Database, tmp_path: Path) -> None:
    """What a file is, its content tells: each form, packed or not, gives the crawl its URLs as seeds."""
    items = [{"url": f"{A}array/{n}", "title": "x" * 99} for n in range(2)]
    pack: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstd.compress, "": bytes}
    files = [
        ("list", f"# mine\n{A}list\n\n{B}\n", "gz"),
        ("sitemap", sitemap(A + "sitemap"), "gz"),
        ("wide", sitemap(A + "wide").replace('"1.0"?', '"1.0" encoding="utf-16"?'), "wide"),
        ("cdx", HEADER + capture(A + "cdx") + capture(A + "gone", status="404"), "zst"),
        ("bare", "".join(f"k 20260102030405 {A}bare{n} text/html 200 X 99\n" for n in range(2)), ""),
        ("cdxj", "!meta {}\n" + captured(A + "cdxj"), "gz"),
        ("lines", json.dumps({"url": [A + "lines"]}) + "\n" + json.dumps({"link": A + "link"}), ""),
        ("array", json.dumps(items, indent=4), "zst"),
        ("csv", f'title,url\n"two\nlines",{A}csv\n', ""),
        (
            "xml",
            f"<?xml version='1.0'?>\n<items>\n<item><url>{A}xml?a=1&amp;b=2</url><title>x</title></item></items>",
            "",
        ),
    ]
    for name, text, packing in files:
        data = text.encode("utf-16") if packing == "wide" else pack[packing](text.encode())
        (tmp_path / name).write_bytes(data)
    told = crawl.json("import", "news", *(str(tmp_path / name) for name, *_ in files))
    paths = [
        "array/0",
        "array/1",
        "bare0",
        "bare1",
        "cdx",
        "cdxj",
        "csv",
        "lines",
        "link",
        "list",
        "sitemap",
        "wide",
        "xml?a=1&b=2",
    ]
    (row,) = await rows(
        database, "select changefreq, due_at - found_at as due from urls where url = $1", A + "sitemap"
    )

    assert await seeds(database) == [*(A + path for path in paths), B]
    assert (told["new"], told["left_out"], told["bad"], told["damaged_files"]) == (14, 1, 0, 0)
    assert (row["changefreq"], row["due"]) == (timedelta(hours=1), timedelta(seconds=-62.5))
    assert await Frontiers(database).counts(1) == {"": (14, 0)}


async def test_again_and_from_a_pipe(crawl: Seed, database: Database) -> None:
    """The same twice is known the second time; standard input is read too; a named key says where the URL stands."""
    lines = b"".join(json.dumps({"page": f"{A}{n}"}).encode() + b"\n" for n in range(3))
    first = crawl.json("import", "news", "-", "--url-key", "page", lines=lines)
    again = crawl.json("import", "news", "-", "--url-key", "page", lines=lines + lines)

    assert (first["created"], first["new"]) == (True, 3)
    assert (again["created"], again["new"], again["known"]) == (False, 0, 6)
    assert len(await seeds(database)) == 3


# --- files that are not what they should be -----------------------------------------------------------------------------


async def test_unknown(crawl: Seed, database: Database, tmp_path: Path) -> None:
    """What is nothing that is known is said in one line, and nothing is made of it; what else was named is taken, and the status is 1."""
    jobdir = tmp_path / "requests.seen"
    jobdir.write_bytes(b"a" * 40 + b"\n")
    _, alone = crawl("import", "news", str(jobdir), status=1)
    made = await database.ask("select count(*) from crawls")
    _, err = crawl("import", "news", str(jobdir), "-", lines=A.encode(), status=1)

    assert err == f"crawl: {jobdir}: not imported: {WHY}\n"
    assert alone == err + "crawl: nothing to import: 0 lines (0 new, 0 known, 0 bad)\n"
    assert made == 0
    assert await seeds(database) == [A]


async def test_a_bomb(crawl: Seed, database: Database) -> None:
    """A line of 64 megabytes in a file of a few kilobytes takes no more memory than any other."""
    bomb = gzip.compress((b"x" * (1 << 20)) * 64 + f"\n{A}\n".encode(), 6)
    with crawl.started("import", "news", "-", "--format", "list", "--json") as process:
        tell(process, bomb)
        await until(lambda: database.ask("select count(*) from urls"))
        peak = memory(process)
        out, _ = process.communicate()
    told = json.loads(out)

    assert (told["new"], told["bad"]) == (1, 1)
    assert peak < 150


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["news", "/nowhere"], "/nowhere cannot be read: no such file"),
        (["news", "docs"], "docs is a folder: name the files in it"),
        (["news", "-", "--at", "2026-01-01"], "give --seen too"),
        (["news", "-", "--seen", "--at", "soon", "--scope", "any"], "--at soon is no time"),
        (
            ["news", "-", "--seen"],
            "name where it begins, with --seed URL, or take every URL, with --scope any",
        ),
        (["news", "-", "--seen", "--scope", "any", "--header", "Cookie: x"], "name them, with --seed"),
        (["news", "-", "--format", "warc"], "'warc' is not one of"),
    ],
)
async def test_bad_input(crawl: Seed, database: Database, arguments: list[str], complaint: str) -> None:
    """What cannot be done is said in one line, and nothing is made."""
    _, err = crawl("import", *arguments, lines=A.encode(), status=2)

    assert complaint in err
    assert len(err.splitlines()) == 1
    assert await database.ask("select count(*) from crawls") == 0


# --- what was seen elsewhere --------------------------------------------------------------------------------------------


async def test_seen(crawl: Seed, database: Database) -> None:
    """With --seen, URLs count as visited at their last capture; what is out of scope is left out; the seeds come last, and are due."""
    lines = HEADER + "".join(
        [
            capture(A),
            *(
                capture(A + "1", f"2026010{n}000000", digest=str(n)) for n in range(1, 6)
            ),  # it changes every day
            capture(A + "gone", status="404"),
            capture(A + "1/old", "20200101000000"),
            capture(B),
            capture("dns:a.example"),
        ]
    )
    told = crawl.json("import", "news", "-", "--seen", "--seed", A, lines=lines.encode())
    again = crawl.json("import", "news", "-", "--seen", "--seed", A, lines=lines.encode())
    sql = "select url, fetched_at from pages join urls using (domain_id, crawl_id, url_hash)"
    visited = {row["url"]: row["fetched_at"] for row in await rows(database, sql)}
    (often,) = await rows(
        database,
        "select extract(epoch from revisit)::float8 as revisit, period from urls where url = $1",
        A + "1",
    )

    assert (told["new"], told["left_out"], told["again"], told["bad"]) == (4, 1, 1, 0)
    assert (again["new"], again["again"]) == (0, 0)
    assert visited[A + "1"] == datetime(2026, 1, 5, tzinfo=UTC)
    assert await database.fetch("export", 1, domain_id("a.example"), *[None] * 6) == []
    assert often["revisit"] < 6 * 86400
    assert await seeds(database) == [A]
    assert {row["outcome"]: row["n"] for row in await rows(database, COUNTS)} == {"ok": 3, "gone": 1}
    assert await Frontiers(database).counts(1) == {"ok": (3, 0), "gone": (1, 0)}
    assert (await rows(database, "select max_pages_per_domain as most, trusted_domains from crawls"))[0][
        "most"
    ] is None


async def test_seen_at(crawl: Seed, database: Database) -> None:
    """--at says when it was, whatever the file says; without either it is now, and what a crawl has no use for is said."""
    crawl(
        "import",
        "news",
        "-",
        "--seen",
        "--scope",
        "any",
        "--at",
        "2026-03-01",
        "--exclude",
        "secret",
        lines=(HEADER + capture(A)).encode(),
    )
    _, err = crawl("import", "news", "-", "--seen", lines=f"{B}\n{B}secret\n".encode())
    visited = [row["fetched_at"] for row in await rows(database, "select fetched_at from pages order by 1")]

    assert visited[0] == datetime(2026, 3, 1, tzinfo=UTC)
    assert datetime.now(UTC) - visited[1] < timedelta(minutes=2)
    assert err == f"crawl: skipped: standard input 2: {B}secret is excluded by --exclude secret\n"


def test_a_worker_meanwhile(tmp_path: Path) -> None:
    """While a worker fetches, what was seen elsewhere is imported: a page that links to it leads nobody there, and it is not exported."""
    site = {
        "/": page("start", "/seen", "/2"),
        "/2": page("two", "/seen"),
        "/seen": page("seen"),
        "/3": page("three", "/seen"),
    }
    with serving({"one.test": site}) as web:
        settings = {"ALLOW_NETS": "127.0.0.0/8", "HOSTS_FILE": str(web.hosts_file(tmp_path)), "DELAY": "0"}
        program = Program(tmp_path / "data", settings)
        file = tmp_path / "seen.txt"
        file.write_text(web.url("one.test") + "seen\n")
        seen = "import", "news", str(file), "--seen"
        worker = program.start("worker", "--quiet")
        try:
            program.run(*seen, "--seed", web.url("one.test"), "--refresh", "off")
            when(lambda: {"/", "/2"} <= set(web.asked("one.test")))
            program.run(*seen)
            program.run("seed", "news", web.url("one.test") + "3")
            when(lambda: len(program.pages("news")) == 3)
            exported = set(program.pages("news"))
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        finally:
            if worker.poll() is None:
                kill(worker)
        program.run("run", web.url("one.test"), "--name", "news", "--quiet")  # until nothing is left to do

    assert "/seen" not in web.asked("one.test")
    assert exported == {web.url("one.test") + name for name in ("", "2", "3")}
    assert worker.returncode == 0


# --- how it ends --------------------------------------------------------------------------------------------------------


async def test_interrupted(crawl: Seed, database: Database) -> None:
    """Ctrl-C keeps what was read, says how much that was, and exits with 130; the same command goes on."""
    lines = b"".join(b"https://d%d.example/with/a/path/that/is/long\n" % n for n in range(2000))
    with crawl.started("import", "news", "-", "--seen", "--scope", "any") as process:
        tell(process, lines, b"https://half.exam")
        await until(lambda: database.ask("select count(*) from urls"))
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr
        stopping = process.stderr.readline()
        out, _ = process.communicate(timeout=60)
    taken: Any = await database.ask("select count(*) from urls")
    again = crawl.json("import", "news", "-", "--seen", lines=lines + b"https://half.example/\n")

    assert process.returncode == 130
    assert (
        out.decode()
        == f"interrupted: {taken:,} lines ({taken:,} new, 0 known, 0 bad) were taken; the same command goes on\n"
    )
    assert b"stopping when" in stopping
    assert (again["known"], again["new"]) == (taken, 2001 - taken)
    assert await Frontiers(database).counts(1) == {"ok": (2001, 0)}
