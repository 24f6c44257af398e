"""robots.txt, whatever a site calls so: see `tests.fuzz.mutating`."""

import json
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Final

import pytest

from crawler.core.robots import parse
from tests.fuzz.mutating import fuzz, kept

US: Final = "faircrawl"
CASES: Final = json.loads((Path(__file__).parent.parent / "corpus" / "google_robots.json").read_text())[
    "cases"
]
SEEDS: Final = [case["robots"].encode() for case in CASES if len(case["robots"]) < 2_000]
WORDS: Final = [
    b"User-agent: *\n", b"user-agent: faircrawl\n", b"USER AGENT : faircrawl/1.0\n", b"useragent:*\r", b"Disallow: /\n", b"disallow:\n",
    b"Disalow: /x\n", b"Allow: /a\n", b"Disallow: /*.php$\n", b"Disallow: /*/*/*/*/*a\n", b"Disallow: *\n",
    b"Disallow: $\n", b"Disallow: /%\n",
    b"Disallow: /%C3%A9\n", "Disallow: /é\n".encode(), b"Crawl-delay: 10\n", b"crawl-delay: 1e99\n", b"crawl-delay: nan\n",
    b"crawl-delay: -1\n", b"Request-rate: 1/5\n", b"Request-rate: 0/0\n", b"Visit-time: 0600-0845\n",
    b"Sitemap: /s.xml\n", b"# c\n", b"\n", b"\r\n", b"\r", b"\0",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b":", b"*", b"$", b"/", b" ", b"\t", b"#", b"\x0b", b"\x85", "\u2028".encode(), b"User-agent",
]  # fmt: skip
PATHS: Final = ("/", "/a", "/a/b.php?x=1", "/%C3%A9", "/" + "a/" * 50, "/*$", "/%", "/robots.txt")
DENY: Final = b"\nUser-agent: faircrawl\nDisallow: /\n"
PATIENCE: Final = 2.0
"""CPU seconds for 4 kB. They take a millisecond."""


def check(body: bytes) -> Hashable:
    """Rules are read from anything, in no time, and say the same twice."""
    began = time.process_time()
    rules = parse(body, US)
    said = [rules.allows(path) for path in PATHS]
    assert time.process_time() - began < PATIENCE, f"{len(body)} bytes take seconds"
    assert said == [parse(body, US).allows(path) for path in PATHS], "another answer the second time"
    delay = rules.crawl_delay
    assert delay is None or 0 <= delay < float("inf"), "a delay that is none"
    assert said[-1], "robots.txt itself may always be fetched"
    assert [rules.ruling(path).allowed for path in PATHS] == said, "another answer with its reason"
    return (tuple(said), len(rules).bit_length(), rules.crawl_delay is None)


def check_denied(body: bytes) -> Hashable:
    """A group for us that forbids all, at the end, is not undone by what stands before, if that allows nothing."""
    check(body)
    allows = b"allow" in body.lower().replace(b"disallow", b"")
    assert allows or not parse(body + DENY, US).allows("/a"), "rubbish before a group undoes it"
    return (allows, len(parse(body, US)).bit_length())


def test_nothing_undoes_a_refusal() -> None:
    """Rules made of others by chance say the same twice, and never undo a group for us that forbids everything."""
    assert fuzz("robots", SEEDS, WORDS, check_denied) > 0


@pytest.mark.parametrize("path", kept("robots"), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """Whatever broke a law once breaks none."""
    assert check_denied(path.read_bytes()) is not None
