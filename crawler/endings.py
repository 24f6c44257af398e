"""What an outcome means, in a sentence that a person understands: what happened, what it means, and what comes of it.

outcome, status, detail, what was kept ──► meaning()
outcome, tries so far ──► patience_words(): given up, or how often it will be tried
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from crawler.adapters.fitting import SPENT
from crawler.adapters.frontier import OVER_BUDGET, SHRUNK
from crawler.core.model import Outcome
from crawler.core.refresh_rule import OFF
from crawler.core.retry import patience
from crawler.core.said import BY_HOOK
from crawler.letters import BURIED
from crawler.phrases import count, seen

SERVER_ERROR: Final = 500
MEANINGS: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.OK: "it was read to its end and is kept",
        Outcome.NOT_MODIFIED: "it has not changed since it was kept",
        Outcome.REDIRECT: "the site sends whoever asks for it elsewhere; the target counts as a link of its own",
        Outcome.GONE: "the site says that there is no such page",
        Outcome.HTTP_ERROR: "the site refuses to show it",
        Outcome.THROTTLED: "the site wants to be left alone for a while: its whole domain rests",
        Outcome.ROBOTS_REFUSED: (
            "it was not asked for: robots.txt forbids it, or could not be read, which counts as forbidding all"
        ),
        Outcome.SCOPE_REFUSED: "it was not asked for: the crawl's own rules leave it out",
        Outcome.ADDRESS_REFUSED: (
            "its host is at an address that is not public (or a port that is not allowed), so nothing was sent there; "
            "--allow-net opens a network by name"
        ),
        Outcome.TYPE_REFUSED: (
            "it is of a type that the crawl does not keep, so no more of it was read; --types names other types"
        ),
        Outcome.TOO_LARGE: (
            "there was more of it than the settings MAX_BODY and MAX_HEADERS allow: the connection was closed, and the first part "
            "is not kept as if it were all"
        ),
        Outcome.TOO_SLOW: (
            "it came, but more slowly than the setting MIN_BYTES_PER_SECOND allows: the connection was closed, and the first part "
            "is not kept as if it were all"
        ),
        Outcome.DNS_ERROR: "the name of its host leads to no address: it is misspelled or given up, or its name servers are down",
        Outcome.CONNECT_ERROR: "nothing at the address of its host takes a connection",
        Outcome.TLS_ERROR: "its server could not prove to be who it says it is, or did not agree on how to encrypt",
        Outcome.TIMEOUT: "the site did not answer, or not to the end, in the time that the settings allow",
        Outcome.PROTOCOL_ERROR: "the server answered something that is not HTTP, or contradicts itself, or broke off",
        Outcome.DECODE_ERROR: (
            "the answer came, but cannot be read: it is not packed as its headers say, or no parser makes anything of it"
        ),
    }
)

SOFT_404: Final = re.compile(
    r"\b(?:error )?404\b|not found|no such page|page (?:does not|doesn.t) exist|no longer (?:exists|available)"
    r"|nicht gefunden|introuvable|no encontrad|non trovat|n[ãa]o encontrad|не найден|niet gevonden|hittades inte|nie znaleziono"
    r"|bulunamad|見つかりません|找不到|찾을 수 없",
    re.IGNORECASE,
)
"""Titles of pages that say "there is no such page" with status 200: in the languages of most of the web."""


def meaning(outcome: str | None, status: int | None, detail: str, kept: Any) -> str:
    """What became of a URL, and what that means.

    Args:
        outcome: Its last; None: it has none yet.
        status: Of the last answer.
        detail: Of the last outcome.
        kept: The row of page_likeness; None: nothing was.
    """
    if not outcome:
        return "it has not been visited yet"
    kind = Outcome(outcome)
    words = MEANINGS[kind]
    if kind is Outcome.HTTP_ERROR and (status or 0) >= SERVER_ERROR:
        words = "the site failed to show it: a fault of its own, which may pass"
    elif kind is Outcome.SCOPE_REFUSED and detail.startswith((OVER_BUDGET, SHRUNK)):
        words = "it was not asked for: the domain has used up its pages in this crawl"
    elif kind is Outcome.SCOPE_REFUSED and detail == SPENT:
        words = "it was not asked for: the crawl has used up its pages"
    elif kind is Outcome.SCOPE_REFUSED and detail.startswith(BY_HOOK):
        words = "it was fetched, and a hook of the worker does not want it: nothing of it is kept, and its links are not followed"
    elif kind is Outcome.DECODE_ERROR and detail.startswith(BURIED):
        words = "every worker that visited it died: its turn lies with the dead letters, and `crawl dead retry` tries it again"
    elif kind is Outcome.REDIRECT and detail:
        words = "the site sends whoever asks for it elsewhere, but not where the crawl goes on"
    if kind is Outcome.REDIRECT and kept is not None and kept["redirect_to"]:
        words = words.replace("elsewhere", f"to {seen(kept['redirect_to'])}", 1)
    return "; ".join([words, *likeness(kind, kept)])


def sitemap_meaning(outcome: str | None, status: int | None, detail: str) -> str:
    """As `meaning`, of a sitemap or a feed."""
    if outcome == Outcome.OK:
        return "it was read to its end"
    if outcome == Outcome.NOT_MODIFIED:
        return "it has not changed since it was read"
    return meaning(outcome, status, detail, None)


def likeness(outcome: Outcome, kept: Any) -> list[str]:
    """What its visible text tells of a page that was stored, if anything."""
    if kept is None or outcome not in {Outcome.OK, Outcome.NOT_MODIFIED}:
        return []
    words = []
    if kept["alike"]:
        others = count(kept["alike"], "other page")
        words.append(f"its visible text is the same, but for digits, as that of {others} of this domain")
    if kept["nearly"]:
        others = count(kept["nearly"], "other page")
        words.append(f"its visible text is nearly the same as that of {others} of this domain")
    if SOFT_404.search(kept["title"] or ""):
        words.append("its title is that of an error page, though its status is not: a soft 404")
    return words


def patience_words(outcome: str, status: int | None, attempts: int) -> str:
    """How often a URL that failed is tried; empty for what is no failure."""
    row = patience(Outcome(outcome), status)
    if row is None or not attempts:
        return ""
    if attempts >= row.tries:
        return f"for it was tried {count(attempts, 'time')}, and given up"
    return f"try {attempts + 1} of {row.tries}"


def final_words(row: Any, status: int | None, rule: str) -> str:
    """Why a URL is not visited again: *row* is that of find_url, *rule* the crawl's refresh rule."""
    outcome = row["outcome"]
    if outcome == Outcome.ROBOTS_REFUSED:
        return "unless the rules of robots.txt change"
    if outcome == Outcome.SCOPE_REFUSED and (words := _unless(row["detail"])):
        return words
    if outcome in {Outcome.OK, Outcome.NOT_MODIFIED, Outcome.REDIRECT}:
        why = "the crawl has no refresh rule" if rule == OFF else "its refresh rule names no further time"
        return f"for it is {outcome} and {why}"
    if not outcome:
        return "for it was given up"
    return patience_words(outcome, status, row["attempts"]) or f"for {outcome} is final"


def _unless(detail: str) -> str:
    """What would give back what a budget or a hook refused; empty where it was none of them."""
    if detail.startswith(SHRUNK):
        return "unless another --max-pages-per-domain is set: that gives the domain 1,000 pages more"
    if detail.startswith(BY_HOOK):
        return "for a hook refused it; `crawl refresh` with this URL asks again"
    return {
        OVER_BUDGET: "unless --max-pages-per-domain is raised",
        SPENT: "unless --max-pages is raised",
    }.get(detail, "")


def budget_words(budget: Any, most: int | None) -> list[str]:
    """How many pages of a domain are stored, and how many may be: *budget* is the row of domain_budget."""
    stored = 0 if budget is None else budget["pages"]
    words = [f"{stored:,} of at most {count(most, 'page')} of it are stored"] if most else []
    if budget is None or not budget["alike"]:
        return words
    told = budget["fresh"] + budget["alike"]
    says = f"{budget['alike']:,} of its {count(told, 'page')} with text say what another page of it says"
    if budget["room"] < 1:
        words.append(
            f"{says}, so its budget shrank to {count(stored, 'page')}: 1,000, and 5 for each page that says something new"
        )
    elif budget["alike"] > budget["fresh"]:
        words.append(f"{says}, so it has room for {count(budget['room'], 'page')} more")
    return words
