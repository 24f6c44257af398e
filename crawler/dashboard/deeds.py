"""What was done: the answers to those who change something."""

from typing import Literal

from pydantic import Field

from crawler.dashboard.models import CrawlShort, Told


class Seeded(Told):
    """A crawl that was made or extended, and what became of its seeds."""

    crawl: CrawlShort
    created: bool
    """Whether it is new."""
    lines: int
    """Seeds that were sent."""
    new: int
    known: int
    """On the frontier already, or named twice."""
    bad: int
    """No URLs, or none that this crawl takes."""
    again: int
    """Of the known: had failed, and are tried again."""
    forgotten: int
    """Of domains that were forgotten by request."""
    notes: list[str]
    """What a person should know: the first bad ones, blocked domains."""


class Steered(Told):
    """A crawl that was paused, resumed or cancelled."""

    crawl: str
    state: str
    changed: bool
    """false: it was so before."""


class Deleting(Told):
    """A crawl that is being removed: it takes a while, and goes on by itself, also when the dashboard ends and begins again."""

    crawl: str
    state: Literal["deleting"] = "deleting"


class Blocked(Told):
    """A domain that was blocked or unblocked."""

    domain: str
    blocked: str | None
    """Why; null: it is not."""
    changed: bool
    """false: it was so before."""


class Retried(Told):
    """What came of a dead letter that was tried again."""

    id: str
    retry: Literal["armed", "still due", "visited", "erased", "published", "refused"]
    domain: str | None
    urls: int = Field(description="How many are due again.")
    words: str


class Dropped(Told):
    """How many dead letters were removed."""

    dropped: int
