"""Events to Sentry, through its SDK with everything automatic off.

    send ──► event, masked ──► queue of at most 20 ──► the SDK's thread ──► Sentry

1. Nothing but what `send` is given goes there: no breadcrumbs, no local variables, no logs, no sessions, nothing of the environment
   (``send_default_pii`` is off unless asked for).
2. Every text of an event goes through `mask`, what exceptions say through `summarize`.
3. A Sentry that is away or slow costs nothing: what does not fit into the queue is dropped, and `close` waits for 2 s at most.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from sentry_sdk import Client
from sentry_sdk.transport import HttpTransport
from sentry_sdk.utils import event_from_exception
from urllib3 import Retry

from crawler.ports import Event

QUEUED: Final = 20
"""Events that wait to be sent: there are seven kinds, each every five minutes (of hooks, each hook)."""
KEPT: Final = 4
"""Descriptors: the name of the Sentry is looked up, its certificate is checked, and others are quick to take what is free."""
PATIENCE: Final = 5
"""Seconds for an answer."""

Mask = Callable[[str], str]


logging.getLogger("urllib3").setLevel(logging.ERROR)  # that it tries again is nobody's business


class _Transport(HttpTransport):
    """Keeps descriptors back for itself, and tries again for some ten seconds: that they have run out may be what it is to tell."""

    TIMEOUT = PATIENCE

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._kept: list[int] = []
        self._keep()

    def _get_pool_options(self) -> dict[str, Any]:
        again = Retry(total=20, connect=20, read=0, redirect=0, status=0, backoff_factor=0.1, backoff_max=0.5)
        return {**super()._get_pool_options(), "retries": again}

    def _request(self, *args: Any, **more: Any) -> Any:
        self._let_go()
        try:
            return super()._request(*args, **more)
        finally:
            self._keep()

    def kill(self) -> None:
        """Send nothing more."""
        super().kill()
        self._let_go()

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # none to be had now: perhaps the next time
            while len(self._kept) < KEPT:
                self._kept.append(os.open(os.devnull, os.O_RDONLY))

    def _let_go(self) -> None:
        with contextlib.suppress(IndexError):  # all are; the end of the program may do the same meanwhile
            while True:
                os.close(self._kept.pop())


class Sentry:
    """A client of its own: the SDK's global one is left alone.

    Args:
        dsn: where the events go.
        release: the version of the program.
        mask: takes what is secret out of any text.
        summarize: makes of what an exception says what may be told.
    """

    def __init__(self, dsn: str, *, release: str, mask: Mask, summarize: Mask) -> None:
        self._mask = mask
        self._summarize = summarize
        self._client = Client(
            dsn=dsn,
            release=release,
            server_name=socket.gethostname(),
            transport=_Transport,
            transport_queue_size=QUEUED,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_breadcrumbs=0,
            max_request_body_size="never",
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            before_send=self._last_look,
            # Given, so that nothing else is taken from the environment.
            debug=False,
            spotlight=False,
        )

    def send(self, event: Event) -> None:
        """Queue an event; neither waits nor raises."""
        made: dict[str, Any] = {}
        hint: dict[str, Any] = {}
        if event.error is not None:
            made, hint = event_from_exception(event.error, client_options=self._client.options)  # type: ignore[assignment]
        made |= {
            "level": "fatal",
            "logentry": {"formatted": event.message},
            "fingerprint": ["faircrawl", event.kind, *filter(None, [event.tags.get("hook")])],
            "tags": {**event.tags, "kind": event.kind},
            "contexts": {"trouble": dict(event.facts)},
        }
        self._client.capture_event(made, hint)  # type: ignore[arg-type]

    def close(self, seconds: float) -> None:
        """Send what waits, for so long at most."""
        self._client.close(timeout=seconds)

    def _last_look(self, event: Any, _hint: Any) -> Any:
        """The event as it may leave. Should this raise, the SDK drops the event."""
        for one in event.get("exception", {}).get("values", ()):
            if one.get("value"):
                one["value"] = self._summarize(str(one["value"]))
        return self._masked(event)

    def _masked(self, part: Any) -> Any:
        match part:
            case str():
                return self._mask(part)
            case dict():
                return {name: self._masked(value) for name, value in part.items()}
            case list() | tuple():
                return [self._masked(value) for value in part]
        return part
