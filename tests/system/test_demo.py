"""`crawl demo`: the real program, and how its promises are judged."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crawler.demo.promises import PROMISES, ROBOTS, Found, Verdict, Witness, judge
from crawler.demo.server import Request
from crawler.demo.webs import ABOUT, LETTERS, Expected
from tests.system.program import Program, kill

pytestmark = pytest.mark.xdist_group("demo")  # they share what is costly to make

PORT = 8000
FAR = re.compile(r" +\d+\.\d s ")
"""A line that says how far the crawl is."""


@dataclass(frozen=True)
class Demo:
    """The program, with a folder for temporary files that is its own."""

    folder: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start it, and do not wait."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        return subprocess.Popen(
            [sys.executable, "-m", "crawler", "demo", *arguments],
            env=own | {"TMPDIR": str(self.folder), "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def left(self) -> list[str]:
        """The files and processes that it has left behind."""
        commands = (file for file in Path("/proc").glob("[0-9]*/cmdline"))
        running = [words for file in commands if str(self.folder) in (words := _read(file))]
        return [str(path) for path in self.folder.iterdir()] + running


def _read(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""


@dataclass(frozen=True)
class Done:
    """How a run of it ended."""

    demo: Demo
    status: int
    out: str
    err: str
    seconds: float


def _ended(demo: Demo, process: "subprocess.Popen[str]", began: float) -> Done:
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    return Done(demo, process.returncode, out, err, time.monotonic() - began)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """The program, not begun."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return Demo(folder)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Done, Path]:
    """Two runs at the same time: one for people; one for programs, which keeps its database."""
    keep = tmp_path_factory.mktemp("kept") / "demo"
    began = time.monotonic()
    demos = [Demo(tmp_path_factory.mktemp("tmp")) for _ in range(2)]
    runs = [demos[0].start(), demos[1].start("--json", "--keep", str(keep))]
    try:
        return _ended(demos[0], runs[0], began), _ended(demos[1], runs[1], began), keep
    finally:
        for run in runs:
            if run.poll() is None:
                kill(run)


def test_every_promise_is_kept(both: tuple[Done, Done, Path]) -> None:
    """The demo ends within a minute, with status 0, and shows each promise kept, with its evidence."""
    told, _, _ = both
    lines = told.out.splitlines()
    shown = {promise: line for promise in PROMISES for line in lines if line.startswith(f"  ✓ {promise}: ")}

    assert [line for line in lines if line.startswith("  ✗ ")] == []
    assert (told.status, told.err) == (0, "")
    assert shown.keys() == PROMISES.keys()
    assert all(any(character.isdigit() for character in line) for line in shown.values())
    assert f"{len(PROMISES)} of {len(PROMISES)} promises kept" in lines
    assert told.seconds < 60


def test_it_says_what_it_serves(both: tuple[Done, Done, Path]) -> None:
    """The demo names what is served, how far it has come, and what to try next."""
    told, _, _ = both
    served = [line for line in told.out.splitlines() if any(line.startswith(f"  {name}: ") for name in ABOUT)]

    assert len(served) == len(ABOUT)
    assert told.out.count(" stored") >= 3
    assert "crawl run https://example.com/" in told.out


def test_nothing_is_left_behind(both: tuple[Done, Done, Path]) -> None:
    """After the demo no process of it runs, and its folder is gone."""
    for done in both[:2]:
        assert done.demo.left() == []


def test_the_promises_as_json(both: tuple[Done, Done, Path]) -> None:
    """--json prints nothing but the promises, each with its verdict and its evidence."""
    _, told, _ = both
    found = json.loads(told.out)

    broken = {one["promise"]: one["evidence"] for one in found["promises"] if not one["kept"]}

    assert broken == {}
    assert (told.status, told.err, found["kept"]) == (0, "", True)
    assert [one["promise"] for one in found["promises"]] == list(PROMISES)
    assert all(one["evidence"] for one in found["promises"])


def test_the_database_is_kept(both: tuple[Done, Done, Path]) -> None:
    """--keep leaves the database for the other commands, and a second demo does not touch it."""
    _, told, keep = both
    outcomes = json.loads(told.out)["outcomes"]
    status = json.loads(Program(keep, {}).run("status", "demo", "--json"))
    again = _ended(told.demo, told.demo.start("--keep", str(keep)), 0.0)

    assert outcomes["ok"] > 100
    assert str(outcomes["ok"]) in json.dumps(status)
    assert again.status == 2
    assert again.err.startswith(f"crawl: {keep} holds a database already")


def test_interrupted(demo: Demo) -> None:
    """Ctrl-C ends the demo at once, with status 130, and nothing is left behind."""
    began = time.monotonic()
    process = demo.start()
    assert process.stdout is not None
    while not FAR.match(process.stdout.readline()):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    done = _ended(demo, process, began)

    assert (done.status, done.err) == (130, "interrupted: there is nothing to judge\n")
    assert demo.left() == []


def request(host: str, path: str, began: float, ended: float, status: int = 200) -> Request:
    """A line of a log."""
    return Request(host, path, began, ended, status, {})


def found(host: str, path: str, outcome: str, **more: object) -> Found:
    """A URL in the database."""
    url = f"http://{host}:{PORT}{path}"
    plain = Found(url, outcome, "", 1, 100, None, None, (), None, "127.0.0.1")
    return replace(plain, **more)  # type: ignore[arg-type] # by the names of its fields


def witness(log: Iterable[Request] = (), urls: Iterable[Found] = (), **more: object) -> Witness:
    """What was seen of a crawl that asked for a second between requests."""
    plain = Witness(tuple(log), {one.url: one for one in urls}, (), PORT, 1.0, 1 << 20, 20, 0, 0)
    return replace(plain, **more)  # type: ignore[arg-type] # as above


def verdict(promise: str, seen: Witness) -> Verdict:
    """How that promise is judged."""
    return next(one for one in judge(seen) if one.promise == promise)


def test_nothing_seen_is_nothing_kept() -> None:
    """No promise is kept by a crawl that did nothing."""
    assert [one.promise for one in judge(witness()) if one.kept] == []


def test_a_hurry_is_told() -> None:
    """A request that began too soon after an answer, or before it was over, breaks the promise of the pause."""
    promise = "nobody was hurried"
    calm = [request("a.test", "/", 0, 1), request("b.a.test", "/1", 2.0, 3), request("c.test", "/", 2.1, 2.2)]
    soon = [*calm, request("a.test", "/2", 3.9, 4)]
    during = [*calm, request("a.test", "/2", 2.5, 2.6)]

    assert verdict(promise, witness(calm)) == Verdict(
        promise,
        kept=True,
        evidence="3 requests to 2 domains, the shortest pause after an answer 1.00 s of 1 s asked",
    )
    assert not verdict(promise, witness(soon)).kept
    assert not verdict(promise, witness(during)).kept
    assert "a.test/2 was asked 0.89 s after an answer" in verdict(promise, witness(soon)).evidence


def test_broken_robots_are_told() -> None:
    """A page before robots.txt, and a page that it forbids, break the promise of robots.txt."""
    promise = "robots.txt came first, and what it forbids was left"
    rules, home = request("rules.test", ROBOTS, 0, 1), request("rules.test", "/", 2, 3)
    refused = [found("rules.test", "/private/1", "robots_refused")]

    assert verdict(promise, witness([rules, home], refused)).kept
    assert not verdict(promise, witness([home, replace(rules, began=4, ended=5)], refused)).kept
    assert not verdict(
        promise, witness([rules, home, request("rules.test", "/private/1", 4, 5)], refused)
    ).kept


def test_a_call_at_the_trap_is_told() -> None:
    """A connection to a private address breaks its promise, whatever the database says."""
    promise = "no private address was connected to"
    hosts = ["10.0.0.1", "169.254.169.254", "192.168.7.7", "10.1.2.3", "[::1]"]
    refused = [found(host, "/", "address_refused", address=None) for host in hosts]

    assert verdict(promise, witness(urls=refused, trap_port=1)).kept
    assert not verdict(promise, witness(urls=refused, trap_port=1, trapped=1)).kept
    assert not verdict(promise, witness(urls=refused[1:], trap_port=1)).kept
    assert not verdict(promise, witness(urls=[*refused, found("x.test", "/", "ok", address="10.0.0.1")])).kept


def test_an_ignored_429_is_told() -> None:
    """A request before Retry-After is over, even for another page of the domain, breaks its promise."""
    promise = "a 429 was heeded"
    busy, home = request("busy.test", "/2", 0, 1, 429), [found("busy.test", "/2", "ok")]

    assert verdict(promise, witness([busy, request("busy.test", "/2", 3.0, 4)], home)).kept
    assert not verdict(promise, witness([busy, request("busy.test", "/3", 2.9, 4)], home)).kept
    assert not verdict(promise, witness([busy], home)).kept


def test_a_lost_page_is_told() -> None:
    """A page that is missing, was served twice, or has another title, breaks the promise of every page."""
    promise = "every page was stored, and fetched once"
    wanted = [Expected("a.test", "/", "Home")]
    served, home = request("a.test", "/", 0, 1), found("a.test", "/", "ok", title="Home")

    assert verdict(promise, witness([served], [home], expected=wanted)).kept
    assert not verdict(promise, witness([served], [], expected=wanted)).kept
    assert not verdict(promise, witness([served, served], [home], expected=wanted)).kept
    assert not verdict(promise, witness([served], [replace(home, title="Hom")], expected=wanted)).kept


def test_a_misread_charset_is_told() -> None:
    """Letters that were read in another charset break their promise, and what was read is shown."""
    promise = "every charset was read right"
    wanted = [Expected("letters.test", path, "Привет") for path in LETTERS]
    read = [
        found("letters.test", path, "ok", title="Привет", charset=name) for path, (name, _) in LETTERS.items()
    ]
    misread = [*read[1:], replace(read[0], title="Ïðèâåò", charset="windows-1252")]

    assert verdict(promise, witness(urls=read, expected=wanted)).kept
    assert not verdict(promise, witness(urls=misread, expected=wanted)).kept
    assert "Ïðèâåò, not Привет" in verdict(promise, witness(urls=misread, expected=wanted)).evidence
