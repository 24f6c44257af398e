"""A crawl's rule of refreshing: a text in, the next visit out.

    off │ adaptive │ 12h, 7d │ 0 3 * * * │ CRON_TZ=Europe/Berlin 0 3 * * mon-fri ──► parse_rule ──► Rule

1. What `Rule.text` says, `parse_rule` understands, and it is the same rule: rules are equal if their texts are.
2. A next visit lies in the future, always.
3. A cron expression means what it means to Debian's cron, daylight saving included: a fixed time that is skipped in
   spring comes when the clock has jumped, one that occurs twice in autumn comes once; where the minute or the hour
   begins with ``*``, it is the clock on the wall that counts, through both hours. (Not where clocks change by half
   an hour, on that day: Lord Howe Island.)
4. What is wrong raises RuleError, one line: the place, and an example. Nothing else is raised.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from crawler.core.amounts import SECONDS, amount, show_duration
from crawler.core.errors import UsageError
from crawler.core.revisit import Sight, adaptive

SHORTEST: Final = 60.0
LONGEST: Final = 3650 * 86400.0
LONGEST_TEXT: Final = 300
LONGEST_SHOWN: Final = 100
"""Characters."""
EXAMPLE: Final = "'0 3 * * *' (every day at 3:00 UTC), 7d, adaptive or off"
IN_A_ZONE: Final = "'CRON_TZ=Europe/Berlin 0 3 * * *' (every day at 3:00 in Berlin)"
ZONE: Final = "CRON_TZ="
OFF: Final = "off"
ADAPTIVE: Final = "adaptive"

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""As in crontab(5)."""
FIELDS: Final = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31, L (the last) or LW (its last weekday)"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT"),
)

_ZONE_NAME: Final = re.compile(r"(?!posix/|right/)[A-Za-z][A-Za-z0-9_+/-]*", re.ASCII)
# cronsim reads a range of one as its beginning and all that follows; to cron(8) it is that one.
_ONE: Final = re.compile(r"\b([0-9A-Z]+)-\1/[0-9]+")
# Any moment does; what comes at all comes within 50 years of it.
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


class RuleError(UsageError):
    """That is no rule of refreshing: give '0 3 * * *' (every day at 3:00 UTC), 7d, adaptive or off."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a cron expression."""

    expression: str
    """Five fields, upper case."""
    zone: str = "UTC"

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than an aware moment, in UTC; None: there is none within 50 years."""
        # Times are whole minutes, so that all moments within one have the same next time.
        return _next(self.expression, self.zone, moment.astimezone(UTC).replace(second=0, microsecond=0))


@dataclass(frozen=True, slots=True)
class Rule:
    """When a page is visited next. Made by `parse_rule`."""

    text: str
    """Canonical: rules are equal if their texts are."""
    seconds: float | None = field(default=None, compare=False, repr=False)
    """The interval, where the rule is one."""
    times: Times | None = field(default=None, compare=False, repr=False)
    """When all pages are due together, where the rule is a cron expression."""

    def next_visit(self, sight: Sight, now: datetime, due_at: datetime) -> float | None:
        """Seconds from now to the next visit, more than 0; None: never by the clock.

        Where the rule is one of times, `next_time` after the later of now and due_at is the moment that is meant.

        Args:
            sight: what this visit saw; of a page that is not well: that it has not changed.
            now: an aware moment, by whatever clock.
            due_at: for what time this visit was made. A clock that runs behind the database's would otherwise
                serve the same time of a cron expression again. Where it is earlier than the time it stands for
                (priority, `crawl refresh`), it does no harm.
        """
        if self.times is not None:
            found = self.times.after(max(now, due_at))
            return None if found is None else (found - now).total_seconds()
        return adaptive(sight) if self.text == ADAPTIVE else self.seconds

    def next_time(self, after: datetime) -> datetime | None:
        """The next time, in UTC, at which all pages are due; None: each page has its own, or none."""
        return None if self.times is None else self.times.after(after)


def parse_rule(text: str) -> Rule:
    """The rule that a text means: ``off``, ``adaptive``, an interval, or a cron expression with or without its zone.

    An interval is a number with s, m, h or d, from a minute to ten years. A cron expression has five fields or is
    a nickname (``@daily``), in UTC unless ``CRON_TZ=Zone`` stands before it.

    Raises:
        RuleError: it is none of these, or would never come.
    """
    plain = " ".join(text.split())
    if len(plain) > LONGEST_TEXT:
        raise _refused(plain, f"is longer than {LONGEST_TEXT} characters")
    head, _, rest = plain.partition(" ")
    match head.lower():
        case word if word in {OFF, ADAPTIVE} and not rest:
            return Rule(word)
        case word if word.startswith(ZONE.lower()):
            zone = _zone(plain, head[len(ZONE) :])
            return _cron(plain, len(head) + 1, zone)
        case word if word.startswith("@") or len(rest.split()) > 1:
            return _cron(plain, 0, "UTC")
        case word if word[:1].isdecimal():
            return _every(plain)
    raise _refused(plain, "is no rule")


def _every(plain: str) -> Rule:
    seconds = amount(plain, SECONDS, "s")
    if seconds is None:
        raise _refused(plain, "is no interval (a number with s, m, h or d)")
    if not SHORTEST <= seconds <= LONGEST:
        raise _refused(plain, "is not within 1m to 3650d")
    seconds = round(seconds, 3)
    return Rule(show_duration(seconds), seconds=seconds)


def _zone(plain: str, name: str) -> str:
    try:
        if _ZONE_NAME.fullmatch(name):
            ZoneInfo(name)
            return "UTC" if name == "Etc/UTC" else name
    except (OSError, ValueError, KeyError):  # a folder; no time zone; not there
        pass
    raise _refused(plain, f"the zone {_shown(name)} (character {len(ZONE) + 1}) is not known", IN_A_ZONE)


def _cron(plain: str, start: int, zone: str) -> Rule:
    """From the expression that begins at a character of the text."""
    words = plain[start:].split()
    if len(words) == 1 and words[0].startswith("@"):
        if (known := NICKNAMES.get(words[0].lower())) is None:
            raise _refused(plain, f"{_shown(words[0])} is not one of {', '.join(NICKNAMES)}")
        plain, start, words = known, 0, known.split()
    if len(words) != len(FIELDS):
        names = ", ".join(name for name, _ in FIELDS)
        raise _refused(plain, f"has {len(words)} fields of cron instead of five ({names})")
    for place, word in enumerate(words):
        _check(plain, start, place, word)
        start += len(word) + 1
    times = Times(_ONE.sub(r"\1", " ".join(words).upper()), zone)
    if not _reads(times.expression) or times.after(_SOME_DAY) is None:
        raise _refused(plain, "never comes: none of these months has such a day")
    return Rule(times.expression if zone == "UTC" else f"{ZONE}{zone} {times.expression}", times=times)


def _check(plain: str, start: int, place: int, word: str) -> None:
    """Refuse a field, by that one of its parts which is wrong."""
    for part in word.split(","):
        if not _part_reads(place, part):
            name, allowed = FIELDS[place]
            of, slash, _ = part.partition("/")
            low, _, high = of.partition("-")
            why = f"is not {allowed}"
            if slash and _part_reads(place, of):
                why = "has no step of 1 or more"
            elif _part_reads(place, low) and _part_reads(place, high):
                why = "runs backwards"
            raise _refused(plain, f"the {name} {_shown(part)} (character {start + 1}) {why}")
        start += len(part) + 1


def _part_reads(place: int, part: str) -> bool:
    return _reads(" ".join(part if place == each else "*" for each in range(len(FIELDS))))


def _reads(expression: str) -> bool:
    """Whether cronsim takes it for an expression that may come."""
    try:
        CronSim(expression, _SOME_DAY)
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=1024)
def _next(expression: str, zone: str, after: datetime) -> datetime | None:
    """The first time later than a moment, both in UTC."""
    try:
        where = UTC if zone == "UTC" else ZoneInfo(zone)
        # In the hour that comes twice, cronsim begins with the first.
        return next(
            (
                moment
                for found in CronSim(expression, after.astimezone(where))
                if (moment := found.astimezone(UTC)) > after
            ),
            None,
        )
    except OverflowError:  # the calendar ends with the year 9999
        return None


def _refused(plain: str, why: str, example: str = EXAMPLE) -> RuleError:
    colon = ":" if why.startswith(("the ", "'")) else ""
    return RuleError(f"refresh: {_shown(plain)}{colon} {why}; for example {example}")


def _shown(text: str) -> str:
    """Quoted, short, on one line."""
    short = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
    return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in short) + "'"
