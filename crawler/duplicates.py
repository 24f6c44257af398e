"""Pages that are the same, say the same, or nearly do: the largest groups of them, with their URLs.

    bodies or texts ──counted by the server──────────────────────────────┐
    SimHash of every page ──► near ones joined (core.grouping) ──► sizes ─┴──► the largest groups ──► their pages, one by one

1. Memory holds 32 bytes for each different SimHash, and the pages of one group at a time.
2. It reads what is committed, and keeps nobody from writing: it may be asked while the crawl runs. What a page is may have changed between
   the two looks: then its group is a page smaller.
"""

import contextlib
import enum
import heapq
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from crawler.adapters.postgres import Database, columns
from crawler.core.grouping import groups_of_near


class Kind(enum.StrEnum):
    """In what way pages are the same."""

    EXACT = "exact"
    """Byte for byte."""
    TEXT = "text"
    """Their visible text is, white space and times apart."""
    NEAR = "near"
    """Their visible text is, but for a few words."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for."""

    crawl_id: int
    domain_id: int | None
    """None: in all domains, and across them."""
    kind: Kind
    distance: int
    """Bits, for `Kind.NEAR`."""
    most: int
    """Groups."""


@dataclass(frozen=True, slots=True)
class Group:
    """Pages that belong together, as many as there were when they were counted: at least two."""

    pages: int
    simhashes: tuple[int, ...] = ()
    text_digest: bytes | None = None
    digest: bytes | None = None


async def largest_groups(database: Database, asked: Question) -> list[Group]:
    """The largest groups, the largest first."""
    where = asked.crawl_id, asked.domain_id, asked.most
    if asked.kind is Kind.EXACT:
        rows = await database.fetch("duplicates_bodies", *where)
        return [Group(row["n"], digest=row["what"]) for row in rows]
    rows = await database.fetch("duplicates_texts", *where, asked.kind is Kind.NEAR)
    groups = [Group(row["n"], text_digest=row["what"]) for row in rows]
    if asked.kind is Kind.NEAR:
        groups += await _near(database, asked)
    return heapq.nlargest(asked.most, groups, key=lambda group: group.pages)


async def _near(database: Database, asked: Question) -> list[Group]:
    """The largest groups of near ones."""
    hashes, pages = array("q"), array("q")
    rows = database.rows("duplicates_hashes", asked.crawl_id, asked.domain_id)
    async with contextlib.aclosing(rows):
        async for row in rows:
            hashes.extend(row["hashes"])
            pages.extend(row["pages"])
    found = groups_of_near(hashes, asked.distance)
    sizes = array("q", bytes(8 * len(hashes)))
    for place, n in enumerate(pages):
        sizes[found.of(place)] += n
    largest = heapq.nlargest(
        asked.most, (place for place, n in enumerate(sizes) if n > 1), key=sizes.__getitem__
    )
    members: dict[int, list[int]] = {place: [] for place in largest}
    for place, simhash in enumerate(hashes):
        if (of := members.get(found.of(place))) is not None:
            of.append(simhash)
    return [Group(sizes[place], simhashes=tuple(members[place])) for place in largest]


def _keys(group: Group) -> list[tuple[int | None, bytes | None, bytes | None]]:
    """By what its pages are known: SimHash, text or body."""
    if group.simhashes:
        return [(simhash, None, None) for simhash in group.simhashes]
    return [(None, group.text_digest, group.digest)]


async def members_of(database: Database, asked: Question, groups: list[Group]) -> AsyncIterator[Any]:
    """Their pages, by group (`place` among *groups*) and URL, as rows of duplicates_members."""
    by: list[tuple[int | None, bytes | None, bytes | None, int]] = [
        (simhash, text_digest, digest, place)
        for place, group in enumerate(groups)
        for simhash, text_digest, digest in _keys(group)
    ]
    rows = database.rows("duplicates_members", asked.crawl_id, asked.domain_id, *columns(by, 4))
    async with contextlib.aclosing(rows):
        async for row in rows:
            yield row
