"""What a worker process says of itself: how far it is, what it measures, and how it was lately.

    counts that are kept anyway ──asked──► progress   four times a second, for who watches a run
                                      ├──► reading    at a scrape of /metrics
                                      └──► vitals     with each heartbeat, into the table of workers

1. Nothing is computed that nobody asks for; what a turn does costs nothing but at that moment.
2. A reading has every series from the start, so that an alert never waits for the first event.
"""

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

import msgspec

from crawler.adapters.dns import Resolver
from crawler.core.metrics import AWAY, SHORT, WORKER, Reading, Series, Sums, flags, known
from crawler.core.model import Outcome
from crawler.core.vitals import Vitals
from crawler.dispatch import Dispatcher
from crawler.enduring import Endurance
from crawler.guards import Door, MemoryGuard
from crawler.hook_processes import Hooks
from crawler.leases import Leases
from crawler.parsers import Parsers
from crawler.progress import Progress, TurnCounts
from crawler.recorder import Recorder
from crawler.refusals import Decisions
from crawler.settings import Settings
from crawler.visit import TurnVisit

OPEN_FILES: Final = (Path("/proc/self/fd"), Path("/dev/fd"))


@dataclass(slots=True, kw_only=True)
class Meter:
    """Looks at the parts of one worker."""

    settings: Settings
    active: Mapping[asyncio.Task[None], TurnVisit]
    recorder: Recorder
    dispatcher: Dispatcher
    leases: Leases
    endurance: Endurance
    door: Door
    memory: MemoryGuard
    parsers: Parsers
    hooks: Hooks
    turns: TurnCounts = field(default_factory=TurnCounts)
    decisions: Decisions = field(default_factory=Decisions)
    resolver: Resolver | None = None
    least: float = 1.0
    """Seconds over which a speed is worth telling."""
    _last: "_Mark | None" = None
    _rates: dict[str, Any] = field(default_factory=dict)

    def progress(self) -> Progress:
        """How far it has come."""
        recorder, visits = self.recorder, self.active.values()
        open_requests = sum(visit.open_requests for visit in visits)
        # Only who has nothing open waits for a pause, and there may be thousands of turns.
        rests = [] if open_requests else [rest for visit in visits if (rest := visit.rest) is not None]
        return Progress(
            pages=recorder.pages,
            visits=recorder.visits,
            wire_bytes=recorder.wire_bytes,
            active=len(visits),
            last_commit=recorder.last_commit,
            cpu_seconds=own_cpu() + self.parsers.cpu_seconds + self.hooks.cpu_seconds,
            outcomes=dict(recorder.outcomes),
            open_requests=open_requests,
            lookups=0 if self.resolver is None else self.resolver.lookups,
            rest=min(rests, default=None),
            unwritten=recorder.waiting,
            away="database" if recorder.away else self.endurance.away,
            lack=self.door.lack,
            late=self.leases.late,
        )

    def reading(self) -> Reading:
        """What it measures, as it is now."""
        recorder, leases, turns = self.recorder, self.leases, self.turns
        doing = self._doing()
        away = self.endurance.all_away | ({"database"} if recorder.away else frozenset())
        values: dict[Series, float] = {
            **known(WORKER),
            **{("crawl_fetches_total", (outcome,)): n for outcome, n in recorder.fetches.items()},
            **{("crawl_visits_total", (outcome,)): n for outcome, n in recorder.outcomes.items()},
            **{("crawl_robots_decisions_total", (what,)): n for what, n in self.decisions.counts.items()},
            **self._dns(),
            **flags("crawl_away", AWAY, away),
            **flags("crawl_short", SHORT, {self.door.lack}),
            ("crawl_pages_stored_total", ()): recorder.pages,
            ("crawl_received_bytes_total", ()): recorder.received,
            ("crawl_turns_accepted_total", ()): turns.accepted,
            ("crawl_turns_stale_total", ()): turns.stale,
            ("crawl_turns_lost_total", ()): turns.lost,
            ("crawl_turns_dead_total", ()): turns.dead + self.dispatcher.buried,
            ("crawl_lease_renewals_total", ()): leases.renewed,
            ("crawl_lease_renewals_missed_total", ()): leases.missed,
            ("crawl_cpu_seconds_total", ("main",)): own_cpu(),
            ("crawl_cpu_seconds_total", ("parsers",)): self.parsers.cpu_seconds,
            ("crawl_cpu_seconds_total", ("hooks",)): self.hooks.cpu_seconds,
            **{("crawl_hook_calls_total", call): n for call, n in self.hooks.calls.items()},
            **{("crawl_hook_seconds_total", (hook,)): n for hook, n in self.hooks.seconds.items()},
            ("crawl_slots", ()): self.settings.domains_at_once,
            ("crawl_turns_held", ()): len(self.active),
            ("crawl_turns_resting", ()): doing["resting"],
            ("crawl_open_requests", ()): self._requests(),
            ("crawl_dns_lookups_open", ()): 0 if self.resolver is None else self.resolver.lookups,
            ("crawl_recorder_waiting_visits", ()): recorder.waiting,
            ("crawl_recorder_last_commit_timestamp_seconds", ()): recorder.last_commit,
            ("crawl_memory_bytes", ()): self.memory.measured(),
            ("crawl_memory_limit_bytes", ()): inf if self.memory.most is None else self.memory.most,
            ("crawl_open_files", ()): open_files(),
            ("crawl_open_files_limit", ()): open_files_limit(),
        }
        histograms: dict[Series, Sums] = {
            ("crawl_fetch_phase_seconds", (phase,)): buckets.sums()
            for phase, buckets in recorder.phases.items()
        }
        histograms["crawl_recorder_commit_seconds", ()] = recorder.commits.sums()
        return Reading(values, histograms)

    def vitals(self, clock_skew: float = 0.0) -> Vitals:
        """How it was since this was asked for last; whoever asks first hears of no speed yet."""
        recorder, doing, settings = self.recorder, self._doing(), self.settings
        now = _Mark.of(recorder, self.parsers)
        if self._last is None or now.at - self._last.at >= self.least:
            self._rates = {} if self._last is None else now.since(self._last)
            self._last = now
        rates = {**self._rates, "commit_ms": max(self._rates.get("commit_ms", 0.0), 1000 * recorder.age)}
        return Vitals(
            **rates,
            memory=self.memory.measured(),
            memory_limit=self.memory.most,
            open_files=open_files(),
            open_files_limit=open_files_limit(),
            turns=len(self.active),
            resting=doing["resting"],
            asking=doing["asking"],
            writing=doing["writing"],
            requests=self._requests(),
            lookups=0 if self.resolver is None else self.resolver.lookups,
            unwritten=recorder.waiting,
            away="database" if recorder.away else self.endurance.away,
            lack=self.door.lack,
            renewals_missed=self.leases.missed,
            dns={} if self.resolver is None else self.resolver.answers,
            clock_skew=round(clock_skew, 3),
            user_agent=settings.user_agent,
            delay=settings.delay,
            per_domain=settings.per_domain,
        )

    def told(self, clock_skew: float) -> str:
        """Its vitals as the table of workers has them."""
        return msgspec.json.encode(self.vitals(clock_skew)).decode()

    def _doing(self) -> Counter[str]:
        """How many turns are at what. Who neither asks nor rests, and has a visit that finds no room, waits for the recorder."""
        visits, held_up = self.active.values(), self.recorder.held_up
        doing = Counter[str](visit.doing for visit in visits)
        if held_up:
            waiting = sum(visit.doing == "working" and visit.turn.domain_id in held_up for visit in visits)
            doing += Counter(writing=waiting, working=-waiting)
        return doing

    def _requests(self) -> int:
        return sum(visit.open_requests for visit in self.active.values())

    def _dns(self) -> dict[Series, float]:
        answers = {} if self.resolver is None else self.resolver.answers
        return {
            ("crawl_dns_answers_total", (server, result)): n
            for server, pair in answers.items()
            for result, n in zip(("answered", "failed"), pair, strict=True)
        }


@dataclass(frozen=True, slots=True)
class _Mark:
    """What had been counted at one moment."""

    at: float
    pages: int
    fetches: int
    received: int
    cpu: float
    parsing: float
    commits: int
    commit_seconds: float

    @classmethod
    def of(cls, recorder: Recorder, parsers: Parsers) -> "_Mark":
        commits = recorder.commits
        return cls(
            time.monotonic(),
            recorder.outcomes[Outcome.OK] + recorder.outcomes[Outcome.NOT_MODIFIED],
            recorder.fetches.total(),
            recorder.received,
            own_cpu(),
            parsers.cpu_seconds,
            commits.count,
            commits.total,
        )

    def since(self, before: "_Mark") -> dict[str, Any]:
        """How much of it a second, as fields of `Vitals`."""
        seconds = max(0.001, self.at - before.at)
        commits = self.commits - before.commits
        spent = self.commit_seconds - before.commit_seconds
        return {
            "seconds": round(seconds, 3),
            "pages": (self.pages - before.pages) / seconds,
            "fetches": (self.fetches - before.fetches) / seconds,
            "bytes": (self.received - before.received) / seconds,
            "cpu": (self.cpu - before.cpu) / seconds,
            "parsing": (self.parsing - before.parsing) / seconds,
            "commit_ms": 1000 * spent / commits if commits else 0.0,
        }


def own_cpu() -> float:
    """Processor seconds of this process, its children apart."""
    times = os.times()
    return times.user + times.system


def open_files() -> int:
    """Descriptors that this process has open; 0: the system does not tell."""
    for folder in OPEN_FILES:
        try:
            return sum(1 for _ in folder.iterdir()) - 1  # the one that this takes
        except OSError:
            continue
    return 0


def open_files_limit() -> int:
    """Descriptors that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
