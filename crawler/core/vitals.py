"""What a worker says of itself every few seconds: how busy it is, and with what."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a worker process was in the last *seconds*. Kept as JSON in ``workers.vitals``; every field may be missing there."""

    seconds: float = 0.0
    """Over how long the rates below were measured."""
    pages: float = 0.0
    """Newly stored or found unchanged, a second."""
    fetches: float = 0.0
    """Attempts written down, a second, sitemaps included: rows of the table fetches."""
    bytes: float = 0.0
    """Over the wire, a second, of these attempts."""
    cpu: float = 0.0
    """Cores in use by the process itself: 1.0 is all that one event loop can have."""
    parsing: float = 0.0
    """Cores in use by its parser processes."""
    memory: int = 0
    memory_limit: int | None = None
    open_files: int = 0
    open_files_limit: int = 0
    turns: int = 0
    """At work."""
    resting: int = 0
    """Turns of which every slot waits for a pause to end."""
    asking: int = 0
    """Turns with a request open."""
    writing: int = 0
    """Turns that wait for the recorder: at their end, or because too much is not on disk yet."""
    requests: int = 0
    """Open."""
    lookups: int = 0
    """Names being looked up."""
    unwritten: int = 0
    """Visits not on disk yet, those included that are being written."""
    commit_ms: float = 0.0
    """Mean of a recording transaction, in that time, or the age of the one under way if that is more; 0: there was none."""
    away: str = ""
    """What does not answer: the database or the broker."""
    lack: str = ""
    """What there is too little of: memory or descriptors."""
    renewals_missed: int = 0
    """Of leases, since it began."""
    dns: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By server: questions answered and not answered, since it began."""
    clock_skew: float = 0.0
    """Seconds by which its clock is ahead of the database's, at least, as the heartbeat before this one found; negative: behind."""
    user_agent: str = ""
    """What it calls itself where a crawl has no name of its own; empty: it did not say, nor the two below."""
    delay: float = 0.0
    """How long it leaves a domain alone after an answer, if nobody wants longer."""
    per_domain: int = 1
    """How many requests to one domain it may have open at once."""
