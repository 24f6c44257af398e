"""The bench of the peers: its made web is what it says, and what it reports follows from what was measured."""

import re
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from tests.bench.measuring import BenchError
from tests.bench.peers.installing import version_of
from tests.bench.peers.judging import ALONE, SCRAPY, TWO, Round, common, faster, findings, lacks
from tests.bench.peers.launching import Peaks, launched, watched
from tests.bench.peers.racing import CRAWLER, WEB, Run
from tests.bench.peers.report import Measured, as_page, portrait
from tests.bench.peers.serving import Log, Site
from tests.bench.peers.synthetic import LINKS, SIZE, path_of, write_site

PAGES = 60
DIGEST = "4604452b7acde500"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A small site of the made web."""
    folder = tmp_path_factory.mktemp("made") / "site"
    write_site(folder, 0, PAGES)
    return Site("made-1", "127.0.2.1", folder, "made by the bench", compressed=False)


def file_of(site: Site, path: str) -> Path:
    """Where a page of a site lies."""
    return site.root / (path.lstrip("/") or "index.html")


def run(name: str, pages: frozenset[str], *, seconds: float = 10.0, cpu: float = 0.2, stored: int = 0) -> Run:
    """A run that got these pages."""
    log = Log(len(pages) + 1, 0.0, pages)
    return Run(name, stored or len(pages), seconds, {CRAWLER: cpu, WEB: 0.01}, {CRAWLER: 10**8}, log, 1.0)


def some(count: int) -> frozenset[str]:
    """So many pages of the made site."""
    return frozenset(f"127.0.2.1{path_of(number)}" for number in range(count))


def rounds(*figures: tuple[float, float]) -> list[Round]:
    """Rounds in which we and Scrapy took so many seconds."""
    return [
        {ALONE: run(ALONE, some(50), seconds=ours), SCRAPY: run(SCRAPY, some(50), seconds=theirs)}
        for ours, theirs in figures
    ]


def test_the_made_web_is_always_the_same(made: Site) -> None:
    """The same number of pages is the same bytes, on any machine."""
    digest = blake2b(digest_size=8)
    for path in sorted(path for path in made.root.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())

    assert digest.hexdigest() == DIGEST


def test_made_pages_are_as_large_and_as_linked_as_real_ones(made: Site) -> None:
    """On average a made page has 30 kB and 91 links; none is the same as another."""
    looks = portrait([made], some(PAGES))

    assert looks.pages == PAGES
    assert looks.links == LINKS
    assert SIZE <= looks.size <= SIZE * 1.1
    assert len({file_of(made, page.partition("/")[2]).read_bytes() for page in some(PAGES)}) == PAGES


def test_every_made_page_can_be_reached(made: Site) -> None:
    """From the first page links lead to all others, and nowhere else."""
    seen, ways = {"/"}, ["/"]
    while ways:
        links = re.findall(r'<a [^>]*href="([^"]+)"', file_of(made, ways.pop()).read_text())
        new = set(links) - seen
        seen |= new
        ways += new

    assert {path_of(number) for number in range(PAGES)} == seen


def test_the_log_tells_who_got_which_pages(tmp_path: Path) -> None:
    """Pages are HTML with status 200; the first request began when its answer had taken its time."""
    log = tmp_path / "access.log"
    log.write_text(
        "100.500\t0.250\t127.0.1.1\t404\ttext/html\t/robots.txt\n"
        "101.000\t0.001\t127.0.1.1\t200\ttext/html\t/\n"
        "101.000\t0.001\t127.0.1.2\t200\tapplication/xhtml+xml; charset=utf-8\t/a\n"
        "102.000\t0.001\t127.0.1.1\t200\ttext/css\t/style.css\n"
    )

    assert Log.read(log) == Log(4, 100.25, frozenset({"127.0.1.1/", "127.0.1.2/a"}))


def test_a_log_without_requests_is_an_error(tmp_path: Path) -> None:
    """Where nobody asked for anything, nothing was measured."""
    (tmp_path / "access.log").touch()

    with pytest.raises(BenchError, match="nobody has asked"):
        Log.read(tmp_path / "access.log")


def test_a_ratio_is_taken_within_a_round() -> None:
    """A round on a busy machine is slow for both, and changes no ratio; the spread is that of the rounds."""
    spread = faster(rounds((1, 10), (10, 130), (1, 14)), SCRAPY)

    assert (spread.least, spread.middle, spread.most) == (10.0, 13.0, 14.0)


@pytest.mark.parametrize(("theirs", "good"), [(130.0, True), (110.0, False)])
def test_what_was_to_be_reached_is_judged_by_the_middle(theirs: float, good: bool) -> None:  # noqa: FBT001  # a column of the table
    """Twelve times as fast as Scrapy is enough, eleven times is not."""
    found = next(one for one in findings(rounds((10, theirs))) if SCRAPY in one.what)

    assert found.good is good


def test_who_lacks_pages_is_told() -> None:
    """A crawler that was fast because it fetched less, or stored less, does not pass."""
    fetched_less = {
        ALONE: run(ALONE, some(50)),
        SCRAPY: run(SCRAPY, some(40)),
        "crawlee": run("crawlee", some(50)),
    }
    stored_less = {ALONE: run(ALONE, some(50), stored=45), SCRAPY: run(SCRAPY, some(50))}

    assert lacks(fetched_less[SCRAPY], common([fetched_less])) == pytest.approx(0.2)
    assert lacks(stored_less[ALONE], common([stored_less])) == pytest.approx(0.1)
    assert "FAIL" in str(findings([stored_less])[-1])


def test_pages_that_one_alone_got_are_not_asked_of_the_others() -> None:
    """What only we found in three ways is found by one crawler: the others lack nothing."""
    alone = {ALONE: run(ALONE, some(60)), TWO: run(TWO, some(60)), SCRAPY: run(SCRAPY, some(50))}

    assert some(50) == common([alone])


def test_the_page_is_made_of_the_figures(made: Site) -> None:
    """docs/benchmarks.md has the verdicts, the ratio, the machine and the versions."""
    page = as_page(measured(made))

    assert "| PASS | pages/s, times those of Scrapy | 13.0 (10.0 to 14.0) | at least 12 |" in page
    assert "50 pages of 3" in page
    assert "| machine | 2 processors |" in page
    assert "| PostgreSQL | 18.6 |" in page
    assert "  - Scrapy 2: its guide." in page


def measured(site: Site) -> Measured:
    """One run of the bench."""
    return Measured(
        rounds=rounds((1, 10), (1, 13), (1, 14)),
        sites=[site],
        per_domain=16,
        concurrency=16,
        peers={"Scrapy 2": "its guide"},
        left_out=[],
        command="make bench",
        machine="2 processors",
        busy="load average 0.1",
        versions={"PostgreSQL": "18.6"},
        date="2026-01-01",
    )


@pytest.mark.parametrize("package", ["scrapy", "crawlee"])
def test_the_peers_have_fixed_versions(package: str) -> None:
    """What is measured today can be measured again."""
    assert re.fullmatch(r"\d+(\.\d+)+", version_of(package))


async def test_what_a_program_used_is_known_with_all_its_children(tmp_path: Path) -> None:
    """The processor time of a child that lived for a moment counts; nobody has to look while it lives."""
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    async with launched("parent", [sys.executable, "-c", code], tmp_path) as program:
        await program.end(30)

    assert program.cpu >= 0.2


async def test_how_a_program_failed_is_one_line(tmp_path: Path) -> None:
    """What it said last is told, without its colours; whoever kept an eye on its memory says no more."""
    code = "import sys; sys.exit('first\\n\\x1b[31mno more room\\x1b[0m')"
    with pytest.raises(BenchError, match=r"^the crawler ended with 1: no more room$"):
        async with (
            launched("the crawler", [sys.executable, "-c", code], tmp_path) as program,
            watched(Peaks(), {"crawler": program.pid}),
        ):
            await program.end(30)
