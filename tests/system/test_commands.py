"""The commands from outside: the real program, a real database, a small site on loopback.

One data folder for the module: a crawl of the site called `site` is there before the first test.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from tests import forking

ROOT: Final = Path(__file__).parents[2]
PLAIN: Final = {key: value for key, value in os.environ.items() if not key.startswith("CRAWL_")}
KEYS: Final = [
    "url", "crawl", "first_at", "fetched_at", "changed_at", "status", "outcome", "content_type", "charset", "title",
    "language", "text", "length", "digest", "depth", "redirect_to", "directives", "headers", "fields",
]  # fmt: skip
UNITS: Final = "\u2028and\x85"
"""Line breaks to `str.splitlines`, though not to JSON."""


class Site(BaseHTTPRequestHandler):
    """Robots rules, pages of several kinds, a redirect; everything else is not there."""

    protocol_version = "HTTP/1.1"
    pages: ClassVar[dict[str, tuple[str, bytes]]] = {
        "/robots.txt": ("text/plain", b"User-agent: *\nDisallow: /private/\n"),
        "/": (
            "text/html; charset=utf-8",
            b"<html lang=en><title>Home</title><p>Welcome</p>"
            + b"".join(
                b"<a href=/%s>x</a>" % name
                for name in (b"plain", b"nul", b"latin", b"old", b"gone", b"private/x", b"lines")
            ),
        ),
        "/plain": (
            "text/html",
            b'<title>Plain</title><meta name=robots content=noindex><p>Nothing "special"',
        ),
        "/nul": ("text/html; charset=utf-8", b"<title>a\0b</title><p>\xff\xfe\x1b[31m"),
        "/latin": (
            "text/html; charset=iso-8859-1",
            "<title>caf\u00e9</title><p>cr\u00e8me".encode("latin-1"),
        ),
        "/lines": ("text/html; charset=utf-8", f"<title>One{UNITS}two</title>".encode()),
    }
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer, and remember what was asked for."""
        self.asked.append(self.path)
        status, (kind, body) = 200, self.pages.get(self.path, ("text/html", b"no such page"))
        if self.path == "/old":
            status, body = 302, b""
        elif self.path not in self.pages:
            status = 404
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/plain")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Crawler:
    """The program, with a data folder of its own."""

    data: Path
    site: str
    environ: dict[str, str] = field(default_factory=lambda: PLAIN)

    def bytes(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """Run it, and take what it writes as it is."""
        return forking.crawl(command, *arguments, "--data", str(self.data), env=self.environ)

    def __call__(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run it, and read what it writes."""
        done = self.bytes(command, *arguments)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`crawl run` on this machine, without a pause."""
        return self("run", "--no-sitemaps", *arguments, "--allow-net", "127.0.0.0/8", "--delay", "0")

    def json(self, command: str, *arguments: str) -> Any:
        """What it says to a program."""
        done = self(command, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def pages(self, name: str) -> list[dict[str, Any]]:
        """The pages of a crawl, as exported."""
        done = self("export", name)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The URL of the site, with a slash at its end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def crawl(site: str, tmp_path_factory: pytest.TempPathFactory) -> Crawler:
    """The program, after a crawl of the site."""
    crawler = Crawler(tmp_path_factory.mktemp("commands") / "data", site)
    done = crawler.run(site, "--name", "site")
    assert done.returncode == 0, done.stderr
    return crawler


@pytest.fixture
def empty(site: str, tmp_path: Path) -> Crawler:
    """The program, with a data folder that is not there yet."""
    return Crawler(tmp_path / "data", site)


# --- list, status


def test_list_is_a_list_of_names(crawl: Crawler) -> None:
    """`list --json` gives an object for each crawl, with its name, its state and its counts."""
    listed = {row["name"]: row for row in crawl.json("list")}

    assert listed["site"]["state"] == "finished"
    assert (listed["site"]["pages"], listed["site"]["urls"]) == (5, 8)


def test_list_for_people_has_a_line_a_crawl(crawl: Crawler) -> None:
    """`list` prints titles and a line for each crawl, its name first."""
    titles, *rows = crawl("list").stdout.splitlines()

    assert titles.split()[:4] == ["crawl", "state", "pages", "URLs"]
    assert ["site", "finished", "5", "8"] in [row.split()[:4] for row in rows]


def test_status_counts_by_outcome(crawl: Crawler) -> None:
    """`status NAME --json` gives one object: URLs by outcome, the queue, the slowest domains."""
    status = crawl.json("status", "site")

    assert status["outcomes"] == {"gone": 1, "ok": 5, "redirect": 1, "robots_refused": 1}
    assert set(status["queue"]) == {"ready", "resting", "queued", "held"}
    assert [row["domain"] for row in status["slowest_domains"]] == ["127.0.0.1"]


def test_status_tells_people_what_was_done(crawl: Crawler) -> None:
    """`status NAME` says that the crawl is finished, and how many pages are stored."""
    done = crawl("status", "site")

    assert done.returncode == 0
    assert done.stdout.startswith("crawl site: finished ")
    assert "5 stored of 8 URLs known" in done.stdout


def test_an_unknown_crawl_is_answered_with_the_known_ones(crawl: Crawler) -> None:
    """Who names a crawl that is not there is told which there are, in one line."""
    for command in (("status", "sight"), ("export", "sight"), ("why", crawl.site, "--crawl", "sight")):
        done = crawl(*command)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("crawl: there is no crawl sight: there ")
        assert "site" in done.stderr
        assert done.stderr.count("\n") == 1


# --- nothing yet


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["list"], 0), (["status"], 0), (["status", "x"], 1), (["show", "http://a.example/"], 1),
     (["why", "http://a.example/"], 1), (["export", "x"], 1), (["diff", "http://a.example/"], 1), (["status", "--stale", "1d"], 0)],
)  # fmt: skip
def test_where_nothing_was_crawled_nothing_is_made(empty: Crawler, arguments: list[str], status: int) -> None:
    """A command that only looks says how to begin, and makes no database to say so."""
    done = empty(*arguments)

    assert done.returncode == status
    assert "no crawl here yet: begin with `crawl run URL`" in done.stdout + done.stderr
    assert not empty.data.exists()


def test_nothing_yet_is_an_empty_list(empty: Crawler) -> None:
    """`list --json` and `status --json` print an empty list where nothing was crawled."""
    assert empty.json("list") == []
    assert empty.json("status") == []


# --- show


def test_a_body_comes_out_as_it_went_in(crawl: Crawler) -> None:
    """`show URL --body` writes the very bytes that the site sent."""
    for path in ("nul", "latin", "lines"):
        done = crawl.bytes("show", f"{crawl.site}{path}", "--body", "--crawl", "site")

        assert done.stdout == Site.pages[f"/{path}"][1]


def test_show_text_and_headers(crawl: Crawler) -> None:
    """`--text` writes what a reader sees, `--headers` the answer's status and headers."""
    text = crawl("show", f"{crawl.site}latin", "--text", "--crawl", "site").stdout
    headers = crawl("show", f"{crawl.site}latin", "--headers", "--crawl", "site").stdout.splitlines()

    assert text == "cr\u00e8me\n"
    assert headers[0] == "HTTP/1.1 200"
    assert "Content-Type: text/html; charset=iso-8859-1" in headers


def test_show_takes_a_url_as_people_write_it(crawl: Crawler) -> None:
    """A fragment, capitals in the scheme and a missing slash do not matter."""
    shown = crawl.json("show", crawl.site.replace("http", "HTTP").rstrip("/") + "#top", "--crawl", "site")

    assert (shown["url"], shown["title"], shown["language"]) == (crawl.site, "Home", "en")


def test_show_says_why_there_is_nothing(crawl: Crawler) -> None:
    """Of a URL that was refused the outcome is told, of a strange one that it is not known: status 1."""
    refused, strange = crawl("show", f"{crawl.site}private/x"), crawl("show", f"{crawl.site}strange")

    assert (refused.returncode, strange.returncode) == (1, 1)
    assert "robots_refused" in refused.stderr
    assert "is not known to any crawl" in strange.stderr


def test_a_redirect_has_no_body(crawl: Crawler) -> None:
    """`show --body` of a redirect fails, and says where it leads."""
    done = crawl("show", f"{crawl.site}old", "--body", "--crawl", "site")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"redirect (302) to {crawl.site}plain" in done.stderr


def test_no_page_speaks_to_the_terminal(crawl: Crawler) -> None:
    """An escape sequence in a page does not get into what is shown."""
    assert "\x1b" not in crawl("show", f"{crawl.site}nul", "--crawl", "site").stdout


def test_two_crawls_of_one_url_need_a_name(crawl: Crawler) -> None:
    """`show` of a URL that two crawls have stored asks for `--crawl`, and names both."""
    assert crawl.run(f"{crawl.site}plain", "--name", "second", "--scope", "page").returncode == 0

    done = crawl("show", f"{crawl.site}plain")

    assert done.returncode == 2
    assert "--crawl site or --crawl second" in done.stderr
    assert crawl.json("show", f"{crawl.site}plain", "--crawl", "second")["crawl"] == "second"


# --- why


def test_why_names_the_line_of_robots(crawl: Crawler) -> None:
    """`why` tells the rule, its line and its group, and where the URL was found."""
    told = crawl.json("why", f"{crawl.site}private/x")
    (one,) = told["crawls"]

    assert (told["known"], one["crawl"], one["known"]["found_on"]) == (True, "site", crawl.site)
    assert one["robots"]["allowed"] is False
    assert (one["robots"]["line"], one["robots"]["line_number"]) == ("Disallow: /private/", 2)
    assert (one["robots"]["group"], one["robots"]["url"]) == ("User-agent: *", f"{crawl.site}robots.txt")
    assert one["visits"]["outcome"] == "robots_refused"


def test_why_tells_people_everything(crawl: Crawler) -> None:
    """`why` has a sentence on each thing that decides."""
    told = crawl("why", f"{crawl.site}gone").stdout

    assert [line.split()[0] for line in told.splitlines() if line.startswith("  ")] == [
        "known", "scope", "robots", "domain", "visits", "outcome", "refresh", "next"
    ]  # fmt: skip
    assert "gone 404" in told


def test_why_knows_what_would_happen(crawl: Crawler) -> None:
    """Of a URL never seen it is told what a crawl would make of it: its scope, and the rules stored."""
    inside = crawl.json("why", f"{crawl.site}private/y", "--crawl", "site")["crawls"][0]
    outside = crawl.json("why", "https://example.com/", "--crawl", "site")["crawls"][0]

    assert (inside["known"]["known"], inside["scope"]["allowed"], inside["robots"]["line_number"]) == (
        False,
        True,
        2,
    )
    assert inside["next"]["words"] == "a link to it would be followed, and then refused for robots.txt"
    assert (outside["scope"]["allowed"], outside["scope"]["refusal"]) == (False, "outside the scope domain")
    assert outside["robots"]["allowed"] is None


# --- export


def test_an_export_has_these_keys_in_this_order(crawl: Crawler) -> None:
    """Every line of an export is an object with the same keys; `--bodies` adds one."""
    with_bodies = [json.loads(line) for line in crawl("export", "site", "--bodies").stdout.splitlines()]

    assert [list(page) for page in crawl.pages("site")] == [KEYS] * 7
    assert [list(page) for page in with_bodies] == [[*KEYS, "body"]] * 7
    assert {page["url"]: page["body"] for page in with_bodies}[
        f"{crawl.site}latin"
    ] == "<title>caf\u00e9</title><p>cr\u00e8me"


def test_an_export_is_ordered_by_url(crawl: Crawler) -> None:
    """Pages come in the order of their URLs, the same each time."""
    urls = [page["url"] for page in crawl.pages("site")]

    assert urls == sorted(urls)
    assert crawl("export", "site").stdout == crawl("export", "site").stdout


def test_an_export_tells_what_the_pages_say(crawl: Crawler) -> None:
    """Titles, texts, directives and outcomes are those of the pages; what cannot be stored is U+FFFD."""
    pages = {page["url"].removeprefix(crawl.site): page for page in crawl.pages("site")}

    assert (pages["latin"]["title"], pages["latin"]["text"]) == ("caf\u00e9", "cr\u00e8me")
    assert pages["nul"]["title"] == "a\ufffdb"
    assert pages["plain"]["directives"] == ["noindex"]
    assert (pages["gone"]["status"], pages["gone"]["outcome"], pages["gone"]["text"]) == (404, "gone", None)
    assert (pages["old"]["redirect_to"], pages["old"]["depth"]) == (f"{crawl.site}plain", 1)


def test_an_export_is_utf8_in_any_locale(crawl: Crawler) -> None:
    """A line is UTF-8 even where the terminal's encoding is not."""
    ascii_only = Crawler(crawl.data, crawl.site, {**PLAIN, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})

    assert "caf\u00e9".encode() in ascii_only.bytes("export", "site").stdout


def test_an_export_to_a_file_is_whole_or_not_there(crawl: Crawler, tmp_path: Path) -> None:
    """`-o FILE` writes what `-o -` writes, and leaves nothing else; one that fails leaves the old file."""
    file = tmp_path / "pages.jsonl"
    file.write_text("old")

    assert crawl("export", "sight", "-o", str(file)).returncode == 2
    assert file.read_text() == "old"
    assert crawl("export", "site", "-o", str(file)).returncode == 0
    assert file.read_bytes() == crawl.bytes("export", "site", "-o", "-").stdout
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_cannot_be_written_says_so(crawl: Crawler, tmp_path: Path) -> None:
    """A folder that is not there, or a folder instead of a file, is one line and status 2."""
    for file in (tmp_path / "not" / "there.jsonl", tmp_path):
        done = crawl("export", "site", "-o", str(file))

        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert str(file) in done.stderr


def test_an_export_stops_when_nobody_reads(crawl: Crawler) -> None:
    """A reader that has gone is not taken for a broken database: nothing is said."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "crawler", "export", "site", "--data", str(crawl.data)]
    done = subprocess.run(
        command, cwd=ROOT, env=PLAIN, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


# --- migrate, check


def test_two_migrations_at_once_both_succeed(empty: Crawler) -> None:
    """Two programs that migrate a new database do it once: one of them applies, both end well."""
    command = [sys.executable, "-m", "crawler", "migrate", "--json", "--data", str(empty.data)]
    both = [subprocess.Popen(command, cwd=ROOT, env=PLAIN, stdout=subprocess.PIPE) for _ in range(2)]
    told = [json.loads(one.communicate(timeout=120)[0]) for one in both]

    assert [one.returncode for one in both] == [0, 0]
    assert sorted(len(one["applied"]) for one in told) == [0, told[0]["version"]]


def test_check_finds_this_machine_well(crawl: Crawler) -> None:
    """`check --json` gives an object for each thing; none is wrong where a crawl has just been."""
    found = {one["topic"]: one["level"] for one in crawl.json("check")}

    assert "wrong" not in found.values()
    assert (found["database"], found["tables"], found["user agent"]) == ("ok", "ok", "note")
    assert {"settings", "PostgreSQL", "connections", "clock", "disk", "DNS", "descriptors", "memory"} <= set(
        found
    )


def test_check_says_what_is_wrong(crawl: Crawler) -> None:
    """A bad setting, or a database that is away, is a line that says so, and status 1."""
    environ = {**PLAIN, "CRAWL_DELAY": "soon"}
    bad = Crawler(crawl.data, crawl.site, environ)("check")
    command = [sys.executable, "-m", "crawler", "check", "--database", "postgresql://u:hidden@127.0.0.1:1/d"]
    away = subprocess.run(
        command, cwd=ROOT, env=PLAIN, capture_output=True, text=True, check=False, timeout=60
    )

    assert (bad.returncode, away.returncode) == (1, 1)
    assert bad.stdout.startswith("wrong  settings  delay from environment CRAWL_DELAY: ")
    assert (
        "wrong    database     the database at 127.0.0.1:1 cannot be reached: Connection refused"
        in away.stdout
    )
    assert "hidden" not in away.stdout + away.stderr


def test_check_makes_nothing(empty: Crawler) -> None:
    """Where nothing was crawled yet, `check` finds out whether it could be, and makes nothing."""
    found = {one["topic"]: one for one in empty.json("check")}

    assert "the first crawl makes a database there" in found["data folder"]["text"]
    assert found["PostgreSQL"]["level"] == "ok"
    assert not empty.data.exists()


# --- run again


def test_run_again_does_nothing_when_all_is_done(crawl: Crawler) -> None:
    """A second run of a finished crawl asks the site for nothing, and exits 0."""
    before = len(Site.asked)
    done = crawl.run(crawl.site, "--name", "site", "--json")
    summary = json.loads(done.stdout)

    assert (done.returncode, summary["requests"], summary["pages"]) == (0, 0, 0)
    assert summary["state"] == "finished"
    assert len(Site.asked) == before


def test_another_scope_is_refused(crawl: Crawler) -> None:
    """A run with another scope is refused, with the option that makes a new crawl."""
    done = crawl.run(crawl.site, "--name", "site", "--scope", "host")

    assert (done.returncode, done.stdout) == (2, "")
    assert "--name site-2" in done.stderr
    assert done.stderr.count("\n") == 1


def test_max_pages_is_exact_and_can_be_raised(crawl: Crawler) -> None:
    """`--max-pages N` stores N pages and no more; run again with more, the crawl goes on to just as many."""
    for most in (2, 4):
        done = crawl.run(crawl.site, "--name", "few", "--max-pages", str(most))
        stored = [page for page in crawl.pages("few") if page["outcome"] == "ok"]

        assert done.returncode == 0
        assert len(stored) == most
    listed = {row["name"]: row for row in crawl.json("list")}

    assert (listed["few"]["limits"]["max_pages"], listed["few"]["finished_why"]) == (4, "max_pages")


def test_an_export_to_standard_output_is_all_that_is_there(crawl: Crawler) -> None:
    """`run --export -` writes the pages to standard output, and the summary elsewhere."""
    done = crawl.run(crawl.site, "--name", "site", "--export", "-")

    assert [json.loads(line)["crawl"] for line in done.stdout.splitlines()] == ["site"] * 7
    assert "pages stored in crawl site" in done.stderr


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "no URL to begin with"),
        (["run", "not-a-url"], "'not-a-url' is not a URL"),
        (["run", "gopher://x/"], "only http:// and https://"),
        (["run", "http://a.example/", "--scope", "bogus"], "'bogus' is not one of"),
        (["run", "--file", "/not/there"], "/not/there cannot be read"),
        (["run", "http://a.example/", "--user-agent", "a\nb"], "user_agent"),
        (["run", "http://a.example/", "--include", "("], "not a regular expression"),
        (["run", "http://a.example/", "--json", "--export", "-"], "give --export a file"),
        (["run", "http://a.example/", "--database", "postgresql://h/d"], "--data"),
        (["run", "http://a.example/", "--export", "/not/there/x"], "there is no folder /not/there"),
        (["run", "http://a.example/", "--max-depth", "9999999999"], "'--max-depth'"),
        (["run", "http://localhost/"], "--allow-net 127.0.0.0/8"),
        (["run", "http://127.0.0.1:1/"], "--allow-net 127.0.0.0/8"),
        (["show", "nonsense"], "'nonsense' is not a URL"),
        (["show"], "Missing argument 'URL'"),
        (["why", "ftp://x/"], "only http:// and https://"),
        (["export"], "Missing argument 'NAME'"),
        (["export", "x", "--format", "xml"], "'xml' is not"),
    ],
)
def test_bad_input_is_one_line(empty: Crawler, arguments: list[str], said: str) -> None:
    """What cannot be done is status 2 and one line that says what is wrong; nothing is made."""
    done = empty(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not empty.data.exists()


def test_an_unknown_setting_in_a_file_is_an_error(tmp_path: Path) -> None:
    """A file with a setting that nobody knows is refused, with the name that was meant."""
    config = tmp_path / "crawl.toml"
    config.write_text('delya = "5s"\n')
    command = [sys.executable, "-m", "crawler", "--config", str(config), "run", "http://a.example/"]
    done = subprocess.run(
        command, cwd=ROOT, env=PLAIN, capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean delay?" in done.stderr


@pytest.mark.parametrize("command", ["status", "list", "show", "diff", "why", "export", "migrate", "check"])
def test_every_command_has_an_example(empty: Crawler, command: str) -> None:
    """`--help` of every command shows how it is used, and needs no database."""
    done = subprocess.run(
        [sys.executable, "-m", "crawler", command, "--help"],
        cwd=ROOT, env=PLAIN, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0
    assert f"Example:\n    crawl {command}" in done.stdout
    assert not empty.data.exists()
