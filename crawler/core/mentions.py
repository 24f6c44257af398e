"""What a file of another program says of a URL."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec

from crawler.core.model import Outcome

_OK: Final = range(200, 300)
_MOVED: Final = range(300, 400)
_GONE: Final = frozenset({404, 410})
_UNCHANGED: Final = 304
STATUSES: Final = range(100, 600)
"""Of HTTP (RFC 9110 section 15)."""
STATES: Final[Mapping[str, Outcome | None]] = MappingProxyType(
    {
        "DISCOVERED": None,
        "FETCHED": Outcome.OK,
        "REDIRECTION": Outcome.REDIRECT,
        "FETCH_ERROR": None,
        "ERROR": None,
    }
)
"""What StormCrawler says of a URL instead (its enum `Status`), and how the visit ended; None: there was none that counts."""
GIVEN_UP: Final = "ERROR"
"""The one of `STATES` after which it is not tried again."""


class Mention(msgspec.Struct, frozen=True, gc=False):
    """A URL as it is written there, and what is said of it; None: nothing is."""

    text: str
    number: int = 0
    """Of the line or the item, from 1."""
    at: datetime | None = None
    """When it was visited."""
    status: int | None = None
    """How that was answered, one of `STATUSES`."""
    mime: str | None = None
    digest: str | None = None
    """Of what came, by whatever algorithm: equal ones mean that nothing had changed."""
    lastmod: datetime | None = None
    """When the page had changed last, as a sitemap says."""
    changefreq: float | None = None
    """Seconds between its changes."""
    priority: float | None = None
    """0.0 to 1.0, among the pages of its site."""
    state: str | None = None
    """One of `STATES`, where that is said instead of a status."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A line, or an item, that says nothing of a URL."""

    why: str
    """A phrase for a person: what it is, or does."""
    number: int = 0
    """Of the line or the item, from 1; 0: it is about the whole file."""


def outcome_of(status: int | None) -> Outcome:
    """How a visit ended that was answered so (design, section 7). Without a status, a visit that was worth mentioning went well."""
    if status is None or status in _OK or status == _UNCHANGED:
        return Outcome.OK
    if status in _MOVED:
        return Outcome.REDIRECT
    return Outcome.GONE if status in _GONE else Outcome.HTTP_ERROR


def ended(mention: Mention) -> Outcome | None:
    """How the visit ended; None: it did not, or not so that it counts as one."""
    return outcome_of(mention.status) if mention.state is None else STATES[mention.state]
