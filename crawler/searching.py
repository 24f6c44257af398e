"""Asking for pages by their words.

    words ──► as every dictionary reads them, joined by "or" ──► the index ──► each page, by its own dictionary ──► the best, shown

1. A question costs what it finds, in whatever crawl: the index is asked, and of what it finds `RANKED` pages are ranked at most.
2. Of the pages that are shown, and of those alone, the body is read again for the place where the words stand: one at a time, in a process
   of its own, and in no transaction. A page that is too much for it, or takes too long, is shown without.
3. What PostgreSQL looks for places in are words and blanks: of signs it would think for long.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseError, DatabaseSlowError, UsageError
from crawler.core.words import asked, dictionaries, signs_out
from crawler.phrases import seen
from crawler.servant import DiedError
from crawler.wording import Texts, texts

RANKED: Final = 10_000
SECONDS: Final = 10.0
"""For a question; those that find half of a large crawl may take longer, and are given up."""
PATIENCE: Final = 5.0
"""For the text of a page."""
HEADLINE: Final = 1.0
"""For the place where the words stand in it."""
SHOWING: Final = 30.0
"""For all of both."""
LOOKED_THROUGH: Final = 50_000
"""Characters of a page in which its words are looked for, to be shown."""
OPENING, CLOSING = "\x01", "\x02"
"""Around each word that was found: they stand in no text of ours."""
_BETWEEN: Final = "\x03"
_MARKS: Final = re.compile(f"([{OPENING}{CLOSING}])")
_LOOKS: Final = f'StartSel="{OPENING}", StopSel="{CLOSING}", MaxFragments=2, MaxWords=16, MinWords=5, FragmentDelimiter="{_BETWEEN}"'


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


async def search(
    database: Database,
    crawl_id: int,
    words: str,
    *,
    domain_id: int | None,
    most: int,
    snippets: bool = True,
    patience: float = SHOWING,
) -> Found:
    """The pages of a crawl that these words find.

    Args:
        database: where they are.
        crawl_id: of that crawl.
        words: what is asked.
        domain_id: of that domain alone.
        most: how many are shown.
        snippets: whether each is shown with the place where the words stand.
        patience: seconds for all of these places; the pages that remain have none.

    Raises:
        UsageError: there is no word in them.
        DatabaseError: it took too long.
        FaircrawlError: no process can be started that reads pages.
    """
    question = asked(words)
    known = {row["name"] for row in await database.fetch("search_dictionaries")}
    wanted = await database.value("search_words", question, dictionaries(known))
    if wanted is None:
        raise UsageError(f"there is no word to search for in {seen(words)!r}")
    try:
        async with database.looking(SECONDS) as session:
            rows = await session.fetch("search_pages", wanted, question, crawl_id, domain_id, RANKED, most)
    except DatabaseSlowError:
        raise DatabaseError(
            f"the search took more than {SECONDS:g} s and was given up: ask for rarer words, or with --domain"
        ) from None
    hits, until = [], monotonic() + patience
    async with texts() as by:
        for row in rows:
            shown = snippets and monotonic() < until
            snippet, marks = await _snippet(database, by, row, question) if shown else ("", ())
            hits.append(
                Hit(row["url"], row["title"], row["language"], float(row["rank"]), snippet, tuple(marks))
            )
    return Found(rows[0]["matches"] if rows else 0, tuple(hits))


async def _snippet(
    database: Database, by: Texts, row: Any, question: str
) -> tuple[str, Sequence[tuple[int, int]]]:
    """Where the words stand; nothing if that cannot be found in time."""
    pages = await database.fetch("search_bodies", row["domain_id"], row["crawl_id"], [row["url_hash"]])
    if not pages or pages[0]["data"] is None:
        return "", ()
    try:
        text = await by.of(pages[0], PATIENCE, LOOKED_THROUGH)
        async with database.looking(HEADLINE) as session:
            headline = await session.value(
                "search_headline", row["dictionary"], signs_out(text), question, _LOOKS
            )
    except (DiedError, DatabaseSlowError):
        return "", ()
    return snippet_of(text, headline)


def snippet_of(text: str, headline: str) -> tuple[str, list[tuple[int, int]]]:
    """What PostgreSQL shows of a text whose signs were out, with its signs, and where in that the words stand that were asked for."""
    words, plain, place = signs_out(text), "", 0
    marks: list[tuple[int, int]] = []
    for fragment in headline.split(_BETWEEN):
        bare = fragment.replace(OPENING, "").replace(CLOSING, "")
        found = words.find(bare, place)
        said = bare if found < 0 else text[found : found + len(bare)]
        place = max(place, found + len(bare))
        plain += " ... " if plain else ""
        start = at = 0
        for part in _MARKS.split(fragment):
            if part == OPENING:
                start = len(plain)
            elif part == CLOSING:
                marks.append((start, len(plain)))
            else:
                plain += seen(said[at : at + len(part)])
                at += len(part)
    return plain, marks


def marked(text: str, marks: Sequence[tuple[int, int]], mark: tuple[str, str]) -> str:
    """The text with what is marked between two signs."""
    said, end = "", 0
    for start, stop in marks:
        said += text[end:start] + mark[0] + text[start:stop] + mark[1]
        end = stop
    return said + text[end:]
