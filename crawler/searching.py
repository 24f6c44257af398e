"""Asking for pages by their words.

    words ──► as every dictionary reads them, joined by "or" ──► the index ──► each page, by its own dictionary ──► the best, shown

1. A question costs what it finds: the index is asked, and of what it finds `RANKED` pages are ranked at most.
2. Of the pages that are shown, and of those alone, the body is read again for the place where the words stand.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.adapters.zstd import unpack
from crawler.core.errors import DatabaseError, DatabaseSlowError, UsageError
from crawler.core.trees import visible_text
from crawler.core.words import asked, dictionaries
from crawler.phrases import seen

RANKED: Final = 10_000
SECONDS: Final = 10.0
"""For a question; those that find half of a large crawl may take longer, and are given up."""
LOOKED_THROUGH: Final = 50_000
"""Characters of a page in which its words are looked for, to be shown."""
OPENING, CLOSING = "\x01", "\x02"
"""Around each word that was found: they stand in no text of ours."""
_LOOKS: Final = f'StartSel="{OPENING}", StopSel="{CLOSING}", MaxFragments=2, MaxWords=16, MinWords=5, FragmentDelimiter=" ... "'


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that was found."""

    url: str
    title: str | None
    language: str | None
    rank: float
    """From 0 to 1."""
    snippet: str
    """On one line, without what a terminal would obey."""
    marks: tuple[tuple[int, int], ...]
    """Where in the snippet words stand that were asked for: from, to."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best, and how many there are."""

    matches: int
    hits: tuple[Hit, ...]

    @property
    def is_all(self) -> bool:
        """Whether there are no more than were ranked."""
        return self.matches < RANKED


async def search(database: Database, crawl_id: int, words: str, *, domain_id: int | None, most: int) -> Found:
    """The pages of a crawl that these words find.

    Raises:
        UsageError: there is no word in them.
        DatabaseError: it took too long.
    """
    question = asked(words)
    known = {row["name"] for row in await database.fetch("search_dictionaries")}
    wanted = await database.value("search_words", question, dictionaries(known))
    if wanted is None:
        raise UsageError(f"there is no word to search for in {seen(words)!r}")
    try:
        async with database.looking(SECONDS) as session:
            rows = await session.fetch("search_pages", wanted, question, crawl_id, domain_id, RANKED, most)
            texts = [_text(row) for row in rows]
            headlines = await session.fetch(
                "search_headlines", [row["dictionary"] for row in rows], texts, question, _LOOKS
            )
    except DatabaseSlowError:
        raise DatabaseError(
            f"the search took more than {SECONDS:g} s and was given up: ask for rarer words, or with --domain"
        ) from None
    hits = tuple(_hit(row, one["headline"]) for row, one in zip(rows, headlines, strict=True))
    return Found(rows[0]["matches"] if rows else 0, hits)


def _text(row: Any) -> str:
    if row["data"] is None:
        return ""
    text = visible_text(unpack(row["data"]), row["content_type"], row["charset"], perf_counter)
    return _BLANKS.sub(" ", text[:LOOKED_THROUGH])


_BLANKS: Final = re.compile(r"[\s\x00-\x1f]+")


def _hit(row: Any, headline: str) -> Hit:
    plain, marks, start = "", [], 0
    for part in re.split(f"([{OPENING}{CLOSING}])", headline):
        if part == OPENING:
            start = len(plain)
        elif part == CLOSING:
            marks.append((start, len(plain)))
        else:
            plain += seen(part)
    return Hit(row["url"], row["title"], row["language"], float(row["rank"]), plain, tuple(marks))


def marked(text: str, marks: Sequence[tuple[int, int]], mark: tuple[str, str]) -> str:
    """The text with what is marked between two signs."""
    said, end = "", 0
    for start, stop in marks:
        said += text[end:start] + mark[0] + text[start:stop] + mark[1]
        end = stop
    return said + text[end:]
