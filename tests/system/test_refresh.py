"""`crawl refresh` by the real program: URLs and whole crawls, alone and by workers; nothing is lost, and the web's own log tells."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.core.urls import domain_of
from crawler.demo.language import Site, page, redirect, robots, slow, status
from crawler.demo.server import Web, hurried, serving
from tests.broker import PrivateNode
from tests.system.machines import DELAY, Machines, Surprise, machines, until
from tests.system.program import Program, kill
from tests.system.test_more_commands import fails, look, on, ring, running, when

PAGES = 12
MANY = 400


def domain(host: str) -> str:
    """The registrable domain of a host."""
    return domain_of(f"http://{host}/")


@pytest.fixture
def program(data: Path) -> Program:
    """The program on an empty database."""
    return Program(data, {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "5s", "DELAY": "0.1s"})


@pytest.fixture
def sites() -> dict[str, dict[str, Any]]:
    """Two domains; what they serve may be changed at any time."""
    return {
        "one.test": {"/robots.txt": robots("/nowhere"), **ring(PAGES)},
        "two.test": {"/robots.txt": robots("/nowhere"), **ring(PAGES)},
    }


@pytest.fixture
def web(sites: dict[str, Site]) -> Iterator[Web]:
    """The sites, served."""
    with serving(sites) as web:
        yield web


def told(out: str) -> dict[str, dict[str, Any]]:
    """What a command says of each URL, by its path."""
    return {one["url"].partition(".test")[2].partition("/")[2]: one for one in json.loads(out)["urls"]}


# Alone, on an embedded database


def test_alone(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """With nobody at work the command visits what was named and nothing else; new links stay on the frontier for the next run."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    sites["one.test"]["/"] = page("changed", "/new")
    sites["one.test"]["/new"] = page("new")
    sites["one.test"]["/1"] = status(410)
    sites["one.test"]["/2"] = redirect("/3")
    asked = len(web.log)
    out = told(here.run("refresh", *(web.url("one.test", f"/{n}") for n in ("", "1", "2", "3")), "--json"))
    paths = sorted(web.asked()[asked:])
    state = look(here, "status", "one.test")["state"]
    asked = len(web.log)
    here.crawl(seed)
    after = web.asked()[asked:]

    assert paths == ["/", "/1", "/2", "/3"]
    assert {path: (one["outcome"], one["change"]) for path, one in out.items()} == {
        "": ("ok", "text"),
        "1": ("gone", None),
        "2": ("redirect", None),
        "3": ("not_modified", "none"),
    }
    assert (state, after) == ("paused", ["/new"])
    assert hurried(web.log, 0.1, domain) == []


def test_finished_again(program: Program, web: Web) -> None:
    """A finished crawl of which a page was refreshed is finished as before, and what is shown is for people too."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    out = here.run("refresh", seed)

    assert "unchanged (the same bytes)" in out
    assert "it had changed" not in out
    assert look(here, "status", "one.test")["state"] == "finished"


def test_left(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A crawl that its run has left is refreshed without going on; running it again goes on."""
    here, seed = on(program, web), web.url("one.test")
    sites["one.test"].update(ring(MANY))
    with running(here, seed) as process:
        when(lambda: len(web.log) > 5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    asked = len(web.log)
    out = told(here.run("refresh", seed, "--json"))
    paths = web.asked()[asked:]
    with running(here, seed) as process:
        when(lambda: len(web.log) > asked + 5)

    assert out[""]["answered"]
    assert paths == ["/"]
    assert len(set(web.asked())) == len(web.log) - 1


def test_killed(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A command that is killed while the site is asked has its URL visited by the next run, once its pause is over."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    surprise = sites["one.test"]["/1"] = Surprise(page("late"))
    process = here.start("refresh", web.url("one.test", "/1"))
    when(lambda: surprise.asked)
    kill(process)
    here.crawl(seed)

    assert [one.path for one in web.log if one.status][-1] == "/1"
    assert here.pages("one.test")[web.url("one.test", "/1")]["title"] == "late"
    assert hurried(web.log, 0.1, domain) == []


def test_interrupted(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """Ctrl-C takes nothing back, and leaves no domain held: the same command asks again at once."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    surprise = sites["one.test"]["/"] = Surprise(page("late"))
    process = here.start("refresh", seed)
    when(lambda: surprise.asked)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    out = told(here.run("refresh", seed, "--json"))

    assert process.returncode == 130
    assert (out[""]["title"], out[""]["change"]) == ("late", "text")


def test_during_a_run(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A run that holds the domain visits it next, before all that its turn has in line, and after the pause."""
    sites["one.test"].update(ring(MANY))
    here, seed = on(program, web), web.url("one.test")
    with running(here, seed) as process:
        when(lambda: len(web.log) > 5)
        sites["one.test"]["/"] = page("changed")
        out = told(here.run("refresh", seed, "--json"))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    assert (out[""]["change"], out[""]["title"]) == ("text", "changed")
    assert out[""]["seconds"] < 1.6
    assert hurried(web.log, 0.1, domain) == []


def test_refused(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """What is not visited is one line each, with what to do; the others are visited all the same."""
    sites["one.test"]["/robots.txt"] = robots("/1")
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    asked = len(web.log)
    err = fails(here, "refresh", web.url("one.test", "/nix"), web.url("one.test", "/1"), seed, status=1)
    forbidden = here.start("refresh", web.url("one.test", "/1"))
    forbidden.communicate(timeout=60)
    wrong = fails(here, "refresh", seed, "--all", "one.test", status=2)

    assert web.asked()[asked:] == ["/"]
    assert err.startswith(f"crawl: nothing is known of {web.url('one.test', '/nix')}: `crawl seed NAME ")
    assert "for robots.txt forbids it (robots.txt line 2: Disallow: /1)" in err
    assert forbidden.returncode == 0
    assert "exclude each other" in wrong


def test_throttled(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A domain that backs off is not waited for: the command says at once when it may be visited, and asks nothing."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    sites["one.test"]["/"] = status(429, retry_after="3600")
    first = told(here.run("refresh", seed, "--json"))
    asked = len(web.log)
    err = fails(here, "refresh", web.url("one.test", "/1"), status=1)

    assert first[""]["outcome"] == "throttled"
    assert "rests: it is the first to be visited, in 59 min" in err or "in 1 h" in err
    assert "(status 429, Retry-After 3600 s)" in err
    assert len(web.log) == asked


@pytest.mark.parametrize("limit", [(), ("--max-pages", "8")])
def test_all(program: Program, web: Web, limit: tuple[str, ...]) -> None:
    """A whole crawl is visited again, each page once, with every pause, also when it may store no more pages."""
    here, seed = on(program, web), web.url("one.test")
    stored = here.crawl(seed, *limit)["pages"]
    pages = {
        path for path in web.asked() if path not in {"/robots.txt", "/sitemap.xml", "/sitemap_index.xml"}
    }
    asked = len(web.log)
    summary = json.loads(here.run("refresh", "--all", "one.test", "--json"))
    again = [path for path in web.asked()[asked:] if path in pages]

    assert sorted(again) == sorted(pages)
    assert summary["outcomes"]["not_modified"] == stored == len(pages)
    assert summary["state"] == "finished"
    assert hurried(web.log, 0.1, domain) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_all_interrupted(program: Program, web: Web, number: int) -> None:
    """A refresh of all that is interrupted, or killed, is gone on with by the next run: every page once more, but for what was cut off."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed)
    asked = len(web.log)
    process = here.start("refresh", "--all", "one.test")
    when(lambda: len(web.log) >= asked + 3)
    process.send_signal(number)
    process.communicate(timeout=60)
    cut = len(web.log)
    here.crawl(seed)
    before, after = set(web.asked()[asked:cut]), set(web.asked()[cut:])

    assert before | after == set(ring(PAGES))
    assert number == signal.SIGKILL or not before & after
    assert len(web.log) - cut == len(after)
    assert hurried(web.log, 0.1, domain) == []


# By workers, on a server


@pytest.fixture
async def hall(
    web: Web, dsn: str, tmp_path: Path, carrier: tuple[str, str] | None
) -> AsyncIterator[Machines]:
    """No workers yet."""
    async with machines(web, dsn, tmp_path, carrier) as hall:
        yield hall


async def crawled(hall: Machines, *names: str) -> None:
    """A crawl of these domains by a worker that stays."""
    worker = hall.start()
    await hall.here(worker)
    await hall.seed("test", [hall.web.url(name) for name in names])
    await hall.until_done("test", "the first visit")


async def test_free(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A domain that is free is visited at once, through the urgent queue; with nobody at work that is said, and who comes does it."""
    await crawled(hall, "one.test")
    sites["one.test"]["/"] = page("changed")
    out = told(await hall.command("refresh", web.url("one.test"), "--json"))
    await hall.dismiss()
    sites["one.test"]["/"] = page("changed again")
    # Who left lately counts as at work for nobody: it has signed out.
    nobody = told(await hall.command("refresh", web.url("one.test"), "--json", status=1))
    asked = len(web.log)
    hall.start()
    await until(lambda: "/" in web.asked()[asked:], "the next worker visits it")
    await hall.dismiss()

    assert (out[""]["change"], out[""]["title"]) == ("text", "changed")
    assert nobody[""]["why"] == "nobody"
    assert hurried(web.log, DELAY, domain) == []


async def test_slots_are_busy(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A worker all of whose slots are busy visits it all the same, while their requests are open."""
    await hall.here(hall.start(DOMAINS_AT_ONCE="1"))
    await hall.seed("other", [web.url("two.test")])
    await hall.until_done("other", "the domain that is asked for")
    sites["one.test"].update({path: slow(page(path, *ring(40)), 2.5) for path in ring(40)})
    asked = len(web.log)
    await hall.seed("test", [web.url("one.test")])
    await hall.until_pages("test", 1, "the only slot is busy")
    out = told(await hall.command("refresh", web.url("two.test"), "--json", "--crawl", "other"))
    await hall.dismiss()
    (wished,) = (one for one in web.log[asked:] if one.host == "two.test")

    assert out[""]["answered"]
    assert [one for one in web.log if one.host == "one.test" and one.began < wished.began < one.ended]


async def test_worker_killed(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A worker that is killed while it asks is made up for by the next, and nobody is hurried."""
    await crawled(hall, "one.test")
    surprise = sites["one.test"]["/1"] = Surprise(page("late"))
    process = asyncio.create_task(
        hall.command("refresh", web.url("one.test", "/1"), "--json", "--wait", "80s")
    )
    await until(lambda: surprise.asked, "the request is open")
    await hall.kill(await hall.holder("one.test"))
    hall.start()
    out = told(await process)
    await hall.dismiss()

    assert out["1"]["title"] == "late"
    assert hurried([one for one in web.log if one.status], DELAY, domain) == []


async def test_all_by_workers(hall: Machines, web: Web) -> None:
    """On a server the command makes all due and leaves it to who works, or waits for them: every page once, at the usual pace."""
    await crawled(hall, "one.test", "two.test")
    hall.start()
    asked = len(web.log)
    out = json.loads(await hall.command("refresh", "--all", "test", "--wait", "60s", "--json"))
    again = [
        (one.host, one.path)
        for one in web.log[asked:]
        if one.path.removeprefix("/").isdecimal() or one.path == "/"
    ]
    await hall.dismiss()

    assert out["done"]
    assert sorted(again) == sorted(
        (name, f"/{n or ''}") for name in ("one.test", "two.test") for n in range(PAGES)
    )
    assert hurried(web.log, DELAY, domain) == []


@pytest.mark.xdist_group("disasters")
async def test_broker_killed(
    web: Web, dsn: str, tmp_path: Path, private_broker: PrivateNode, sites: dict[str, dict[str, Any]]
) -> None:
    """A RabbitMQ that is killed, whoever waits or has stopped waiting, costs no refresh: it is made when that is back."""
    async with machines(web, dsn, tmp_path, (private_broker.url, "refresh")) as hall:
        await crawled(hall, "one.test", "two.test")
        sites["one.test"]["/"] = sites["two.test"]["/"] = page("changed")
        private_broker.kill()
        await hall.command("refresh", web.url("one.test"), "--wait", "0.5s", status=1)
        waiting = asyncio.create_task(hall.command("refresh", web.url("two.test"), "--json", "--wait", "80s"))
        await private_broker.start_again()
        out = told(await waiting)
        asked = "select count(*) = 0 from urls where due_at < '1971-01-01'"

        async def all_asked() -> bool:
            return bool(await hall.database.ask(asked))

        await until(all_asked, "the one that nobody waits for")
        await hall.dismiss()

    assert out[""]["title"] == "changed"
    assert [web.asked(name).count("/") for name in ("one.test", "two.test")] == [2, 2]
    assert hurried(web.log, DELAY, domain) == []
