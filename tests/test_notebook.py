"""The Python interface: pages while they are crawled, in loops of every kind, and nothing left behind."""

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from inspect import signature
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, assert_type

import asyncpg
import click
import pytest
import structlog
import uvloop

import crawler
from crawler import FaircrawlError, Page, Pages, StoredPages, Summary, crawl, handing, stored_pages
from crawler.adapters.postgres import Database
from crawler.apart import Apart, Counter
from crawler.calling import OF_THE_TERMINAL, called, options
from crawler.cli.run import command
from crawler.core.errors import DatabaseUnavailableError, NotKnownError, StateError, UsageError
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.urls import domain_id
from crawler.demo.language import Site, page, status
from crawler.demo.server import Web, serving
from crawler.given import Options
from crawler.handing import BATCH, LOOK
from crawler.selection import Selection

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "site.test"
PAGES: Final = 8
OF_A_LIBRARY: Final = "_run_safe_shutdown_loop"
"""pycares has a thread as long as the program runs."""
OF_THE_TESTS: Final[set[threading.Thread]] = set()
"""The threads that ran before a test."""


def site() -> Site:
    """A start that leads to some pages, and to one that is gone."""
    links = [f"/{number}" for number in range(1, PAGES)]
    return {
        "/": page("start", *links, "/gone"),
        **{link: page(link, "/") for link in links},
        "/gone": status(410),
    }


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A web that is polite enough to be there."""
    with serving({HOST: site(), "empty.test": {}}) as found:
        yield found


@pytest.fixture
def given(web: Web, dsn: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options that let a crawl reach that web, on a database of its own."""
    OF_THE_TESTS.clear()
    OF_THE_TESTS.update(threading.enumerate())
    for name in [
        name for name in os.environ if name.startswith("CRAWL_") and not name.startswith("CRAWL_TEST_")
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CRAWL_HOSTS_FILE", "none")
    where, port = web.names.where
    return {
        "dns": f"{where}:{port}",
        "allow_net": "127.0.0.0/8",
        "delay": 0,
        "sitemaps": False,
        "database": dsn,
    }


def threads() -> list[str]:
    """Those of crawls that run."""
    return [
        one.name for one in threading.enumerate() if one not in OF_THE_TESTS and OF_A_LIBRARY not in one.name
    ]


def children() -> list[str]:
    """The processes that this one has started, but for the tests' own."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (
                folder.name.isdigit()
                and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
            ):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return [
        one for one in found if "parser_process" in one or "hook_process" in one or "crawler.processes" in one
    ]


async def gone() -> None:
    """Return when nothing is left."""
    async with asyncio.timeout(20):
        while threads() or children():  # noqa: ASYNC110 - a thread that ends sets no event here
            await asyncio.sleep(0.01)


def test_every_option_of_the_command_is_there() -> None:
    """What `crawl run` takes is what the function takes, its signature shows, and type checkers know; the rest is named with a reason."""
    params = {str(one.name) for one in command.params if isinstance(one, click.Option)}
    shown = set(signature(crawl).parameters)

    assert params - OF_THE_TERMINAL.keys() == {str(one.name) for one in options().values()}
    assert OF_THE_TERMINAL.keys() - params == set()
    assert set(Options.__annotations__) == set(options())
    assert params - OF_THE_TERMINAL.keys() < shown
    assert {"outcomes", "only_new", "temporary"} < shown
    assert {"outcomes", "only_new", "temporary"} & set(options()) == set()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"delay": timedelta(minutes=2)}, lambda call: call.wish.limits.delay == 120.0),
        ({"delay": "2s"}, lambda call: call.wish.limits.delay == 2.0),
        ({"delay": 0.25}, lambda call: call.wish.limits.delay == 0.25),
        ({"max_time": timedelta(milliseconds=1500)}, lambda call: call.max_time == 1.5),
        ({"max_bytes": "1MiB"}, lambda call: call.wish.limits.max_bytes == 1 << 20),
        ({"max_bytes": 1000}, lambda call: call.wish.limits.max_bytes == 1000),
        ({"include": ["/a", "-b"], "exclude": "/c"}, lambda call: (call.wish.include, call.wish.exclude) == (("/a", "-b"), ("/c",))),
        ({"headers": {"A": "b", "C": "d"}}, lambda call: call.wish.limits.headers == (("A", "b"), ("C", "d"))),
        ({"header": "A: b"}, lambda call: call.wish.limits.headers == (("A", "b"),)),
        ({"headers": [("A", "b")]}, lambda call: call.wish.limits.headers == (("A", "b"),)),
        ({"types": ["application/pdf", "image/*"]}, lambda call: call.wish.limits.types == ("application/pdf", "image/*")),
        ({"allow_net": ip_network("10.0.0.0/8")}, lambda call: [str(net) for net in call.settings.allow_nets] == ["10.0.0.0/8"]),
        ({"allow_net": ["10.0.0.0/8", "::1/128"]}, lambda call: len(call.settings.allow_nets) == 2),
        ({"sitemaps": False, "keep_links": True}, lambda call: (call.wish.limits.sitemaps, call.wish.limits.keep_links) == (False, True)),
        ({"refresh": timedelta(days=7)}, lambda call: call.wish.limits.refresh == "7d"),
        ({"concurrency": 7, "processes": None}, lambda call: (call.settings.domains_at_once, call.settings.processes) == (7, 1)),
        ({"include": (one for one in ("/a", "/b"))}, lambda call: call.wish.include == ("/a", "/b")),
        ({"exclude": {"/c": 1, "/d": 2}.keys()}, lambda call: call.wish.exclude == ("/c", "/d")),
        ({"headers": {"A": "b", "C": 3}.items()}, lambda call: call.wish.limits.headers == (("A", "b"), ("C", "3"))),
        ({"max_pages": Decimal(4)}, lambda call: call.wish.limits.max_pages == 4),
        ({"name": "mine", "scope": "host"}, lambda call: (call.wish.name, call.wish.scope) == ("mine", "host")),
    ],
)  # fmt: skip
def test_options_are_what_python_says(given: dict[str, Any], wanted: Callable[[Any], bool]) -> None:
    """Seconds, bytes, lists, mappings and the rest are taken as Python has them."""
    assert wanted(called(["https://example.com/", ["https://example.org/"]], given))


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"max_page": 1}, TypeError, "'max_page': did you mean max_pages?"),
        ({"header": "A: b", "headers": "A: b"}, TypeError, "are the same"),
        ({"max_pages": -1}, UsageError, "max_pages"),
        ({"max_pages": True}, UsageError, "max_pages: True is no value"),
        ({"delay": "soon"}, UsageError, "delay"),
        ({"exclude": {"/a": True}}, UsageError, "exclude: {'/a': True} is no value"),
        ({"exclude": b"/a"}, UsageError, "exclude: b'/a' is no value"),
        ({"include": ["/a", None]}, UsageError, "include: None is no value"),
        ({"include": [("/a", "/b")]}, UsageError, "include: ('/a', '/b') is no value"),
        ({"name": len}, UsageError, "name: <built-in function len> is no value"),
        ({"sitemaps": "yes"}, UsageError, "sitemaps: 'yes' is not True or False"),
        ({"scope": "planet"}, UsageError, "scope"),
        ({"include": "("}, UsageError, "include"),
        ({"data": "a", "database": "postgresql://b/c"}, UsageError, "exclude each other"),
        ({"i_own": "example.com"}, UsageError, "ignore_robots"),
        ({"outcomes": "okay"}, UsageError, "there is no okay"),
        ({"temporary": True, "data": "a"}, UsageError, "temporary"),
    ],
)
def test_what_is_wrong_is_told_at_once(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    """A strange name names the nearest one, a bad value its option as Python calls it, and nothing is begun."""
    with pytest.raises(kind) as raised:
        crawl("https://example.com/", **given)

    assert words in str(raised.value)
    assert "--" not in str(raised.value)


def test_a_warning_names_the_line_of_the_call() -> None:
    """A seed that is left out is told where the crawl was asked for."""
    with pytest.warns(UserWarning, match="example.org") as told:
        crawl("https://example.com/", "https://example.org/", exclude="example.org")

    assert [one.filename for one in told] == [__file__]


@pytest.mark.parametrize("seeds", [(), ("not a url",), (3,), ("http://127.0.0.1/",)])
def test_seeds_have_to_be_urls(seeds: tuple[Any, ...]) -> None:
    """No seed, what is no URL, and what lies on a private network are refused at once."""
    with pytest.raises(UsageError):
        crawl(*seeds)


def test_for(web: Web, given: dict[str, Any]) -> None:
    """Each stored page comes once; then there is a summary; the same call gives the same pages, and asks nobody again."""
    pages = crawl(web.url(HOST), **given)
    found = list(pages)
    asked = len(web.log)
    again = crawl(web.url(HOST), **given)

    assert sorted(one.title or "" for one in found) == sorted(
        ["start", *(f"/{number}" for number in range(1, PAGES))]
    )
    assert (found[0].crawl, found[0].text.split()[0]) == (HOST, "/1")
    assert (pages.summary.pages, pages.summary.requests, dict(pages.summary.outcomes)) == (
        PAGES,
        PAGES + 1,
        {"ok": PAGES, "gone": 1},
    )
    assert (pages.summary.complete, pages.summary.interrupted) == (True, False)
    assert sorted(one.url for one in again) == sorted(one.url for one in found)
    assert list(crawl(web.url(HOST), only_new=True, **given)) == []
    assert [one.url for one in crawl(web.url(HOST), outcomes=["gone"], **given)] == [web.url(HOST, "/gone")]
    assert len(list(crawl(web.url(HOST), max_pages=3, **given))) == 3
    assert len(web.log) == asked
    assert (threads(), children()) == ([], [])


@pytest.mark.parametrize(
    "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_async_for(web: Web, given: dict[str, Any], factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The same on whatever loop; and with a plain `for` where a loop runs already, as in a notebook."""

    async def main() -> tuple[list[Page], list[Page], list[Page]]:
        found = [one async for one in crawl(web.url(HOST), **given)]
        plain = list(crawl(web.url(HOST), **given))
        stored = [one async for one in stored_pages(HOST, database=given["database"])]
        return found, plain, stored

    with asyncio.Runner(loop_factory=factory) as runner:
        found, plain, stored = runner.run(main())

    assert len({one.url for one in found}) == len(found) == PAGES
    assert sorted(one.url for one in plain) == [one.url for one in stored] == sorted(one.url for one in found)
    assert (threads(), children()) == ([], [])


def test_break_ends_it_at_once(web: Web, given: dict[str, Any]) -> None:
    """After a `for` that was left, by break or by an error, nothing runs on the next line; the same call goes on."""
    pages = crawl(web.url(HOST), **given | {"delay": 0.3})
    for _ in pages:
        break
    left = threads(), children()
    with contextlib.suppress(ZeroDivisionError):
        for _ in crawl(web.url(HOST), **given | {"delay": 0.3}):
            1 / 0  # noqa: B018 - as somebody's code does
    more = threads(), children()
    interrupted = pages.summary.interrupted
    rest = list(crawl(web.url(HOST), **given))

    assert left == more == ([], [])
    assert interrupted
    assert len(rest) == PAGES


async def test_async_break(web: Web, given: dict[str, Any]) -> None:
    """An `async for` that is left ends its crawl by itself; `async with` and `aclosing` wait for that."""
    slow = given | {"delay": 0.3}
    async for _ in crawl(web.url(HOST), **slow):
        break
    await gone()
    async with crawl(web.url(HOST), **slow) as pages:
        async for _ in pages:
            break
    assert (threads(), children()) == ([], [])
    async with contextlib.aclosing(crawl(web.url(HOST), **slow)) as pages:
        async for _ in pages:
            break

    assert (threads(), children()) == ([], [])


async def test_cancelled(web: Web, given: dict[str, Any]) -> None:
    """A task that is cancelled, and a time that is up, end the crawl before they go on."""
    slow = given | {"delay": 2}

    async def read() -> None:
        async for _ in crawl(web.url(HOST), **slow):
            pass

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await read()
    first = threads(), children()
    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert first == (threads(), children()) == ([], [])
    assert time.monotonic() - began < 10


def test_garbage_ends(web: Web, given: dict[str, Any]) -> None:
    """An iterator that nobody has any more ends its crawl, also when its loop is closed."""
    iterator = iter(crawl(web.url(HOST), **given | {"delay": 0.3}))
    next(iterator)
    del iterator
    first = threads()
    loop = asyncio.new_event_loop()
    pages = aiter(crawl(web.url(HOST), **given | {"delay": 0.3}))
    loop.run_until_complete(anext(pages))
    loop.close()
    del pages
    gc.collect()
    asyncio.run(gone())

    assert first == []


def test_a_slow_reader(web: Web, given: dict[str, Any]) -> None:
    """The crawl does not wait for its reader, however long that stands still; two readers at once are refused."""
    pages = crawl(web.url(HOST), **given)
    iterator = iter(pages)
    first = next(iterator)
    with stored(given) as there:
        until(lambda: len(there()) == PAGES)
    with pytest.raises(StateError):
        next(iter(pages))
    rest = list(iterator)

    assert len({first.url, *(one.url for one in rest)}) == len(rest) + 1 == PAGES


@contextlib.contextmanager
def stored(given: dict[str, Any]) -> Iterator[Callable[[], list[str]]]:
    """Asks what is stored."""
    yield lambda: [one.url for one in stored_pages(HOST, database=given["database"])]


def until(fact: Callable[[], bool]) -> None:
    """Return when that is so."""
    end = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)


async def test_two_at_once(web: Web, given: dict[str, Any]) -> None:
    """Two crawls run beside each other, each in a thread of its own."""

    async def read(name: str) -> int:
        return len([one async for one in crawl(web.url(HOST), name=name, **given)])

    one, two = await asyncio.gather(read("one"), read("two"))

    assert (one, two) == (PAGES, PAGES)


async def test_again_at_once(web: Web, given: dict[str, Any]) -> None:
    """A crawl that is iterated over again while its last iteration ends in the background, or goes on, is crawled to its end."""
    slow = given | {"delay": 0.05}
    async for _ in crawl(web.url(HOST), **slow):
        break
    pages = crawl(web.url(HOST), **slow)
    found = [one.url async for one in pages]
    await gone()
    beside = aiter(crawl(web.url(HOST), name="beside", **slow))
    first = await anext(beside)
    async with crawl(web.url(HOST), name="beside", **slow) as other:
        async for _ in other:
            break
    rest = [one.url async for one in beside]

    assert (len(set(found)), pages.summary.complete) == (PAGES, True)
    assert len({first.url, *rest}) == PAGES


def test_leaving_waits_for_no_reading(web: Web, given: dict[str, Any], dsn: str) -> None:
    """Who leaves does not wait for the database to find the next page, of a crawl or of what is stored."""
    assert len(list(crawl(web.url(HOST), **given))) == PAGES

    async def leave(pages: Pages | StoredPages) -> float:
        """The seconds that it took."""
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute("lock table bodies in access exclusive mode")
            asyncio.get_running_loop().call_later(8, connection.terminate)
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(aiter(pages))
            took = time.monotonic() - began
        await connection.close()
        return took

    assert asyncio.run(leave(stored_pages(HOST, database=dsn))) < 5
    assert asyncio.run(leave(crawl(web.url(HOST), **given))) < 5


class Breaking(Database):
    """Has rows of `export`, and breaks when the first of its cursors is closed."""

    def __init__(self, urls: Sequence[str]) -> None:
        super().__init__("", None, {})
        self.urls = urls
        self.broke = asyncio.Event()

    async def rows(self, name: str, *args: Any) -> AsyncGenerator[Any, None]:
        """One domain, or the rows after a URL."""
        if name == "export_domains":
            yield {"domain_id": domain_id(HOST)}
            return
        try:
            for url in self.urls:
                if args[2] is None or url > args[2]:
                    yield {"url": url, "outcome": "ok", "data": b""}
        finally:
            if not self.broke.is_set():
                self.broke.set()
                raise DatabaseUnavailableError("it is away")


async def test_the_database_breaks_while_nobody_asks() -> None:
    """Who stands still for so long that the cursor is closed, while the database breaks, gets every stored page all the same, once."""
    urls = [f"http://{HOST}/{number:04}" for number in range(3 * BATCH)]
    database, counter = Breaking(urls), Counter[Any]()
    reader = handing._Reader(database, Selection(), counter, since=1)
    crawl_of_them = Crawl(1, HOST, CrawlState.RUNNING, 1, ScopeKind.HOST)
    found = []
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(reader.read_stored(crawl_of_them, len(urls)))
        await database.broke.wait()
        await asyncio.sleep(3 * LOOK)
        while not reading.done():
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            counter.ask(future)
            answered = asyncio.ensure_future(asyncio.wrap_future(future))
            await asyncio.wait({answered, reading}, return_when=asyncio.FIRST_COMPLETED)
            found += [row["url"] for row in (future.result() if future.done() else [])]

    assert (found, reading.result()) == (urls, True)


def test_asking_when_all_is_over() -> None:
    """Who asks when the loop is closed, and before the work has told its end, is answered."""
    closed, asked = threading.Event(), threading.Event()

    async def work(_counter: Counter[int]) -> int:
        loop = asyncio.get_running_loop()
        close = loop.close

        def closing() -> None:
            close()
            closed.set()
            asked.wait(20)

        loop.close = closing  # type: ignore[method-assign]  # to stand still at that very moment
        return 7

    run = Apart(work, "work of the test")
    closed.wait(20)
    answer = run.ask()
    asked.set()

    assert (list(answer.result(20)), run.ended.result(20)) == ([], 7)


async def test_no_summary(web: Web, given: dict[str, Any]) -> None:
    """Where there is no summary it is said why: nothing was begun, nothing came of it, or it ended with an error."""
    pages, wrong = crawl(web.url(HOST), **given), crawl(web.url(HOST), **given | {"hook": "not_there:words"})
    with pytest.raises(StateError, match="when an iteration over the pages has ended"):
        _ = pages.summary
    task = asyncio.create_task(anext(aiter(pages)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(UsageError):
        await anext(aiter(wrong))

    with pytest.raises(StateError, match="left before the crawl had begun"):
        _ = pages.summary
    with pytest.raises(StateError, match="ended with an error"):
        _ = wrong.summary


def test_a_seed_that_cannot_be_stored(web: Web, given: dict[str, Any]) -> None:
    """Only when nothing could be stored, the loop ends with an error, which says why."""
    with pytest.raises(
        FaircrawlError, match=r"no seed of the crawl empty.test could be stored: http://empty.test:\d+/: gone"
    ):
        list(crawl(web.url("empty.test"), **given))
    found = list(crawl(web.url("empty.test"), outcomes="all", **given))

    assert [one.outcome for one in found] == ["gone"]


def test_max_time(web: Web, given: dict[str, Any]) -> None:
    """A time that is up is no error and no interruption, and the crawl is not complete."""
    pages = crawl(web.url(HOST), max_time=0.3, **given | {"delay": 5})
    found = list(pages)

    assert (found, pages.summary.complete, pages.summary.interrupted) == ([], False, False)


def test_a_crawl_that_is_not_there(dsn: str) -> None:
    """Who asks for stored pages of no crawl is told so when the first is asked for."""
    with pytest.raises(NotKnownError, match="no crawl here yet"):
        list(stored_pages("nobody", database=dsn))
    with pytest.raises(TypeError, match="did you mean database"):
        stored_pages("nobody", databas=dsn)  # type: ignore[call-arg]  # what it is about


def test_the_program_is_left_as_it_was(
    web: Web, given: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Signals, limits, the log and standard output are the program's own, and nothing is said."""
    import resource  # noqa: PLC0415

    def state() -> Any:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
        return (
            handlers,
            resource.getrlimit(resource.RLIMIT_NOFILE),
            gc.get_threshold(),
            structlog.is_configured(),
        )

    structlog.reset_defaults()
    before = state()
    seen = []
    for one in crawl(web.url(HOST), **given):
        structlog.get_logger().warning("mine", url=one.url)
        seen.append(state()[:3])
    said = capfd.readouterr()

    assert state() == before
    assert {str(one) for one in seen} == {str(before[:3])}
    assert said.out.count("mine") == len(said.out.splitlines()) == PAGES
    assert said.err == ""


def test_a_hook_that_is_not_there(web: Web, given: dict[str, Any]) -> None:
    """A hook that cannot be loaded is told before anything is asked for."""
    before = len(web.log)
    with pytest.raises(
        UsageError, match=r"the hook not_there:words cannot be loaded: No module named 'not_there'"
    ):
        list(crawl(web.url(HOST), hook="not_there:words", **given))

    assert len(web.log) == before


def test_hooks_of_a_notebook(web: Web, given: dict[str, Any]) -> None:
    """A function that no module has is a hook all the same."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def words(page): return {'words': len(page.text.split())}", names)  # noqa: S102 - as a cell does

    assert [
        one.fields["words"] for one in crawl(web.url(HOST), max_pages=1, hooks=[names["words"]], **given)
    ] == [PAGES]


def test_a_program_that_ends_or_is_interrupted(web: Web, given: dict[str, Any]) -> None:
    """Ctrl-C leaves the loop as it leaves any; a program that ends in the middle leaves no process and no temporary folder behind."""
    slow = {**given, "delay": 0.5}
    apart = {**slow, "database": None, "temporary": True}
    text = (
        "import os, signal, sys, threading\n"
        "from crawler import crawl\n"
        f"pages = iter(crawl({web.url(HOST)!r}, **{slow!r}))\n"
        "next(pages)\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    for page in pages: pass\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', [one.name for one in threading.enumerate() if one.name.startswith('crawl')])\n"
        f"pages = iter(crawl({web.url(HOST)!r}, **{apart!r}))\n"
        "next(pages)\n"
        "print('ends')\n"
    )
    with TemporaryDirectory(prefix="fc-") as folder:  # a short name: PostgreSQL's socket lies in it
        done = subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "TMPDIR": folder},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        left = list(Path(folder).iterdir())

    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted []\nends\n", "")
    assert left == []
    assert folder not in subprocess.run(["ps", "ax"], capture_output=True, text=True, check=True).stdout


async def test_types(web: Web, given: dict[str, Any]) -> None:
    """For a type checker (mypy --strict reads this file) pages are pages, a summary is one, and a strange option is none."""
    pages = crawl(web.url(HOST), [web.url(HOST, "/1")], max_pages=1, refresh="off", **given)
    assert_type(pages, Pages)
    async for one in pages:
        assert_type(one, Page)
        assert_type(one.title, str | None)
    assert_type(pages.summary, Summary)
    for stored_one in stored_pages(HOST, since="7d", database=given["database"]):
        assert_type(stored_one, Page)
    with pytest.raises(TypeError):
        crawl("https://example.com/", max_page=3)  # type: ignore[call-arg]  # what it is about

    assert isinstance(pages, Pages)
    assert isinstance(pages.summary, Summary)
    assert (ROOT / "crawler" / "py.typed").exists()


def test_importing_is_cheap() -> None:
    """`import crawler` imports nothing that it does not need; its names are there when they are asked for."""
    text = "import sys, crawler; print(len([name for name in sys.modules if name.startswith('crawler.')])); print(dir(crawler))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=True)

    assert done.stdout.startswith("0\n")
    assert "'crawl'" in done.stdout
    assert set(crawler.__all__) <= set(dir(crawler))
    with pytest.raises(AttributeError):
        crawler.nothing  # noqa: B018 - what it is about
