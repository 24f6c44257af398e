"""Hands of our own, for a command that has to ask a site for something when nobody is at work on the embedded database.

sign in ──► what the dead held is free ──► robots.txt (robots_wishes), URLs (own_visits) ──► sign out
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from crawler.adapters.dns import Resolver
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.web import Web
from crawler.asking import TIMEOUT, RobotsAsker
from crawler.browsing import open_web
from crawler.presence import Presence
from crawler.rules import RulesBook
from crawler.settings import Settings


@dataclass(frozen=True, slots=True)
class Hands:
    """What it takes to ask a site for something, under a name of our own."""

    settings: Settings
    database: Database
    presence: Presence
    web: Web
    frontier: Frontier
    rules: RulesBook
    asker: RobotsAsker

    @property
    def worker_id(self) -> str:
        """The name under which domains are held."""
        return self.presence.worker_id


@contextlib.asynccontextmanager
async def own_hands(settings: Settings, database: Database) -> AsyncIterator[Hands]:
    """Signed in, with no slots: nobody takes us for a worker."""
    presence = Presence(database, slots=0, queue="postgres", same_machine=True)
    await presence.sign_in()  # whoever is dead holds nothing from here on
    try:
        resolver = Resolver(
            servers=settings.dns_servers, timeout=settings.dns_timeout, hosts_file=settings.hosts_file
        )
        web = open_web(settings, resolver)
        frontier, rules = Frontier(database), RulesBook(database)
        timeout = min(TIMEOUT, settings.total_timeout)
        asker = RobotsAsker(web, frontier, rules, presence.worker_id, settings.delay, timeout=timeout)
        try:
            yield Hands(settings, database, presence, web, frontier, rules, asker)
        finally:
            await web.close()
            await resolver.close()
    finally:
        await presence.sign_out()
