"""Bytes in, links and page facts out."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core import content, directives, html5, links, trees
from crawler.core.links import parse_page
from crawler.core.model import Page
from crawler.core.urls import canonical
from tests.effort import Effort

URL: Final = "http://site.test/dir/page.html"
AT: Final = "http://site.test/dir/"
CORPUS: Final = Path(__file__).parent.parent / "corpus" / "html"
DOCSWEB: Final = Path("/srv/docsweb")


HOSTILE: Final = {
    "nested": b"<div>" * 200_000,
    "nested links": b"<a href=x><div>" * 200_000,
    "links": b"".join(b"<a href=/%d>" % number for number in range(200_000)),
    "not links": b"".join(b"<a href=x:%d>" % number for number in range(200_000)),
    "attributes": b"<a " + b" ".join(b"a%d=1" % number for number in range(100_000)) + b" href=x>",
    "one line": b"x" * 9_000_000,
    "unclosed": b"<!--" * 500_000,
    "less than": b"<" * 2_000_000,
    "NUL": b"\0" * 2_000_000,
    "references": b"&#xD800;&#99999999999;&#0;&bogus" * 100_000,
    "templates": b"<template>" * 100_000,
    "tables": b"<table><a href=x>" * 50_000,
    "formatting": b"<div>" + b"".join(b"<b a%d>" % n for n in range(500)) + b"</div>" + b"<p>x" * 500_000,
    "robots": b"<meta name=robots content='" + b"a:," * 1_000_000 + b"'>",
    "refresh": b"<meta http-equiv=refresh content='1" + b" " * 3_000_000 + b"'>",
    "base": b"<base href='/" + b"x" * 1_000_000 + b"'>" + b"".join(b"<a href=%d>" % n for n in range(50_000)),
    "lists": b"<ul><li>x" * 200_000,
}


def page(html: str | bytes, content_type: str = "text/html", **headers: str) -> Page:
    """What is parsed from HTML found at `URL`."""
    body = html.encode() if isinstance(html, str) else html
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return parse_page(body, URL, content_type, named)


def found(html: str | bytes, content_type: str = "text/html", **headers: str) -> list[str]:
    """The links of HTML found at `URL`, as written from its directory."""
    return [link.removeprefix(AT) for link in page(html, content_type, **headers).links]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<a href=x><area href=y><iframe src=z>", ["x", "y", "z"]),
        ("<frameset><frame src=x><frame>", ["x"]),
        ("<svg><a xlink:href=x /><a href=y /></svg><a xlink:href=no>", ["x", "y"]),
        ("<svg><iframe src=no /><title>no</title></svg>", []),
        ("<!-- <a href=no> --><script>'<a href=no>'</script><a name=no>", []),
        ("<noscript><a href=x></noscript>", ["x"]),
        ("<template><a href=no><template><a href=no></template></template><a href=x>", ["x"]),
        ("<template shadowrootmode=open><a href=x></template>", ["x"]),
        ("<a href=x><a href=x#f><a href='x '><a href=./x><a href=y>", ["x", "y"]),
        ("<a href=#f><a href=''><a href=page.html#g><a href=x>", ["x"]),
        ("<a href=javascript:x><a href=' JavaScript:x'><a href=mailto:x><a href=data:,x><a href=tel:1>", []),
        ("<a href=ftp://h/><a href='http://[/'><a href=x>", ["x"]),
        ("<a href=x rel=nofollow><a href=y rel='a NOFOLLOW'><area href=z rel=nofollow>", []),
        ("<a href=x rel=ugc><a href=y rel=sponsored><a href=z rel=nofollowing>", ["x", "y", "z"]),
        ("<a href=x rel=nofollow><a href=x>", ["x"]),
        ("<link rel=next href=x><link rel='Prev x' href=y><link href=no><link rel=up>", ["x", "y"]),
        ("<link rel='alternate stylesheet' href=no><link rel='next nofollow' href=no>", []),
        ("<link rel=stylesheet href=no><link rel=icon href=no><link rel=search href=no>", []),
        (
            "<link rel=alternate type=application/rss+xml href=no><link rel=alternate hreflang=de href=x>",
            ["x"],
        ),
        ("<link rel=alternate type='Text/HTML; charset=x' href=x>", ["x"]),
        ("<a href='a&amp;b'><a href='c&#0;'>", ["a&b", "c%EF%BF%BD"]),
    ],
)
def test_what_is_a_link(html: str, expected: list[str]) -> None:
    """Links are what a reader without scripts can follow to another page, in document order, each once."""
    assert found(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<base href=/b/><a href=x>", ["http://site.test/b/x"]),
        ("<a href=x><base href=/b/>", ["http://site.test/b/x"]),
        ("<base target=t><base href=/b/><base href=/c/><a href=x>", ["http://site.test/b/x"]),
        ("<base href=//other.test/><a href=x><a href=#f>", ["http://other.test/x", "http://other.test/"]),
        ("<base href=javascript:x><a href=x>", ["x"]),
        ("<base href=data:,x><a href=x>", ["x"]),
        ("<base href='http://[/'><a href=x>", ["x"]),
        ("<base href=file:///c:/><a href=x><a href=http://h.test/>", ["http://h.test/"]),
        (f"<base href=/{'b' * 3000}/><a href=x><a href=http://h.test/>", ["http://h.test/"]),
        ("<svg><base href=/no/></svg><template><base href=/no/></template><a href=x>", ["x"]),
    ],
)
def test_base(html: str, expected: list[str]) -> None:
    """The first base element with an address counts, wherever it stands, if it can be a page's."""
    assert found(html) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0;url=x", "x"),
        ("5; URL = 'x y'z", "x y"),
        (' 5 , "x', "x"),
        ("5 x", "x"),
        (".5;x", "x"),
        ("5.7.1;url=x", "x"),
        ("5;url", "url"),
        ("5;'x'", "x"),
        ("5;url=url=x", "url=x"),
        ("5;\n;x", ";x"),
        ("5", None),
        ("5;", None),
        ("5;url=", None),
        ("5x", None),
        ("url=x", None),
        ("-1;url=x", None),
        ("", None),
    ],
)
def test_refresh(value: str, expected: str | None) -> None:
    """A refresh leads where the HTML standard's algorithm says it does."""
    assert directives.refresh_target(value) == expected


def test_refresh_is_a_link() -> None:
    """A refresh is a link, in a meta element and in a header, which comes first."""
    html = "<a href=x><META HTTP-EQUIV=Refresh CONTENT='1; url=y'><meta http-equiv=refresh content=1><meta>"
    expected = ["h", "x", "y"]

    assert found(html, refresh="0; h") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["NoIndex, nofollow"], {"noindex", "nofollow"}),
        (["noindex nofollow;noarchive"], {"noindex", "nofollow", "noarchive"}),
        (["noindex", "none"], {"noindex", "none"}),
        (["otherbot: nofollow, noindex"], set()),
        (["noarchive, otherbot: nofollow, faircrawl: noindex"], {"noarchive", "noindex"}),
        (["*: none"], {"none"}),
        (["Faircrawl : nofollow"], {"nofollow"}),
        (
            ["unavailable_after: 25 Jun 2010 15:00:00 PST, nofollow"],
            {"unavailable_after:25 jun 2010 15:00:00 pst", "nofollow"},
        ),
        (
            ["unavailable_after: Friday, 25-Jun-10 15:00:00 UTC"],
            {"unavailable_after:friday, 25-jun-10 15:00:00 utc"},
        ),
        (["faircrawl: max-snippet: 20"], {"max-snippet:20"}),
        (["otherbot: max-snippet: 20"], set()),
        (["", ",;,", "\0 \ud800 1x"], set()),
    ],
)
def test_robots_directives(values: list[str], expected: set[str]) -> None:
    """Directives for all and for us add up; those for another agent, and what follows them, are not ours."""
    assert directives.robots_directives(values) == expected


@pytest.mark.parametrize(
    ("html", "headers"),
    [
        ("<meta name=robots content=nofollow>", {}),
        ("<body><META CONTENT='index, NONE' NAME=' Robots '>", {}),
        ("<meta name=faircrawl content=nofollow>", {}),
        ("", {"X_Robots_Tag": "noindex, nofollow"}),
        ("", {"x_robots_tag": "faircrawl: none"}),
    ],
)
def test_nofollow_page_has_no_links(html: str, headers: dict[str, str]) -> None:
    """A page that says nofollow or none, in a meta element or a header, has no links at all."""
    expected: list[str] = []

    assert found(f"{html}<a href=x><meta http-equiv=refresh content='1;y'>", **headers) == expected


@pytest.mark.parametrize(
    "html", ["<meta name=otherbot content=none>", "<meta name=robots content=noindex>", "<meta name=robots>"]
)
def test_other_directives_leave_the_links(html: str) -> None:
    """What is said to another agent, and noindex, leave the links alone."""
    expected = ["x"]

    assert found(f"{html}<a href=x>", x_robots_tag="otherbot: nofollow") == expected


def test_directives_of_a_page() -> None:
    """The directives of elements and headers are told together, sorted, whatever the type of the body."""
    expected = (("noarchive", "noindex"), ("noindex",))

    assert (
        page("<meta name=robots content=NOINDEX>", x_robots_tag="noarchive").directives,
        page(b"%PDF-", "application/pdf", x_robots_tag="noindex").directives,
    ) == expected


def test_absurdly_many_directives_are_cut() -> None:
    """Of hundreds of directives those that mean something are kept."""
    many = ",".join(f"x{number}" for number in range(500))
    expected = ("noindex",)

    assert page(f"<meta name=robots content='noindex,{many}'>").directives == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<title> a\n &amp; b </title><title>c</title>", "a & b"),
        ("<svg><title>no</title></svg><title>yes</title>", "yes"),
        ("<title></title><title>second</title>", None),
        ("<title>a\0b</title>", "a\ufffdb"),
        (f"<title>{'ab ' * 9000}</title>", ("ab " * 334)[:1000].rstrip()),
        ("<p>", None),
    ],
)
def test_title(html: str, expected: str | None) -> None:
    """The title is the first title element's text, white space folded, at most 1,000 characters."""
    assert page(html).title == expected


@pytest.mark.parametrize(
    ("html", "header", "expected"),
    [
        ("<html lang=de>", "fr", "de"),
        ("<html xml:lang=EN_us>", "fr", "en-US"),
        ("<html lang=zh-hant-tw>", "fr", "zh-Hant-TW"),
        ("<html lang='not a tag'><meta http-equiv=content-language content='es, pt'>", "fr", "es"),
        ("<html lang=''>", "fr, de", "fr"),
        ("<html lang=de-1996>", "", "de-1996"),
        ("<p>", "*", None),
    ],
)
def test_language(html: str, header: str, expected: str | None) -> None:
    """The language is that of the html element, a meta element or the header: the first to look so."""
    assert page(html, content_language=header).language == expected


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"\xef\xbb\xbf<meta charset=koi8-r>", "text/html; charset=big5", "utf-8"),
        (b"<meta charset=koi8-r>", "text/html; charset=ISO-8859-1", "windows-1252"),
        (b"<meta charset=latin1>", "text/html; charset=odd", "windows-1252"),
        (b"<!--" + b"x" * 2000 + b"--><meta charset=koi8-r>\xc1", "text/html", "koi8-r"),
        (b"<p>\xc3\xa9", "text/html", "utf-8"),
        (b"<p>", "text/html", "windows-1252"),
        (
            b"<?xml version='1.0' encoding='koi8-r'?><html><meta charset=big5>",
            "application/xhtml+xml",
            "koi8-r",
        ),
        (b"{}", "application/json", "utf-8"),
        (b"x\0", "application/octet-stream", None),
    ],
)
def test_charset(body: bytes, content_type: str, expected: str | None) -> None:
    """The charset is that of a byte order mark, the header, a declaration, or a guess, in this order."""
    assert page(body, content_type).charset == expected


@pytest.mark.parametrize(
    ("charset", "expected"),
    [
        ("utf-8", ["%D0%B0?q=%D0%B0&x=%E2%82%AC"]),
        ("koi8-r", ["%D0%B0?q=%C1&x=%26%238364%3B"]),
        ("windows-1251", ["%D0%B0?q=%E0&x=%88"]),
        ("shift_jis", ["%D0%B0?q=%84p&x=%26%238364%3B"]),
        ("replacement", []),
    ],
)
def test_query_is_in_the_charset_of_the_page(charset: str, expected: list[str]) -> None:
    """The query of a link is encoded in the page's charset and its path in UTF-8, as in browsers."""
    html = "<a href='&#x430;?q=&#x430;&x=&euro;'>"

    assert found(html, f"text/html; charset={charset}") == expected


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"<a href=x>", "text/plain", ("text/plain", 0, True)),
        (b"<a href=x>", None, ("text/html", 1, False)),
        (b"<a><b/></a>", "application/xml", ("application/xml", 0, False)),
        (b"<r>x</r>", "application/rss+xml", ("application/rss+xml", 0, True)),
        (b'{"a": 1}', "application/json", ("application/json", 0, True)),
        (b"<?xml version='1.0'?><html><a href='x'>y</a></html>", None, ("text/xml", 1, True)),
        (b"%PDF-1.4", None, ("application/pdf", 0, False)),
        (b"", "text/html", ("text/html", 0, False)),
    ],
)
def test_only_html_has_links(body: bytes, content_type: str | None, expected: tuple[str, int, bool]) -> None:
    """HTML has links, under an XML type too; other text has a digest; what is no text has neither."""
    told = parse_page(body, URL, content_type)

    assert (told.media_type, len(told.links), told.text_digest is not None) == expected


def test_links_are_counted_off() -> None:
    """Of very many links the first 5,000 are kept; one that is absurdly long is left out."""
    html = f"<a href='{'x' * 9000}'>" + "".join(f"<a href=x{number}>" for number in range(6_000))
    expected = (5_000, "x0", "x4999")
    kept = found(html)

    assert (len(kept), kept[0], kept[-1]) == expected


@pytest.mark.parametrize("name", ["old", "modern", "frames", "broken"])
def test_corpus_is_read_alike_by_both_parsers(name: str) -> None:
    """Tricky pages give the same links and facts with the fast parser and with the reference."""
    body = (CORPUS / f"{name}.html").read_bytes()
    fast, slow = (parse_page(body, URL, "text/html", parser=parser) for parser in links.PARSERS)
    expected = (slow.links, slow.title, slow.language, slow.directives, slow.charset)

    assert (fast.links, fast.title, fast.language, fast.directives, fast.charset) == expected


def test_old_page() -> None:
    """A page of the nineties gives its navigation, its links, its image map and its facts."""
    expected = (
        "Old manual & more",
        "en-US",
        ["next.html", "up.html", "a.html", "in-table.html", "page.html?q=1&r=2", "area.html"],
    )
    old = page((CORPUS / "old.html").read_bytes())

    assert (old.title, old.language, [link.removeprefix(AT) for link in old.links]) == expected


@pytest.mark.skipif(not DOCSWEB.is_dir(), reason="the real pages are not laid out here")
def test_real_pages_are_read_alike_by_both_parsers() -> None:
    """Real pages give the same links and facts with the fast parser and with the reference."""
    pages = [path for site in sorted(DOCSWEB.iterdir()) for path in sorted(site.rglob("*.html"))[::997]]
    bodies = [path.read_bytes() for path in pages if path.is_file() and path.stat().st_size < 40_000]
    fast, slow = (
        [parse_page(body, URL, "text/html", parser=parser) for body in bodies] for parser in links.PARSERS
    )
    expected = [(one.links, one.title, one.language, one.directives, one.charset) for one in slow]

    assert [(one.links, one.title, one.language, one.directives, one.charset) for one in fast] == expected


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (b"\xef\xbb\xbf<p>\xc3\xa9", "utf-8"),
        (b"<p>caf\xe9 cr\xe8me", "windows-1252"),
        (b"<!--" + b"x" * 2000 + b"--><meta charset=koi8-r><p>\xc1", "koi8-r"),
        (b"<!--" + b"x" * 2000 + b"--><meta charset=utf-16><p>\xc3\xa9", "utf-8"),
        (b"<?xml version='1.0' encoding='koi8-r'?><html><p>\xc1", "koi8-r"),
        (b"words", "windows-1252"),
    ],
)
def test_reference_reads_in_the_same_charset(body: bytes, charset: str) -> None:
    """The reference parser finds the charset that the fast one finds."""
    expected = [charset, charset]

    assert [parse_page(body, URL, "text/html", parser=parser).charset for parser in links.PARSERS] == expected


def test_reference_sees_what_a_reader_sees() -> None:
    """The visible text of the reference leaves out head, scripts, styles, templates and comments."""
    html = b"<title>t</title><p>a <b>b</b><script>s</script><style></style><template>n</template><!-- c --> d"
    expected = "a\nb\nd"

    assert links.html5lib(html, "utf-8").text == expected


@pytest.mark.parametrize(
    "body",
    [
        b"<div>" * 200_000,
        b"<br>" * 110_000,
        HOSTILE["attributes"],
        b"<" * 110_000,
        b"<table>" + b"<b>x</b>" * 100_000,
        b"<table><a href=x>" * 60_000,
        b"<table>" + b"a<tr>" * 200_000,
        b"<span>" * 250 + b"</h1>" * 100_000,
        b"</x>" * 200_000,
    ],
)
def test_reference_gives_up_in_time(body: bytes) -> None:
    """What would take the reference parser minutes is unreadable."""
    with pytest.raises(content.UnreadableError):
        html5.read_reference(body, None)


def test_reference_stands_in() -> None:
    """When one parser gives up the next is asked, and when all have the page is unreadable."""

    def gives_up(body: bytes, charset: str | None, _clock: trees.Clock | None) -> links.Reading:
        raise LookupError(charset, body)

    body = b"<p>x"
    expected = "x"

    assert links.read(body, "utf-8", (gives_up, links.html5lib)).text == expected
    with pytest.raises(content.UnreadableError):
        links.read(body, None, (gives_up,))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_take_linear_time(name: str) -> None:
    """A page made to be slow takes less than two seconds."""
    with Effort() as effort:
        parse_page(HOSTILE[name], URL, "text/html")
    expected = 2.0

    assert effort.spent < expected


HEADERS: Final = st.lists(
    st.tuples(
        st.sampled_from(["X-Robots-Tag", "Refresh", "Content-Language", "Other"]),
        st.text(st.characters(exclude_categories=[])),
    )
)
TYPES: Final = st.sampled_from(
    [None, "text/html", "text/plain", "text/xml", "application/json", "text/html; charset=big5"]
)
MARKUP: Final = st.lists(
    st.sampled_from(
        [
            b"<a href=x>",
            b"<a href='/\xff?\xe9#f'",
            b"</a>",
            b"<svg>",
            b"<template>",
            b"<base href=/b/>",
            b"<title>",
            b"<p>",
            b"<frameset>",
            b"<table>",
            b"<meta charset=koi8-r>",
            b"<meta http-equiv=refresh content='1;y'>",
            b"<iframe src=z>",
            b"<link rel=next href=n>",
            b"<select>",
            b"</",
            b"&#0;",
            b"\0",
            b"<!--",
            b"-->",
            b"<b>",
            b"<html lang=de>",
            b"text",
        ]
    )
).map(b"".join)


@given(st.binary() | MARKUP, TYPES, HEADERS, st.sampled_from(sorted(links.PARSERS)))
def test_page_laws(
    body: bytes, content_type: str | None, headers: list[tuple[str, str]], parser: str
) -> None:
    """Nothing raises, links are canonical and unique, text can be stored, a second look sees the same."""
    told = parse_page(body, URL, content_type, headers, parser=parser)
    expected = (
        told,
        tuple(dict.fromkeys(map(canonical, told.links))),
        False,
        tuple(sorted(set(told.directives))),
    )
    "".join((told.title or "", told.language or "", *told.directives, *told.links)).encode()

    assert (
        parse_page(body, URL, content_type, headers, parser=parser),
        told.links,
        URL in told.links or "\0" in (told.title or ""),
        told.directives,
    ) == expected


@given(
    st.permutations(["href='x?a=1&amp;b=2'", "class=c", "rel='noopener'", "data-x", "title='<a href=no>'"]),
    st.booleans(),
    st.data(),
)
def test_spelling_does_not_matter(attributes: list[str], double: bool, data: st.DataObject) -> None:  # noqa: FBT001 - hypothesis hands it over
    """A link is found whatever the order of its attributes, the case of its tag, its quotes and spaces."""
    tag = data.draw(st.sampled_from(["a", "A", "area", "AREA"]))
    gap = data.draw(st.sampled_from([" ", "\n", "\t\f", "  "]))
    html = f"<{tag}{gap}{gap.join(attributes)}{gap}>"
    html = html.replace("'", '"') if double else html
    html = (
        html.replace("href=", data.draw(st.sampled_from(["href=", "HREF=", "hRef = "])), 1)
        if attributes[0].startswith("href")
        else html
    )
    expected = ["x?a=1&b=2"]

    assert found(html) == expected


@given(st.lists(st.sampled_from(["x", "y", "x#f", "./y", "#f", "/z", "http://site.test/dir/x"])))
def test_doubling_a_page_changes_no_link(references: list[str]) -> None:
    """The same links once more, at the end of a page, change nothing."""
    html = "".join(f"<a href='{reference}'>" for reference in references)
    expected = found(html)

    assert found(html + html) == expected


def test_pages_of_links_without_a_word_say_the_same() -> None:
    """A trap of pictures that lead to pictures is seen through as one of words is."""
    one, other = (
        parse_page(b"<a href=/%d><img src=/%d.png></a>" % (n, n), f"http://h.test/p{n}", "text/html").gist
        for n in (1, 2)
    )

    assert one == other is not None
