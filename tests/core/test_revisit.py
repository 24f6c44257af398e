"""Revisit: sooner to what changes, later to what does not; and what a site says of it."""

import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.core.revisit import (
    CHANGEFREQ,
    DAY,
    HINTED_GROWTH,
    HINTED_START,
    HOUR,
    LATEST,
    LONGEST_AGE,
    SETTLES,
    SOONEST,
    Sight,
    adaptive,
    brought_forward,
    changefreq,
    max_age,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
INTERVALS = st.floats(SOONEST, LATEST)
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
    ("sight", "interval"),
    [
        (Sight(), 7 * DAY),
        (Sight(changed=False, revisit=7 * DAY), 10.5 * DAY),
        (Sight(changed=True, revisit=7 * DAY), 3.5 * DAY),
        (Sight(changed=False, revisit=80 * DAY), 90 * DAY),
        (Sight(changed=True, revisit=90 * 60.0), HOUR),
        (Sight(changed=True), 7 * DAY),
        (Sight(revisit=DAY), 7 * DAY),
    ],
)
def test_the_design_s_numbers(sight: Sight, interval: float) -> None:
    """7 d to begin with, x 1.5 unchanged, x 0.5 changed, within 1 h and 90 d."""
    assert adaptive(sight) == interval


@pytest.mark.parametrize(
    ("sight", "interval"),
    [
        (Sight(changefreq=7 * DAY), SETTLES * 7 * DAY),
        (Sight(changefreq=HOUR), DAY),
        (Sight(changefreq=3650 * DAY), 28 * DAY),
        (Sight(changefreq=HOUR, max_age=10 * DAY), 10 * DAY),
        (Sight(max_age=600), 7 * DAY),
        (Sight(max_age=14 * DAY), 14 * DAY),
        (Sight(changed=False, revisit=8 * DAY, changefreq=HOUR), 10 * DAY),
        (Sight(changed=False, revisit=8 * DAY, changefreq=365 * DAY), 16 * DAY),
        (Sight(changed=False, revisit=8 * DAY, changefreq=14 * DAY / SETTLES), 14 * DAY),
        (Sight(changed=False, revisit=8 * DAY, max_age=600), 12 * DAY),
        (Sight(changed=False, revisit=8 * DAY, max_age=15 * DAY), 15 * DAY),
        (Sight(changed=True, revisit=8 * DAY, changefreq=365 * DAY, max_age=1e9), 4 * DAY),
    ],
)
def test_hints_shape(sight: Sight, interval: float) -> None:
    """A hint chooses the beginning within bounds and the growth within bounds; a short max-age says nothing."""
    assert adaptive(sight) == pytest.approx(interval)


@given(
    st.builds(
        Sight, changed=st.sampled_from([None, False, True]), revisit=HINTS, max_age=HINTS, changefreq=HINTS
    )
)
def test_an_interval_lies_within_its_bounds(sight: Sight) -> None:
    """No sight leads beyond the bounds of all intervals, or of the first."""
    least, most = HINTED_START if None in {sight.changed, sight.revisit} else (SOONEST, LATEST)

    assert least <= adaptive(sight) <= most


@given(INTERVALS, HINTS, HINTS)
def test_a_change_weighs_more_than_words(revisit: float, said_age: float | None, said: float | None) -> None:
    """After a change the interval does not depend on hints, and is shorter than without a change."""
    changed = adaptive(Sight(changed=True, revisit=revisit, max_age=said_age, changefreq=said))
    unchanged = adaptive(Sight(changed=False, revisit=revisit, max_age=said_age, changefreq=said))

    assert changed == adaptive(Sight(changed=True, revisit=revisit))
    assert changed <= revisit <= unchanged
    assert changed < unchanged


@given(INTERVALS, st.booleans(), HINTS, HINTS)
def test_a_hint_moves_an_interval_by_less_than_two(
    revisit: float,
    changed: bool,  # noqa: FBT001 - hypothesis names it
    said_age: float | None,
    said: float | None,
) -> None:
    """A later interval is moved by less than a factor of 2, in the direction of the hint and never past it."""
    plain = adaptive(Sight(changed=changed, revisit=revisit))
    moved = adaptive(Sight(changed=changed, revisit=revisit, max_age=said_age, changefreq=said))
    wish = max(SETTLES * said, said_age or 0) if said is not None else max(said_age or 0, plain)

    assert plain / 2 < moved < plain * 2
    assert min(plain, wish) <= moved <= max(plain, wish)


@given(INTERVALS, HINTS, st.floats(0, 1e9), st.floats(0, 1e9), st.booleans())
def test_a_later_hint_is_never_an_earlier_visit(
    revisit: float,
    said_age: float | None,
    one: float,
    other: float,
    changed: bool,  # noqa: FBT001 - hypothesis names it
) -> None:
    """The interval is monotone in changefreq, in max-age and in the interval before."""

    def interval(**known: float | None) -> float:
        return adaptive(Sight(**{"changed": changed, "revisit": revisit, "max_age": said_age, **known}))  # type: ignore[arg-type]

    low, high = sorted((one, other))

    assert interval(changefreq=low) <= interval(changefreq=high)
    assert interval(max_age=low) <= interval(max_age=high)
    assert interval(revisit=low) <= interval(revisit=high)


@given(st.lists(st.tuples(HINTS, HINTS), min_size=45, max_size=45))
def test_a_page_that_never_changes_is_left_alone_whatever_is_said(
    said: list[tuple[float | None, float | None]],
) -> None:
    """However the hints change from visit to visit, some 20 unchanged visits lead from a day to 90."""
    interval, visits = adaptive(Sight(max_age=said[0][0], changefreq=said[0][1])), 0
    for said_age, word in said:
        if interval < LATEST:
            visits += 1
            interval = adaptive(Sight(changed=False, revisit=interval, max_age=said_age, changefreq=word))

    assert interval == LATEST
    # From a day to 90 d by the slowest growth.
    assert visits <= 21


def test_growth_balances_within_two() -> None:
    """By the slowest and the fastest growth, a page that changes at random is visited less than twice as often, or rarely."""

    def settles(growth: float) -> float:
        share = math.log(growth) / (math.log(growth) + math.log(2))
        return -math.log(1 - share)

    slow, fast = (settles(growth) for growth in HINTED_GROWTH)

    assert settles(1.5) == pytest.approx(SETTLES, abs=0.002)
    assert settles(1.5) / slow == pytest.approx(1.65, abs=0.01)
    assert fast / settles(1.5) == pytest.approx(1.5, abs=0.01)


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
        (0, 0, 13.0),
        (1, 1, 5.5),
        (10, 10, 1.5),
        (1000, 1000, 1.0),
        (1, 0, 30.4),
        (10, 0, 109.6),
        (1000, 0, 167.1),
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
    began = time.perf_counter()
    max_age([("Cache-Control", (beat * 65536)[:65536])], NOW)

    assert time.perf_counter() - began < 0.5
