"""What the commands that steer a crawl have in common: which crawl is meant, what its state forbids, and asking before removing."""

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import click

from crawler.adapters.crawls import Crawls
from crawler.cli.looking import NothingYetError, crawl_named
from crawler.core.errors import FaircrawlError
from crawler.core.model import Crawl, CrawlState
from crawler.opening import Opened, opened_to_look
from crawler.phrases import seen
from crawler.settings import Settings


class StateError(FaircrawlError):
    """The crawl is not in a state for that."""


@dataclass(frozen=True, slots=True)
class Steered:
    """A crawl, and where it lies."""

    place: Opened
    crawls: Crawls
    crawl: Crawl

    async def state(self) -> CrawlState | None:
        """As it is now; None: it is gone."""
        now = await self.crawls.by_id(self.crawl.crawl_id)
        return None if now is None else now.state

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


async def refuse_stopped(place: Opened, name: str) -> None:
    """What was stopped by hand goes on by hand.

    Raises:
        StateError: the crawl of that name is paused, was cancelled, or is being deleted.
    """
    crawl = await Crawls(place.database).by_name(name)
    if crawl is None or crawl.is_left or crawl.state not in (CrawlState.PAUSED, CrawlState.CANCELLED):
        return
    named, option = seen(name), place.option
    if crawl.deleting:
        raise StateError(
            f"the crawl {named} is being deleted: `crawl delete {named}{option} --yes` goes on with that"
        )
    if crawl.state is CrawlState.PAUSED:
        raise StateError(f"the crawl {named} is paused: `crawl resume {named}{option}`, then run it again")
    raise StateError(
        f"the crawl {named} was cancelled: `crawl resume {named}{option}` takes that back, "
        f"`crawl delete {named}{option}` makes room for a new one"
    )


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
