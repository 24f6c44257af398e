"""What is critical: what *we* do wrong or lack, told once, to the log and to Sentry if there is one.

    a fault, or a lack ──► Trouble ──► told in the last five minutes? ──no──► log, Sentry: what it is, what to do, how many were held back
                                             └──yes──► counted

1. What a site does is an outcome and never comes here.
2. Each kind (of hooks: each hook) is told at most once in five minutes by one process; the next telling says how many were held back.
3. What is away is critical when it has been away for `after` seconds; what is away when we begin is the user's to see, and not told.
4. Telling never waits and never raises.

Each process of `crawl run --processes N`, and each worker on many machines, tells for itself: Sentry groups by kind (of hooks: by hook).
"""

import contextlib
import errno
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import structlog

from crawler import __version__
from crawler.core.errors import (
    BrokerError,
    DatabaseError,
    DatabaseUnavailableError,
    FaircrawlError,
    leaves,
)
from crawler.core.masking import masked, summary
from crawler.ports import Event, Sends
from crawler.settings import Settings, secrets_in

log: Final = structlog.get_logger()

EVERY: Final = 300.0
"""Seconds between two tellings of one kind."""
AFTER: Final = 60.0
"""Seconds for which something may be away before that is critical."""
GAP: Final = 30.0
"""Seconds without a failed attempt after which something is not away any more: longer than one attempt takes."""
FAREWELL: Final = 2.0
"""Seconds for the last events at the end."""
OUR_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS})


class Trouble(StrEnum):
    """The kinds of what is critical."""

    DATABASE = "database"
    BROKER = "broker"
    MEMORY = "memory"
    DESCRIPTORS = "descriptors"
    DEAD_LETTER = "dead letter"
    HOOK = "hook"
    BUG = "bug"


ADVICE: Final[Mapping[Trouble, str]] = MappingProxyType(
    {
        Trouble.DATABASE: "The database does not do its work: see that PostgreSQL runs, can be reached and has room on its disk.",
        Trouble.BROKER: "RabbitMQ cannot be reached: see that it runs and that the network lets us through.",
        Trouble.MEMORY: (
            "Memory is at its limit, and new turns wait: lower CRAWL_DOMAINS_AT_ONCE, or raise CRAWL_MAX_MEMORY."
        ),
        Trouble.DESCRIPTORS: (
            "Descriptors have run out, and turns come back later: raise ulimit -Hn, or lower CRAWL_DOMAINS_AT_ONCE."
        ),
        Trouble.DEAD_LETTER: "A turn was given up: see `crawl dead list`, then try it again or drop it.",
        Trouble.HOOK: "A hook failed: the page is kept without what it would have said; mend the hook, or leave it out.",
        Trouble.BUG: "An exception that nobody expected: this is a bug in faircrawl, report it.",
    }
)
"""What it means and what to do, in a sentence."""


@dataclass(slots=True)
class Hush:
    """Who may speak: each kind once in *every* seconds."""

    every: float = EVERY
    _told: dict[str, float] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)

    def admits(self, kind: str, now: float) -> int | None:
        """How many were held back since the last telling; None: this one is held back too."""
        if now - self._told.get(kind, -math.inf) < self.every:
            self._held[kind] = self._held.get(kind, 0) + 1
            return None
        self._told[kind] = now
        return self._held.pop(kind, 0)


@dataclass(slots=True)
class Absences:
    """For how long what we need has been away, by the attempts that failed."""

    gap: float = GAP
    _seen: dict[str, tuple[float, float]] = field(default_factory=dict)

    def failed(self, what: str, now: float) -> float:
        """An attempt has failed: seconds since the first of those that failed in a row."""
        first, last = self._seen.get(what, (now, now))
        if now - last > self.gap:
            first = now
        self._seen[what] = first, now
        return now - first


class Alerts:
    """Tells what is critical.

    Args:
        sender: Sentry, or None.
        after: seconds for which the database or the broker may be away before that is critical.
        clock: `time.monotonic`, or what a test hands in.
        tags: what every event says: the crawl, say.
    """

    def __init__(
        self,
        sender: Sends | None = None,
        *,
        after: float = AFTER,
        clock: Callable[[], float] = time.monotonic,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._sender = sender
        self._after = after
        self._clock = clock
        self._hush = Hush()
        self._absences = Absences()
        self.tags = dict(tags or {})
        self.at_work = False
        """Whether work has begun: before, whoever started us is there to see what is away."""

    def critical(
        self, kind: Trouble, about: str = "", *, error: BaseException | None = None, of: str = "", **tags: str
    ) -> None:
        """This has happened. *about*: what exactly, in a few words of ours; *of*: what is told apart; *tags*: domain, crawl."""
        held = self._hush.admits(f"{kind} {of}", self._clock())
        if held is None:
            log.debug("trouble.repeated", kind=kind.value, about=about)
            return
        facts: dict[str, str | int] = {"held_back": held}
        if about:
            facts["about"] = about
        # Where a bug was raised is worth a traceback; that a database is away is not.
        how = {"exc_info": error} if kind is Trouble.BUG else {} if error is None else {"reason": str(error)}
        log.critical("trouble.met", kind=kind.value, advice=ADVICE[kind], **how, **facts, **tags)
        if self._sender is not None:
            self._sender.send(
                Event(message=ADVICE[kind], kind=kind.value, tags=self.tags | tags, facts=facts, error=error)
            )

    def away(self, error: FaircrawlError) -> None:
        """An attempt to reach the database or the broker has failed: critical when they have been away for long."""
        kind = trouble_of(error)
        if kind not in {Trouble.DATABASE, Trouble.BROKER}:  # we lack descriptors to reach them with
            self.fault(error)
        elif (seconds := self._absences.failed(kind, self._clock())) >= self._after:
            self.critical(kind, f"away for {seconds:.0f} s", error=error)

    def fault(self, error: BaseException, **tags: str) -> Trouble | None:
        """An exception came where none was expected: what it is, once it is told; None: the user's business."""
        kind = trouble_of(error)
        if kind is not None:
            self.critical(kind, error=error, **tags)
        return kind

    def ended_by(self, error: Exception) -> None:
        """The process ends by this exception."""
        kind = trouble_of(error)
        theirs = kind in {Trouble.DATABASE, Trouble.BROKER} and not self.at_work
        if kind is not None and not theirs:
            self.critical(kind, "the process ends", error=error)


def trouble_of(error: BaseException) -> Trouble | None:
    """What kind of trouble an exception is; None: it is told to whoever gave the command, and to nobody else."""
    chain = list(_chain(error))
    lacks = {one.errno for one in chain if isinstance(one, OSError)}
    if lacks & OUR_FILES or (errno.EADDRNOTAVAIL in lacks and isinstance(leaves(error)[0], FaircrawlError)):
        return Trouble.DESCRIPTORS
    if any(isinstance(one, MemoryError) for one in chain):
        return Trouble.MEMORY
    kinds = {_kind(leaf) for leaf in leaves(error)}
    if isinstance(error, OSError):  # a file that cannot be written, say: one line to the user
        return None
    return next((kind for kind in (Trouble.BUG, Trouble.DATABASE, Trouble.BROKER) if kind in kinds), None)


def _kind(leaf: BaseException) -> Trouble | None:
    match leaf:
        case DatabaseUnavailableError():
            return Trouble.DATABASE
        case BrokerError():
            return Trouble.BROKER
        case FaircrawlError() if type(leaf) is not DatabaseError:
            return None
    # A DatabaseError that is none of its kinds is an answer of PostgreSQL that no statement of ours should get.
    return Trouble.BUG if isinstance(leaf, Exception) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The leaves of an exception, and what each of them came from."""
    for leaf in leaves(error):
        seen: set[int] = set()
        one: BaseException | None = leaf
        while one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            one = one.__cause__ or one.__context__


@contextlib.contextmanager
def alerting(settings: Settings, **tags: str) -> Iterator[Alerts]:
    """What is critical inside is told as the settings say; so is the exception that leaves, and it leaves all the same."""
    if settings.sentry_dsn is None:
        alerts = Alerts(after=settings.alert_after, tags=tags)
        with _told(alerts):
            yield alerts
        return
    from crawler.adapters.sentry import Sentry  # noqa: PLC0415 - imported only where there is a DSN

    secrets = secrets_in(settings)
    sentry = Sentry(
        settings.sentry_dsn,
        release=f"faircrawl@{__version__}",
        mask=lambda text: masked(text, secrets),
        summarize=lambda text: masked(summary(masked(text, secrets)), secrets),
    )
    alerts = Alerts(sentry, after=settings.alert_after, tags=tags)
    try:
        with _told(alerts):
            yield alerts
    finally:
        sentry.close(FAREWELL)


@contextlib.contextmanager
def _told(alerts: Alerts) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        alerts.ended_by(error)
        raise
