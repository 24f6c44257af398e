"""Faircrawl: a large-scale web crawler that is fair to the web and loses nothing.

``from crawler import crawl``, and then ``for page in crawl("https://example.com/", max_pages=100): ...``: see docs/python.md.
"""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crawler.core.errors import FaircrawlError
    from crawler.handing import Summary
    from crawler.notebook import Pages, StoredPages, crawl, stored_pages
    from crawler.page import Page

__all__ = [
    "FaircrawlError",
    "Page",
    "Pages",
    "StoredPages",
    "Summary",
    "__version__",
    "crawl",
    "stored_pages",
]

try:
    __version__ = metadata.version("faircrawl")
except metadata.PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.0.0"

_HERE: Final = {
    "FaircrawlError": "crawler.core.errors",
    "Page": "crawler.page",
    "Summary": "crawler.handing",
    **dict.fromkeys(("Pages", "StoredPages", "crawl", "stored_pages"), "crawler.notebook"),
}
"""Where the names of the Python interface come from: imported when they are asked for, for a command needs none of them."""


def __getattr__(name: str) -> Any:
    if name not in _HERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HERE[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HERE})
