"""Steering a crawl by the real program: pause, resume, cancel, delete, set, domain, and the options that go with them."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from crawler.demo.language import Reply, Site, page, robots
from crawler.demo.server import Web, serving
from tests.system.program import Program, kill

if TYPE_CHECKING:
    from subprocess import Popen

BASE = {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0"}


@pytest.fixture
def program(data: Path) -> Program:
    """The program on an empty database."""
    return Program(data, dict(BASE))


def on(program: Program, web: Web, **settings: str) -> Program:
    """The program, which knows the web's names."""
    hosts = web.hosts_file(program.data.parent)
    return Program(program.data, {**program.settings, "HOSTS_FILE": str(hosts), **settings})


def ring(pages: int) -> Site:
    """A site of so many pages, all linked from the first."""
    return {
        "/": page("start", *(f"/{n}" for n in range(1, pages))),
        **{f"/{n}": page(str(n)) for n in range(1, pages)},
    }


@pytest.fixture
def web() -> Iterator[Web]:
    """Two domains of forty pages."""
    with serving({"one.test": ring(40), "two.test": ring(40)}) as web:
        yield web


def fails(program: Program, *arguments: str, status: int) -> str:
    """Run it, to that status: what it says on stderr."""
    process = program.start(*arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    return str(err)


def look(program: Program, *arguments: str) -> Any:
    """What a command says to a program."""
    return json.loads(program.run(*arguments, "--json"))


def when(fact: Callable[[], object]) -> None:
    """Return when that is so: another process makes it so, and tells nobody here."""
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def running(program: Program, *arguments: str) -> Iterator["Popen[str]"]:
    """A `crawl run` that goes on meanwhile."""
    process = program.start("run", "--quiet", "--no-sitemaps", *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill(process)


def ended(process: "Popen[str]", status: int = 0) -> str:
    """What a run that comes to its end by itself has printed."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    return str(out)


def test_pause_resume(program: Program, web: Web) -> None:
    """A pause ends a run within a request; running again is refused until it is resumed; then every page comes once."""
    here, seed = on(program, web), web.url("one.test")
    with running(here, seed, "--delay", "0.1") as process:
        when(lambda: len(web.log) > 5)
        here.run("pause", "one.test")
        asked = len(web.log)
        out = ended(process)
    after = len(web.log)
    err = fails(here, "run", seed, "--delay", "0", status=1)
    state = look(here, "status", "one.test")["state"]
    resumed = here.run("resume", "one.test")
    summary = here.crawl(seed, "--delay", "0")

    assert after - asked <= 1
    assert "crawl resume one.test" in out
    assert err.startswith("crawl: the crawl one.test is paused: `crawl resume one.test --data ")
    assert state == "paused"
    assert "the same `crawl run` goes on" in resumed
    assert summary["outcomes"] == {"ok": 40}
    assert len(web.asked()) == len(set(web.asked())) == 41


def test_one_paused_of_two(program: Program, web: Web) -> None:
    """Of two crawls of one database and the same domain, pausing one leaves the other going to its end."""
    here = on(program, web)
    with running(here, web.url("one.test"), "--delay", "0.05", "--name", "rests") as process:
        when(lambda: len(web.log) > 5)
        here.run("pause", "rests")
        ended(process)
    summary = here.crawl(web.url("one.test"), "--delay", "0", "--name", "goes")

    assert summary["outcomes"] == {"ok": 40}
    assert {row["name"]: row["state"] for row in look(here, "list")} == {
        "rests": "paused",
        "goes": "finished",
    }


def test_cancel_delete(program: Program, web: Web) -> None:
    """A cancelled crawl keeps its pages and is not run again; deleting wants a yes, and leaves nothing."""
    here, seed = on(program, web), web.url("one.test")
    with running(here, seed, "--delay", "0.1") as process:
        when(lambda: len(web.log) > 5)
        here.run("cancel", "one.test")
        ended(process)
    refused = fails(here, "run", seed, status=1)
    pages = here.pages("one.test")
    unasked = fails(here, "delete", "one.test", status=2)
    told = here.run("delete", "one.test", "--yes")

    assert "was cancelled" in refused
    assert pages
    assert "say --yes" in unasked
    assert "one.test is deleted: 40 URLs" in told
    assert look(here, "list") == []


def test_delete_what_is_running(program: Program, web: Web) -> None:
    """A crawl that is deleted while it runs ends, and nothing of it comes back."""
    here, seed = on(program, web), web.url("one.test")
    with running(here, seed, "--delay", "0.05", "--processes", "2") as process:
        when(lambda: len(web.log) > 5)
        here.run("delete", "one.test", "--yes")
        process.communicate(timeout=60)
    again = here.crawl(seed, "--delay", "0")

    assert process.returncode in (0, 1)
    assert again["outcomes"] == {"ok": 40}


def test_set(program: Program, web: Web) -> None:
    """A raised limit sets going again what it had stopped; bad keys and values are told with what is meant."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed, "--delay", "0", "--max-pages", "5")
    stopped = look(here, "status", "one.test")
    told = look(here, "set", "one.test", "max-pages=10", "delay=none")
    wrong = fails(here, "set", "one.test", "max-page=10", status=2)
    fixed = fails(here, "set", "one.test", "scope=any", status=2)
    unlike = fails(here, "set", "one.test", "per-domain=none", "max-bytes=lots", status=2)
    none = look(here, "set", "one.test", "max-pages=none")

    assert (stopped["state"], stopped["finished_why"], stopped["pages"]) == ("finished", "max_pages", 5)
    assert told == {"crawl": "one.test", "state": "running", "max-pages": "10", "sitemaps": "false"}
    assert "there is no key 'max-page' (did you mean max-pages?)" in wrong
    assert "crawl run --name OTHER" in fixed
    assert 'max-bytes: "lots" is not a size' in unlike
    assert none == {"crawl": "one.test", "state": "running", "sitemaps": "false"}


def test_domain(program: Program, web: Web) -> None:
    """A domain is looked at and slowed by any URL of it; a block ends a turn at work before its next request."""
    here = on(program, web)
    unknown = fails(here, "domain", "one.test", status=1)
    with running(here, web.url("one.test"), web.url("two.test"), "--delay", "0.1") as process:
        when(lambda: len(web.asked("one.test")) > 3)
        here.run("domain", "www.one.test", "--block", "asked to")
        asked = len(web.asked("one.test"))
        ended(process)
    slowed = look(here, "domain", web.url("two.test", "/x"), "--delay", "5s", "--per-domain", "2")
    seen = here.run("domain", "one.test")

    assert "nothing is known of one.test" in unknown
    assert len(web.asked("one.test")) - asked <= 1
    assert len(web.asked("two.test")) == 41
    assert (slowed["delay_by_hand"], slowed["per_domain_by_hand"], slowed["blocked"]) == (5, 2, None)
    assert "asked to" in seen


def test_slower_while_visited(program: Program, web: Web) -> None:
    """A longer delay that is set by hand holds for the turn at work: the domain is asked no more for that long."""
    here = on(program, web)
    with running(here, web.url("one.test"), "--delay", "0.1"):
        when(lambda: len(web.log) > 3)
        here.run("domain", "one.test", "--delay", "1h")
        asked = len(web.log)
        here.run("list")  # a second or so passes
        later = len(web.log)

    assert later - asked <= 1


def test_forget(program: Program, web: Web) -> None:
    """A forgotten domain leaves no page, and stays blocked until it is unblocked; then it is crawled like a new one."""
    here, seed = on(program, web), web.url("one.test")
    here.crawl(seed, "--delay", "0")
    unasked = fails(here, "domain", "one.test", "--forget", status=2)
    forgotten = look(here, "domain", "one.test", "--forget", "--yes")
    pages = here.pages("one.test")
    blocked = fails(here, "run", seed, "--delay", "0", status=1)
    here.run("domain", "one.test", "--unblock")
    again = here.crawl(seed, "--delay", "0")

    assert "say --yes" in unasked
    assert forgotten["forgotten"]["urls"] == 40
    assert (forgotten["crawls"], forgotten["robots"], pages) == ([], [], {})
    assert "one.test is blocked (forgotten by request)" in blocked
    assert again["outcomes"] == {"ok": 40}


def test_blocklist(program: Program, web: Web, tmp_path: Path) -> None:
    """A list of domains is blocked before anything was crawled; what is no domain is told with its line, and skipped."""
    file = tmp_path / "blocked.txt"
    file.write_text("# ours\none.test\n\nhttps://www.two.test/x  # a URL\nno domain at all\n")
    here = on(program, web)
    process = here.start("domain", "--blocklist", str(file))
    out, err = process.communicate(timeout=60)
    summary = here.crawl(web.url("one.test"), web.url("two.test"), "--delay", "0", status=1)

    assert (process.returncode, out) == (0, "2 domains blocked, 2 of them newly\n")
    assert "line 5" in err
    assert web.log == []
    assert {row["why"] for row in summary["waiting"]} == {"by hand"}


def test_max_time(program: Program, web: Web) -> None:
    """--max-time ends the run, with status 0, and not the crawl: the same command goes on."""
    here, seed = on(program, web), web.url("one.test")
    first = here.crawl(seed, "--delay", "0.2", "--max-time", "2s")
    second = here.crawl(seed, "--delay", "0", "--max-time", "1h")

    assert (first["time_is_up"], first["state"], first["interrupted"]) == (True, "running", False)
    assert (second["time_is_up"], second["state"]) == (False, "finished")
    assert len(web.asked()) == len(set(web.asked())) == 41


def test_max_bytes(program: Program) -> None:
    """--max-bytes ends the crawl once so much has come over the wire, and says so; more of it goes on."""
    big = {
        "/": page("start", *(f"/{n}" for n in range(20))),
        **{f"/{n}": page("x", body="x" * 10_000) for n in range(20)},
    }
    with serving({"big.test": big}) as web:
        here = on(program, web)
        first = here.crawl(web.url("big.test"), "--delay", "0.1", "--max-bytes", "50kB")
        told = here.run("status", "big.test")
        second = here.crawl(web.url("big.test"), "--delay", "0")

    assert 50_000 <= first["bytes"] < 80_000
    assert first["state"] == "finished"
    assert "--max-bytes is reached" in told
    assert second["outcomes"] == {"ok": 21}


def test_types(program: Program) -> None:
    """Only --types has images stored; named later, what was refused comes after all."""
    image = Reply(b"\x89PNG\r\n\x1a\n" + b"\0" * 20, headers={"Content-Type": "image/png"})
    with serving({"pics.test": {"/": page("start", "/a.png"), "/a.png": image}}) as web:
        here, seed = on(program, web), web.url("pics.test")
        first = here.crawl(seed, "--delay", "0")
        second = here.crawl(seed, "--delay", "0", "--types", "image/*")
        wrong = fails(here, "run", seed, "--types", "png", status=2)

    assert first["outcomes"] == {"ok": 1, "type_refused": 1}
    assert second["outcomes"] == {"ok": 2}
    assert "is not a list of media types" in wrong


def test_headers(program: Program) -> None:
    """A header goes with every page's request, a secret to the seeds' domains only; it is never shown, nor kept with the pages."""
    sites = {"mine.test": {"/": page("start", "/a")}, "other.test": {"/": page("other")}}
    with serving(sites) as web:
        sites["mine.test"]["/"] = page("start", web.url("other.test"))
        here = on(program, web)
        options = ("--header", "Accept-Language: en", "--header", "Authorization: Basic czNjcmV0")
        here.crawl(web.url("mine.test"), "--scope", "any", "--delay", "0", *options)
        refused = fails(here, "run", web.url("mine.test"), "--header", "Host: x", status=2)
        shown = [
            here.run("status", "mine.test"), here.run("list", "--json"), here.run("set", "mine.test"),
            here.run("show", web.url("mine.test"), "--json"), here.run("export", "mine.test"),
        ]  # fmt: skip
    sent = {one.host: one.headers for one in web.log if one.path == "/"}

    assert {host: headers.get("accept-language") for host, headers in sent.items()} == {
        "mine.test": "en",
        "other.test": "en",
    }
    assert sent["mine.test"]["authorization"] == "Basic czNjcmV0"
    assert "authorization" not in sent["other.test"]
    assert "the header Host cannot be set" in refused
    assert not [text for text in shown if "czNjcmV0" in text]
    assert "Authorization: ****" in shown[0]


def test_ignore_robots(program: Program) -> None:
    """robots.txt is ignored for domains that are said to be one's own, of which every seed's must be one, and for no other."""
    site = {"/robots.txt": robots("/", crawl_delay=60), "/": page("start", "/a"), "/a": page("a")}
    with serving({"mine.test": site, "other.test": {**site}}) as web:
        here, seed, other = on(program, web), web.url("mine.test"), web.url("other.test")
        site["/a"] = page("a", other)
        refused = fails(here, "run", seed, "--ignore-robots", status=2)
        strange = fails(here, "run", seed, other, "--ignore-robots", "--i-own", "mine.test", status=2)
        mine = ("--ignore-robots", "--i-own", "www.mine.test", "--scope", "any", "--name", "mine")
        summary = here.crawl(seed, "--delay", "0", *mine)
        why = here.run("why", seed)
        status = here.run("status", "mine")

    assert "name every seed's domain, --i-own mine.test" in refused
    assert "other.test is yours" in strange
    assert summary["outcomes"] == {"ok": 2, "robots_refused": 1}
    assert (web.asked("mine.test"), web.asked("other.test")) == (["/", "/a"], ["/robots.txt"])
    assert "ignored: mine.test is the operator's own" in why
    assert "no robots of  mine.test" in status


class TinyProxy(threading.Thread):
    """An HTTP proxy that leads every name to one port of loopback."""

    def __init__(self, to: int) -> None:
        super().__init__(daemon=True)
        self._to = to
        self.port = 0
        self.asked: list[str] = []
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(10)

    def run(self) -> None:
        """Serve until left."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.split(b" ", 2)[1].decode())
                path = "/" + self.asked[-1].split("/", 3)[3]
                inner, outer = await asyncio.open_connection("127.0.0.1", self._to)
                outer.write(b"GET " + path.encode() + b" " + head.split(b" ", 2)[2])
                answer = await inner.readuntil(b"\r\n\r\n")
                length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                writer.write(answer + await inner.readexactly(length))
                outer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def test_proxy(program: Program) -> None:
    """With --proxy every request goes through it, robots.txt too, and no name is resolved here; without it there, one line says so."""
    with serving({"far.test": {"/": page("start", "/a"), "/a": page("a")}}) as web:
        seed = "http://far.test/"
        with TinyProxy(web.port) as proxy:
            summary = program.crawl(seed, "--delay", "0", "--proxy", f"http://127.0.0.1:{proxy.port}")
        gone = fails(
            program,
            "run",
            seed,
            "--name",
            "x",
            "--quiet",
            "--proxy",
            f"http://127.0.0.1:{proxy.port}",
            status=1,
        )
        wrong = fails(program, "run", seed, "--proxy", "socks5://x", status=2)
        private = fails(
            Program(program.data, {}), "run", "http://10.0.0.1/", "--proxy", "http://127.0.0.1:1", status=2
        )

    assert summary["outcomes"] == {"ok": 2}
    assert proxy.asked == ["http://far.test/robots.txt", "http://far.test/", "http://far.test/a"]
    assert "cannot be reached" in gone
    assert "is not the address of an HTTP proxy" in wrong
    assert "is not fetched from" in private
