"""Revisit: sooner to what changes, later to what does not; and what a site says of it."""

import math
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.core.revisit import (
    CHANGEFREQ,
    DAY,
    HINTED,
    HINTED_START,
    HOUR,
    LATEST,
    LONGEST_AGE,
    PERIODS,
    SOONEST,
    Sight,
    adaptive,
    allotted,
    brought_forward,
    changefreq,
    learned,
    max_age,
)
from tests.effort import Effort

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
INTERVALS = st.floats(SOONEST, LATEST)
SPANS = st.floats(*PERIODS)
HINTS = st.none() | st.floats(0, 1e10)
COUNTS = st.integers(0, 10_000)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Cache-Control", "cache-control", "Expires", "Date", "Age", "X"]),
        st.text()
        | st.sampled_from(
            ["max-age=60", "no-store", "s-maxage=5, public", "0", format_datetime(NOW, usegmt=True)]
        ),
    ),
    max_size=6,
)


def fetched(seconds: float) -> datetime:
    """A moment so many seconds before now."""
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("sight", "periods"),
    [
        (Sight(), 14 * DAY),
        (Sight(changed=False, elapsed=7 * DAY), 14 * DAY),
        (Sight(elapsed=DAY, period=20 * DAY), 20 * DAY),
        (Sight(changed=True, period=20 * DAY), 20 * DAY),
        (Sight(changed=False, elapsed=20 * DAY, period=20 * DAY), 30 * DAY),
        (Sight(changed=False, elapsed=2 * DAY, period=20 * DAY), 21 * DAY),
        (Sight(changed=True, elapsed=0.0, period=20 * DAY), 10 * DAY),
        (Sight(changed=True, elapsed=1e-9, period=20 * DAY), 10 * DAY),
        (Sight(changed=True, elapsed=-5.0, period=20 * DAY), 10 * DAY),
        (Sight(changed=True, elapsed=20 * DAY, period=20 * DAY), 40 * DAY / (1 + 1 / -math.expm1(-1))),
        (Sight(changed=True, elapsed=2000 * DAY, period=20 * DAY), 20 * DAY),
        (Sight(changed=False, elapsed=1e12, period=20 * DAY), 900 * DAY),
        (Sight(changed=True, elapsed=1.0, period=HOUR), HOUR),
    ],
)
def test_what_a_visit_teaches(sight: Sight, periods: float) -> None:
    """14 d to begin with; x 1.5 after a whole quiet period, x 0.5 after a change at once, less the later it is seen."""
    assert learned(sight) == pytest.approx(periods, rel=1e-6)


@pytest.mark.parametrize(
    ("period", "days"),
    [
        (60.0, 0.257),
        (HOUR, 1.007),
        (DAY, 2.90),
        (7 * DAY, 5.56),
        (14 * DAY, 7.0),
        (30 * DAY, 9.03),
        (365 * DAY, 36.5),
        (3650 * DAY, 90),
    ],
)
def test_intervals(period: float, days: float) -> None:
    """What changes hourly is visited once a day, what changes weekly every five or six, monthly every nine, in a year every five weeks."""
    assert allotted(period) / DAY == pytest.approx(days, rel=0.02)


@pytest.mark.parametrize(
    ("sight", "interval"),
    [
        (Sight(), 7 * DAY),
        (Sight(changed=True, elapsed=DAY), 7 * DAY),
        (Sight(changed=False, elapsed=DAY), 7 * DAY),
        (Sight(period=DAY), 7 * DAY),
        (Sight(changed=False, elapsed=0.0, period=14 * DAY), allotted(14 * DAY)),
        (Sight(changefreq=DAY), allotted(DAY)),
        (Sight(changefreq=HOUR), allotted(HOUR)),
        (Sight(changefreq=3650 * DAY), 28 * DAY),
        (Sight(changefreq=HOUR, max_age=10 * DAY), 10 * DAY),
        (Sight(max_age=600), 7 * DAY),
        (Sight(max_age=14 * DAY), 14 * DAY),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY), 20 * DAY),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY, changefreq=HOUR), 20 * DAY / 1.5),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY, changefreq=3650 * DAY), 30 * DAY),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY, changefreq=240 * DAY), 24 * DAY),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY, max_age=600), 20 * DAY),
        (Sight(changed=False, elapsed=0.0, period=200 * DAY, max_age=25 * DAY), 25 * DAY),
        (Sight(changed=True, elapsed=0.0, period=200 * DAY, max_age=1e9), 1.5 * allotted(100 * DAY)),
        (Sight(changed=False, elapsed=1e9, period=900 * DAY, changefreq=3650 * DAY), 90 * DAY),
    ],
)
def test_hints_shape(sight: Sight, interval: float) -> None:
    """7 d to begin with; a hint chooses the beginning within bounds, and moves what follows by up to 1.5; a short max-age says nothing."""
    assert adaptive(sight) == pytest.approx(interval)


@given(
    st.builds(
        Sight,
        changed=st.sampled_from([None, False, True]),
        elapsed=st.none() | st.floats(-1e9, 1e10),
        period=HINTS,
        max_age=HINTS,
        changefreq=HINTS,
    )
)
def test_an_interval_lies_within_its_bounds(sight: Sight) -> None:
    """No sight leads beyond the bounds of all intervals, or of the first, or of all periods."""
    least, most = HINTED_START if sight.is_first else (SOONEST, LATEST)

    assert least <= adaptive(sight) <= most
    assert PERIODS[0] <= learned(sight) <= PERIODS[1]


@given(SPANS, st.floats(0, 1e9), HINTS, HINTS)
def test_a_change_weighs_more_than_words(
    period: float, elapsed: float, said_age: float | None, said: float | None
) -> None:
    """What is learned does not depend on hints; a change shortens, and quiet lengthens, the period and with any hints the interval."""

    def seen(changed: bool, **more: float | None) -> Sight:  # noqa: FBT001 - what is seen
        return Sight(changed=changed, elapsed=elapsed, period=period, **more)

    changed, quiet = (learned(seen(yes)) for yes in (True, False))
    sooner, later = (adaptive(seen(yes, max_age=said_age, changefreq=said)) for yes in (True, False))

    assert [learned(seen(yes, max_age=said_age, changefreq=said)) for yes in (True, False)] == [
        changed,
        quiet,
    ]
    assert changed <= period * (1 + 1e-9)
    assert period <= quiet
    assert sooner <= later * (1 + 1e-9)


@given(SPANS, st.floats(0, 1e9), st.floats(0, 1e9), st.booleans())
def test_the_longer_ago_the_longer_the_period(
    period: float,
    one: float,
    other: float,
    changed: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    """A longer quiet says more, a change after a longer time says less."""
    low, high = sorted((one, other))
    short, long = (learned(Sight(changed=changed, elapsed=elapsed, period=period)) for elapsed in (low, high))

    assert short <= long * (1 + 1e-9)


@given(SPANS, st.floats(0, 1e9), st.booleans(), HINTS, HINTS)
def test_a_hint_moves_an_interval_by_half_at_most(
    period: float,
    elapsed: float,
    changed: bool,  # noqa: FBT001 - hypothesis names it
    said_age: float | None,
    said: float | None,
) -> None:
    """A later interval is moved by a factor of 1.5 at most, in the direction of the hint and never past it."""
    plain = adaptive(Sight(changed=changed, elapsed=elapsed, period=period))
    moved = adaptive(
        Sight(changed=changed, elapsed=elapsed, period=period, max_age=said_age, changefreq=said)
    )
    wish = max(allotted(said), said_age or 0) if said is not None else max(said_age or 0, plain)

    assert plain / HINTED <= moved <= plain * HINTED
    assert min(plain, wish) <= moved <= max(plain, wish)


@given(SPANS, HINTS, st.floats(0, 1e9), st.floats(0, 1e9), st.booleans())
def test_a_later_hint_is_never_an_earlier_visit(
    period: float,
    said_age: float | None,
    one: float,
    other: float,
    changed: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    """The interval is monotone in changefreq, in max-age and in the period so far."""

    def interval(**known: float | None) -> float:
        sight = {"changed": changed, "elapsed": 3 * DAY, "period": period, "max_age": said_age, **known}
        return adaptive(Sight(**sight))  # type: ignore[arg-type]

    low, high = sorted((one, other))

    assert interval(changefreq=low) <= interval(changefreq=high)
    assert interval(max_age=low) <= interval(max_age=high)
    assert interval(period=low) <= interval(period=high) * (1 + 1e-9)


@given(st.lists(st.tuples(HINTS, HINTS), min_size=1, max_size=20))
def test_a_page_that_never_changes_is_left_alone_whatever_is_said(
    said: list[tuple[float | None, float | None]],
) -> None:
    """However the hints change from visit to visit, after a quiet year the next visit is 12 to 42 days away."""
    first = Sight(max_age=said[0][0], changefreq=said[0][1])
    age, period, interval, visits = 0.0, learned(first), adaptive(first), 0
    while age < 365 * DAY:
        age += interval
        said_age, word = said[visits % len(said)]
        sight = Sight(changed=False, elapsed=interval, period=period, max_age=said_age, changefreq=word)
        interval, period, visits = adaptive(sight), learned(sight), visits + 1

    assert 12 * DAY <= interval <= 42 * DAY
    # 47 where nothing is said.
    assert visits <= 90


@given(st.floats(0, 1e8), st.floats(HOUR, 900 * DAY), st.booleans())
def test_sooner_to_what_changes_and_later_to_what_does_not(
    elapsed: float,
    period: float,
    changed: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    """Unhinted, the interval after a visit that found no change is never shorter than before, and after a change never longer."""
    after = adaptive(Sight(changed=changed, elapsed=elapsed, period=period))
    before = allotted(period)

    assert after <= before * (1 + 1e-9) if changed else after >= before * (1 - 1e-9)


def test_it_begins_where_it_goes_on() -> None:
    """The first interval is that of the period that is assumed: a page that did not change is visited later than that, at once."""
    first = adaptive(Sight())
    period = learned(Sight())
    quiet = adaptive(Sight(changed=False, elapsed=first, period=period))
    news = adaptive(Sight(changed=True, elapsed=first, period=period))

    assert first == pytest.approx(allotted(period))
    assert news < first < quiet


@pytest.mark.parametrize("days", [1.0, 7.0, 30.0, 200.0])
def test_the_estimate_is_that_of_a_page_that_changes_at_random(days: float) -> None:
    """From whichever side it comes, the estimate stays within a factor of 1.8 of the true time between random changes."""
    dice = random.Random(days)
    sums = []
    for start in (DAY, 100 * DAY):
        period, total = start, 0.0
        for visit in range(4000):
            gap = allotted(period) * dice.uniform(0.5, 1.5)
            changed = dice.random() < -math.expm1(-gap / (days * DAY))
            period = learned(Sight(changed=changed, elapsed=gap, period=period))
            total += math.log(period) * (visit >= 1000)
        sums.append(math.exp(total / 3000) / DAY)

    assert all(days / 1.8 < found < 1.8 * days for found in sums)


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("always", HOUR),
        ("hourly", HOUR),
        ("daily", DAY),
        ("weekly", 7 * DAY),
        ("monthly", 30 * DAY),
        ("yearly", 365 * DAY),
        ("never", 3650 * DAY),
        (" Daily\n", DAY),
        ("biweekly", None),
        ("", None),
    ],
)
def test_words_of_sitemaps(word: str, seconds: float | None) -> None:
    """The seven words of sitemaps.org are durations, in any case; no other word is."""
    assert changefreq(word) == seconds


def test_no_word_of_sitemaps_is_forgotten() -> None:
    """The table has the words of sitemaps.org, from often to never."""
    assert list(CHANGEFREQ) == ["always", "hourly", "daily", "weekly", "monthly", "yearly", "never"]
    assert sorted(CHANGEFREQ.values()) == list(CHANGEFREQ.values())


@given(st.floats(60, LATEST), st.floats(1, 1e7), COUNTS, COUNTS)
def test_brought_forward_within_bounds(revisit: float, since: float, promised: int, kept: int) -> None:
    """Never later than the ordinary interval, and never sooner than an hour after the last fetch, or that interval."""
    seconds = brought_forward(NOW, fetched(since), revisit, promised, kept)

    assert min(SOONEST, revisit) <= seconds <= revisit


@given(INTERVALS, COUNTS, COUNTS, COUNTS)
def test_brought_forward_is_monotone_in_trust(revisit: float, promised: int, kept: int, more: int) -> None:
    """Who kept more of as many promises is believed no less, and who broke more is believed no more."""
    kept = min(kept, promised)
    plain = brought_forward(NOW, fetched(DAY), revisit, promised, kept)

    assert brought_forward(NOW, fetched(DAY), revisit, promised, min(kept + more, promised)) <= plain
    assert brought_forward(NOW, fetched(DAY), revisit, promised + more, kept) >= plain
    assert brought_forward(NOW, fetched(DAY), revisit, promised + more, kept + more) <= plain * (1 + 1e-9)


@given(st.none() | st.floats(0, 1e8).map(fetched), INTERVALS, COUNTS, COUNTS)
def test_old_news_is_no_news(lastmod: datetime | None, revisit: float, promised: int, kept: int) -> None:
    """A lastmod before the last fetch, or none, leaves the interval as it is, however much a site is believed."""
    assert brought_forward(lastmod, NOW, revisit, promised, kept) == revisit


@pytest.mark.parametrize(
    ("promised", "kept", "hours"),
    [
        (0, 0, 88.5),
        (1, 1, 36.8),
        (10, 10, 3.25),
        (1000, 1000, 1.0),
        (1, 0, 139.0),
        (10, 0, 167.5),
        (1000, 0, 168.0),
    ],
)
def test_who_cries_wolf_is_believed_less(promised: int, kept: int, hours: float) -> None:
    """Of a week, a site that is always right leaves an hour, and one that never is, a week."""
    assert brought_forward(NOW, fetched(DAY), 7 * DAY, promised, kept) / HOUR == pytest.approx(
        hours, abs=0.05
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("Cache-Control", "max-age=3600")], 3600),
        ([("cache-control", "Public, MAX-AGE=60")], 60),
        ([("Cache-Control", 'max-age="3600"')], 3600),
        ([("Cache-Control", "max-age = 60 ; x")], 60),
        ([("Cache-Control", "max-age=60, s-maxage=5")], 5),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "s-maxage=5")], 5),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=5")], 60),
        ([("Cache-Control", 'private="a, max-age=5", max-age=60')], 60),
        ([("Cache-Control", "max-age=60, stale-while-revalidate=86400")], 60),
        ([("Cache-Control", "max-age=" + "9" * 100_000)], LONGEST_AGE),
        ([("Cache-Control", "max-age=2147483647")], 2147483647),
        ([("Cache-Control", "max-age=0000000000000060")], 60),
        ([("Cache-Control", "max-age=0")], None),
        ([("Cache-Control", "max-age=-1")], None),
        ([("Cache-Control", "max-age=1.5")], None),
        ([("Cache-Control", "max-age=٣")], None),
        ([("Cache-Control", "max-age")], None),
        ([("Cache-Control", "s-maxage=x, max-age=60")], None),
        ([("Cache-Control", "no-store, max-age=60")], None),
        ([("Cache-Control", "max-age=60"), ("Cache-Control", "no-cache")], None),
        ([("Cache-Control", "max-age=60"), ("Expires", "Sat, 21 Nov 2026 13:00:00 GMT")], 60),
        ([("Expires", "Sat, 21 Nov 2026 13:00:00 GMT")], 3600),
        ([("Expires", "Sat Nov 21 13:00:00 2026")], 3600),
        ([("Expires", "Sat, 21 Nov 2026 13:00:00 GMT"), ("Date", "Sat, 21 Nov 2026 12:30:00 GMT")], 1800),
        ([("Expires", "Sat, 21 Nov 2026 13:00:00 GMT"), ("Date", "today")], 3600),
        ([("Expires", "Fri, 31 Dec 9999 23:59:59 GMT")], LONGEST_AGE),
        ([("Expires", "Sat, 21 Nov 2026 12:00:00 GMT")], None),
        ([("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], None),
        ([("Expires", "0")], None),
        ([("Expires", "-1")], None),
        ([("X", "max-age=60")], None),
        ([], None),
    ],
)
def test_max_age(headers: list[tuple[str, str]], seconds: float | None) -> None:
    """RFC 9111 section 4.2.1: s-maxage, max-age, Expires minus Date; what promises nothing is None."""
    assert max_age(headers, NOW) == seconds


@given(HEADERS, st.datetimes(timezones=st.just(UTC)))
@example([("Expires", "Mon, 01 Jan 0001 00:00:00 +2359")], NOW)
@example([("Expires", "Fri, 31 Dec 9999 23:59:59 -2359")], NOW)
@example([("Date", "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT")], NOW)
def test_max_age_is_total(headers: list[tuple[str, str]], now: datetime) -> None:
    """Whatever a site sends, it is a number of seconds above 0, or nothing."""
    seconds = max_age(headers, now)

    assert seconds is None or 0 < seconds <= LONGEST_AGE


@pytest.mark.parametrize("beat", ['a="', 'a="\\', "=", '"', "a,", "a=\\", " ", "a="])
def test_max_age_is_quick(beat: str) -> None:
    """Headers as long as they may be are read in a moment, however they are made."""
    with Effort() as effort:
        max_age([("Cache-Control", (beat * 65536)[:65536])], NOW)

    assert effort.spent < 0.5
