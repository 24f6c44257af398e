"""The index of an archive: where in which file the answer of a URL lies, as replay tools look it up.

    https://www.Example.com:443/B/?y=2&x=1  ──►  com,example)/b?x=1&y=2 20310501120000 {"url": ..., "offset": ..., ...}

1. A key has no white space, so that the lines of an index, sorted by their bytes, are sorted by key and time.
2. The key is the one that pywb, OpenWayback and Common Crawl make: they look for what *they* make of a URL.
   It is coarse on purpose (no ``www``, no case, no session ids): the URL stands in the line, for who wants that very one.

The package `surt`, which they use, is under the AGPL, takes 30 us, and asks the system's resolver about hosts of digits.
So this is written by its effects, for URLs that are canonical (WHATWG); tests/corpus/surts.json holds what it answers.
"""

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

_PLAIN: Final = frozenset(map(chr, range(0x21, 0x7F))) - {"#", "%"}
"""What a key shows as it is: ASCII that is seen, but for what would begin a fragment or an escape."""
_SAFE: Final = "".join(sorted(_PLAIN))
_SIMPLE: Final = re.compile(r"(?:/[a-z0-9_~:,;=+!$'()@-][a-z0-9._~:,;=+!$'()@-]*)*/?")
"""A path in which nothing has to be changed, but for session ids."""
_NUMBERED_WWW: Final = re.compile(r"www\d*\.")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_PATH_SESSION: Final = re.compile(
    r"(?P<before>.*/)\((?:(?:[a-z]\([0-9a-z]{24}\))+|[0-9a-z]{24})\)/(?P<after>[^?]+\.aspx.*)", re.DOTALL
)
_QUERY_SESSIONS: Final = tuple(
    re.compile(rf"(?P<before>.*)(?:{name})(?:&|\Z)", re.DOTALL)
    for name in (
        "jsessionid=[0-9a-z]{32}",
        "phpsessid=[0-9a-z]{32}",
        "sid=[0-9a-z]{32}",
        "aspsessionid[a-z]{8}=[a-z]{24}",
        "cfid=[^&]+&cftoken=[^&]+",
    )
)
"""What web servers of old added to every link (ASP.NET, Tomcat, PHP, ColdFusion); each is taken off once, where it stands last."""


def surt(url: str) -> str:
    """The key of a canonical http or https URL ("Sort-friendly URI Reordering Transform")."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("#")[0].partition("?")
    host, slash, path = rest.partition("/")
    key = f"{_host(scheme, host)}){_path(slash + path)}"
    query = _query(query) if query else ""
    return f"{key}?{query}" if query else key


@lru_cache(4096)
def _host(scheme: str, authority: str) -> str:
    """Labels in reverse, so that a domain's hosts lie together; an IPv4 address is reversed too, an IPv6 one loses its brackets."""
    host = authority.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, colon, port = host, "", ""
    if name.startswith("["):
        return name.strip("[]") + colon + port
    name = re.sub(r"\.\.", ".", _decoded(name)).strip(".")
    name = _NUMBERED_WWW.sub("", name, count=1) if _NUMBERED_WWW.match(name) else name
    return ",".join(reversed(name.split("."))) + colon + port


def _path(path: str) -> str:
    """Lower case, unescaped as far as can be, without empty parts and without an end of ``/``."""
    lowered = path.lower()
    if not _SIMPLE.fullmatch(lowered):
        parts: list[str] = []
        sent = _unescaped(path).split(b"/")[1:]
        for place, raw in enumerate(sent):
            part = raw.decode("latin-1")
            if part == ".":
                continue
            if part == ".." and parts:
                parts.pop()
            elif part or place == len(sent) - 1:
                parts.append(part)
        lowered = quote_from_bytes("/".join(["", *parts]).encode("latin-1"), _SAFE).lower() or "/"
    found = _PATH_SESSION.fullmatch(lowered) if ".aspx" in lowered else None
    if found is not None:
        lowered = found["before"] + found["after"]
        if again := _PATH_SESSION.fullmatch(lowered):
            lowered = again["before"] + again["after"]
    return lowered[:-1] if lowered.endswith("/") and lowered != "/" else lowered


def _query(query: str) -> str:
    """Lower case, unescaped as far as can be, its parts in order."""
    if "%" in query or not _PLAIN.issuperset(query):
        query = _decoded(query)
    query = query.lower()
    for session in _QUERY_SESSIONS:
        if found := session.match(query):
            query = found["before"] + query[found.end() :]
    return "&".join("=".join(pair) for pair in sorted(part.split("=", 1) for part in query.split("&")))


def _decoded(text: str) -> str:
    return quote_from_bytes(_unescaped(text), _SAFE)


def _unescaped(text: str) -> bytes:
    """Escapes taken off until there are none: ``%2541`` is ``%41`` is ``A``. Each round makes it shorter, so it ends."""
    raw = text.encode("utf-8", "replace")
    while b"%" in raw and (plainer := unquote_to_bytes(raw)) != raw:
        raw = plainer
    return raw


def line(
    url: str,
    at: datetime,
    *,
    media_type: str,
    detected: str | None,
    status: int,
    digest: str,
    length: int,
    offset: int,
    filename: str,
) -> bytes:
    """A line of the index, with its line break.

    Args:
        url: of the record, canonical.
        at: when it was fetched, UTC.
        media_type: of the payload, as it was sent; ``warc/revisit`` for a record that only names another.
        detected: of the payload, as its bytes say.
        status: of HTTP.
        digest: of the payload, base32.
        length: of the (compressed) record, bytes.
        offset: of the record in the file, bytes.
        filename: without folders.
    """
    told = {
        "url": url,
        "mime": media_type,
        "mime-detected": detected,
        "status": str(status),
        "digest": digest,
        "length": str(length),
        "offset": str(offset),
        "filename": filename,
    }
    facts = json.dumps({name: value for name, value in told.items() if value is not None})
    return f"{surt(url)} {at:%Y%m%d%H%M%S} {facts}\n".encode()
