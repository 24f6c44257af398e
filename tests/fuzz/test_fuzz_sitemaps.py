"""Sitemaps and feeds, whatever a site calls so: see `tests.fuzz.mutating`."""

import time
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from crawler.core.sitemap_text import Mender
from crawler.core.sitemaps import Sitemap, read_sitemap
from crawler.core.urls import canonical
from tests.fuzz.mutating import fuzz, kept

URL: Final = "http://site.test/sitemaps/x.xml"
NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
CORPUS: Final = Path(__file__).parent.parent / "corpus" / "sitemaps"
SEEDS: Final = [path.read_bytes() for path in sorted(CORPUS.iterdir()) if path.name != "expected.json"]
WORDS: Final = [
    *(f"<{tag}>".encode() for tag in ("url", "loc", "sitemap", "item", "link", "guid", "entry", "updated", "image", "content", "x:loc")),
    *(f"</{tag}>".encode() for tag in ("url", "loc", "sitemap", "item", "link", "guid", "entry", "updated", "image", "content", "x:loc")),
    b"<urlset>", b"</urlset>", b"<rss>", b"<feed>", b"<rdf:RDF>", b"<html>", b"<!DOCTYPE x [<!ENTITY a 'http://site.test/d'>]>",
    b"&a;", b"&#38;",
    b"&amp;", b"&", b"<", b">", b"&#x26;", b"&#0;", b"&#xD800;", b"&#xFFFE;", b"&#99999999;", b"<![CDATA[", b"]]>", b"<!--",
    b"-->",
    b"<?", b"?>", b"<link href='http://site.test/h?a=1&amp;b=2'/>", b"<link rel='alternate' href='r'/>", b" xml:base='http://other.test/b/'",
    b" isPermaLink='false'", b" xmlns='u'", b"http://site.test/u", b"https://site.test/v\n", b"/relative", b"2026-05-06T07:08:09Z",
    b"<lastmod>2026-01-01</lastmod>", b"<priority>0.5</priority>", b"<changefreq>daily</changefreq>", b"Fri, 20 Nov 2026 08:30:00 GMT",
    b"\0", b"\x01", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\r\n", b"'", b'"', b"=", b"/",
    b"<?xml version='1.0' encoding='utf-16'?>", b"<?xml version='1.0' encoding='shift_jis'?>",
]  # fmt: skip
PATIENCE: Final = 1.0
"""CPU seconds for 4 kB. They take a millisecond."""


def check(body: bytes) -> Hashable:
    """The laws of `crawler.core.sitemaps` hold for a body."""
    began = time.process_time()
    found = read_sitemap(body, URL, NOW)
    assert time.process_time() - began < PATIENCE, f"{len(body)} bytes take seconds"
    assert found == read_sitemap(body, URL, NOW), "another answer the second time"
    for entries in (found.entries, found.sitemaps):
        urls = [entry.url for entry in entries]
        assert urls == list(dict.fromkeys(map(canonical, urls))), "URLs are not canonical and unique"
    assert found.form is not None or (found.detail and not found.named), "it is nothing, and nobody says why"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Sitemap) == found
    return (found.form, len(found.entries).bit_length(), len(found.sitemaps).bit_length(), found.detail[:20])


def check_cut(body: bytes) -> Hashable:
    """A text that comes in two pieces is mended as if it came in one; but a CDATA section is cut in two."""
    text = body.decode("latin-1")
    whole = Mender()
    expected = (whole.mend(text) + whole.mend("", last=True)).replace(b"]]><![CDATA[", b"")
    for at in range(0, len(text), max(1, len(text) // 16)):
        cut = Mender()
        found = cut.mend(text[:at]) + cut.mend(text[at:]) + cut.mend("", last=True)
        assert found.replace(b"]]><![CDATA[", b"") == expected, f"cut at {at}"
    return (whole.mended.bit_length(), len(expected).bit_length())


def test_no_sitemap_breaks_a_law() -> None:
    """Sitemaps made of others by chance keep all laws."""
    assert fuzz("sitemaps", SEEDS, WORDS, check) > 0


def test_no_cut_changes_a_sitemap() -> None:
    """Sitemaps made of others by chance may be cut anywhere."""
    assert fuzz("sitemaps", SEEDS, WORDS, check_cut) > 0


@pytest.mark.parametrize("path", kept("sitemaps"), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """Whatever broke a law once breaks none."""
    body = path.read_bytes()

    assert (check(body), check_cut(body)) != (None, None)
