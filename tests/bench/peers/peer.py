"""The crawlers of others, each as its own documents recommend for many sites.

Peer: command ──► a process that ends when all is fetched ──► files ──► how many pages, and when the last of them changed
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.peers.docs_web import PAGE
from tests.bench.peers.installing import install, peers_python, version_of
from tests.bench.peers.launching import launched
from tests.bench.peers.racing import CRAWLER, PATIENCE, Stage, Task

HERE: Final = Path(__file__).parent
SOME_ERRORS: Final = 8
"""How wget2 ends when a server answered some URL with an error, such as 404."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that leaves files."""

    title: str
    """Its name and version."""
    how: str
    """The settings that matter, for people."""
    command: Callable[[Task, Path], Sequence[str | Path]]
    """What to run, for a folder to store in."""
    stored: str
    """Which files of that folder hold pages, as a glob."""
    count: Callable[[Path], int]
    """How many pages one of these files holds."""
    good: frozenset[int] = frozenset({0})
    """How it may end."""

    async def __call__(self, stage: Stage) -> None:
        """Run it to its end."""
        store = stage.folder / "store"
        store.mkdir()
        async with (
            launched(self.title, self.command(stage.task, store), stage.folder) as program,
            stage.watched(**{CRAWLER: program.pid}),
        ):
            await program.end(PATIENCE, good=self.good)
        stage.cpu[CRAWLER] = program.cpu
        for path in store.glob(self.stored):
            if path.is_file() and (pages := self.count(path)):
                stage.stored += pages
                stage.over = max(stage.over, path.stat().st_ctime)


def scrapy() -> Peer:
    """Scrapy, by its guide to broad crawls."""
    python = peers_python()

    def command(task: Task, store: Path) -> Sequence[str | Path]:
        return [
            python,
            HERE / "scrapy_spider.py",
            store,
            str(task.concurrency),
            str(task.per_domain),
            *task.urls,
        ]

    return Peer(
        f"Scrapy {version_of('scrapy')}",
        "the settings of its guide to broad crawls, `LinkExtractor`, uvloop, its queue in memory, "
        "pages into a feed of JSON lines (URL, status, headers, links, body)",
        command,
        "pages.jsonl",
        _lines,
    )


def crawlee() -> Peer:
    """crawlee, with the crawler for pages without JavaScript."""
    python = peers_python()

    def command(task: Task, store: Path) -> Sequence[str | Path]:
        return [python, HERE / "crawlee_crawler.py", store, str(task.concurrency), *task.urls]

    return Peer(
        f"crawlee {version_of('crawlee')}",
        "`ParselCrawler`, its default HTTP client, uvloop, all concurrency from the start, its default storage on disk, "
        "one item a page (URL, status, headers, links, body)",
        command,
        "datasets/default/[0-9]*.json",
        _one,
    )


def wget2() -> Peer | None:
    """GNU Wget2; None: this machine has none, and cannot get it."""
    program = shutil.which("wget2")
    if program is None and install("wget2"):
        program = shutil.which("wget2")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d[\w.]+", said.partition("Wget2")[2])

    def command(task: Task, store: Path) -> Sequence[str | Path]:
        options = ["--quiet", "--recursive", "--level=inf", "--robots=on", "--tries=1"]
        options += [f"--max-threads={task.concurrency}", f"--directory-prefix={store}", "--force-directories"]
        options += ["--ignore-tags=img,link,script"]
        return [program, *options, *task.urls]

    return Peer(
        f"wget2 {version[0] if version else ''}".rstrip(),
        "`--recursive --level=inf --robots=on`, as many threads as the others have requests at once, "
        "no pictures, styles and scripts, pages as files",
        command,
        "**/*",
        _page,
        frozenset({0, SOME_ERRORS}),
    )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _one(_: Path) -> int:
    return 1


def _page(path: Path) -> int:
    return bool(PAGE.search(path.name))
