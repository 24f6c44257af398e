"""Retry: patience per outcome."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.model import REFUSED, Outcome
from crawler.core.retry import JITTER, PATIENCE, next_try, patience

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
FAILURES = st.tuples(
    st.sampled_from(Outcome), st.sampled_from([None, 200, 400, 403, 404, 408, 425, 429, 500, 503])
)


def test_no_outcome_is_forgotten() -> None:
    """The table has a row for every outcome, and no other."""
    assert set(PATIENCE) == set(Outcome)


@pytest.mark.parametrize(
    ("outcome", "status", "tries", "first_wait"),
    [
        (Outcome.DNS_ERROR, None, 3, HOUR),
        (Outcome.CONNECT_ERROR, None, 3, 10 * MINUTE),
        (Outcome.TLS_ERROR, None, 2, HOUR),
        (Outcome.TIMEOUT, None, 4, MINUTE),
        (Outcome.TOO_SLOW, 200, 4, MINUTE),
        (Outcome.HTTP_ERROR, 500, 4, 5 * MINUTE),
        (Outcome.HTTP_ERROR, 599, 4, 5 * MINUTE),
        (Outcome.HTTP_ERROR, 408, 3, MINUTE),
        (Outcome.HTTP_ERROR, 425, 3, MINUTE),
        (Outcome.PROTOCOL_ERROR, None, 2, 10 * MINUTE),
        (Outcome.DECODE_ERROR, 200, 2, 10 * MINUTE),
        (Outcome.TOO_LARGE, 200, 2, 10 * MINUTE),
        (Outcome.GONE, 404, 2, timedelta(days=7)),
        (Outcome.THROTTLED, 429, 10, timedelta(0)),
    ],
)
def test_tries_and_first_wait(
    outcome: Outcome, status: int | None, tries: int, first_wait: timedelta
) -> None:
    """The waits are the design's: the first one, doubling, until the tries are spent."""
    waits = [next_try(outcome, status, attempts, 0) for attempts in range(1, tries + 2)]

    assert waits == [first_wait * 2**power for power in range(tries - 1)] + [None, None]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        *((outcome, None) for outcome in sorted(REFUSED)),
        (Outcome.OK, 200),
        (Outcome.NOT_MODIFIED, 304),
        (Outcome.REDIRECT, 301),
        (Outcome.HTTP_ERROR, 400),
        (Outcome.HTTP_ERROR, 403),
        (Outcome.HTTP_ERROR, 451),
        (Outcome.HTTP_ERROR, 300),
        (Outcome.HTTP_ERROR, None),
    ],
)
def test_never_tried_again(outcome: Outcome, status: int | None) -> None:
    """What succeeded, what we refused and what the site forbids is not retried."""
    assert patience(outcome, status) is None
    assert next_try(outcome, status, 1, 0) is None


@given(FAILURES, st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_waits_never_shorten(
    failure: tuple[Outcome, int | None], attempts: int, jitter: float, other: float
) -> None:
    """One failure more means waiting at least as long, whatever the jitter, or giving up for good."""
    outcome, status = failure
    wait = next_try(outcome, status, attempts, jitter)
    longer = next_try(outcome, status, attempts + 1, other)

    assert longer is None or (wait is not None and wait <= longer)


@given(FAILURES, st.integers(1, 12), st.floats(0, 1))
def test_jitter_only_lengthens(failure: tuple[Outcome, int | None], attempts: int, jitter: float) -> None:
    """A wait is never shorter than the table's, and little longer."""
    outcome, status = failure
    plain = next_try(outcome, status, attempts, 0)
    wait = next_try(outcome, status, attempts, jitter)

    assert (wait is None) is (plain is None)
    if plain is not None and wait is not None:
        assert plain <= wait <= plain * (1 + JITTER)
