"""The article of a page, without menus, advertisements and comments: by trafilatura (``pip install 'faircrawl[article]'``)."""

from typing import Final

from crawler.core.errors import UsageError
from crawler.page import Page

try:
    import trafilatura
    from trafilatura.settings import Document
except ImportError as error:
    raise UsageError(f"it needs trafilatura ({error}): pip install 'faircrawl[article]'") from error

KEPT: Final = ("title", "author", "date", "description", "sitename", "language", "text")


def article(page: Page) -> dict[str, object] | None:
    """``{"article": {"title": ..., "author": ..., "date": "2026-01-31", "text": ...}}``; None: there is none on it.

    ``text`` has a line for each paragraph. What other extractors would find too is not asked of them: that takes three times as long.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found = trafilatura.bare_extraction(
        page.html, url=page.url, with_metadata=True, include_comments=False, fast=True
    )
    if not isinstance(found, Document):
        return None
    told = ((name, getattr(found, name)) for name in KEPT)
    return {"article": {name: text for name, text in told if text}}
