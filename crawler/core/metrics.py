"""What is measured: every metric by name, and what one process says of them.

    counts where they arise ──at a scrape──► Reading ──► added up with what ended before ──► adapters.exposition

1. A metric that is not in a table here is told by nobody, and each in a table is told from the start.
2. Labels are few and bounded: outcomes, phases, name servers, jobs; never a domain, never a URL.
3. What was counted never becomes less, whichever processes end meanwhile.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from crawler.core.model import CrawlState, Outcome

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Packed: TypeAlias = tuple[
    list[tuple[str, tuple[str, ...], float | None]], list[tuple[str, tuple[str, ...], tuple[int, ...], float]]
]
"""A reading in plain values, for JSON; None: infinite."""
Series: TypeAlias = tuple[str, tuple[str, ...]]
"""A metric's name, and the values of its labels."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric is."""

    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()
    """The values of its labels that are told of from the start, as 0."""


def _each(*values: str) -> tuple[tuple[str, ...], ...]:
    return tuple((value,) for value in values)


PHASES: Final = ("dns", "connect", "tls", "first_byte", "body")
DECISIONS: Final = ("allowed", "disallowed", "unreachable")
HOOK_ENDS: Final = ("ok", "refused", "raised", "slow", "died", "wrong", "left_out")
AWAY: Final = ("database", "broker")
SHORT: Final = ("memory", "descriptors")
DOMAINS: Final = ("ready", "resting", "queued", "held")
STATES: Final = ("live", "silent")
UNVISITED: Final = "unvisited"
"""How URLs without an outcome are told of: the database has an empty one."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of every histogram: from a millisecond to the longest a request may take."""

BOTH: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "crawl_build_info": Metric("gauge", "Always 1; its label says which version this is.", ("version",)),
        "crawl_away": Metric("gauge", "1: it does not answer at the moment.", ("what",), _each(*AWAY)),
    }
)
"""What everybody tells."""
WORKER: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "crawl_fetches_total": Metric(
            "counter",
            "Attempts that are written down, by how they ended: the rows of the table fetches.",
            ("outcome",),
            _each(*(outcome for outcome in Outcome if outcome is not Outcome.ROBOTS_REFUSED)),
        ),
        "crawl_visits_total": Metric(
            "counter",
            "Visits to pages that are written down, by how they ended, those included that nothing was asked for.",
            ("outcome",),
            _each(*Outcome),
        ),
        "crawl_pages_stored_total": Metric("counter", "Pages stored for the first time."),
        "crawl_received_bytes_total": Metric("counter", "Bytes of bodies over the wire, of these attempts."),
        "crawl_turns_accepted_total": Metric("counter", "Turns taken from the queue to be visited."),
        "crawl_turns_stale_total": Metric(
            "counter",
            "Messages dropped: their turn was another's by then, or there was no room at its address.",
        ),
        "crawl_turns_lost_total": Metric(
            "counter", "Turns given up under way: their lease had ended, or the database was away."
        ),
        "crawl_turns_dead_total": Metric(
            "counter", "Turns and messages that were put with the dead letters."
        ),
        "crawl_lease_renewals_total": Metric("counter", "Leases renewed."),
        "crawl_lease_renewals_missed_total": Metric(
            "counter",
            "Leases that were asked to be renewed and were not; they are asked for again in a second.",
        ),
        "crawl_robots_decisions_total": Metric(
            "counter",
            "URLs looked up in robots.txt; unreachable: there were no rules to be had, so the URL waits.",
            ("decision",),
            _each(*DECISIONS),
        ),
        "crawl_dns_answers_total": Metric(
            "counter",
            "Names asked of a DNS server; failed: it did not answer in time, or could not say.",
            ("server", "result"),
        ),
        "crawl_cpu_seconds_total": Metric(
            "counter",
            "Processor time of a worker process, of its parser processes and of its hooks.",
            ("part",),
            _each("main", "parsers", "hooks"),
        ),
        "crawl_hook_calls_total": Metric(
            "counter", "Calls of a hook, by how they ended; `left_out`: it was not called.", ("hook", "ended")
        ),
        "crawl_hook_seconds_total": Metric("counter", "How long the calls of a hook took.", ("hook",)),
        "crawl_fetch_phase_seconds": Metric(
            "histogram",
            "How long the phases of an attempt took, those that it came to.",
            ("phase",),
            _each(*PHASES),
        ),
        "crawl_recorder_commit_seconds": Metric(
            "histogram", "How long it took to write a batch to the database, retries included."
        ),
        "crawl_slots": Metric("gauge", "Turns it may have at once."),
        "crawl_turns_held": Metric("gauge", "Turns it has."),
        "crawl_turns_resting": Metric("gauge", "Turns of which every slot waits for a pause to end."),
        "crawl_open_requests": Metric("gauge", "Requests for pages and sitemaps under way."),
        "crawl_dns_lookups_open": Metric("gauge", "Names being looked up."),
        "crawl_recorder_waiting_visits": Metric(
            "gauge", "Visits not on disk yet, those included that are being written."
        ),
        "crawl_recorder_last_commit_timestamp_seconds": Metric(
            "gauge", "When visits were written down last, in seconds since 1970; 0: not yet."
        ),
        "crawl_memory_bytes": Metric("gauge", "Memory of the process and its parsers."),
        "crawl_memory_limit_bytes": Metric(
            "gauge", "Memory above which new turns wait; infinite: nobody knows of a limit."
        ),
        "crawl_open_files": Metric("gauge", "Descriptors in use by the process."),
        "crawl_open_files_limit": Metric("gauge", "Descriptors that the process may use."),
        "crawl_short": Metric(
            "gauge", "1: there is too little of it, and new turns wait.", ("what",), _each(*SHORT)
        ),
    }
)
"""What a worker tells besides, with a label ``process``: which of its processes it is."""
SURVEY: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "crawl_frontier_domains": Metric(
            "gauge",
            "Domains of which something is due, by what they wait for; counted up to 10,000 of each, resting: of the next 10,000.",
            ("state",),
            _each(*DOMAINS),
        ),
        "crawl_frontier_urls": Metric(
            "gauge",
            "URLs of all crawls by their last outcome; unvisited: none yet.",
            ("outcome",),
            _each(UNVISITED, *Outcome),
        ),
        "crawl_refresh_lag_seconds": Metric(
            "gauge",
            "For how long what is due waits: the domain that is ready for longest has been on no queue; 0: there is none.",
        ),
        "crawl_queue_turns": Metric("gauge", "Turns that wait in the queue."),
        "crawl_dead_letters": Metric("gauge", "Dead letters: turns that were given up."),
        "crawl_workers": Metric(
            "gauge", "Workers that are signed in; silent: not seen for a minute.", ("state",), _each(*STATES)
        ),
        "crawl_schedulers": Metric("gauge", "Schedulers that are signed in.", ("state",), _each(*STATES)),
        "crawl_crawls": Metric(
            "gauge",
            "Crawls by their state, as `crawl list` names it.",
            ("state",),
            _each(*CrawlState, "left", "deleting"),
        ),
        "crawl_database_bytes": Metric("gauge", "Size of the database."),
        "crawl_job_late_seconds": Metric(
            "gauge", "For how long a job of the timetable has been overdue; 0: it is not.", ("name",)
        ),
        "crawl_job_failed": Metric("gauge", "1: the job failed when it was done last.", ("name",)),
    }
)
"""What a scheduler and a dashboard tell of the database and the queue, looked at no more than every ten seconds."""
SCHEDULER: Final[Mapping[str, Metric]] = MappingProxyType(
    {"crawl_scheduler_leads": Metric("gauge", "1: this scheduler leads.")}
)
"""What a scheduler tells besides."""


class Buckets:
    """How often something took how long. To observe costs a third of a microsecond."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0
        """Seconds, of all."""

    def observe(self, seconds: float) -> None:
        """It took so long once more."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How often."""
        return sum(self._counts)

    def sums(self) -> "Sums":
        """As it is now."""
        return Sums(tuple(self._counts), self.total)


@dataclass(frozen=True, slots=True)
class Sums:
    """A histogram at one moment: how many fell between two of the bounds, and seconds of all."""

    counts: tuple[int, ...] = (0,) * (len(SECONDS) + 1)
    total: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":
        """Both together."""
        return Sums(tuple(map(sum, zip(self.counts, other.counts, strict=True))), self.total + other.total)

    def below(self) -> tuple[int, ...]:
        """How many took no longer than each bound, and all."""
        return tuple(accumulate(self.counts))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process says of its metrics at one moment."""

    values: Mapping[Series, float] = field(default_factory=dict)
    histograms: Mapping[Series, Sums] = field(default_factory=dict)

    def after(self, before: "Reading") -> "Reading":
        """This one, with all that was counted by processes that ended before it began."""
        values = dict(self.values)
        for series, value in before.counted().values.items():
            values[series] = values.get(series, 0.0) + value
        histograms = dict(self.histograms)
        for series, sums in before.histograms.items():
            histograms[series] = histograms.get(series, Sums()) + sums
        return Reading(values, histograms)

    def packed(self) -> "Packed":
        """As it goes through a pipe."""
        values: list[tuple[str, tuple[str, ...], float | None]] = [
            (name, labels, None if value == inf else value) for (name, labels), value in self.values.items()
        ]
        return values, [(*series, sums.counts, sums.total) for series, sums in self.histograms.items()]

    @classmethod
    def of(cls, packed: "Packed") -> "Reading":
        """What came out of the pipe."""
        values, histograms = packed
        return cls(
            {(name, labels): inf if value is None else value for name, labels, value in values},
            {(name, labels): Sums(counts, total) for name, labels, counts, total in histograms},
        )

    def counted(self) -> "Reading":
        """What remains of it when the process has ended."""
        counters = {s: value for s, value in self.values.items() if s[0].endswith("_total")}
        return Reading(counters, self.histograms)


Labelled: TypeAlias = tuple[Mapping[str, str], Reading]
"""A reading, and the labels that all of it has."""


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that are told with the same labels."""

    table: Mapping[str, Metric]
    labels: tuple[str, ...]
    """Besides those of each metric."""
    readings: Sequence[Labelled]


def known(*tables: Mapping[str, Metric]) -> dict[Series, float]:
    """Every series that is told of from the start, as 0; but for histograms."""
    return {
        (name, values): 0.0
        for table in tables
        for name, metric in table.items()
        if metric.kind != "histogram"
        for values in (metric.known if metric.labels else ((),))
    }


def flags(name: str, all_of_it: Iterable[str], is_so: Iterable[str]) -> dict[Series, float]:
    """1 for each that is so, 0 for the others."""
    so = frozenset(is_so)
    return {(name, (one,)): float(one in so) for one in all_of_it}
