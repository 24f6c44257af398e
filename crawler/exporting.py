"""The data out: pages in a stable order, to a file that appears when it is whole.

    by domain, by URL ──► row ──► format ──► ... 500 pages ... ──► all is on disk ──► the place is kept ──► ...

1. Memory holds a few pages at a time, however many there are, and 8 bytes of each domain.
2. The file appears when it is whole and on disk; what stood there before is replaced, or left as it was.
3. What is interrupted, by a kill too, goes on from the place that was kept last, if the same is asked for again: each page comes once.
"""

import contextlib
from array import array
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.core.model import Crawl
from crawler.core.urls import domain_id, domain_of
from crawler.export_files import Place, is_stream, part_of, reaches, telling
from crawler.export_formats import Kind, Order, written
from crawler.selection import EVERYTHING, Selection
from crawler.warc_files import Names, completed

PAUSE: Final = 500
"""Pages from one place to the next. By their number and not by the clock, so that an export that was interrupted is as any other."""

Tell = Callable[[str], object]
"""Says a line to the person who asked."""


def pages(
    database: Database,
    crawl: Crawl,
    selection: Selection = EVERYTHING,
    *,
    after: str | None = None,
    before: int | None = None,
) -> AsyncGenerator[Any, None]:
    """Stored pages by domain and URL, as rows of the statement `export`. Close it with `contextlib.aclosing`.

    Args:
        database: where.
        crawl: of which crawl.
        selection: which of them.
        after: the URL of the last one that was had already.
        before: only what was written by transactions before this one, as `Follower.now` told it.
    """
    arguments = (*selection.arguments, before)
    return walked(database, "export", crawl.crawl_id, selection.domain_ids, after, *arguments)


async def walked(
    database: Database,
    statement: str,
    crawl_id: int,
    domains: list[int] | None,
    after: str | None,
    *arguments: object,
) -> AsyncGenerator[Any, None]:
    """The rows of a statement that takes a crawl, a domain, the URL after which to begin, and *arguments*: domain by domain."""
    first = None if after is None else domain_of(after)
    asked = database.rows("export_domains", crawl_id, first, domains)
    async with contextlib.aclosing(asked) as found:
        ids = array("q", [row["domain_id"] async for row in found])
    here = None if after is None else domain_id(first or "")
    for number in ids:
        rows = database.rows(statement, crawl_id, number, after if number == here else None, *arguments)
        async with contextlib.aclosing(rows) as some:
            async for row in some:
                yield row


async def without_pages(database: Database, crawl: Crawl, selection: Selection) -> list[str]:
    """Those of the selected domains of which the crawl has no page."""
    found = await database.fetch("export_domains", crawl.crawl_id, None, selection.domain_ids)
    there = {row["domain_id"] for row in found}
    return [name for name in selection.domains if domain_id(name) not in there]


async def export_to(
    database: Database, crawl: Crawl, order: Order, tell: Tell = lambda _: None, *, anew: bool = False
) -> int:
    """Write the pages of *crawl* as ordered: how many.

    Args:
        database: where they are.
        crawl: whose.
        order: which, and where to.
        tell: what a person should know.
        anew: not from where an earlier one was interrupted: the pages are no longer those that it wrote.

    Raises:
        FaircrawlError: the file cannot be written.
        UsageError: nor could it ever, a library is missing, or another program writes it.
        BrokenPipeError: whoever read standard output has gone.
    """
    if is_stream(order.output):
        return await _write(database, crawl, order, None)
    if order.series:
        with telling(order.output):
            order.output.mkdir(exist_ok=True)
    names = Names.of(order.output, crawl.name) if order.kind is Kind.WARC else None
    # docs and docs.warc.gz are the same series; docs.warc is another one, with the same index.
    output, more = (order.output, {}) if names is None else (names.index, {"suffix": names.suffix})
    with Place(output, options_of(crawl, order, **more)) as place:
        if place.others:
            tell("an export with other options was interrupted here: this one begins anew")
        if anew or (place.known is not None and not _is_there(order, place.known["state"])):
            place.forget()
        if place.known is not None:
            if names is not None and (count := completed(names)) is not None:
                place.forget()
                return count
            tell(f"goes on after {place.known['after']}")
        return await _write(database, crawl, order, place)


def options_of(crawl: Crawl, order: Order, **more: Any) -> Mapping[str, Any]:
    """All that makes it another export."""
    return {
        "crawl": [crawl.crawl_id, crawl.name],
        "format": order.kind,
        "bodies": order.bodies,
        "zstd": order.zstd,
        "warc_size": order.warc_size,
        "selection": dict(order.words) or order.selection.as_json(),
        **more,
    }


def _is_there(order: Order, state: Mapping[str, Any]) -> bool:
    """Whether what the place speaks of is still there: somebody may have tidied up."""
    return "bytes" not in state or reaches(part_of(order.output), state["bytes"])


async def _write(database: Database, crawl: Crawl, order: Order, place: Place | None) -> int:
    known = place.known if place is not None else None
    selection = order.selection if known is None else Selection.of_json(known["selection"])
    writer = written(order, crawl, None if known is None else known["state"])
    try:
        if place is not None and known is None:
            place.forget()
        n = 0
        after = None if known is None else known["after"]
        async with contextlib.aclosing(pages(database, crawl, selection, after=after)) as rows:
            async for row in rows:
                writer.add(row)
                n += 1
                if place is not None and n % PAUSE == 0 and (state := writer.pause()) is not None:
                    place.keep(after=row["url"], state=state, selection=selection.as_json())
        count = writer.close()
    except BaseException:
        writer.drop()
        raise
    if place is not None:
        place.forget()
    return count
