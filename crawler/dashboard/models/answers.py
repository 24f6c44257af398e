"""What every answer is."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class Told(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Trouble(Told):
    """Why something was not done. ``detail`` says what is wrong, and what to do next."""

    detail: str


class Rate(Told):
    """How much of something happens in a second, lately."""

    pages: float
    """Pages newly stored or found unchanged, a second."""
    fetches: float
    """Attempts a second, whatever their outcome."""
    bytes: float
    """Over the wire, a second."""
    seconds: float
    """Over how many seconds that was measured."""


class Point(Told):
    """What happened in one step of a series."""

    at: datetime
    """Where the step begins."""
    outcomes: dict[str, int]
    """Attempts by outcome."""
    bytes: int
    ms: int
    """Of all attempts together."""


class Series(Told):
    """Attempts over time."""

    since: datetime
    until: datetime
    step: int
    """Seconds."""
    points: list[Point]
    """One a step, the oldest first; steps in which nothing happened are there too."""


class Attempt(Told):
    """One row of ``fetches``."""

    at: datetime
    url: str | None
    crawl: str | None
    outcome: str
    status: int | None
    bytes: int
    ms: int
    worker: str
    detail: str
