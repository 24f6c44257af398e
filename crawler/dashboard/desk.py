"""The desk: what every answer of the API and every page needs at hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from crawler.adapters.postgres import Database
from crawler.alerts import Alerts
from crawler.dashboard.fresh import Fresh
from crawler.dashboard.letter_box import LetterBox
from crawler.opening import Opened
from crawler.ports import Queue
from crawler.settings import Settings


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job of the timetable: what it does, and how often."""

    name: str
    about: str
    every: float
    """Seconds."""
    everybody: bool
    """Whether each scheduler does it for itself."""


@dataclass(slots=True)
class Desk:
    """What every answer needs."""

    settings: Settings
    place: Opened
    """Where the database is, and how to start it again."""
    queue: Queue
    """As everybody here may use it at once: `letters`."""
    carrier: Literal["PostgreSQL", "RabbitMQ"]
    jobs: tuple[JobLine, ...]
    """The timetable: handed in, because nothing but the commands knows the scheduler."""
    fresh: Fresh = field(default_factory=Fresh)
    """What was found out a moment ago, for all viewers."""

    alerts: Alerts = field(default_factory=Alerts)
    """Who is told of what is critical."""
    waits_for: Callable[[], str] = str
    """Why the dashboard has not begun, in a line; empty: it has."""
    away: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the database was found away: whoever runs the dashboard sees to it."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the dashboard ends: whoever keeps an answer open lets go of it."""
    letters: LetterBox = field(init=False)
    """The queue's dead letters, which one has in hand at a time."""

    def __post_init__(self) -> None:
        self.queue = self.letters = LetterBox(self.queue)

    @property
    def database(self) -> Database:
        """The database, open."""
        return self.place.database
