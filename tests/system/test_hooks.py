"""Page hooks in a whole crawl, by the real program: what is stored, what is asked for, and what is told of it."""

import json
from pathlib import Path
from typing import Final

import pytest

from crawler.core.urls import domain_of
from crawler.demo.language import page
from crawler.demo.server import hurried, serving
from tests.system.program import Program

BAD: Final = ("raises", "sleeps", "leaves", "too-large", "hostile", "links", "refused", "nonsense")
HOOKS: Final = ("--hook", "tests.ways_to_fail:fails", "--hook", "tests.ways_to_fail:tells")


@pytest.fixture
def program(data: Path) -> Program:
    """The program on an empty database."""
    settings = {
        "ALLOW_NETS": "127.0.0.0/8",
        "RUN_PATIENCE": "0",
        "HOOK_TIMEOUT": "300ms",
        "HOOK_PROCESSES": "2",
    }
    return Program(data, settings)


def domain(host: str) -> str:
    """The registrable domain of a host."""
    return domain_of(f"http://{host}/")


def test_a_crawl_with_hooks_that_fail(program: Program, tmp_path: Path) -> None:
    """Every page is kept with what the hooks say of it, but for those they refuse; nobody is hurried, and links stay in scope."""
    sites = {
        "bad.test": {
            "/": page("start", *(f"/{way}" for way in BAD)),
            **{f"/{way}": page(way) for way in BAD},
            "/refused": page("refused", "/only-from-refused"),
            "/more": page("more"),
        },
        "good.test": {
            "/": page("good", *(f"/{n}" for n in range(10))),
            **{f"/{n}": page(f"{n}") for n in range(10)},
        },
        "elsewhere.test": {"/": page("elsewhere")},
    }
    with serving(sites) as web:
        here = Program(program.data, {**program.settings, "HOSTS_FILE": str(web.hosts_file(tmp_path))})
        seeds = [web.url("bad.test"), web.url("good.test")]
        summary = here.crawl(*seeds, "--delay", "0.05", *HOOKS, "--name", "all")
        pages = here.pages("all")
        start, refused = web.url("bad.test"), web.url("bad.test", "/refused")
        shown = json.loads(here.run("show", web.url("bad.test", "/hostile"), "--json"))
        words = here.run("show", start)
        why = here.run("why", refused)

        assert summary["outcomes"] == {"ok": 1 + len(BAD) - 1 + 1 + 11, "scope_refused": 1, "gone": 1}
        assert hurried(web.log, 0.05, domain) == []
        assert {"/only-from-refused"} & set(web.asked()) == set()
        assert web.asked("elsewhere.test") == []
        assert {one["fields"]["title"] for one in pages.values() if one["outcome"] == "ok"} == {
            "start", "good", "more", *BAD, *map(str, range(10)),
        } - {"refused"}  # fmt: skip
        assert pages[refused]["fields"] is pages[refused]["text"] is None
        assert shown["fields"]["nul\ufffd"] == "a\ufffdb"
        assert "\n  links  8\n" in words
        assert "a hook of the worker does not want it" in why
        assert "hook tests.ways_to_fail:fails: no more" in why


def test_a_refresh_with_nobody_at_work(program: Program, tmp_path: Path) -> None:
    """A page that is fetched again by `crawl refresh` alone has what the hooks say of it now."""
    sites = {"a.test": {"/": page("before")}}
    with serving(sites) as web:
        here = Program(program.data, {**program.settings, "HOSTS_FILE": str(web.hosts_file(tmp_path))})
        url = web.url("a.test")
        here.crawl(url, "--delay", "0", *HOOKS, "--name", "all")
        sites["a.test"]["/"] = page("after")
        here.run("refresh", url, *HOOKS)

        assert here.pages("all")[url]["fields"]["title"] == "after"


def test_a_hook_that_is_not_there(program: Program) -> None:
    """A hook that cannot be loaded is one line, before there is a database or a request."""
    with serving({"a.test": {"/": page("start")}}) as web:
        here = Program(program.data / "none", program.settings)
        done = here._done("run", web.url("a.test"), "--hook", "no_such_module:prices")

        assert done.returncode == 2
        assert done.stderr.decode().startswith(
            "crawl: the hook no_such_module:prices cannot be loaded: No module named"
        )
        assert done.stderr.count(b"\n") == 1
        assert web.log == []
        assert not here.data.exists()
