"""Logs: events with a noun and what was done to it, on stderr; never a line for each page.

    debug    for who develops Faircrawl
    info     for an operator who looks closer: what was lost and comes back by itself
    warning  what an operator should know; from here on it is written unless the setting LOG_LEVEL says otherwise
    error    somebody must act; `critical`: now

1. As JSON an event is one object on a line: timestamp (ISO 8601, UTC), level, event, host, pid, worker where there is one, its facts, and
   of an exception the traceback.
2. What libraries tell is an event too: ``library.warned``.
3. Whoever calls a command as a function may put another stream in place of stderr at any time.
4. No secret of the settings is in what is written, whoever says it: what is known as one is taken out last.
"""

import logging
import os
import socket
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any, Final, Literal, TypeAlias

import structlog

from crawler.core.errors import leaves
from crawler.core.masking import without

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Event: TypeAlias = MutableMapping[str, Any]

log: Final = structlog.get_logger()


def configure(
    *, debug: bool = False, form: str = "console", level: str = "warning", secrets: Iterable[str] = ()
) -> None:
    """Log from this level on, for a person (*form* console) or for a program (json); of *secrets* nothing is ever written.

    With *debug*, or from that level on, a person sees the traceback of an error, else where it was raised.
    """
    level = "debug" if debug else level
    _VEIL.secrets = frozenset(secrets)
    structlog.configure(
        processors=_processors(form, debug=level == "debug"),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # Asked for anew each time: whoever calls a command as a function may have put another stream there, and close it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, OfLibraries)] + [OfLibraries()]


def announce(
    form: str, text: str, event: str, *, level: Literal["info", "warning"] = "info", **facts: object
) -> None:
    """Tell who started the program, whatever is logged: a person in words, a program by an event."""
    if form == "json":
        processors = _processors(form, debug=False)
        printer = structlog.PrintLogger(sys.stderr)
        speaker = structlog.wrap_logger(printer, processors, structlog.BoundLogger)
        getattr(speaker, level)(event, message=text, **facts)
    else:
        mark = "warning: " if level == "warning" else ""
        sys.stderr.write(f"crawl: {mark}{without(text, _VEIL.secrets)}\n")
        sys.stderr.flush()


class OfLibraries(logging.Handler):
    """Makes events of what libraries tell by Python's own log: asyncio of a task that failed, say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Log it."""
        is_error = record.levelno >= logging.ERROR
        facts = {"library": record.name, "message": record.getMessage(), "exc_info": record.exc_info or None}
        lost = record.exc_info and isinstance(record.exc_info[1], OSError)
        if lost and "was never retrieved" in record.getMessage():
            log.info("library.ignored", **facts)  # a connection that was given up before it had failed
        elif is_error:
            log.error("library.failed", **facts)
        else:
            log.warning("library.warned", **facts)


def _processors(form: str, *, debug: bool) -> list[Any]:
    if form == "json":
        return [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _Who(),
            structlog.processors.format_exc_info,
            _VEIL,
            structlog.processors.JSONRenderer(default=str),
        ]
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.processors.format_exc_info if debug else _in_one_line,
        _VEIL,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        ),
    ]


class _Veil:
    """Takes what is known as secret out of everything that an event says, but for what it is called."""

    def __init__(self) -> None:
        self.secrets: frozenset[str] = frozenset()

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        return {
            name: value if name in {"event", "level", "timestamp"} else self._veiled(value)
            for name, value in event.items()
        }

    def _veiled(self, value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case str():
                return without(value, self.secrets)
            case dict():
                return {
                    without(name, self.secrets) if isinstance(name, str) else name: self._veiled(inner)
                    for name, inner in value.items()
                }
            case list() | tuple():
                return [self._veiled(inner) for inner in value]
        # A console shows the one, JSON the other.
        shown = any(without(said, self.secrets) != said for said in (str(value), repr(value)))
        return without(str(value), self.secrets) if shown else value


_VEIL: Final = _Veil()


class _Who:
    """Adds which process says so: many write into one log."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._pid = os.getpid()

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        return {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event"),
                "host": self._host, "pid": self._pid, **event}  # fmt: skip


def _in_one_line(_logger: object, _method: str, event: Event) -> Event:
    """An exception as its last line and where it was raised."""
    given = event.pop("exc_info", None)
    if isinstance(given, tuple):
        given = given[1]
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        error = leaves(error)[0]
        event["error"] = f"{type(error).__name__}: {error}"
        for place in traceback.extract_tb(error.__traceback__)[-1:]:
            event["at"] = f"{place.filename}:{place.lineno}"
    return event
