"""A refresh rule in words, and how a next visit came about."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.fitting import SPENT
from crawler.adapters.frontier import OVER_BUDGET, SHRUNK
from crawler.adapters.postgres import Database
from crawler.core.model import Outcome
from crawler.endings import final_words, meaning, sitemap_meaning
from crawler.explaining import reasons
from crawler.revisiting import ASKED_FOR, how_next, last_change, rule_sentence, rule_words, sitemap_read
from crawler.settings import load
from tests.making import Frontiers

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST, LAST = NOW - timedelta(days=30), NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("rule", "words", "sentence"),
    [
        ("off", "off", "off: what has a final outcome is not looked at again"),
        ("adaptive", "adaptive", "adaptive: what changes is looked at sooner, what does not later"),
        ("7d", "every 7 d", "every 7 d after the last visit"),
        ("90m", "every 1 h 30 min", "every 1 h 30 min after the last visit"),
        ("0 3 * * *", "at 0 3 * * * UTC", "at 0 3 * * * UTC: the next time is 2026-11-22 03:00 UTC, in 15 h"),
        ("CRON_TZ=Europe/Berlin 0 3 * * *", "at 0 3 * * * Europe/Berlin",
         "at 0 3 * * * Europe/Berlin: the next time is 2026-11-22 02:00 UTC, in 14 h"),
    ],
)  # fmt: skip
def test_rule(rule: str, words: str, sentence: str) -> None:
    """A rule is told in few words among others, and alone with what it does."""
    assert rule_words(rule) == words
    assert rule_sentence(rule, NOW) == sentence


def url(**more: Any) -> dict[str, Any]:
    """A row of find_url."""
    return {"due_at": NOW, "revisit": None, "period": None, "lastmod": None, "changefreq": None, **more}


def page(
    changed_at: datetime = FIRST, first_at: datetime = FIRST, fetched_at: datetime = LAST
) -> dict[str, Any]:
    """A row of page_likeness."""
    return {"first_at": first_at, "fetched_at": fetched_at, "changed_at": changed_at}


@pytest.mark.parametrize(
    ("kept", "days", "period", "words"),
    [
        (None, 7, 14, "its first interval is 7 d"),
        (page(LAST, LAST), 7, 14, "its first interval is 7 d"),
        (page(LAST), 2.5, 11, "it had changed when it was last fetched, and is taken to change every 11 d: its interval is 2 d 12 h"),
        (page(), 36.5, 365, "it had not changed when it was last fetched, and is taken to change every 365 d: its interval is 36 d 12 h"),
        (page(), 90, 900,
         "it had not changed when it was last fetched, and is taken to change every 900 d: its interval is the longest, 90 d"),
        (page(), 3, None, "it had not changed when it was last fetched: its interval is 3 d"),
    ],
)  # fmt: skip
def test_adaptive(kept: dict[str, Any] | None, days: float, period: float | None, words: str) -> None:
    """The adaptive rule's interval is told with what the last visit saw, and how often the page is taken to change."""
    row = url(revisit=timedelta(days=days), period=None if period is None else timedelta(days=period))
    told, facts = how_next("adaptive", row, kept, None, NOW, retiming=False)

    assert told.partition("; ")[2] == words
    assert facts["revisit"] == timedelta(days=days).total_seconds()
    assert facts["period"] == (None if period is None else timedelta(days=period).total_seconds())


def test_what_sitemaps_say() -> None:
    """What a sitemap says of a page is told, and how often the domain's proved true when they said that something is new."""
    row = url(lastmod=NOW - timedelta(hours=1), changefreq=timedelta(days=1))
    told, facts = how_next("7d", row, page(), {"promised": 10, "kept": 7}, NOW, retiming=False)
    old, _ = how_next("7d", url(lastmod=FIRST), page(), {"promised": 10, "kept": 7}, NOW, retiming=False)

    assert told == (
        "every 7 d after the last visit; a sitemap says that it changes every 1 d; a sitemap says that it changed last "
        "2026-11-21 11:00 UTC, 1 h ago, which is after the last visit (7 of 10 such words of this domain proved true)"
    )
    assert old.endswith("a sitemap says that it changed last 2026-10-22 12:00 UTC, 30 d ago")
    assert (facts["changefreq"], facts["asked_for"]) == (86400.0, False)


def test_what_somebody_waits_for() -> None:
    """A URL that was asked for, and a crawl whose visits are being set anew, are told as that."""
    asked, facts = how_next("off", url(due_at=ASKED_FOR - timedelta(days=1)), None, None, NOW, retiming=False)
    anew, _ = how_next("off", None, None, None, NOW, retiming=True)

    assert asked.endswith("somebody has asked for it (`crawl refresh`): it is the first of its domain")
    assert facts["asked_for"] is True
    assert anew.endswith("the next visits of the crawl are just being set anew")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (None, []),
        (page() | {"changed_at": None}, []),
        (page(LAST, LAST), []),
        (page(), ["it has said the same since it was first stored, 2026-10-22 12:00 UTC, 30 d ago"]),
        (page(LAST), ["it last changed 2026-11-20 12:00 UTC, 1 d ago"]),
    ],
)
def test_last_change(kept: dict[str, Any] | None, words: list[str]) -> None:
    """When a page last changed is told of a page that was fetched more than once."""
    assert last_change(kept, NOW)[0] == words


def test_sitemap_read() -> None:
    """Of a sitemap is told what was read, and why not all of it, with nothing in it that moves the cursor."""
    kept = {
        "fetched_at": LAST,
        "changed_at": FIRST,
        "form": "urlset",
        "urls": 1,
        "taken": 0,
        "detail": "cut\x1b[2J",
    }

    assert sitemap_read(None, NOW) == ("nothing was read of it so far", {})
    assert sitemap_read(kept, NOW)[0].startswith(
        "it is of the form urlset and names 1 URL, of which 0 went to the frontier; cut\ufffd[2J; it last changed 2026-10-22"
    )


def test_sitemap_meaning() -> None:
    """A sitemap that was read is not called kept; what failed of it is told as of a page."""
    assert sitemap_meaning("ok", 200, "") == "it was read to its end"
    assert sitemap_meaning("not_modified", 304, "") == "it has not changed since it was read"
    assert sitemap_meaning("gone", 404, "") == meaning("gone", 404, "", None)


@pytest.mark.parametrize(
    ("outcome", "detail", "rule", "words"),
    [
        ("ok", "", "off", "for it is ok and the crawl has no refresh rule"),
        ("not_modified", "", "0 0 29 2 *", "for it is not_modified and its refresh rule names no further time"),
        ("scope_refused", OVER_BUDGET, "off", "unless --max-pages-per-domain is raised"),
        ("scope_refused", f"{SHRUNK}9 pages", "off",
         "unless another --max-pages-per-domain is set: that gives the domain 1,000 pages more"),
        ("scope_refused", SPENT, "7d", "unless --max-pages is raised"),
        ("scope_refused", "deeper than --max-depth 1", "7d", "for scope_refused is final"),
        ("robots_refused", "", "7d", "unless the rules of robots.txt change"),
        (None, "", "off", "for it was given up"),
    ],
)  # fmt: skip
def test_final(outcome: str | None, detail: str, rule: str, words: str) -> None:
    """Why a URL is never visited again is told with what would change that."""
    assert final_words({"outcome": outcome, "detail": detail, "attempts": 0}, None, rule) == words


def test_a_budget_that_is_spent() -> None:
    """What the crawl's own budget refused is told as that."""
    assert "the crawl has used up its pages" in meaning(Outcome.SCOPE_REFUSED, None, SPENT, None)


async def test_a_domain_that_was_never_handed_out(database: Database) -> None:
    """`crawl why` tells of a URL whose domain nobody has taken yet, so that it is ready since ever."""
    heart = Frontiers(database)
    crawl = await heart.crawls.by_id(await heart.crawl("https://a.example/", refresh="7d"))
    assert crawl is not None
    told = await reasons(database, load(overrides={}, environ={}).settings, "https://a.example/", crawl)

    assert told.next.words == "as soon as a worker is free"
    assert told.refresh.words == "every 7 d after the last visit"
