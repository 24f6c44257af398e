"""What a page says of itself in JSON-LD (https://json-ld.org/): products, articles, events, recipes, as schema.org names them."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from crawler.core.said import WrongError, size_of
from crawler.page import Page

MOST: Final = 192 << 10
"""Bytes as JSON: a page may write megabytes, and what other hooks say needs room."""
MOST_ITEMS: Final = 1_000
"""Items that are looked at."""


def jsonld(page: Page) -> dict[str, object] | None:
    """``{"jsonld": [{"@type": "Product", ...}, ...]}``, in document order; None: there is none, or none that can be read.

    What stands in an ``@graph`` stands in the list by itself. A block that is no JSON is left out; so is an item that is nested absurdly,
    or for which there is no room: they take 192 KiB together, and are the first thousand.
    """
    if not page.content_type or "html" not in page.content_type:
        return None
    found: list[object] = []
    room = MOST
    for item in islice(_items(page), MOST_ITEMS):
        size = _size(item)
        if size <= room:
            found.append(item)
            room -= size
    return {"jsonld": found} if found else None


def _items(page: Page) -> Iterator[object]:
    for block in page.document.json_ld():
        for item in block if isinstance(block, list) else [block]:
            graph = item.get("@graph") if isinstance(item, dict) else None
            yield from graph if isinstance(graph, list) else [item]


def _size(item: object) -> int:
    """Bytes that it takes in the list; of what cannot be kept, more than there are."""
    try:
        return size_of({"jsonld": [item]})
    except WrongError:
        return MOST + 1
