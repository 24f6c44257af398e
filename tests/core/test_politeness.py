"""Politeness: how long to leave a domain alone."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.core.politeness import DAY, Pace, pace, retry_after, throttle_wait

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
DELAYS = st.floats(0, 1000)
JITTERS = st.floats(0, 1)


def paced(
    *crawl_delays: float | None,
    by_hand: float | None = None,
    robots: float | None = None,
    by_hand_slots: int | None = None,
) -> Pace:
    """The pace under the usual settings: one second, two slots, ten minutes at most."""
    return pace(
        setting_delay=1.0,
        crawl_delays=crawl_delays,
        by_hand=by_hand,
        robots_delay=robots,
        max_crawl_delay=600.0,
        per_domain=2,
        by_hand_slots=by_hand_slots,
    )


@pytest.mark.parametrize(
    ("given_pace", "expected"),
    [
        (paced(), Pace(1.0, 2, "setting DELAY")),
        (paced(None), Pace(1.0, 2, "setting DELAY")),
        (paced(3.0, None), Pace(3.0, 2, "the crawl's --delay")),
        (paced(0.2), Pace(0.2, 2, "the crawl's --delay")),
        (paced(0.2, None), Pace(1.0, 2, "setting DELAY")),
        (paced(3.0, by_hand=0.5), Pace(0.5, 2, "set by hand")),
        (paced(by_hand=30.0), Pace(30.0, 2, "set by hand")),
        (paced(robots=10.0), Pace(10.0, 1, "Crawl-delay: 10 in robots.txt")),
        (paced(by_hand=0.5, robots=10.0), Pace(10.0, 1, "Crawl-delay: 10 in robots.txt")),
        (paced(by_hand=20.0, robots=10.0), Pace(20.0, 1, "set by hand")),
        (paced(robots=3600.0), Pace(600.0, 1, "Crawl-delay: 3600 in robots.txt, obeyed up to 600 s")),
        (paced(by_hand=900.0, robots=3600.0), Pace(900.0, 1, "set by hand")),
        (paced(robots=0.5), Pace(1.0, 1, "setting DELAY")),
        (paced(robots=0.0), Pace(1.0, 2, "setting DELAY")),
        (paced(by_hand_slots=5), Pace(1.0, 5, "setting DELAY")),
        (paced(by_hand_slots=5, robots=2.0), Pace(2.0, 1, "Crawl-delay: 2 in robots.txt")),
        (paced(by_hand_slots=0), Pace(1.0, 1, "setting DELAY")),
    ],
)
def test_pace(given_pace: Pace, expected: Pace) -> None:
    """The pace is the slowest crawl's, or the operator's, and never faster than the site's."""
    assert given_pace == expected


@given(
    st.lists(st.none() | DELAYS),
    st.none() | DELAYS,
    st.none() | DELAYS,
    DELAYS,
    st.none() | st.integers(0, 9),
)
def test_never_faster_than_the_site_wishes(
    crawl_delays: list[float | None],
    by_hand: float | None,
    robots: float | None,
    longest: float,
    slots: int | None,
) -> None:
    """No setting undercuts the site's crawl-delay, and with one there is one request at a time."""
    found = pace(
        setting_delay=1.0,
        crawl_delays=crawl_delays,
        by_hand=by_hand,
        robots_delay=robots,
        max_crawl_delay=longest,
        per_domain=2,
        by_hand_slots=slots,
    )

    assert found.delay >= min(robots or 0.0, longest)
    assert found.slots == 1 or (not robots and found.slots > 1)
    assert found.delay >= (max((d for d in crawl_delays if d), default=0.0) if by_hand is None else by_hand)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("00000000007", 7.0),
        ("86401", DAY),
        ("99999", DAY),
        ("9" * 10_000, DAY),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 2994 08:00:00 GMT", DAY),
        ("Sun, 99 Nov 1994 08:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Seconds and all three HTTP dates are understood, clamped to a day; nonsense is nothing."""
    assert retry_after(value, NOW) == seconds


@given(st.text() | st.text("0123456789 :,-+GMTSunNov", max_size=40))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Mon, 01 Jan 2000 00:00:00 +99999999999999999")
def test_any_retry_after_is_bounded(value: str) -> None:
    """No header makes us raise, or wait longer than a day."""
    seconds = retry_after(value, NOW)

    assert seconds is None or 0 <= seconds <= DAY


@given(st.integers(0, 86_400))
def test_a_date_says_what_its_seconds_say(seconds: int) -> None:
    """The two forms of Retry-After mean the same."""
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)

    assert retry_after(date, NOW) == retry_after(str(seconds), NOW) == seconds


def test_throttle_waits_double() -> None:
    """Without Retry-After a domain rests 60 s, doubling, at most a day."""
    waits = [throttle_wait(retry_after=None, throttled_in_a_row=count, jitter=0) for count in range(1, 14)]

    assert waits == [60.0 * 2**power for power in range(11)] + [DAY, DAY]


@given(st.floats(0, DAY), st.integers(1, 10**9), JITTERS)
def test_never_sooner_than_asked(asked: float, count: int, jitter: float) -> None:
    """What the site asked for is waited out, up to half as long again, and a day at most."""
    wait = throttle_wait(retry_after=asked, throttled_in_a_row=count, jitter=jitter)

    assert asked <= wait <= min(asked * 1.5, DAY) or (asked == 0 and count > 1)


def test_a_site_that_says_0_again_and_again_gets_rest() -> None:
    """Ten tries are not gone in a moment because each answer says that the next may come at once."""
    waits = [throttle_wait(retry_after=0.0, throttled_in_a_row=count, jitter=0) for count in (1, 2, 3)]

    assert waits == [0, 120, 240]


@given(st.integers(0, 10**9), JITTERS, st.none() | st.floats(0, DAY))
def test_more_failures_never_shorten_the_wait(count: int, jitter: float, asked: float | None) -> None:
    """Throttled once more, a domain rests at least as long."""
    wait = throttle_wait(retry_after=asked, throttled_in_a_row=count, jitter=jitter)

    assert throttle_wait(retry_after=asked, throttled_in_a_row=count + 1, jitter=jitter) >= wait
