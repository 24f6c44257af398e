"""A whole crawl, by the real program, on a web of our own: what the web's log and the export say of it."""

import gzip
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from crawler.core.urls import domain_of
from crawler.demo.language import Reply, Site, once, page, redirect, robots, slow, status
from crawler.demo.server import Web, hurried, serving
from tests.system.program import Program, kill

BASE = {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0"}


@pytest.fixture
def program(data: Path) -> Program:
    """The program on an empty database."""
    return Program(data, dict(BASE))


def on(program: Program, web: Web, **settings: str) -> Program:
    """The program, which knows the web's names."""
    hosts = web.hosts_file(program.data.parent)
    return Program(program.data, {**program.settings, "HOSTS_FILE": str(hosts), **settings})


def domain(host: str) -> str:
    """The registrable domain of a host."""
    return domain_of(f"http://{host}/")


def many(domains: int, pages: int) -> dict[str, Site]:
    """Domains whose pages form a ring with a shortcut, each linked to the next domain too."""
    sites: dict[str, Site] = {}
    for number in range(domains):
        ring = {f"/{i}": page(f"{i}", f"/{(i + 1) % pages}", f"/{(i * 7) % pages}") for i in range(1, pages)}
        ring["/0"] = page("0", "/1", "/missing", "/private/x")
        ring["/"] = page("start", "/0")
        ring["/robots.txt"] = robots("/private/")
        sites[f"site{number}.test"] = ring
    return sites


@pytest.fixture
def web() -> Iterator[Web]:
    """Six domains of ten pages."""
    with serving(many(6, 10)) as web:
        yield web


def test_every_page_once_and_nobody_hurried(program: Program, web: Web) -> None:
    """Two processes fetch every allowed page of every domain once, robots.txt first, a whole pause after each answer."""
    seeds = [web.url(host) for host in web.sites]
    summary = on(program, web).crawl(*seeds, "--delay", "0.2", "--processes", "2")

    asked = Counter((one.host, one.path) for one in web.log)
    wanted = {"/robots.txt", "/", "/missing", *(f"/{i}" for i in range(10))}
    assert asked == Counter({(host, path): 1 for host in web.sites for path in wanted})
    assert {web.asked(host)[0] for host in web.sites} == {"/robots.txt"}
    assert hurried(web.log, 0.2, domain) == []
    assert summary["outcomes"] == {"ok": 66, "gone": 6, "robots_refused": 6}
    assert summary["state"] == "finished"


def test_hosts_of_a_domain_share_its_pace(program: Program) -> None:
    """All hosts of a registrable domain together are one domain: no two of them are asked closer than the delay."""
    names = [f"{name}.shop.test" for name in ("a", "b", "c")]
    sites = {
        name: {"/": page(name, *(f"/{i}" for i in range(3))), **{f"/{i}": page("x") for i in range(3)}}
        for name in names
    }
    with serving(sites) as web:
        on(program, web).crawl(*(web.url(name) for name in names), "--delay", "0.1", "--processes", "2")

        assert len(web.log) == 3 * 5
        assert hurried(web.log, 0.1, domain) == []


def test_crawl_delay_is_obeyed(program: Program) -> None:
    """A crawl-delay in robots.txt rules out a shorter --delay and more than one request at a time."""
    site = {
        "/robots.txt": robots(crawl_delay=0.4),
        "/": page("start", "/1", "/2", "/3"),
        **{f"/{i}": page("x") for i in (1, 2, 3)},
    }
    with serving({"slow.test": site}) as web:
        on(program, web).crawl(web.url("slow.test"), "--delay", "0", "--per-domain", "8")

        assert len(web.log) == 5
        assert hurried(web.log, 0.4, domain) == []


def test_killed_and_run_again(program: Program, web: Web) -> None:
    """After kill -9 of everything, the same command finishes the crawl; no page is missing and nobody was hurried."""
    here = on(program, web, WORK_LEASE="4s", QUEUE_LEASE="5s", TURN_SECONDS="1s", TOTAL_TIMEOUT="3s",
              FIRST_BYTE_TIMEOUT="2s", READ_TIMEOUT="2s", CONNECT_TIMEOUT="2s", TLS_TIMEOUT="2s", DNS_TIMEOUT="2s")  # fmt: skip
    seeds = [web.url(host) for host in web.sites]
    first = here.start("run", "--no-sitemaps", *seeds, "--delay", "0.1", "--processes", "2")
    deadline = time.monotonic() + 30
    while len(web.log) < 30 and time.monotonic() < deadline:
        time.sleep(0.01)  # the log is all there is to wait for
    kill(first)
    summary = here.crawl(*seeds, "--delay", "0.1", "--processes", "2")

    wanted = {"/", "/missing", *(f"/{i}" for i in range(10))}
    assert {(one.host, one.path) for one in web.log} >= {
        (host, path) for host in web.sites for path in wanted
    }
    assert hurried(web.log, 0.1, domain) == []
    assert summary["outcomes"] == {"ok": 66, "gone": 6, "robots_refused": 6}


def test_ctrl_c_loses_nothing(program: Program, web: Web) -> None:
    """Ctrl-C ends a run within seconds, with status 130; the same command goes on, and no page is fetched twice."""
    here = on(program, web)
    seeds = [web.url(host) for host in web.sites]
    first = here.start("run", "--no-sitemaps", *seeds, "--delay", "0.1")
    deadline = time.monotonic() + 30
    while len(web.log) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)  # as above
    os.kill(first.pid, signal.SIGINT)
    out, _ = first.communicate(timeout=20)
    here.crawl(*seeds, "--delay", "0.1")

    assert first.returncode == 130
    assert out.startswith("interrupted")
    fetched = Counter((one.host, one.path) for one in web.log if one.path != "/robots.txt")
    assert set(fetched.values()) == {1}
    assert len(fetched) == 6 * 12


def test_two_crawls_at_once(program: Program, web: Web) -> None:
    """Two commands on one data folder crawl the same domains at once: each has all pages, and no domain is hurried."""
    here = on(program, web)
    seeds = [web.url(host) for host in web.sites]
    other = here.start("run", "--no-sitemaps", *seeds, "--delay", "0.1", "--name", "other")
    one = here.crawl(*seeds, "--delay", "0.1", "--name", "one")
    out, err = other.communicate(timeout=60)

    assert (other.returncode, err) == (0, "")
    assert "done: 66 pages stored in crawl other" in out
    assert one["outcomes"]["ok"] == 66
    assert hurried(web.log, 0.1, domain) == []


def test_throttled_domain_waits(program: Program) -> None:
    """After a 429 the whole domain waits as long as Retry-After says, and then the page comes after all."""
    site: Site = {
        "/": page("start", "/a", "/b"),
        "/a": once(status(429, retry_after="1"), page("a")),
        "/b": page("b"),
    }
    with serving({"busy.test": site}) as web:
        summary = on(program, web, RUN_PATIENCE="5s").crawl(web.url("busy.test"), "--delay", "0")

        after = [one.began for one in web.log]
        refused = next(i for i, one in enumerate(web.log) if one.status == 429)
        assert after[refused + 1] - after[refused] >= 1.0
        assert summary["outcomes"] == {"ok": 3}


def test_a_seed_that_moved(program: Program) -> None:
    """A seed that redirects to another domain passes its seedhood on: that domain is crawled, the links between are not."""
    sites: dict[str, Site] = {
        "old.test": {"/": redirect("http://www.new.test:PORT/home")},
        "www.new.test": {"/home": page("home", "/a", "http://else.test:PORT/"), "/a": page("a")},
        "else.test": {"/": page("else")},
    }
    with serving(sites) as web:
        summary = on(program, web).crawl(web.url("old.test"), "--delay", "0")

        assert summary["outcomes"] == {"ok": 2, "redirect": 1}
        assert web.asked("else.test") == []


def test_bytes_are_kept_as_received(program: Program) -> None:
    """A body is stored byte for byte after decoding, whatever it holds; what PostgreSQL refuses in text is replaced."""
    body = b"<title>nul \0 here</title><p>\xff\xfe \0 caf\xe9 \xed\xa0\x80</p>"
    site = {
        "/": page("start", "/odd", "/gz"),
        "/odd": Reply(body, headers={"Content-Type": "text/html; charset=utf-8", "X-Odd": "a \xff"}),
        "/gz": Reply(gzip.compress(body), headers={"Content-Encoding": "gzip"}),
    }
    with serving({"odd.test": site}) as web:
        here = on(program, web)
        here.crawl(web.url("odd.test"), "--delay", "0")
        pages = here.pages("odd.test")
        raw = here.raw("show", web.url("odd.test", "/odd"), "--body")

    assert raw == body
    assert pages[web.url("odd.test", "/odd")]["title"] == "nul \ufffd here"
    assert pages[web.url("odd.test", "/gz")]["length"] == len(body)


def test_max_pages_is_exact(program: Program, web: Web) -> None:
    """--max-pages stores exactly so many pages, with two processes; a higher limit goes on from there."""
    here = on(program, web)
    seeds = [web.url(host) for host in web.sites]
    first = here.crawl(*seeds, "--delay", "0", "--processes", "2", "--max-pages", "20")
    second = here.crawl(*seeds, "--delay", "0", "--max-pages", "35")
    third = here.crawl(*seeds, "--delay", "0")

    assert [run["outcomes"]["ok"] for run in (first, second, third)] == [20, 35, 66]


def test_max_pages_per_domain(program: Program, web: Web) -> None:
    """--max-pages-per-domain holds for each domain, and says so; a higher limit goes on from there."""
    here = on(program, web)
    seeds = [web.url(host) for host in web.sites]
    first = here.crawl(*seeds, "--delay", "0", "--max-pages-per-domain", "4")
    stored = Counter(
        urlsplit(url).hostname for url, page in here.pages("site0.test").items() if page["outcome"] == "ok"
    )
    second = here.crawl(*seeds, "--delay", "0", "--max-pages-per-domain", "0")

    assert stored == dict.fromkeys(web.sites, 4)
    assert first["outcomes"]["scope_refused"] > 0
    assert second["outcomes"] == {"ok": 66, "gone": 6, "robots_refused": 6}


def test_a_dead_domain_condemns_its_turn(program: Program, web: Web) -> None:
    """A name that does not exist and a port where nobody listens end in their outcomes, and hold up nobody."""
    dead = "http://127.0.0.1:65111/"
    seeds = [dead, *(web.url(host) for host in web.sites)]
    summary = on(program, web).crawl(*seeds, "--delay", "0")

    assert summary["outcomes"] == {"ok": 66, "gone": 6, "robots_refused": 6, "connect_error": 1}
    assert [row["domain"] for row in summary["waiting"]] == ["127.0.0.1"]


def test_unreachable_robots_refuse(program: Program) -> None:
    """robots.txt that answers 503 means that nothing is fetched, and says when it is asked again."""
    with serving({"shut.test": {"/robots.txt": status(503), "/": page("start")}}) as web:
        summary = on(program, web).crawl(web.url("shut.test"), "--delay", "0", status=1)

        assert web.asked() == ["/robots.txt"]
        assert summary["outcomes"] == {"robots_refused": 1}


def test_robots_txt_of_another_host(program: Program) -> None:
    """robots.txt may redirect, also to another origin; its rules count for the origin that was asked for."""
    sites: dict[str, Site] = {
        "a.test": {
            "/robots.txt": redirect("http://b.test:PORT/rules"),
            "/": page("start", "/no", "/yes"),
            "/no": page("no"),
            "/yes": page("yes"),
        },
        "b.test": {"/rules": robots("/no")},
    }
    with serving(sites) as web:
        summary = on(program, web).crawl(web.url("a.test"), "--delay", "0")

        assert summary["outcomes"] == {"ok": 2, "robots_refused": 1}
        assert web.asked("b.test") == ["/rules"]


def test_the_export(program: Program, web: Web) -> None:
    """A run exports what it stored when asked to, one JSON object a line, in an order that stays."""
    file = program.data.parent / "pages.jsonl"
    here = on(program, web)
    here.crawl(web.url("site0.test"), "--delay", "0", "--export", str(file))
    lines = file.read_text().splitlines()
    again = here.run("export", "site0.test").splitlines()

    assert lines == again
    expected = (
        "changed_at charset content_type crawl depth digest directives fetched_at fields first_at headers language length outcome "
        "redirect_to status text title url"
    )
    assert " ".join(sorted(json.loads(lines[0]))) == expected


def test_the_second_ctrl_c_cuts_open_requests(program: Program) -> None:
    """The first Ctrl-C waits for an open request, the second cuts it; what was not answered is fetched by the next run."""
    asked = threading.Event()

    def slowly(_path: str) -> Reply:
        asked.set()
        return slow(page("slow"), 4.0)

    site: Site = {"/": page("start", "/slow"), "/slow": slowly}
    with serving({"slow.test": site}) as web:
        here = on(program, web)
        first = here.start("run", "--no-sitemaps", web.url("slow.test"), "--delay", "0")
        asked.wait(30)
        os.kill(first.pid, signal.SIGINT)
        told = first.stderr.readline() if first.stderr else ""
        os.kill(first.pid, signal.SIGINT)
        began = time.monotonic()
        first.communicate(timeout=20)
        lasted = time.monotonic() - began
        summary = here.crawl(web.url("slow.test"), "--delay", "0")

    assert told == "crawl: stopping when the open requests have ended; interrupt again to stop at once\n"
    assert first.returncode == 130
    assert lasted < 3
    assert summary["outcomes"] == {"ok": 2}


def test_nobody_elses_run_goes_on_with_a_crawl(program: Program, web: Web) -> None:
    """A crawl whose run was interrupted, or killed, waits for its own next run: a run of another crawl leaves it alone."""
    here = on(program, web)
    left, other, killed_, last = list(web.sites)[:4]
    first = here.start("run", "--no-sitemaps", web.url(left))
    wait_for(web, 2)
    os.kill(first.pid, signal.SIGINT)
    first.communicate(timeout=20)
    second = here.start("run", "--no-sitemaps", web.url(killed_))
    wait_for(web, len(web.log) + 2)
    kill(second)
    before = {host: len(web.asked(host)) for host in (left, killed_)}
    here.crawl(web.url(other), "--delay", "0")
    here.run("pause", left)
    here.run("resume", left)
    here.crawl(web.url(last), "--delay", "0")
    after = {host: len(web.asked(host)) for host in (left, killed_)}
    finished = [here.crawl(web.url(host), "--delay", "0")["outcomes"]["ok"] for host in (left, killed_)]

    assert after == before
    assert finished == [11, 11]


def wait_for(web: Web, requests: int) -> None:
    """Wait until the web has had so many requests."""
    deadline = time.monotonic() + 30
    while len(web.log) < requests and time.monotonic() < deadline:
        time.sleep(0.01)  # the log is all there is to wait for
