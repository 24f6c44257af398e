"""What HTML multiplies: kept from it, and no link lost."""

import subprocess
import sys
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turbohtml import parse

from crawler.core import trees
from crawler.core.links import parse_page
from crawler.core.taming import NODES, ROOTS, tame_layout, tamed

URL: Final = "http://site.test/"


def numbered(text: str, size: int) -> bytes:
    """So many bytes of a text, numbered."""
    return b"".join(text.replace("%", str(number)).encode() for number in range(size // len(text)))


def formatting(size: int) -> bytes:
    """Formatting that comes back in every paragraph."""
    return b"<div>" + numbered("<b a%>", 1_600) + b"</div>" + b"<p>x" * ((size - 1_600) // 4)


def attributes(size: int) -> bytes:
    """One element with thousands of attributes, in every paragraph."""
    return b"<p><b " + numbered("a% ", size // 4) + b"></p>" + b"<p>x" * (size // 6)


def link_attributes(size: int) -> bytes:
    """A link with thousands of attributes, in every paragraph."""
    return b"<p><a href=y " + numbered("a% ", size // 4) + b"></p>" + b"<p>x</p>" * (size // 12)


def long_link(size: int) -> bytes:
    """A link with a long attribute, which holds what ends tags elsewhere, in every paragraph."""
    return b"<p><a title='" + b">" * (size // 4) + b"' href=y></p>" + b"<p>x</p>" * (size // 12)


def roots(size: int) -> bytes:
    """Thousands of html elements, to be merged."""
    return numbered("<html a%>", size)


def two_roots(size: int) -> bytes:
    """Two elements with thousands of attributes, to be merged."""
    return b"<body " + numbered("a% ", size // 2) + b"><body " + numbered("b% ", size // 2) + b">"


def wide_column(size: int) -> bytes:
    """A wide cell, and many rows."""
    return b"<table><tr><td>" + b"x" * (size // 2) + b"<td>y" + b"<tr><td>x<td>y" * (size // 30)


def many_columns(size: int) -> bytes:
    """A row of many cells, and many rows."""
    return b"<table><tr>" + b"<td>x" * (size // 10) + b"<tr><td>x" * (size // 18)


def nested_tables(size: int) -> bytes:
    """Tables in the cells of tables."""
    return b"<table><tr><td>x<td>" * (size // 20)


def deep_quote(size: int) -> bytes:
    """Lines in quotes in quotes."""
    return b"<blockquote>" * 500 + b"<pre>" + b"\n" * (size - 6_005)


MULTIPLYING: Final = (
    formatting,
    attributes,
    link_attributes,
    long_link,
    roots,
    two_roots,
    wide_column,
    many_columns,
    nested_tables,
    deep_quote,
)
MEASURE: Final = """
import resource, sys, time
from crawler.core.links import parse_page
from tests.core import test_taming
page = getattr(test_taming, sys.argv[1])(int(sys.argv[2])) + b"<a href=z>"
clock = {"watched": time.perf_counter, "tamed": None}[sys.argv[3]]
parse_page(b"<a href=x>", test_taming.URL, "text/html")
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
parse_page(page, test_taming.URL, "text/html; charset=utf-8", clock=clock)
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("how", ["watched", "tamed"])
@pytest.mark.parametrize("shape", MULTIPLYING)
def test_nothing_multiplies(shape: Callable[[int], bytes], how: str) -> None:
    """A quarter of a megabyte of what HTML multiplies takes less than 50 MB and 2 seconds; some took gigabytes."""
    expected = (True, True)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, shape.__name__, "262144", how],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, kilobytes = told.stdout.split()

    assert (float(seconds) < 2, int(kilobytes) < 50_000) == expected


@pytest.mark.parametrize("shape", MULTIPLYING)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "iso-2022-jp"])
def test_no_link_is_lost(shape: Callable[[int], bytes], charset: str) -> None:
    """The links around what multiplies are found, whatever it is written in."""
    expected = ("http://site.test/a", "http://site.test/z")
    text = f"<a href=a></a>{shape(30_000).decode()}</table><a href=z>"
    body = text.encode(charset)
    if charset == "iso-2022-jp":
        body = body.replace(b"<b", b"<\x1b(Bb").replace(b"<t", b"<\x1b(Bt")
    links = parse_page(body, URL, f"text/html; charset={charset}").links

    assert (links[0], links[-1]) == expected


def test_a_link_that_could_multiply_is_found() -> None:
    """A link with thousands of attributes is found, with its rel."""
    expected = [("http://site.test/y",), ()]
    body = link_attributes(100_000)

    assert [
        parse_page(one, URL, "text/html").links for one in (body, body.replace(b"<a ", b"<a rel=nofollow "))
    ] == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<b>" * 100 + b"<p>x" * 400,
        b"<p><b class='x y' id=z>x</b> <a href=\"/y?a=b&c=d\" title='a'>z</a>" * 80,
        b"<!--[if IE]><html class=ie><![endif]--><html lang=de><body>" + b"x" * 100_000,
        b"<p>" + b"word " * 2_000_000,
    ],
)
def test_what_cannot_multiply_is_left_alone(body: bytes) -> None:
    """A page with little formatting, or few tags, or much text, stays as it is to the last byte."""
    assert tamed(body) == body


def test_language_of_the_last_of_several_html_elements() -> None:
    """Of html elements in conditional comments none hides the real one."""
    expected = "de"
    comments = b"<!--[if IE]><html class=ie><![endif]-->" * 4
    body = (
        comments + b"<html data-x='" + b"y" * 1000 + b"' lang=de><body>" + b"x" * 100_000 + b"<body class=x>"
    )

    assert parse_page(body, URL, "text/html").language == expected


def test_html_elements_without_end_are_ignored() -> None:
    """The attributes of the first sixteen html elements count, of others those of a long one."""
    expected = (ROOTS + 1, "de")
    tree, _ = trees.html_tree(roots(20_000) + b"<html lang=de " + numbered("b% ", 2_000) + b">", "utf-8")
    html = next(tree.iter_elements("html"))

    assert (sum(name[0] == "a" for name in html.attrs) + 1, html.attr("lang")) == expected


@pytest.mark.parametrize("shape", [wide_column, many_columns, nested_tables])
def test_words_of_a_table_stay_apart(shape: Callable[[int], bytes]) -> None:
    """A table too large to be laid out gives its words, apart, a row to a line."""
    expected = "one two\nthree"
    body = b"<table><caption>cap</caption><tr><td>one<td>two<tr><th>three</table>"
    text = trees.visible_text(body + shape(60_000), "text/html", "utf-8")

    assert expected in "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_ordinary_tables_are_laid_out() -> None:
    """A table of ordinary size is laid out in columns."""
    expected = ["one    2", "three  4"]

    assert (
        trees.visible_text(
            b"<table><tr><td>one<td>2<tr><td>three<td>4</table>", "text/html", "utf-8"
        ).splitlines()
        == expected
    )


@given(
    st.lists(st.sampled_from(["<table>", "</table>", "<tr>", "<td>", "<th>", "x", "y ", "<caption>", "<p>"]))
)
def test_flattening_keeps_the_letters(parts: list[str]) -> None:
    """A table taken apart has the letters it had, in their order."""
    html = "".join(parts).encode()
    tree = parse(html + wide_column(60_000))
    expected = "".join(parse(html + wide_column(60_000)).text.split())
    tame_layout(tree)

    assert "".join(tree.text.split()) == expected


TAGS: Final = st.sampled_from(
    [
        "<a href=%>",
        "</a>",
        "<b>",
        "</b>",
        "<i x='>'>",
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<table>",
        "<td>",
        "</table>",
        "<li>",
        "x",
        "<body a>",
    ]
)


@given(st.lists(TAGS, max_size=40))
def test_tamed_pages_have_the_links_they_had(parts: list[str]) -> None:
    """Whatever stands before formatting that multiplies, and is read otherwise for it, its links are found as ever."""
    html = "".join(part.replace("%", str(number)) for number, part in enumerate(parts)).encode()
    expected = parse_page(html + b"</table><p>", URL, "text/html").links
    body = html + b"</table>" + numbered("<b a%>", 700) + b"<p>x" * 4_000

    assert (parse_page(body, URL, "text/html").links, tamed(body) == body) == (expected, False)


NO_TIME: Final = "the clock leaps: everything takes too long"
ENDLESS: Final = "the clock stands still: nothing takes long"


@given(st.lists(TAGS, max_size=200), st.sampled_from([NO_TIME, ENDLESS]))
def test_watched_or_tamed_a_page_says_the_same(parts: list[str], how: str) -> None:
    """Whether a page was watched to its end or given up for taming, what is read of it is the same."""
    html = "".join(part.replace("%", str(number)) for number, part in enumerate(parts))
    body = (html + "ü é " * 2_000 + "<a href=last>").encode()
    times = iter(range(10**9))
    clock = (lambda: float(next(times))) if how == NO_TIME else (lambda: 0.0)
    expected = parse_page(body, URL, "text/html; charset=utf-8")

    assert parse_page(body, URL, "text/html; charset=utf-8", clock=clock) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<p>\u00fc",
        "<meta charset=utf-8><p>\u00fc",
        "<meta charset=koi8-r><p>\u044f",
        "\ufeff<meta charset=koi8-r><p>\u044f",
        "<div><template shadowrootmode=open><a href=/in-the-shadow>x</a></template></div>",
        "<div><template ShadowRootMode=open><a href=/in-the-shadow>x</a></template></div>",
        "<?xml version='1.0' encoding='iso-8859-5'?><p>\u044f",
    ],
)
@pytest.mark.parametrize(
    "content_type", ["text/html", "text/html; charset=utf-8", "text/html; charset=koi8-r"]
)
@pytest.mark.parametrize("codec", ["utf-8", "koi8-r", "utf-16"])
def test_a_clock_changes_nothing(text: str, content_type: str, codec: str) -> None:
    """Encodings, marks and shadow roots are read as they are without a clock."""
    body = (text + "<a href=/x>y</a> " * 400).encode(codec, "replace")
    expected = parse_page(body, URL, content_type)

    assert parse_page(body, URL, content_type, clock=lambda: 0.0) == expected


def test_formatting_that_ends_at_once_is_left_alone() -> None:
    """A page full of short formatting is not changed: none of it can come back."""
    body = (
        b"<p><code class='x'><span class=\"pre\">x</span></code> <b>y</b> <em>z <a href=/y>t</a></em>" * 2_000
    )

    assert tamed(body) == body


@pytest.mark.parametrize(
    "shape",
    [
        "<b %><b %>x</b>",
        "<b %><p></b>",
        "<b %><span x='</b>'>",
        "<b %><td></b>",
        "<b x='</b>'>",
    ],
)
def test_end_tags_that_end_nothing_are_seen_through(shape: str) -> None:
    """Formatting is told to multiply, whatever end tags follow it that do not end all of it."""
    body = b"<div>" + numbered(shape.replace("%", "a%"), 20_000) + b"</div>" + b"<p>x" * 20_000

    assert b"<q" in tamed(body)


INLINE: Final = st.one_of(
    st.sampled_from(["<b %>", "<i %>", "<em %>", "<code %>", "<font %>", "<a %>", "<span>", "<br>", "x"]),
    st.sampled_from(["</b>", "</i>", "</em>", "</code>", "</font>", "</a>", "</span>"]),
)


@given(st.lists(INLINE, max_size=12), st.sampled_from(["<p>", "<td>", "<div>", "<table>", "</div>"]))
def test_what_is_left_alone_does_not_multiply(parts: list[str], block: str) -> None:
    """What is taken for ended, in whatever order its tags stand, is not reopened by the blocks that follow."""
    body = b"<div>" + numbered("".join(parts).replace("%", "a%") + block, 6_000) + b"<p>x" * 3_000
    tree, _ = trees.html_tree(body, "utf-8")

    assert sum(1 for _ in tree.iter_elements()) < NODES + len(body)
