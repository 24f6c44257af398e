"""Patience per outcome, as a table (design, section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from crawler.core.model import Outcome

JITTER: Final = 0.1
"""A wait is stretched by up to this share of itself: what failed together is not tried together again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how slowly a failed URL is tried."""

    tries: int
    """In all, the first included."""
    first_wait: timedelta
    """After the first failure; it doubles with each further one."""


PATIENCE: Final[Mapping[Outcome, Patience | None]] = MappingProxyType(
    {
        Outcome.OK: None,
        Outcome.NOT_MODIFIED: None,
        Outcome.REDIRECT: None,
        Outcome.GONE: Patience(2, timedelta(days=7)),
        Outcome.HTTP_ERROR: None,  # by its status: see below
        Outcome.THROTTLED: Patience(10, timedelta(0)),  # the domain itself waits
        Outcome.ROBOTS_REFUSED: None,
        Outcome.SCOPE_REFUSED: None,
        Outcome.ADDRESS_REFUSED: None,
        Outcome.TYPE_REFUSED: None,
        Outcome.TOO_LARGE: Patience(2, timedelta(minutes=10)),
        Outcome.TOO_SLOW: Patience(4, timedelta(minutes=1)),
        Outcome.DNS_ERROR: Patience(3, timedelta(hours=1)),
        Outcome.CONNECT_ERROR: Patience(3, timedelta(minutes=10)),
        Outcome.TLS_ERROR: Patience(2, timedelta(hours=1)),
        Outcome.TIMEOUT: Patience(4, timedelta(minutes=1)),
        Outcome.PROTOCOL_ERROR: Patience(2, timedelta(minutes=10)),
        Outcome.DECODE_ERROR: Patience(2, timedelta(minutes=10)),
    }
)
"""None: not a failure, or a final one."""

SERVER_ERROR: Final = Patience(4, timedelta(minutes=5))
HTTP_PATIENCE: Final[Mapping[int, Patience]] = MappingProxyType(
    {
        408: Patience(3, timedelta(minutes=1)),
        425: Patience(3, timedelta(minutes=1)),
    }
)
"""``http_error`` of 4xx; a status that is not here is final. From 500 on it is ``SERVER_ERROR``."""


def patience(outcome: Outcome, status: int | None) -> Patience | None:
    """The row for a failure; None if it is none, or is not tried again."""
    if outcome is not Outcome.HTTP_ERROR or status is None:
        return PATIENCE[outcome]
    return SERVER_ERROR if status >= 500 else HTTP_PATIENCE.get(status)  # noqa: PLR2004 - 5xx


def next_try(outcome: Outcome, status: int | None, attempts: int, jitter: float) -> timedelta | None:
    """How long to wait before trying again; None: given up.

    ``attempts`` counts the failures in a row, this one included; ``jitter`` is 0..1.
    For ``throttled`` the wait is zero: the domain's own is what holds it back.
    """
    row = patience(outcome, status)
    if row is None or attempts >= row.tries:
        return None
    wait: timedelta = row.first_wait * 2 ** (attempts - 1)
    return wait * (1 + JITTER * jitter)
