"""The lines of a robots.txt, as Google's published parser (robots.cc) reads them beyond what its own tests show."""

import random

import pytest

from crawler.core.robots import ALLOW_ALL, parse
from crawler.core.robots_lines import MAX_ROBOTS_BYTES, paths_digest, read_lines
from tests.effort import Effort

US = "faircrawl"


def everybody(*lines: str) -> bytes:
    """A file with one group, for everybody."""
    return "\n".join(["User-agent: *", *lines]).encode()


@pytest.mark.parametrize(
    ("line", "path", "allowed"),
    [
        (
            "Disallow all of you from: /x",
            "/x",
            False,
        ),  # any key that begins with a known name (KeyIsDisallow)
        ("disallowance : /x", "/x", False),
        ("Disallow /x", "/x", False),  # no colon: two words
        ("Disallow /x /y", "/x", True),  # three words are no rule
        ("Disallow: /x y", "/x%20y", False),
        ("Disallow: /x", "/X", True),  # paths have a case
        ("DISALLOW: /x", "/x", False),
        ("Disallow\v: /x", "/x", False),
        ("Dis allow: /x", "/x", True),
        ("Disallow:: /x", "/x", True),
        ("Disallow: /x#y", "/x", False),
        ("Disallow: #/x", "/x", True),
        ("Disallow: /a/*/b$", "/a/1/2/b", False),
        ("Disallow: * /x", "/x", True),
        ("Disallow: http://example.org/x", "/x", True),
    ],
)
def test_lines_as_google_reads_them(line: str, path: str, allowed: bool) -> None:  # noqa: FBT001 - a column of the table
    """What a line says follows from the first known name in it and the first colon."""
    assert parse(everybody(line), US).allows(path) is allowed


@pytest.mark.parametrize(
    "agent",
    [
        "User-agent for bots: faircrawl",
        "user-agents:faircrawl",
        "Useragent faircrawl",
        "user agent: FAIRCRAWL/1.0",
    ],
)
def test_user_agents_as_google_reads_them(agent: str) -> None:
    """So do the lines that name us."""
    assert not parse(f"{agent}\nDisallow: /x".encode(), US).allows("/x")


def test_rules_before_any_user_agent_are_nobodys() -> None:
    """A file that begins with its rules forbids nothing by them."""
    assert parse(b"Disallow: /\n" + everybody("Disallow: /x"), US).allows("/y")


def test_a_long_line_is_cut() -> None:
    """A line counts up to 16,663 bytes, as with Google: what it disallows there is disallowed."""
    path = "/" + "a" * 20_000
    rules = parse(everybody(f"Disallow: {path}"), US)

    assert not rules.allows(path[: 16_663 - len("Disallow: ")])
    assert rules.allows(path[: 16_662 - len("Disallow: ")])


def test_line_of_half_a_megabyte() -> None:
    """One line as long as the whole file says nothing, for the cap goes through it; those before it count."""
    body = everybody("Disallow: /x", "Disallow: /" + "y" * MAX_ROBOTS_BYTES)

    assert not parse(body, US).allows("/x")
    assert parse(body, US).allows("/y")


def test_binary_rubbish_between_lines() -> None:
    """Lines are found among anything."""
    rubbish = random.Random(5).randbytes(2000)

    assert not parse(rubbish + b"\n" + everybody("Disallow: /x") + b"\n" + rubbish, US).allows("/x")


def full(*lines: bytes) -> bytes:
    """500 KiB of these lines, with a number where they have a %d."""
    body, number = bytearray(b"User-agent: *\n"), 0
    while len(body) < MAX_ROBOTS_BYTES:
        line = lines[number % len(lines)]
        body += (line % number if b"%d" in line else line) + b"\n"
        number += 1
    return bytes(body)


HOSTILE = {
    "short": full(b"allow:%d"),
    "anchored": full(b"Disallow:/%d$"),
    "stars": full(b"Disallow:/*a*a*a*a%d$"),
    "groups": full(b"User-agent:*", b"Disallow:/%d"),
    "same": full(b"User-agent: *", b"Disallow: /*a*a*a*b"),
    "escapes": full(b"Disallow:/" + b"\xc3\xa9" * 20 + b"%d"),
    "delays": full(b"crawl-delay:%d", b"request-rate:1/%d"),
    "no colon": full(b"user-agent" + b"-" * 16_000),
    "words": full(b"disallow" + b" x" * 8_000),
    "sitemaps": full(b"sitemap:%d"),
    "line ends": b"\r" * MAX_ROBOTS_BYTES,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_no_file_is_slow(body: bytes) -> None:
    """500 KiB made to be slow are read in a fraction of a second of a core, and ruled on in milliseconds (CI: a second, 50 ms)."""
    with Effort() as reading:
        rules = parse(body, US)
    paths_digest(body)
    with Effort() as ruling:
        for path in ("/" + "a" * 2047, "/" + "'" * 2047, "/" + "%41" * 682):
            rules.allows(path)

    assert reading.spent < 1
    assert ruling.spent / 3 < 0.05


def test_repeated_lines_are_numbered() -> None:
    """A line that stands there twice has two numbers, and its first one decides."""
    body = everybody("Disallow: /a", "", "Disallow: /x", "Disallow: /x")

    assert [number for number, _ in read_lines(body)] == [1, 2, 4, 5]
    assert parse(body, US).ruling("/x").line_number == 4


def test_digest_of_nothing() -> None:
    """Files that say nothing about paths have the same digest."""
    assert (
        paths_digest(b"") == paths_digest(b"<html>\n# Disallow: /\nSitemap: /s") != paths_digest(everybody())
    )
    assert parse(b"<html>", US).digest == ALLOW_ALL.digest
