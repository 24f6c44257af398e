"""What the crawler tells while it works inside of somebody else's program: to that program's own log, and not to its output.

    our event ──► has the program set structlog up? ──yes──► as it has said
                              └──no──► logging.getLogger("crawler"), which shows warnings and worse unless it is told otherwise

1. Neither structlog nor logging is set up for the program. What it says itself goes where it went.
2. No secret of the settings is in what is told.
"""

import contextlib
import contextvars
import logging
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

import structlog

from crawler.core.masking import without
from crawler.telemetry import LEVELS, Event

LOG: Final = logging.getLogger("crawler")

_secrets: Final["contextvars.ContextVar[frozenset[str] | None]"] = contextvars.ContextVar(
    "secrets_of_the_crawl", default=None
)
"""Of the crawl that this is a part of; None: it is the program itself that speaks."""
_lock: Final = threading.Lock()
_users = 0


@contextlib.contextmanager
def quiet(secrets: Iterable[str] = ()) -> Iterator[None]:
    """Tell the program's log, and of *secrets* nothing, in this context and in those that are made from it."""
    token = _secrets.set(frozenset(secrets))
    _begin()
    try:
        yield
    finally:
        _end()
        _secrets.reset(token)


def _begin() -> None:
    global _users  # noqa: PLW0603 - structlog is set up for the whole process, and crawls may run beside each other
    with _lock:
        _users += 1
        if not structlog.is_configured():
            structlog.configure(processors=[_pass_on, *structlog.get_config()["processors"]])


def _end() -> None:
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if not _users and structlog.get_config()["processors"][:1] == [_pass_on]:
            structlog.reset_defaults()


def _pass_on(_logger: Any, method: str, event: Event) -> Event:
    secrets = _secrets.get()
    if secrets is None:
        return event
    level = LEVELS.get(method, logging.CRITICAL)
    if LOG.isEnabledFor(level):
        raised = event.pop("exc_info", None)
        said = " ".join(
            [str(event.pop("event", "")), *(f"{name}={value!r}" for name, value in event.items())]
        )
        LOG.log(level, "%s", without(said, secrets), exc_info=raised)
    raise structlog.DropEvent
