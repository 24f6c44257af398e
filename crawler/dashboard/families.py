"""Outcomes by family: what a chart and a list colour alike. Told by colour, by sign and by word."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from crawler.core.model import Outcome


@dataclass(frozen=True, slots=True)
class Family:
    """Outcomes that mean the same to an operator."""

    key: str
    """Also the name of its CSS class."""
    name: str
    about: str


GOOD: Final = Family("good", "stored or unchanged", "read to the end, or unchanged")
MOVED: Final = Family("moved", "redirect", "the site sends us elsewhere")
REFUSED: Final = Family("refused", "refused", "we chose not to fetch: robots, scope, address or type")
GONE: Final = Family("gone", "gone", "the site says that there is no such page")
THROTTLED: Final = Family("throttled", "throttled", "the site wants to be left alone for a while")
FAILED: Final = Family("failed", "failed", "an error, no answer, or one that cannot be read")
WAITING: Final = Family("waiting", "not visited", "nobody has asked for it yet")

FAMILIES: Final = (GOOD, MOVED, REFUSED, GONE, THROTTLED, FAILED, WAITING)
"""In the order in which they are stacked."""

FAMILY: Final[Mapping[str, Family]] = MappingProxyType(
    {
        Outcome.OK: GOOD,
        Outcome.NOT_MODIFIED: GOOD,
        Outcome.REDIRECT: MOVED,
        Outcome.GONE: GONE,
        Outcome.HTTP_ERROR: FAILED,
        Outcome.THROTTLED: THROTTLED,
        Outcome.ROBOTS_REFUSED: REFUSED,
        Outcome.SCOPE_REFUSED: REFUSED,
        Outcome.ADDRESS_REFUSED: REFUSED,
        Outcome.TYPE_REFUSED: REFUSED,
        Outcome.TOO_LARGE: FAILED,
        Outcome.TOO_SLOW: FAILED,
        Outcome.DNS_ERROR: FAILED,
        Outcome.CONNECT_ERROR: FAILED,
        Outcome.TLS_ERROR: FAILED,
        Outcome.TIMEOUT: FAILED,
        Outcome.PROTOCOL_ERROR: FAILED,
        Outcome.DECODE_ERROR: FAILED,
        "": WAITING,
    }
)


def family_counts(outcomes: Mapping[str, int]) -> dict[Family, int]:
    """How many of each family; an outcome that nobody knows counts as failed."""
    counts = dict.fromkeys(FAMILIES, 0)
    for outcome, count in outcomes.items():
        counts[FAMILY.get(outcome, FAILED)] += count
    return counts
