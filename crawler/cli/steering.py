"""What the commands that steer a crawl have in common: which crawl is meant, and asking before removing."""

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import click

from crawler.adapters.crawls import Crawls
from crawler.core.errors import StateError
from crawler.core.model import Crawl
from crawler.naming import NothingYetError, crawl_named
from crawler.opening import Opened, opened_to_look
from crawler.settings import Settings


@dataclass(frozen=True, slots=True)
class Steered:
    """A crawl, and where it lies."""

    place: Opened
    crawls: Crawls
    crawl: Crawl

    async def idle(self) -> str:
        """What to say behind "it goes on" when no worker was seen in the last minute; empty: there is one."""
        if await self.place.database.value("workers_slots"):
            return ""
        seeded = await self.place.database.ask(
            "select attendant is null from crawls where crawl_id = $1", self.crawl.crawl_id
        )
        return f"; nobody works on it now: {'`crawl worker`' if seeded else 'the same `crawl run`'} goes on"


@contextlib.asynccontextmanager
async def steered(settings: Settings, name: str) -> AsyncIterator[Steered]:
    """The crawl of that name. Raises UsageError: there is none."""
    async with opened_to_look(settings) as place:
        if place is None:
            raise NothingYetError
        crawls = Crawls(place.database)
        yield Steered(place, crawls, await crawl_named(crawls, name))


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person, unless they said yes already.

    Raises:
        UsageError: nobody is there to be asked.
        StateError: they said no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to be asked: say --yes")
    if not click.confirm(question, err=True):
        raise StateError("nothing was removed")
