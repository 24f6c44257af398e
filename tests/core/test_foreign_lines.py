"""Lines and items of other programs' files: what each says of a URL."""

import csv
import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.core.cdx import LEGENDS, capture, capture_json, guessed_legend, is_json, legend_of, timestamp
from crawler.core.gunzipping import Gunzipping
from crawler.core.items import MOST, MOST_LINES, Array, ItemElements, Table, header_of, item, json_line
from crawler.core.mentions import Fault, Mention, outcome_of
from crawler.core.model import Outcome

URL = "http://example.com/a?b=1"
ELEVEN = f"com,example)/a?b=1 20260102030405 {URL} text/html 200 AAAA - - 512 9 a.warc.gz"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


# --- CDX ----------------------------------------------------------------------------------------------------------------


def test_eleven_columns() -> None:
    """A line of CDX says which URL was visited, when, how that was answered, and what came."""
    legend = legend_of(" CDX N b a m s k r M S V g\n")

    assert legend is not None
    assert capture(ELEVEN, legend, 7) == Mention(URL, 7, AT, 200, "text/html", "AAAA")


@pytest.mark.parametrize("columns", sorted(LEGENDS))
def test_without_a_header(columns: int) -> None:
    """Without a header, the number of columns tells which they are, and all of them have the same facts."""
    line = " ".join([*ELEVEN.split()[:6], *"-" * (columns - 6)])
    legend = guessed_legend(line)

    assert legend == LEGENDS[columns]
    assert capture(line, legend, 1) == Mention(URL, 1, AT, 200, "text/html", "AAAA")


@pytest.mark.parametrize("line", [URL, "a b c", f"x 2026 {URL} - 200 A", " CDX", "CDXN b a", "", "x" * 9])
def test_what_is_no_cdx(line: str) -> None:
    """Other lines are neither a header nor a line of CDX."""
    assert (legend_of(line), guessed_legend(line)) == (None, None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("a b", "has 2 columns instead of 11"),
        (ELEVEN.replace("20260102030405", "20261302030405"), "has '20261302030405' for a time"),
        (ELEVEN.replace(" 200 ", " 999 "), "has '999' for a status of HTTP"),
        (ELEVEN.replace(" 200 ", " ²00 "), "has '²00' for a status of HTTP"),
        (ELEVEN.replace("20260102030405", "20260102x"), "has '20260102x' for a time"),
    ],
)
def test_a_bad_capture(line: str, why: str) -> None:
    """What cannot be read of a line is said in a few words."""
    assert capture(line, LEGENDS[11], 3) == Fault(why, 3)


def test_what_is_no_page() -> None:
    """Look-ups of names, and what else an archive notes besides pages, are passed over, and so are forms that were sent."""
    sent = json.dumps({"url": URL, "method": "POST", "status": "200"})

    assert (
        capture("dns:a.example 20260102030405 dns:a.example text/dns - A - - 1 2 f", LEGENDS[11], 1) is None
    )
    assert capture_json(f"com,example)/ 20260102030405 {sent}", 1) is None
    assert capture_json('!meta {"format": "cdxj"}', 1) is None


def test_visited_again() -> None:
    """A record of a visit that brought nothing new has no status of its own, and says that the page was well."""
    line = ELEVEN.replace("text/html 200", "warc/revisit -")
    said = capture(line, LEGENDS[11], 1)

    assert isinstance(said, Mention)
    assert (said.status, said.mime, outcome_of(said.status)) == (None, None, Outcome.OK)


@pytest.mark.parametrize("status", [200, "200"])
def test_cdxj(status: object) -> None:
    """A line of CDXJ says the same, whether its status is a number or a text."""
    said = {
        "url": URL,
        "mime": "text/html",
        "status": status,
        "digest": "sha1:AAAA",
        "length": "9",
        "offset": "0",
        "filename": "a",
    }
    line = f"com,example)/a?b=1 20260102030405 {json.dumps(said)}"

    assert is_json(line)
    assert capture_json(line, 2) == Mention(URL, 2, AT, 200, "text/html", "sha1:AAAA")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"url": 1}', "[" * 100_000, '{"url": "' + "x" * 9, '{"status": []}', '{"url": "\\ud800"}'],
)
def test_bad_cdxj(text: str) -> None:
    """What is no such object is a fault of its line."""
    assert isinstance(capture_json(f"k 20260102030405 {text}", 1), Fault)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026", (2026, 1, 1)), ("202602", (2026, 2, 1)), ("20260203", (2026, 2, 3)), ("2026020304", (2026, 2, 3, 4)),
     ("20260203040506789", (2026, 2, 3, 4, 5, 6))],
)  # fmt: skip
def test_timestamps(text: str, expected: tuple[int, ...]) -> None:
    """A time has any precision; what is not said is its first moment."""
    assert timestamp(text) == datetime(*expected, tzinfo=UTC)  # type: ignore[arg-type, misc]


@given(st.text(), st.text(alphabet=" {}0123456789abc:/.\"'", max_size=80))
def test_cdx_raises_nothing(text: str, like: str) -> None:
    """Whatever a line holds, it is a mention, a fault or nothing."""
    for line in (text, like, ELEVEN.replace("200", like), f"k 2026 {{{like}}}"):
        assert isinstance(capture(line, LEGENDS[11], 1), Mention | Fault | None)
        assert isinstance(capture_json(line, 1), Mention | Fault | None)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(None, "ok"), (200, "ok"), (206, "ok"), (304, "ok"), (301, "redirect"), (404, "gone"), (410, "gone"),
     (403, "http_error"), (500, "http_error"), (100, "http_error")],
)  # fmt: skip
def test_outcomes(status: int | None, outcome: str) -> None:
    """Each status is an outcome, as if we had asked."""
    assert outcome_of(status) == outcome


# --- items --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "key", "expected"),
    [
        ({"url": URL}, None, Mention(URL, 1)),
        ({"link": "b", "response_url": URL}, None, Mention(URL, 1)),
        ({"url": [URL, "b"], "status": "404"}, None, Mention(URL, 1, status=404)),
        ({"url": "", "link": URL, "status": 7}, None, Mention(URL, 1)),
        ({"page": URL, "url": "b"}, "page", Mention(URL, 1)),
        ({"url": URL, "status": "FETCH_ERROR"}, None, Mention(URL, 1, state="FETCH_ERROR")),
        ({"url": URL, "status": "in stock"}, None, Mention(URL, 1)),
        ({"url": {"href": URL}}, None, Fault("has no URL under url, response_url, link", 1)),
        ({"url": URL}, "page", Fault("has no URL under page", 1)),
        ([URL], None, Fault("is no object", 1)),
        ({"url": []}, None, Fault("has no URL under url, response_url, link", 1)),
    ],
)
def test_where_the_url_stands(said: object, key: str | None, expected: Mention | Fault) -> None:
    """The URL of an item is what its key says, or else the first of the usual ones; of a list, its first."""
    assert item(said, key, 1) == expected


@pytest.mark.parametrize(
    ("line", "why"),
    [("{", "is not JSON"), ("[" * 100_000, "is nested too deeply"), ("x" * (MOST + 1), f"is longer than {MOST:,} characters")],
)  # fmt: skip
def test_bad_json_line(line: str, why: str) -> None:
    """A line that is no object is a fault, however deep or long."""
    assert json_line(None, line, 1) == Fault(why, 1)


@settings(max_examples=25)
@given(
    st.lists(st.text() | st.lists(st.integers()), max_size=6), st.integers(1, 40), st.sampled_from([None, 2])
)
def test_an_array_in_pieces(told: list[object], size: int, indent: int | None) -> None:
    """However an array is cut in pieces and laid out, its elements come out."""
    values: list[object] = [{"url": one} for one in told]
    text, array = json.dumps(values, indent=indent), Array()
    found = [value for at in range(0, len(text), size) for value in array.feed(text[at : at + size])]
    found += array.end()

    assert found == values
    assert array.detail == ""


@pytest.mark.parametrize(
    ("pieces", "elements", "detail"),
    [
        (['[{"a": 1}, {"b"'], 1, "it is cut off, or no JSON, after 1 elements"),
        (['[{"a": 1}, ', "[" * 200_000], 1, "its element 2 is nested too deeply: the rest was not read"),
        (['[{"a": "', *["x" * (1 << 20)] * 18], 0,
         "its element 1 is not JSON, or longer than 16,777,216 characters: the rest was not read"),
        (["[]", "rubbish"], 0, ""),
    ],
)  # fmt: skip
def test_a_bad_array(pieces: list[str], elements: int, detail: str) -> None:
    """What comes before the fault is taken, and the fault is said; memory does not grow beyond an item."""
    array = Array()
    found = [value for piece in pieces for value in array.feed(piece)]
    found += array.end()

    assert (len(found), array.detail) == (elements, detail)


def test_a_long_number() -> None:
    """A number of more digits than Python takes costs no element of an array: neither its own, nor those behind it."""
    array = Array()
    found = list(array.feed(f'[{{"url": "{URL}", "n": {"9" * 5000}, "m": -12}}, {{"url": "b"}}]'))

    assert [item(value, None, 1) for value in found] == [Mention(URL, 1), Mention("b", 1)]
    assert found[0]["m"] == -12  # type: ignore[index]


def table(lines: Iterable[str], key: str | None = None) -> list[Mention | Fault | None]:
    """What the lines of a CSV say."""
    reader = Table(key)
    return [
        said
        for said in (*(reader.line(text, n) for n, text in enumerate(lines, 1)), reader.end())
        if said is not None
    ]


def test_a_table() -> None:
    """The first line names the columns; a record may go over several lines, and has the number of its first one."""
    lines = ["title,url", '"two', 'lines",' + URL, "", "short", f"x,{URL},more"]

    assert table(lines) == [
        Mention(URL, 2),
        Fault("has no URL under url, response_url, link", 5),
        Mention(URL, 6),
    ]


@pytest.mark.parametrize("delimiter", ",;\t|")
def test_delimiters(delimiter: str) -> None:
    """What stands between the columns is what makes one of them the URL's."""
    assert table([f"a{delimiter}page", f"x{delimiter}{URL}"], "page") == [Mention(URL, 2)]
    assert header_of("a b c", None) == ((), ",")


def test_long_cells() -> None:
    """A cell may be as long as an item, and what other users of the csv module may read stays as it was."""
    before = csv.field_size_limit()

    assert table(["title,url", f"{'x' * (before + 1)},{URL}"]) == [Mention(URL, 2)]
    assert csv.field_size_limit() == before == 128 << 10


def test_quotation_marks_within() -> None:
    """Quotation marks where CSV has none cost their record, or the table if it is the first one."""
    odd = 'x"y', 'z"w'
    said = table(["url", *odd, URL])

    assert [type(one) for one in said] == [Fault, Mention]
    assert table([*odd, URL]) == []


def test_what_is_empty() -> None:
    """An empty line is nothing, and a field of XML that has more than a URL is cut."""
    elements = ItemElements()
    for tag in ("items", "item", "url"):
        elements.start(tag, {})
    for _ in range(3):
        elements.data("x" * 8000)
    for tag in ("url", "item"):
        elements.end(tag)
    (said,) = elements.items

    assert json_line(None, " ", 1) is None
    assert len(said["url"]) == 16_000


def test_a_quotation_mark_too_many() -> None:
    """It costs some records, is told, and does not swallow the rest."""
    said = table(["url", '"open', *["x"] * MOST_LINES, URL, '"open again'])

    assert next(one.number for one in said if isinstance(one, Fault)) == 2
    assert Mention(URL, MOST_LINES + 3) in said
    assert isinstance(said[-1], Fault)


# --- gzip ---------------------------------------------------------------------------------------------------------------


MEMBER = gzip.compress(b"x", mtime=0)


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 50), st.integers(1, 99))
def test_gunzipping(members: list[bytes], size: int, piece: int) -> None:
    """Any number of members, however cut in pieces, come out whole, and never more at once than was asked for."""
    packed = b"".join(gzip.compress(one) for one in members) + b"\0" * 7
    unpacking = Gunzipping(piece)
    out = [some for at in range(0, len(packed), size) for some in unpacking.feed(packed[at : at + size])]
    unpacking.end()

    assert b"".join(out) == b"".join(members)
    assert max(map(len, out), default=0) <= piece
    assert unpacking.detail == ""


@pytest.mark.parametrize(
    ("packed", "most", "held", "detail"),
    [
        (MEMBER + b"\0\0" + MEMBER, None, b"xx", ""),
        (MEMBER + b"rubbish" + MEMBER, None, b"x", "what follows its gzip is none, and was not read"),
        (MEMBER * 3, 2, b"xx", "its gzip has more than 2 members: the rest was not read"),
        (MEMBER * 2, 2, b"xx", ""),
        (MEMBER + MEMBER[:9], None, b"x", "its gzip is cut off"),
    ],
)
def test_what_follows_a_member(packed: bytes, most: int | None, held: bytes, detail: str) -> None:
    """NULs are passed over, what else is no member is told and not read, and so is a member too many."""
    unpacking = Gunzipping(99, most)
    out = b"".join(some for at in range(0, len(packed), 7) for some in unpacking.feed(packed[at : at + 7]))
    unpacking.end()

    assert (out, unpacking.detail) == (held, detail)
