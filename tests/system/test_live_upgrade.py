"""A live upgrade: the schema is migrated while a crawl is at work, and the programs from before go on with it."""

import asyncio
import re
import time
from pathlib import Path
from typing import Final

import pytest

from crawler.adapters.migrations import known_migrations, migrate
from crawler.demo.server import serving
from tests.making import rows
from tests.migrating import newer
from tests.system.judge import judge
from tests.system.machines import machines, wide_web

pytestmark = pytest.mark.xdist_group("disasters")  # each wants the machine to itself

MIDDLE: Final = 60
"""Pages of 350, when it happens."""
LOOKS: Final = (("check",), ("export", "all"))
"""What people ask of the newer schema with the older program."""
PEOPLE: Final = {"WORK_LEASE": "12s", "QUEUE_LEASE": "12s", "DOMAINS_AT_ONCE": "3"}
"""Leases that outlive the moments for which a migration holds the tables; and so little at once that all have to do something."""


async def test_old_programs_on_a_newer_schema(dsn: str, tmp_path: Path) -> None:
    """A newer migration adds to every table in the middle of a crawl, and the programs from before go on with it.

    So does a worker that is killed at that moment and started again; nothing is lost, nobody is hurried, no program fails.
    """
    first, second = wide_web(60, 5, "first"), wide_web(10, 5, "second")
    with serving({**first, **second}) as web:
        async with machines(web, dsn, tmp_path, None, **PEOPLE) as hall:
            number = len(known_migrations()) + 1
            old = [hall.start() for _ in range(3)]
            hall._spawn("scheduler", "crawler", "--debug", "scheduler")
            await hall.here(*old)
            await hall.seed("all", [web.url("first0.test")])
            await hall.until_pages("all", MIDDLE, "before the migration")

            migration = await newer(hall.database, number)
            killed = asyncio.create_task(hall.kill(old[0]))
            done = await migrate(hall.database, [*known_migrations(), migration])
            await killed
            migrated, pages = time.monotonic(), await hall.pages("all")
            restarted = hall.start()
            await hall.here(restarted)
            await hall.seed("all", [web.url(host) for host in second])
            await hall.until_done("all", "after the migration")
            looks = [await hall.command(*words) for words in LOOKS]
            filled = await rows(
                hall.database, "select distinct newer_count from fetches union select newer_count from urls"
            )
            await hall.dismiss()
            await judge(hall, "all", {**first, **second})

    said = {machine.name: machine.said for machine in hall.dead}
    later = [one.headers["user-agent"] for one in web.log if one.began > migrated]
    assert done == [migration]
    assert pages < 300
    for machine in (*old[1:], restarted):
        assert any(machine.mark in agent for agent in later), machine.name
    assert all(looks)
    assert len(looks[-1].splitlines()) == len(first) * 5 + len(second) * 5
    assert [row["newer_count"] for row in filled] == [7]
    for name, text in said.items():
        assert not re.search(r"\[(error|critical)|trouble\.|job\.failed|Traceback", text), f"{name}:\n{text}"
