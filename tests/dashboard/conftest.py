"""The dashboard, served for real by the real program, over a database in which a small web was crawled.

    session:  a web of six sites ──crawled──► a database ──► `crawl dashboard` ──► served: .url, .token, .database
                └──► `crawl worker` at slow sites ──► busy: the same, while a crawl goes on (crawl "slow", and "news" is done)

1. What a test changes is its own: it makes crawls and domains with names of its own, and leaves those of `served` as they are.
2. Nothing is asked of anything but the loopback.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from crawler.demo.language import Reply, Site, page, redirect, robots, slow, status, text
from crawler.demo.server import Web, serving

TOKEN: Final = "a-token-of-the-tests"
PATIENCE: Final = 60.0
HOSTILE: Final = "<script>alert(1)</script>\u202egnp.exe " + "long" * 2500
"""A title that no page may obey: a script, a mark that turns the writing round, and 10,000 characters."""


@dataclass(frozen=True, slots=True)
class Served:
    """A dashboard that answers."""

    url: str
    """Without a slash at its end."""
    token: str
    database: str
    """Where the database is."""
    web: Web
    """What was crawled, and still answers."""
    client: httpx.Client

    @property
    def bearer(self) -> dict[str, str]:
        """The header of who may change things."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, **query: Any) -> httpx.Response:
        """As a program reads."""
        return self.client.get(self.url + path, params=query or None)

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """As a program changes something."""
        headers = {**self.bearer, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        return self.client.request(method, self.url + path, content=content, headers=headers)


def news() -> dict[str, Site]:
    """Six sites: one in order, one that fails, one that is hostile, one that is closed by its robots.txt, one that moved, one slow one."""
    many = {f"/{n}": page(f"page {n}", f"/{n + 1}", body=f"<p>number {n}</p>") for n in range(12)}
    return {
        "news.test": {
            "/robots.txt": robots("/private/"),
            "/": page(
                "Front page",
                *(f"/{n}" for n in range(6)),
                "/private/x",
                "/gone",
                "/broken",
                "/plain.txt",
                "/moved",
                "/data.json",
                "http://hostile.test:PORT/",
                "http://fails.test:PORT/",
                "http://closed.test:PORT/",
                "http://slow.test:PORT/",
            ),
            **many,
            "/gone": status(404),
            "/broken": status(500),
            "/plain.txt": text("plain words"),
            "/moved": redirect("/0"),
            "/data.json": Reply(
                b'{"a": 1}', headers={"Content-Type": "application/json", "Set-Cookie": "sid=hunter2"}
            ),
        },
        "hostile.test": {
            "/robots.txt": status(404),
            "/": page(HOSTILE, "/script", body="<script>document.title = 'ran'</script>"),
            "/script": page("<img src=x onerror=alert(1)>", body="<script>alert(2)</script>"),
        },
        "fails.test": {
            "/robots.txt": status(404),
            "/": page("fails", "/a", "/b"),
            "/a": status(500),
            "/b": status(500),
        },
        "closed.test": {"/robots.txt": robots("/"), "/": page("never seen")},
        "slow.test": {"/robots.txt": status(404), "/": slow(page("slow"), 0.5)},
        "lazy.test": {
            "/robots.txt": status(404),
            "/": page("lazy", *(f"/{n}" for n in range(900))),
            **{f"/{n}": slow(page(f"lazy {n}"), 0.1) for n in range(900)},
        },
        "lazier.test": {
            "/robots.txt": status(404),
            "/": page("lazier", *(f"/{n}" for n in range(900))),
            **{f"/{n}": slow(page(f"lazier {n}"), 0.2) for n in range(900)},
        },
    }


def environment(database: str, hosts: Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's own CRAWL_ settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    given = {
        "DATABASE_URL": database,
        "ALLOW_NETS": "127.0.0.0/8",
        "PORTS": "1-65535",
        "HOSTS_FILE": str(hosts),
        "CONTACT": "https://crawler.test/",
        "DELAY": "0.05s",
        "RUN_PATIENCE": "0s",
        "DOMAINS_AT_ONCE": "20",
        **more,
    }
    return own | {f"CRAWL_{name}": value for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Running:
    """A program at work."""

    process: "subprocess.Popen[str]"
    said: Path
    """What it says on stderr."""

    def address(self) -> str:
        """Where a dashboard says that it is."""
        found: list[str] = []

        def told() -> bool:
            text = self.said.read_text()
            assert self.process.poll() is None, text
            found.extend(re.findall(r"the dashboard is at (\S+)\n", text))
            return bool(found)

        until(told, "no dashboard")
        return found[0].rstrip("/")


@contextlib.contextmanager
def program(settings: Mapping[str, str], *arguments: str) -> Iterator[Running]:
    """A command of `crawl` that goes on, ended by SIGTERM; killed if that is of no use."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "stderr"
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "crawler", *arguments],
                env=dict(settings),
                stdout=errors,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        try:
            yield Running(process, said)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            sys.stderr.write(said.read_text())


@contextlib.contextmanager
def dashboard(settings: Mapping[str, str], *arguments: str) -> Iterator[tuple[str, Running]]:
    """`crawl dashboard` on a free port: where it is."""
    with program(settings, "dashboard", "--port", "0", *arguments) as running:
        yield running.address(), running


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Wait for something that other programs do."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="session")
def client() -> Iterator[httpx.Client]:
    """Asks over plain HTTP, of this machine alone."""
    with httpx.Client(verify=False, trust_env=False, timeout=PATIENCE) as client:  # noqa: S501 - no TLS here
        yield client


@pytest.fixture(scope="session")
def sites() -> Iterator[Web]:
    """The web that is crawled."""
    with serving(news()) as web:
        yield web


@pytest.fixture(scope="session")
def hosts(sites: Web, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hosts file that knows them."""
    return sites.hosts_file(tmp_path_factory.mktemp("hosts"))


@pytest.fixture(scope="session")
def crawled(server: Any, sites: Web, hosts: Path) -> Iterator[str]:
    """A database in which the crawl "news" has ended, and once more with two pages changed: where it is."""
    name = server.clone()
    settings = environment(server.dsn(name), hosts)
    seeds = [
        sites.url(host) for host in ("news.test", "hostile.test", "fails.test", "closed.test", "slow.test")
    ]
    command = ("run", "--name", "news", "--keep-versions", "3", "--no-sitemaps", "--quiet", "--json", *seeds)
    done = subprocess.run(
        [sys.executable, "-m", "crawler", *command],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pages"] >= 18, done.stdout
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture(scope="session")
def served(crawled: str, sites: Web, hosts: Path, client: httpx.Client) -> Iterator[Served]:
    """The dashboard over what was crawled; nobody is at work."""
    with dashboard(environment(crawled, hosts, API_TOKEN=TOKEN)) as (url, _):
        yield Served(url, TOKEN, crawled, sites, client)


@pytest.fixture(scope="session")
def busy(server: Any, sites: Web, hosts: Path, client: httpx.Client) -> Iterator[Served]:
    """The dashboard over a crawl that is running at this moment, by a worker and a scheduler, at slow sites: for a minute or so."""
    name = server.clone()
    settings = environment(server.dsn(name), hosts, API_TOKEN=TOKEN)
    with contextlib.ExitStack() as stack:
        stack.callback(server.drop, name)
        url, _ = stack.enter_context(dashboard(settings))
        served = Served(url, TOKEN, server.dsn(name), sites, client)
        seeds = [sites.url(host) for host in ("lazy.test", "lazier.test", "news.test", "fails.test")]
        made = served.send(
            "POST", "/api/crawls", {"name": "slow", "urls": seeds, "refresh": "off", "sitemaps": False}
        )
        assert made.status_code == 201, made.text
        stack.enter_context(program(settings, "worker", "--quiet"))
        until(lambda: served.get("/api/crawls").json()[0]["pages"] >= 3, "nothing is fetched")
        yield served
