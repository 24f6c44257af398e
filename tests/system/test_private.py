"""A whole crawl, by the real program, of a site that does all it can to lead it elsewhere on this machine."""

# ruff: noqa: RUF001 - letters that look like others are what is tried

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest

from crawler.demo.language import Site, page, redirect
from crawler.demo.server import serving
from tests.system.program import Program

ALLOWED: Final = "127.0.0.1/32"
PLACES: Final = ("127.0.0.9", "127.1.2.3", "::1")
"""Where a canary listens: next to what may be fetched from."""


class Canary:
    """Listens where nobody may come, and writes down who does."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        first = socket.create_server((PLACES[0], 0))
        self.port: int = first.getsockname()[1]
        rest = [
            socket.create_server(
                (place, self.port), family=socket.AF_INET6 if ":" in place else socket.AF_INET
            )
            for place in PLACES[1:]
        ]
        self._servers = [first, *rest]
        self._threads = [threading.Thread(target=self._listen, args=[server]) for server in self._servers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
            thread.join(5)
            server.close()

    def call(self) -> None:
        """Visit every place, as nobody else does."""
        for place in PLACES:
            with socket.create_connection((place, self.port)) as visit:
                visit.recv(1)  # until it has sung

    def _listen(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                visit, _ = server.accept()
                self.visits.append(visit.getsockname()[0])
                visit.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    """A canary, which does sing."""
    with Canary() as canary:
        yield canary


def inside(port: int) -> list[str]:
    """URLs that lead to the canary, in many spellings."""
    hosts = (
        "127.0.0.9", "127.9", "2130706441", "0x7f000009", "0177.0.0.011", "127.0.0.9.", "１２７.0.0.9", "127.1.2.3",
        "[::1]", "[::ffff:127.0.0.9]", "[64:ff9b::127.0.0.9]", "localhost", "a.localhost", "hosted.test", "named.test",
        "0", "user@127.0.0.9",
    )  # fmt: skip
    return [f"http://{host}:{port}/in" for host in hosts]


def test_nothing_leads_to_what_was_not_allowed(tmp_path: Path, canary: Canary) -> None:
    """Of this machine one address may be fetched from: links, redirects and robots.txt lead nowhere else, and each says why."""
    lures = inside(canary.port)
    start: Site = {
        "/": page("start", "/ok", *lures, *(f"/to/{n}" for n in range(len(lures))), "http://robots.test:PORT/", "http://mixed.test:PORT/"),
        "/ok": page("fine"),
        **{f"/to/{n}": redirect(url, 302) for n, url in enumerate(lures)},
    }  # fmt: skip
    robots: Site = {"/robots.txt": redirect(f"http://127.0.0.9:{canary.port}/robots.txt"), "/": page("never")}
    names = {
        "named.test": ["127.0.0.9"],
        "mixed.test": ["127.0.0.9", "127.0.0.1"],
    }
    with serving(
        {"start.test": start, "robots.test": robots, "mixed.test": {"/": page("mixed")}}, names
    ) as web:
        hosts = tmp_path / "hosts"
        known = [f"127.0.0.1 {name}" for name in ("start.test", "robots.test")]
        hosts.write_text("\n".join([*known, "127.0.0.9 hosted.test"]))
        program = Program(
            tmp_path / "data",
            {
                "ALLOW_NETS": ALLOWED, "RUN_PATIENCE": "0", "HOSTS_FILE": str(hosts), "DELAY": "0",
                "DNS_SERVERS": "{}:{}".format(*web.names.where), "DNS_TIMEOUT": "2s",
            },
        )  # fmt: skip
        summary = program.crawl(web.url("start.test"), "--scope", "any", "--name", "lured")
        why = program.run("why", f"http://127.0.0.9:{canary.port}/in")
        pages = {page["url"]: page["outcome"] for page in program.pages("lured").values()}
        asked = {(one.host, one.path) for one in web.log}

    assert canary.visits == []
    assert (
        summary["outcomes"]["address_refused"] == 8
    )  # the others are one of these in another spelling, or localhost
    assert (pages[web.url("start.test", "/ok")], pages[web.url("mixed.test")]) == ("ok", "ok")
    assert ("robots.test", "/") not in asked
    assert "address_refused (127.0.0.9: loopback)" in why
    canary.call()
    assert sorted(canary.visits) == sorted(PLACES)


def test_a_link_to_a_closed_port_harms_no_other_page(tmp_path: Path) -> None:
    """Links to closed ports of a site, and a robots.txt that redirects to one, are refused; its pages are fetched as ever."""
    strange = [22, 6000, 10080]
    site: Site = {
        "/": page("start", *(f"http://site.test:{port}/x" for port in strange), "/go", *(f"/{n}" for n in range(5))),
        "/go": redirect("http://site.test:25/mail", 302),
        **{f"/{n}": page(f"{n}") for n in range(5)},
    }  # fmt: skip
    with serving({"site.test": site}) as web:
        program = Program(
            tmp_path / "data",
            {"ALLOW_NETS": ALLOWED, "RUN_PATIENCE": "0", "DELAY": "0", "HOSTS_FILE": str(web.hosts_file(tmp_path)), "PORTS": "1024-65535"},
        )  # fmt: skip
        summary = program.crawl(web.url("site.test"), "--scope", "host", "--name", "ports")
        why = program.run("why", "http://site.test:6000/x")

    assert summary["outcomes"] == {"ok": 6, "redirect": 1, "address_refused": 4}
    assert "port 6000 is for X11, and closed to browsers too" in why
