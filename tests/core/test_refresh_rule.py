"""The rule of refreshing: texts, times, and what is said of wrong ones."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.core.refresh_rule import FIELDS, LONGEST, NICKNAMES, SHORTEST, Rule, RuleError, parse_rule
from crawler.core.revisit import Sight, adaptive

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SEEN = Sight(changed=False, elapsed=86400.0, period=86400.0)

RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
# Not Lord Howe: on the days when its clocks change by half an hour, cronsim is off by up to a day with a star.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
]
"""Where an hour of the night is skipped, and where midnight is."""
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it adds it
SIGHTS = st.builds(
    Sight,
    changed=st.sampled_from([None, False, True]),
    elapsed=st.none() | st.floats(0, 1e9),
    period=st.none() | st.floats(0, 1e9),
    max_age=st.none() | st.floats(0, 1e9),
    changefreq=st.none() | st.floats(0, 1e9),
)


@st.composite
def fields(draw: st.DrawFn, place: int) -> str:
    """A field of cron that is right: a star, numbers, ranges, steps, lists."""
    least, most = RANGES[place]
    numbers, ends = st.integers(least, most), st.tuples(st.integers(least, most - 1), st.integers(1, most))
    parts = st.one_of(
        numbers.map(str),
        ends.map(lambda two: f"{two[0]}-{min(two[0] + two[1], most)}"),
        st.builds(
            "{}/{}".format, ends.map(lambda two: f"{two[0]}-{min(two[0] + two[1], most)}"), st.integers(1, 30)
        ),
        st.integers(1, 70).map(lambda step: f"*/{step}"),
    )
    return draw(st.just("*") | st.lists(parts, min_size=1, max_size=3).map(",".join))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """An expression that is right, and comes on some day of every month."""
    minute, hour, weekday = (draw(fields(place)) for place in (0, 1, 4))
    day = draw(st.sampled_from(["*", "1", "*/2", "8-14", "L"]))
    return f"{minute} {hour} {day} {draw(st.sampled_from(['*', '1-12', '*/1']))} {weekday}"


TEXTS = st.one_of(
    st.sampled_from(["off", "adaptive", *NICKNAMES]),
    st.integers(int(SHORTEST), int(LONGEST)).map(lambda seconds: f"{seconds}s"),
    st.builds("CRON_TZ={} {}".format, st.sampled_from([*ZONES, "UTC"]), expressions()),
    expressions(),
)


def matches(field: str, place: int, value: int) -> bool:
    """What crontab(5) says of a field, written down once more."""
    for part in field.split(","):
        of, _, step = part.partition("/")
        low, _, high = of.partition("-")
        first, last = RANGES[place] if of == "*" else (int(low), int(high or low))
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def on_the_wall(minute: str, hour: str, wall: datetime) -> bool:
    """Whether the clock on the wall shows such a minute and hour."""
    return matches(minute, 0, wall.minute) and matches(hour, 1, wall.hour)


def times_of(minute: str, hour: str, zone: ZoneInfo, start: datetime, hours: int) -> list[datetime]:
    """When Debian's cron runs a job in the hours after a moment (cron(8)), minute by minute.

    With a star, whenever the clock shows it. Without: once for each that a day's plan names, or
    as soon as the clock has jumped over it.
    """
    minutes = [start + MINUTE * count for count in range(1, hours * 60 + 1)]
    if minute.startswith("*") or hour.startswith("*"):
        return [one for one in minutes if on_the_wall(minute, hour, one.astimezone(zone))]
    found = set()
    # A day more on both sides: what was jumped over, or comes again.
    wall = (start - timedelta(days=1)).astimezone(zone).replace(tzinfo=None)
    for _ in range((hours + 48) * 60):
        wall += MINUTE
        if on_the_wall(minute, hour, wall):
            real = wall.replace(tzinfo=zone).astimezone(UTC)
            shown = real.astimezone(zone).replace(tzinfo=None)
            # Of a wall time that does not exist, `real` lies as far behind the jump as it lay behind its beginning.
            found.add(real if shown == wall else jump_before(real, zone))
    return sorted(one for one in found if minutes[0] <= one <= minutes[-1])


def jump_before(moment: datetime, zone: ZoneInfo) -> datetime:
    """The first minute with the offset that the clock has now."""
    while (moment - MINUTE).astimezone(zone).utcoffset() == moment.astimezone(zone).utcoffset():
        moment -= MINUTE
    return moment


def next_times(text: str, after: datetime, count: int) -> list[str]:
    """The next so many times of a rule, as the clock in UTC shows them."""
    rule, shown = parse_rule(text), []
    for _ in range(count):
        found = rule.next_time(after)
        assert found is not None
        shown.append(f"{found:%m-%d %H:%M}")
        after = found
    return shown


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("off", "off"),
        (" OFF ", "off"),
        ("Adaptive", "adaptive"),
        ("12h", "12h"),
        ("24h", "1d"),
        ("1.5h", "90m"),
        ("300", "5m"),
        ("3650d", "3650d"),
        ("0  3 * *\tmon-FRI", "0 3 * * MON-FRI"),
        ("@daily", "0 0 * * *"),
        ("@Hourly", "0 * * * *"),
        ("CRON_TZ=UTC 0 3 * * *", "0 3 * * *"),
        ("cron_tz=Europe/Berlin @weekly", "CRON_TZ=Europe/Berlin 0 0 * * 0"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 LW * *", "0 0 LW * *"),
        ("* 0-0/1 * * sun-sun/2", "* 0 * * SUN"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    """A rule has one text, however it was written."""
    assert parse_rule(text).text == canonical


@given(TEXTS)
def test_text_round_trip(text: str) -> None:
    """What a rule's text says is that rule again."""
    rule = parse_rule(text)
    again = parse_rule(rule.text)

    assert again == rule
    assert (again.text, again.seconds, again.times) == (rule.text, rule.seconds, rule.times)


def test_rules_are_equal_by_text() -> None:
    """Two ways to write the same rule are one key, and another rule is another."""
    assert len({parse_rule(text) for text in ("@daily", "0 0 * * *", "CRON_TZ=UTC 0 0 * * *")}) == 1
    assert parse_rule("1d") != parse_rule("@daily")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0 25 * * *", "'0 25 * * *': the hour '25' (character 3) is not 0-23;"),
        ("60 3 * * *", "the minute '60' (character 1) is not 0-59;"),
        ("0,1,99 3 * * *", "the minute '99' (character 5) is not 0-59;"),
        ("0 3 32 * *", "the day of the month '32' (character 5) is not 1-31"),
        ("0 3 * sept *", "the month 'sept' (character 7) is not 1-12 or JAN-DEC;"),
        ("0 3 * * 8", "the day of the week '8' (character 9) is not 0-7 or SUN-SAT;"),
        ("0 3 * * fri-sun", "the day of the week 'fri-sun' (character 9) runs backwards;"),
        ("*/0 3 * * *", "the minute '*/0' (character 1) has no step of 1 or more;"),
        ("CRON_TZ=Europe/Berlin 0 24 * * *", "the hour '24' (character 25) is not 0-23;"),
        ("0 3,, * * *", "the hour '' (character 5) is not 0-23;"),
        ("0 3 * *", "'0 3 * *' has 4 fields of cron instead of five"),
        ("0 0 3 * * *", "has 6 fields of cron instead of five"),
        ("CRON_TZ=Europe/Berlin", "has 0 fields of cron"),
        ("0 0 30 2 *", "'0 0 30 2 *' never comes"),
        ("0 0 */10 2 mon#5", "never comes"),
        (
            "CRON_TZ=Europe/Berln 0 3 * * *",
            "the zone 'Europe/Berln' (character 9) is not known; for example 'CRON_TZ=",
        ),
        ("CRON_TZ=Europe 0 3 * * *", "the zone 'Europe'"),
        ("CRON_TZ=right/Europe/Berlin 0 3 * * *", "the zone 'right/Europe/Berlin'"),
        ("CRON_TZ=/etc/passwd 0 3 * * *", "the zone '/etc/passwd'"),
        ("CRON_TZ= 0 3 * * *", "the zone ''"),
        ("@dayly", "'@dayly' is not one of @yearly"),
        ("@reboot", "'@reboot' is not one of"),
        ("59s", "'59s' is not within 1m to 3650d;"),
        ("3651d", "'3651d' is not within 1m to 3650d;"),
        ("5x", "'5x' is no interval"),
        ("often", "'often' is no rule;"),
        ("off 7d", "'off 7d' is no rule;"),
        ("", "'' is no rule;"),
        ("0 3 * * *\n\x1b[2J", "'0 3 * * * \\x1b[2J' has 6 fields"),
        ("1," * 200 + "1 * * * *", "...' is longer than 300 characters;"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_an_example(text: str, place: str) -> None:
    """What is wrong is said in one line, with the place, and with an example that is right."""
    with pytest.raises(RuleError) as caught:
        parse_rule(text)

    message = str(caught.value)
    said, _, shown = message.partition("for example '")
    assert place in message
    assert said.startswith("refresh: ")
    assert parse_rule(shown.partition("'")[0]).times is not None
    assert "\n" not in message


@given(
    st.text()
    | st.lists(st.text("0123456789*/,-#LWlwmonjan@", max_size=12), max_size=7).map(" ".join)
    | st.builds("CRON_TZ={} {}".format, st.text(), expressions())
)
@example("9" * 5000)
@example("*/" + "9" * 250 + " * * * *")
@example("CRON_TZ=\ud800 0 3 * * *")
@example("٣ 3 * * *")
@example("² 3 * * *")
@example("CRON_TZ=a\0b 0 3 * * *")
def test_any_text_is_a_rule_or_is_refused_in_a_line(text: str) -> None:
    """Whatever a person writes, it is a rule whose text is one too, or one line of refusal."""
    try:
        rule = parse_rule(text)
    except RuleError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - most texts are refused, some are not
    else:
        assert parse_rule(rule.text) == rule


@given(TEXTS, SIGHTS, MOMENTS, MOMENTS | st.just(datetime(1970, 1, 1, tzinfo=UTC)))
def test_a_next_visit_lies_in_the_future(text: str, sight: Sight, now: datetime, due_at: datetime) -> None:
    """Every rule but `off` has a next visit, and that is later than now."""
    seconds = parse_rule(text).next_visit(sight, now, due_at)

    assert (seconds is None) == (text == "off")
    assert seconds is None or seconds > 0


@given(SIGHTS, MOMENTS)
def test_each_kind_of_rule_decides_by_its_own(sight: Sight, now: datetime) -> None:
    """Adaptive goes by what was seen, an interval by itself, and neither has times for all pages."""
    assert parse_rule("adaptive").next_visit(sight, now, now) == adaptive(sight)
    assert parse_rule("12h").next_visit(sight, now, now) == 43200
    assert [parse_rule(text).next_time(now) for text in ("off", "adaptive", "12h")] == [None, None, None]


@given(
    expressions(), st.sampled_from([*ZONES, "UTC"]), MOMENTS, st.timedeltas(timedelta(0), timedelta(days=40))
)
def test_times_come_in_order(expression: str, zone: str, after: datetime, later: timedelta) -> None:
    """The next time is later than the moment asked for, whole minutes, and no later for an earlier moment."""
    rule = parse_rule(f"CRON_TZ={zone} {expression}")
    first, second = rule.next_time(after), rule.next_time(after + later)

    assert first is not None
    assert second is not None
    assert after < first <= second
    assert (first.second, first.microsecond) == (0, 0)
    assert first == second or first <= after + later


@given(MOMENTS, st.timedeltas(-timedelta(minutes=10), timedelta(minutes=10)))
def test_a_time_is_served_once_whatever_the_worker_believes_it_is(due_at: datetime, off: timedelta) -> None:
    """The time a page was due for does not come again for a clock that runs behind."""
    rule = parse_rule("*/5 * * * *")
    served = rule.next_time(due_at)
    assert served is not None

    now = served + off
    seconds = rule.next_visit(SEEN, now, served)

    assert seconds is not None
    assert now + timedelta(seconds=seconds) == rule.next_time(max(now, served))
    assert now + timedelta(seconds=seconds) > served


def test_due_since_the_epoch_goes_by_now() -> None:
    """A page that was asked for by hand comes again at the next time of its rule."""
    assert parse_rule("0 3 * * *").next_visit(SEEN, NOW, datetime(1970, 1, 1, tzinfo=UTC)) == 15 * 3600


def test_after_the_end_of_the_calendar_there_is_nothing() -> None:
    """Where the calendar ends, the rule says never."""
    last = datetime.max.replace(tzinfo=UTC)

    assert parse_rule("@daily").next_time(last) is None
    assert parse_rule("@daily").next_visit(SEEN, last, last) is None


@pytest.mark.parametrize(
    ("rule", "after", "times"),
    [
        ("30 2 * * *", "2027-03-27T12:00", ["03-28 01:00", "03-29 00:30"]),
        ("0,30 2 * * *", "2027-03-27T12:00", ["03-28 01:00", "03-29 00:00"]),
        ("30 * * * *", "2027-03-28T00:00", ["03-28 00:30", "03-28 01:30"]),
        ("*/30 2 * * *", "2027-03-27T12:00", ["03-29 00:00", "03-29 00:30"]),
        ("30 2 * * *", "2027-10-30T12:00", ["10-31 00:30", "11-01 01:30"]),
        ("30 2 * * *", "2027-10-31T01:10", ["11-01 01:30"]),
        ("30 * * * *", "2027-10-31T00:00", ["10-31 00:30", "10-31 01:30", "10-31 02:30"]),
        ("*/30 2 * * *", "2027-10-30T12:00", ["10-31 00:00", "10-31 00:30", "10-31 01:00", "10-31 01:30"]),
        ("0 3 * * *", "2027-03-27T12:00", ["03-28 01:00", "03-29 01:00"]),
    ],
)
def test_daylight_saving_as_in_debian(rule: str, after: str, times: list[str]) -> None:
    """In Berlin, the clock jumps from 2 to 3 on 28 March 2027 and goes back from 3 to 2 on 31 October.

    A fixed time that is skipped comes when the clock has jumped, and one that occurs twice comes once;
    with a star in minute or hour it comes whenever the clock shows it.
    """
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert next_times(f"CRON_TZ=Europe/Berlin {rule}", start, len(times)) == times


@settings(max_examples=30)
@given(fields(0), fields(1), st.sampled_from(ZONES), st.data())
def test_every_clock_change_is_as_in_debian(minute: str, hour: str, zone: str, data: st.DataObject) -> None:
    """Around the changes of clocks, the times are those that cron(8) describes, none missing and none twice."""
    changes = clock_changes(ZoneInfo(zone), 2026)
    start = data.draw(st.sampled_from(changes)) - timedelta(minutes=data.draw(st.integers(-120, 240)))
    expected = times_of(minute, hour, ZoneInfo(zone), start, 30)

    rule, found, after = parse_rule(f"CRON_TZ={zone} {minute} {hour} * * *"), [], start
    for _ in expected:
        following = rule.next_time(after)
        assert following is not None
        found.append(following)
        after = following

    assert found == expected


def clock_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """When the clocks of a zone change in a year."""
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=count) for count in range(366 * 24)]
    return [
        later
        for one, later in pairwise(hours)
        if one.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset()
    ]


@given(st.sampled_from(["15 4 29 2 *", "0 0 29 2 */7", "0 0 1 1 *", "0 0 31 * 1L"]), MOMENTS)
def test_rare_times_are_found(expression: str, after: datetime) -> None:
    """A time that comes once in four years, or in 28, is found all the same."""
    found = parse_rule(expression).next_time(after)

    assert found is not None
    assert found > after


def test_a_zone_is_known_without_the_system() -> None:
    """A machine that has no time zones of its own knows them all the same."""
    code = "from crawler.core.refresh_rule import parse_rule; print(parse_rule('CRON_TZ=Asia/Tokyo @daily'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout == f"{Rule('CRON_TZ=Asia/Tokyo 0 0 * * *')}\n"


def test_every_field_is_named() -> None:
    """Each of the five fields has a name and says what it may hold."""
    assert [name for name, _ in FIELDS] == ["minute", "hour", "day of the month", "month", "day of the week"]
