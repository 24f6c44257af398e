"""Which domains were last visited too long ago, by the real program on rows that are of any age."""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.domains import Domains
from crawler.adapters.postgres import Database
from crawler.core.model import CrawlState
from crawler.staleness import MOST_DUE, Share, why_stale
from tests.forking import crawled
from tests.making import Frontiers

NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
AGES: Final = {"fresh": 1, "week": 8, "month": 30, "year": 365, "never": None, "new": None}
"""Days since each domain was visited."""


async def say(database: Database, *words: str, status: int = 0) -> str:
    """Run `crawl status` on the database: what it printed, and on stderr if it failed as expected."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    done = await crawled("status", *words, "--database", database.dsn, env=own)
    out, err = done.stdout, done.stderr
    assert done.returncode == status, err.decode()
    return (out if not status else out + err).decode()


async def look(database: Database, *words: str) -> dict[str, Any]:
    """What it says to a program, by domain, in order."""
    return {one["domain"]: one for one in json.loads(await say(database, *words, "--json"))}


async def aged(database: Database) -> Frontiers:
    """A crawl of domains that were visited so many days ago, with a URL that was due a day later; and another crawl of one of them."""
    heart = Frontiers(database)
    await heart.crawl(*(f"https://{name}.example/" for name in AGES), refresh="adaptive")
    await heart.crawl("https://month.example/other", name="other")
    for name, days in AGES.items():
        age = f"interval '{300 if days is None else days} days'"
        visited = "null" if days is None else f"now() - {age}"
        await database.script(
            f"update domains set visited_at = {visited}, due_at = now() - {age} where name = '{name}.example';"
            f"update urls set due_at = now() - {age} + interval '1 day', found_at = now() - interval '400 days'"
            f"  where url = 'https://{name}.example/'"
        )
    # Priority is spent as an earlier due_at: what was found today has not waited since then.
    await database.script("update urls set found_at = now() where url = 'https://new.example/'")
    return heart


async def test_the_oldest_first(database: Database) -> None:
    """Told are the domains that were not visited for so long, and those never visited though due for so long; the oldest first."""
    await aged(database)
    week = await look(database, "--stale", "7d")
    told = await say(database, "--stale", "7d")
    quarter = await look(database, "--stale", "90d")
    none = await look(database, "--stale", "500d")
    nothing = await say(database, "--stale", "500d")

    assert list(week) == ["year.example", "never.example", "month.example", "week.example"]
    assert list(quarter) == ["year.example", "never.example"]
    assert none == {}
    assert "has waited for 500 d to be visited" in nothing
    assert [line.split()[0] for line in told.splitlines()[2:]] == list(week)
    assert "4 domains not visited for 7 d" in told
    assert week["never.example"]["visited_at"] is None
    assert week["year.example"]["visited_at"] < week["month.example"]["visited_at"]
    assert {one["why"] for one in week.values()} == {"due: it waits for a worker"}
    assert (week["month.example"]["due"], week["year.example"]["due"]) == (2, 1)


async def test_of_one_crawl(database: Database) -> None:
    """With a name, only domains of which that crawl has URLs are told, and only what it has of them; whichever way they are looked for."""
    heart = await aged(database)
    few = await look(database, "other", "--stale", "7d")
    [number] = [row["crawl_id"] for row in await heart.crawls.rows() if row["name"] == "other"]
    await database.script(
        f"insert into crawl_counts (crawl_id, slot, outcome, urls) values ({number}, 7, 'ok', 1000000)"
    )
    many = await look(database, "other", "--stale", "7d")
    unknown = await say(database, "strange", "--stale", "7d", status=2)

    assert few == many
    assert {name: one["due"] for name, one in few.items()} == {"month.example": 1}
    assert [share["name"] for share in few["month.example"]["crawls"]] == ["other"]
    assert "there is no crawl strange" in unknown


async def test_why(database: Database) -> None:
    """A domain that is blocked, in back-off or of a crawl that rests is told with that; one that no crawl knows is not told."""
    heart = await aged(database)
    await Domains(database).block(["year.example"], "they asked us to")
    await database.script(
        "update domains set ready_at = now() + interval '2 h', waits_for = 'status 503' where name = 'month.example';"
        "insert into domains (domain_id, name, visited_at) values (1, 'unknown.example', '2020-01-01')"
    )
    before = await look(database, "--stale", "7d")
    for row in await heart.crawls.rows():
        await heart.crawls.pause(row["crawl_id"])
    after = await look(database, "--stale", "7d")

    assert before["year.example"]["why"] == "blocked: they asked us to"
    assert before["month.example"]["why"].startswith("bears a visit in ")
    assert before["month.example"]["why"].endswith(": status 503")
    assert after["week.example"]["why"] == "crawl test is paused"
    assert after["month.example"]["why"] == "crawl test is paused, and 1 more"
    assert "unknown.example" not in before


async def test_few_are_shown(database: Database) -> None:
    """At most 20 domains are shown, with how many more there are and how to see them; --all and --json give all."""
    heart = Frontiers(database)
    await heart.crawl(*(f"https://d{number}.example/" for number in range(25)))
    await database.script("update domains set visited_at = '2020-01-01'")
    few = (await say(database, "--stale", "36h")).splitlines()
    every = (await say(database, "--stale", "36h", "--all")).splitlines()
    told = await look(database, "--stale", "36h")
    wrong = await say(database, "--all", status=2)

    assert (len(few), len(every), len(told)) == (23, 27, 25)
    assert few[-1] == "  ... 5 more: --stale 36h --all shows them"
    assert "--all goes with --stale" in wrong


async def test_what_is_due_is_counted_to_a_thousand(database: Database) -> None:
    """Of a domain with more URLs due, a thousand are counted, and that is told."""
    heart = Frontiers(database)
    await heart.crawl(*(f"https://big.example/{number}" for number in range(MOST_DUE + 5)))
    await database.script("update domains set visited_at = '2020-01-01'")
    [one] = (await look(database, "--stale", "7d")).values()
    told = await say(database, "--stale", "7d")

    assert (one["due"], one["due_is_all"]) == (MOST_DUE, False)
    assert f" {MOST_DUE:,}+ " in told


def standing(**more: Any) -> dict[str, Any]:
    """A row of stale_domains: nobody holds it, and it bears a visit."""
    free = {"blocked": None, "holder": None, "waits_for": None, "ready_at": datetime.min}  # noqa: DTZ901 - as asyncpg gives it
    return {**free, **more}


def share(rule: str = "off", due: int = 0, state: str = "running", next_in: float | None = None) -> Share:
    """What a crawl has of it."""
    next_at = None if next_in is None else NOW + timedelta(hours=next_in)
    return Share("shop", CrawlState(state), is_left=False, rule=rule, due=due, next_at=next_at)


@pytest.mark.parametrize(
    ("row", "shares", "words"),
    [
        ({"blocked": "no"}, [share(due=1)], "blocked: no"),
        ({"holder": "queue", "ready_at": NOW + timedelta(minutes=1)}, [share(due=1)], "in the queue"),
        ({"holder": "w", "ready_at": NOW + timedelta(minutes=1)}, [share(due=1)], "being visited"),
        ({"holder": "w", "ready_at": NOW - timedelta(minutes=1)}, [share(due=1)], "due: it waits for a worker"),
        ({"ready_at": NOW + timedelta(seconds=2)}, [share(due=1)], "bears a visit in 2 s: its pause"),
        ({}, [share(due=1, state="finished"), share(due=1)], "due: it waits for a worker"),
        ({}, [share(due=1, state="cancelled")], "crawl shop is cancelled"),
        ({}, [share()], "no refresh rule (refresh=off)"),
        ({}, [share(state="finished")], "no refresh rule (refresh=off)"),
        ({}, [share(next_in=2)], "not due yet: a retry, in 2 h"),
        ({}, [share("30d", next_in=9), share("adaptive", next_in=5)], "not due yet: refresh adaptive, in 5 h"),
        ({}, [share("0 3 * * *", next_in=5)], "not due yet: refresh at 0 3 * * * UTC, in 5 h"),
        ({}, [share("7d", state="paused", next_in=5)], "crawl shop is paused"),
        ({}, [share("7d")], "nothing of it will be due: all its URLs are gone or refused"),
    ],
)  # fmt: skip
def test_why_stale(row: dict[str, Any], shares: list[Share], words: str) -> None:
    """What keeps everybody away is told by what weighs most: the domain, then what is due, then the rules."""
    assert why_stale(standing(**row), shares, NOW) == words
