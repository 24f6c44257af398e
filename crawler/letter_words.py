"""What came of trying a dead letter again, in words."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from crawler.core.model import LEFT, CrawlState
from crawler.core.turns import Turn
from crawler.letters import Fate, Retried
from crawler.phrases import count, seen

WORDS: Final[Mapping[Fate, str]] = MappingProxyType(
    {
        Fate.STILL_DUE: "what was not visited since is due by itself; only the letter is removed",
        Fate.VISITED: "all of it was visited meanwhile; only the letter is removed",
        Fate.ERASED: "its crawl is deleted or its domain forgotten; only the letter is removed",
        Fate.PUBLISHED: "another version wrote it: it is on the queue again, and comes back if no worker understands it",
        Fate.REFUSED: "this is no turn, and no version will understand it: it stays, `crawl dead drop {id}` removes it",
    }
)
"""What came of a retry, but for what is armed."""


def first_url(turn: Turn) -> str | None:
    """The first URL of a turn; None: it has none."""
    return turn.urls[0].url if turn.urls else None


def said(one: Retried, option: str) -> str:
    """What came of a retry, in a line."""
    letter_id, turn = one.letter.dead.letter_id, one.letter.turn
    named = f" ({seen(turn.domain)})" if turn else ""
    words = WORDS.get(one.fate, "").format(id=f"{letter_id}{option}")
    if one.fate is Fate.ARMED:
        words = "; ".join([f"{count(one.urls, 'URL')} due again", *_hindrances(one, option)])
    return f"{seen(letter_id)}{named}: {words}"


def _hindrances(one: Retried, option: str) -> Iterator[str]:
    """Why what is due again is not visited yet, and what to do about it."""
    for crawl in one.crawls:
        name = seen(crawl["name"])
        match CrawlState(crawl["state"]):
            case CrawlState.RUNNING:
                pass
            case CrawlState.PAUSED if crawl["attendant"] == LEFT:
                yield f"the run of {name} has ended: run it again"
            case CrawlState.PAUSED | CrawlState.CANCELLED as state:
                yield f"the crawl {name} is {state.value}: `crawl resume {name}{option}`"
            case CrawlState.FINISHED:
                yield f"the crawl {name} has reached its limit: raise it with `crawl set {name}{option}`"
    if one.blocked is not None and one.letter.turn is not None:
        domain = seen(one.letter.turn.domain)
        yield f"the domain is blocked ({seen(one.blocked)}): `crawl domain {domain} --unblock{option}`"
