"""What a turn has learned of hosts that do not answer: their other URLs are not asked for in this turn.

A dead domain condemns its turn, not the crawl: each URL has an outcome of its own, and is tried again by its own patience.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from crawler.core.model import Outcome
from crawler.core.urls import host_of


@dataclass(frozen=True, slots=True)
class Blame:
    """Whom a failure speaks against, and how many of them in a row it takes."""

    whom: Literal["host", "origin"]
    times: int


BLAME: Final[Mapping[Outcome, Blame]] = MappingProxyType(
    {
        Outcome.DNS_ERROR: Blame("host", 1),
        Outcome.ADDRESS_REFUSED: Blame(
            "origin", 1
        ),  # it may be the port: a link to another is no fault of the site
        Outcome.CONNECT_ERROR: Blame(
            "origin", 2
        ),  # one may be a burst of ours that filled the server's backlog
        Outcome.TLS_ERROR: Blame("origin", 1),
    }
)


class Condemnations:
    """The hosts and origins of one turn that are not worth another request."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, Outcome, str]] = {}

    def failed(self, origin: str, outcome: Outcome, detail: str, *, times: int = 1) -> None:
        """A request to *origin* ended so; *times* makes one count for several (a failed robots.txt is enough)."""
        blame = BLAME.get(outcome)
        if blame is None:
            return
        whom = _blamed(origin, blame)
        before = self._failed.get(whom, (0, outcome, ""))[0]
        self._failed[whom] = (before + times, outcome, detail)

    def answered(self, origin: str) -> None:
        """The origin has answered: what failed before was not its death."""
        self._failed.pop(origin, None)

    def verdict(self, origin: str) -> tuple[Outcome, str] | None:
        """The outcome and its detail for every other URL of a condemned origin; None: ask."""
        for whom in (host_of(f"{origin}/"), origin):
            found = self._failed.get(whom)
            if found is not None and found[0] >= BLAME[found[1]].times:
                return found[1], found[2]
        return None


def _blamed(origin: str, blame: Blame) -> str:
    return host_of(f"{origin}/") if blame.whom == "host" else origin
