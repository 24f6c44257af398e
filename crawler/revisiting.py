"""A crawl's refresh rule in words, and how a URL's next visit came about: part of what `crawl why` says.

rule ──► rule_words(), rule_sentence()          row of urls, what was kept of it ──► how_next(), last_change(), sitemap_read()
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from crawler.core.refresh_rule import ADAPTIVE, OFF, parse_rule
from crawler.core.revisit import LATEST
from crawler.phrases import at, count, seen, span

ASKED_FOR: Final = datetime(1971, 1, 1, tzinfo=UTC)
"""The due_at of a URL that somebody waits for (`crawl refresh URL`) lies before this."""
OTHERWISE: Final = "what has a final outcome is not looked at again"


def rule_words(text: str) -> str:
    """A rule that stands among other things: ``off``, ``adaptive``, ``every 7 d``, ``at 0 3 * * * UTC``."""
    rule = parse_rule(text)
    if rule.times is not None:
        return f"at {rule.times.expression} {rule.times.zone}"
    return rule.text if rule.seconds is None else f"every {span(rule.seconds)}"


def rule_sentence(text: str, now: datetime) -> str:
    """A rule that stands alone: what it does."""
    rule = parse_rule(text)
    if rule.text == OFF:
        return f"off: {OTHERWISE}"
    if rule.text == ADAPTIVE:
        return "adaptive: what changes is looked at sooner, what does not later"
    if rule.times is None:
        return f"{rule_words(text)} after the last visit"
    following = rule.next_time(now)
    when = "there is no further time" if following is None else f"the next time is {at(following, now)}"
    return f"{rule_words(text)}: {when}"


def how_next(
    rule: str, row: Any, kept: Any, budget: Any, now: datetime, *, retiming: bool
) -> tuple[str, Mapping[str, Any]]:
    """The rule, and what it made of what is known of a URL: in words, and for a program.

    Args:
        rule: The crawl's.
        row: Of find_url; None: the URL is not known.
        kept: Its row of page_likeness or sitemap_known; None: nothing was kept.
        budget: The row of domain_budget; None: nothing was stored of the domain.
        now: By the database's clock.
        retiming: Whether the crawl's next visits are just being set anew.
    """
    words = [rule_sentence(rule, now)]
    facts: dict[str, Any] = {"rule": rule, "retiming": retiming}
    if row is not None:
        asked_for = row["due_at"] is not None and row["due_at"] < ASKED_FOR
        words += _interval(row["revisit"], row["period"], kept) if rule == ADAPTIVE else []
        words += _announced(row, kept, budget, now)
        if asked_for:
            words.append("somebody has asked for it (`crawl refresh`): it is the first of its domain")
        facts |= {
            "asked_for": asked_for,
            "revisit": None if row["revisit"] is None else row["revisit"].total_seconds(),
            "period": None if row["period"] is None else row["period"].total_seconds(),
            "lastmod": _iso(row["lastmod"]),
            "changefreq": None if row["changefreq"] is None else row["changefreq"].total_seconds(),
        }
    if retiming:
        words.append("the next visits of the crawl are just being set anew")
    return "; ".join(words), facts


def _interval(revisit: timedelta | None, period: timedelta | None, kept: Any) -> list[str]:
    """How the adaptive rule came to its last interval."""
    if revisit is None:
        return []
    seconds = revisit.total_seconds()
    if kept is None or kept["changed_at"] is None or kept.get("first_at") == kept["fetched_at"]:
        return [f"its first interval is {span(seconds)}"]
    saw = "had" if kept["changed_at"] == kept["fetched_at"] else "had not"
    learned = "" if period is None else f", and is taken to change every {span(period.total_seconds())}"
    interval = "its interval is " + ("the longest, " if seconds >= LATEST else "") + span(seconds)
    return [f"it {saw} changed when it was last fetched{learned}: {interval}"]


def _announced(row: Any, kept: Any, budget: Any, now: datetime) -> list[str]:
    """What sitemaps say of it."""
    words = []
    if row["changefreq"] is not None:
        words.append(f"a sitemap says that it changes every {span(row['changefreq'].total_seconds())}")
    if row["lastmod"] is not None:
        said = f"a sitemap says that it changed last {at(row['lastmod'], now)}"
        if kept is not None and row["lastmod"] > kept["fetched_at"]:
            said += ", which is after the last visit"
            if budget is not None and budget["promised"]:
                said += f" ({budget['kept']:,} of {count(budget['promised'], 'such word')} of this domain proved true)"
        words.append(said)
    return words


def last_change(kept: Any, now: datetime) -> tuple[list[str], Mapping[str, Any]]:
    """When a page that is kept was last fetched and last changed; *kept* is its row of page_likeness."""
    if kept is None or kept["changed_at"] is None:
        return [], {}
    facts = {name: _iso(kept[name]) for name in ("first_at", "fetched_at", "changed_at")}
    if kept["changed_at"] == kept["first_at"]:
        if kept["first_at"] == kept["fetched_at"]:
            return [], facts
        return [f"it has said the same since it was first stored, {at(kept['first_at'], now)}"], facts
    return [f"it last changed {at(kept['changed_at'], now)}"], facts


def sitemap_read(kept: Any, now: datetime) -> tuple[str, Mapping[str, Any]]:
    """What was read of a sitemap; *kept* is its row of sitemap_known."""
    if kept is None:
        return "nothing was read of it so far", {}
    facts = {name: kept[name] for name in ("form", "urls", "taken", "detail")}
    words = f"it is of the form {kept['form']} and names {count(kept['urls'], 'URL')}, of which {kept['taken']:,} went to the frontier"
    if kept["detail"]:
        words += f"; {seen(kept['detail'])}"
    words += f"; it last changed {at(kept['changed_at'], now)}; it leaves no page"
    return words, facts | {"fetched_at": _iso(kept["fetched_at"]), "changed_at": _iso(kept["changed_at"])}


def ready_at(row: Any) -> datetime:
    """When a domain bears a visit. It may be minus infinity, which asyncpg gives as the year 1 without a zone: with that, it compares."""
    moment: datetime = row["ready_at"]
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
