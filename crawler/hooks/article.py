"""The article of a page, without menus, advertisements and comments: by trafilatura (``pip install 'faircrawl[article]'``)."""

from typing import Final

from crawler.core.errors import UsageError
from crawler.core.said import cut
from crawler.page import Page

try:
    import trafilatura
    from trafilatura.settings import Document
except ImportError as error:
    raise UsageError(f"it needs trafilatura ({error}): pip install 'faircrawl[article]'") from error

KEPT: Final = ("title", "author", "date", "description", "sitename", "language", "text")
MOST_TEXT: Final = 768 << 10
"""Bytes of the text as JSON: what it says otherwise, and what other hooks say, need room."""
MOST: Final = 4 << 10
"""Bytes of anything else."""


def article(page: Page) -> dict[str, object] | None:
    """``{"article": {"title": ..., "author": ..., "date": "2026-01-31", "text": ...}}``; None: there is none on it.

    ``text`` has a line for each paragraph; it ends after 768 KiB, anything else after 4 KiB.
    What other extractors would find too is not asked of them: that takes three times as long.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found = trafilatura.bare_extraction(
        page.html, url=page.url, with_metadata=True, include_comments=False, fast=True
    )
    if not isinstance(found, Document):
        return None
    told = ((name, getattr(found, name)) for name in KEPT)
    return {
        "article": {name: cut(text, MOST_TEXT if name == "text" else MOST) for name, text in told if text}
    }
