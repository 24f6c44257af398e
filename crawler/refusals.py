"""What a turn refuses: URLs that robots.txt forbids, in the words that are written down, and answers of a type that nobody keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from crawler.core.content import may_store, media_type
from crawler.core.metrics import DECISIONS
from crawler.core.robots import DENY_ALL, product_token
from crawler.core.urls import path_of
from crawler.rules import Known, standing_of


@dataclass(frozen=True, slots=True)
class Disallowed:
    """robots.txt forbids it, or could not be read."""

    detail: str
    ask_in: float | None
    """Seconds until the rules are asked for again; None: they are known."""


def disallowed(rules: Known, url: str, user_agent: str, now: datetime) -> Disallowed | None:
    """Whether the rules forbid it to whoever calls itself so; None: they do not."""
    standing = standing_of(rules, now, product_token(user_agent))
    path = path_of(url)
    if standing.rules.allows(path):
        return None
    if standing.rules is DENY_ALL:
        expires = None if rules.record is None else rules.record.expires_at
        ask_in = 60.0 if expires is None else max(1.0, (expires - now).total_seconds())
        return Disallowed(standing.reason, ask_in)
    ruling = standing.rules.ruling(path)
    return Disallowed(f"robots.txt line {ruling.line_number}: {ruling.line}", None)


class Decisions:
    """What robots.txt decided about the URLs that were looked up in it, counted."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(DECISIONS, 0)

    def refusal(self, rules: Known, url: str, user_agent: str, now: datetime) -> Disallowed | None:
        """As `disallowed`."""
        found = disallowed(rules, url, user_agent, now)
        if found is None:
            self.counts["allowed"] += 1
        else:
            self.counts["disallowed" if found.ask_in is None else "unreachable"] += 1
        return found


def types_read(*, is_page: bool, more: frozenset[str]) -> Callable[[str | None], bool]:
    """Whether an answer of a Content-Type is read on: for pages what is stored, *more* included; sitemaps are called anything."""

    def is_read(content_type: str | None) -> bool:
        return not is_page or may_store(media_type(content_type), more)

    return is_read
