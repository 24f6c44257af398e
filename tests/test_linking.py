"""The link graph, read back by who reads such files."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import networkx as nx
import pytest

from crawler.adapters.postgres import Database
from crawler.core.errors import UsageError
from crawler.core.model import Crawl
from crawler.export_formats import Kind, Order
from crawler.linking import Graph, links_to, refuse_unlinkable
from crawler.selection import Selection
from tests.killing import names
from tests.storing import Stored, crawl_of, store

A: Final = "https://a.example/"
B: Final = "https://b.example/"
LINKS: Final = {
    A: [f"{A}2", f"{A}2/x", B, A],
    f"{A}2": [],
    f"{A}2!": ["https://never.example/%5B", f"{A}2"],
    B: [A],
}


@pytest.fixture
async def linked(dsn: str) -> AsyncIterator[tuple[Database, Crawl]]:
    """A database with a crawl of four pages with links, and one whose links were not kept."""
    async with await Database.open(dsn, size=2) as database:
        crawl = await crawl_of(database, keep_links=True)
        await store(database, crawl, [Stored(url, links=targets) for url, targets in LINKS.items()])
        await store(database, crawl, [Stored(f"{B}before")])
        yield database, crawl


def arcs() -> set[tuple[str, str]]:
    """Every link."""
    return {(source, target) for source, targets in LINKS.items() for target in targets}


async def test_networkx_reads_the_edges(linked: tuple[Database, Crawl], tmp_path: Path) -> None:
    """A line an arc, two URLs with a tab between them: networkx reads the graph that the pages make."""
    database, crawl = linked
    file = tmp_path / "links.tsv"
    count = await links_to(database, crawl, Order(file), Graph.EDGES, print)
    graph = nx.read_edgelist(file, delimiter="\t", create_using=nx.DiGraph)

    assert count == len(arcs()) == 7
    assert set(graph.edges) == arcs()


async def test_webgraph_reads_the_numbers(linked: tuple[Database, Crawl], tmp_path: Path) -> None:
    """An ASCIIGraph: how many nodes, and a line for each with its successors, ascending; the node's URL is that line of the table."""
    database, crawl = linked
    count = await links_to(database, crawl, Order(tmp_path / "links"), Graph.WEBGRAPH, print)
    urls = (tmp_path / "links.urls").read_text("ascii").splitlines()
    first, *lines = (tmp_path / "links.graph-txt").read_text("ascii").splitlines()
    successors = [[int(word) for word in line.split()] for line in lines]

    assert count == len(arcs())
    assert urls == sorted({url for arc in arcs() for url in arc} | LINKS.keys())
    assert int(first) == len(urls) == len(lines)
    assert {(urls[n], urls[m]) for n, line in enumerate(successors) for m in line} == arcs()
    assert successors == [sorted(line) for line in successors]
    assert names(tmp_path) == {"links.urls", "links.graph-txt"}


async def test_links_of_a_domain(linked: tuple[Database, Crawl], tmp_path: Path) -> None:
    """Of a selected domain there are the links of its pages, wherever they lead."""
    database, crawl = linked
    file = tmp_path / "links.tsv"
    order = Order(file, selection=Selection(domains=("b.example",)))
    await links_to(database, crawl, order, Graph.EDGES, print)

    assert file.read_text() == f"{B}\t{A}\n"


@pytest.mark.parametrize("graph", Graph)
async def test_a_crawl_that_keeps_no_links_says_so(dsn: str, tmp_path: Path, graph: Graph) -> None:
    """Who was not told to keep links says how it is told, and leaves no file."""
    async with await Database.open(dsn, size=2) as database:
        crawl = await crawl_of(database)
        await store(database, crawl, [Stored(A)])
        with pytest.raises(UsageError, match="keeps no links: `crawl set test keep-links=true`"):
            await links_to(database, crawl, Order(tmp_path / "links"), graph, print)

    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("order", "graph"),
    [
        (Order(Path("x"), selection=Selection(outcomes=("ok",))), Graph.EDGES),
        (Order(Path("x"), bodies=True), Graph.EDGES),
        (Order(Path("-")), Graph.WEBGRAPH),
        (Order(Path("x"), zstd=True), Graph.WEBGRAPH),
        (Order(Path("/not/there/x"), Kind.JSONL), Graph.WEBGRAPH),
    ],
)
def test_what_links_cannot_be_is_refused(order: Order, graph: Graph) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError):
        refuse_unlinkable(order, graph)
