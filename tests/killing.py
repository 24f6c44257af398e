"""An export in a process of its own that dies when a file of its has so many bytes: at once, with nothing put in order, as by kill -9."""

import asyncio
import resource
import signal
from pathlib import Path
from typing import Final

from crawler.adapters.crawls import Crawls
from crawler.adapters.postgres import Database
from crawler.export_formats import Order
from crawler.exporting import export_to
from crawler.follow_export import follow_to
from crawler.linking import Graph, links_to
from tests.forking import CONTEXT

FULL: Final = "full disk"
HOW: Final = ("export", "follow", "links")


def killed(how: str, dsn: str, order: Order, size: int) -> int:
    """Do this until a file has so many bytes: minus the number of the signal."""
    process = CONTEXT.Process(target=_be, args=(how, dsn, order, size))
    process.start()
    process.join(60)
    status = process.exitcode
    assert status is not None
    process.close()
    return status


def _be(how: str, dsn: str, order: Order, size: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if how != FULL:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores: then a write fails
    asyncio.run(written(how, dsn, order))


async def written(how: str, dsn: str, order: Order, said: list[str] | None = None) -> int:
    """Do it to its end, of the crawl called test: how many there are."""
    said = [] if said is None else said
    async with await Database.open(dsn, size=2) as database:
        crawl = await Crawls(database).by_name("test")
        assert crawl is not None
        if how == "links":
            return await links_to(database, crawl, order, Graph.EDGES, said.append)
        if how == "follow":
            return await follow_to(database, crawl, order, asyncio.Event(), said.append, until_finished=True)
        return await export_to(database, crawl, order, said.append)


def names(folder: Path) -> set[str]:
    """Of the files in it."""
    return {one.name for one in folder.iterdir()}
