"""`crawl seed` by the real program: what it takes, what it says, and who goes on with it."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from crawler.adapters.erasing import Erasing
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.urls import domain_id
from crawler.demo.language import page
from crawler.demo.server import serving
from crawler.queues import opened_queue
from crawler.settings import Settings
from tests import forking
from tests.broker import free_port
from tests.making import Frontiers, blocked, rows, slow, until
from tests.system.program import Program, kill

if TYPE_CHECKING:
    from subprocess import Popen

A: Final = "https://a.example/"
B: Final = "https://b.example/"


class Seed:
    """`crawl` on a database of the test's own."""

    def __init__(self, dsn: str, **settings: str) -> None:
        self._settings = {"DATABASE_URL": dsn, **settings}

    @contextlib.contextmanager
    def started(self, *arguments: str, stderr: int = subprocess.PIPE) -> Iterator["Popen[bytes]"]:
        """It runs meanwhile, and reads from a pipe."""
        process = subprocess.Popen(
            [sys.executable, "-m", "crawler", *arguments],
            env=Program(Path(), self._settings).environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def __call__(self, *arguments: str, lines: bytes = b"", status: int = 0) -> tuple[str, str]:
        """Run it to its end: what it printed, and what it said on stderr."""
        done = forking.crawl(*arguments, env=Program(Path(), self._settings).environment(), stdin=lines)
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stdout.decode(), done.stderr.decode()

    def said(self, *arguments: str) -> str:
        """What it said on stderr, however it ended."""
        return forking.crawl(*arguments, env=Program(Path(), self._settings).environment()).stderr.decode()

    def json(self, *arguments: str, lines: bytes = b"", status: int = 0) -> Any:
        """What it says to a program."""
        return json.loads(self(*arguments, "--json", lines=lines, status=status)[0])


@pytest.fixture
def crawl(dsn: str) -> Seed:
    """The program."""
    return Seed(dsn)


def when(fact: Callable[[], object]) -> None:
    """Return when that is so: another process makes it so, and tells nobody here."""
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def crawl_row(database: Database, name: str) -> Any:
    """The row of a crawl."""
    (found,) = await rows(database, "select * from crawls where name = $1", name)
    return found


# --- what it takes ------------------------------------------------------------------------------------------------------


async def test_from_everywhere(crawl: Seed, database: Database, tmp_path: Path) -> None:
    """Seeds come from arguments, a file and standard input alike; what is no URL is told by its line, and the rest is kept."""
    file = tmp_path / "seeds.txt"
    file.write_bytes(
        b"\xef\xbb\xbf# mine\r\n" + B.encode() + b"\r\n\r\nnonsense\r\n" + A.encode() + b"\tnote\r\n"
    )
    out, err = crawl("seed", "news", A, "--file", str(file))
    piped = crawl.json("seed", "news", "-", lines=b"https://c.example/\n" + A.encode())
    urls = [row["url"] for row in await rows(database, "select url from urls where seed order by url")]

    assert urls == [A, B, "https://c.example/"]
    assert err.splitlines() == [
        "crawl: skipped: line 4: 'nonsense' is not a URL: give one that starts with http:// or https://",
        r"crawl: skipped: line 5: 'https://a.example/\tnote' has a tab in it: one URL a line, and nothing else",
    ]
    assert out.splitlines()[0] == "crawl news made: 4 lines (2 new, 0 known, 2 bad)"
    assert out.splitlines()[-1] == "  next       crawl worker"
    assert {key: piped[key] for key in ("crawl", "state", "created", "lines", "new", "known", "bad", "queued")} == {
        "crawl": "news", "state": "running", "created": False, "lines": 2, "new": 1, "known": 1, "bad": 0, "queued": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["news"], 2, "no URL to begin with"),
        (["news", "example.com"], 2, "'example.com' is not a URL"),
        (["a/b", A], 2, "a crawl's name is at most 100 letters"),
        (["news", "http://127.0.0.1/"], 2, "--allow-net 127.0.0.0/8"),
        (["news", "--file", "/nowhere/at/all"], 2, "--file /nowhere/at/all cannot be read: No such file"),
        (["news", "-", "--file", "x"], 2, "give one of them"),
        (["news", A, "--include", "("], 2, "is not a regular expression"),
        (["news", A, "--user-agent", ""], 2, "--user-agent is empty"),
        (["news", A, "--ignore-robots", "--i-own", "b.example"], 2, "you do not say that a.example is yours"),
        (["news", "-", "--ignore-robots"], 2, "name every seed's domain with --i-own"),
        (["news", A, "--amqp", "http://x/"], 2, "amqp"),
        (["news", "-"], 1, "nothing to seed: 0 lines"),
    ],
)
async def test_bad_input(
    crawl: Seed, database: Database, arguments: list[str], status: int, complaint: str
) -> None:
    """What cannot be done is said in one line, and nothing is made."""
    _, err = crawl("seed", *arguments, status=status)

    assert complaint in err
    assert len(err.splitlines()) == 1
    assert await database.ask("select count(*) from crawls") == 0


async def test_no_good_line(crawl: Seed, database: Database) -> None:
    """Lines of which none is a seed make no crawl: the first few are told, all are counted, and the status is 1."""
    told = crawl.json("seed", "news", "-", lines=b"no\n" * 7, status=1)
    _, err = crawl("seed", "news", "-", lines=b"http://10.0.0.1/\n" * 7, status=1)

    assert (told["lines"], told["bad"], told["new"], told["state"]) == (7, 7, 0, None)
    assert [line.partition(" is at ")[0] for line in err.splitlines()] == [
        "crawl: skipped: line 1: http://10.0.0.1/",
        "crawl: skipped: line 2: http://10.0.0.1/",
        "crawl: skipped: line 3: http://10.0.0.1/",
        "crawl: nothing to seed: 7 lines (0 new, 0 known, 7 bad)",
    ]
    assert await database.ask("select count(*) from crawls") == 0


async def test_a_long_line(crawl: Seed) -> None:
    """A line of forty megabytes is bad as any other, and costs no memory."""
    with crawl.started("seed", "news", "-", "--json") as process:
        tell(process, A.encode(), b"\n", *[b"x" * (1 << 20)] * 40)
        peak = memory(process)
        out, err = process.communicate(b"\n" + B.encode())
    told = json.loads(out)

    assert (told["lines"], told["new"], told["bad"]) == (3, 2, 1)
    assert b"line 2: 'xxxx" in err
    assert peak < 150


def tell(process: "Popen[bytes]", *words: bytes) -> None:
    """Write into its pipe: when this returns, all but the last piece was taken out of it."""
    assert process.stdin
    process.stdin.write(b"".join(words))
    process.stdin.flush()


def memory(process: "Popen[bytes]") -> float:
    """The most that a process has had resident so far, in megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
async def test_flat_memory(crawl: Seed, database: Database) -> None:
    """However many lines come through the pipe, two batches of them are in memory."""
    peaks = []
    with crawl.started("seed", "news", "-", "--json", "--scope", "any") as process:
        for start, stop in ((0, 60_000), (60_000, 240_000)):
            tell(process, *(b"https://d%d.example/%d\n" % (n % 5000, n) for n in range(start, stop)))
            peaks.append(memory(process))
        out, _ = process.communicate()

    assert json.loads(out)["new"] == 240_000
    assert await database.ask("select sum(urls) from crawl_counts") == 240_000
    assert peaks[1] - peaks[0] < 25


# --- which crawl --------------------------------------------------------------------------------------------------------


async def test_limits(crawl: Seed, database: Database) -> None:
    """A crawl of one domain stores all of it, one of many a share of each; what exists keeps what no option names."""
    crawl("seed", "one", A, A + "2", "--max-pages", "50", "--delay", "3s")
    crawl("seed", "many", A, B)
    crawl("seed", "any", A, "--scope", "any")
    one, many, anywhere = [await crawl_row(database, name) for name in ("one", "many", "any")]
    crawl("seed", "one", B, "--max-depth", "4")
    extended = await crawl_row(database, "one")

    assert (one["max_pages_per_domain"], many["max_pages_per_domain"], anywhere["max_pages_per_domain"]) == (
        None,
        10_000,
        10_000,
    )
    assert (one["max_pages"], one["delay"], one["max_depth"]) == (50, 3.0, None)
    assert (extended["max_pages"], extended["delay"], extended["max_depth"]) == (50, 3.0, 4)
    assert extended["max_pages_per_domain"] is None


async def test_scope(crawl: Seed, database: Database) -> None:
    """A crawl that exists is extended in its own scope, and not with another one."""
    crawl("seed", "news", A, "--scope", "host", "--exclude", "/private/")
    _, err = crawl("seed", "news", B, "--scope", "any", status=2)
    _, other = crawl("seed", "news", B, "--include", "x", status=2)
    told = crawl.json("seed", "news", B, B + "private/1", "--scope", "host")
    row = await crawl_row(database, "news")

    assert err == (
        "crawl: the crawl news exists with another --scope (host): leave --scope out to extend it, or give the new one another name\n"
    )
    assert "exists with another --include (none)" in other
    assert (told["new"], told["bad"]) == (1, 1)
    assert (row["scope"], row["exclude"]) == ("host", ["/private/"])


async def test_stopped_by_hand(crawl: Seed) -> None:
    """A paused crawl takes seeds and stays paused, which is said; a cancelled one takes none."""
    crawl("seed", "news", A)
    crawl("pause", "news")
    out, _ = crawl("seed", "news", B)
    crawl("cancel", "news")
    _, err = crawl("seed", "news", B, status=1)

    assert "  state      paused, and stays so\n  next       crawl resume news" in out
    assert "was cancelled: `crawl resume news` takes that back" in err


async def test_finished(crawl: Seed, database: Database) -> None:
    """A finished crawl runs again when a seed is new, and is left alone when none is."""
    crawl("seed", "news", A, "--refresh", "off")
    await database.script(
        "update urls set open = false; update crawls set state = 'finished', finished_why = 'done'"
    )
    out, _ = crawl("seed", "news", A)
    told = crawl.json("seed", "news", B)

    assert "state      finished, since nothing was new" in out
    assert told["state"] == "running"


async def test_blocked(crawl: Seed, database: Database) -> None:
    """Seeds of a blocked domain wait, those of a forgotten one are not written: both are said."""
    crawl("domain", "a.example", "--block", "asked to")
    await Erasing(database).domain(domain_id("b.example"), "b.example")
    out, err = crawl("seed", "news", A, B, B + "2", "https://c.example/")
    _, alone = crawl("seed", "other", B, status=1)

    assert out.splitlines()[0] == "crawl news made: 4 lines (2 new, 0 known, 0 bad, 2 of forgotten domains)"
    assert err.splitlines() == [
        "crawl: warning: a.example is blocked (asked to): `crawl domain a.example --unblock`",
        "crawl: warning: b.example is blocked (forgotten by request): `crawl domain b.example --unblock`",
    ]
    assert alone == err.splitlines()[1] + "\n"


async def test_secret_headers(crawl: Seed, database: Database) -> None:
    """A header with a secret goes to the domains it was given with, and to no seed that comes later, which is said."""
    crawl("seed", "news", A, B, "--header", "Authorization: x")
    _, err = crawl("seed", "news", "https://c.example/")
    before = (await crawl_row(database, "news"))["trusted_domains"]
    crawl("seed", "news", "https://c.example/", "--header", "Authorization: y")
    after = (await crawl_row(database, "news"))["trusted_domains"]
    many = b"".join(b"https://d%d.example/\n" % n for n in range(1001))
    _, refused = crawl("seed", "other", "-", "--header", "Cookie: x", lines=many, status=2)

    assert "header Authorization is not sent to the domains of the new seeds" in err
    assert (before, after) == (["a.example", "b.example"], ["a.example", "b.example", "c.example"])
    assert "the header Cookie holds a secret" in refused


# --- who goes on --------------------------------------------------------------------------------------------------------


def test_worker(tmp_path: Path) -> None:
    """On an embedded database, a worker fetches what was seeded, also what comes while it works, and what those pages link to."""
    site = {"/": page("start", "/1"), "/1": page("one")}
    with serving({"one.test": site, "two.test": site}) as web:
        settings = {"ALLOW_NETS": "127.0.0.0/8", "HOSTS_FILE": str(web.hosts_file(tmp_path)), "DELAY": "0"}
        program = Program(tmp_path / "data", settings)
        program.run("seed", "news", web.url("one.test"))
        worker = program.start("worker", "--quiet")
        try:
            when(lambda: {"/", "/1"} <= set(web.asked("one.test")))
            program.run("seed", "news", web.url("two.test"))
            when(lambda: {"/", "/1"} <= set(web.asked("two.test")))
            when(lambda: len(program.pages("news")) == 4)
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        finally:
            if worker.poll() is None:
                kill(worker)
        state = json.loads(program.run("status", "news", "--json"))

    assert worker.returncode == 0
    assert state["state"] == "running"


def test_a_run_of_a_seeded_crawl(tmp_path: Path) -> None:
    """A run may work on a crawl that was seeded, and does not take it along when it ends: it goes on for whoever works."""
    with serving({"one.test": {"/": page("start", "/1"), "/1": page("one")}}) as web:
        hosts = str(web.hosts_file(tmp_path))
        program = Program(
            tmp_path / "data", {"ALLOW_NETS": "127.0.0.0/8", "HOSTS_FILE": hosts, "RUN_PATIENCE": "0"}
        )
        program.run("seed", "news", web.url("one.test"))
        process = program.start("run", "--quiet", web.url("one.test"), "--name", "news", "--delay", "60")
        try:
            when(lambda: web.asked("one.test"))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                kill(process)
        state = json.loads(program.run("status", "news", "--json"))["state"]

    assert (process.returncode, state) == (130, "running")


async def test_left_by_its_run(crawl: Seed, database: Database) -> None:
    """A crawl whose run has ended goes on with the first seed, for whoever works."""
    heart = Frontiers(database)
    left = await heart.crawl(A, name="news")
    await database.fetch("crawl_attend", left, "the run")
    await heart.crawls.leave(left, "the run")
    told = crawl.json("seed", "news", A)
    row = await crawl_row(database, "news")

    assert (told["state"], told["known"]) == ("running", 1)
    assert (row["attendant"], row["rearm"]) == (None, None)
    assert list(await heart.take()) == ["a.example"]


async def test_on_the_broker(dsn: str, database: Database, amqp: tuple[str, str]) -> None:
    """With a broker, every seed's turn is on its queue when the command ends."""
    url, prefix = amqp
    crawl = Seed(dsn, AMQP_URL=url, AMQP_PREFIX=prefix)
    told = crawl.json("seed", "news", "-", lines=b"".join(b"https://d%d.example/\n" % n for n in range(250)))
    async with opened_queue(Settings(amqp_url=url, amqp_prefix=prefix), database) as queue:
        depth = await queue.depth()

    assert (told["new"], told["queued"], depth) == (250, 250, 250)
    assert await database.ask("select count(*) from domains where holder = 'queue'") == 250


async def test_no_broker(dsn: str, database: Database) -> None:
    """With the broker away, the seeds are safe and due, one line says so, and the command has succeeded."""
    crawl = Seed(dsn, AMQP_URL=f"amqp://guest:secret@127.0.0.1:{free_port()}/")
    _, err = crawl("seed", "news", A, B)

    assert err.startswith("crawl: warning: RabbitMQ at 127.0.0.1:")
    assert err.endswith("the seeds are safe in the database, and the workers will take them up\n")
    assert "secret" not in err
    assert len(err.splitlines()) == 1
    assert set(await Frontiers(database).take()) == {"a.example", "b.example"}


async def test_without_a_broker(crawl: Seed, database: Database) -> None:
    """Without one, nothing is put on PostgreSQL's queue: the workers dispatch, and who listens is told."""
    crawl("seed", "news", A)

    assert await PostgresQueue(database).depth() == 0
    assert list(await Frontiers(database).take()) == ["a.example"]


# --- how it ends --------------------------------------------------------------------------------------------------------


async def test_interrupted(crawl: Seed, database: Database) -> None:
    """Ctrl-C keeps what was read, says how much that was, and exits with 130; the same command goes on."""
    lines = b"".join(b"https://d%d.example/\n" % n for n in range(500))
    with crawl.started("seed", "news", "-") as process:
        tell(process, lines, b"https://half.exam")
        await until(lambda: database.ask("select count(*) from urls"))
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr
        stopping = process.stderr.readline()
        out, err = process.communicate(timeout=60)
    again = crawl.json("seed", "news", "-", lines=lines + b"https://half.example/\n")
    told = "interrupted: 500 lines (500 new, 0 known, 0 bad) were taken; the same command goes on\n"

    assert process.returncode == 130
    assert out.decode() == told
    assert (b"stopping when" in stopping, err) == (True, b"")
    assert (again["known"], again["new"]) == (500, 1)


async def test_the_second_interrupt(crawl: Seed, database: Database) -> None:
    """The second Ctrl-C does not wait for the database either: it ends at once, with nothing half done."""
    with crawl.started("seed", "news", "-") as process:
        async with slow(database) as (_, connection):
            await connection.execute("lock table urls in share mode")
            tell(process, A.encode(), b"\n")
            await blocked(database)
            os.killpg(process.pid, signal.SIGINT)
            assert process.stderr
            stopping = process.stderr.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)

    assert b"interrupt again to stop at once" in stopping
    assert err == b"crawl: interrupted\n"
    assert process.returncode == 130
    assert await database.ask("select count(*) from urls") == 0


def test_on_a_terminal(crawl: Seed) -> None:
    """On a terminal the progress moves on stderr, with the bad lines above it; a pipe is told the summary alone."""
    ours, theirs = pty.openpty()
    with crawl.started("seed", "news", "-", stderr=theirs) as process:
        os.close(theirs)
        tell(process, A.encode(), b"\nbad\n")
        shown = b""
        while b"1 new, 0 known, 1 bad" not in shown:
            shown += os.read(ours, 4096)
        out, _ = process.communicate(timeout=60)
    os.close(ours)

    assert process.returncode == 0
    assert b"seeding news" in shown
    assert b"crawl: skipped: line 2: 'bad' is not a URL" in shown
    assert out.decode().splitlines()[0] == "crawl news made: 2 lines (1 new, 0 known, 1 bad)"


def test_quiet(crawl: Seed) -> None:
    """--quiet and a pipe show no progress."""
    _, err = crawl("seed", "news", "-", "--quiet", lines=A.encode())

    assert err == ""
