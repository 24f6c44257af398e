"""Pages made to break a parser: what comes out of each."""

from typing import Final

import pytest

from crawler.core import links, trees
from crawler.core.links import MAX_LINKS, parse_page
from tests.effort import Effort

URL: Final = "http://site.test/"
LAUGHS: Final = (
    "<!DOCTYPE r [<!ENTITY a0 'lol'>"
    + "".join(f"<!ENTITY a{number} '{f'&a{number - 1};' * 10}'>" for number in range(1, 12))
    + "]>"
)
PDF: Final = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj <</Type/Catalog>> stream\nx\x9c\0\xff<a href=no endstream"
RUBBISH: Final = bytes(byte * 7919 >> 3 & 0xFF for byte in range(50_000))


@pytest.mark.parametrize("parser", links.PARSERS)
@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<div>" * 200 + "<a href=x>", ["x"]),
        ("<p><a href=x><b><i><ul><li><table><tr><td><a href=y", ["x"]),
        ("<p><a href=x><b><i><ul><li><table><tr><td><a href=y>", ["x", "y"]),
        ("<a href=x\0y><a\0 href=no><a href=\x01z\x02>", ["x%EF%BF%BDy", "z"]),
        ("<a href='&#xD800;'><a href='&#x110000;'><a href='&#0;'><a href='&#99999999999;'>", ["%EF%BF%BD"]),
        (
            "<a href='&#128;&#x9f;'><a href='x&#13;&#10;y'><a href='&#xFDD0;'>",
            ["%E2%82%AC%C5%B8", "xy", "%EF%B7%90"],
        ),
        ("<a href='?a=1&copy=2&copy;=3&notit;=4'>", ["?a=1&copy=2%C2%A9=3&notit;=4"]),
        ("<!-- <a href=no> --!><a href=x><!--><a href=y><!---><a href=z><!-- <a href=no>", ["x", "y", "z"]),
        ("<script><!-- <script> </script> <a href=no></script><a href=x>", ["x"]),
        ("<textarea><a href=no></textarea><title><a href=no></title><xmp><a href=no></xmp><a href=x>", ["x"]),
        ("<plaintext><a href=no>", []),
        ("<table><a href=x><tr><a href=y><td><a href=z>", ["x", "y", "z"]),
        ("<form><a href=x><form><button><button><a href=y></form></form>", ["x", "y"]),
        ("<frameset>" * 200 + "<frame src=x>" + "<frame src=y>", ["x", "y"]),
        ("<body><frameset><frame src=no></frameset><a href=x>", ["x"]),
        ("<svg><g><svg><a xlink:href=x><math><mi><a href=y>", ["x", "y"]),
        ("<math>" * 200 + "<annotation-xml encoding=text/html><a href=x>", ["x"]),
        ("<option><a href=x><optgroup><option><a href=y>", ["x", "y"]),
        ("<base href=/b/>" + "<base href=/c/>" * 1_000 + "<a href=x>", ["b/x"]),
        ("<title>" + "t" * 100_000 + "</title>" + "<title>u</title>" * 1_000 + "<a href=x>", ["x"]),
        ("<meta>" * 1_000 + "<meta http-equiv=refresh content='0;url=x'>" * 100, ["x"]),
        ("<meta http-equiv=refresh content='" + "9" * 50_000 + ";x'>", ["x"]),
        ("x" * 100_000 + "<a href=x>", ["x"]),
        ("<a " + " ".join(f"a{number}" for number in range(400)) + " href=x href=no>", ["x"]),
        ("<a href=x>" + "</p></br></a></body></html>" * 100 + "<a href=y>", ["x", "y"]),
        ("<?xml version='1.0'?><!DOCTYPE html [<!ENTITY e 'no'>]><a href='&e;'/><a href='x'/>", ["&e;", "x"]),
    ],
)
def test_what_comes_out(html: str, expected: list[str], parser: str) -> None:
    """Broken pages have the links that a browser finds in them, with either parser."""
    found = parse_page(
        html.encode("utf-8", "surrogatepass"), URL, "text/html; charset=utf-8", parser=parser
    ).links

    assert [link.removeprefix(URL) for link in found] == expected


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/xhtml+xml", "application/rss+xml", "text/html", None]
)
@pytest.mark.parametrize(
    "use", ["<html><p>&a11;</p></html>", "<r>&a11;</r>", "<html x='&a11;'/>", "<r x='&a11;'/>"]
)
def test_entities_do_not_multiply(content_type: str | None, use: str) -> None:
    """A billion laughs are not laughed, in text or in attributes, under whatever type."""
    expected = True
    body = f"<?xml version='1.0'?>{LAUGHS}{use}".encode()
    parse_page(body, URL, content_type)

    assert (len(trees.visible_text(body, content_type, None)) < 2 * len(body)) is expected


@pytest.mark.parametrize(
    ("body", "content_type", "media_type", "found"),
    [
        (PDF, "text/html", "text/html", 0),
        (PDF, None, "application/pdf", 0),
        (RUBBISH, "text/html", "text/html", 0),
        (RUBBISH, None, "application/octet-stream", 0),
        (RUBBISH, "text/plain", "application/octet-stream", 0),
        (b'{"a": "<a href=no>"}', "application/json", "application/json", 0),
        (b"[" * 100_000, "application/json", "application/json", 0),
        (b'{"a": "<a href=x>"}', "text/html", "text/html", 1),
        (b"\0" * 10_000, "text/html", "text/html", 0),
        (b"<a>" * 50_000, "text/xml", "text/xml", 0),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><a href='x'/></html>", "text/xml", "text/xml", 1),
        (b"<html><a href='x'/></html>", "application/xhtml+xml", "application/xhtml+xml", 1),
        (b"".join(b"<a href=%d>" % number for number in range(6_000)), "text/html", "text/html", MAX_LINKS),
    ],
)  # fmt: skip
def test_what_is_called_otherwise(body: bytes, content_type: str | None, media_type: str, found: int) -> None:
    """What is no HTML, or not of the type it is called, has its type, and links only if it is HTML."""
    expected = (media_type, found)
    page = parse_page(body, URL, content_type)

    assert (page.media_type, len(page.links)) == expected


def host(letters: int, number: int) -> str:
    """A host name of so many Chinese letters, another for each number."""
    return "".join(chr(0x4E00 + (place * 7_919 + number) % 20_000) for place in range(letters))


@pytest.mark.parametrize(
    "html",
    [
        "".join(f"<a href=//{host(2_600, number)}/>" for number in range(130)),
        "".join(f"<a href='ht\ntps:\\\\u:p@{host(2_600, number)}'>" for number in range(130)),
        f"<base href=//{host(600, 0)}/>" + "".join(f"<a href=//[{number}>" for number in range(20_000)),
    ],
)
def test_absurd_hosts_are_left_out(html: str) -> None:
    """A megabyte of host names that no name server would know costs no second: they took 1.5."""
    expected = (True, ("http://site.test/x",))
    with Effort() as effort:
        page = parse_page(f"{html}<a href=http://site.test/x>".encode(), URL, "text/html")

    assert (effort.spent < 1, page.links) == expected
