"""URLs, whatever a page writes: see `tests.fuzz.mutating`."""

import json
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Final

import pytest

from crawler.core.urls import (
    MAX_URL_BYTES,
    canonical,
    domain_id,
    domain_of,
    host_of,
    origin_of,
    path_of,
    url_hash,
)
from tests.fuzz.mutating import fuzz, kept

CASES: Final = json.loads((Path(__file__).parent.parent / "corpus" / "urltestdata.json").read_text())["cases"]
SEEDS: Final = [case["input"].encode("utf-8", "surrogatepass") for case in CASES]
WORDS: Final = [
    word.encode("utf-8", "surrogatepass")
    for word in (
        "http://", "https://", "HTTP:", "http:", "//", "\\\\", "/", "\\", "/../", "/./", "/%2e%2e/", "?", "#",
        "@", "a:b@", ":", ":80", ":443",
        ":0", ":99999", ":8080", "%", "%2", "%zz", "%00", "%ff", "%41", "%E4%B8%80", "é", "ß", "İ", "\u3002", "\uff0e", "xn--", "xn--a",
        "xn--zca", "\t", "\n", "\r", " ", "\0", "\x7f", "\ud800", "\udfff", "\U0001f600", "[::1]", "[::ffff:1.2.3.4]", "[1::2%eth0]", "[",
        "]", "127.0.0.1", "0177.1", "0x7f.1", "2130706433", "0x7f000001", "1.2.3", "256.1", "0x",
        "example.com", "example.com.", "..", "co.uk",
        "localhost", "ftp:", "file:///", "javascript:", "data:,", "mailto:x", "blob:http://h/", "about:blank", "\u0301", "\u00ad", "\ufdfa",
        "jsessionid=1", ";jsessionid=ABC", "?PHPSESSID=0123456789abcdef", "&sid=1",
    )
]  # fmt: skip
BASES: Final = ("http://site.test/dir/page.html?q#f", "https://user:pw@b.test:8443/a/b/../c", "http://[::1]/")
PATIENCE: Final = 1.0
"""CPU seconds for 4 kB of a URL. Most take microseconds, long names of hosts some 20 ms."""


def check(data: bytes) -> Hashable:
    """The laws of `crawler.core.urls` hold for what was written, alone and on a page."""
    text = (
        data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
        if _decodes(data)
        else data.decode("latin-1")
    )
    began = time.process_time()
    found = [canonical(text), *(canonical(text, base) for base in BASES)]
    assert time.process_time() - began < PATIENCE, f"{len(data)} bytes take seconds"
    for url in filter(None, found):
        check_canonical(url)
    return tuple(
        None if url is None else (url[:5], len(url).bit_length(), "%" in url, "[" in url) for url in found
    )


def check_canonical(url: str) -> None:
    """The laws of a canonical URL hold."""
    assert canonical(url) == url, "not idempotent"
    assert canonical(url, BASES[0]) == url, "a base changes it"
    assert url.isascii() and url.isprintable() and " " not in url, "what HTTP cannot send"  # noqa: PT018 - one fact
    assert len(url) <= MAX_URL_BYTES, "too long"
    assert "#" not in url, "a fragment"
    assert "@" not in origin_of(url), "credentials"
    assert origin_of(url) + path_of(url) == url, "origin and path are not the whole"
    assert host_of(url) in origin_of(url), "another host than its origin's"
    assert canonical(f"http://{host_of(url)}/") == f"http://{host_of(url)}/", "its host is none"
    assert host_of(url).rstrip(".").endswith(domain_of(url).rstrip(".")), "another domain than its host's"
    assert (len(url_hash(url)), domain_id(domain_of(url)).bit_length() <= 64) == (16, True)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def test_no_url_breaks_a_law() -> None:
    """URLs made of others by chance have one spelling, which HTTP can send, or none."""
    assert fuzz("urls", SEEDS, WORDS, check) > 0


@pytest.mark.parametrize("path", kept("urls"), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """Whatever broke a law once breaks none."""
    assert check(path.read_bytes()) is not None
