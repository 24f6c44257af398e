"""What we remember of an origin's robots.txt, and which rules that puts in force.

    answers ──after_fetch──► RobotsRecord (what we keep) ──effective──► Rules, and why these

Robots fail closed: without rules younger than 30 days that the site gave us, everything is disallowed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from crawler.core.model import Outcome
from crawler.core.moments import EPOCH
from crawler.core.robots import DENY_ALL, Rules, parse
from crawler.core.robots_lines import MAX_ROBOTS_BYTES, paths_digest

KEPT: Final = timedelta(hours=24)
"""RFC 9309 section 2.4: no copy is used for longer, unless robots.txt cannot be reached."""
STALE: Final = timedelta(days=30)
"""RFC 9309 section 2.3.1.4: for so long a last good copy stands in for an unreachable robots.txt."""
MAX_REDIRECTS: Final = 5
WISHED: Final = EPOCH
"""When a copy expires of which somebody wishes that it be asked for now (`crawl refresh --robots`); in the database 'epoch'."""

_FIRST_BACK_OFF: Final = timedelta(minutes=10)
_LAST_BACK_OFF: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class RobotsRecord:
    """What we remember of an origin's robots.txt: the row of ``origins``."""

    origin: str
    status: int | None = None
    """Of the last answer."""
    body: bytes | None = None
    """The last good copy: empty when there was no robots.txt, None when there never was a copy."""
    good_at: datetime | None = None
    """When that copy was fetched, or found to be still right."""
    fetched_at: datetime | None = None
    """When robots.txt was last asked for."""
    expires_at: datetime | None = None
    """When to ask again; `WISHED`: now, for somebody waits for it."""
    failures: int = 0
    """How often in a row it could not be reached."""
    detail: str = ""
    """What came of the last request, for people: ``"answered 503"``."""

    @property
    def wished(self) -> bool:
        """Whether somebody waits for a new one."""
        return self.expires_at == WISHED

    def is_in_force(self, now: datetime) -> bool:
        """Whether there is a copy, and it may be used."""
        return self.body is not None and self.good_at is not None and now - self.good_at < STALE


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules in force, and why these, for people."""

    rules: Rules
    reason: str


def after_fetch(
    origin: str,
    record: RobotsRecord | None,
    *,
    outcome: Outcome,
    status: int | None,
    body: bytes,
    now: datetime,
    detail: str = "",
) -> RobotsRecord:
    """What to remember after asking for robots.txt (RFC 9309 section 2.3.1).

    ``outcome``, ``status`` and ``body`` are those of the last answer, redirects followed up to
    ``MAX_REDIRECTS``: REDIRECT means there were more, or a loop, or that the target is no URL we can
    fetch. A body that was cut at the cap may be handed in with TOO_LARGE; without a body that counts as unreachable.
    """
    old = record or RobotsRecord(origin)
    copy = _copy(old, outcome, status, body)
    if copy is not None:
        said = (detail or "redirected too often") if outcome is Outcome.REDIRECT else f"answered {status}"
        return RobotsRecord(origin, status, copy, now, now, now + KEPT, 0, said)
    failures = old.failures + 1
    # Eight doublings are more than a day; the limit keeps the power small.
    wait = min(_FIRST_BACK_OFF * 2 ** min(failures - 1, 8), _LAST_BACK_OFF)
    if outcome in {Outcome.HTTP_ERROR, Outcome.THROTTLED}:
        said = f"answered {status}"
    else:
        said = f"could not be read ({outcome}{': ' if detail else ''}{detail})"
    return replace(
        old,
        origin=origin,
        status=status,
        fetched_at=now,
        expires_at=now + wait,
        failures=failures,
        detail=said,
    )


def _copy(old: RobotsRecord, outcome: Outcome, status: int | None, body: bytes) -> bytes | None:
    """The good copy that this answer gives us, or None: unreachable."""
    code = status or 0
    if outcome is Outcome.OK or (outcome is Outcome.TOO_LARGE and body and 200 <= code < 300):  # noqa: PLR2004 - 2xx
        return body[:MAX_ROBOTS_BYTES]
    if outcome is Outcome.NOT_MODIFIED:
        return old.body
    if outcome is Outcome.REDIRECT:
        # Google too takes redirects that lead nowhere for a 404 (its page on robots.txt, "Handling of errors and HTTP status codes").
        return b""
    # Section 2.3.1.3: 4xx is "unavailable", all is allowed. 429 is no such statement but a cry for rest.
    absent = outcome in {Outcome.GONE, Outcome.HTTP_ERROR} and 400 <= code < 500 and code != 429  # noqa: PLR2004 - 4xx
    return b"" if absent else None


def effective(record: RobotsRecord | None, now: datetime, token: str) -> Standing:
    """The rules in force now. Parses; keep the answer for as long as the record is the same."""
    if record is None or record.fetched_at is None:
        return Standing(DENY_ALL, "robots.txt was not asked for yet: nothing is fetched before it is")
    if record.body is None or record.good_at is None or not record.is_in_force(now):
        return Standing(
            DENY_ALL,
            f"robots.txt {record.detail} and no copy is younger than {STALE.days} days: "
            "everything is disallowed until it answers",
        )
    rules = parse(record.body, token)
    day = f"{record.good_at:%Y-%m-%d %H:%M}"
    if record.failures:
        return Standing(rules, f"rules of {day}; since then robots.txt {record.detail}")
    if record.body:
        return Standing(rules, f"rules of {day}")
    return Standing(rules, f"no rules: robots.txt {record.detail} on {day}")


def needs_fetch(record: RobotsRecord | None, now: datetime) -> bool:
    """Must robots.txt be asked for before the next page is?"""
    return record is None or record.expires_at is None or now >= record.expires_at


def rules_differ(old: RobotsRecord | None, new: RobotsRecord, now: datetime) -> bool:
    """May any product token now do what it could not before, or the other way round? What the old rules refused is then looked at again."""
    if old is None or old.fetched_at is None:
        return False
    if not (old.is_in_force(now) and new.is_in_force(now)):
        return old.is_in_force(now) != new.is_in_force(now)
    return old.body != new.body and paths_digest(old.body or b"") != paths_digest(new.body or b"")
