"""URLs: one spelling for each, and what can be read off it."""

import json
from pathlib import Path
from typing import Any

import pytest
from ada_url import join_url
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.core.errors import UrlError
from crawler.core.urls import (
    MAX_URL_BYTES,
    canonical,
    canonical_or_error,
    domain_id,
    domain_of,
    host_of,
    origin_of,
    path_of,
    url_hash,
)
from tests.effort import Effort

CORPUS = Path(__file__).parent.parent / "corpus" / "urltestdata.json"


def without_fragment_and_credentials(href: str) -> str:
    """What a canonical URL is, of a WHATWG href, by another road than the one tested."""
    scheme, _, rest = href.partition("#")[0].partition("://")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}/{path}"


any_text = st.text(st.characters(exclude_categories=()), max_size=60)
"""Of any code points, lone surrogates and NUL among them."""

url_bits = st.sampled_from(
    [
        "http://", "https://", "HTTP:", "//", "/", "\\", "..", ".", "?", "#", "@", ":", ":80", ":443",
        ":8080", "%", "%2e", "%2F", "%00", "a", "B", "é", "ß", "xn--", "xn--a", "\t", "\n", " ", "\x00",
        "\ud800", "\udfff", "[::1]",
        "127.0.0.1", "0x7f", "example.com", "co.uk", "ftp:", "javascript:", "data:", "user:pw",
        "a" * 700, "\U0001f600",
    ]
)  # fmt: skip
url_like = st.lists(url_bits, max_size=9).map("".join) | any_text
links = st.one_of(
    url_like, url_like.map("http://h".__add__), url_like.map("https://u:p@example.com/".__add__)
)
canonical_urls = links.map(canonical).filter(bool).map(str)


@pytest.mark.parametrize(
    "case", json.loads(CORPUS.read_text())["cases"], ids=lambda case: ascii(case["input"])[:60]
)
def test_web_platform_case(case: dict[str, Any]) -> None:
    """The canonical form is the href of the web-platform tests, without fragment and credentials."""
    expected = None if case["href"] is None else without_fragment_and_credentials(case["href"])

    assert expected == canonical(case["input"], case["base"])


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("http://example.com:80/a/../b/./c?q#f", "http://example.com/b/c?q"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("  http://example.com/ \n", "http://example.com/"),
        ("http://user:p%40w@example.com/@home", "http://example.com/@home"),
        ("http://example.com/@home", "http://example.com/@home"),
        ("https://bücher.example/ü?ü", "https://xn--bcher-kva.example/%C3%BC?%C3%BC"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://[0:0::1]:8080/", "http://[::1]:8080/"),
        ("http://h/\x00x\x00", "http://h/%00x"),
        ("http://h/\ud83d\ude00\ud83d", "http://h/%F0%9F%98%80%EF%BF%BD"),
        (
            "http://xn--72czcrhaj7cpt0ed1dxb4mb1s1.blogspot.com/x",
            "http://xn--72czcrhaj7cpt0ed1dxb4mb1s1.blogspot.com/x",
        ),
        ("http://h/a^b", "http://h/a%5Eb"),
        ("http://h/x #f", "http://h/x%20"),
        ("http://h/#" + "f" * 10_000, "http://h/"),
    ],
)
def test_canonical(written: str, url: str) -> None:
    """Each way to write a URL has one canonical form."""
    assert url == canonical(written)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("x", "http://h/a/x"),
        ("/x", "http://h/x"),
        ("//other/x", "http://other/x"),
        ("?q", "http://h/a/b?q"),
        ("#f", "http://h/a/b?p"),
        ("", "http://h/a/b?p"),
        ("https://other", "https://other/"),
        ("mailto:a@b", None),
        ("javascript:alert(1)", None),
        ("\ud800", "http://h/a/%EF%BF%BD"),
    ],
)
def test_canonical_with_base(link: str, url: str | None) -> None:
    """A link is read against the page it was found on."""
    assert url == canonical(link, "http://h/a/b?p#g")


@pytest.mark.parametrize("base", ["", "nonsense", "\ud800", "http://", "/relative"])
def test_base_that_is_no_url(base: str) -> None:
    """Nothing can be joined to a base that is no URL."""
    assert canonical("x", base) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "ftp://h/",
        "mailto:a@b",
        "data:,",
        "file:///etc/passwd",
        "http:",
        "http://a b/",
        "http://h:70000/",
    ],
)
def test_not_crawlable(text: str) -> None:
    """What is no URL, or neither http nor https, has no canonical form."""
    assert canonical(text) is None


def test_longest_url() -> None:
    """A URL of 2,048 bytes is crawled, one of 2,049 is not."""
    longest = "http://h/".ljust(MAX_URL_BYTES, "a")

    assert longest == canonical(longest)
    assert canonical(longest + "a") is None


@pytest.mark.parametrize("bit", ["a", "é", "a/../", "@", "\n", "é.", "%41", "\ud800", "xn--a.", "http://h/"])
@pytest.mark.parametrize("start", ["", "http://", "http://h/", "http://h/?", "http://h/#"])
def test_megabytes(start: str, bit: str) -> None:
    """A megabyte of anything is answered like any other text."""
    url = canonical(start + bit * (1_000_000 // len(bit)), "http://h/")

    assert url is None or len(url) <= MAX_URL_BYTES


@given(links, st.none() | links)
@example("http://a@b@c/", None)
@example("http://./", None)
def test_laws_of_the_form(link: str, base: str | None) -> None:
    """On any text it does not raise; a URL is ASCII, http(s), short, bare and canonical itself."""
    url = canonical(link, base)
    if url is None:
        return

    assert url == canonical(url)
    assert url.isascii()
    assert url.startswith(("http://", "https://"))
    assert len(url) <= MAX_URL_BYTES
    assert "#" not in url
    assert "@" not in origin_of(url)
    assert url == origin_of(url) + path_of(url)


@given(canonical_urls, url_like)
def test_joining_first(base: str, link: str) -> None:
    """To join and then make canonical is to make canonical with a base."""
    try:
        joined = join_url(base, link)
    except ValueError:  # also for lone surrogates, which this one does not read
        return

    assert canonical(joined) == canonical(link, base)


@given(canonical_urls, url_like)
def test_base_spelling(url: str, link: str) -> None:
    """Fragment and credentials of a base change nothing."""
    decorated = url.replace("://", "://user:pw@", 1) + "#fragment"

    assert canonical(link, url) == canonical(link, decorated)


@given(canonical_urls)
def test_domain_laws(url: str) -> None:
    """A domain is what its host ends in, is not empty, and does not hang on scheme, port and path."""
    host, domain = host_of(url), domain_of(url)

    assert domain
    assert host.endswith(domain) or host.rstrip(".").endswith(domain)
    assert domain == domain_of(f"http://{host}:81/other")
    assert host == host_of(f"http://{host}:81/other")


@pytest.mark.parametrize(
    ("url", "host", "origin", "path"),
    [
        ("http://h/", "h", "http://h", "/"),
        ("https://h/", "h", "https://h", "/"),
        ("http://h:8080/a?b=/c", "h", "http://h:8080", "/a?b=/c"),
        ("https://example.com:8443/a:b@c", "example.com", "https://example.com:8443", "/a:b@c"),
        ("http://[::1]/", "[::1]", "http://[::1]", "/"),
        ("https://[::1]:81/?x", "[::1]", "https://[::1]:81", "/?x"),
    ],
)
def test_parts(url: str, host: str, origin: str, path: str) -> None:
    """Host, origin and path are read off the canonical form."""
    assert (host, origin, path) == (host_of(url), origin_of(url), path_of(url))


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.example.com", "example.com"),
        ("example.com", "example.com"),
        ("example.com.", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("com", "com"),
        ("localhost", "localhost"),
        ("foo.python.test", "python.test"),
        ("me.github.io", "me.github.io"),
        ("x.me.github.io", "me.github.io"),
        ("github.io", "github.io"),
        ("www.ck", "www.ck"),
        ("a.b.ck", "a.b.ck"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("a..b.com", "a..b.com"),
        (".", "."),
    ],
)
def test_domain(host: str, domain: str) -> None:
    """The domain is the registrable one, private suffixes included; what has none is its own."""
    assert domain == domain_of(f"https://{host}:444/x")


def test_url_hash() -> None:
    """A URL's key is the 128-bit BLAKE2b of its canonical form, today and in ten years."""
    assert url_hash("http://example.com/").hex() == "9aba6a18c5a5d94534a3b99c485d4547"


def test_domain_id() -> None:
    """A domain's key is the 64-bit BLAKE2b of its name, signed."""
    assert domain_id("example.com") == 1424565772579972710


@given(st.text(st.characters(codec="ascii")))
def test_domain_id_is_a_bigint(name: str) -> None:
    """Every domain's key fits into PostgreSQL's bigint."""
    assert -(2**63) <= domain_id(name) < 2**63


def test_typed_url() -> None:
    """A URL that a person typed is made canonical."""
    assert canonical_or_error(" HTTP://Example.com:80/a#b ") == "http://example.com/a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not-a-url", "'not-a-url' is not a URL: give one that starts with http:// or https://"),
        ("", "'' is not a URL: give one that starts with http:// or https://"),
        ("example.com/x", "'example.com/x' is not a URL: give one that starts with http:// or https://"),
        ("localhost:8080/", "'localhost:8080/' is not a URL: give one that starts with http:// or https://"),
        ("example.com:x", "'example.com:x' is not a URL: give one that starts with http:// or https://"),
        ("ftp://h/", "'ftp://h/' has the scheme 'ftp': only http:// and https:// can be crawled"),
        ("web.x://h/", "'web.x://h/' has the scheme 'web.x': only http:// and https:// can be crawled"),
        ("mailto:a@b.c", "'mailto:a@b.c' has the scheme 'mailto': only http:// and https:// can be crawled"),
        ("http:", "'http:' names no host: give one such as https://example.com/"),
        ("http://:80/", "'http://:80/' names no host: give one such as https://example.com/"),
        ("http://u@/x", "'http://u@/x' names no host: give one such as https://example.com/"),
        (
            "http://h:70000/",
            "'http://h:70000/' has a bad port, '70000': give a number from 0 to 65535, or leave it out",
        ),
        (
            "http://[::1]:x",
            "'http://[::1]:x' has a bad port, 'x': give a number from 0 to 65535, or leave it out",
        ),
        (
            "http://a b/",
            "'http://a b/' has a bad host, 'a b': give a name such as example.com, or an IP address",
        ),
        (
            "https://[::1/",
            "'https://[::1/' has a bad host, '[::1': give a name such as example.com, or an IP address",
        ),
        (
            "http://\udcff/",
            "'http://\\udcff/' has a bad host, '\\udcff': give a name such as example.com, or an IP address",
        ),
        (
            "http://h/\ud800".ljust(3000, "a"),
            repr("http://h/\ud800".ljust(80, "a") + "...")
            + " is too long: at most 2,048 bytes can be crawled",
        ),
    ],
)
def test_typed_url_error(text: str, message: str) -> None:
    """The error names what was typed and says what to do."""
    with pytest.raises(UrlError) as caught:
        canonical_or_error(text)

    assert message == str(caught.value)


@given(links)
def test_typed_url_law(text: str) -> None:
    """What a person types is either made canonical or refused in one short line that can be printed."""
    if canonical(text) is not None:
        assert canonical(text) == canonical_or_error(text)
        return
    with pytest.raises(UrlError) as caught:
        canonical_or_error(text)

    assert str(caught.value).isprintable()
    assert len(str(caught.value).encode()) < 2_000


@pytest.mark.parametrize("start", ["http://", "https:", " \tHTTP:\\\\", "//", "\\/"])
def test_an_absurd_host_is_no_url(start: str) -> None:
    """A host of thousands of letters, which would take the parser a tenth of a second, is refused unread."""
    with Effort() as effort:
        found = canonical(start + "\u6f22" * 6000 + "/", "http://a.test/")

    assert found is None
    assert effort.spent < 0.02


@pytest.mark.parametrize("path", ["/" + "x" * 1500, "x" * 1500, "?" + "x" * 1500])
def test_a_long_path_is_no_long_host(path: str) -> None:
    """What is long and no host is read as ever."""
    found = canonical(path, "http://a.test/")

    assert found is not None
    assert found.startswith("http://a.test/")
