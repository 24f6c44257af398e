"""What a webmaster is told at ``/bot``: only what is in force, and nothing of what is crawled.

workers at work, crawls that run ──► names, least delay, most requests at once ──► the page, good for a while
       └── nobody is at work, or the database is away ──► the dashboard's own settings
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crawler.adapters.looking import Looking
from crawler.core.errors import DatabaseError, DatabaseUnavailableError
from crawler.core.robots import product_token
from crawler.dashboard.desk import Desk
from crawler.dashboard.rendering import exact_seconds
from crawler.settings import Settings

AGE: Final = 30.0
"""Seconds for which it is good: anybody may ask for it, as often as he likes."""
PATIENCE: Final = 4.0
MOST: Final = 20
"""User agents that are told."""
_ADDRESS: Final = re.compile(r"\+(https?://[^\s();,<>\"]+)")
_MAIL: Final = re.compile(r"[^\s@/:]+@[^\s@/:]+\.[^\s@/:]+")


@dataclass(frozen=True, slots=True)
class Manners:
    """How the crawler behaves as it is run now."""

    user_agents: Sequence[str]
    """At least one."""
    delay: float
    """The least that a domain is left alone, in seconds."""
    at_once: int
    """The most requests to one domain."""


async def in_force(desk: Desk) -> dict[str, Any]:
    """The facts of the page, as workers and crawls have them."""
    return await desk.fresh.get("bot", AGE, lambda: _found(desk))


async def _found(desk: Desk) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PATIENCE):
            return told(desk.settings, await _manners(desk))
    except DatabaseUnavailableError:
        desk.away.set()
    except (DatabaseError, TimeoutError):
        pass
    return told(desk.settings)


async def _manners(desk: Desk) -> Manners:
    async with Looking(desk.database).together() as look:
        said = [row.vitals for row in await look.workers() if row.slots > 0 and not row.silent]
        crawls = await look.manners(MOST)
    usual = [(one.user_agent, one.delay, one.per_domain) for one in said if one.user_agent]
    every = usual or [_own(desk.settings)]
    names = [name for name, _, _ in every] + [row["user_agent"] for row in crawls if row["user_agent"]]
    return Manners(
        _distinct(names)[:MOST],
        min([each for _, each, _ in every] + [row["delay"] for row in crawls if row["delay"] is not None]),
        max(
            [n for _, _, n in every] + [row["per_domain"] for row in crawls if row["per_domain"] is not None]
        ),
    )


def told(settings: Settings, manners: Manners | None = None) -> dict[str, Any]:
    """How the crawler calls itself, what it listens to, and whom to write to. Without *manners*, as these settings have it."""
    if manners is None:
        name, delay, at_once = _own(settings)
        manners = Manners([name], delay, at_once)
    contact = settings.contact
    addresses = _distinct(found[1] for one in manners.user_agents if (found := _ADDRESS.search(one)))
    mail = (contact or "").removeprefix("mailto:")
    found = _MAIL.fullmatch(mail)
    return {
        "user_agents": manners.user_agents,
        "tokens": _tokens(manners.user_agents),
        "pages": addresses,
        "mail": mail if found else None,
        "contact": None if found or contact in addresses else contact,
        "delay": _together(manners.delay),
        "at_once": manners.at_once,
        "most_delay": _together(settings.max_crawl_delay),
    }


def _own(settings: Settings) -> tuple[str, float, int]:
    return settings.user_agent, settings.delay, settings.per_domain


def _together(seconds: float) -> str:
    """A duration that no line breaks in two."""
    return exact_seconds(seconds).replace(" ", "\u00a0")


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _tokens(user_agents: Sequence[str]) -> list[str]:
    """The names that robots.txt is read for, each once, whatever its case."""
    found: dict[str, str] = {}
    for one in map(token, user_agents):
        found.setdefault(one.lower(), one)
    return list(found.values())


def token(user_agent: str) -> str:
    """What robots.txt is read for, as a webmaster writes it: its case does not matter, and people keep ours."""
    ours, read = re.split(r"[/ ]", user_agent, maxsplit=1)[0], product_token(user_agent)
    return ours if ours.lower() == read else read
