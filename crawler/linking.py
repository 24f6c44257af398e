"""What pages link to, as a graph: for igraph and networkx an arc a line, for WebGraph numbers and a table of URLs.

    edges     from<TAB>to                              by domain and URL of the page, as it names them; can be gone on with
    webgraph  NAME.urls       the URL of node n is line n, from 0, in the order of their bytes
              NAME.graph-txt  how many nodes; then for node n, on the line after, the nodes it links to, ascending
    webgraph: pages ──► sorted URLs ──► .urls
                    └─► arcs by target ──number the targets──► arcs by page ──number the pages──► .graph-txt

1. Memory holds a page's links, and of the graph what `sorting` holds, however large it is: nodes are numbered by merging sorted files.
2. A file appears when it is whole and on disk.
"""

import contextlib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from crawler.adapters.postgres import Database
from crawler.adapters.zstd import unpack
from crawler.core.errors import UsageError
from crawler.core.model import Crawl
from crawler.export_files import (
    PartFile,
    Place,
    beside,
    is_stream,
    part_of,
    reaches,
    refuse_unwritable,
    telling,
)
from crawler.export_formats import Lines, Order, sink
from crawler.exporting import PAUSE, Tell, walked
from crawler.phrases import seen
from crawler.selection import Selection
from crawler.sorting import Sorter


class Graph(StrEnum):
    """How a graph can be written."""

    EDGES = "edges"
    WEBGRAPH = "webgraph"


NODES: Final = ".urls"
ARCS: Final = ".graph-txt"
"""What WebGraph's ASCIIGraph appends to the name that it is given."""


def refuse_unlinkable(order: Order, graph: Graph) -> None:
    """Tell a person at once. Raises UsageError."""
    selection = order.selection
    if selection != Selection(domains=selection.domains):
        raise UsageError("--links takes of the selections only --domain")
    if order.bodies:
        raise UsageError("--links writes no pages: leave out --bodies")
    if graph is Graph.WEBGRAPH:
        if order.zstd or is_stream(order.output):
            raise UsageError(
                "--links webgraph writes two files, without zstd: name them with -o, without a suffix"
            )
        refuse_unwritable(order.output.with_name(order.output.name + NODES))


async def links_to(database: Database, crawl: Crawl, order: Order, graph: Graph, tell: Tell) -> int:
    """Write the links of *crawl* as ordered: how many.

    Raises:
        FaircrawlError: the file cannot be written.
        UsageError: the crawl keeps no links, or another program writes the file.
        BrokenPipeError: whoever read standard output has gone.
    """
    match graph:
        case Graph.EDGES:
            return await _edges(database, crawl, order, tell)
        case Graph.WEBGRAPH:
            return await _webgraph(database, crawl, order)


def _targets(row: Any) -> list[bytes]:
    return unpack(row["targets"]).splitlines()


def _refuse_none(crawl: Crawl, pages: int) -> None:
    """Raises UsageError: there are no links, and there will be none."""
    if not pages and not crawl.keep_links:
        name = seen(crawl.name)
        raise UsageError(
            f"the crawl {name} keeps no links: `crawl set {name} keep-links=true` keeps them of what is visited from then on"
        )


async def _edges(database: Database, crawl: Crawl, order: Order, tell: Tell) -> int:
    with contextlib.ExitStack() as stack:
        place = known = None
        if not is_stream(order.output):
            options = {"crawl": [crawl.crawl_id, crawl.name], "links": Graph.EDGES, "zstd": order.zstd,
                       "domains": list(order.selection.domains)}  # fmt: skip
            place = stack.enter_context(Place(order.output, options))
            if place.known is not None and not reaches(part_of(order.output), place.known["state"]["bytes"]):
                place.forget()
            known = place.known
            if place.others:
                tell("an export with other options was interrupted here: this one begins anew")
            if known is not None:
                tell(f"goes on after {known['after']}")
        count = await _edges_from(database, crawl, order, place, known)
        if place is not None:
            place.forget()
        return count


async def _edges_from(
    database: Database, crawl: Crawl, order: Order, place: Place | None, known: Mapping[str, Any] | None
) -> int:
    state, after = (None, None) if known is None else (known["state"], known["after"])
    lines = Lines(sink(order.output, state), state, zstd=order.zstd)
    pages = 0 if known is None else int(known["pages"])
    try:
        if place is not None and known is None:
            place.forget()
        read = walked(database, "export_links", crawl.crawl_id, order.selection.domain_ids, after)
        async with contextlib.aclosing(read) as rows:
            async for row in rows:
                head = row["url"].encode() + b"\t"
                targets = _targets(row)
                lines.write(b"".join(head + target + b"\n" for target in targets), len(targets))
                pages += 1
                if place is not None and pages % PAUSE == 0 and (paused := lines.pause()) is not None:
                    place.keep(state=paused, after=row["url"], pages=pages)
        _refuse_none(crawl, pages)
        return lines.close()
    except BaseException:
        lines.drop()
        raise


async def _webgraph(database: Database, crawl: Crawl, order: Order) -> int:
    base = order.output.resolve()
    nodes, arcs = base.with_name(base.name + NODES), base.with_name(base.name + ARCS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(telling(order.output))
        place = stack.enter_context(Place(nodes, {}))
        urls, by_target, by_source = (
            stack.enter_context(Sorter(beside(base, suffix))) for suffix in ("urls", "targets", "sources")
        )
        read = walked(database, "export_links", crawl.crawl_id, order.selection.domain_ids, None)
        pages = 0
        async with contextlib.aclosing(read) as rows:
            async for row in rows:
                pages += 1
                url = row["url"].encode()
                urls.add(url)
                for target in _targets(row):
                    urls.add(target)
                    by_target.add(target + b"\t" + url)
        _refuse_none(crawl, pages)
        table, graph = PartFile(nodes), PartFile(arcs)
        try:
            place.forget()  # that of an export of pages to this file, whose part is gone now
            count = _write_nodes(urls, table)
            table.sync()
            with part_of(nodes).open("rb") as known:
                for number, rest in _numbered(known, by_target):
                    by_source.add(rest + b"\t%012d" % number)
            with part_of(nodes).open("rb") as known:
                written = _write_arcs(count, _numbered(known, by_source), graph)
            graph.sync()
            table.finish()
            graph.finish()
        except BaseException:
            for part in (table, graph):
                part.discard()
            raise
        return written


def _write_nodes(urls: Sorter, table: PartFile) -> int:
    count = 0
    for url in urls:
        table.write(url + b"\n")
        count += 1
    return count


def _numbered(table: Iterator[bytes], lines: Sorter) -> Iterator[tuple[int, bytes]]:
    """Of lines that begin with a URL of the table and a tab: the URL's number, and what follows. Both are in the same order."""
    number, url = -1, b""
    for line in lines:
        wanted, _, rest = line.partition(b"\t")
        while url != wanted:
            url = next(table)[:-1]
            number += 1
        yield number, rest


def _write_arcs(nodes: int, arcs: Iterator[tuple[int, bytes]], graph: PartFile) -> int:
    """A line a node, those without links too. How many arcs."""
    graph.write(b"%d\n" % nodes)
    count = line = 0
    first = True
    for source, target in arcs:
        if line < source:
            graph.write(b"\n" * (source - line))
            line, first = source, True
        graph.write((b"" if first else b" ") + b"%d" % int(target))
        first = False
        count += 1
    graph.write(b"\n" * (nodes - line))
    return count
