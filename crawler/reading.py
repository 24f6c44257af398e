"""What an answer says: parse once, hash once, compress once.

    Answer ──► media type, page facts, links ──► digest, zstd ──► what the recorder writes

Small bodies are read where they are; large ones in a thread, so that a domain with huge pages does not hold up the others.
"""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Final

from crawler.adapters.zstd import pack
from crawler.core.content import may_store
from crawler.core.links import parse_page
from crawler.core.model import Answer, Outcome, Page

LARGE: Final = 256 * 1024
"""Bytes from which on a body is read in a thread."""
SLOW: Final = "html5lib"
"""The reference parser takes 60 times as long: always in a thread."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, read."""

    answer: Answer
    page: Page | None = None
    digest: bytes | None = None
    compressed: bytes | None = None


async def read(answer: Answer, url: str, *, parser: str, types: frozenset[str] = frozenset()) -> Read:
    """Read an answer. One that is not OK, or turns out to be of a type we do not store (*types*: besides the usual), has no page."""
    if answer.outcome is not Outcome.OK:
        return Read(answer)
    if len(answer.body) < LARGE and parser != SLOW:
        return _read(answer, url, parser, types)
    return await asyncio.to_thread(_read, answer, url, parser, types)


def _read(answer: Answer, url: str, parser: str, types: frozenset[str]) -> Read:
    page = parse_page(answer.body, url, answer.content_type, answer.headers, parser=parser)
    if not may_store(page.media_type, types):
        refused = replace(
            answer, outcome=Outcome.TYPE_REFUSED, body=b"", detail=f"its bytes are {page.media_type}"
        )
        return Read(refused)
    return Read(answer, page, hashlib.sha256(answer.body).digest(), pack(answer.body))
