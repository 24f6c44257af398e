"""What a visit means: laws over every outcome."""

import math
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.model import REFUSED, Outcome, Settlement
from crawler.core.retry import patience
from crawler.core.settlement import settle

WELL = frozenset({Outcome.OK, Outcome.NOT_MODIFIED, Outcome.REDIRECT})
FAILED = frozenset(Outcome) - WELL - REFUSED
SECONDS = st.floats(0, 1e7)


@st.composite
def settlements(
    draw: st.DrawFn, outcomes: frozenset[Outcome] = frozenset(Outcome)
) -> tuple[dict[str, Any], Settlement]:
    """What was known, and what was decided."""
    known: dict[str, Any] = {
        "outcome": draw(st.sampled_from(sorted(outcomes))),
        "status": draw(st.none() | st.integers(100, 999)),
        "attempts": draw(st.integers(0, 20)),
        "jitter": draw(st.floats(0, 1)),
        "revisit": draw(st.none() | SECONDS),
        "period": draw(st.none() | SECONDS),
        "due_at": draw(st.none() | st.datetimes(timezones=st.just(UTC))),
        "detail": draw(st.text(max_size=5)),
        "domain_wait": draw(SECONDS),
        "robots_ask_in": draw(st.none() | SECONDS),
    }
    return known, settle(
        known["outcome"], **{name: value for name, value in known.items() if name != "outcome"}
    )


@given(settlements())
def test_open_is_due(case: tuple[dict[str, Any], Settlement]) -> None:
    """A URL that stays open has a next visit, in a finite time that is not past."""
    _, settlement = case

    assert settlement.due_in is not None or not settlement.open
    assert settlement.due_in is None or (settlement.due_in >= 0 and math.isfinite(settlement.due_in))


@given(settlements())
def test_says_what_happened(case: tuple[dict[str, Any], Settlement]) -> None:
    """The outcome and its detail are kept as they came."""
    known, settlement = case

    assert (settlement.outcome, settlement.detail) == (known["outcome"], known["detail"])


@given(settlements(WELL))
def test_success(case: tuple[dict[str, Any], Settlement]) -> None:
    """A success is final, forgets the failures before it, and comes again by the revisit policy alone."""
    known, settlement = case

    assert (settlement.open, settlement.attempts, settlement.due_in) == (False, 0, known["revisit"])
    assert (settlement.revisit, settlement.period) == (known["revisit"], known["period"])


@given(settlements())
def test_a_time_stands_for_the_rule_alone(case: tuple[dict[str, Any], Settlement]) -> None:
    """The time of a rule is handed on exactly where the next visit is the rule's, and neither a retry nor a wait of the domain."""
    known, settlement = case
    patient = patience(settlement.outcome, known["status"])
    retried = patient is not None and settlement.attempts < patient.tries
    failed = settlement.outcome in FAILED - {Outcome.GONE} and not retried and known["revisit"] is not None
    by_rule = settlement.outcome in WELL or (failed and known["revisit"] >= known["domain_wait"])

    assert settlement.due_at == (known["due_at"] if by_rule else None)


@given(settlements(FAILED))
def test_failure(case: tuple[dict[str, Any], Settlement]) -> None:
    """A failure adds one to those in a row, and is final exactly when patience is out or the page is gone."""
    known, settlement = case
    row = patience(settlement.outcome, known["status"])
    again = row is not None and settlement.attempts < row.tries
    by_rule = known["revisit"] is not None and settlement.outcome is not Outcome.GONE

    assert settlement.attempts == known["attempts"] + 1
    assert (settlement.due_in is not None) == (again or by_rule)
    assert settlement.open == (again and settlement.outcome is not Outcome.GONE)
    assert again or not by_rule or settlement.due_in == max(known["revisit"], known["domain_wait"])


@given(settlements(FAILED))
def test_patience_ends(case: tuple[dict[str, Any], Settlement]) -> None:
    """However it fails, a URL that fails for ever is given up after ten tries, but for what the crawl's rule says."""
    known, settlement = case
    by_rule = known["revisit"] is not None and settlement.outcome is not Outcome.GONE

    assert settlement.attempts < 10 or ((settlement.due_in is None or by_rule) and not settlement.open)


@given(settlements(REFUSED))
def test_refusal(case: tuple[dict[str, Any], Settlement]) -> None:
    """What we refused is never due by the clock, but for rules that could not be read: then when they are asked again."""
    known, settlement = case
    ask_in = known["robots_ask_in"] if settlement.outcome is Outcome.ROBOTS_REFUSED else None

    assert (settlement.due_in, settlement.open, settlement.attempts) == (ask_in, ask_in is not None, 0)


@pytest.mark.parametrize("wait", [0.0, 5.0, 86400.0])
def test_throttled(wait: float) -> None:
    """A throttled URL comes again when its domain may, and the tenth time not at all."""
    tries = [
        settle(Outcome.THROTTLED, status=429, attempts=n, jitter=0.5, revisit=None, domain_wait=wait)
        for n in range(10)
    ]

    assert [t.due_in for t in tries] == [wait] * 9 + [None]
    assert [t.open for t in tries] == [True] * 9 + [False]
