"""What limits the crawl at the moment, and what would help: one answer of a few, by a table of rules.

    who lives, what each says of itself, what waits, what is away ──► the first rule that holds ──► what it is, in a sentence

1. There is always an answer, and the same situation always has the same one.
2. What stops a crawl comes before what slows it, and what is certain before what is likely.

Near a limit several hold. The rows are in the order in which lifting one shows the next: a busy event loop makes everything
look slow, a slow database holds turns that would else ask, and only who has none of these waits for pauses or for the sites.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from crawler.core.vitals import Vitals

What: TypeAlias = Literal[
    "nothing",
    "no_worker",
    "database_away",
    "broker_away",
    "memory",
    "descriptors",
    "frontier",
    "politeness",
    "cpu",
    "dns",
    "database",
    "slots",
    "sites",
]

BUSY: Final = 0.85
"""Of one processor, in use by the event loop: above that, what waits waits for it."""
FULL: Final = 0.9
"""Of the slots taken: a turn that ends is followed by another within a moment, so they are never all taken."""
MOSTLY: Final = 0.5
"""Of the turns: what more of them do than this is what they do."""
MANY: Final = 0.3
"""Of the turns: a look-up and a commit are short, so a third of the turns at them is far too many."""
SLOW_COMMIT: Final = 500.0
"""Milliseconds. The recorder makes a transaction in a tenth of it."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known of a moment."""

    vitals: Sequence[Vitals] = ()
    """What each live worker that has said anything said last."""
    workers: int = 0
    """Live ones."""
    slots: int = 0
    visiting: int = 0
    """Domains with a worker."""
    ready: int = 0
    """Domains that could be visited now, and are on no queue."""
    resting: int = 0
    queued: int = 0
    """Domains on the queue."""
    next_in: float | None = None
    """Seconds until the next domain is ready that is not now; None: none ever will be."""
    running: int = 0
    """Crawls."""
    away: Literal["", "database", "broker"] = ""
    """What does not answer us ourselves."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What limits the crawl."""

    what: What
    words: str
    """A sentence: what it is, and what would help."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the workers said, together."""

    turns: int
    resting: int
    asking: int
    writing: int
    lookups: int
    unwritten: int
    cpu: float
    """Of the busiest process: its turns are not taken over by another while it is busy."""
    commit_ms: float
    """The slowest."""

    @classmethod
    def of(cls, vitals: Sequence[Vitals]) -> "_Sums":
        turns, resting, asking, writing, lookups, unwritten = (
            sum(max(0, getattr(one, name)) for one in vitals) for name in _SUMMED
        )
        cpu = max((one.cpu for one in vitals), default=0.0)
        commit_ms = max((one.commit_ms for one in vitals), default=0.0)
        return cls(turns, resting, asking, writing, lookups, unwritten, cpu, commit_ms)

    def part(self, number: int) -> float:
        """Of the turns at work."""
        return number / max(1, self.turns)


_SUMMED: Final = ("turns", "resting", "asking", "writing", "lookups", "unwritten")
_Rule: TypeAlias = tuple[What, Callable[[Situation, _Sums], bool], Callable[[Situation, _Sums], str]]


def _waits(now: Situation) -> bool:
    """Whether there is a domain that could be visited and is not."""
    return now.ready > 0 or now.queued > 0


def _idle(now: Situation, sums: _Sums) -> bool:
    return not (_waits(now) or now.visiting or sums.turns)


def _said(now: Situation, what: str) -> bool:
    return any(what in {one.away, one.lack} for one in now.vitals)


def _domains(number: int) -> str:
    return f"{number:,} domain{'' if number == 1 else 's'}"


def _turns(number: int) -> str:
    return f"{number:,} turn{'' if number == 1 else 's'}"


def _at_work(now: Situation, sums: _Sums) -> str:
    if not sums.turns:
        return (
            f"Nothing stands out: {_domains(now.visiting)} at work, {now.queued:,} on the queue,"
            " and no worker has said yet what it waits for."
        )
    return f"The sites: {_turns(sums.asking)} of {sums.turns:,} wait for an answer. Nothing here would make it faster."


RULES: Final[tuple[_Rule, ...]] = (
    (
        "database_away",
        lambda now, _: now.away == "database" or _said(now, "database"),
        lambda now, _: _away(now, "database", "see that it runs, and that there is room on its disk"),
    ),
    (
        "broker_away",
        lambda now, _: now.away == "broker" or _said(now, "broker"),
        lambda now, _: _away(now, "broker", "see that RabbitMQ runs, and that --amqp is right"),
    ),
    (
        "nothing",
        lambda now, sums: not now.running and not sums.turns,
        lambda *_: (
            "No crawl is running: begin one with crawl seed or crawl run, or go on with one by crawl resume."
        ),
    ),
    (
        "nothing",
        lambda now, sums: _idle(now, sums) and not now.resting and now.next_in is None,
        lambda *_: "All is done: no URL waits for a visit.",
    ),
    (
        "no_worker",
        lambda now, _: now.slots <= 0 or now.workers <= 0,
        lambda *_: (
            "Nobody fetches: start crawl worker with this database, or crawl run for a crawl that was begun by it."
        ),
    ),
    (
        "memory",
        lambda now, _: _said(now, "memory"),
        lambda *_: (
            "Memory is short, so new turns wait: give a worker more of it (CRAWL_MAX_MEMORY), or fewer domains at once."
        ),
    ),
    (
        "descriptors",
        lambda now, _: _said(now, "descriptors"),
        lambda *_: (
            "File descriptors are short, so new turns wait: raise the limit (ulimit -n), or visit fewer domains at once."
        ),
    ),
    (
        "frontier",
        lambda now, sums: _idle(now, sums) and not now.resting,
        lambda now, _: f"Nothing is due: the next URL is in {_span(now.next_in or 0.0)}.",
    ),
    (
        "politeness",
        _idle,
        lambda now, _: (
            f"All {_domains(now.resting)} with something due rest, as they asked or as we owe them. More domains would help."
        ),
    ),
    (
        "cpu",
        lambda _, sums: sums.cpu >= BUSY and sums.turns > 0,
        lambda _, sums: (
            f"A worker's event loop is busy ({sums.cpu:.0%} of a processor): more processes (--processes) or more workers would help."
        ),
    ),
    (
        "database",
        lambda now, sums: (
            sums.turns > 0
            and (sums.part(sums.writing) >= MANY or (sums.commit_ms >= SLOW_COMMIT and sums.unwritten > 0))
            and (sums.part(sums.resting) < MOSTLY or _waits(now))
        ),
        lambda _, sums: (
            f"The database is slow to write: {_turns(sums.writing)} of {sums.turns:,} wait for it, and a commit takes"
            f" {sums.commit_ms:.0f} ms. A faster disk or processor for PostgreSQL would help."
        ),
    ),
    (
        "dns",
        lambda _, sums: sums.turns > 0 and sums.part(sums.lookups) >= MANY,
        lambda _, sums: (
            f"Names are slow to resolve: {sums.lookups:,} look-ups are open for {_turns(sums.turns)}."
            " A name server nearby would help (--dns)."
        ),
    ),
    (
        "slots",
        lambda now, sums: _waits(now) and max(sums.turns, now.visiting) >= FULL * now.slots,
        lambda now, _: (
            f"All {now.slots:,} slots are taken while {_domains(now.ready + now.queued)} could be visited:"
            " more of them (--concurrency) or more workers would help."
        ),
    ),
    (
        "politeness",
        lambda now, sums: (
            sums.part(sums.resting) >= MOSTLY or (not sums.turns and now.resting > now.visiting)
        ),
        lambda now, sums: (
            f"Politeness: {_turns(sums.resting)} of {sums.turns:,} wait for a pause to end"
            f"{f', and {_domains(now.resting)} rest' if now.resting else ''}."
            " More domains would help; a shorter --delay only where it is your own site."
        ),
    ),
    (
        "sites",
        lambda *_: True,
        _at_work,
    ),
)
"""What it is, when, and the words; the first that holds counts. The last always does."""


def limiting(now: Situation) -> Limit:
    """What limits the crawl at that moment."""
    sums = _Sums.of(now.vitals)
    for what, holds, words in RULES:
        if holds(now, sums):
            return Limit(what, words(now, sums))
    raise AssertionError("the last rule holds")


def _away(now: Situation, what: str, help_: str) -> str:
    if now.away == what:
        return f"The {what} does not answer: {help_}."
    few = sum(one.away == what for one in now.vitals)
    return f"The {what} does not answer {few:,} of {len(now.vitals):,} workers: {help_}."


def _span(seconds: float) -> str:
    for unit, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} seconds"
