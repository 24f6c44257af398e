"""Many machines on one: a web, a database, a queue, and workers that are programs of their own; and what the web saw of them.

    the web (this process: its log is the judge) ◄── workers (killed, frozen, told to stop) ──► PostgreSQL, RabbitMQ

1. Every worker calls itself by a name of its own, so the web's log tells who asked.
2. What a worker's death may cost is taken down when it dies: the requests of the turns that it held. `tests.system.judge` counts them.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from crawler.adapters.postgres import Database
from crawler.demo.language import Reply, Site, page, robots, silence
from crawler.demo.server import Web
from crawler.ports import Queue
from crawler.queues import opened_queue
from crawler.settings import load
from tests.forking import crawled
from tests.making import rows

ROOT: Final = Path(__file__).parents[2]
SCALE: Final = max(1.0, float(os.environ.get("CRAWL_TEST_SCALE", "1")))
PATIENCE: Final = 90.0 * SCALE
"""Seconds for what certainly happens, on a busy machine."""
LOOK_AGAIN: Final = 0.01
"""Seconds between looks at what tells nobody: a process, a log, a table."""

DELAY: Final = 0.05
LEASE: Final = 4.0
"""Of work and of the queue: the shortest there is."""
SHORT: Final = {
    "DELAY": f"{DELAY}s",
    "WORK_LEASE": f"{LEASE}s",
    "QUEUE_LEASE": f"{LEASE}s",
    "TURN_SECONDS": "1s",
    "TOTAL_TIMEOUT": "3s",
    "CONNECT_TIMEOUT": "3s",
    "TLS_TIMEOUT": "3s",
    "FIRST_BYTE_TIMEOUT": "3s",
    "READ_TIMEOUT": "3s",
    "DNS_TIMEOUT": "3s",
    "DOMAINS_AT_ONCE": "30",
    "ALLOW_NETS": "127.0.0.0/8",
}


def wide_web(domains: int, pages: int, word: str = "site") -> dict[str, Site]:
    """Sites of so many pages that lead to one another and to other sites: all of them are found from the first."""
    domains = round(domains * SCALE)
    names = [f"{word}{number}.test" for number in range(domains)]

    def at(number: int, path: int) -> str:
        return f"http://{names[number % domains]}:PORT/{path or ''}"

    def links_of(number: int, path: int) -> list[str]:
        inside = [f"/{further}" for further in (2 * path + 1, 2 * path + 2) if further < pages]
        on = [2 * number + 1, 2 * number + 2] if path == 0 else []
        return [*inside, *(at(to, 0) for to in on if to < domains), at(number * 7 + path * 13 + 1, path)]

    return {
        name: {
            "/robots.txt": robots("/private/"),
            **{f"/{path or ''}": page(f"{name} {path}", *links_of(number, path)) for path in range(pages)},
        }
        for number, name in enumerate(names)
    }


class Surprise:
    """A page that keeps the line open the first time it is asked for, and says so."""

    def __init__(self, then: Reply) -> None:
        self._then = then
        self.asked = False

    def __call__(self, _path: str) -> Reply:
        """Silence, and ever after the page."""
        reply = self._then if self.asked else silence()
        self.asked = True
        return reply


async def until(
    fact: Callable[[], object | Awaitable[object]], what: str, patience: float = PATIENCE
) -> None:
    """Return when that is so; what is waited for here sets no event."""
    deadline = time.monotonic() + patience
    while True:
        found = fact()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, f"{what}: not within {patience:.0f} s"
        await asyncio.sleep(LOOK_AGAIN)


@dataclass(slots=True, eq=False)
class Machine:
    """A worker in a process of its own."""

    name: str
    process: "subprocess.Popen[bytes]"
    output: Path

    @property
    def pid(self) -> int:
        """Its number, which is part of the name it has in the database."""
        return self.process.pid

    @property
    def mark(self) -> str:
        """What the user agent of its requests has in it."""
        return f"mailto:{self.name}@"

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return self.output.read_text("utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal, should it live."""
        self.process.send_signal(number)

    def heeds(self, number: int) -> bool:
        """Whether that signal would be heard: a program that has only just begun would die of it."""
        if self.process.poll() is not None:
            return True
        status = (Path("/proc") / str(self.pid) / "status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)

    async def stands_still(self) -> None:
        """Return when it was stopped by a signal."""

        def is_stopped() -> bool:
            assert self.process.poll() is None, f"{self.name} has ended:\n{self.said}"
            return (Path("/proc") / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"

        await until(is_stopped, f"{self.name} stands still")

    async def ended(self, patience: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""
        await until(lambda: self.process.poll() is not None, f"the end of {self.name}", patience)
        return int(self.process.returncode)


@dataclass(frozen=True, slots=True)
class Cut:
    """A turn that was cut off: the requests that this machine made for it may be made again."""

    machine: Machine
    domain: str
    since: float
    """The last release of the domain, by `time.monotonic`, as below."""
    until: float
    anywhere: bool = False
    """The machine was frozen at no step of ours: of all its turns, one may have been just about to send a request."""


@dataclass(slots=True, eq=False)
class Machines:
    """The workers on one database and one queue, and the web they crawl."""

    web: Web
    dsn: str
    folder: Path
    database: Database
    amqp: tuple[str, str] | None
    """RabbitMQ and the prefix of the queues; None: PostgreSQL carries the turns."""
    settings: Mapping[str, str]
    alive: list[Machine] = field(default_factory=list)
    dead: list[Machine] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    crawls: dict[str, int] = field(default_factory=dict)

    # --- programs

    def environment(self, **settings: str) -> dict[str, str]:
        """Nothing of this machine's own CRAWL_ settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        ours = {
            **SHORT, "DATABASE_URL": self.dsn, "HOSTS_FILE": str(self.folder / "hosts"),
            "CONTACT": "mailto:nobody@machines.test", **self.settings, **settings,
        }  # fmt: skip
        if self.amqp is not None:
            url, prefix = self.amqp
            ours = {"AMQP_URL": url, "AMQP_PREFIX": prefix, **ours}
        return own | {f"CRAWL_{name}": value for name, value in ours.items()}

    def start(self, *, amqp: str | None = None, **settings: str) -> Machine:
        """Start a worker; *amqp*: the way to the broker that it takes."""
        way = {} if amqp is None else {"AMQP_URL": amqp}
        return self._spawn("worker", "crawler", "--debug", "worker", **way, **settings)

    def victim(self, step: str, nth: int) -> Machine:
        """Start a worker that stands still the *nth* time that it comes to *step* (tests/system/victim.py)."""
        return self._spawn(step, "tests.system.victim", step, str(nth))

    async def command(self, *arguments: str, status: int = 0) -> str:
        """Run another command to its end: what it printed."""
        done = await crawled(*arguments, env=self.environment())
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{out}\n{err}"
        return out

    async def here(self, *machines: Machine) -> None:
        """Return when they have signed in."""
        pids = [machine.pid for machine in machines]
        sql = "select count(*) from workers where pid = any($1::int[])"

        async def signed_in() -> bool:
            assert not [machine.said for machine in machines if machine.process.poll() is not None]
            return bool(await self.database.ask(sql, pids) == len(pids))

        await until(signed_in, f"{[machine.name for machine in machines]} signed in")

    async def kill(self, machine: Machine) -> None:
        """SIGKILL."""
        machine.signal(signal.SIGSTOP)
        await self.bury(machine)

    async def bury(self, machine: Machine) -> None:
        """Wait until a machine stands still, take down what it holds, and kill it: not one more step is done.

        Dead first, others might take over what it held before we have looked.
        """
        await machine.stands_still()
        await self.held_are_cut(machine)
        machine.signal(signal.SIGKILL)
        status = await machine.ended()
        assert status == -signal.SIGKILL
        self.alive.remove(machine)
        self.dead.append(machine)

    async def held_are_cut(self, machine: Machine, *, anywhere: bool = False) -> list[str]:
        """What a machine holds now is cut off: the domains."""
        held = await rows(
            self.database,
            "select name, extract(epoch from visited_at)::float8 as visited from domains where holder like $1",
            f"%-{machine.pid}-%",
        )
        now = time.monotonic()
        epoch = time.time() - now
        self.cuts += [
            Cut(machine, row["name"], (row["visited"] or 0.0) - epoch, now, anywhere) for row in held
        ]
        return [row["name"] for row in held]

    async def holder(self, name: str) -> Machine:
        """Who visits that domain now."""
        holder = str(await self.database.ask("select holder from domains where name = $1", name))
        (machine,) = (one for one in self.alive if f"-{one.pid}-" in holder)
        return machine

    async def dismiss(self, *some: Machine) -> None:
        """SIGTERM to these, or to all: they end well, and say nothing of a fault of ours."""
        leaving = some or (*self.alive,)
        for machine in leaving:
            await until(partial(machine.heeds, signal.SIGTERM), f"{machine.name} has begun")
            machine.signal(signal.SIGTERM)
        for machine in leaving:
            status = await machine.ended()
            assert status == 0, f"{machine.name} ended with {status}:\n{machine.said}"
            self.alive.remove(machine)
            self.dead.append(machine)
        for machine in self.dead:
            assert "Traceback" not in machine.said, f"{machine.name}:\n{machine.said}"

    # --- crawls

    async def seed(self, name: str, urls: Iterable[str], *options: str) -> None:
        """Make a crawl of whatever is found from these URLs, or add them to it."""
        file = self.folder / "seeds"
        file.write_text("".join(f"{url}\n" for url in urls))
        await self.command("seed", name, "--file", str(file), "--scope", "any", "--no-sitemaps", *options)
        self.crawls[name] = await self.database.ask("select crawl_id from crawls where name = $1", name)

    async def pages(self, name: str) -> int:
        """How many pages are stored."""
        sql = "select count(*) from pages where crawl_id = $1 and outcome = 'ok'"
        return int(await self.database.ask(sql, self.crawls[name]))

    async def open(self, name: str) -> int:
        """How many URLs have no final outcome yet."""
        sql = "select count(*) from urls where crawl_id = $1 and open"
        return int(await self.database.ask(sql, self.crawls[name]))

    async def until_pages(self, name: str, number: int, what: str) -> None:
        """Return when so many pages are stored."""

        async def stored() -> bool:
            return await self.pages(name) >= number

        await until(stored, f"{what}: {number} pages")

    async def until_done(self, name: str, what: str, patience: float = PATIENCE) -> None:
        """Return when every URL has a final outcome."""

        async def done() -> bool:
            return await self.open(name) == 0

        await until(done, f"{what}: every URL has an outcome", patience)

    def queue(self) -> AbstractAsyncContextManager[Queue]:
        """The queue that carries the turns."""
        return opened_queue(load(overrides={}, environ=self.environment()).settings, self.database)

    def _spawn(self, name: str, *words: str, **settings: str) -> Machine:
        number = len(self.alive) + len(self.dead)
        settings = {"CONTACT": f"mailto:{name}{number}@machines.test", **settings}
        output = self.folder / f"{name}{number}.log"
        # Whoever kills us with SIGKILL kills it too, where util-linux can see to that.
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with output.open("wb") as said:
            process = subprocess.Popen(
                [*leash, sys.executable, "-m", *words], env=self.environment(**settings), cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        machine = Machine(f"{name}{number}", process, output)
        self.alive.append(machine)
        return machine


@contextlib.asynccontextmanager
async def machines(
    web: Web, dsn: str, folder: Path, amqp: tuple[str, str] | None, **settings: str
) -> AsyncIterator[Machines]:
    """No workers yet; those that are left at the end are killed."""
    web.hosts_file(folder)
    async with await Database.open(dsn, size=2) as database:
        hall = Machines(web, dsn, folder, database, amqp, settings)
        try:
            yield hall
        finally:
            for machine in hall.alive:
                machine.process.kill()
                machine.process.wait()
