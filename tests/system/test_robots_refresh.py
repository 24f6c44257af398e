"""`crawl refresh --robots` by the real program, and robots.txt that change, fail and end while they are obeyed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler.adapters.domains import Domains, Tuning
from crawler.adapters.postgres import Database
from crawler.cli import main
from crawler.core.urls import domain_of
from crawler.demo.language import Reply, Site, page, redirect, robots, silence, status, text
from crawler.demo.server import Web, hurried, serving
from crawler.opening import opened
from crawler.presence import Presence
from crawler.settings import Settings
from tests.system.machines import Machines, Surprise, machines, until
from tests.system.program import Program, kill
from tests.system.test_more_commands import ended, fails, on, ring, running, when

PATH = "/robots.txt"
DELAY = 0.1
PAGES = 12
DEADLINES = (
    "TOTAL_TIMEOUT",
    "CONNECT_TIMEOUT",
    "TLS_TIMEOUT",
    "FIRST_BYTE_TIMEOUT",
    "READ_TIMEOUT",
    "DNS_TIMEOUT",
)
MANY = 500
"""Pages that nobody comes to the end of."""


@pytest.fixture
def program(data: Path) -> Program:
    """The program on an empty database."""
    return Program(data, {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "5s", "DELAY": f"{DELAY}s"})


def domain(host: str) -> str:
    """The registrable domain of a host."""
    return domain_of(f"http://{host}/")


@pytest.fixture
def sites() -> dict[str, dict[str, Any]]:
    """A domain of two hosts; what they serve may be changed at any time."""
    return {
        "one.test": {PATH: robots("/nowhere"), **ring(PAGES)},
        "www.one.test": {PATH: robots("/nowhere"), "/": page("www")},
    }


@pytest.fixture
def web(sites: dict[str, Site]) -> Iterator[Web]:
    """The sites, served."""
    with serving(sites) as web:
        yield web


def test_stops_a_crawl_at_once(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A crawl in full swing asks for nothing any more that new rules disallow, from the refresh on; several at once hurry nobody."""
    sites["one.test"].update(ring(MANY))
    here, seed = on(program, web), web.url("one.test")
    with running(here, seed, web.url("www.one.test"), "--processes", "2") as process:
        when(lambda: len(web.log) > 7)
        sites["one.test"][PATH] = robots("/")
        several = [here.start("refresh", "--robots", "www.one.test", "--json") for _ in range(3)]
        told = [json.loads(each.communicate(timeout=60)[0]) for each in several]
        asked = len(web.log)
        out = ended(process)
    first = next(n for n, one in enumerate(web.log) if one.path == PATH and n > 5 and one.host == "one.test")
    origins = {one["origin"]: one for each in told for one in each["origins"] if one["changed"]}

    assert [each["done"] for each in told] == [True] * 3
    assert {path for path in web.asked("one.test")[first:] if path != PATH} <= set(
        web.asked("one.test")[:first]
    )
    assert [one.path for one in web.log[first:] if one.path != PATH] == []
    assert len(web.log) == asked
    assert "robots_refused" in out
    assert list(origins) == [web.url("one.test")[:-1]]
    assert origins[web.url("one.test")[:-1]]["now"].startswith("everything is disallowed")
    assert origins[web.url("one.test")[:-1]]["newly_refused"] == MANY
    assert hurried(web.log, DELAY, domain) == []


def test_alone(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """With nobody at work the command asks by itself, each host and with the pause; what became allowed is fetched by the next run."""
    sites["one.test"][PATH] = robots("/")
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed, web.url("www.one.test"), status=0)
    sites["one.test"][PATH] = robots("/7")
    told = here.run("refresh", "--robots", seed)
    asked = web.asked()[-2:]
    summary = here.crawl(seed)

    assert (
        "of 1 known URL, 0 became disallowed and 1 allowed; 1 that robots.txt had refused is looked at again"
        in told
    )
    assert "as before: 1 pattern, the front page is allowed" in told
    assert asked == [PATH] * 2
    assert summary["outcomes"] == {"ok": PAGES, "robots_refused": 1}
    assert hurried(web.log, DELAY, domain) == []


def test_in_a_pause(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A refresh in the pause between the rules and the page that they allow is heeded before that page."""
    here, seed = on(program, web, DELAY="8s"), web.url("one.test")
    with running(here, seed) as process:
        when(lambda: web.asked() == [PATH])
        sites["one.test"][PATH] = robots("/")
        here.run("refresh", "--robots", "one.test")
        ended(process, status=1)  # no page was stored

    assert web.asked() == [PATH, PATH]


async def test_workers_that_leave(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """When those at work leave without having asked, the command that waits for them asks by itself."""
    here, seed = on(program, web), web.url("one.test")
    await asyncio.to_thread(here.crawl, seed)
    sites["one.test"][PATH] = robots("/")
    async with opened(Settings(data=here.data)) as place:
        idle = Presence(place.database, slots=5, queue="postgres", same_machine=True)
        await idle.sign_in()
        process = here.start("refresh", "--robots", "one.test", "--json")
        wished = "select count(*) > 0 from origins where expires_at = 'epoch'"
        while not await place.database.ask(wished):  # noqa: ASYNC110 - of another program
            await asyncio.sleep(0.05)
        before = web.asked("one.test").count(PATH)
        await idle.sign_out()
        out, _ = await asyncio.to_thread(process.communicate, timeout=60)

    assert json.loads(out)["done"]
    assert web.asked("one.test").count(PATH) == before + 1


def test_killed_command(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A command that is killed while it asks leaves nothing wrong: the next run takes the domain over, asks first, and goes on."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed, "--max-pages", "3")
    left = next(f"/{n}" for n in range(2, 10) if f"/{n}" not in web.asked("one.test"))
    rules = sites["one.test"][PATH] = Surprise(robots(left))
    before = len(web.log)
    process = here.start("refresh", "--robots", "one.test")
    when(lambda: rules.asked)
    kill(process)
    summary = here.crawl(seed, "--max-pages", "0")
    after = [one.path for one in web.log[before:] if one.status]

    assert summary["outcomes"] == {"ok": PAGES - 1, "robots_refused": 1}
    assert (after[0], after.count(PATH)) == (PATH, 1)


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dsn: str, *arguments: str
) -> tuple[object, str]:
    """How `crawl refresh` ends in this process: its status, and what it says on stderr."""
    monkeypatch.setenv("CRAWL_DATABASE_URL", dsn)
    with pytest.raises(SystemExit) as ended:
        main(["refresh", *arguments])
    return ended.value.code, capsys.readouterr().err


def test_wrong_usage(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done is one line, with what to do instead."""

    async def know() -> None:
        async with await Database.open(dsn) as database:
            await Domains(database).tune("two.test", Tuning((1.0,)))
            await Domains(database).block(["three.test"], "asked to")

    asyncio.run(know())
    lines = {
        name: refused(monkeypatch, capsys, dsn, *arguments)
        for name, arguments in {
            "unknown": ("--robots", "one.test"),
            "never": ("--robots", "http://www.two.test/x"),
            "blocked": ("--robots", "three.test"),
            "bare": (),
            "odd": ("--robots", "no domain"),
        }.items()
    }

    what = "name what to refresh, URLs, --all NAME or --robots DOMAIN"
    assert lines == {
        "unknown": (1, "crawl: nothing is known of one.test\n"),
        "never": (
            1,
            "crawl: the robots.txt of two.test was never asked for: that is done before its first page\n",
        ),
        "blocked": (
            1,
            "crawl: three.test is not asked for anything, for it is blocked (asked to): `crawl domain three.test --unblock`\n",
        ),
        "bare": (
            2,
            f"crawl refresh: {what}: crawl refresh https://example.com/ (see crawl refresh --help)\n",
        ),
        "odd": (2, "crawl: 'no domain' is neither a domain nor a URL: write example.com\n"),
    }


def test_throttled(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A robots.txt that answers 429 has its domain wait as long as it asks for, for a refresh too, and nothing is fetched."""
    sites["one.test"][PATH] = status(429, retry_after="3600")
    here = on(program, web)
    summary = here.crawl(web.url("one.test"), status=1)
    why = fails(here, "refresh", "--robots", "one.test", "--wait", "0.2s", status=1)

    assert "it was not asked for within 0.2 s: one.test rests, it is ready in" in why
    assert "(status 429, Retry-After 3600 s)" in why
    assert web.asked() == [PATH]
    assert [(row["outcome"], row["why"]) for row in summary["waiting"]] == [
        ("robots_refused", "status 429, Retry-After 3600 s")
    ]


def test_throttled_elsewhere(program: Program, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A robots.txt that redirects to another host of its domain, which wants rest, has the whole domain wait too."""
    sites["one.test"][PATH] = redirect("http://www.one.test:PORT/robots.txt")
    sites["www.one.test"][PATH] = status(503, retry_after="3600")
    sites["z.one.test"] = {PATH: robots(), **ring(PAGES)}
    sites["two.test"] = {PATH: robots(), "/": page("two")}
    seeds = [web.url(name) for name in ("one.test", "z.one.test", "two.test")]
    summary = on(program, web).crawl(*seeds, "--name", "all")
    last = [one for one in web.log if one.host != "two.test"][-1]

    assert (last.host, last.path) == ("www.one.test", PATH)
    assert {row["why"] for row in summary["waiting"]} == {"status 503, Retry-After 3600 s"}


def test_odd_robots_together(program: Program) -> None:
    """Hostile rules cost their own site alone: all others of the crawl are complete."""
    many = "".join(f"Disallow: /*a*a*a*a{n}$\n" for n in range(1_500))
    sites: dict[str, Site] = {
        "stars.test": {PATH: text(f"User-agent: *\n{many}Disallow: /7\n"), **ring(9)},
        "groups.test": {PATH: text("User-agent: *\nDisallow: /7\n" * 20_000), **ring(9)},
        "page.test": {PATH: page("not here"), **ring(9)},
        "there.test": {PATH: redirect("http://rules.test:PORT/robots.txt"), **ring(9)},
        "rules.test": {PATH: robots("/7"), **ring(9)},
        "private.test": {PATH: redirect("http://10.0.0.1/robots.txt"), **ring(9)},
        "hangs.test": {PATH: silence(), **ring(9)},
        "binary.test": {PATH: Reply(bytes(range(256)) * 400 + b"\nUser-agent:*\rDisallow:/7\r"), **ring(9)},
    }
    with serving(sites) as web:
        here = on(program, web, **dict.fromkeys(DEADLINES, "1s"), DELAY="0")
        here.crawl(*(web.url(name) for name in sites), "--name", "all")
        outcomes = {name: set(web.asked(name)) for name in sites}
        why = here.run("why", web.url("stars.test", "/7"))

    allowed = {PATH, "/", *(f"/{n}" for n in range(1, 9) if n != 7)}
    assert outcomes == {
        **dict.fromkeys(sites, allowed),
        "there.test": allowed,
        "page.test": {*allowed, "/7"},
        "private.test": {PATH},
        "hangs.test": {PATH},
    }
    assert "disallowed by line 1502" in why


# On a server, by workers


@pytest.fixture
async def hall(web: Web, dsn: str, tmp_path: Path) -> AsyncIterator[Machines]:
    """No workers yet."""
    async with machines(web, dsn, tmp_path, None) as hall:
        yield hall


async def test_no_worker(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """On a server with nobody at work the wish stays, in a clear line: the first worker asks before its first page."""
    await hall.seed("test", [web.url("one.test")])
    worker = hall.start()
    await hall.until_done("test", "the first visit")
    await hall.dismiss(worker)
    asked = len(web.log)
    told = json.loads(
        await hall.command("refresh", "--robots", "one.test", "--wait", "0.3s", "--json", status=1)
    )
    sites["one.test"][PATH] = robots("/8")
    unasked = len(web.log)
    await hall.database.script(
        "update domains set due_at = now(); update urls set due_at = now(), open = true"
    )
    hall.start()
    await hall.until_done("test", "the second visit")

    assert (told["done"], [one["asked"] for one in told["origins"]], unasked) == (False, [False], asked)
    assert "no worker is at work" in told["why"]
    assert web.asked()[asked] == PATH
    assert "/8" not in web.asked()[asked:]


async def test_worker_at_rest(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A worker with nothing to do there asks for it, and what became allowed is fetched at once."""
    sites["one.test"][PATH] = robots("/7")
    await hall.seed("test", [web.url("one.test")])
    several = [hall.start(), hall.start()]
    await hall.here(*several)
    await hall.until_done("test", "the first visit")
    sites["one.test"][PATH] = robots("/nowhere")
    told = await hall.command("refresh", "--robots", "one.test")
    await until(lambda: "/7" in web.asked(), "the page that became allowed")
    await hall.dismiss()

    assert "0 became disallowed and 1 allowed" in told
    assert web.asked().count(PATH) == 2
    assert hurried(web.log, 0.05, domain) == []


async def test_copy_ends(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """Rules that change to `Disallow: /` stop the crawl when the kept copy ends, without anybody's doing."""
    await hall.seed("test", [web.url("one.test")], "--max-pages", "5")
    worker = hall.start()
    await hall.until_pages("test", 5, "the first pages")
    await hall.dismiss(worker)
    asked = len(web.log)
    sites["one.test"][PATH] = robots("/")
    await hall.database.script("update origins set expires_at = now()")
    await hall.command("set", "test", "max-pages=none")
    hall.start()
    await hall.until_done("test", "the rest")

    assert web.asked()[asked:] == [PATH]


async def test_unreachable_meanwhile(hall: Machines, web: Web, sites: dict[str, dict[str, Any]]) -> None:
    """A site whose robots.txt turns 500 in the middle of a crawl is crawled on by its good copy, which is kept."""
    await hall.seed("test", [web.url("one.test")])
    hall.start()
    await hall.until_pages("test", 4, "the first pages")
    sites["one.test"][PATH] = status(500)
    domains = Domains(hall.database)
    await domains.wish("one.test")
    await hall.until_done("test", "the rest")
    (record,) = await domains.robots("one.test")

    assert await hall.pages("test") == PAGES
    assert web.asked()[3:-3].count(PATH) == 1
    assert (record.failures, record.body, record.detail) == (
        1,
        b"User-agent: *\nDisallow: /nowhere\n",
        "answered 500",
    )
