"""What is remembered of a robots.txt, and which rules that puts in force."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.model import Outcome
from crawler.core.robots import ALLOW_ALL, DENY_ALL, parse
from crawler.core.robots_lines import MAX_ROBOTS_BYTES
from crawler.core.robots_record import (
    KEPT,
    STALE,
    WISHED,
    RobotsRecord,
    Standing,
    after_fetch,
    effective,
    needs_fetch,
    rules_differ,
)

US = "faircrawl"
NOW = datetime(2026, 11, 21, 9, 12, tzinfo=UTC)
ORIGIN = "https://example.org"


def fetched(
    record: RobotsRecord | None, outcome: Outcome, status: int | None = None, body: bytes = b"", **more: Any
) -> RobotsRecord:
    """``after_fetch`` at NOW, unless told otherwise."""
    facts = {"now": NOW, **more}
    return after_fetch(ORIGIN, record, outcome=outcome, status=status, body=body, **facts)


GOOD = fetched(None, Outcome.OK, 200, b"User-agent: *\nDisallow: /a\n")


def test_good_answer_is_kept_a_day() -> None:
    """Rules are kept for 24 hours."""
    assert (
        RobotsRecord(
            origin=ORIGIN,
            status=200,
            body=b"User-agent: *\nDisallow: /a\n",
            good_at=NOW,
            fetched_at=NOW,
            expires_at=NOW + KEPT,
            failures=0,
            detail="answered 200",
        )
        == GOOD
    )
    assert needs_fetch(None, NOW)
    assert needs_fetch(RobotsRecord(ORIGIN), NOW)
    assert not needs_fetch(GOOD, NOW + KEPT - timedelta(seconds=1))
    assert needs_fetch(GOOD, NOW + KEPT)


def test_good_answer_is_in_force() -> None:
    """The rules are those of the body, and the reason names the day."""
    standing = effective(GOOD, NOW, US)

    assert standing.reason == "rules of 2026-11-21 09:12"
    assert [standing.rules.allows(path) for path in ("/a", "/b")] == [False, True]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 410, 451, 499])
def test_4xx_allows_everything(status: int) -> None:
    """No robots.txt, no rules (RFC 9309 section 2.3.1.3), for a day; older rules are forgotten."""
    outcome = Outcome.GONE if status in {404, 410} else Outcome.HTTP_ERROR
    record = fetched(GOOD, outcome, status)
    standing = effective(record, NOW, US)

    assert (record.body, record.expires_at, record.failures) == (b"", NOW + KEPT, 0)
    assert standing.rules.digest == ALLOW_ALL.digest
    assert standing.reason == f"no rules: robots.txt answered {status} on 2026-11-21 09:12"


def test_too_many_redirects_allow_everything() -> None:
    """More than five redirects may be taken as no robots.txt (RFC 9309 section 2.3.1.2)."""
    standing = effective(fetched(None, Outcome.REDIRECT, 302), NOW, US)

    assert standing.rules.allows("/a")
    assert standing.reason == "no rules: robots.txt redirected too often on 2026-11-21 09:12"


UNREACHABLE = [
    (Outcome.HTTP_ERROR, 500),
    (Outcome.HTTP_ERROR, 599),
    (Outcome.HTTP_ERROR, 300),
    (Outcome.THROTTLED, 429),
    (Outcome.THROTTLED, 503),
    (Outcome.HTTP_ERROR, 429),
    (Outcome.TOO_LARGE, 200),
    (Outcome.TOO_SLOW, 200),
    (Outcome.NOT_MODIFIED, 304),
    (Outcome.TIMEOUT, 404),
    (Outcome.ADDRESS_REFUSED, None),
    (Outcome.TYPE_REFUSED, 200),
    (Outcome.DNS_ERROR, None),
    (Outcome.CONNECT_ERROR, None),
    (Outcome.TLS_ERROR, None),
    (Outcome.PROTOCOL_ERROR, None),
    (Outcome.DECODE_ERROR, 200),
]


@pytest.mark.parametrize(("outcome", "status"), UNREACHABLE)
def test_unreachable_without_a_copy_forbids_everything(outcome: Outcome, status: int | None) -> None:
    """No rules, no fetch."""
    record = fetched(None, outcome, status)

    assert effective(record, NOW, US).rules is DENY_ALL
    assert (record.failures, record.expires_at) == (1, NOW + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("outcome", "status"), [row for row in UNREACHABLE if row[0] != Outcome.NOT_MODIFIED]
)
def test_unreachable_leaves_the_last_copy_in_force_for_30_days(outcome: Outcome, status: int | None) -> None:
    """A copy younger than 30 days stands in, and on the thirtieth day it does not."""
    later = NOW + timedelta(days=2)
    record = fetched(GOOD, outcome, status, now=later)

    assert (record.body, record.good_at, record.fetched_at) == (GOOD.body, NOW, later)
    assert not effective(record, NOW + STALE - timedelta(seconds=1), US).rules.allows("/a")
    assert effective(record, NOW + STALE - timedelta(seconds=1), US).rules.allows("/b")
    assert effective(record, NOW + STALE, US).rules is DENY_ALL


def test_reasons_for_people() -> None:
    """Every standing says why in a sentence."""
    throttled = fetched(GOOD, Outcome.THROTTLED, 503)
    lost = fetched(None, Outcome.DNS_ERROR, detail="no such name")
    mute = fetched(None, Outcome.TIMEOUT)

    assert effective(None, NOW, US) == Standing(
        DENY_ALL, "robots.txt was not asked for yet: nothing is fetched before it is"
    )
    assert effective(RobotsRecord(ORIGIN), NOW, US) == effective(None, NOW, US)
    assert (
        effective(throttled, NOW, US).reason
        == "rules of 2026-11-21 09:12; since then robots.txt answered 503"
    )
    assert effective(throttled, NOW + STALE, US).reason == (
        "robots.txt answered 503 and no copy is younger than 30 days: "
        "everything is disallowed until it answers"
    )
    assert effective(lost, NOW, US).reason.startswith(
        "robots.txt could not be read (dns_error: no such name)"
    )
    assert effective(mute, NOW, US).reason.startswith("robots.txt could not be read (timeout) and")


def test_not_modified_makes_the_copy_young_again() -> None:
    """A 304 confirms the copy for another day."""
    later = NOW + timedelta(days=20)
    record = fetched(GOOD, Outcome.NOT_MODIFIED, 304, now=later)

    assert (record.body, record.good_at, record.expires_at) == (GOOD.body, later, later + KEPT)


def test_a_cut_body_counts() -> None:
    """Of a robots.txt over the cap the first 500 KiB are kept, whoever cut it."""
    body = b"User-agent: *\nDisallow: /a\n".ljust(MAX_ROBOTS_BYTES + 9, b"#")
    cut = fetched(None, Outcome.TOO_LARGE, 200, body[:MAX_ROBOTS_BYTES])

    assert cut == fetched(None, Outcome.OK, 200, body)
    assert not effective(cut, NOW, US).rules.allows("/a")


def test_back_off_doubles_up_to_a_day() -> None:
    """Unreachable rules are asked for again after 10 minutes, doubling up to 24 hours."""
    record = None
    waits = []
    for _ in range(12):
        record = fetched(record, Outcome.HTTP_ERROR, 500)
        assert record.expires_at is not None
        waits.append((record.expires_at - NOW) // timedelta(minutes=1))

    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440, 1440, 1440]
    assert fetched(record, Outcome.OK, 200).failures == 0


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.sampled_from([None, 200, 304, 404, 429, 500, 503]))))
def test_no_history_lets_us_in_without_an_answer(history: list[tuple[Outcome, int | None]]) -> None:
    """Whatever happened: allowed means the site said so within 30 days, and we ask again within one."""
    record = None
    now = NOW
    said = None
    for outcome, status in history:
        now += timedelta(days=4)
        record = fetched(record, outcome, status, now=now)
        if record.failures == 0:
            said = now
        allowed = effective(record, now, US).rules.allows("/a")

        assert allowed is (said is not None and now - said < STALE)
        assert not needs_fetch(record, now)
        assert needs_fetch(record, now + KEPT)


def test_a_wish_comes_before_everything() -> None:
    """A copy of which somebody wishes that it be asked for is asked for, however young it is; any answer fulfils the wish."""
    wished = replace(GOOD, expires_at=WISHED)

    assert (wished.wished, needs_fetch(wished, NOW)) == (True, True)
    assert not fetched(wished, Outcome.CONNECT_ERROR).wished
    assert (
        effective(fetched(wished, Outcome.CONNECT_ERROR), NOW, US).rules.digest
        == parse(GOOD.body or b"", US).digest
    )


def test_rules_differ_when_they_begin_or_end() -> None:
    """A copy that ends, and one that comes after none, change what is allowed; an origin that was never asked has nothing to compare."""
    lost = fetched(GOOD, Outcome.HTTP_ERROR, 500, now=NOW + STALE)
    never = fetched(None, Outcome.HTTP_ERROR, 500)

    assert rules_differ(never, GOOD, NOW)
    assert rules_differ(GOOD, lost, NOW + STALE) is False  # it ended by itself, not by this answer
    assert rules_differ(lost, fetched(lost, Outcome.OK, 200, GOOD.body or b"", now=NOW + STALE), NOW + STALE)
    assert not rules_differ(never, fetched(never, Outcome.TIMEOUT), NOW)
    assert not rules_differ(None, GOOD, NOW)
    assert not rules_differ(RobotsRecord(ORIGIN), GOOD, NOW)


BODIES = st.lists(
    st.sampled_from(
        [
            b"User-agent: *",
            b"User-agent: faircrawl",
            b"User-agent: other",
            b"Disallow: /a",
            b"Disallow:",
            b"Allow: /a/b",
            b"Crawl-delay: 1",
            b"Crawl-delay: 2",
            b"Sitemap: /s",
            b"# a comment",
            b"unknown: line",
        ]
    ),
    max_size=10,
).map(b"\n".join)


@given(BODIES, BODIES, st.sampled_from([US, "other", "third"]))
def test_rules_that_do_not_differ_are_the_same_for_everybody(one: bytes, other: bytes, token: str) -> None:
    """As long as rules do not differ, they are the same for each product token: what was refused may rest, whoever was refused."""
    first, second = fetched(None, Outcome.OK, 200, one), fetched(None, Outcome.OK, 200, other)

    assert rules_differ(first, second, NOW) or parse(one, token).digest == parse(other, token).digest


def test_looks_do_not_make_rules_differ() -> None:
    """Comments, sitemaps, other delays and unknown lines arm nothing again; another's group does."""

    def body(*lines: str) -> RobotsRecord:
        return fetched(None, Outcome.OK, 200, "\n".join(["User-agent: *", *lines]).encode())

    base = body("Disallow: /a", "Crawl-delay: 1")

    assert not rules_differ(
        base, body("# today", "disallow:/a", "Sitemap: /s", "crawl-delay: 9", "Host: x"), NOW
    )
    assert rules_differ(base, body("Disallow: /a", "Crawl-delay: 1", "User-agent: other", "Disallow: /"), NOW)
