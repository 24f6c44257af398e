"""How a page wants to be shown by others: Open Graph (https://ogp.me/)."""

from typing import Final

from crawler.core.said import size_of
from crawler.page import Page

MOST: Final = 16 << 10
"""Bytes of a property as JSON, and of all together: a page may write megabytes, and what other hooks say needs room."""


def opengraph(page: Page) -> dict[str, object] | None:
    """``{"opengraph": {"title": ..., "type": ..., "image": ..., "url": ...}}``; None: it says nothing of the kind.

    URLs are absolute. Of a property that stands there several times, the last one counts. What 16 KiB do not hold is left out.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found: dict[str, object] = {}
    room = MOST
    for name, text in dict(page.document.opengraph(page.url)).items():
        if len(name) + len(text) <= room and (size := size_of({name: text})) <= room:
            found[name] = text
            room -= size
    return {"opengraph": found} if found else None
