"""Robots.txt as servers really serve it, asked for over real sockets, and what is remembered of it."""

import asyncio
import contextlib
import gzip
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crawler.adapters.domains import Domains
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.asking import Asked, RobotsAsker
from crawler.core.model import Outcome
from crawler.core.robots import DENY_ALL, Rules
from crawler.core.robots_lines import MAX_ROBOTS_BYTES
from crawler.core.robots_record import MAX_REDIRECTS, RobotsRecord, effective
from crawler.core.urls import domain_id
from crawler.leases import Lease, boottime
from crawler.pacing import Slot
from crawler.rules import RulesBook
from tests.adapters.browsing import SILENT, STALLED, browser, trickle
from tests.adapters.servers import LOOPBACK, Reply, Site, Visitor, response

US = "faircrawl"
ELSEWHERE = "127.0.0.2"
"""Another domain, as every address is one."""
RULES = b"User-agent: *\nDisallow: /x\n"
PATH = "/robots.txt"


@dataclass
class Asking:
    """Somebody who may ask."""

    asker: RobotsAsker
    rules: RulesBook
    frontier: Frontier

    async def ask(self, origin: str, *, pause: float = 0.0) -> Asked:
        """What came of asking, in the end: where it redirects to may be busy, with others who ask there."""
        while (asked := await self.try_once(origin, pause=pause)) is None:
            pass
        return asked

    async def try_once(self, origin: str, *, pause: float = 0.0) -> Asked | None:
        """What came of asking; None: it was not to be."""
        slot = Slot(0, None, delay=lambda: pause, stopped=asyncio.Event())
        lease = Lease(0, 0, boottime() + 60, lambda: None)
        until = time.monotonic() + 60
        return await self.asker.ask(origin, slot, until=until, user_agent="faircrawl/1", lease=lease)

    async def records(
        self, served: Mapping[str, Reply | dict[str, Reply]], old: RobotsRecord | None = None
    ) -> dict[str, RobotsRecord]:
        """What is remembered of a site for each of these, all asked at once."""

        async def one(reply: Reply | dict[str, Reply]) -> RobotsRecord:
            async with Site(reply) as site:
                return await self.record(site, old)

        async with asyncio.TaskGroup() as tasks:
            asking = {name: tasks.create_task(one(reply)) for name, reply in served.items()}
        return {name: task.result() for name, task in asking.items()}

    async def record(self, site: Site, old: RobotsRecord | None = None) -> RobotsRecord:
        """What is remembered of the site after asking."""
        origin = site.url("").rstrip("/")
        return (await self.ask(origin)).record(origin, old, datetime.now(UTC))


@contextlib.asynccontextmanager
async def able(database: Database, seconds: float) -> AsyncIterator[Asking]:
    """Somebody who asks, for so many seconds."""
    async with browser() as web:
        rules, frontier = RulesBook(database), Frontier(database)
        asker = RobotsAsker(web, frontier, rules, "worker", 0.0, timeout=seconds, patience=0.3)
        yield Asking(asker, rules, frontier)


@pytest.fixture
async def asking(database: Database) -> AsyncIterator[Asking]:
    """Somebody who has time."""
    async with able(database, 20) as asking:
        yield asking


@pytest.fixture
async def hasty(database: Database) -> AsyncIterator[Asking]:
    """Somebody who has none."""
    async with able(database, 0.4) as asking:
        yield asking


def rules_of(record: RobotsRecord) -> Rules:
    """The rules in force for us."""
    return effective(record, datetime.now(UTC), US).rules


def verdict(record: RobotsRecord) -> tuple[bool, bool]:
    """Whether /x is allowed, and /y."""
    rules = rules_of(record)
    return rules.allows("/x"), rules.allows("/y")


def good(body: bytes = RULES) -> RobotsRecord:
    """A good copy of just now."""
    return RobotsRecord("x", 200, body, datetime.now(UTC), datetime.now(UTC))


def moved(to: str, status: str = "301 Moved") -> bytes:
    """A redirect."""
    return response(b"", status=status, headers=[f"Location: {to}"])


def chain(length: int) -> dict[str, Reply]:
    """So many redirects, and then rules."""
    steps = [PATH, *(f"/{n}" for n in range(1, length)), "/rules"]
    return {**{a: moved(b) for a, b in itertools.pairwise(steps)}, "/rules": response(RULES)}


def closing(reply: bytes) -> Callable[[Visitor], Awaitable[bool]]:
    """A reply, and the end of the connection."""

    async def say(visitor: Visitor) -> bool:
        await visitor.say(reply)
        return False

    return say


async def endless(visitor: Visitor) -> bool:
    """Rules, and then comments for ever."""
    await visitor.say(response(RULES, length=None, headers=["Connection: close"]))
    with contextlib.suppress(ConnectionError):
        while not visitor.writer.transport.is_closing():
            await visitor.say(b"# and so on\n" * 5000)
    return False


HTML = response(
    b"<!doctype html><title>Not here</title><p>User-agent: *<br>Disallow: /x", content_type="text/html"
)
ZIPPED = ["Content-Encoding: gzip"]
OBEYED: dict[str, Reply | dict[str, Reply]] = {
    "plain": response(RULES, content_type="text/plain"),
    "wrong type": response(RULES, content_type="image/png"),
    "no type": response(RULES, content_type=None),
    "until closed": closing(response(RULES, length=None, headers=["Connection: close"])),
    "endless": endless,
    "201": response(RULES, status="201 Created"),
    "206": response(RULES, status="206 Partial Content"),
    "gzip": response(gzip.compress(RULES), headers=ZIPPED),
    "byte order mark": response(b"\xef\xbb\xbf" + RULES),
    "utf-16": response(RULES.decode().encode("utf-16")),
    "crlf": response(RULES.replace(b"\n", b"\r\n")),
    "cr": response(RULES.replace(b"\n", b"\r")),
    "rubbish around": response(b"\0\xff\x01<>\n" + RULES + b"\xfe\xfe\n:\n"),
    "over the cap": response(RULES + b"#" * MAX_ROBOTS_BYTES + b"\nDisallow: /\n"),
    "gzip bomb": response(gzip.compress(RULES + b"#" * 20_000_000), headers=ZIPPED),
    "redirect": {PATH: moved("/r.txt"), "/r.txt": response(RULES)},
    "redirect 307": {PATH: moved("r.txt", "307 Temporary Redirect"), "/r.txt": response(RULES)},
    "five redirects": chain(MAX_REDIRECTS),
}


async def test_obeyed(asking: Asking) -> None:
    """However rules are served, they are obeyed, and for a day; of more than 500 KiB those 500 KiB count."""
    records = await asking.records(OBEYED)

    assert {name: verdict(record) for name, record in records.items()} == dict.fromkeys(OBEYED, (False, True))
    assert {record.failures for record in records.values()} == {0}
    assert max(len(record.body or b"") for record in records.values()) <= MAX_ROBOTS_BYTES


ABSENT: dict[str, Reply | dict[str, Reply]] = {
    "no content": response(b"", status="204 No Content", length=None),
    "empty": response(b""),
    "a page": HTML,
    **{code: response(HTML, status=f"{code} X") for code in ("400", "401", "403", "404", "410", "451")},
    "six redirects": chain(MAX_REDIRECTS + 1),
    "loop": {PATH: moved("/r.txt"), "/r.txt": moved(PATH)},
    "to itself": {PATH: moved(PATH)},
    "to ftp": moved("ftp://127.0.0.1/robots.txt"),
    "to no URL": moved("http://[x"),
    "to a file": moved("file:///etc/passwd"),
}


async def test_absent(asking: Asking) -> None:
    """Where there are no rules, also no longer, nothing is disallowed (RFC 9309 section 2.3.1.3, 2.3.1.2)."""
    records = await asking.records(ABSENT, good(b"User-agent: *\nDisallow: /"))

    assert {name: verdict(record) for name, record in records.items()} == dict.fromkeys(ABSENT, (True, True))
    assert {(len(rules_of(record)), record.failures) for record in records.values()} == {(0, 0)}


UNREACHABLE: dict[str, Reply | dict[str, Reply]] = {
    **{
        code: response(RULES, status=f"{code} X")
        for code in ("300", "302", "429", "500", "503", "599", "999")
    },
    "silent": SILENT,
    "stalled": STALLED,
    "trickling": trickle(response(RULES, length=100_000), b"#", 0.02),
    "garbage": b"\x16\x03\x01 what is this\r\n\r\n",
    "closed early": closing(response(RULES, length=5000)),
    "dropped": closing(b""),
    "no gzip": response(RULES, headers=ZIPPED),
    "gzip cut short": response(gzip.compress(RULES)[:-9], headers=ZIPPED),
    "to a private address": moved("http://10.0.0.1/robots.txt"),
    "to the metadata address": moved("http://169.254.169.254/robots.txt"),
    "to a bad port": moved("http://127.0.0.1:25/robots.txt"),
}


async def test_unreachable(hasty: Asking) -> None:
    """Rules that cannot be had disallow everything, and leave a good copy in force; within the deadline of robots.txt."""
    began = time.monotonic()
    bare, kept = await hasty.records(UNREACHABLE), await hasty.records(UNREACHABLE, good())
    took = time.monotonic() - began

    assert {name for name, record in bare.items() if rules_of(record) is not DENY_ALL} == set()
    assert {name: verdict(record) for name, record in kept.items()} == dict.fromkeys(
        UNREACHABLE, (False, True)
    )
    assert {record.failures for record in (*bare.values(), *kept.values())} == {1}
    assert took < 10


async def test_not_modified_unasked(asking: Asking) -> None:
    """A 304 that nobody asked for confirms the copy there is, and makes up none."""
    async with Site(response(b"", status="304 Not Modified", length=None)) as site:
        bare, kept = await asking.record(site), await asking.record(site, good())

    assert rules_of(bare) is DENY_ALL
    assert (kept.body, kept.failures) == (RULES, 0)


async def test_redirects_wait_for_the_pause(asking: Asking) -> None:
    """Each hop within the domain waits out the pause, as a page would."""
    times: list[float] = []

    def noted(reply: bytes) -> Callable[[Visitor], Awaitable[None]]:
        async def answer(visitor: Visitor) -> None:
            times.append(time.monotonic())
            await visitor.say(reply)

        return answer

    async with Site({PATH: noted(moved("/r")), "/r": noted(response(RULES))}) as site:
        await asking.ask(site.url("").rstrip("/"), pause=0.2)

    assert times[1] - times[0] >= 0.2


async def test_credentials_in_a_redirect(asking: Asking) -> None:
    """A redirect that names a user is followed without them."""
    async with Site({"/r": response(RULES)}) as site:
        site.replies = {PATH: moved(f"http://user:secret@{LOOPBACK}:{site.port}/r"), "/r": response(RULES)}
        record = await asking.record(site)

    assert not rules_of(record).allows("/x")
    assert b"authorization" not in site.requests[1].lower()


async def test_another_domain(asking: Asking) -> None:
    """A robots.txt on another domain is fetched while that is held: it has no other visitor, and rests afterwards."""
    held: list[Any] = []

    async def look(visitor: Visitor) -> None:
        held.append(await asking.frontier.claim(domain_id(ELSEWHERE), ELSEWHERE, "other", 30))
        await visitor.say(response(RULES))

    async with Site(look, address=ELSEWHERE) as there, Site(moved(there.url("/r"))) as site:
        record = await asking.record(site)
        after = await asking.frontier.claim(domain_id(ELSEWHERE), ELSEWHERE, "other", 30)

    assert not rules_of(record).allows("/x")
    assert held == [None]
    assert after is None


async def test_another_domain_that_is_busy(asking: Asking) -> None:
    """While the other domain is held by somebody else it is not asked; that is no fault of the site: the turn ends, and asks again."""
    async with Site(response(RULES), address=ELSEWHERE) as there, Site(moved(there.url("/r"))) as site:
        await asking.frontier.claim(domain_id(ELSEWHERE), ELSEWHERE, "other", 30)
        asked = await asking.try_once(site.url("").rstrip("/"))

    assert (asked, there.requests) == (None, [])


async def test_another_domain_that_is_being_visited(asking: Asking) -> None:
    """Whoever waits for another domain takes the rules that its visitor learns meanwhile."""
    async with Site(response(RULES), address=ELSEWHERE) as there, Site(moved(there.url(PATH))) as site:
        origin, now = there.url("").rstrip("/"), datetime.now(UTC)
        await asking.frontier.claim(domain_id(ELSEWHERE), ELSEWHERE, "other", 30)
        ask = asyncio.create_task(asking.record(site))
        await site.asked.wait()
        known = RobotsRecord(origin, 200, RULES, now, now, now + timedelta(days=1))
        await asking.rules.store(domain_id(ELSEWHERE), ELSEWHERE, known, token=US)
        record = await ask

    assert (record.body, record.failures, there.requests) == (RULES, 0, [])


async def test_another_domain_that_is_blocked(asking: Asking, database: Database) -> None:
    """A domain that was blocked by hand is not asked for the rules of another one either."""
    await Domains(database).block([ELSEWHERE], "asked to")
    async with Site(response(RULES), address=ELSEWHERE) as there, Site(moved(there.url("/r"))) as site:
        record = await asking.record(site)

    assert (rules_of(record), there.requests) == (DENY_ALL, [])
    assert "is blocked" in record.detail


async def test_another_origin_that_is_known(asking: Asking) -> None:
    """A redirect to the robots.txt of an origin that somebody has asked lately, be it another worker, asks nobody."""
    now = datetime.now(UTC)
    async with Site(response(RULES), address=ELSEWHERE) as there, Site(moved(there.url(PATH))) as site:
        origin = there.url("").rstrip("/")
        known = RobotsRecord(origin, 200, RULES, now, now, now.replace(year=now.year + 1))
        await asking.rules.store(domain_id(ELSEWHERE), ELSEWHERE, known, token=US)
        asking.rules.clear()
        await asking.frontier.claim(domain_id(ELSEWHERE), ELSEWHERE, "other", 30)
        record = await asking.record(site)

    assert record == replace(known, origin=site.url("").rstrip("/"))
    assert there.requests == []


async def test_a_redirect_that_leads_nowhere_says_so(asking: Asking) -> None:
    """What a person reads names the reason, not the last status."""
    async with Site(moved("ftp://127.0.0.1/")) as nowhere, Site(moved(PATH)) as round_and_round:
        details = [(await asking.record(site)).detail for site in (nowhere, round_and_round)]

    assert details == ["redirects to what cannot be fetched", "redirected too often"]


async def test_nobody_there(asking: Asking) -> None:
    """A closed port is told as such."""
    async with Site(response(RULES)) as site:
        origin = site.url("").rstrip("/")
    asked = await asking.ask(origin)

    assert asked.answer.outcome is Outcome.CONNECT_ERROR
