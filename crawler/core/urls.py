"""URLs: one spelling for each, and what can be read off that spelling.

    what a page wrote ──► canonical() ──► one string for one resource
                                            │
                 url_hash  origin_of  host_of  domain_of  path_of     read it by slicing, never parse again

1. A canonical URL is the WHATWG URL Standard's ``href`` without fragment, credentials and session identifiers,
   of http or https, at most 2,048 bytes, ASCII.
2. ``canonical(canonical(x)) == canonical(x)``.
3. `canonical` never raises: what a page wrote is data.

The parser is Ada, bound by ada-url. can_ada takes half the time (0.6 us instead of 1.3 us) and was
rejected: it carries Ada 2.8, which knows the standard of 2023. It refuses real hosts, such as
``xn--72czcrhaj7cpt0ed1dxb4mb1s1.blogspot.com`` (whatwg/url 914), and spells ``^`` in paths differently.
We call ada-url's binding of the C interface instead of `ada_url.join_url`, which does the same in 2.0 us.
"""

import re
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Final

from ada_url import check_url
from ada_url._ada_wrapper import ffi, lib  # type: ignore[import-not-found]  # compiled, no stub
from publicsuffixlist import PublicSuffixList

from crawler.core.addresses import literal
from crawler.core.errors import UrlError
from crawler.core.sessions import SHORT_QUERY, may_hold_session, without_session

MAX_URL_BYTES: Final = 2048
"""Of the canonical form. BUbiNG's limit; what is longer is a trap or a tracker, seldom a page."""

MAX_HOST: Final = 1024
"""Characters of credentials, host and port as they are written. A name has 253 at most (RFC 1035); percent-encoded three times that."""

_HOST: Final = re.compile(r"[\0-\x20]*+(?:[A-Za-z][A-Za-z0-9+.-]*+:|(?=[/\\]{2}))[/\\]*+([^/\\?#]*+)")

_SCHEMES: Final = ("http://", "https://")

# One attribute look-up each, of a hundred links a page.
_parse: Final = lib.ada_parse
_parse_with_base: Final = lib.ada_parse_with_base
_href: Final = lib.ada_get_href
_free: Final = lib.ada_free
_unpack: Final = ffi.unpack


def canonical(url: str, base: str | None = None) -> str | None:
    """The one spelling of a URL, or None if it cannot be crawled: not http(s), too long, or no URL.

    Args:
        url: As a page, a header or a person wrote it. Relative if there is a base.
        base: The absolute URL of the page it was found on. If it is no URL, nothing on it is.
    """
    if len(url) > MAX_HOST and _has_absurd_host(url):
        return None
    text = _utf8(url)
    if base is None:
        parsed = _parse(text, len(text))
    else:
        base_text = _utf8(base)
        parsed = _parse_with_base(text, len(text), base_text, len(base_text))
    try:
        found = _href(parsed)  # of length 0 if it did not parse
        href: str = _unpack(found.data, found.length).decode() if found.length else ""
    finally:
        _free(parsed)
    if not href.startswith(_SCHEMES):
        return None
    if "#" in href:
        href = href[: href.index("#")]
    if "@" in href:
        href = _without_credentials(href)
    if len(href) > MAX_HOST and _has_absurd_host(href):
        return None  # it grows when its letters are spelled in ASCII
    if (
        "/(" in href
        or (";" in href and ";jsess" in href.lower())
        or ("?" in href and len(href) - href.index("?") > SHORT_QUERY and may_hold_session(href))
    ):
        bare = without_session(href)
        if bare is not href:
            return canonical(bare)  # /x/..;jsessionid=1/ is another path now
    return href if len(href) <= MAX_URL_BYTES else None


def _has_absurd_host(url: str) -> bool:
    """Whether its host is too long for a name, and for the parser: Ada takes 10 us for each letter."""
    host = _HOST.match(url)
    return host is not None and len(host[1]) > MAX_HOST


def canonical_or_error(text: str) -> str:
    """The canonical form of a URL that a person typed. No scheme is guessed.

    Raises:
        UrlError: it cannot be crawled; the message names the text and says what to do.
    """
    url = canonical(text)
    if url is None:
        raise UrlError(f"{_shown(text)} {_complaint(text)}")
    return url


def domain_named(text: str) -> str:
    """The registrable domain that a person named: by itself, by a host in it, or by a URL.

    Raises:
        UrlError: it is none of these.
    """
    name = text.strip()
    if name.count(":") > 1 and not name.startswith("[") and "/" not in name:
        name = f"[{name}]"  # an IPv6 address
    url = canonical(name if "://" in name else f"http://{name}/")
    if url is None or not name:
        raise UrlError(f"{_shown(text)} is neither a domain nor a URL: write example.com")
    return domain_of(url)


def url_hash(url: str) -> bytes:
    """The key of a canonical URL: 128-bit BLAKE2b."""
    return blake2b(url.encode(), digest_size=16).digest()


@lru_cache(maxsize=32_768)
def domain_id(domain: str) -> int:
    """The key of a domain: 64-bit BLAKE2b of its name, signed as PostgreSQL's bigint is."""
    return int.from_bytes(blake2b(domain.encode(), digest_size=8).digest(), "big", signed=True)


def host_of(url: str) -> str:
    """The host of a canonical URL without its port; IPv6 in brackets."""
    host = url[7 if url[4] == ":" else 8 : url.index("/", 8)]
    if ":" in host and host[-1] != "]":
        host = host[: host.rindex(":")]
    return host


def origin_of(url: str) -> str:
    """``scheme://host:port`` of a canonical URL, without a default port."""
    return url[: url.index("/", 8)]


def path_of(url: str) -> str:
    """Path and query of a canonical URL, from its first slash: what robots.txt is matched with."""
    return url[url.index("/", 8) :]


def domain_of(url: str) -> str:
    """The registrable domain of a canonical URL: the unit of politeness.

    By the public suffix list with its private section, so every ``*.github.io`` is a domain.
    An address, a single label (``localhost``) and a public suffix are their own domain.
    A final dot is dropped: ``example.com.`` is the same servers.
    """
    return _domain(host_of(url))


@lru_cache(maxsize=32_768)
def _domain(host: str) -> str:
    if literal(host) is not None:  # first: the suffix list would make 0.1 of 127.0.0.1
        return host
    name = host.rstrip(".") or host
    return _suffixes().privatesuffix(name) or name


@cache
def _suffixes() -> PublicSuffixList:
    """Loaded when first asked for: 45 ms that ``crawl --help`` need not wait."""
    return PublicSuffixList()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # The standard's parser is fed scalar values: pairs of surrogates join, a lone one becomes U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _without_credentials(href: str) -> str:
    """The same URL without ``user:password@``. An @ that belongs to them is written %40."""
    start = href.index("//") + 2
    at = href.rfind("@", start, href.index("/", start))
    return href[:start] + href[at + 1 :] if at >= 0 else href


_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):(?!\d)", re.IGNORECASE)
"""What may be a scheme: ``localhost:8080`` has none, it lacks one."""
_AUTHORITY: Final = re.compile(r"https?:[/\\]*([^/\\?#]*)", re.IGNORECASE)
_C0_OR_SPACE: Final = "".join(map(chr, range(0x21)))
_SHOWN: Final = 80


def _complaint(text: str) -> str:
    """Why `canonical` made nothing of a text, and what to do. To be read after the text."""
    typed = re.sub(r"[\t\n\r]", "", text.strip(_C0_OR_SPACE))  # as the standard's parser does
    scheme = _SCHEME.match(typed)
    if scheme is None or ("." in scheme[1] and not typed.startswith("//", scheme.end())):
        return "is not a URL: give one that starts with http:// or https://"
    authority = _AUTHORITY.match(typed)
    if authority is None:
        return f"has the scheme {_shown(scheme[1].lower())}: only http:// and https:// can be crawled"
    if check_url(_utf8(typed).decode()):
        return f"is too long: at most {MAX_URL_BYTES:,} bytes can be crawled"
    place = authority[1].rpartition("@")[2]
    host, _, port = place.rpartition(":")
    if not place or place.startswith(":"):
        return "names no host: give one such as https://example.com/"
    if host and canonical(f"http://{host}/") is not None:
        return f"has a bad port, {_shown(port)}: give a number from 0 to 65535, or leave it out"
    return f"has a bad host, {_shown(place)}: give a name such as example.com, or an IP address"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
