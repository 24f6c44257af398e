"""How a page wants to be shown by others: Open Graph (https://ogp.me/)."""

from crawler.page import Page


def opengraph(page: Page) -> dict[str, object] | None:
    """``{"opengraph": {"title": ..., "type": ..., "image": ..., "url": ...}}``; None: it says nothing of the kind.

    URLs are absolute. Of a property that stands there several times, the last one counts.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found = dict(page.document.opengraph(page.url))
    return {"opengraph": found} if found else None
