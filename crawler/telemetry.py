"""Logs: events with a noun and what was done to it, on stderr; never a line for each page."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

from crawler.core.errors import leaves


def configure(*, debug: bool = False) -> None:
    """Log warnings and errors as one line each; with *debug*, everything, and errors with their traceback."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.processors.format_exc_info if debug else _in_one_line,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.WARNING),
        # Asked for anew each time: whoever calls a command as a function may have put another stream there, and close it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _in_one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its last line and where it was raised."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        error = leaves(error)[0]
        event["error"] = f"{type(error).__name__}: {error}"
        for place in traceback.extract_tb(error.__traceback__)[-1:]:
            event["at"] = f"{place.filename}:{place.lineno}"
    return event
