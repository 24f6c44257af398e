"""The invariants of the frontier, after every step of a random walk: workers that are late, messages lost and doubled.

Time is moved by moving every moment in the database and in the messages; nothing sleeps.
"""

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from crawler.adapters.frontier import LOST_FOR_GOOD, Dispatched
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseBusyError
from crawler.core.model import FoundLink, Outcome, Release, Settlement, Visit
from crawler.core.turns import TurnUrl
from crawler.core.urls import domain_id
from tests.making import QUEUE_LEASE, WORK_LEASE, Frontiers, link, release, row, rows, settled, visit

DOMAINS = [f"{letter}.example" for letter in "abcd"]
URLS = [f"https://{name}/{number}" for name in DOMAINS for number in range(6)]
MAX_PAGES = 14
PER_DOMAIN = 3
I1 = """
select d.name, d.due_at, u.due_at as url_due from urls u join crawls c using (crawl_id) left join domains d using (domain_id)
where c.state = 'running' and u.due_at is not null and (d.due_at is null or d.due_at > u.due_at)
"""
COUNTS = """
select crawl_id, outcome, sum(n)::int as wrong from (
  select crawl_id, coalesce(outcome, '') as outcome, count(*) as n from urls group by 1, 2
  union all select crawl_id, outcome, -urls from crawl_counts) x
group by 1, 2 having sum(n) <> 0
"""
FETCHES = """
select crawl_id, outcome, sum(n)::int as wrong, sum(bytes)::int as wrong_bytes from (
  select crawl_id, outcome, count(*) as n, sum(bytes) as bytes from fetches group by 1, 2
  union all select crawl_id, outcome, -fetches, -bytes from crawl_counts) x
group by 1, 2 having sum(n) <> 0 or sum(bytes) <> 0
"""
DOMAIN_PAGES = """
select domain_id, crawl_id, sum(n)::int as wrong from (
  select domain_id, crawl_id, count(*) filter (where first_at is not null) as n from pages group by 1, 2
  union all select domain_id, crawl_id, -pages from domain_pages) x
group by 1, 2 having sum(n) <> 0
"""
BUDGETS = """
select c.crawl_id from crawls c where c.max_pages is not null and (c.pages > c.max_pages
  or c.pages <> (select count(*) from pages p where p.crawl_id = c.crawl_id and p.first_at is not null))
"""


@dataclass(eq=False)
class Held:
    """A turn that some worker believes to hold."""

    domain: str
    turn: int
    urls: list[TurnUrl]
    until: float
    """By the walk's clock: when the worker would have stopped."""


class Walk:
    """Everything that may happen, in an order that the dice decide."""

    def __init__(self, database: Database, seed: int) -> None:
        self.dice = random.Random(seed)
        self.heart = Frontiers(database)
        self.database = database
        self.now = 0.0
        self.messages: list[tuple[str, int, list[TurnUrl]]] = []
        self.held: list[Held] = []
        self.last: list[tuple[list[Visit], list[Release]]] = []
        self.numbers: dict[int, int] = {}
        self.known: set[str] = set()
        self.limited = self.free = 0

    async def begin(self) -> None:
        """One crawl with limits, one without."""
        self.limited = await self.heart.crawl(*URLS[::6], name="limited", max_pages=MAX_PAGES)
        self.free = await self.heart.crawl(URLS[0], URLS[7], name="free", max_pages_per_domain=PER_DOMAIN)
        self.known |= {*URLS[::6], URLS[0], URLS[7]}

    async def dispatch(self, room: int = 3) -> None:
        """As the dispatcher does it; the message may be lost, doubled, or given back."""
        taken = await self.heart.frontier.dispatch(room, QUEUE_LEASE)
        most = self.dice.choice([1, 2, 5])
        urls = await self.heart.frontier.turn_urls([(t.domain_id, 1 if t.lost else most) for t in taken])
        empty: list[Dispatched] = []
        for t in taken:
            if t.domain_id not in urls:
                empty.append(t)
            elif t.lost > LOST_FOR_GOOD:
                await self.heart.frontier.bury([t], [(t.domain_id, u) for u in urls[t.domain_id]], "deadly")
            else:
                copies = self.dice.choice([0, 1, 1, 1, 1, 2, 3])
                self.messages += [(t.domain, t.turn, urls[t.domain_id])] * copies
        if empty:
            await self.heart.frontier.release_empty(empty)

    async def accept(self) -> None:
        """A message arrives, in any order; the copies of a message that was accepted find nobody."""
        if not self.messages:
            return
        name, turn, urls = self.messages.pop(self.dice.randrange(len(self.messages)))
        if self.dice.random() < 0.1:
            await self.heart.frontier.give_back([(domain_id(name), turn)])
            return
        accepted = await self.heart.accept(name, turn)
        if accepted is not None:
            rivals = [h for h in self.held if h.domain == name and h.until > self.now]

            assert rivals == []
            self.held.append(Held(name, accepted.turn, urls, self.now + WORK_LEASE))

    async def work(self) -> None:
        """A worker, which may be late, records something of a turn, perhaps with a release, perhaps twice."""
        if not self.held:
            return
        held = self.dice.choice(self.held)
        done = self.dice.randrange(len(held.urls) + 1)
        visits = [self._visit(item) for item in held.urls[:done]]
        if visits and self.dice.random() < 0.2:
            visits.append(self._visit(held.urls[0]))
        releases = []
        if self.dice.random() < 0.6:
            releases = [release(held.domain, held.turn, owed=self.dice.choice([0, 0, 1, 20]))]
            self.held.remove(held)
        await self._record(visits, releases)
        if self.dice.random() < 0.3:
            await self._record(visits, releases)
        self.last.append((visits, releases))

    async def repeat(self) -> None:
        """A batch of long ago is recorded again."""
        if self.last:
            await self._record(*self.dice.choice(self.last))

    async def renew(self) -> None:
        """Some worker renews what it holds. Whoever lost a turn is told so."""
        living = [h for h in self.held if h.until > self.now]
        if living:
            renewed = await self.heart.frontier.renew(
                [(domain_id(h.domain), h.turn) for h in living], WORK_LEASE
            )

            assert renewed == {domain_id(h.domain) for h in living}
            for held in living:
                held.until = self.now + WORK_LEASE

    async def crash(self) -> None:
        """A worker is gone, and all it knew."""
        if self.held:
            self.held.remove(self.dice.choice(self.held))

    async def seed(self) -> None:
        """Somebody names a URL, again perhaps."""
        url = self.dice.choice(URLS)
        await self.heart.seed(self.dice.choice([self.limited, self.free]), url)
        self.known.add(url)

    async def finish(self) -> None:
        """Somebody looks whether a crawl is finished."""
        await self.heart.crawls.finish(self.dice.choice([self.limited, self.free]))

    async def warp(self, seconds: float | None = None) -> None:
        """Time goes by."""
        seconds = seconds or self.dice.choice([1, 30, 70, 700])
        self.now += seconds
        await self.database.script(
            f"update urls set due_at = due_at - interval '{seconds} s' where due_at is not null;"
            f"update domains set due_at = due_at - interval '{seconds} s', ready_at = ready_at - interval '{seconds} s'"
        )
        shift = int(seconds * 1_000_000)

        def earlier(item: TurnUrl) -> TurnUrl:
            fields = {name: getattr(item, name) for name in item.__struct_fields__}
            return TurnUrl(**fields | {"due_at": item.due_at - shift})

        self.messages = [(name, turn, [earlier(item) for item in urls]) for name, turn, urls in self.messages]
        for held in self.held:
            held.urls = [earlier(item) for item in held.urls]
        self.last = [
            ([replace(v, taken=v.taken - shift) for v in visits], releases) for visits, releases in self.last
        ]

    def _visit(self, item: TurnUrl) -> Visit:
        links = tuple(
            link(item.crawl_id, url, depth=item.depth + 1)
            for url in self.dice.sample(URLS, self.dice.randrange(5))
        )
        settlement = self.dice.choice(
            [
                settled(),
                settled(),
                settled(),
                settled(again_in=60),
                settled(Outcome.GONE),
                Settlement(500, open=False, attempts=1, outcome=Outcome.GONE),
                settled(Outcome.HTTP_ERROR),
                settled(Outcome.TIMEOUT, again_in=40),
                settled(Outcome.ROBOTS_REFUSED),
            ]
        )
        return visit(item, settlement, links=links)

    async def _record(self, visits: list[Visit], releases: list[Release]) -> None:
        found = await self.heart.record(visits, releases, [self.limited])
        self.known |= {each.url for v in found.written for each in v.links}

    async def check(self) -> None:
        """Every invariant."""
        stored = {r["url"] for r in await rows(self.database, "select url from urls")}
        too_late, counts, fetches, domain_pages, budgets = [
            [tuple(r) for r in await rows(self.database, sql)]
            for sql in (I1, COUNTS, FETCHES, DOMAIN_PAGES, BUDGETS)
        ]
        numbers = {r["domain_id"]: r["turn"] for r in await rows(self.database, "select * from domains")}
        backwards = {d for d, turn in self.numbers.items() if numbers[d] < turn}

        assert stored == self.known
        assert too_late == []
        assert counts == []
        assert fetches == []
        assert domain_pages == []
        assert budgets == []
        assert backwards == set()
        self.numbers = numbers

    async def drain(self) -> None:
        """From now on nothing goes wrong: what is due is visited, until nothing is."""
        for _ in range(300):
            await self.warp(700)
            for name, (turn, urls) in (await self.heart.take()).items():
                if not urls:
                    taken = Dispatched(domain_id(name), name, turn, 0, 1.0, None)
                    await self.heart.frontier.release_empty([taken])
                    continue
                accepted = await self.heart.accept(name, turn)
                assert accepted is not None
                await self._record([visit(item) for item in urls], [release(name, accepted.turn)])
            due = "select count(*) from urls join crawls using (crawl_id) where state = 'running' and due_at is not null"
            if not await self.database.ask(due):
                return
        pytest.fail("it does not come to an end")


@pytest.mark.parametrize("seed", range(5))
async def test_walk(database: Database, seed: int) -> None:
    """Whatever happens in whatever order: one holder, nothing lost, nothing late, nothing counted twice, no budget exceeded."""
    walk = Walk(database, seed)
    await walk.begin()
    steps: list[Any] = [walk.dispatch] * 5 + [walk.accept] * 6 + [walk.work] * 6
    steps += [walk.repeat, walk.renew, walk.renew, walk.crash, walk.seed, walk.finish, walk.warp, walk.warp]
    for _ in range(90):
        await walk.dice.choice(steps)()
        await walk.check()
    await walk.drain()
    await walk.check()
    crawls = await rows(database, "select crawl_id, state from crawls")
    for crawl in crawls:
        if crawl["state"] == "running":
            assert await walk.heart.crawls.finish(crawl["crawl_id"])


async def test_storm(database: Database) -> None:  # noqa: C901 - who does what at once, in one place
    """Recorders, dispatchers, renewals and seeds at once, all linking to each other's domains, never lock each other out."""
    dice = random.Random(7)
    crews = [Frontiers(database, f"worker {n}", n) for n in range(1, 4)]
    names = [f"{number}.example" for number in range(12)]
    urls = [f"https://{name}/{number}" for name in names for number in range(40)]
    first = crews[0]
    crawl = await first.crawl(*urls[::40], max_pages=100_000)
    busy = []
    loop = asyncio.get_running_loop()
    end = loop.time() + 4

    def found() -> tuple[FoundLink, ...]:
        return tuple(link(crawl, url) for url in dice.sample(urls, 25))

    async def crew(heart: Frontiers) -> None:
        while loop.time() < end:
            try:
                turns = await heart.take(room=4, most=3)
                held: list[tuple[str, int, list[TurnUrl]]] = []
                for name, (turn, items) in turns.items():
                    accepted = await heart.accept(name, turn)
                    if accepted is not None:
                        held.append((name, accepted.turn, items))
                await heart.frontier.renew([(domain_id(name), turn) for name, turn, _ in held], WORK_LEASE)
                await heart.record(
                    [
                        visit(item, settled(again_in=0.0), links=found())
                        for _, _, items in held
                        for item in items
                    ],
                    [release(name, turn) for name, turn, _ in held],
                    [crawl],
                )
            except DatabaseBusyError as error:
                busy.append(str(error))

    async def seeder() -> None:
        while loop.time() < end:
            try:
                await first.seed(crawl, *dice.sample(urls, 30))
                await first.crawls.finish(crawl)
            except DatabaseBusyError as error:
                busy.append(str(error))

    async with asyncio.TaskGroup() as tasks:
        for heart in crews:
            tasks.create_task(crew(heart))
        tasks.create_task(seeder())
    truth = await row(
        database,
        "select count(*) as pages, (select pages from crawls) as counted from pages where first_at is not null",
    )

    assert busy == []
    assert truth["pages"] == truth["counted"]
    assert [tuple(r) for sql in (I1, COUNTS, FETCHES, DOMAIN_PAGES) for r in await rows(database, sql)] == []
