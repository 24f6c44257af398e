"""The feeds that a page names."""

from typing import Final

import pytest

from crawler.core.links import MAX_FEEDS, parse_page

URL: Final = "http://site.test/dir/page.html"
RSS: Final = "type=application/rss+xml"


@pytest.mark.parametrize("parser", ["turbohtml", "html5lib"])
@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f"<link rel=alternate {RSS} href=/feed>", ["http://site.test/feed"]),
        ("<link rel='Alternate home' type='Application/Atom+XML; charset=x' href=atom>", ["http://site.test/dir/atom"]),
        (f"<base href=/b/><link rel=alternate {RSS} href=f#x><link rel=alternate {RSS} href=./f>", ["http://site.test/b/f"]),
        (f"<link rel=alternate {RSS} href=page.html><link rel=alternate {RSS}><link rel=alternate {RSS} href=ftp://h/>", []),
        (f"<link rel=feed {RSS} href=f><link rel=next {RSS} href=f><link rel='alternate nofollow' {RSS} href=f>", []),
        ("<link rel=alternate type=application/json href=f><link rel=alternate href=f>", []),
        (f"<template><link rel=alternate {RSS} href=f></template><a rel=alternate {RSS} href=f>x</a>", []),
        (f"<meta name=robots content=nofollow><link rel=alternate {RSS} href=f>", []),
    ],
)  # fmt: skip
def test_feeds(parser: str, html: str, expected: list[str]) -> None:
    """Feeds are what a page names as its alternates of RSS or Atom, resolved as links are; a page that says nofollow has none."""
    assert list(parse_page(html.encode(), URL, "text/html", parser=parser).feeds) == expected


def test_a_feed_is_no_link() -> None:
    """A feed is not among the links, and a link not among the feeds."""
    page = parse_page(f"<a href=x>x</a><link rel=alternate {RSS} href=f>".encode(), URL, "text/html")

    assert (page.links, page.feeds) == (("http://site.test/dir/x",), ("http://site.test/dir/f",))


def test_a_page_has_few_feeds() -> None:
    """Of a page that names hundreds the first ten are kept."""
    html = "".join(f"<link rel=alternate {RSS} href=/{number}>" for number in range(500))

    feeds = parse_page(html.encode(), URL, "text/html").feeds

    assert feeds == tuple(f"http://site.test/{number}" for number in range(MAX_FEEDS))
