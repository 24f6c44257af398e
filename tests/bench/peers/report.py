"""docs/benchmarks.md, written from what was measured; and the same tables for whoever watches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from crawler.phrases import count
from tests.bench.measuring import Table
from tests.bench.peers.judging import (
    Round,
    common,
    cost_table,
    findings,
    memory_table,
    pages_table,
    speed_table,
)
from tests.bench.peers.serving import Site

LINK: Final = re.compile(rb"<a\s[^>]*href", re.IGNORECASE)
HEAD: Final = """\
# Benchmarks

Faircrawl side by side with its peers: the same pages from the same web server, in turn, on one machine, in one run.
Made by `make bench`, which measures, compares and writes this page: do not edit it, run it again.
"""
FAIR: Final = """\
## What is compared

- **The same pages.**
  {web}
  nginx on this machine serves each site at an address of its own, without delay, and its log says who got what.
- **The same concurrency.**
  {per_domain} requests to one site at once, {concurrency} in all, no pause between requests.
  crawlee and wget2 know only the number in all.
- **Robots on.**
  All of them ask for robots.txt and obey it.
  The peers read no sitemaps, so ours is told `--no-sitemaps`.
- **Everything stored.**
  Faircrawl writes pages, headers, links and its frontier to a PostgreSQL on disk, with fsync on, and could be killed at any moment.
  Scrapy and crawlee write files; Scrapy has its queue in memory, which costs least.
  wget2 stores bodies alone: it shows what a program in C needs to fetch them.
- **Their own settings.**
  The peers run as their documents recommend for many sites, installed at fixed versions:
{peers}
- **One process each**, where nothing else is said.
  PostgreSQL and nginx are programs of their own, and share the processors with the crawler.
- **In turn.**
  Every round runs each of them once, every other round in reverse order, each on a new and empty store.
  Ratios are taken within a round; a figure is the middle one of all rounds ({rounds}), with the least and the most behind it.
"""
MEASURED: Final = """\
## How it is measured

- **Pages a second**: stored pages, by the time from the first request in the web server's log to the last commit,
  or with the peers to the last change to a file of pages.
  Starting and ending a program is not in it.
- **Processor time**: what the kernel says that a program and its children have used, from its start to its end.
  That of PostgreSQL includes a checkpoint at the end.
- **Memory**: the most that a program and its children had at once (proportional share, PSS), looked at twice a second.
  PostgreSQL's 256 MB of shared buffers fill as a crawl goes on, and are in it.
- **Busy machines**: a little work that is always the same goes on beside it all.
  Where our own ways are compared with each other, processor time is taken relative to what that work cost meanwhile.
"""


@dataclass(frozen=True, slots=True)
class Portrait:
    """What the pages are like that the crawlers got."""

    pages: int
    size: float
    """Bytes, on average."""
    links: float
    """On average."""

    def __str__(self) -> str:
        return f"{self.pages:,} pages of {self.size / 1000:.0f} kB with {self.links:.0f} links, on average"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the bench."""

    rounds: Sequence[Round]
    sites: Sequence[Site]
    per_domain: int
    concurrency: int
    peers: Mapping[str, str]
    """Who took part besides us, and how each was set up."""
    left_out: Sequence[str]
    """Who could not, and why."""
    command: str
    machine: str
    busy: str
    versions: Mapping[str, str]
    date: str


def portrait(sites: Sequence[Site], pages: frozenset[str]) -> Portrait:
    """Look at the files behind these pages."""
    roots = {site.address: site.root for site in sites}
    size = links = 0
    for page in pages:
        address, _, path = page.partition("/")
        body = _body(roots[address] / unquote(path.partition("?")[0]))
        size += len(body)
        links += len(LINK.findall(body))
    return Portrait(len(pages), size / max(len(pages), 1), links / max(len(pages), 1))


def as_text(rounds: Sequence[Round]) -> str:
    """Tables and findings for a terminal."""
    tables = (pages_table(rounds), speed_table(rounds), cost_table(rounds), memory_table(rounds))
    return "\n\n".join([*map(str, tables), "\n".join(map(str, findings(rounds)))])


def as_page(one: Measured) -> str:
    """The whole of docs/benchmarks.md."""
    rounds = one.rounds
    looks = portrait(one.sites, common(rounds))
    web = f"{looks} ({_packages(one.sites)})."
    peers = "\n".join(f"  - {title}: {how}." for title, how in one.peers.items())
    fair = FAIR.format(
        web=web, per_domain=one.per_domain, concurrency=one.concurrency, peers=peers, rounds=len(rounds)
    )
    return "\n".join([HEAD, *_parts(one), fair, MEASURED]).rstrip() + "\n"


def _parts(one: Measured) -> Iterator[str]:
    rounds = one.rounds
    yield "## What was to be reached\n"
    goals = Table(["", "what", "measured", "to be"])
    goals.rows += [
        ["PASS" if each.good else "**FAIL**", each.what, each.figure, each.bound] for each in findings(rounds)
    ]
    yield f"{_as_markdown(goals, words=True)}\n"
    yield f"## Speed\n\n{_as_markdown(speed_table(rounds))}\n"
    yield f"## Processor time of a page\n\n{_as_markdown(cost_table(rounds))}\n"
    yield f"## Memory at most\n\n{_as_markdown(memory_table(rounds))}\n"
    yield f"## Who got what\n\n{_as_markdown(pages_table(rounds))}\n"
    yield "The common pages are those that at least two crawlers got.\n"
    yield from (f"{line}\n" for line in one.left_out)
    yield "## Where and when\n"
    facts = Table(["", ""], [["date", one.date], ["command", f"`{one.command}`"], ["machine", one.machine]])
    facts.rows.append(["how busy it was when it began", one.busy])
    facts.rows += [[name, version] for name, version in one.versions.items()]
    yield f"{_as_markdown(facts, words=True)}\n"


def _as_markdown(table: Table, *, words: bool = False) -> str:
    """The table; figures stand to the right, words to the left."""
    lines = [table.headings, ["---", *("---" if words else "---:" for _ in table.headings[1:])], *table.rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)


def _packages(sites: Sequence[Site]) -> str:
    kinds = list(dict.fromkeys(site.made_of for site in sites))
    return f"{count(len(sites), 'site')}: {', '.join(kinds)}"


def _body(path: Path) -> bytes:
    try:
        return (path / "index.html" if path.is_dir() else path).read_bytes()
    except OSError:
        return b""
