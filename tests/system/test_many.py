"""Several workers of one crawl, each a program of its own: what they share, and how they are steered and stopped."""

import itertools
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pytest

from crawler.adapters.frontier import LOST_FOR_GOOD
from crawler.core import turns
from crawler.demo.language import Site, page, robots, slow
from crawler.demo.server import serving
from tests.system.judge import judge
from tests.system.machines import Machines, Surprise, machines, until, wide_web
from tests.system.told import Terminal

pytestmark = pytest.mark.xdist_group("disasters")  # each wants the machine to itself

PLAIN: Final = robots("/private/")
LONG_TURNS: Final = {"DELAY": "0.2s", "TURN_SECONDS": "30s", "QUEUE_LEASE": "40s"}
"""Turns that would go on for long after they were told to stop."""


def flat_web(domains: int, pages: int, word: str = "site", seconds: float = 0.0) -> dict[str, Site]:
    """Sites whose pages lead nowhere: all are seeds, so a turn has as many of them as its time allows.

    *seconds*: what an answer takes, and longer from site to site, so that they do not keep step.
    """
    return {
        f"{word}{number}.test": {
            "/robots.txt": PLAIN,
            **{f"/{path}": slow(page(f"{path}"), seconds * (1 + number / 10)) for path in range(pages)},
        }
        for number in range(domains)
    }


def urls(hall: Machines, sites: dict[str, Site]) -> list[str]:
    """All pages of the sites."""
    return [
        hall.web.url(host, path) for host, site in sites.items() for path in site if path != "/robots.txt"
    ]


@pytest.mark.parametrize(
    ("step", "pages", "more"),
    [("accepted", 1, {}), ("connected", 0, {}), ("connected", 0, {"DELAY": "2s", "TURN_SECONDS": "1s"})],
)
async def test_lost_again_and_again(
    dsn: str, tmp_path: Path, step: str, pages: int, more: dict[str, str]
) -> None:
    """A URL is given up when every worker dies with its request, however long the pause, and not when they die before there is one."""
    with serving({"site.test": {"/robots.txt": PLAIN, "/": page("start")}}) as web:
        async with machines(
            web, dsn, tmp_path, None, **{"TURN_SECONDS": "3s", "QUEUE_LEASE": "20s"} | more
        ) as hall:
            await hall.seed("all", [web.url("site.test")])
            for _ in range(LOST_FOR_GOOD + 1):
                await hall.bury(hall.victim(step, 1))
            hall.start()
            await hall.until_done("all", "nobody dies any more")
            stored = await hall.pages("all")
            await hall.dismiss()

    assert stored == pages


@pytest.mark.parametrize(
    ("carrier", "rule"), [("postgres", "off"), ("rabbit", "adaptive")], indirect=["carrier"]
)
async def test_budget_of_four_workers(
    dsn: str, tmp_path: Path, carrier: tuple[str, str] | None, rule: str
) -> None:
    """Four workers, one of which is killed, store exactly as many pages as --max-pages says, and never more.

    Then the crawl is finished; one with a refresh rule is not, but has no other page to visit.
    """
    sites, most = wide_web(60, 20), 400
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, carrier) as hall:
            workers = [hall.start() for _ in range(4)]
            await hall.here(*workers)
            await hall.seed("all", [web.url("site0.test")], "--max-pages", str(most), "--refresh", rule)
            seen = []

            async def is_finished() -> bool:
                seen.append(await hall.pages("all"))
                state = "select state from crawls where crawl_id = $1"
                waiting = "select count(*) from urls where crawl_id = $1 and open and due_at is not null"
                if rule == "off":
                    return bool(await hall.database.ask(state, hall.crawls["all"]) == "finished")
                return bool(await hall.database.ask(waiting, hall.crawls["all"]) == 0)

            await hall.until_pages("all", 100, "before the death")
            await hall.kill(workers[0])
            await until(is_finished, "the budget is used up")
            await hall.dismiss()
            seen.append(await hall.pages("all"))

    assert max(seen) == seen[-1] == most


async def test_terminated(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """SIGTERM: what is open ends and is written down, all the rest is free at once for somebody else."""
    sites = flat_web(20, 8, seconds=0.2)
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, amqp) as hall:
            first = hall.start()
            await hall.seed("all", urls(hall, sites))
            await until(lambda: len(web.log) >= 60, "60 requests")
            told = time.monotonic()
            await hall.dismiss()
            log = list(web.log)
            stored = await hall.pages("all")
            left = await hall.database.ask("select count(*) from domains where holder is not null")
            rest = await hall.database.ask(
                "select extract(epoch from max(ready_at) - now())::float8 from domains"
            )
            hall.start()
            await hall.until_done("all", "the next worker")
            await hall.dismiss()
            await judge(hall, "all", sites)

    assert max(Counter(one.host for one in log if one.began > told).values(), default=0) <= 1
    assert stored == sum(one.path != "/robots.txt" for one in log)
    assert [one for one in log if one.began < told < one.ended]
    assert (left, rest < 0.1) == (0, True)
    assert "turn.lost" not in first.said


async def test_terminated_twice(dsn: str, tmp_path: Path) -> None:
    """After a second SIGTERM open requests are not waited for, and their domains are free."""
    surprise = Surprise(page("late"))
    sites: dict[str, Site] = {"late.test": {"/robots.txt": PLAIN, "/": surprise}}
    patient = {"FIRST_BYTE_TIMEOUT": "50s", "TOTAL_TIMEOUT": "50s", "QUEUE_LEASE": "60s", "GRACE": "50s"}
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, None, **patient) as hall:
            worker = hall.start()
            await hall.seed("all", [web.url("late.test")])
            await until(lambda: surprise.asked, "the request is open")
            worker.signal(signal.SIGTERM)
            await until(lambda: "stopping" in worker.said, "the first SIGTERM is heeded")
            began = time.monotonic()
            worker.signal(signal.SIGTERM)
            status = await worker.ended()
            took = time.monotonic() - began
            hall.start()
            await hall.until_done("all", "the next worker")

    assert (status, took < 10) == (0, True)


async def at_rest(hall: Machines, *names: str) -> None:
    """Return when nobody visits these domains; none named: any domain."""
    sql = "select count(*) from domains where holder is not null and ($1 or name = any($2::text[]))"

    async def left() -> bool:
        return not await hall.database.ask(sql, not names, list(names))

    await until(left, "nobody visits them any more")


@pytest.mark.parametrize("command", ["pause", "cancel"])
async def test_stopped_at_work(dsn: str, tmp_path: Path, command: str) -> None:
    """`crawl pause` and `crawl cancel` reach turns at work: at most one more request to each domain; `resume` goes on."""
    sites = flat_web(10, 40)
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, None, **LONG_TURNS) as hall:
            hall.start()
            hall.start()
            await hall.seed("all", urls(hall, sites))
            await until(lambda: len(web.log) >= 40, "40 requests")
            await hall.command(command, "all")
            told = time.monotonic()
            await at_rest(hall)
            log = list(web.log)
            await hall.command("resume", "all")
            await until(lambda: len(web.log) >= len(log) + 20, "it goes on")
            await hall.dismiss()

    late = Counter(one.host for one in log if one.began > told)
    assert len(log) < 300
    assert [host for host, requests in late.items() if requests > 1] == []


async def test_blocked_at_work(dsn: str, tmp_path: Path) -> None:
    """`crawl domain --block` reaches the turn at work: at most one more request to that domain, while the others are visited."""
    sites = flat_web(10, 120)
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, None, **LONG_TURNS) as hall:
            hall.start()
            hall.start()
            await hall.seed("all", urls(hall, sites))
            await until(lambda: web.asked("site3.test")[2:], "three requests")
            await hall.command("domain", "site3.test", "--block")
            told, seen = time.monotonic(), len(web.asked("site4.test"))
            await at_rest(hall, "site3.test")
            await until(lambda: len(web.asked("site4.test")) >= seen + 2, "the others are visited")
            await hall.dismiss()
            log = list(web.log)

    late = Counter(one.host for one in log if one.began > told)
    assert late["site3.test"] <= 1
    assert late["site4.test"] >= 1


async def test_two_crawls(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A small crawl that begins while a big one is at work is done long before it."""
    big, small = wide_web(300, 20, "big"), wide_web(5, 6, "small")
    with serving({**big, **small}) as web:
        # So slow that it has work left however long the other takes to begin.
        async with machines(web, dsn, tmp_path, amqp, DOMAINS_AT_ONCE="10", DELAY="0.2s") as hall:
            await hall.here(hall.start(), hall.start())
            await hall.seed("big", [web.url(host) for host in big])
            await hall.until_pages("big", 100, "the big one is at work")
            await hall.seed("small", [web.url("small0.test")])
            before = await hall.pages("big")
            await hall.until_done("small", "the small one")
            pages = await hall.pages("big")
            await hall.dismiss()

    assert before < len(big) * 20 / 2
    assert pages - before < len(big) * 20 / 3


async def test_a_huge_domain(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A domain with hundreds of pages due takes one place of a worker, and the small ones are done long before it."""
    huge, small = flat_web(1, 300, "huge"), flat_web(20, 4, "small")
    with serving({**huge, **small}) as web:
        async with machines(web, dsn, tmp_path, amqp, DOMAINS_AT_ONCE="3") as hall:
            hall.start()
            await hall.seed("all", urls(hall, {**huge, **small}))
            await until(lambda: sum(one.host in small for one in web.log[:]) == 20 * 5, "the small ones")
            asked = len(web.asked("huge0.test"))
            await hall.dismiss()

    assert 0 < asked < 250


async def test_crowded_address(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """However many workers there are, no more than PER_ADDRESS domains of one address are visited at once, and all are in the end."""
    sites = flat_web(15, 4)
    long = {"TURN_SECONDS": "10s", "QUEUE_LEASE": "14s"}
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, amqp, PER_ADDRESS="3", **long) as hall:
            await hall.here(hall.start(), hall.start())
            await hall.seed("all", urls(hall, sites))
            await hall.until_done("all", "every domain had its turn")
            await hall.dismiss()
            await judge(hall, "all", sites)
            log = list(web.log)

    # All of a domain's pages were due at once, so each had one turn: from its first request to its last answer.
    edges = []
    for host in sites:
        times = [(one.began, one.ended) for one in log if one.host == host]
        edges += [(min(began for began, _ in times), 1), (max(ended for _, ended in times), -1)]
    at_once = list(itertools.accumulate(step for _, step in sorted(edges)))
    assert max(at_once) == 3


async def test_messages_of_strangers(dsn: str, tmp_path: Path, amqp: tuple[str, str]) -> None:
    """A message of another version and one that is garbage lie with the dead letters, and the worker goes on."""
    sites = flat_web(2, 2)
    newer = msgspec.msgpack.encode([turns.VERSION + 1, "whatever", ["comes", "then"]])
    with serving(sites) as web:
        async with machines(web, dsn, tmp_path, amqp) as hall:
            hall.start()
            async with hall.queue() as queue:
                sent = await queue.publish([newer, b"garbage"])
                await hall.seed("all", urls(hall, sites))
                await hall.until_done("all", "after the strange messages")
                letters = await queue.dead_letters(10)
            await hall.dismiss()

    assert sent == [True, True]
    assert {letter.body for letter in letters} == {newer, b"garbage"}
    assert sorted(letter.reason.partition(":")[0] for letter in letters) == [
        "this message is not a turn",
        "this message is of version 2, this worker understands version 1",
    ]


@pytest.mark.parametrize(
    ("setting", "url", "status", "words"),
    [
        (
            "DATABASE_URL",
            "postgresql://nobody@127.0.0.1:1/none",
            1,
            "the database at 127.0.0.1:1 cannot be reached",
        ),
        ("DATABASE_URL", "mysql://nobody@127.0.0.1/none", 2, "database_url"),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/", 1, "127.0.0.1:1"),
        ("AMQP_URL", "http://127.0.0.1/", 2, "amqp_url"),
        ("CONTACT", "none", 2, "CRAWL_CONTACT"),
    ],
)
async def test_a_worker_that_cannot_begin(dsn: str, setting: str, url: str, status: int, words: str) -> None:
    """A worker that is given a wrong address says so in one line, and ends."""
    given = {"CONTACT": "mailto:nobody@machines.test", "START_PATIENCE": "0"}
    said = await Terminal(dsn, given)("worker", **{setting: url})

    assert (said.status, said.out) == (status, "")
    assert words in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "scheduler"])
async def test_a_queue_without_its_database(command: str) -> None:
    """Whoever would take others' turns for a database of its own, which nobody named, is stopped in a line."""
    given = {"CONTACT": "mailto:nobody@machines.test", "AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}
    said = await Terminal("", given)(command)

    assert (said.status, said.out) == (2, "")
    assert "the turns in RabbitMQ are those of one database: name it" in said.err


async def test_a_worker_with_a_wrong_password(dsn: str, amqp: tuple[str, str]) -> None:
    """A broker that refuses the password is told at once, in one line that does not show it."""
    at = urlsplit(amqp[0])
    wrong = at._replace(netloc=f"{at.username}:secret-and-wrong@{at.netloc.rpartition('@')[2]}").geturl()
    said = await Terminal(dsn, {"CONTACT": "mailto:nobody@machines.test"})("worker", AMQP_URL=wrong)

    assert (said.status, said.out) == (1, "")
    assert "password" in said.err
    assert "secret-and-wrong" not in said.err
    assert len(said.err.splitlines()) == 1
