"""What all crawls share: workers, the queue, the timetable, and how it all is."""

from datetime import datetime
from typing import Any, Literal

from crawler.core.limiting import What
from crawler.dashboard.models.answers import Rate, Series, Told


class Frontier(Told):
    """The domains by what they wait for. Counts stop at ``most``: a larger one is told as ``most``."""

    ready: int
    """Could be visited now, and are on no queue."""
    resting: int
    """Something is due, and their pause is not over."""
    queued: int
    """On the queue."""
    held: int
    """With a worker."""
    most: int
    """Counts end here: 10,000 means 10,000 or more."""
    urls: int
    """Known in all crawls."""
    waiting: int
    """Of these, without an outcome yet."""
    oldest_domain: str | None
    """Ready for longest, and on no queue."""
    oldest_since: datetime | None


class QueueState(Told):
    """The queue of turns."""

    carrier: Literal["PostgreSQL", "RabbitMQ"]
    waiting: int | None
    """Turns; null: it does not answer."""
    dead: int | None
    """Dead letters."""
    trouble: str | None
    """Why it does not answer."""


class Limiting(Told):
    """What limits the crawl at the moment."""

    what: What
    words: str
    """A sentence: what it is, and what would help."""


class WorkerState(Told):
    """A worker or a scheduler, as it said itself within the last ten seconds or so."""

    id: str
    host: str
    pid: int
    version: str
    queue: str
    """What carries its turns: ``postgres`` or ``rabbit``."""
    scheduler: bool
    slots: int
    """Domains it visits at once, at most."""
    visiting: int
    started_at: datetime
    seen_at: datetime
    silent: bool
    """Was not seen for a minute: dead, or cut off."""
    vitals: dict[str, Any]
    """What it said of itself: `crawler.core.vitals.Vitals`; empty: nothing yet."""


class Cost(Told):
    """What the pages cost, from the price that the operator set (``CRAWL_WORKER_PRICE``)."""

    per_million_pages: float | None
    """null: nothing is being fetched, so no price can be told."""
    unit: str
    """Such as ``EUR``; empty: none was named."""
    workers: int
    """Live worker processes: ``crawl worker --processes 4`` has four."""
    price: float
    """Of a worker process and an hour."""


class Overview(Told):
    """Is the crawl healthy, what does it wait for, and who is unhappy?"""

    now: datetime
    version: str
    rate: Rate
    hour: Series
    """The last hour, by minute."""
    outcomes: dict[str, int]
    """Attempts of the last hour."""
    frontier: Frontier
    queue: QueueState
    workers: int
    """Live worker processes, without schedulers."""
    schedulers: int
    """Live ones."""
    silent: int
    """Worker processes that were not seen for a minute."""
    silent_schedulers: int = 0
    slots: int
    visiting: int
    limiting: Limiting
    cost: Cost | None
    """null: no price is set."""
    crawls: dict[str, int]
    """By state."""
    database_bytes: int
    job_trouble: list[str]
    """Jobs of the timetable that failed or are late, and clocks of workers that are more than 5 s off the database's."""


class JobState(Told):
    """A job of the timetable."""

    name: str
    about: str
    every: float
    everybody: bool
    """Whether each scheduler does it for itself; then nothing is known of its runs."""
    last_at: datetime | None
    ms: int | None
    result: Literal["done", "failed"] | None
    detail: str
    next_at: datetime | None
    late: bool
    """Whether it should have begun a while ago."""


class CrawlRule(Told):
    """When a crawl is visited again."""

    crawl: str
    state: str
    rule: str
    words: str
    due: int
    """URLs that are due; at most 1,000 are counted."""
    next_at: datetime | None


class Schedule(Told):
    """The timetable."""

    schedulers: int
    leader: str | None
    jobs: list[JobState]
    crawls: list[CrawlRule]


class LetterState(Told):
    """A turn that failed too often."""

    id: str
    kind: Literal["turn", "another version", "no turn"]
    buried_at: datetime | None
    reason: str
    domain: str | None
    urls: list[str]
    """The first ten."""
    count: int
