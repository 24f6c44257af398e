"""What is in force when a webmaster looks: asked of workers and crawls on a real database."""

import json
from typing import Any

import pytest

from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.dashboard import webmasters
from crawler.dashboard.desk import Desk
from crawler.opening import Opened
from crawler.settings import Settings
from tests.making import Frontiers

OWN = "own/1.0 (+https://own.example/bot)"


async def nothing() -> None:
    """The server is its owner's business."""


@pytest.fixture
def desk(database: Database, dsn: str) -> Desk:
    """That of a dashboard with settings of its own."""
    place = Opened(dsn, "the database", "", nothing, database)
    settings = Settings(database_url=dsn, user_agent=OWN, delay=7.0, per_domain=3)
    return Desk(settings, place, PostgresQueue(database), "PostgreSQL", ())


async def worker(database: Database, name: str, *, slots: int = 10, ago: str = "1 s", **vitals: Any) -> None:
    """Somebody who signed in, and said this of itself."""
    await database.ask(
        "insert into workers (worker_id, host, boot, pid, version, slots, seen_at, vitals)"
        " values ($1, 'host', 'boot', 1, '0', $2, now() - $3::text::interval, $4::text::jsonb)",
        name, slots, ago, json.dumps(vitals),
    )  # fmt: skip


def facts(found: dict[str, Any]) -> tuple[list[str], str, int]:
    """What is told of it."""
    return found["user_agents"], found["delay"].replace("\u00a0", " "), found["at_once"]


async def test_the_settings_of_those_at_work_are_told(desk: Desk, database: Database) -> None:
    """The names of workers that live, each once, their least delay and their most requests; who is silent, or a scheduler, is not heard."""
    await worker(database, "a", user_agent="a/1.0", delay=5.0, per_domain=1)
    await worker(database, "b", user_agent="b/1.0", delay=2.0, per_domain=4)
    await worker(database, "c", user_agent="a/1.0", delay=3.0, per_domain=2)
    await worker(database, "silent", ago="2 min", user_agent="silent/1.0", delay=0.1, per_domain=9)
    await worker(database, "scheduler", slots=0, user_agent="scheduler/1.0", delay=0.1, per_domain=9)
    await worker(database, "old", pages=1.0)

    assert facts(await webmasters.in_force(desk)) == (["a/1.0", "b/1.0"], "2 s", 4)


async def test_the_limits_of_crawls_that_run_are_told(desk: Desk, database: Database) -> None:
    """A running crawl's name, delay and requests count too, one's that has ended do not, and no crawl is named."""
    heart = Frontiers(database)
    await heart.crawl(
        "https://secret.example/", name="secret", user_agent="crawl/2.0", delay=1.5, per_domain=6
    )
    await heart.crawl("https://plain.example/", name="plain")
    ended = await heart.crawl("https://ended.example/", name="ended", user_agent="ended/1.0", delay=0.5)
    await database.ask("update crawls set state = 'cancelled' where crawl_id = $1", ended)
    await worker(database, "a", user_agent="a/1.0", delay=5.0, per_domain=1)
    found = await webmasters.in_force(desk)

    assert facts(found) == (["a/1.0", "crawl/2.0"], "1.5 s", 6)
    assert found["tokens"] == ["a", "crawl"]
    assert "secret" not in str(found)


async def test_the_dashboards_own_settings_are_told_where_nobody_works(
    desk: Desk, database: Database
) -> None:
    """Without a worker, and without a database, its own settings hold; the database is asked at most twice a minute."""
    alone = await webmasters.in_force(desk)
    again = await webmasters.in_force(desk)
    desk.fresh.drop("bot")
    await database.close()
    away = await webmasters.in_force(desk)

    assert facts(alone) == facts(away) == ([OWN], "7 s", 3)
    assert again is alone
    assert desk.away.is_set()
