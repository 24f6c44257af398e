"""Sitemaps and feeds in, links out."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core import sitemap_xml, sitemaps
from crawler.core.lastmod import AHEAD, EARLIEST, lastmod
from crawler.core.sitemap_text import MAX_BYTES, PIECE, Mender, Text
from crawler.core.sitemaps import MAX_URLS, Form, Sitemap, may_name, read_sitemap, usual_places
from crawler.core.urls import canonical
from tests.effort import Effort

URL: Final = "http://site.test/sitemaps/x.xml"
NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
CORPUS: Final = Path(__file__).parent.parent / "corpus" / "sitemaps"
EXPECTED: Final = json.loads((CORPUS / "expected.json").read_text("utf-8"))
FILES: Final = [path for path in sorted(CORPUS.iterdir()) if path.name != "expected.json"]


def read(body: bytes | str, url: str = URL) -> Sitemap:
    """A sitemap found at `URL`, read `NOW`."""
    return read_sitemap(body.encode() if isinstance(body, str) else body, url, NOW)


def urls(body: bytes | str) -> list[str]:
    """The pages it names, those of its own folder's origin from their path on."""
    return [entry.url.removeprefix("http://site.test") for entry in read(body).entries]


def urlset(inside: str) -> str:
    """A sitemap with that inside."""
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{inside}</urlset>'


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    """Every form, as the world writes it, is read as it is meant; `expected.json` says how."""
    expected = EXPECTED[path.name]

    found = read(path.read_bytes())

    told = {
        name: [
            [one.url, one.lastmod and one.lastmod.isoformat(), one.changefreq, one.priority]
            for one in entries
        ]
        for name, entries in (("entries", found.entries), ("sitemaps", found.sitemaps))
    }
    assert {"form": found.form, "named": found.named, "detail": found.detail, **told} == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_gzip_under_any_name(path: Path) -> None:
    """A file that is gzip is read as what it unpacks to, in however many members, whatever follows them."""
    body = path.read_bytes()
    expected = read(body)
    half = len(body) // 2

    assert read(gzip.compress(body)) == expected
    assert read(gzip.compress(body[:half]) + gzip.compress(body[half:]) + b"\0\0rubbish") == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
@pytest.mark.parametrize("declared", ["", "utf-8", "utf-16", "ISO-8859-1", "no-such"])
def test_encodings(encoding: str, declared: str) -> None:
    """The bytes are read in the encoding they are in, whatever they declare."""
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = declaration + urlset("<url><loc>http://site.test/caf\u00e9</loc></url>")

    assert urls(text.encode(encoding)) == ["/caf%C3%A9"]


def test_a_declared_encoding_counts_for_what_is_not_utf8() -> None:
    """Bytes that are no UTF-8 are read in the encoding that they declare."""
    text = '<?xml version="1.0" encoding="koi8-r"?><urlset><url><loc>http://site.test/\u0416</loc></url></urlset>'

    assert urls(text.encode("koi8-r")) == ["/%D0%96"]


@given(st.integers(0, 0x11FFFF), st.booleans())
def test_a_number_is_a_character_or_costs_its_url(number: int, hexadecimal: bool) -> None:  # noqa: FBT001 - drawn
    """A reference by number is that character; the URL with one that XML does not allow is dropped."""
    reference = f"&#x{number:x};" if hexadecimal else f"&#{number};"
    legal = number <= 0x10FFFF and Mender().mend(reference) != "\ufffd".encode()
    expected = canonical(f"http://site.test/a{chr(number)}b") if legal else None

    found = read(urlset(f"<url><loc>http://site.test/a{reference}b</loc></url>"))

    assert [entry.url for entry in found.entries] == ([expected] if expected and number != 0xFFFD else [])
    assert legal == (
        number in {9, 10, 13}
        or 0x20 <= number < 0xD800
        or 0xE000 <= number < 0xFFFE
        or 0x10000 <= number <= 0x10FFFF
    )


@pytest.mark.parametrize("at", range(-60, 8))
def test_a_piece_may_end_anywhere(at: int) -> None:
    """What is cut by the end of a piece is read as if it were not."""
    inside = (
        "<url><!-- & < --><loc>http://site.test/\u00e9?a=1&b=2&amp;c=3</loc></url><?pi & ?>"
        "<url><loc><![CDATA[http://site.test/?d=4&e=5]]></loc><lastmod>2026-01-02</lastmod></url>"
    )
    expected = read(urlset(inside)).entries
    start = len(urlset("").removesuffix("</urlset>"))
    for back in range(0, len(inside), 68):
        body = urlset(" " * (PIECE - start + at - back) + inside)

        assert read(body).entries == expected


@given(st.text("<>&;!-[]?#x/ab", max_size=40), st.data())
def test_a_cut_changes_nothing(text: str, data: st.DataObject) -> None:
    """Mended in pieces, a text is what it is mended whole, but that a CDATA section may be cut in two."""
    text = text.replace("!", "![CDATA[") if data.draw(st.booleans()) else text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces, whole = Mender(), Mender()
    expected = whole.mend(text) + whole.mend("", last=True)

    found = b"".join(pieces.mend(text[one:other]) for one, other in pairwise([0, *cuts, len(text)]))

    found += pieces.mend("", last=True)
    joint = b"]]><![CDATA["
    assert found.replace(joint, b"") == expected.replace(joint, b"")


def quoted(text: str) -> st.SearchStrategy[str]:
    """The ways in which XML may write a text."""
    ways: list[Callable[[str], str]] = [
        escape,
        lambda one: f"<![CDATA[{one}]]>",
        lambda one: "".join(f"&#{ord(char)};" for char in one),
        lambda one: "".join(f"&#x{ord(char):X};" for char in one),
        lambda one: f"\n\t {escape(one)} \n",
        lambda one: f"<!-- x -->{escape(one)}<?x ?>",
    ]
    return st.sampled_from(ways).map(lambda way: way(text))


PATHS: Final = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Z"), exclude_characters="\ufffd\ufeff]"
    ),
    max_size=20,
)


@given(st.data(), st.lists(PATHS, min_size=1, max_size=5))
def test_a_url_is_read_as_it_is_meant(data: st.DataObject, paths: list[str]) -> None:
    """However XML quotes a URL, it is the one that a page would have named."""
    meant = [f"http://site.test/x{path}y" for path in paths]
    expected = list(dict.fromkeys(filter(None, map(canonical, meant))))
    written = "".join(f"<url><loc>{data.draw(quoted(one))}</loc></url>" for one in meant)

    assert [entry.url for entry in read(urlset(written)).entries] == expected


@given(st.binary(max_size=300) | st.sampled_from(FILES).map(Path.read_bytes), st.data())
def test_the_laws(body: bytes, data: st.DataObject) -> None:
    """Of any bytes, and of any beginning of a sitemap: nothing is raised, URLs are canonical and unique, facts in their range."""
    found = read(body[: data.draw(st.integers(0, len(body)))])

    for entries in (found.entries, found.sitemaps):
        named = [entry.url for entry in entries]
        assert named == list(dict.fromkeys(map(canonical, named)))
        assert all(entry.lastmod is None or EARLIEST <= entry.lastmod <= NOW + AHEAD for entry in entries)
        assert all(entry.priority is None or 0 <= entry.priority <= 1 for entry in entries)
        assert all(entry.changefreq is None or entry.changefreq > 0 for entry in entries)
    assert found.named >= len(found.entries) + len(found.sitemaps)
    assert (found.form is not None) or (found.detail and not found.named)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Sitemap) == found


@given(st.lists(st.text("<>&;!-[]CDATA?lt#38xamp \u00e9", max_size=30), max_size=6))
def test_no_reference_is_left(pieces: list[str]) -> None:
    """Whatever a text says, outside of CDATA sections only numbers are referred to."""
    mender = Mender()

    mended = b"".join([*map(mender.mend, pieces), mender.mend("", last=True)]).decode()

    outside = "".join(
        part.partition("]]>")[2] if at else part for at, part in enumerate(mended.split("<![CDATA["))
    )
    assert all(part.startswith("#") and ";" in part for part in outside.split("&")[1:])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-05", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-06", datetime(2026, 5, 6, tzinfo=UTC)),
        ("2026-05-06T07:08Z", datetime(2026, 5, 6, 7, 8, tzinfo=UTC)),
        ("2026-05-06T07:08:09Z", datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2026-05-06T07:08:09.5+02:00", datetime(2026, 5, 6, 5, 8, 9, 500_000, tzinfo=UTC)),
        ("2026-05-06T07:08:09.123456789-0330", datetime(2026, 5, 6, 10, 38, 9, 123_456, tzinfo=UTC)),
        ("2026-05-06 07:08:09", datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2026-05-06 07:08:09 UTC", datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)),
        (" 2026-6-1\n", datetime(2026, 6, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("Fri, 20 Nov 2026 08:30:00 GMT", datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),
        ("20 Nov 26 08:30 PST", datetime(2026, 11, 20, 16, 30, tzinfo=UTC)),
        ("Fri, 20 Nov 2026 08:30:00 -0000", datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),
        ("2026-11-22T11:59:59Z", datetime(2026, 11, 22, 11, 59, 59, tzinfo=UTC)),
        ("2026-11-22T12:00:01Z", None),
        ("2027", None),
        ("1970-01-01", None),
        ("0001-01-01T00:00:00", None),
        ("0000-00-00", None),
        ("2026-02-30", None),
        ("2026-13", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("9999-12-31T23:59:60Z", None),
        ("2026-05-06T25:00:00Z", None),
        ("2026-05-06T07:08:09+99:99", None),
        ("\u0662\u0660\u0662\u0666", None),
        ("1763640000", None),
        ("yesterday", None),
        ("", None),
        ("Fri, 20 Nov 2026 08:30:00 +999999999999", None),
        ("(" * 60, None),
        ("x" * 10_000, None),
    ],
)
def test_moments(text: str, expected: datetime | None) -> None:
    """W3C datetimes and the dates of e-mail are moments; nonsense, the far future and the time before the web are none."""
    assert lastmod(text, NOW) == expected


@given(
    st.datetimes(datetime(1991, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001 - the zones come from elsewhere
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_moment_is_read_as_it_was_written(moment: datetime, zone: timezone) -> None:
    """ISO 8601 with any time zone comes back as the same moment."""
    aware = moment.replace(tzinfo=zone)

    assert lastmod(aware.isoformat(), NOW) == aware


@given(st.text(max_size=70) | st.text("0123456789-:TZ+., JanFriUTC", max_size=40))
def test_no_text_breaks_a_moment(text: str) -> None:
    """Any text is a moment within bounds, or none."""
    found = lastmod(text, NOW)

    assert found is None or EARLIEST <= found <= NOW + AHEAD


@pytest.mark.parametrize(
    ("url", "at", "in_robots", "vouched", "form", "expected"),
    [
        ("http://a.test/catalog/show?x=1", "http://a.test/catalog/sitemap.xml", False, (), "urlset", True),
        ("http://a.test/catalog/", "http://a.test/catalog/sitemap.xml", False, (), "urlset", True),
        ("http://a.test/image/show?x=1", "http://a.test/catalog/sitemap.xml", False, (), "urlset", False),
        ("http://a.test/catalogue", "http://a.test/catalog/sitemap.xml", False, (), "urlset", False),
        ("http://a.test/x", "http://a.test/sitemap.php?path=/deep/er/", False, (), "urlset", True),
        ("http://a.test/image/show", "http://a.test/catalog/sitemap.xml", True, (), "urlset", True),
        ("http://a.test/image/show", "http://a.test/catalog/feed.xml", False, (), "rss", True),
        ("http://a.test/image/show", "http://a.test/catalog/feed.xml", False, (), "atom", True),
        ("https://a.test/x", "http://a.test/sitemap.xml", True, (), "urlset", False),
        ("http://www.a.test/x", "http://a.test/sitemap.xml", True, (), "urlset", False),
        ("http://a.test:8080/x", "http://a.test/sitemap.xml", True, (), "urlset", False),
        ("http://b.test/x", "http://a.test/sitemap.xml", True, (), "urlset", False),
        ("http://b.test/x", "http://a.test/deep/sitemap.xml", False, ("http://b.test",), "urlset", True),
        ("http://c.test/x", "http://a.test/sitemap.xml", True, ("http://b.test",), "index", False),
        ("http://b.test/x", "http://a.test/feed", False, (), "atom", False),
    ],
)
def test_whom_a_sitemap_speaks_for(  # noqa: PLR0917 - a row
    url: str,
    at: str,
    in_robots: bool,  # noqa: FBT001 - a row
    vouched: tuple[str, ...],
    form: Form,
    expected: bool,  # noqa: FBT001 - a row
) -> None:
    """It speaks for its folder, by robots.txt for its origin, for another only by that one's robots.txt; a feed for its origin."""
    assert may_name(url, at, in_robots, frozenset(vouched), form) == expected


def test_the_usual_places() -> None:
    """They are canonical URLs of the origin."""
    places = usual_places("http://a.test:8080")

    assert places == ("http://a.test:8080/sitemap.xml", "http://a.test:8080/sitemap_index.xml")
    assert tuple(map(canonical, places)) == places


def test_a_fact_beats_an_alternate() -> None:
    """A page that was named as another's alternate keeps its place, and gets what is said of it later."""
    body = urlset(
        "<url><loc>/a</loc><link rel='alternate' href='/b'/></url><url><loc>/b</loc><priority>0.9</priority></url>"
    )

    assert [(entry.url, entry.priority) for entry in read(body).entries] == [
        ("http://site.test/a", None),
        ("http://site.test/b", 0.9),
    ]


def test_no_more_urls_than_the_protocol_allows() -> None:
    """Of more than 50,000 URLs the first are kept, of XML as of text, and the detail says so."""
    xml = urlset("".join(f"<url><loc>/{number}</loc></url>" for number in range(MAX_URLS + 1)))
    text = "\n".join(f"http://site.test/{number}" for number in range(MAX_URLS + 1))

    for body in (xml, text):
        found = read(body)
        assert (len(found.entries), found.entries[-1].url) == (MAX_URLS, f"http://site.test/{MAX_URLS - 1}")
        assert found.detail == "it names more than 50,000 URLs: the rest was not read"
    assert (
        read(urlset("".join(f"<url><loc>/{number}</loc></url>" for number in range(MAX_URLS)))).detail == ""
    )


def test_no_more_bytes_than_the_protocol_allows() -> None:
    """What comes after 50 MiB is not read, plain or unpacked; what comes before is."""
    first, last = "<url><loc>/first</loc></url>", "<url><loc>/last</loc></url>"
    large = urlset(first + " " * MAX_BYTES + last).encode()

    for body in (large, gzip.compress(large)):
        found = read(body)
        assert [entry.url for entry in found.entries] == ["http://site.test/first"]
        assert found.detail == "it is larger than 50 MiB: the rest was not read"


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda packed: packed[: len(packed) // 2], "its gzip is cut off"),
        (lambda packed: packed[:-6] + b"\0" * 6, "its gzip is broken"),
        (lambda packed: packed[:200] + b"\xff" * 50 + packed[250:], "its gzip is broken"),
        (
            lambda packed: packed + gzip.compress(b"") * 1_001,
            "its gzip has more than 1,000 members: the rest was not read",
        ),
    ],
    ids=["cut off", "wrong sum", "spoiled", "members"],
)
def test_spoiled_gzip(spoil: Callable[[bytes], bytes], detail: str) -> None:
    """Of spoiled gzip all is read that can be unpacked, and the detail says why there is no more."""
    body = urlset(
        "".join(f"<url><loc>/{number:x}/{number * 7919 % 10007}</loc></url>" for number in range(3_000))
    ).encode()

    text = Text(spoil(gzip.compress(body)))
    unpacked = "".join(text)

    assert body.decode().startswith(unpacked)
    assert text.detail == detail


def test_what_follows_the_end_is_not_read() -> None:
    """Of two documents in one the first is read."""
    assert urls(urlset("<url><loc>/a</loc></url>") + " " * PIECE + urlset("<url><loc>/b</loc></url>")) == [
        "/a"
    ]


def test_nothing_is_opened(tmp_path: Path) -> None:
    """A file that an entity, a DTD or an inclusion names is neither read nor missed."""
    secret = tmp_path / "secret"
    secret.write_text("http://site.test/secret")
    at = secret.as_uri()
    declared = f'<!DOCTYPE urlset SYSTEM "{at}" [<!ENTITY s SYSTEM "{at}"><!ENTITY % p SYSTEM "{at}">%p;]>'
    inside = f'<url><loc>&s;</loc></url><xi:include parse="text" href="{at}"/><url><loc>/honest</loc></url>'
    for begin in (declared, f'<?xml version="1.0">{declared}<!-- ?>', f"<!--{'-' * 3}>{declared}"):
        found = read(begin + urlset(inside))

        assert all("secret" not in entry.url for entry in found.entries)
    assert urls(declared + urlset(inside)) == ["/honest"]


SIZE: Final = 2_000_000
HOSTILE: Final[dict[str, bytes]] = {
    "nested": b"<a>" * (SIZE // 3),
    "nested entries": b"<url><loc>" * (SIZE // 10),
    "nested bases": b"<a xml:base='x/'>" * (SIZE // 17),
    "one text": b"<url><loc>" + b"x" * SIZE,
    "one section": b"<url><loc><![CDATA[" + b"x" * SIZE,
    "sections": b"<url><loc>" + b"<![CDATA[]]>" * (SIZE // 12),
    "ampersands": b"<url><loc>" + b"&" * SIZE,
    "references": b"<url><loc>" + b"&lt;" * (SIZE // 4),
    "entities": b"<url><loc>" + b"&lol;" * (SIZE // 5),
    "less than": b"<" * SIZE,
    "attributes": b"<url " + b" ".join(b"a%d=''" % number for number in range(SIZE // 9)) + b"/>",
    "one attribute": b"<url a='" + b"x" * SIZE + b"'/>",
    "names": b"".join(b"<a%d/>" % number for number in range(SIZE // 9)),
    "namespaces": b"".join(b"<a xmlns:n%d='u'/>" % number for number in range(SIZE // 21)),
    "comments": b"<!---->" * (SIZE // 7),
    "open comments": b"<!--" * (SIZE // 4),
    "instructions": b"<?a?>" * (SIZE // 5),
    "ends": b"<x></x></y>" * (SIZE // 11),
    "brackets": b"]]>" * (SIZE // 3),
    "NUL": b"\0" * SIZE,
    "bad URLs": b"<url><loc>http://[/</loc></url>" * (SIZE // 31),
    "long hosts": b"".join(b"<url><loc>http://%d" % n + b"\xc3\xa9" * 300 + b"/</loc></url>" for n in range(SIZE // 650)),
    "alternates": b"<url>" + b"".join(b"<link rel='alternate' href='/%d'/>" % n for n in range(SIZE // 35)),
    "dates": b"".join(b"<url><loc>/%d</loc><lastmod>Mon, 1 ((((((((((((((</lastmod></url>" % n for n in range(SIZE // 70)),
}  # fmt: skip
PATIENCE: Final = 6.0
"""CPU seconds for two megabytes, with others at work here: the slowest take a third of one."""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sitemaps_cost_little(name: str) -> None:
    """Two megabytes made to be slow are read in their time, and do not keep the honest entry before them from being read."""
    body = b"<urlset><url><loc>/honest</loc></url>" + HOSTILE[name]
    with Effort() as effort:
        found = read(body)

    assert effort.spent < PATIENCE
    assert found.entries[0].url == "http://site.test/honest"
    assert found.detail


@pytest.mark.parametrize(
    "body",
    [
        b"<!--" * 500_000,
        b"<!-- -->" * 250_000,
        b"<!DOCTYPE x [" * 150_000,
        b"<?x" * 600_000,
        b" " * SIZE,
        b"http://a/\n" + b"\n" * SIZE,
    ],
    ids=["comments", "whole comments", "doctypes", "instructions", "spaces", "lines"],
)
def test_what_begins_as_nothing_costs_nothing(body: bytes) -> None:
    """What has no sitemap in its first 64 KiB is none, whatever follows, and costs next to nothing; so do empty lines."""
    with Effort() as effort:
        found = read(body)

    assert effort.spent < PATIENCE
    assert (found.form, len(found.entries)) in {(None, 0), ("text", 1)}


@pytest.mark.parametrize(
    ("limit", "most", "inside", "detail"),
    [
        ("MAX_ELEMENTS", 100, "<a/>" * 200, "it has more than 100 elements: the rest was not read"),
        (
            "MAX_TAG",
            1 << 20,
            f"<a b='{'x' * (2 << 20)}'/>",
            "it has a tag of more than 1 MiB: the rest was not read",
        ),
        (
            "MAX_NAMED",
            100,
            "<url><loc>/x</loc></url>" * 200,
            "it names more than 100 URLs, many of them twice: the rest was not read",
        ),
        (
            "MAX_MENDED",
            100,
            "&" * 200,
            "its XML has more than 100 faults and comments: the rest was not read",
        ),
    ],
)
def test_limits_are_told(
    limit: str, most: int, inside: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each limit ends the reading, and says so."""
    for module in (sitemaps, sitemap_xml):
        if hasattr(module, limit):
            monkeypatch.setattr(module, limit, most)

    assert read(urlset(inside + " " * PIECE)).detail == detail


def test_broken_xml_names_its_line() -> None:
    """The line is that of the file, whatever stood before the first element and whatever was left out."""
    body = "<?xml version='1.0'?>\n<!--\n\n-->\n<urlset>\n<!-- \n -->\n<url><loc>/a</loc></ur></urlset>"

    assert read(body).detail == "its XML is broken at line 8"
