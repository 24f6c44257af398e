"""What limits the crawl: one answer for every situation, and the right one for those that are clear."""

from dataclasses import replace
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.limiting import BUSY, RULES, SLOW_COMMIT, Situation, What, limiting
from crawler.core.vitals import Vitals

AT_WORK: Final = Situation(
    vitals=(Vitals(seconds=10, turns=100, resting=20, asking=70),),
    workers=1,
    slots=200,
    visiting=100,
    ready=0,
    resting=50,
    next_in=1.0,
    running=1,
)
"""A crawl whose sites take their time."""


def saying(**said: object) -> Situation:
    """That crawl, whose one worker says this of itself."""
    return replace(AT_WORK, vitals=(replace(AT_WORK.vitals[0], **said),))  # type: ignore[arg-type]  # any field


IDLE: Final = replace(AT_WORK, vitals=(Vitals(seconds=10),), visiting=0, resting=0)
CLEAR: Final[list[tuple[What, str, Situation]]] = [
    ("nothing", "no crawl is running", replace(IDLE, running=0)),
    ("nothing", "all is done", replace(IDLE, next_in=None)),
    ("no_worker", "crawl worker", replace(AT_WORK, vitals=(), workers=0, slots=0, visiting=0, ready=5)),
    ("database_away", "database does not answer", replace(AT_WORK, away="database")),
    ("database_away", "1 of 1 workers", saying(away="database")),
    ("broker_away", "broker does not answer", replace(AT_WORK, away="broker")),
    ("broker_away", "1 of 1 workers", saying(away="broker")),
    ("memory", "crawl_max_memory", saying(lack="memory")),
    ("descriptors", "ulimit -n", saying(lack="descriptors")),
    ("frontier", "in 2 hours", replace(IDLE, next_in=7200.0)),
    ("politeness", "all 30 domains", replace(IDLE, resting=30)),
    ("politeness", "90 turns of 100", saying(resting=90, asking=5)),
    ("cpu", "--processes", replace(saying(cpu=0.97), ready=500)),
    ("database", "commit takes 900 ms", saying(commit_ms=900.0, unwritten=40)),
    ("politeness", "80 turns of 100", saying(commit_ms=900.0, unwritten=4, resting=80)),
    ("database", "60 turns of 100", saying(writing=60, commit_ms=50.0)),
    ("dns", "80 look-ups", saying(lookups=80)),
    ("slots", "all 200 slots", replace(saying(turns=198, resting=150), visiting=198, ready=500)),
    ("sites", "70 turns of 100", AT_WORK),
    ("sites", "no worker has said yet", replace(AT_WORK, vitals=(), resting=0)),
]
COUNT: Final = st.integers(0, 20_000)
PART: Final = st.floats(0, 8) | st.sampled_from((0.0, BUSY))
VITALS: Final = st.builds(
    Vitals,
    seconds=PART,
    cpu=PART,
    turns=COUNT,
    resting=COUNT,
    asking=COUNT,
    writing=COUNT,
    lookups=COUNT,
    unwritten=COUNT,
    commit_ms=st.floats(0, 1e6) | st.just(SLOW_COMMIT),
    away=st.sampled_from(("", "database", "broker")),
    lack=st.sampled_from(("", "memory", "descriptors")),
)
SITUATIONS: Final = st.builds(
    Situation,
    vitals=st.lists(VITALS, max_size=4).map(tuple),
    workers=COUNT,
    slots=COUNT,
    visiting=COUNT,
    ready=COUNT,
    resting=COUNT,
    queued=COUNT,
    next_in=st.none() | st.floats(0, 1e9),
    running=COUNT,
    away=st.sampled_from(("", "database", "broker")),
)


@pytest.mark.parametrize(("what", "part", "now"), CLEAR)
def test_clear_cases(what: What, part: str, now: Situation) -> None:
    """A situation with one obvious limit is told as that, with its figures or what would help."""
    found = limiting(now)

    assert found.what == what
    assert part in found.words.lower()


def test_every_kind_is_reached() -> None:
    """The clear cases have every kind that there is, and so has the table."""
    assert {what for what, _, _ in CLEAR} == set(get_args(What)) == {rule[0] for rule in RULES}


@given(SITUATIONS)
def test_there_is_always_one_answer(now: Situation) -> None:
    """Whatever is the case, there is an answer in a sentence, and the same case has the same one."""
    found = limiting(now)

    assert found.what in get_args(What)
    assert found.words[0].isupper()
    assert found.words.endswith(".")
    assert limiting(now) == found


@given(SITUATIONS)
def test_what_stops_comes_before_what_slows(now: Situation) -> None:
    """While the database or the broker is away, nothing else is told."""
    away = {now.away} | {one.away for one in now.vitals}

    assert (limiting(now).what in {"database_away", "broker_away"}) == bool(away - {""})


@given(SITUATIONS)
def test_who_has_nobody_is_told_so(now: Situation) -> None:
    """Without a worker, what a worker would have to do faster is never the limit."""
    alone = replace(now, workers=0, slots=0, vitals=(), away="")

    assert limiting(alone).what in {"nothing", "no_worker"}
