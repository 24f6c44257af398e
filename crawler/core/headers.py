"""Headers that a person adds to every request of a crawl: what may be said, to whom, and what is shown of it.

1. A header that the crawler itself answers for (Host, the body's framing, the connection, the user agent) is refused.
2. A header with a secret goes to the domains of the crawl's seeds, and to no other: a link or a redirect must not carry it away.
3. A secret is never shown, nor kept with the pages.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final, TypeAlias

from crawler.core.errors import UsageError
from crawler.core.model import Past

Header: TypeAlias = tuple[str, str]

MASK: Final = "********"
MOST: Final = 50
VALIDATOR: Final = 1024
"""Characters of an entity tag that is sent back."""
LONGEST: Final = 8192
"""Bytes of name and value: what most servers take of one header."""

OURS: Final[dict[str, str]] = {
    "host": "it follows from the URL",
    "user-agent": "use --user-agent, so that robots.txt is read for that name",
    "accept-encoding": "only what can be decoded is asked for",
    "proxy-authorization": "write it into the proxy's URL: --proxy http://user:password@host:port",
    **dict.fromkeys(("content-length", "transfer-encoding", "te", "trailer", "expect"), "no body is sent"),
    **dict.fromkeys(("connection", "keep-alive", "upgrade", "proxy-connection"), "connections are kept by the crawler"),
    **dict.fromkeys(
        ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range"),
        "only whole and known answers are stored",
    ),
}  # fmt: skip
"""Names that are refused, and why (RFC 9110 and RFC 9112 give them their meaning)."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~\xa0-\xff]*")
_SECRET: Final = re.compile(
    r"authori[sz]ation|cookie|token|secret|passw|session|credential|api-?key|signature|bearer|login|dpop|"
    r"(?:^|-)(?:pass|csrf|xsrf|(?:x|cf)-(?:access|vault))|(?:^|-)(?:auth|key|jwt|pwd|sig)(?:-|$)"
)


def parse_header(text: str) -> Header:
    """``Name: value``, checked.

    Raises:
        UsageError: it is no header, holds a control character, or is one that the crawler answers for itself.
    """
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not _TOKEN.fullmatch(name):
        shown = name if colon else text
        raise UsageError(
            f"{shown[:80]!r} is not the name of a header: write 'Name: value', such as 'Accept-Language: en'"
        )
    if (why := OURS.get(name.lower())) is not None:
        raise UsageError(f"the header {name} cannot be set: {why}")
    if not _VALUE.fullmatch(value):
        raise UsageError(
            f"the header {name} holds a character that a header cannot have (control characters, beyond latin-1)"
        )
    if len(name) + len(value) > LONGEST:
        raise UsageError(f"the header {name} is longer than {LONGEST} bytes")
    return name, value


def parse_headers(texts: Sequence[str]) -> tuple[Header, ...]:
    """Several, in order. Raises UsageError, also for a name that stands twice."""
    headers = tuple(parse_header(text) for text in texts)
    if len(headers) > MOST:
        raise UsageError(f"{len(headers)} headers are more than {MOST}")
    names = [name.lower() for name, _ in headers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"the header {twice} is given twice: join its values with a comma")
    return headers


def conditional(past: Past) -> tuple[Header, ...]:
    """What makes a request conditional (RFC 9110 section 13.1): the validators that came with what is kept, weak ones too.

    Both, for older servers know only the second (section 13.2.2 has the others prefer the first). None where nothing is kept, for
    then a 304 would be no use. What a site sent is sent back to it only if it may stand in a header, and does not mean "whatever it is".
    """
    if past.digest is None:
        return ()
    said = ("If-None-Match", past.etag), ("If-Modified-Since", past.last_modified)
    return tuple(
        (name, value)
        for name, value in said
        if value and value.strip() != "*" and len(value) <= VALIDATOR and _VALUE.fullmatch(value)
    )


def is_secret(name: str) -> bool:
    """Whether a header of that name holds what only the site itself may know."""
    return _SECRET.search(name.lower()) is not None


def sent_to(domain: str, headers: Sequence[Header], trusted: Collection[str]) -> tuple[Header, ...]:
    """The headers for a request to a domain (law 2)."""
    if domain in trusted:
        return tuple(headers)
    return tuple((name, value) for name, value in headers if not is_secret(name))


def masked(headers: Sequence[Header]) -> tuple[Header, ...]:
    """The headers as they may be shown and kept."""
    return tuple((name, MASK if is_secret(name) else value) for name, value in headers)
