"""How many records of WARC a second are made of real pages: the writer alone, on one core.

python -m tests.bench.warcs CRAWL --data DIR
"""

import argparse
import asyncio
import contextlib
import cProfile
import pstats
import resource
import shutil
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import click

from crawler.adapters.crawls import Crawls
from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.postgres import Database
from crawler.exporting import pages
from crawler.naming import crawl_named
from crawler.warcing import WarcWriter

MOST = 4000
"""Pages that are read into memory first, so that PostgreSQL's share is not measured."""


async def rows_of(data: Path, name: str) -> tuple[Any, list[Any]]:
    """A crawl, and its pages."""
    postgres = await EmbeddedPostgres.open(data)
    try:
        async with await Database.open(postgres.dsn) as database:
            crawl = await crawl_named(Crawls(database), name)
            rows = []
            async with contextlib.aclosing(pages(database, crawl)) as found:
                async for row in found:
                    rows.append(row)
                    if len(rows) == MOST:
                        break
            return crawl, rows
    finally:
        await postgres.close()


def main() -> None:
    """Measure, and say it in three lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crawl")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    given = parser.parse_args()
    crawl, rows = asyncio.run(rows_of(given.data, given.crawl))
    folder = Path(tempfile.mkdtemp(dir=given.data.parent))
    try:
        writer = WarcWriter(folder / "bench", crawl)
        profile = cProfile.Profile() if given.profile else None
        wall, cpu = perf_counter(), process_time()
        with profile or contextlib.nullcontext():
            for row in rows:
                writer.add(row)
            count = writer.close()
        wall, cpu = perf_counter() - wall, process_time() - cpu
        size = sum(file.stat().st_size for file in folder.iterdir())
    finally:
        shutil.rmtree(folder)
    decoded = sum(row["length"] or 0 for row in rows)
    click.echo(
        f"{count} pages of {decoded / len(rows) / 1000:.1f} kB, {writer.records} records, {size / 1e6:.1f} MB"
    )
    click.echo(
        f"{writer.records / wall:.0f} records/s; of a core of our own {writer.records / cpu:.0f} records/s"
    )
    click.echo(
        f"{cpu / count * 1e6:.0f} us a page, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB at most"
    )
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)


if __name__ == "__main__":
    main()
