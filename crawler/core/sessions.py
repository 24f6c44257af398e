"""Session identifiers in URLs: the same page under a new name for every visitor, and for every visit of ours.

    http://h/shop;jsessionid=0A1B?id=7&PHPSESSID=9682...  ──► without_session ──►  http://h/shop?id=7

1. What is dropped is named in a table, with how sure its name is. Everything else stays, in its order.
2. A URL in which nothing of the table stands is returned as it is, and soon.

The names are those of Heritrix (StripSessionIDs, StripSessionCFIDs), of the Wayback Machine's AggressiveUrlCanonicalizer (these and
ASP.NET's two forms in the path), of Nutch (regex-normalize.xml), and of the manuals of the programs that make them.
A site that answers only to who brings an identifier along redirects to the same page for ever: that is the ledger's to tell.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Sure(Enum):
    """When the value of a parameter of that name is a session identifier."""

    IF_LONG = "if long"
    """Nobody calls anything else so: if it has a value worth the name, of `LONG` characters."""
    IF_RANDOM = "if random"
    """The name means other things too: only if the value looks like an identifier."""
    IN_PAIR = "in pair"
    """Only beside its twin: `PAIR`."""


QUERY: Final[Mapping[str, Sure]] = MappingProxyType(
    {
        "phpsessid": Sure.IF_LONG,  # PHP, session.use_trans_sid
        "jsessionid": Sure.IF_LONG,  # Java servlets
        "cgisessid": Sure.IF_LONG,  # Perl, CGI::Session
        "oscsid": Sure.IF_LONG,  # osCommerce
        "xtcsid": Sure.IF_LONG,  # xt:Commerce
        "zenid": Sure.IF_RANDOM,  # Zen Cart
        "bv_sessionid": Sure.IF_LONG,  # BroadVision
        "wosid": Sure.IF_RANDOM,  # WebObjects
        "cfid": Sure.IN_PAIR,  # ColdFusion
        "cftoken": Sure.IN_PAIR,
        "sid": Sure.IF_RANDOM,  # phpBB, Magento, Oxid and many more
        "s": Sure.IF_RANDOM,  # vBulletin
        "sess": Sure.IF_RANDOM,
        "sessid": Sure.IF_RANDOM,
        "session": Sure.IF_RANDOM,
        "sessionid": Sure.IF_RANDOM,
        "session_id": Sure.IF_RANDOM,
        "session-id": Sure.IF_RANDOM,
        "phpsessionid": Sure.IF_LONG,
    }
)
"""Parameters of the query, by their names in lower case."""

PREFIXES: Final = ("aspsessionid",)
"""Names that go on with letters of the server's own choice: ``ASPSESSIONIDQQABCDEF`` (classic ASP)."""

LONG: Final = 8
"""An identifier that is shorter can be guessed."""

SHORT_QUERY: Final = 14
"""A query of so many characters or fewer, with its question mark, has no room for an identifier (``?osCsid=`` and 8 letters)."""

PAIR: Final = frozenset({"cfid", "cftoken"})
"""ColdFusion's. ``cfid`` by itself may be anything (Heritrix, StripSessionCFIDs, wants both too)."""

RANDOM: Final = re.compile(
    r"(?=[^a-z]*[a-z])(?=\D*\d)"  # letters and digits: neither a number nor a word
    r"(?:[0-9a-f]{16,128}|[0-9a-z]{20,128}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    re.IGNORECASE,
)
"""A value that no person chose: 16 hexadecimal digits (Heritrix: 32), 20 letters and digits, or a UUID."""

PATH: Final = re.compile(r";jsessionid=[^/?;&]*", re.IGNORECASE)
"""Java's (servlet specification, "URL rewriting"): a parameter of a segment, seen behind queries too."""

COOKIELESS: Final = re.compile(
    r"/\((?:[asf]\([0-9a-z_-]{20,}\))+\)(?=[/?]|$)|/\([0-9a-z]{24}\)(?=/)", re.IGNORECASE
)
"""ASP.NET without cookies: ``/(S(24 characters))/``, with A(...) and F(...) beside it; of version 1, ``/(24 characters)/``."""


def may_hold_session(url: str) -> bool:
    """Whether `without_session` is worth its time: the look that almost all URLs with a query end with, in 0.2 us.

    One of these stands in every URL with a name of the table in it.
    """
    low = url.lower()
    return (
        ("id=" in low and ("sid=" in low or "cfid=" in low or "zenid=" in low))
        or "sess" in low
        or ("s=" in low and ("&s=" in low or "?s=" in low))
    )


def without_session(url: str) -> str:
    """The same URL without session identifiers. It may have to be made canonical again: a path may have become another."""
    path, _, query = url.partition("?")
    bare = COOKIELESS.sub("", PATH.sub("", path))
    kept = "&".join(_kept(PATH.sub("", query).split("&")))
    if len(bare) + len(kept) == len(path) + len(query):
        return url
    return f"{bare}?{kept}" if kept else bare


def sessions_in(url: str) -> tuple[str, ...]:
    """The session identifiers in a URL, as they stand there: what `without_session` takes out."""
    path, _, query = url.partition("?")
    found = [match[0] for text in (path, query) for match in PATH.finditer(text)]
    found += [match[0].removeprefix("/") for match in COOKIELESS.finditer(path)]
    pieces = PATH.sub("", query).split("&")
    kept = list(_kept(pieces))
    return (*found, *(piece for piece in pieces if piece not in kept))


def _kept(pieces: list[str]) -> Iterator[str]:
    """The parameters that are no session identifiers."""
    in_pair = {_name(piece) for piece in pieces} >= PAIR
    return (piece for piece in pieces if not _is_session(piece, in_pair=in_pair))


def _is_session(piece: str, *, in_pair: bool) -> bool:
    name, value = _name(piece), piece.partition("=")[2]
    match QUERY.get(name):
        case Sure.IF_LONG:
            return len(value) >= LONG
        case Sure.IF_RANDOM:
            return RANDOM.fullmatch(value) is not None
        case Sure.IN_PAIR:
            return in_pair
        case None:
            return name.startswith(PREFIXES) and len(value) >= LONG


def _name(piece: str) -> str:
    """In lower case, and without what is left of an ``&amp;`` that was escaped twice."""
    return piece.partition("=")[0].lower().removeprefix("amp;")
