"""How a run shows itself: live on a terminal, a line every ten seconds elsewhere, or not at all. On stderr, always."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crawler.phrases import count, size, span
from crawler.progress import Progress, waits_for

EVERY: Final = 10.0
"""Seconds between lines of progress."""
WINDOW: Final = 10.0
"""Seconds over which the speed is taken."""
GOOD: Final = frozenset({"ok", "not_modified", "redirect"})
CHOSEN: Final = frozenset({"robots_refused", "scope_refused", "address_refused", "type_refused", "gone"})


class Teller(Protocol):
    """Shows progress; called several times a second."""

    def __call__(self, progress: Progress, waiting: Sequence[Any]) -> None:
        """Show it. *waiting*: what is still open, asked for only when nothing is at work."""

    def stopping(self) -> None:
        """Say that the run was told to stop."""


@contextlib.contextmanager
def telling(title: str, *, quiet: bool, every: float = EVERY) -> Iterator[Teller]:
    """The teller that fits where stderr goes. *every*: seconds between its lines where that is no terminal."""
    console = Console(stderr=True)
    if quiet:
        yield Silent()
    elif console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield OnTerminal(title, live)
    else:
        yield InLines(every)


class Silent:
    """Says nothing."""

    def __call__(self, progress: Progress, waiting: Sequence[Any]) -> None:
        """Say nothing."""

    def stopping(self) -> None:
        """Say nothing."""


class _Speed:
    """Pages a second, over the last moments."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def __call__(self, pages: int) -> float:
        now = self._clock()
        self._seen.append((now, pages))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW:  # noqa: PLR2004 - two make a difference
            self._seen.popleft()
        then, before = self._seen[0]
        return (pages - before) / (now - then) if now > then else 0.0


class InLines:
    """A plain line every now and then."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = time.monotonic()
        self._speed = _Speed()

    def __call__(self, progress: Progress, waiting: Sequence[Any]) -> None:
        """Print the line when it is time."""
        speed = self._speed(progress.pages)
        if time.monotonic() - self._last < self._every:
            return
        self._last = time.monotonic()
        click.echo(
            f"crawl: {progress.pages:,} pages, {speed:.1f} pages/s, {size(progress.wire_bytes)}, "
            f"{progress.active} domains active; waits for {_reason(progress, waiting)}",
            err=True,
        )

    def stopping(self) -> None:
        """Say so."""
        click.echo(
            "crawl: stopping when the open requests have ended; interrupt again to stop at once", err=True
        )


class OnTerminal:
    """A few lines that move."""

    def __init__(self, title: str, live: Live) -> None:
        self._title = title
        self._live = live
        self._began = time.monotonic()
        self._speed = _Speed()
        self._stopping = False

    def __call__(self, progress: Progress, waiting: Sequence[Any]) -> None:
        """Draw them anew."""
        speed = self._speed(progress.pages)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        head = Text.assemble(
            (f"{progress.pages:,}", "bold green"), " pages  ", (f"{speed:.1f}", "bold"), " pages/s  ",
            size(progress.wire_bytes), "  ", span(time.monotonic() - self._began),
        )  # fmt: skip
        table.add_row(self._title, head)
        table.add_row(
            "domains", f"{progress.active:,} active, {count(progress.open_requests, 'request')} open"
        )
        if progress.outcomes:
            table.add_row("outcomes", _outcomes(progress))
        said = "stopping; Ctrl-C again to stop at once" if self._stopping else _reason(progress, waiting)
        table.add_row(
            "stopping" if self._stopping else "waits for",
            Text(said, style="yellow" if self._stopping else ""),
        )
        self._live.update(table)

    def stopping(self) -> None:
        """Say so from now on."""
        self._stopping = True


def _outcomes(progress: Progress) -> Text:
    text = Text()
    for outcome, n in sorted(progress.outcomes.items(), key=lambda item: -item[1]):
        style = "green" if outcome in GOOD else "dim" if outcome in CHOSEN else "yellow"
        text.append(f"{n:,} {outcome}  ", style)
    return text


def _reason(progress: Progress, waiting: Sequence[Any]) -> str:
    """What the run waits for; when nothing is at work, what the frontier says."""
    if said := waits_for(progress):
        return said
    if not waiting:
        return "the frontier: looking for what is due"
    urls = sum(row["urls"] for row in waiting)
    soonest = min((row["next_at"] for row in waiting if row["next_at"] is not None), default=None)
    if soonest is None:
        return f"nothing due: {count(urls, 'URL')} of blocked domains"
    left = (soonest - datetime.now(UTC)).total_seconds()
    if left <= 0:
        return "the frontier: handing out what is due"
    return f"nothing due: {count(urls, 'URL')}, the next in {span(left)}"
