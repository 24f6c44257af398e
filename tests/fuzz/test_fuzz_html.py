"""HTML to links, whatever the bytes: see `tests.fuzz.mutating`."""

import json
import re
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Final

import pytest

from crawler.core import content
from crawler.core.links import parse_page
from crawler.core.model import Page
from crawler.core.urls import canonical
from tests.fuzz.mutating import fuzz, kept

URL: Final = "http://site.test/dir/page.html"
CORPUS: Final = Path(__file__).parent.parent / "corpus"
SNIPPETS: Final[list[bytes]] = [one.encode() for one in json.loads((CORPUS / "snippets.json").read_text())]
SEEDS: Final = [path.read_bytes() for path in sorted((CORPUS / "html").glob("*.html"))] + SNIPPETS
WORDS: Final = [
    *(f"<{tag}>".encode() for tag in (CORPUS / "tags.txt").read_text().split()),
    *(f"</{tag}>".encode() for tag in (CORPUS / "tags.txt").read_text().split()),
    b"<a href=x>", b"<a href='y?q=\xe9'>", b"<area href=z>", b"<base href=/b/>", b"<base href='//[/'>", b"<iframe src=i>",
    b"<link rel=next href=n>", b"<meta charset=koi8-r>", b"<meta charset=utf-16>", b"<meta charset=iso-2022-jp>",
    b"<meta name=robots content=nofollow>", b"<meta http-equiv=refresh content='0;url=r'>", b"<svg>", b"<math><mi>",
    b"<template shadowrootmode=open>", b"<!--", b"-->", b"--!>", b"<![CDATA[", b"]]>", b"<?xml version='1.0' encoding='big5'?>",
    b"<!doctype html>", b"&#xD800;", b"&#x110000;", b"&#0;", b"&#99999999999;", b"&notit;", b"&amp", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\xfe\xff", b"\x1b$B", b"\x1b(B", b"\r", b"\r\n", b"\x0c", b"'", b'"', b"=", b"/", b"<", b">", b" href=w",
    b" rel=nofollow", b" xlink:href=v", b" lang=de", b"<plaintext>",
]  # fmt: skip
TYPES: Final = (
    "text/html",
    None,
    "text/html; charset=shift_jis",
    "application/xhtml+xml",
    "text/xml",
    "text/html; charset=utf-16le",
    "text/plain",
)
PATIENCE: Final = 2.0
"""CPU seconds for 4 kB. They take less than ten milliseconds, but others use this machine too."""


def read(body: bytes, parser: str = "turbohtml") -> Page:
    """A body as the type that its length chooses."""
    return parse_page(body, URL, TYPES[len(body) % len(TYPES)], parser=parser)


def check(body: bytes, parser: str = "turbohtml") -> Hashable:
    """The laws of `crawler.core.links` hold for a body."""
    began = time.process_time()
    page = read(body, parser)
    assert time.process_time() - began < PATIENCE, f"{len(body)} bytes take seconds"
    assert page == read(body, parser), "another answer the second time"
    assert page.links == tuple(dict.fromkeys(map(canonical, page.links))), (
        "links are not canonical and unique"
    )
    assert URL not in page.links, "a page links to itself"
    stored = "".join((page.title or "", page.language or "", *page.directives))
    assert content.clean(stored) == stored, "what PostgreSQL refuses"
    return (page.charset, page.directives, page.language, len(page.links).bit_length(), page.title is None)


def check_reference(body: bytes) -> Hashable:
    """The laws hold with the reference too, but that it may give up."""
    try:
        return check(body, "html5lib")
    except content.UnreadableError:
        return None


DIFFER: Final = re.compile(rb"<(?:select|template|svg|math|frameset)", re.IGNORECASE)
"""What html5lib, of 2017, reads by older rules: links in a ``<select>``, templates, titles in drawings, frames after ``</br>``."""


def check_agreement(body: bytes) -> Hashable:
    """Both parsers find the same links, and the same title."""
    if DIFFER.search(body):
        return None
    try:
        slow = parse_page(body, URL, "text/html; charset=utf-8", parser="html5lib")
    except content.UnreadableError:
        return None
    fast = parse_page(body, URL, "text/html; charset=utf-8")
    assert set(fast.links) == set(slow.links), "other links"
    assert fast.title == slow.title, "another title"
    return (len(fast.links).bit_length(), fast.title is None, fast.language, fast.directives)


def test_parsers_agree() -> None:
    """Pages made of others by chance have the same links with both parsers, but for what is newer than one of them."""
    assert fuzz("agreement", SEEDS, WORDS, check_agreement) > 0


def test_no_page_breaks_the_fast_parser() -> None:
    """Pages made of others by chance keep all laws with the fast parser."""
    assert fuzz("html", SEEDS, WORDS, check) > 0


def test_no_page_breaks_the_reference() -> None:
    """Pages made of others by chance keep all laws with the reference."""
    assert fuzz("html", SEEDS, WORDS, check_reference) > 0


@pytest.mark.parametrize("path", kept("html"), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """Whatever broke a law once breaks none with either parser."""
    body = path.read_bytes()
    check_reference(body)

    assert check(body) is not None
