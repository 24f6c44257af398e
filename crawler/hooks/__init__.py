"""Page hooks: functions of yours that are called with each page after it was fetched (docs/hooks.md).

    async def prices(page: Page) -> Mapping[str, object] | Found | Refuse | None

The modules beside this one are hooks too, ready to be named: `--hook crawler.hooks.opengraph:opengraph`.
"""

from crawler.core.said import Found, Refuse
from crawler.page import Page

__all__ = ["Found", "Page", "Refuse"]
