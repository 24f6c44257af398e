"""The cache of robots rules: bounded, never older than a wish, and what changes in it is written down whole."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crawler.adapters.domains import Domains
from crawler.adapters.erasing import Erasing
from crawler.adapters.postgres import Database
from crawler.core.model import Outcome
from crawler.core.robots_lines import MAX_ROBOTS_BYTES
from crawler.core.robots_record import WISHED, RobotsRecord
from crawler.core.urls import domain_id
from crawler.rules import LONG, Known, RulesBook
from tests.making import Frontiers, blocked, release, settled, slow, visit

NAME = "a.example"
NUMBER = domain_id(NAME)
ORIGIN = f"https://{NAME}"
URL = f"{ORIGIN}/x"
US = "faircrawl"
NOW = datetime.now(UTC)
SHUT, OPEN = b"User-agent: *\nDisallow: /\n", b"User-agent: *\nAllow: /\n"


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


@pytest.fixture
def rules(database: Database) -> RulesBook:
    """An empty cache."""
    return RulesBook(database)


def good(body: bytes, origin: str = ORIGIN) -> RobotsRecord:
    """What is remembered of an answer just now."""
    return RobotsRecord(origin, 200, body, NOW, NOW, NOW + timedelta(hours=24), 0, "answered 200")


async def store(rules: RulesBook, record: RobotsRecord, old: RobotsRecord | None = None) -> RobotsRecord:
    """Write it down: the record that is known then."""
    known = await rules.store(NUMBER, NAME, record, token=US, old=None if old is None else Known(old, {}))
    assert known.record is not None
    return known.record


async def refuse(heart: Frontiers, crawl: int | None = None) -> None:
    """Have the URL refused by its robots.txt; it rests."""
    if crawl is None:
        await heart.crawl(URL)
    turn, urls = await heart.hold(NAME)
    refused = [visit(item, settled(Outcome.ROBOTS_REFUSED), answer=None) for item in urls]
    await heart.record(refused, [release(NAME, turn)])


async def test_memory_is_bounded(database: Database) -> None:
    """However many hosts serve long rules, those used last are kept as far as the budget goes, and never more."""
    rules = RulesBook(database, most_bytes=10_000_000)
    body = b"User-agent: *\n" + b"".join(b"Disallow:/%d\n" % n for n in range(15_000))
    for number in range(6):
        await store(rules, good(body, f"https://h{number}.{NAME}"))
        assert rules.weight <= 10_000_000

    kept = [number for number in range(6) if rules.peek(f"https://h{number}.{NAME}", NOW) is not None]
    assert kept == [4, 5]


async def test_forgetting_gives_the_memory_back(rules: RulesBook) -> None:
    """What is forgotten weighs nothing, and the other domains stay known."""
    await store(rules, good(SHUT))
    weight = rules.weight
    await rules.store(domain_id("b.example"), "b.example", good(OPEN, "https://b.example"), token=US)
    rules.forget([domain_id("b.example"), domain_id("c.example")])

    assert rules.weight == weight > 0
    assert rules.peek(ORIGIN, NOW) is not None
    rules.clear()
    assert (rules.weight, rules.peek(ORIGIN, NOW)) == (0, None)


async def test_long_rules_hold_up_nobody(rules: RulesBook) -> None:
    """While the longest rules there can be are read, others go on."""
    body = b"User-agent: *\n" + b"".join(b"Disallow:/%d$\n" % n for n in range(40_000))
    known = await store(rules, good(body[:MAX_ROBOTS_BYTES]))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    before = ticks
    standing = await rules.standing(await rules.load(NUMBER, ORIGIN), NOW, US)
    loading = ticks
    await rules.standing(await rules.load(NUMBER, ORIGIN), NOW, "other")
    ticking.cancel()

    assert len(known.body or b"") > LONG
    assert len(standing.rules) > 30_000
    assert loading - before > 10
    assert ticks - loading > 10


async def test_a_changed_copy_and_what_it_arms_are_one(heart: Frontiers, rules: RulesBook) -> None:
    """Who dies between the new rules and what they arm again leaves neither: the next visit asks again."""
    await refuse(heart)
    await store(rules, good(SHUT))
    async with slow(heart.database) as (session, _):
        await session.fetch(
            "touch", [NUMBER], [NAME], [NOW], [0]
        )  # the domain's row is locked: the last step waits
        writing = asyncio.create_task(store(rules, good(OPEN)))
        await blocked(heart.database)
        writing.cancel()
        await asyncio.wait([writing])
    kept = await rules.load(NUMBER, ORIGIN)
    asleep = await heart.url(URL)
    await store(rules, good(OPEN))

    assert kept.record is not None
    assert kept.record.body == SHUT
    assert (asleep["due_at"], (await heart.url(URL))["open"]) == (None, True)


async def test_another_crawls_name(heart: Frontiers, rules: RulesBook) -> None:
    """What was refused to a crawl with another name is armed again when its group changes, whoever asked for the rules."""
    await heart.crawl(URL, user_agent="other/1")
    await refuse(heart, 1)
    await store(rules, good(b"User-agent: other\nDisallow: /\n"))
    await store(rules, good(b"User-agent: other\nDisallow: /y\n"))

    assert (await heart.url(URL))["due_at"] is not None


async def test_comments_arm_nothing(heart: Frontiers, rules: RulesBook) -> None:
    """New bytes that say the same leave what was refused at rest."""
    await refuse(heart)
    await store(rules, good(SHUT))
    await store(rules, good(b"# of today\n" + SHUT))

    assert (await heart.url(URL))["due_at"] is None


async def test_a_restarted_worker_compares_too(heart: Frontiers, rules: RulesBook) -> None:
    """Rules that changed since another worker asked arm what they refused, though this one has never seen the old ones."""
    await refuse(heart)
    await store(rules, good(SHUT))
    await store(RulesBook(heart.database), good(OPEN))

    assert (await heart.url(URL))["due_at"] is not None


async def test_wish(heart: Frontiers, rules: RulesBook) -> None:
    """After a wish the copy is asked for anew, and the answer fulfils it."""
    await heart.crawl(URL)
    domains = Domains(heart.database)
    await store(rules, good(OPEN))
    await domains.wish(NAME)
    rules.forget([NUMBER])
    loaded = (await rules.load(NUMBER, ORIGIN)).record
    (wish,) = await domains.wishes([NUMBER])
    await store(rules, good(SHUT), loaded)

    assert loaded is not None
    assert (loaded.expires_at, rules.peek(ORIGIN, NOW) is None) == (WISHED, False)
    assert (wish.domain, wish.origins, wish.user_agent) == (NAME, (ORIGIN,), None)
    assert await domains.wishes([NUMBER]) == []


async def test_a_wish_is_not_fulfilled_by_an_older_answer(heart: Frontiers, rules: RulesBook) -> None:
    """An answer that was asked for before the wish leaves it open: the site may have changed its rules in between."""
    await heart.crawl(URL)
    domains = Domains(heart.database)
    before = await store(rules, good(OPEN))
    await domains.wish(NAME)
    after = await store(rules, good(OPEN), before)

    assert after == replace(good(OPEN), expires_at=WISHED)
    assert rules.peek(ORIGIN, NOW) is None
    assert len(await domains.wishes([NUMBER])) == 1


async def test_a_copy_that_crosses_a_wish(heart: Frontiers, rules: RulesBook) -> None:
    """A copy that was read before the wish, and kept only after it was heard, is not used."""
    await heart.crawl(URL)
    await store(rules, good(OPEN))
    await Domains(heart.database).wish(NAME)
    rules.wish(NUMBER, [ORIGIN])
    crossed = rules.peek(ORIGIN, NOW)  # as if its row had been on its way until now
    wished = rules.wished(NUMBER)

    assert crossed is not None
    assert (wished, rules.peek(ORIGIN, NOW)) == (ORIGIN, None)


async def test_no_wish_for_what_is_blocked(heart: Frontiers, rules: RulesBook) -> None:
    """A blocked domain is asked for nothing, whoever wishes it."""
    await heart.crawl(URL)
    domains = Domains(heart.database)
    await store(rules, good(OPEN))
    await domains.wish(NAME)
    await domains.block([NAME], "by hand")

    assert await domains.wishes([NUMBER]) == []


async def test_forgotten_rules_stay_forgotten(heart: Frontiers, rules: RulesBook) -> None:
    """A robots.txt that comes in after its domain was forgotten is not written down."""
    await heart.crawl(URL)
    await store(rules, good(OPEN))
    await Erasing(heart.database).domain(NUMBER, NAME)
    await store(rules, good(OPEN), good(OPEN))

    assert await Domains(heart.database).robots(NAME) == []
