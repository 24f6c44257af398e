"""Killed at random moments, run again, finished: what the web's own log says of it.

A few kills in the usual run of the tests; ``make crash`` makes two hundred.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from crawler.core.urls import domain_of
from crawler.demo.language import Site, page, robots
from crawler.demo.server import Web, hurried, serving
from tests.system.program import Program

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.xdist_group("disasters")  # each wants the machine to itself

KILLS: Final = int(os.environ.get("CRAWL_TEST_KILLS", "8"))
DOMAINS: Final = 50
DELAY: Final = 0.1
EACH: Final = max(16, KILLS * 4)
"""Pages of a domain: enough for the crawl to be going on at the last kill."""
SETTINGS: Final = {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0", "PROCESSES": "2", "TURN_SECONDS": "1s"}


def ring(pages: int) -> Site:
    """Pages that lead to one another, so that every one is found however the crawl is cut to pieces."""
    links = {f"/{i}": page(f"{i}", f"/{(i + 1) % pages}", f"/{(i * 5 + 1) % pages}") for i in range(pages)}
    return {"/robots.txt": robots("/private/"), "/": page("start", "/0", "/private/x"), **links}


def domain(host: str) -> str:
    """The registrable domain of a host."""
    return domain_of(f"http://{host}/")


def children(pid: int) -> list[int]:
    """The worker processes of a run."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def postmaster(data: Path) -> list[int]:
    """The database server of a data folder, if it has one."""
    try:
        return [int((data / "pg" / "postmaster.pid").read_text().split()[0])]
    except (OSError, IndexError, ValueError):
        return []


def strike(kind: str, run: "subprocess.Popen[str]", data: Path, dice: random.Random) -> bool:
    """Kill -9; True: the run itself is dead."""
    workers = children(run.pid)
    doomed = {
        "worker": dice.sample(workers, min(1, len(workers))),
        "run": [run.pid],
        "database": postmaster(data),
        "power": [run.pid, *workers, *postmaster(data)],
    }[kind]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return run.pid in doomed


def until_asked(web: Web, requests: int, run: "subprocess.Popen[str]") -> None:
    """Wait until the web has had so many requests, or the run has ended."""
    deadline = time.monotonic() + 60
    while len(web.log) < requests and run.poll() is None:
        assert time.monotonic() < deadline, f"{len(web.log)} of {requests} requests"
        time.sleep(0.005)  # the log is all there is to wait for


@pytest.mark.parametrize("seed", [int(os.environ.get("CRAWL_TEST_SEED", "1"))])
def test_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    """However often and wherever it is killed: every page is fetched, no domain is hurried, and only cut-off turns are repeated."""
    dice = random.Random(seed)
    sites = {f"site{number}.test": ring(EACH) for number in range(DOMAINS)}
    with serving(sites) as web:
        program = Program(tmp_path / "data", {**SETTINGS, "HOSTS_FILE": str(web.hosts_file(tmp_path))})
        command = (
            "run",
            *(web.url(host) for host in sites),
            "--delay",
            str(DELAY),
            "--quiet",
            "--no-sitemaps",
        )
        run = program.start(*command)
        kinds = []
        for _ in range(KILLS):
            until_asked(web, len(web.log) + dice.randint(1, 120), run)
            if run.poll() is not None:
                break
            kinds.append(dice.choice(["worker", "run", "database", "power"]))
            if strike(kinds[-1], run, program.data, dice):
                run.communicate()
                run = program.start(*command)
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, f"{kinds}\n{out}\n{err}"
        pages = program.pages(domain(next(iter(sites))))
        log = list(web.log)

    wanted = {(host, path) for host in sites for path in ("/", *(f"/{i}" for i in range(EACH)))}
    asked = Counter((one.host, one.path) for one in log if one.path != "/robots.txt")
    assert set(asked) == wanted
    assert hurried(log, DELAY, domain) == []
    assert {page["outcome"] for page in pages.values()} == {"ok"}
    assert len(pages) == len(wanted)
    # A turn of a second holds at most some ten pages, and each kill cuts off at most one of each domain.
    assert sum(asked.values()) - len(wanted) <= len(kinds) * DOMAINS * 11
