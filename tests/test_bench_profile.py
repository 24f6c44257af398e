"""`make profile`: a sample counts for the part that spent it, a statement has its name, and the picture needs nothing else."""

import re
from pathlib import Path

import pytest

from crawler.adapters.postgres import QUERIES
from crawler.core.links import parse_page
from tests.bench.measuring import BenchError
from tests.bench.profile_parts import OTHER, PARTS, START, Profile, part_of, profiled, stacks_in
from tests.bench.profile_picture import Findings, drawn
from tests.bench.profile_spying import FORBIDDEN, summary_in
from tests.bench.profile_statements import DRIVER, MIGRATIONS, Statement, bare, is_of, name_of, names
from tests.bench.profile_web import Site, host_of, path_of

ROOT = Path(__file__).parents[1]
LOOP = "main (crawler/cli/__init__.py:9);Runner.run (asyncio/runners.py:118)"
VISIT = f"{LOOP};TurnVisit._fetch (crawler/visit.py:210)"
PROCESS = 'process 7:"python -m crawler run http://a.test/;b --json"'


def sampled(*lines: str) -> Profile:
    """These lines of py-spy, counted."""
    return profiled(stacks_in(lines))


def part_named(name: str) -> object:
    """The part of that name."""
    return next(part for part in (*PARTS, START, OTHER) if part.name == name)


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (LOOP, "event loop"),
        (VISIT, "turns"),
        (f"{VISIT};parse (crawler/parsing.py:62)", "digest"),
        (f"{VISIT};pack (crawler/adapters/zstd.py:20);compress (zstd/__init__.py:3)", "compress"),
        (f"{VISIT};parse_page (crawler/core/links.py:1);tree_text (crawler/core/trees.py:1)", "text"),
        (f"{VISIT};html_tree (crawler/core/trees.py:1);sub (re/__init__.py:185)", "parse"),
        (f"{LOOP};SSLObject.read (ssl.py:880)", "TLS"),
        (
            f"{VISIT};_find_and_load (<frozen importlib._bootstrap>:1178);<module> (crawler/core/html5.py:3)",
            "start and end",
        ),
        ("run (elsewhere.py:1)", "other"),
    ],
)
def test_part(stack: str, part: str) -> None:
    """A sample belongs to the innermost frame that a part names; what an import does is done once, wherever it is."""
    frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]

    assert part == part_of(frames).name


def test_stacks() -> None:
    """The process's command line may hold semicolons; sleeping threads and the interpreter's end do not count."""
    profile = sampled(
        f"{PROCESS};{VISIT} 5",
        f"{PROCESS};_run_safe_shutdown_loop (pycares/__init__.py:9) 40",
        f"{PROCESS} 30",
        "py-spy says something else",
    )

    assert profile.samples == 5
    assert {part_named("turns"): 5} == profile.parts
    assert list(profile.root.children) == ["crawl run"]


def test_tree() -> None:
    """What a function has called is counted with it, and what is alike is one."""
    profile = sampled(f"{PROCESS};{VISIT} 2", f"{PROCESS};{VISIT};parse (crawler/parsing.py:62) 3")
    (crawl,) = profile.root.children.values()
    (fetch,) = crawl.children.values()
    (parse,) = fetch.children.values()

    assert (crawl.samples, fetch.samples, parse.samples) == (5, 5, 3)
    assert parse.part.name == "digest"


def test_parts_are_there() -> None:
    """Every file and function of the crawler that a part names is there: one that is renamed would count for another part."""
    for frame in (frame for part in (*PARTS, START) for frame in part.frames if "crawler/" in frame):
        function, _, file = frame.rpartition(" (")
        path = ROOT / file.removesuffix(")")

        assert path.exists(), frame
        assert f"def {function.rpartition('.')[2]}(" in path.read_text("utf-8") if function else True, frame


def test_statement_names() -> None:
    """A statement is known by its words, whatever has become of its constants."""
    text = "-- why\nselect a, extract(epoch from b) from t -- here\nwhere kind = 'page' and state in ('x', 'y') and n = $1 and not gone;"
    counted = "select a, extract($2 from b) from t -- here\nwhere kind = $3 and state in ($4 /*, ... */) and n = $1 and not gone"

    assert is_of(bare(counted), bare(text))
    assert not is_of(bare(counted), bare(text.replace("gone", "here")))
    assert name_of(counted, {bare(text): "this"}) == "this"


def test_other_statements() -> None:
    """What is not in queries.sql is a group, or has its own words for a name."""
    assert name_of("CREATE TABLE t (a int)", names()) == MIGRATIONS
    assert name_of("WITH RECURSIVE typeinfo_tree(oid) as (select $1) select $2", names()) == DRIVER
    assert name_of("select\n  something", names()) == "select something"


def test_all_names() -> None:
    """Each statement of queries.sql is found by itself."""
    known = names()

    assert all(name in name_of(text, known).split(" or ") for name, text in QUERIES.items())


def test_picture() -> None:
    """The picture is whole by itself, escapes what it shows, and its parts add up to the page."""
    found = Findings(
        about=[("crawled", "<b>this</b>")],
        pages=10,
        seconds=1.0,
        cpu=0.1,
        database_cpu=0.02,
        profile=sampled(
            f"{PROCESS};{VISIT} 6",
            f"{PROCESS};{VISIT};<lambda> (crawler/parsing.py:1) 2",
            f"{PROCESS};x (crawler/cli/run.py:1) 2",
        ),
        statements=[Statement("record_links", 5, 10.0, 1.0, 20, 30, 400)],
        commits=3,
    )
    page = drawn(found)

    assert pytest.approx(8.0) == found.page
    assert pytest.approx(0.02) == found.once
    assert pytest.approx(found.page) == sum(found.each(samples) for _, samples in found.parts())
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)|url\(|@import", page)
    assert "&lt;b&gt;this" in page
    assert "&lt;lambda&gt;" in page
    assert "record_links" in page


def test_summary() -> None:
    """The crawl's summary is found among what py-spy says; what keeps it from looking is said with what to do."""
    assert summary_in('py-spy> Sampling\n{"pages": 3}\n', "") == {"pages": 3}
    with pytest.raises(BenchError, match="SYS_PTRACE"):
        summary_in("", "Error: Permission Denied: Try running again with elevated permissions\n")
    with pytest.raises(BenchError, match="SYS_PTRACE"):
        summary_in("", "Error: No python processes found in process 7\n\nStack backtrace:\n   0: anyhow\n")
    with pytest.raises(BenchError, match="the seed is no URL"):
        summary_in("", "crawl: the seed is no URL\n")
    assert "\n" not in FORBIDDEN


def test_web() -> None:
    """The web is the same each time, its pages are as large as pages are, and all of them can be reached from the first of their site."""
    site = Site(2, 60, "http://{}:80")
    host, links = host_of(0), set[str]()
    for number in range(site.pages):
        body = site.page(host, path_of(number))
        assert body is not None
        page = parse_page(body, f"http://{host}{path_of(number)}", "text/html")
        links |= set(page.links)

        assert body == site.page(host, path_of(number))
        assert 28_000 < len(body) < 36_000
        assert 80 < body.count(b"<a ") < 110

    assert {f"http://{host}{path_of(number)}" for number in range(site.pages)} <= links
    assert site.page(host, path_of(60)) is None
    assert site.page(host, "/guide/part-9/page-1.html") is None
