"""How far a run has come, and what it waits for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crawler.phrases import count


@dataclass(slots=True)
class TurnCounts:
    """What became of turns."""

    accepted: int = 0
    stale: int = 0
    """Dropped, because they were another's by then."""
    lost: int = 0
    dead: int = 0
    """Put with the dead letters."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker, or several together, have done so far, and what they are doing."""

    pages: int = 0
    """Newly stored."""
    visits: int = 0
    """Requests for pages that are written down."""
    wire_bytes: int = 0
    active: int = 0
    """Turns at work: domains being visited."""
    last_commit: float = 0.0
    """``time.time`` of the last commit that had visits; 0: none yet."""
    cpu_seconds: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Visits by outcome, in this run."""
    open_requests: int = 0
    lookups: int = 0
    """Names being looked up."""
    rest: float | None = None
    """Seconds until the next pause is over; None: no turn is at rest."""
    unwritten: int = 0
    """Visits not on disk yet."""
    away: str = ""
    """What does not answer: the database or the broker; empty: all do."""
    lack: str = ""
    """What there is too little of for new turns: memory or descriptors; empty: nothing."""
    late: int = 0
    """Leases that were not renewed when they should have been."""


def together(parts: Sequence[Progress]) -> Progress:
    """Several workers as one."""
    outcomes: Counter[str] = Counter()
    for part in parts:
        outcomes.update(part.outcomes)
    rests = [part.rest for part in parts if part.rest is not None]
    return Progress(
        pages=sum(p.pages for p in parts),
        visits=sum(p.visits for p in parts),
        wire_bytes=sum(p.wire_bytes for p in parts),
        active=sum(p.active for p in parts),
        last_commit=max((p.last_commit for p in parts), default=0.0),
        cpu_seconds=sum(p.cpu_seconds for p in parts),
        outcomes=outcomes,
        open_requests=sum(p.open_requests for p in parts),
        lookups=sum(p.lookups for p in parts),
        rest=min(rests, default=None),
        unwritten=sum(p.unwritten for p in parts),
        away=next((p.away for p in parts if p.away), ""),
        lack=next((p.lack for p in parts if p.lack), ""),
        late=sum(p.late for p in parts),
    )


def waits_for(progress: Progress) -> str:
    """What holds a run up at the moment, in a few words; empty: nothing is at work, so ask the frontier."""
    for what, trouble in (
        (progress.away, "it does not answer"),
        (progress.lack, "at its limit, new turns wait"),
    ):
        if what:
            return f"{what}: {trouble}"
    if progress.lookups and progress.lookups >= progress.open_requests:
        return f"DNS: {count(progress.lookups, 'name')} asked for"
    if progress.open_requests:
        return f"sites: {count(progress.open_requests, 'request')} open"
    if progress.rest is not None:
        return f"politeness: next request in {max(0.0, progress.rest):.1f} s"
    # A domain at work looks to the frontier as if it came due when its lease ends.
    at_work = f"{count(progress.active, 'domain')} at work" if progress.active else ""
    return f"database: {count(progress.unwritten, 'visit')} to write" if progress.unwritten else at_work
