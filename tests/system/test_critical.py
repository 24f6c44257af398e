"""What is critical reaches Sentry, once each, from the real programs; what sites do does not."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from crawler import __version__
from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import migrate
from crawler.adapters.postgres import Database
from crawler.demo.language import (
    Reply,
    Site,
    bomb,
    huge,
    page,
    redirect,
    robots,
    silence,
    slow,
    status,
    trickle,
)
from crawler.demo.server import Request, serving
from tests.broker import Gate
from tests.sentry import Sentry, some_sentry
from tests.system.machines import Machines, machines, until
from tests.system.program import Program

pytestmark = pytest.mark.xdist_group("disasters")  # each wants the machine to itself

BASE = {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0"}
PASSWORD = "correct-horse-battery"


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """A Sentry that listens."""
    with some_sentry() as sentry:
        yield sentry


def web_of(*hosts: str) -> dict[str, Site]:
    """A page and another on each."""
    return {host: {"/": page(host, "/more"), "/more": page("more")} for host in hosts}


@contextlib.asynccontextmanager
async def hall_of(
    sentry: Sentry, dsn: str, folder: Path, amqp: tuple[str, str] | None = None, *hosts: str
) -> AsyncIterator[Machines]:
    """Workers that tell this Sentry soon."""
    with serving(web_of(*hosts)) as web:
        async with machines(web, dsn, folder, amqp, SENTRY_DSN=sentry.dsn, ALERT_AFTER="1s") as hall:
            yield hall


async def told(sentry: Sentry, *kinds: str) -> None:
    """Return when these were told."""
    await until(lambda: set(kinds) <= set(sentry.kinds), f"Sentry hears of {kinds}", 15)


async def test_database_and_broker_gone(sentry: Sentry, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A broker and a database that are away for longer than they may are an event each, from a worker and from a scheduler."""
    data = tmp_path / "data"
    postgres = await EmbeddedPostgres.open(data)
    async with await Database.open(postgres.dsn, size=1) as database:
        await migrate(database)
    async with Gate(amqp[0]) as gate, hall_of(sentry, postgres.dsn, tmp_path, amqp, "a.test") as hall:
        way = f"{gate.url}?password={PASSWORD}"
        both = hall.start(amqp=way), hall._spawn("scheduler", "crawler", "scheduler", AMQP_URL=way)
        await hall.here(*both)
        await gate.shut()
        await until(lambda: sentry.kinds.count("broker") == 2, "both tell of the broker")
        gate.open()
        os.kill(int((data / "pg" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        await until(lambda: sentry.kinds.count("database") == 2, "both tell of the database")
        again = await EmbeddedPostgres.open(data)
        await hall.here(*both)
        await hall.dismiss()
        await again.close()
    await postgres.close()

    assert Counter(sentry.kinds) == {"broker": 2, "database": 2}
    assert {event["release"] for event in sentry.events} == {f"faircrawl@{__version__}"}
    assert len({event["tags"]["worker"] for event in sentry.events}) == 2
    assert PASSWORD not in sentry.raw


async def test_a_bug_and_a_dead_turn(sentry: Sentry, dsn: str, tmp_path: Path) -> None:
    """A bug in our code, and turns that are given up, are an event each with crawl and domain; the worker goes on with the rest."""
    async with hall_of(sentry, dsn, tmp_path, None, "bug.test", "lost.test", "well.test") as hall:
        await hall.seed("news", [hall.web.url("bug.test", path) for path in ("/", "/more")])
        await hall.seed("lost", [hall.web.url("lost.test"), hall.web.url("well.test")])
        # No URL of ours looks like that, so our code raises; and this turn was lost more often than any may be.
        await hall.database.ask(
            "update urls set url = 'nonsense', due_at = due_at + '1 s' where url like '%bug.test%/more'"
        )
        await hall.database.ask("update domains set lost = 9 where name = 'lost.test'")
        worker = hall.start()
        await told(sentry, "bug", "dead letter")
        await until(lambda: "/more" in hall.web.asked("well.test"), "the worker goes on")
        async with hall.queue() as queue:
            letters = {letter.reason for letter in await queue.dead_letters(10)}
        worker.signal(signal.SIGTERM)
        ended = await worker.ended()
    events = {event["tags"]["kind"]: event for event in sentry.events}

    assert ended == 0
    assert Counter(sentry.kinds) == {"bug": 1, "dead letter": 1}
    assert events["bug"]["tags"].items() >= {"crawl": "news", "domain": "bug.test"}.items()
    assert events["bug"]["exception"]["values"][-1]["type"] == "ValueError"
    assert events["dead letter"]["tags"]["domain"] == "lost.test"
    assert any("ValueError" in reason for reason in letters)


async def test_a_bug_that_ends_us(sentry: Sentry, dsn: str, tmp_path: Path) -> None:
    """A table that is not there ends a worker and not a scheduler: each tells it once, and the user gets one line."""
    async with hall_of(sentry, dsn, tmp_path, None, "a.test") as hall:
        await hall.seed("news", [hall.web.url("a.test")])
        scheduler = hall._spawn("scheduler", "crawler", "scheduler")
        await hall.here(scheduler)
        await hall.database.ask("drop table fetches cascade")
        worker = hall._spawn("worker", "crawler", "worker")
        ended = await worker.ended()
        scheduler.signal(signal.SIGTERM)
        scheduler_ended = await scheduler.ended()
    last = worker.said.splitlines()[-1]

    assert ended == 1
    assert scheduler_ended == 0
    assert sentry.kinds == ["bug", "bug"]
    assert len({event["tags"]["worker"] for event in sentry.events}) == 2
    assert last.startswith("crawl: ")
    assert "Traceback" not in worker.said


def wide(domains: int) -> dict[str, Site]:
    """So many domains, each with a page that takes a moment and leads to another, and to one that is not there."""
    start = slow(page("start", "/more", "/missing", "/private/x"), 0.3)
    site: Site = {"/robots.txt": robots("/private/"), "/": start, "/more": slow(page("more"), 0.3)}
    return {f"site{number}.test": site for number in range(domains)}


def crawled(
    folder: Path,
    sentry: Sentry,
    sites: Mapping[str, Site],
    *,
    files: int = 4096,
    taken: int = 0,
    **settings: str,
) -> tuple[dict[str, Any], list[Request]]:
    """A crawl of all of them by a process that may have so many files open, *taken* of them already: summary, and the web's log."""
    with serving(sites) as web, contextlib.ExitStack() as stack:
        held = [stack.enter_context(Path(os.devnull).open("rb")).fileno() for _ in range(taken)]
        given = {
            **BASE,
            "HOSTS_FILE": str(web.hosts_file(folder)),
            "SENTRY_DSN": sentry.dsn,
            "DELAY": "0.05s",
            **settings,
        }
        limit = ["bash", "-c", f'ulimit -n {files} && exec "$@"', "limited"]
        words = [
            "run",
            "--json",
            "--quiet",
            "--no-sitemaps",
            "--data",
            str(folder / "data"),
            *(web.url(host) for host in sites),
        ]
        done = subprocess.run(
            [*limit, sys.executable, "-m", "crawler", *words],
            env=Program(folder, given).environment(), pass_fds=held, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout), web.log[:]


def test_few_descriptors(sentry: Sentry, tmp_path: Path) -> None:
    """With `ulimit -n 128` a crawl of 100 domains finishes, PostgreSQL included, and nothing is critical about it."""
    summary, _ = crawled(tmp_path, sentry, wide(100), files=128)

    assert summary["outcomes"] == {"ok": 200, "gone": 100, "robots_refused": 100}
    assert summary["state"] == "finished"
    assert sentry.events == []


def test_no_descriptors_left(sentry: Sentry, tmp_path: Path) -> None:
    """When descriptors run out all the same, that is one event; turns come back, and every URL gets its outcome."""
    summary, log = crawled(tmp_path, sentry, wide(40), files=128, taken=90)
    pages = Counter((one.host, one.path) for one in log if one.path != "/robots.txt")

    assert summary["outcomes"] == {"ok": 80, "gone": 40, "robots_refused": 40}
    assert sentry.kinds == ["descriptors"]
    assert sentry.events[0]["tags"]["crawl"]
    assert set(pages.values()) == {1}


def test_memory_at_its_limit(sentry: Sentry, tmp_path: Path) -> None:
    """Above MAX_MEMORY the domains are visited one after the other; when it does not fall, that is one event, and the crawl finishes."""
    summary, log = crawled(tmp_path, sentry, wide(3), MAX_MEMORY="1MiB", ALERT_AFTER="0.2s")
    asked = sorted(log, key=lambda one: one.began)
    turns = [(one, then) for one, then in itertools.pairwise(asked) if one.host != then.host]

    assert summary["outcomes"] == {"ok": 6, "gone": 3, "robots_refused": 3}
    assert sentry.kinds == ["memory"]
    assert turns
    assert all(one.ended <= then.began for one, then in turns)


def test_what_sites_do_is_not_critical(sentry: Sentry, tmp_path: Path) -> None:
    """Sites that are silent, wrong, throttling, or nonsense are no event at all."""
    replies = [
        silence(), status(500), status(429, retry_after="1"), redirect("/"), redirect("ftp://x/"), trickle("slow", 9, 0.3),
        Reply(b"\0\xff", headers={"Content-Encoding": "gzip"}), Reply(b"<p>", headers={"Content-Length": "9", "Connection": "close"}),
        bomb(30), huge(3), Reply(b"%PDF-", headers={"Content-Type": "text/html; charset=nonsense"}), page("deep", body="<b>" * 50_000),
    ]  # fmt: skip
    sites: dict[str, Site] = {f"bad{number}.test": {"/": reply} for number, reply in enumerate(replies)}
    sites |= {
        f"worse{number}.test": {"/robots.txt": reply, "/": page("x")} for number, reply in enumerate(replies)
    }
    waits: dict[str, Any] = {
        f"{phase}_TIMEOUT": "0.5s" for phase in ("FIRST_BYTE", "READ", "CONNECT", "TLS", "DNS")
    }
    summary, _ = crawled(tmp_path, sentry, sites, TOTAL_TIMEOUT="1s", MAX_BODY="1MiB", **waits)

    assert sentry.events == []
    assert sum(summary["outcomes"].values()) >= len(sites)
