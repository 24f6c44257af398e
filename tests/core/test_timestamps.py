"""What is a time in a text, and what only looks like one."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crawler.core.content import text_digest
from crawler.core.timestamps import MANY, SIGN, folded
from tests.effort import Effort

TIMES: Final = """
12:03
9:05
12:03:22.5
12:03 UTC
12:03 PM CET
12:03\u202fPM
3 pm
3pm
11:59 p.m.
2026-11-21
2026-11-21T12:03:22Z
2026-11-21T12:03:22.123456+01:00
2026-11-21 12:03:22 +0100
2026/11/21
21.11.2026
21. 11. 2026
11/21/2026
21/11/2026
21-11-2026
2026年11月21日
2026년 11월 21일
21 November 2026
21st of November 2026
1st November, 2026
Nov 21, 2026
November 21st, 2026
2026 Nov 21
NOV 21, 2026
Sept. 5, 2026
Saturday, November 21, 2026
Nov 21, 2026, Saturday
Nov 21, 2026 at 3:05 PM
Nov 21 at 12:03
Samstag, 21. November 2026
21. März 2026 um 12:03
lundi 2 novembre 2026
1er août 2026
21 de noviembre de 2026
21 novembre 2026
21 oktober 2026
21 listopada 2026
21 ноября 2026
Sat, 21 Nov 2026 12:03:22 +0000
Sat, 21 Nov 2026 12:03:22 GMT
Saturday, 21-Nov-26 12:03:22 GMT
Sat Nov 21 12:03:22 2026
Sat Nov 21 12:03:22 UTC 2026
21/Nov/2026:12:03:22 +0100
1795262602
1795262602.5
1795262602123
1 minute ago
5 minutes ago
2 days, 3 hours ago
1 year ago
vor 5 Minuten
il y a 3 ans
hace 5 minutos
""".strip().splitlines()

NO_TIMES: Final = """
EUR 12.50
$1,795,262,602
3.11.2
1.2.2026.4
v2026-11-21
nightly-2026-11-21
backup-2026-11-21.tar.gz
CVE-2026-11
10.0.0.1
192.168.20.26:8080
2001:db8::12:34
00:1B:44:11:22:33
00:11:22:33:44:55
3:2
1:100
12:345
25:00
12:61
1:10.2-3
§ 3.2.1
RFC 2026
ISO 8601:2019
2025
Copyright 2026
2019-2026
in November 2026
May 5
Monday
2026-13-01
2026-11-32
32.11.2026
21.13.2026
21.11.1926
+49 30 2026112
212-555-1234
2125551234
12345678901
1795262602.50.1
0x1795262602
5 minutes
64 amps
13 pm
Rang 3 am Ende
2026 x 11 x 21
may 2026 be better
""".strip().splitlines()


@pytest.mark.parametrize("written", TIMES)
def test_a_time_is_one_sign(written: str) -> None:
    """However a time is written, alone or in a sentence, it is one sign."""
    expected = [SIGN, b"(" + SIGN + b")", b"updated: " + SIGN + b".\n", b"<" + SIGN + b", 7>"]

    assert [
        folded(text.encode())
        for text in (written, f"({written})", f"updated: {written}.\n", f"<{written}, 7>")
    ] == expected


@pytest.mark.parametrize("written", NO_TIMES)
def test_what_only_looks_like_a_time(written: str) -> None:
    """Prices, versions, addresses, telephone numbers, sections, scores, names of files and bare years stay as they are."""
    expected = [text.encode() for text in (written, f"({written})", f"is {written}.\n")]

    assert [folded(text) for text in expected] == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Nov 20, 2026: closed", "Nov 21, 2026: open"),
        ("EUR 12.50, 12:03", "EUR 13.50, 12:03"),
        ("Copyright 2025", "Copyright 2026"),
        ("12:03", "12:03 12:04"),
        ("version 3.11.2 of 2026-11-21", "version 3.11.3 of 2026-11-21"),
        ("home 3:2", "home 3:3"),
        ("call 212-555-1234", "call 212-555-1235"),
    ],
)
def test_a_change_beside_a_time_is_a_change(before: str, after: str) -> None:
    """What a page says beside its times still counts, and so does how many there are."""
    assert text_digest(before) != text_digest(after)


MOMENTS: Final = st.datetimes(datetime(2001, 9, 10), datetime(2033, 5, 17))  # noqa: DTZ001 - a zone is given to them
ZONES: Final = st.integers(-11 * 60, 12 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# No letters of which a weekday or a month could be made: those would belong to the time.
WORDS: Final = st.text(st.sampled_from("abehjklqx ,;(){}ÄÖé€中\n"), max_size=30)
FORMS: Final[dict[str, Callable[[datetime], str]]] = {
    "RFC 3339": lambda at: at.isoformat(),
    "RFC 5322": format_datetime,
    "ctime": lambda at: at.ctime(),
    "clock": lambda at: f"{at:%H:%M}",
    "seconds": lambda at: f"{at:%H:%M:%S}",
    "American": lambda at: f"{at:%B} {at.day}, {at.year} at {at:%I:%M %p}",
    "British": lambda at: f"{at:%A}, {at.day} {at:%b} {at.year}",
    "German": lambda at: f"{at:%d.%m.%Y}",
    "slashes": lambda at: f"{at.month}/{at.day}/{at.year}",
    "Unix": lambda at: str(int(at.timestamp())),
    "JavaScript": lambda at: str(int(at.timestamp() * 1000)),
    "Apache": lambda at: f"{at:%d/%b/%Y:%H:%M:%S %z}",
}


@given(st.sampled_from(sorted(FORMS)), st.tuples(MOMENTS, MOMENTS), ZONES, WORDS, WORDS)
def test_another_moment_is_the_same_page(
    form: str, moments: tuple[datetime, datetime], zone: timezone, before: str, after: str
) -> None:
    """A page that differs from another only in when it was made has the same digest, whatever stands around the time."""
    pages = [f"{before} {FORMS[form](at.replace(tzinfo=zone))} {after}" for at in moments]
    expected = text_digest(pages[0])

    assert text_digest(pages[1]) == expected
    assert (
        folded(pages[0].encode())
        == folded(pages[1].encode())
        == f"{before} \0 {after}".encode().replace(b"\0", SIGN)
    )


PIECES: Final = st.lists(
    st.sampled_from(
        [
            *TIMES[::7],
            *NO_TIMES[::7],
            "12",
            ":",
            "-",
            ".",
            "/",
            " ",
            "\n",
            "2026",
            "Nov",
            "am",
            "ago",
            "x",
            "é",
            "1795262602",
        ]
    ),
    max_size=30,
).map("".join)


@given(PIECES | st.text())
def test_nothing_else_is_touched(text: str) -> None:
    """What is no time stays, byte for byte and in order: the signs stand for all that is gone."""
    said, rest = text.encode("utf-8", "replace"), folded(text.encode("utf-8", "replace"))
    at = 0
    for piece in rest.split(SIGN):
        found = said.find(piece, at)
        assert found >= at
        at = found + len(piece)

    assert rest.split(SIGN)[0] == said[: len(rest.split(SIGN)[0])]
    assert said.endswith(rest.split(SIGN)[-1])


@given(st.text(st.characters(exclude_characters="0123456789", exclude_categories=["Cs"])))
def test_without_digits_there_is_no_time(text: str) -> None:
    """A text without an ASCII digit stays as it is."""
    expected = text.encode()

    assert folded(expected) == expected


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_price_is_a_price(before: int, after: int) -> None:
    """Two prices are two pages."""
    assume(before != after)

    assert text_digest(f"now EUR 12.{before:02} only") != text_digest(f"now EUR 12.{after:02} only")


def test_of_a_log_every_time_counts() -> None:
    """A page with more than a thousand times is a log: they are what it says."""
    log = b"12:03 x\n" * MANY
    longer = log + b"12:03 x\n"

    assert folded(log) == log.replace(b"12:03", SIGN)
    assert folded(longer) == longer


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "1234567890",
            "123456789 ",
            "0",
            ":",
            "1:",
            "12:03:",
            "12:03 ",
            "2026-",
            "2026 ",
            "a 2026",
            "2026/0",
            "20",
        ),
        *(
            "Nov ",
            "Nov 21 ",
            "nov 21, 20",
            "1 november 2",
            "5 min ",
            "1        ",
            "1\xa0",
            "1 s",
            "1 a",
            "vor 5 minute ",
        ),
        *("2026-11-21T12:03:22.123456", "sat, nov 21 12:03:22 utc ", "1 hour, 2 hours "),
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    """Of what nearly is a time, four times as much takes no more than four times as long, but for noise: and 3 MB less than 1.5 s."""
    text = (unit * (3_000_000 // len(unit.encode()))).encode()
    seconds = [min(_spent(part) for _ in range(3)) for part in (text[: len(text) // 4], text)]

    assert seconds[1] < max(4 * 4 * seconds[0], 0.1)
    assert seconds[1] < 1.5


def _spent(text: bytes) -> float:
    """CPU seconds; the least of some is what the text costs, and the rest is the machine's other work."""
    with Effort() as effort:
        folded(text)
    return effort.spent


def test_the_dearest_places_are_cheap() -> None:
    """A thousand places that take the most looking at cost less than a tenth of a second together."""
    gap = " " * 8
    dear = f"sat,{gap}nov{gap}21{gap}12:03{gap}1{gap}hour,{gap}2{gap}hours{gap}".encode() * (MANY // 4)
    with Effort() as effort:
        folded(dear)

    assert effort.spent < 0.5


def test_only_the_present_stamps_pages() -> None:
    """A date of this century is a time; one of another is history, and what the page says."""
    assert text_digest("built 21.11.2026") == text_digest("built 02.01.2042")
    assert text_digest("built 21.11.1926") != text_digest("built 22.11.1926")
