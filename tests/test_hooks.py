"""Page hooks: whatever they do, they cost their own fields and nothing else."""

import asyncio
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from crawler.adapters.functions import packed
from crawler.alerts import Alerts
from crawler.core.errors import SettingsError, UsageError
from crawler.core.model import Answer, Crawl, CrawlState, Outcome, Past, ScopeKind
from crawler.core.refresh_rule import parse_rule
from crawler.core.said import WrongError, said
from crawler.core.scope import KeySet, Scope
from crawler.core.turns import TurnUrl
from crawler.core.urls import url_hash
from crawler.crawlbook import KnownCrawl, SeenUrls
from crawler.hook_processes import LOADING, Hooks, refuse_hooks
from crawler.hook_rests import MOST, REST, Rests
from crawler.hooking import HOOKS, function_of, hook_name, hooks_of, shown
from crawler.hooks import Found
from crawler.hooks import Page as HookPage
from crawler.hooks.article import article
from crawler.hooks.jsonld import jsonld
from crawler.hooks.opengraph import opengraph
from crawler.parsing import Job, parse
from crawler.reading import Read
from crawler.settings import Settings, load
from tests.ways_to_fail import STARTED, WAYS, fails, tells

FAILS: Final = "tests.ways_to_fail:fails"
TELLS: Final = "tests.ways_to_fail:tells"
CRAWL: Final = Crawl(1, "shop", CrawlState.RUNNING, 1, ScopeKind.HOST)
KNOWN: Final = KnownCrawl(CRAWL, Scope.of(CRAWL, KeySet([])), SeenUrls(), parse_rule("off"))
BODY: Final = b"<!doctype html><title>Tea</title><a href=/next>next</a><p>Green tea"
LOOKED_FOR: Final = "it was looked for in the current folder, and where Python looks"
ARTICLE: Final = (
    b"""<!doctype html><html lang=en><head><title>Tea | Shop</title><meta property=og:title content=Tea>
    <meta property=og:image content=/tea.png><script type="application/ld+json">{"@graph":[{"@type":"Product","name":"Tea"}]}</script>
    <script type="application/ld+json">{broken</script></head><body><nav><a href=/>Home</a></nav><article><h1>Tea</h1>"""
    + b"".join(
        b"<p>Green tea no. %d is made from leaves that have not undergone the same withering.</p>" % n
        for n in range(5)
    )
    + b"</article><footer>All rights reserved</footer>"
)


def read(path: str = "", body: bytes = BODY, **more: Any) -> Read:
    """A page as it comes from the reader."""
    parsed = parse(
        Job(body=body, url=f"http://a.test/{path}", content_type="text/html", headers=(), parser="turbohtml")
    )
    answer = Answer(Outcome.OK, 0, 0, status=200, body=body, headers=(("Server", "x"),))
    return Read(answer, replace(parsed.page, **more), parsed.digest, parsed.compressed)


def item(path: str, host: str = "a.test") -> TurnUrl:
    """A URL as a turn has it."""
    url = f"http://{host}/{path}"
    return TurnUrl(1, url_hash(url), url, 0, 2, 0, 0, outcome=None, seed=False)


class Told(Alerts):
    """Alerts that are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.about: list[str] = []

    def critical(self, kind: Any, about: str = "", **more: Any) -> None:
        """Keep it."""
        self.about.append(f"{kind.value} {about}")
        super().critical(kind, about, **more)


@asynccontextmanager
async def hooks_at_work(
    *names: str, most: int = 2, seconds: float = 0.3, loading: float = LOADING, alerts: Alerts | None = None
) -> AsyncIterator[Hooks]:
    """Hooks, whose processes are all gone in the end."""
    hooks = Hooks(names, seconds=seconds, memory=300 << 20, most=most, loading=loading, alerts=alerts)
    try:
        yield hooks
    finally:
        await hooks.close()

    assert [pid for pid in hooks.pids if alive(pid)] == []


async def heard(
    hooks: Hooks,
    path: str = "",
    seen: Read | None = None,
    past: Past = Past(),  # noqa: B008 - frozen
    host: str = "a.test",
) -> Read:
    """What comes of a page."""
    return await hooks.hear(seen or read(path), item(path, host), KNOWN, past)


def fields(seen: Read) -> Any:
    """What hooks said."""
    return None if seen.fields is None else json.loads(seen.fields)


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    return False


async def test_every_way_to_fail() -> None:
    """A hook that raises, hangs, dies, eats memory, prints or says nonsense costs its own fields of its own page, and is counted and told.

    The other hooks say what they have to say, and the loop goes on.
    """
    alerts, paths = Told(), list(WAYS)
    async with hooks_at_work(FAILS, TELLS, alerts=alerts) as hooks:
        beats = asyncio.create_task(longest_beat())
        tries = (heard(hooks, path, host=f"{path}.test") for path in paths)
        pages = dict(zip(paths, await asyncio.gather(*tries), strict=True))
        beats.cancel()
        last = await heard(hooks, "honest")
        ended = {
            path: pages[path].answer.outcome if path == "refused" else fields(pages[path]).get("title")
            for path in paths
        }
        counts = {
            end: hooks.calls[FAILS, end] for end in ("ok", "refused", "raised", "slow", "died", "wrong")
        }

        assert ended == dict.fromkeys(paths, "Tea") | {"refused": Outcome.SCOPE_REFUSED}
        assert counts == {end: sum(way[0] == end for way in WAYS.values()) + (end == "ok") for end in counts}
        assert hooks.calls[TELLS, "ok"] == len(WAYS)
        assert fields(last) == {"title": "Tea", "links": 1, "seen": []}
        assert fields(pages["prints"])["read"] == ""
        assert fields(pages["prints"])["seen"] == ["read"]
        assert fields(pages["hostile"])["nul\ufffd"] == "a\ufffdb"
        assert fields(pages["hostile"])["half"] == "\ufffd \ufffd"
        assert (fields(pages["hostile"])["odd"], fields(pages["hostile"])["far"]) == (
            None,
            [None, -1.5, 10**30],
        )
        assert len(alerts.about) == sum(way[0] not in {"ok", "refused"} for way in WAYS.values())
        assert any("raised: KeyError at " in one and "ways_to_fail.py" in one for one in alerts.about)
        assert not any("price" in one for one in alerts.about)
    refused = pages["refused"]

    assert refused.answer.detail.startswith(f"hook {FAILS}: no more\ufffd of that that")
    assert (refused.page, refused.digest, refused.fields, refused.answer.body) == (None, None, None, b"")
    assert beats.cancelled()


async def longest_beat() -> None:
    """The loop is never held up."""
    while True:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began < 1


async def test_told_once() -> None:
    """What fails again and again is told as critical once for each hook, and each time to who looks closer."""
    with structlog.testing.capture_logs() as logs:
        async with hooks_at_work(FAILS, "tests.ways_to_fail:raises", most=1) as hooks:
            for _ in range(3):
                await heard(hooks, "raises")
    told = [(one["event"], one["log_level"]) for one in logs if one["log_level"] != "debug"]

    assert told.count(("trouble.met", "critical")) == 2
    assert told.count(("hook.failed", "info")) == 6


async def test_left_out_where_it_dies_again_and_again() -> None:
    """After three pages of a domain the hook that died on them is left out there, which is counted and told; elsewhere it is called."""
    alerts = Told()
    async with hooks_at_work(FAILS, alerts=alerts) as hooks:
        for _ in range(5):
            await heard(hooks, "leaves")
        await heard(hooks, "x", host="b.test")
        counts = {end: hooks.calls[FAILS, end] for end in ("died", "left_out", "ok")}

    assert counts == {"died": 3, "left_out": 2, "ok": 1}
    assert len(alerts.about) == 4
    assert alerts.about[-1] == f"hook {FAILS} hangs or dies on a.test, and is left out there for 300 s"


@pytest.mark.parametrize(("every", "left_out"), [(1, True), (15, True), (25, False)])
def test_now_and_then_is_forgiven(every: int, *, left_out: bool) -> None:
    """A hook that hangs on one page of 25 is never left out; on one of 15, it is, and comes back after five minutes."""
    rests = Rests()
    for number in range(2_000):
        if number % every:
            rests.answered("h", "a.test")
        elif rests.struck("h", "a.test", 0.0):
            break

    assert rests.rests("h", "a.test", REST - 1) is left_out
    assert not rests.rests("h", "a.test", REST)
    assert not rests.rests("h", "b.test", 1.0)


def test_of_endless_domains_some_are_remembered() -> None:
    """Memory is bounded, whatever the number of domains."""
    rests = Rests()
    for number in range(MOST + 5):
        rests.struck("h", f"{number}.test", 0.0, 3)

    assert repr(rests) == f"<Rests {MOST} strike, {MOST} left out>"
    assert rests.rests("h", f"{MOST}.test", 1.0)
    assert not rests.rests("h", "4.test", 1.0)


async def test_slow_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes too long to load ends all hooks of the page at once, and no page waits for it again for a while."""
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    names, alerts = ("slow_to_load:x", TELLS, FAILS), Told()
    async with hooks_at_work(*names, loading=0.3, alerts=alerts) as hooks:
        async with asyncio.timeout(1.5):  # not once for each of them, let alone for each page
            pages = [await heard(hooks, host=f"{n}.test") for n in range(10)]
        counts = [(hooks.calls[name, "slow"], hooks.calls[name, "left_out"]) for name in names]

    assert counts == [(1, 9)] * 3
    assert {page.fields for page in pages} == {None}
    assert sum("left out there" in one for one in alerts.about) == 3


async def test_links_are_the_pages_own() -> None:
    """Links of a hook join those of the page, resolved and canonical; a page that says nofollow has none."""
    async with hooks_at_work(FAILS) as hooks:
        seen = await heard(hooks, "links")
        quiet = await heard(hooks, "links", read("links", links=(), directives=("nofollow",)))

    assert seen.page is not None
    assert quiet.page is not None
    assert seen.page.links == (
        "http://a.test/next",
        "http://a.test/more",
        "http://elsewhere.test/",
        "http://a.test/%EF%BF%BD",
    )
    assert (quiet.page.links, fields(quiet)) == ((), {"n": 3})


async def test_what_is_not_stored_anew() -> None:
    """What is no page, or says what it said before, is no hook's business: no process is started."""
    body = read()
    async with hooks_at_work(FAILS) as hooks:
        gone = Read(Answer(Outcome.GONE, 0, 0, status=404))
        same = await heard(hooks, "raises", past=Past(digest=hashlib.sha256(BODY).digest()))

        assert await heard(hooks, "raises", gone) == gone
        assert same == body
        assert hooks.pids == ()


async def test_state_lives_as_long_as_the_process() -> None:
    """A process that fails in no way that matters serves page after page, and what a module keeps is kept."""
    name = hook_name(lambda _: {"started": STARTED, "pid": os.getpid()})
    async with hooks_at_work(FAILS, name, most=1) as hooks:
        pages = [await heard(hooks, path) for path in ("raises", "late", "nonsense", "x")]

    assert len({json.dumps(fields(page)) for page in pages}) == 1
    assert fields(pages[0])["pid"] != os.getpid()


async def test_cancelled() -> None:
    """Whoever is cancelled while a hook is at work leaves no process, nor what the hook has started."""
    name = hook_name(lambda _: subprocess.run(["sleep", "3600"], check=False))
    async with hooks_at_work(name, seconds=60) as hooks:
        asked = asyncio.create_task(heard(hooks))
        while not hooks.pids or not (children := children_of(hooks.pids[0])):  # noqa: ASYNC110 - of another program
            await asyncio.sleep(0.01)
        (pid,) = hooks.pids
        asked.cancel()
        await asyncio.wait([asked])
        await until_dead(pid, *children)


async def test_an_idle_process_that_is_killed() -> None:
    """What a hook has started and left running ends when the system kills its process, though nobody asks that process any more."""
    name = hook_name(lambda _: {"pid": subprocess.Popen(["sleep", "3600"]).pid})
    async with hooks_at_work(name, seconds=60) as hooks:
        started = fields(await heard(hooks))["pid"]
        assert alive(started)
        os.kill(hooks.pids[0], signal.SIGKILL)
        await until_dead(started)


def children_of(pid: int) -> list[int]:
    """What a process has started."""
    with suppress(FileNotFoundError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


async def until_dead(*pids: int) -> None:
    """Wait for the end of processes."""
    async with asyncio.timeout(10):
        while any(map(alive, pids)):  # noqa: ASYNC110 - of other programs
            await asyncio.sleep(0.01)


WORKER: Final = """
import asyncio, sys
from tests.test_hooks import heard, hooks_at_work

async def main():
    async with hooks_at_work("tests.ways_to_fail:fails", seconds=60) as hooks:
        idle = await heard(hooks, "x")
        print(*hooks.pids, flush=True)
        await asyncio.gather(heard(hooks, "stuck"), heard(hooks, "busy"))

asyncio.run(main())
"""


async def test_killed() -> None:
    """A worker that is killed leaves no hook process behind, however busy that is."""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert await worker.stdout.readline()
        async with asyncio.timeout(20):
            while len(pids := children_of(worker.pid)) < 2:  # noqa: ASYNC110 - of another program
                await asyncio.sleep(0.01)
    finally:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    await until_dead(*pids)


# --- which hooks there are


async def test_what_cannot_be_loaded() -> None:
    """A hook that is not there, is no function, or whose module fails, is told in a line before anything is fetched."""
    names = ("no_such_module:x", "tests.ways_to_fail:no_such", "tests.ways_to_fail:STARTED", "this:x")
    with pytest.raises(UsageError) as refused:
        await refuse_hooks(Settings(hooks=names))
    lines = str(refused.value).splitlines()

    assert lines == [
        f"the hook no_such_module:x cannot be loaded: No module named 'no_such_module': {LOOKED_FOR}",
        "the hook tests.ways_to_fail:no_such cannot be loaded: the module tests.ways_to_fail has no no_such",
        "the hook tests.ways_to_fail:STARTED cannot be loaded: it is a float, and no function",
        "the hook this:x cannot be loaded: the module this has no x",
    ]


async def test_no_process_to_load_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """That no process can be started for the hooks is told in a line too."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(
        UsageError, match=r"^the hook \S+ cannot be loaded: no process can be started: .*No such file"
    ):
        await refuse_hooks(Settings(hooks=(FAILS,)))


def inner() -> Any:
    """A function that no module has."""
    return lambda page: {"url": page.url}


@pytest.mark.parametrize("function", [inner(), functools.partial(tells), Path("/x").joinpath])
def test_functions_of_nobody(function: Any) -> None:
    """A function that no module has under its name goes with the setting, and has a name for people."""
    name = hook_name(function)

    assert HOOKS.accept(HOOKS.show((name, FAILS))) == (name, FAILS)
    assert callable(function_of(name))
    assert shown(name).count(":") == 1
    assert len(shown(name)) < 100


def test_functions_of_a_module() -> None:
    """A function that a module has is called by its name."""
    assert hook_name(fails) == FAILS == shown(FAILS)
    assert function_of(FAILS) is fails


def test_what_cannot_be_sent() -> None:
    """A function that holds what no other process can have is refused in a line."""
    lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match="put it into a module"):
        packed(lambda _: lock)


@pytest.mark.parametrize("text", ["x", "x:", ":x", "a b:c", "a:b c", "a.b.:c", "pickle:x:", "a:b:c"])
def test_what_is_no_hook(text: str) -> None:
    """What names no function is refused as a setting."""
    with pytest.raises(SettingsError, match=r"a list of functions as package\.module:function"):
        load(overrides={}, environ={"CRAWL_HOOKS": text}, secrets_dir=Path("/nowhere"))


def test_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed as faircrawl.page comes after what is named, by name, each once."""
    folder = tmp_path / "shop-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: shop\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[faircrawl.page]\nz = {TELLS}\na = shop.hooks:prices\nb = {FAILS}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert hooks_of(Settings(hooks=(FAILS,))) == (FAILS, "shop.hooks:prices", TELLS)


# --- shipped


async def test_shipped() -> None:
    """The hooks that come with us find what a page says of itself, and nothing where it says nothing."""
    names = [f"crawler.hooks.{name}:{name}" for name in ("article", "opengraph", "jsonld")]
    async with hooks_at_work(*names, seconds=30) as hooks:
        full = fields(await heard(hooks, "tea", read("tea", ARTICLE)))
        empty = fields(await heard(hooks, "x", read("x", b"<p>")))

    assert full["opengraph"] == {"title": "Tea", "image": "http://a.test/tea.png"}
    assert full["jsonld"] == [{"@type": "Product", "name": "Tea"}]
    assert full["article"]["title"] == "Tea"
    assert full["article"]["text"].count("Green tea") == 5
    assert "All rights" not in full["article"]["text"]
    assert empty is None


def test_shipped_on_a_hostile_page() -> None:
    """Whatever a page says of itself, what the shipped hooks say can be kept, all of them together; what is well among it is there."""
    deep, large = '{"a":' * 49 + "1" + "}" * 49, "x" * (1 << 20)
    blocks = (deep, f'["{large}"]', '{"@type":"Tea"}', f'{{"@graph":[{{"@type":"Shop"}},{deep}]}}')
    scripts = "".join(f'<script type="application/ld+json">{block}</script>' for block in blocks)
    text = "".join(f"<p>Tea {n}: {'its leaves are green, and ' * 2_000}" for n in range(40))
    page, long = (
        HookPage("http://a.test/", body=f"<!doctype html><html>{html}".encode(), content_type="text/html")
        for html in (
            f"{scripts}<meta property=og:title content={large}><meta property=og:type content=tea>",
            f"<title>{'title ' * 5_000}</title><body><article>{text}",
        )
    )
    told = [jsonld(page), opengraph(page), article(long)]
    fields = {name: value for one in told if one for name, value in one.items()}
    kept = json.loads(said(fields, page.url).fields)

    with pytest.raises(WrongError):
        said({"jsonld": [json.loads(deep)]}, page.url)
    assert told[:2] == [{"jsonld": [{"@type": "Tea"}, {"@type": "Shop"}]}, {"opengraph": {"type": "tea"}}]
    assert len(kept["article"]["text"]) > 700_000
    assert len(kept["article"]["title"]) > 4_000


def test_in_a_test_of_ones_own() -> None:
    """A hook is called by its author's tests as any function is."""
    page = HookPage("http://a.test/", body=BODY, content_type="text/html")

    assert asyncio.run(tells(page)) == {"title": None, "links": 1, "seen": []}
    assert fails(HookPage("http://a.test/links", body=BODY)) == Found({"n": 3}, WAYS["links"][1](page).links)
