"""Wishes for URLs, as the tables have them: what comes first, who may take what, and what is told at once."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from crawler.adapters.crawls import Crawls
from crawler.adapters.domains import Domains
from crawler.adapters.frontier import Frontier
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.adapters.urgent import Urgent
from crawler.core.agenda import is_wished
from crawler.core.model import Outcome
from crawler.core.turns import VERSION, Turn, TurnUrl
from crawler.core.urls import domain_id, domain_of, url_hash
from crawler.crawlbook import CrawlBook
from crawler.presence import Presence
from crawler.rules import RulesBook
from crawler.urgent_turns import UrgentTurns
from crawler.url_wishes import UrlWishes
from crawler.watching import DomainWatch
from crawler.wish_answers import Answered, Change, Refused, Result, Waits, Why, answered
from tests.making import Frontiers, release, until, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from crawler.refreshing import RobotsRefresh
    from crawler.visit import TurnVisit

NAME = "one.test"
ONE = f"http://{NAME}/1"
TWO = f"http://{NAME}/2"
NUMBER = domain_id(NAME)


def key(url: str) -> tuple[int, bytes]:
    """What a URL is known by."""
    return domain_id(domain_of(url)), url_hash(url)


class Desk:
    """Where wishes are made."""

    def __init__(self, database: Database) -> None:
        self.heart = Frontiers(database)
        self.database = database
        self.urgent = Urgent(database)
        self.queue = PostgresQueue(database)
        self.turns = UrgentTurns(Frontier(database), self.urgent)

    async def visited(self, *urls: str, **limits: Any) -> int:
        """A crawl that has visited these URLs of one domain, which is free."""
        crawl_id = await self.heart.crawl(*urls, **limits)
        turn, items = await self.heart.hold(NAME)
        await self.heart.record([visit(item) for item in items], [release(NAME, turn)])
        return crawl_id

    async def refresh(self, *urls: str, wait: float = 0.0, crawl: str | None = None) -> list[Result]:
        """Wish."""
        return await UrlWishes(self.database, self.queue, "postgres", None).refresh(
            urls, crawl=crawl, wait=wait
        )

    async def why(self, url: str, **more: Any) -> Why:
        """Why a URL is not visited."""
        (one,) = await self.refresh(url, **more)
        assert isinstance(one, Refused | Waits)
        return one.why


@pytest.fixture
async def desk(database: Database) -> Desk:
    """On an empty database."""
    return Desk(database)


async def test_comes_first(desk: Desk) -> None:
    """A wished URL is the first of its domain's next turn, however long others have been due, and its failures are forgotten."""
    crawl_id = await desk.heart.crawl(ONE, TWO)
    await desk.database.script("update urls set due_at = now() - interval '1 year', attempts = 3")
    wished = await desk.urgent.wish(crawl_id, [key(TWO)])
    taken = await desk.heart.take()

    assert wished == [(NUMBER, crawl_id, url_hash(TWO))]
    assert [(item.url, is_wished(item), item.attempts) for item in taken[NAME][1]] == [
        (TWO, True, 0),
        (ONE, False, 3),
    ]


async def test_in_flight(desk: Desk) -> None:
    """A visit that was under way when the URL was wished settles nothing: it is visited again, and then it is done."""
    crawl_id = await desk.heart.crawl(ONE)
    turn, (item,) = await desk.heart.hold(NAME)
    await desk.urgent.wish(crawl_id, [key(ONE)])
    await desk.heart.record([visit(item)], [release(NAME, turn)])
    left = await desk.urgent.left([(NUMBER, crawl_id, url_hash(ONE))])
    turn, (again,) = await desk.heart.hold(NAME)
    await desk.heart.record([visit(again)], [release(NAME, turn)])
    row = await desk.heart.url(ONE)

    assert len(left) == 1
    assert (is_wished(again), row["due_at"]) == (True, None)


async def test_wished_again_in_flight(desk: Desk) -> None:
    """A visit that was made for a wish does not fulfil a later one: each wish has a time of its own."""
    crawl_id = await desk.heart.crawl(ONE)
    await desk.urgent.wish(crawl_id, [key(ONE)])
    turn, (first,) = await desk.heart.hold(NAME)
    await desk.urgent.wish(crawl_id, [key(ONE)])
    await desk.heart.record([visit(first)], [release(NAME, turn)])
    left = await desk.urgent.left([(NUMBER, crawl_id, url_hash(ONE))])
    turn, (second,) = await desk.heart.hold(NAME)
    await desk.heart.record([visit(first), visit(second)], [release(NAME, turn)])
    row = await desk.heart.url(ONE)

    assert len(left) == 1
    assert is_wished(first)
    assert is_wished(second)
    assert first.due_at < second.due_at
    assert row["due_at"] is None


async def test_whose_turn(desk: Desk) -> None:
    """A domain is taken for an urgent turn when it is free or merely queued, once; held or resting it is not."""
    crawl_id = await desk.visited(ONE, TWO)
    await desk.urgent.wish(crawl_id, [key(ONE)])
    free = await desk.turns.take(NUMBER)
    again = await desk.turns.take(NUMBER)
    assert free is not None
    accepted = await desk.heart.accept(NAME, free.turn)
    assert accepted is not None
    held = await desk.turns.take(NUMBER)
    await desk.heart.record([], [release(NAME, accepted.turn, owed=60.0)])
    resting = await desk.turns.take(NUMBER)
    await desk.database.script("update domains set ready_at = now()")
    (turn, _) = (await desk.heart.take())[NAME]
    queued = await desk.turns.take(NUMBER)
    assert queued is not None
    stale = await desk.heart.accept(NAME, turn)

    assert [item.url for item in free.urls] == [item.url for item in queued.urls] == [ONE]
    assert (again, held, resting, stale) == (None, None, None, None)
    assert (await desk.heart.accept(NAME, queued.turn)) is not None


async def test_nothing_wished(desk: Desk) -> None:
    """A domain of which nothing is wished any more is given back at once."""
    await desk.visited(ONE)
    turn = await desk.turns.take(NUMBER)
    row = await desk.heart.domain(NAME)

    assert (turn, row["holder"]) == (None, None)
    assert row["ready_at"] <= row["now"]


async def test_killed_before_it_was_published(desk: Desk) -> None:
    """Whoever takes a domain and dies before the turn is on the queue has it missed for seconds, not for a queue lease."""
    crawl_id = await desk.visited(ONE, refresh="7d")
    await desk.urgent.wish(crawl_id, [key(ONE)])
    await desk.turns.take(NUMBER)
    row = await desk.heart.domain(NAME)
    await desk.database.script("update domains set ready_at = ready_at - interval '15 s'")
    taken = await desk.heart.take()

    assert (row["ready_at"] - row["now"]).total_seconds() < 16
    assert [item.url for item in taken[NAME][1]] == [ONE]


async def test_a_turn_that_was_lost(desk: Desk) -> None:
    """After a turn that was lost an urgent one has one URL, and one that was lost too often is left to be buried."""
    crawl_id = await desk.visited(ONE, TWO)
    await desk.urgent.wish(crawl_id, [key(ONE), key(TWO)])
    await desk.database.script("update domains set lost = 1")
    turn = await desk.turns.take(NUMBER)
    await desk.database.script("update domains set lost = 6, holder = null, ready_at = now()")

    assert turn is not None
    assert len(turn.urls) == 1
    assert await desk.turns.take(NUMBER) is None


@pytest.mark.parametrize("limits", [{"max_pages": 2}, {"max_pages_per_domain": 2}])
async def test_a_budget_that_is_used_up(desk: Desk, limits: dict[str, int]) -> None:
    """What is stored is refreshed although no more pages may be stored, by any turn; what never was is told at once."""
    crawl_id = await desk.visited(ONE, TWO, **limits)
    await desk.heart.seed(crawl_id, f"http://{NAME}/3")
    never = await desk.why(f"http://{NAME}/3")
    await desk.urgent.wish(crawl_id, [key(ONE)])
    await desk.database.script("update crawls set state = 'running'")
    await desk.database.script("update crawls set pages = 2 where max_pages = 2")
    taken = await desk.heart.take()

    assert never is Why.BUDGET
    assert [item.url for item in taken[NAME][1]] == [ONE]


async def test_finished(desk: Desk) -> None:
    """A finished crawl of whoever works runs again; one of a run counts as left by it, and is finished again when all is done."""
    crawl_id = await desk.visited(ONE)
    crawls = desk.heart.crawls
    states = []
    for attendant in (None, "somebody"):
        await crawls.finish(crawl_id)
        await desk.database.ask("update crawls set attendant = $1", attendant)
        await desk.urgent.wish(crawl_id, [key(ONE)])
        turn = await desk.turns.take(NUMBER)
        crawl = await crawls.by_id(crawl_id)
        assert crawl is not None
        assert turn is not None
        states.append((crawl.state.value, crawl.attendant, len(turn.urls)))
        accepted = await desk.heart.accept(NAME, turn.turn)
        assert accepted is not None
        await desk.heart.record([visit(turn.urls[0])], [release(NAME, accepted.turn)])
    await desk.urgent.done([crawl_id])
    crawl = await crawls.by_id(crawl_id)
    assert crawl is not None

    assert states == [("running", None, 1), ("paused", "left", 1)]
    assert crawl.state == "finished"


async def test_told_at_once(desk: Desk) -> None:
    """What nobody will ask for is told, with why, and is not wished; the others go on."""
    crawl_id = await desk.visited(ONE, TWO)
    crawls = desk.heart.crawls
    told: list[object] = [await desk.why(f"http://{NAME}/nix"), await desk.why(ONE, crawl="other")]
    for outcome in (Outcome.ROBOTS_REFUSED, Outcome.SCOPE_REFUSED):
        await desk.database.ask("update urls set outcome = $1", outcome.value)
        told.append(await desk.why(ONE))
    await desk.database.script("update urls set outcome = 'ok'")
    await crawls.pause(crawl_id)
    told.append(await desk.why(ONE))
    await crawls.cancel(crawl_id)
    told.append(await desk.why(ONE))
    await crawls.resume(crawl_id)
    domains = Domains(desk.database)
    await domains.block([NAME], "asked to")
    told.append(await desk.why(ONE))
    await domains.unblock(NAME)
    await desk.heart.crawl(ONE, name="other")
    told.append(await desk.why(ONE))
    unwished = await desk.database.ask("select count(*) from urls where due_at < '1971-01-01'")
    both = await desk.refresh(ONE, TWO, f"http://{NAME}/nix", crawl="test")

    assert told == [
        Why.UNKNOWN, Why.UNKNOWN, Why.ROBOTS, Why.SCOPE, Why.PAUSED, Why.CANCELLED, Why.BLOCKED, Why.SEVERAL,
    ]  # fmt: skip
    assert unwished == 0
    assert [one.why for one in both if not isinstance(one, Answered)] == [
        Why.NOT_WAITED,
        Why.NOT_WAITED,
        Why.UNKNOWN,
    ]


async def test_backing_off(desk: Desk) -> None:
    """A domain that wants to be left alone is not waited for: when it may be visited is told at once, and the wish stays."""
    crawl_id = await desk.visited(ONE)
    worker = Presence(desk.database, slots=5, queue="postgres", same_machine=True)
    await worker.sign_in()
    await desk.database.script(
        "update domains set ready_at = now() + interval '1 hour', waits_for = 'status 429'"
    )
    began = time.monotonic()
    (one,) = await desk.refresh(ONE, wait=30.0)
    took = time.monotonic() - began
    assert isinstance(one, Waits)

    assert (one.why, one.detail, took < 5) == (Why.RESTS, "status 429", True)
    assert 3500 < (one.ready_in or 0) <= 3600
    assert await desk.urgent.left([(NUMBER, crawl_id, url_hash(ONE))])


async def test_nobody_at_work(desk: Desk) -> None:
    """Where nobody is at work that is told at once, and the wish stays for who comes."""
    crawl_id = await desk.visited(ONE)

    assert await desk.why(ONE, wait=30.0) is Why.NOBODY
    assert await desk.urgent.left([(NUMBER, crawl_id, url_hash(ONE))])


class _Ending:
    """A turn during whose hastening another one ends."""

    def __init__(self, domain_id: int, others: dict[int, object]) -> None:
        self.turn = Turn(VERSION, domain_id, NAME, 1, [])
        self._others = others
        self.hastened: list[str] = []

    def heed(self, _by_hand: object) -> None:
        """Nothing has changed."""

    async def hasten(self, urls: list[TurnUrl]) -> None:
        """Take note of it."""
        self._others.pop(0)
        self.hastened += [url.url for url in urls]


async def test_turns_that_end_meanwhile(desk: Desk) -> None:
    """A worker that is told of a wish passes it on to the turn it has there, whatever becomes of its other turns meanwhile."""
    crawl_id = await desk.visited(ONE)
    visits: dict[int, object] = {}
    visit_ = _Ending(NUMBER, visits)
    visits |= {0: _Ending(1, visits), 1: visit_, 2: _Ending(2, visits)}
    crawls, rules = CrawlBook(Crawls(desk.database)), RulesBook(desk.database)
    refresh = cast("RobotsRefresh", None)  # no robots.txt is wished
    values = cast("Callable[[], Collection[TurnVisit]]", visits.values)
    watch = DomainWatch(Domains(desk.database), values, crawls, rules, refresh, desk.urgent)
    keeping = asyncio.create_task(watch.keep())
    await desk.urgent.wish(crawl_id, [key(ONE)])
    watch.changed(str(NUMBER))

    async def hastened() -> bool:
        return bool(visit_.hastened) or keeping.done()

    await until(hastened)
    keeping.cancel()
    await asyncio.wait([keeping])

    assert (keeping.cancelled(), visit_.hastened) == (True, [ONE])


KEPT = {"digest": b"1", "text_digest": b"t", "changed_at": None, "at": 1}


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, {"outcome": "not_modified", "status": 304}, Change.NONE),
        ({}, {"outcome": "ok", "digest": b"2"}, Change.BYTES),
        ({}, {"outcome": "ok", "digest": b"2", "text_digest": b"u"}, Change.TEXT),
        ({"text_digest": None}, {"outcome": "ok", "digest": b"2", "text_digest": None}, Change.TEXT),
        ({"digest": None}, {"outcome": "ok"}, Change.NEW),
        ({}, {"outcome": "gone", "digest": None}, None),
    ],
)
def test_what_changed(before: dict[str, Any], after: dict[str, Any], change: Change | None) -> None:
    """What came of it is told by what was kept before: the same, other bytes, another text, or nothing that can be compared."""
    found = {
        "detail": "",
        "bytes": 3,
        "status": 200,
        "title": None,
        "redirect_to": None,
        "due_at": None,
        "now": 0,
    }
    one = answered(ONE, "test", KEPT | before, KEPT | found | {"at": 2} | after, 1.0)

    assert (one.change, one.next_at, one.bytes) == (change, None, 3)


def test_nothing_asked() -> None:
    """What was refused in its turn has no status and no bytes, though an earlier visit had some."""
    found = {
        "detail": "line 1",
        "bytes": 3,
        "status": 200,
        "title": None,
        "redirect_to": None,
        "due_at": None,
        "now": 0,
    }
    one = answered(ONE, "test", KEPT, KEPT | found | {"outcome": "robots_refused"}, 1.0)

    assert (one.outcome, one.status, one.bytes, one.change) == ("robots_refused", None, 0, None)
