"""What references mean on the page where they stand.

href as written ──► not absurd ──► in the page's encoding ──► against its <base> ──► canonical, unique, not the page itself
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote_from_bytes

from crawler.core.urls import MAX_URL_BYTES, canonical

MAX_REFERENCE: Final = 8_192
"""Characters of an ``href``. No longer URL is fetched, and a long base would be copied for each link."""

MAX_HOST: Final = 512
"""Characters of a host, and whoever logs in there, in a reference. DNS knows none of more than 253."""

_NO_LINKS: Final = ("javascript:", "mailto:", "data:", "tel:")
"""Left out before they cost anything; `canonical` refuses them in any other spelling."""
_SCHEME: Final = re.compile(r"[\0-\x20]*+([A-Za-z][A-Za-z0-9+.-]*+):")
_NOT_A_BASE: Final = frozenset({"data", "javascript"})


def resolve(
    references: Iterable[str], url: str, base: str | None, charset: str | None, most: int
) -> tuple[str, ...]:
    """The links that references mean on the page `url` with that ``<base href>``, in their order, so many at most."""
    address = canonical(url) or url
    base_url = _base_url(base, url)
    codec = None if charset is None or charset in _UNICODE else _CODECS.get(charset, charset)
    links: dict[str, None] = {}
    for reference in dict.fromkeys([reference.partition("#")[0] for reference in references]):
        if reference.startswith(_NO_LINKS) or (len(reference) > MAX_HOST and _is_absurd(reference)):
            continue
        asked = reference if codec is None or reference.isascii() else _encode_query(reference, codec)
        link = canonical(asked, base_url)
        if link is not None and link != address:
            links[link] = None
            if len(links) == most:
                break
    return tuple(links)


def _is_absurd(reference: str) -> bool:
    """Whether it would take long to tell that a long reference is none: a host is decoded in quadratic time."""
    return len(reference) > MAX_REFERENCE or _HUGE_HOST.match(reference.translate(_LEFT_OUT)) is not None


_HUGE_HOST: Final = re.compile(
    rf"[\0-\x20]*+(?:https?:[/\\]*+|[/\\]{{2,}}+)[^/\\?#]{{{MAX_HOST}}}", re.IGNORECASE
)
_LEFT_OUT: Final = dict.fromkeys(map(ord, "\t\n\r"))


def _base_url(base: str | None, url: str) -> str | None:
    """What references are resolved against; None if that is no web address, and only absolute ones count."""
    if base is None:
        return url
    if len(base) > MAX_URL_BYTES or (len(base) > MAX_HOST and _is_absurd(base)):
        return None
    found = canonical(base, url)
    if found is not None:
        return found
    # HTML, "set the frozen base URL": what cannot be parsed, data: and javascript: count for nothing.
    # Another scheme (file:, about:) counts, and its relative links lead nowhere.
    scheme = _SCHEME.match(base)
    nowhere = scheme is not None and scheme[1].lower() not in {*_NOT_A_BASE, "http", "https"}
    return None if nowhere else url


_UNICODE: Final = frozenset({"utf-8", "utf-16le", "utf-16be", "replacement", "x-user-defined"})
_CODECS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "big5": "cp950",
        "euc-kr": "cp949",
        "iso-8859-8-i": "iso-8859-8",
        "macintosh": "mac-roman",
        "shift_jis": "cp932",
        "windows-874": "cp874",
        "x-mac-cyrillic": "mac-cyrillic",
    }
)
"""Python's codec for a WHATWG encoding, where the names differ or the same name means another."""
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_QUERY_SAFE: Final = "".join(c for c in map(chr, range(0x21, 0x7F)) if c not in "\"#&';<>")


def _encode_query(reference: str, codec: str) -> str:
    """The reference with the non-ASCII of its query in the document's encoding.

    A link on a KOI8-R page asks for ``?q=%C6``, and the server understands nothing else. What the encoding
    lacks becomes ``%26%23N%3B`` (URL, "percent-encode after encoding").
    """
    path, mark, query = reference.partition("?")

    def encoded(run: re.Match[str]) -> str:
        return quote_from_bytes(run[0].encode(codec, "xmlcharrefreplace"), safe=_QUERY_SAFE)

    return path + mark + _NOT_ASCII.sub(encoded, query)
