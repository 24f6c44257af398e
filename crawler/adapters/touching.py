"""Tell domains what is due of them, and hold their rows: the first half of step 5 of every transaction (queries.sql)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from crawler.adapters.postgres import Session, columns
from crawler.core.moments import NEVER

NOBODY: Final = 0
"""The crawl of a domain that is only held, not made due."""


async def touch(session: Session, rows: Iterable[tuple[int, str, datetime, int]]) -> None:
    """Make domains (domain_id, name, due at, for which crawl) due no later than that, and lock their rows until the transaction ends."""
    if turned := list(rows):
        await session.fetch("touch", *columns(turned, 4))


async def hold(session: Session, domains: Iterable[tuple[int, str]]) -> None:
    """Lock the rows of domains (domain_id, name): what is due of them stays as it is."""
    await touch(session, ((domain_id, name, NEVER, NOBODY) for domain_id, name in domains))
