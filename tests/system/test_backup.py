"""A dump that is taken in the middle of a crawl and restored after it: an older truth, with a web and a queue that have gone on.

dump ──────► the crawl goes on ──► every worker is killed      RabbitMQ has turns that the dump knows nothing of
 └──► restored into another database, as docs/operations.md says ──► new workers, the same queue ──► the crawl ends
"""

import asyncio
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from crawler.adapters.binaries import find_binaries
from crawler.demo.server import serving
from tests.conftest import Server
from tests.making import rows
from tests.system.judge import judge
from tests.system.machines import ROOT, Cut, machines, wide_web

pytestmark = pytest.mark.xdist_group("disasters")  # it wants the machine to itself

DOMAINS: Final = 50
PAGES: Final = 10
GUIDE: Final = (ROOT / "docs" / "operations.md").read_text()
(AFTERWARDS,) = re.findall(r"```sql\n(update domains set turn = .+?)```", GUIDE, re.DOTALL)
"""What is done after a restore, before the first worker starts."""


async def tool(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, of the version that the tests' server has."""
    chosen = os.environ.get("CRAWL_TEST_POSTGRES_BIN")
    program = find_binaries(preferred=Path(chosen) if chosen else None).bin_dir / name
    process = await asyncio.create_subprocess_exec(program, *arguments, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, f"{name}: {said.decode()}"


async def test_restored_to_an_older_moment(
    server: Server, dsn: str, tmp_path: Path, amqp: tuple[str, str]
) -> None:
    """The crawl goes on where the dump was: nothing is lost, nobody is hurried, and only what came after the dump is asked for again."""
    sites = wide_web(DOMAINS, PAGES)
    dump, older = tmp_path / "crawl.dump", f"{urlsplit(dsn).path[1:]}_restored"
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path / "before", amqp, DOMAINS_AT_ONCE="5") as hall:
            await hall.here(hall.start(), hall.start())
            await hall.seed("all", [web.url(host) for host in sites])
            await hall.until_pages("all", 50, "before the dump")
            await tool("pg_dump", "--format=custom", f"--file={dump}", dsn)
            dumped = await hall.pages("all")
            await hall.until_pages("all", dumped + 50, "after the dump")
            for machine in (*hall.alive,):
                await hall.kill(machine)
            crawls, gone = hall.crawls, hall.dead
            asked = len(web.log)
        cuts = [Cut(machine, host, 0.0, time.monotonic()) for machine in gone for host in sites]
        await tool("createdb", f"--maintenance-db={dsn}", older)
        try:
            await tool("pg_restore", "--exit-on-error", f"--dbname={server.dsn(older)}", str(dump))
            async with machines(web, server.dsn(older), tmp_path / "after", amqp) as hall:
                hall.crawls, hall.cuts = crawls, cuts
                await hall.database.script(AFTERWARDS)
                restored = {
                    row["url"]
                    for row in await rows(hall.database, "select url from urls where outcome is not null")
                }
                async with hall.queue() as queue:
                    newer = await queue.depth()
                await hall.here(hall.start(), hall.start())
                await hall.until_done("all", "on the restored database")
                await hall.dismiss()
                await judge(hall, "all", sites)
        finally:
            server.drop(older)

    again = Counter(web.url(one.host, one.path) for one in web.log[asked:])
    assert 0 < len(restored) <= dumped
    assert newer
    assert restored & again.keys() == set()
    assert set(again.values()) == {1}
