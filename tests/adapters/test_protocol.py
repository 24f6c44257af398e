"""What breaks the promises of the frontier, and what keeps them: each row of the protocol, provoked on a real server.

Two connections, one in an open transaction; that the other waits for it is read from pg_stat_activity.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crawler.adapters import binaries
from crawler.adapters.embedded import EmbeddedPostgres
from crawler.adapters.migrations import known_migrations, migrate, verify
from crawler.adapters.postgres import Database
from crawler.adapters.recording import record_links
from crawler.core.errors import DatabaseUnavailableError
from crawler.core.model import CrawlState, Outcome
from crawler.core.moments import NEVER
from crawler.core.urls import domain_id
from tests.making import (
    WORK_LEASE,
    Frontiers,
    blocked,
    insert,
    link,
    release,
    row,
    rows,
    settled,
    slow,
    visit,
)

A, B = "https://a.example/", "https://b.example/"
PROGRAMS = {
    found.major: found
    for folder in (binaries._wheel(), *binaries._system())
    if folder and (found := binaries._examine(folder))
}


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, for a socket."""
    made = Path(tempfile.mkdtemp(prefix="fc-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("major", sorted(PROGRAMS))
async def test_every_major(major: int, folder: Path) -> None:
    """The migrations and a whole turn run on every PostgreSQL of this machine."""
    async with (
        await EmbeddedPostgres.open(
            folder / "d", bin_dir=PROGRAMS[major].bin_dir, settings={"fsync": "off"}
        ) as postgres,
        await Database.open(postgres.dsn, lookups=True) as database,
    ):
        applied = await migrate(database)
        await verify(database)
        heart = Frontiers(database)
        crawl = await heart.crawl(A, max_pages=10)
        turn, urls = await heart.hold("a.example")
        found = await heart.record(
            [visit(urls[0], links=(link(crawl, B),))], [release("a.example", turn)], [crawl]
        )
        version = int(await database.ask("show server_version_num")) // 10000

        assert applied == known_migrations()
        assert version == major
        assert found.stored == {crawl: 1}
        assert found.next_in == {domain_id("b.example"): 0.0}
        assert await heart.counts(crawl) == {"": (1, 0), "ok": (1, 1)}


# --- a link arrives while its domain is released ------------------------------------------------------------------------


async def test_link_before_release(heart: Frontiers) -> None:
    """A link committed while a release waits for its domain is seen by that release."""
    crawl = await heart.crawl(A, B)
    turns = await heart.take()
    accepted = await heart.accept("b.example", turns["b.example"][0])
    assert accepted
    url_b = turns["b.example"][1][0]
    async with slow(heart.database) as (session, _):
        await insert(session, link(crawl, B + "new"))
        releasing = asyncio.create_task(
            heart.record([visit(url_b)], [release("b.example", accepted.turn, owed=5)])
        )
        await blocked(heart.database)
    await releasing
    domain, new = await heart.domain("b.example"), await heart.url(B + "new")

    assert domain["due_at"] == new["due_at"]
    assert domain["holder"] is None


async def test_link_after_release(heart: Frontiers) -> None:
    """A link that waits for a release to commit makes the released domain due."""
    crawl = await heart.crawl(B)
    turn, urls = await heart.hold("b.example")
    await heart.record([visit(urls[0])])
    async with slow(heart.database) as (session, _):
        await session.fetch("touch", [domain_id("b.example")], ["b.example"], [NEVER], [0])
        await session.fetch(
            "release", [domain_id("b.example")], [turn], [0.0], [1.0], [0], [0], [""], [True], [None]
        )
        linking = asyncio.create_task(heart.seed(crawl, B + "new"))
        await blocked(heart.database)
    await linking
    domain, new = await heart.domain("b.example"), await heart.url(B + "new")

    assert domain["due_at"] == new["due_at"]


async def test_touch_locks_what_it_leaves(heart: Frontiers) -> None:
    """A touch that changes nothing, the domain being due already, locks its row all the same."""
    await heart.crawl(B)
    before = await heart.domain("b.example")
    async with slow(heart.database) as (session, _):
        await session.fetch("touch", [domain_id("b.example")], ["b.example"], [datetime.now(UTC)], [0])
        other = asyncio.create_task(
            heart.database.fetch("touch", [domain_id("b.example")], ["b.example"], [NEVER], [0])
        )
        await blocked(heart.database)
    await other
    after = await heart.domain("b.example")

    assert after["due_at"] == before["due_at"]


async def test_touch_and_release_of_one_domain(heart: Frontiers) -> None:
    """A domain that a batch both links to and releases is touched once, and due with the new link."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    found = await heart.record(
        [visit(urls[0], links=(link(crawl, A + "2"), link(crawl, A + "1")))],
        [release("a.example", turn, owed=30)],
    )

    assert found.touched == 1
    assert 29 < found.next_in[domain_id("a.example")] <= 30


# --- dispatch -----------------------------------------------------------------------------------------------------------


async def test_empty_domain(heart: Frontiers) -> None:
    """A domain dispatched with nothing due goes back through touch and release: a link that arrives meanwhile is not lost."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0], settled(Outcome.TIMEOUT, again_in=60))])
    await heart.record(releases=[release("a.example", turn)])
    await heart.database.script("update domains set due_at = now()")  # I1 allows it: too early is harmless
    taken = await heart.frontier.dispatch(10, 600)
    empty = await heart.frontier.turn_urls([(t.domain_id, 9) for t in taken])
    async with slow(heart.database) as (session, _):
        await insert(session, link(crawl, A + "new"))
        back = asyncio.create_task(heart.frontier.release_empty(taken))
        await blocked(heart.database)
    await back
    domain, new = await heart.domain("a.example"), await heart.url(A + "new")

    assert empty == {}
    assert (domain["due_at"], domain["holder"], domain["lost"]) == (new["due_at"], None, 0)


async def test_empty_domain_waits(heart: Frontiers) -> None:
    """A domain dispatched with nothing due is due again when the first of its URLs is."""
    await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0], settled(Outcome.TIMEOUT, again_in=60))], [release("a.example", turn)])
    await heart.database.script("update domains set due_at = now()")
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    domain, url = await heart.domain("a.example"), await heart.url(A)

    assert domain["due_at"] == url["due_at"]
    assert await heart.take() == {}


async def test_two_dispatchers(heart: Frontiers) -> None:
    """A domain that one dispatcher is taking is skipped by the other, which does not wait."""
    await heart.crawl(A, B)
    async with slow(heart.database) as (session, _):
        first = await session.fetch("dispatch", 1, timedelta(seconds=60), "worker")
        second = await heart.frontier.dispatch(10, 60)

    assert {first[0]["name"], *(t.domain for t in second)} == {"a.example", "b.example"}


async def test_paused(heart: Frontiers) -> None:
    """The URLs of a paused crawl are not handed out, and are looked at again in a day."""
    await heart.crawl(A)
    await heart.database.script("update crawls set state = 'paused'")
    taken = await heart.frontier.dispatch(10, 600)
    urls = await heart.frontier.turn_urls([(t.domain_id, 9) for t in taken])
    await heart.frontier.release_empty(taken)
    domain = await heart.domain("a.example")

    assert urls == {}
    assert timedelta(hours=23) < domain["due_at"] - domain["now"] < timedelta(hours=25)


# --- who may act --------------------------------------------------------------------------------------------------------


async def test_accepted_once(heart: Frontiers) -> None:
    """Of the copies of a message exactly one is accepted."""
    await heart.crawl(A)
    turn, _ = (await heart.take())["a.example"]
    answers = await asyncio.gather(*(heart.accept("a.example", turn) for _ in range(4)))

    assert [answer.turn for answer in answers if answer] == [turn + 1]


async def test_lease_is_longer_than_the_workers(heart: Frontiers) -> None:
    """The lease in the database is longer than the worker's own, by the domain's delay; by hand or not."""
    await heart.crawl(A)
    await heart.database.script("update domains set delay = '3 s', delay_by_hand = '20 s'")
    before = await heart.database.ask("select clock_timestamp()")
    turn, _ = await heart.hold("a.example")
    accepted = await heart.domain("a.example")
    renewed = await heart.frontier.renew([(domain_id("a.example"), turn)], WORK_LEASE)
    after = await heart.domain("a.example")

    assert accepted["ready_at"] >= before + timedelta(seconds=WORK_LEASE + 20)
    assert after["ready_at"] >= accepted["ready_at"]
    assert renewed == {domain_id("a.example")}


async def test_renewal_does_not_wait(heart: Frontiers) -> None:
    """A renewal passes over the turn that a recording transaction has locked, and renews the others."""
    await heart.crawl(A, B)
    turns = await heart.take()
    held = []
    for name, (turn, _) in turns.items():
        accepted = await heart.accept(name, turn)
        assert accepted
        held.append((domain_id(name), accepted.turn))
    async with slow(heart.database) as (session, _):
        await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
        renewed = await heart.frontier.renew(held, WORK_LEASE)

    assert renewed == {domain_id("b.example")}
    assert await heart.frontier.renew(held, WORK_LEASE) == {d for d, _ in held}


async def test_late_renewal(heart: Frontiers) -> None:
    """A renewal that arrives after its turn's release does not lock the free domain for a lease."""
    await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn)])
    renewed = await heart.frontier.renew([(domain_id("a.example"), turn)], WORK_LEASE)
    domain = await heart.domain("a.example")

    assert renewed == set()
    assert domain["ready_at"] <= domain["now"]


async def test_late_worker(heart: Frontiers) -> None:
    """What a worker records after its turn went to another settles nothing that the other settled, and releases nothing."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.database.script("update domains set ready_at = now()")  # its lease ends
    other_turn, other_urls = await heart.hold("a.example")
    await heart.record([visit(other_urls[0], settled(Outcome.TIMEOUT, again_in=60))])
    due = (await heart.url(A))["due_at"]
    await heart.record([visit(urls[0], settled(Outcome.GONE))], [release("a.example", turn)])
    domain, url = await heart.domain("a.example"), await heart.url(A)

    assert (domain["turn"], domain["holder"], domain["lost"]) == (other_turn, "worker", 1)
    assert (url["outcome"], url["due_at"], url["open"]) == ("timeout", due, True)
    assert await heart.counts(crawl) == {"timeout": (1, 1), "gone": (0, 1)}


async def test_give_back(heart: Frontiers) -> None:
    """A turn given back is ready at once and its message is void; one that was accepted cannot be given back."""
    await heart.crawl(A)
    turn, _ = (await heart.take())["a.example"]
    await heart.frontier.give_back([(domain_id("a.example"), turn)])
    stale = await heart.accept("a.example", turn)
    held, _ = await heart.hold("a.example")
    await heart.frontier.give_back([(domain_id("a.example"), held), (domain_id("a.example"), held - 1)])
    domain = await heart.domain("a.example")

    assert stale is None
    assert (domain["turn"], domain["holder"]) == (held, "worker")


async def test_claim(heart: Frontiers) -> None:
    """A domain at rest can be claimed, one that is held cannot; a claim keeps dispatch away until it is let go."""
    await heart.crawl(A)
    await heart.database.script("update domains set delay = '0 s'")
    number = domain_id("a.example")
    turn = await heart.frontier.claim(number, "a.example", "w", 30)
    assert turn
    again = await heart.frontier.claim(number, "a.example", "x", 30)
    meanwhile = await heart.take()
    await heart.frontier.release_claim(number, turn, 0)
    afterwards = await heart.take()

    assert again is None
    assert meanwhile == {}
    assert afterwards["a.example"][1][0].url == A


async def test_claim_keeps_the_pause(heart: Frontiers) -> None:
    """After a claim a domain rests for its own pause, if that is longer than what is owed by who claimed it."""
    await heart.crawl(A)
    await heart.database.script("update domains set delay = '7 s'")
    turn = await heart.frontier.claim(domain_id("a.example"), "a.example", "w", 30)
    assert turn
    await heart.frontier.release_claim(domain_id("a.example"), turn, 1)
    domain = await heart.domain("a.example")

    assert 6 < (domain["ready_at"] - domain["now"]).total_seconds() <= 7


async def test_claim_of_what_is_queued(heart: Frontiers) -> None:
    """A domain that is merely queued can be claimed; its message is void then, and it is dispatched again after the claim."""
    await heart.crawl(A)
    await heart.database.script("update domains set delay = '0 s'")
    queued, _ = (await heart.take())["a.example"]
    turn = await heart.frontier.claim(domain_id("a.example"), "a.example", "w", 30)
    late = await heart.accept("a.example", queued)
    assert turn
    await heart.frontier.release_claim(domain_id("a.example"), turn, 0)

    assert late is None
    assert (await heart.take())["a.example"][1][0].url == A


async def test_pause_from_the_end(heart: Frontiers) -> None:
    """The pause of a release counts from when it happens, not from when its transaction began."""
    await heart.crawl(A)
    turn, _ = await heart.hold("a.example")
    async with slow(heart.database) as (session, connection):
        began = await connection.fetchval("select now()")
        await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
        before = await connection.fetchval("select clock_timestamp()")
        await session.fetch(
            "release", [domain_id("a.example")], [turn], [7.0], [1.0], [0], [0], [""], [True], [None]
        )
    domain = await heart.domain("a.example")

    assert before > began
    assert domain["ready_at"] >= before + timedelta(seconds=7)


async def test_lost_turns(heart: Frontiers) -> None:
    """A turn that ends without a release counts as lost, but after the first only if it began; a release forgets them."""
    await heart.crawl(A)
    losses = []
    for accepts, ventures in ((True, False), (True, True), (True, False), (False, False), (True, True)):
        turn, urls = (await heart.take())["a.example"]
        losses.append((await heart.domain("a.example"))["lost"])
        if accepts:
            accepted = await heart.accept("a.example", turn)
            assert accepted
            held = accepted.turn
            if ventures:
                await heart.frontier.venture(domain_id("a.example"), held)
        await heart.database.script("update domains set ready_at = now()")
    await heart.record([visit(urls[0])], [release("a.example", held)])

    assert losses == [0, 1, 2, 2, 2]
    assert (await heart.domain("a.example"))["lost"] == 0


async def test_frozen_worker(heart: Frontiers) -> None:
    """Whoever is frozen between touch and commit is thrown out, and the others go on."""
    crawl = await heart.crawl(A)
    frozen = slow(heart.database)
    session, connection = await frozen.__aenter__()
    await connection.execute("set idle_in_transaction_session_timeout = '50ms'")
    await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
    new = await heart.seed(crawl, A + "new")
    with pytest.raises(DatabaseUnavailableError):
        await frozen.__aexit__(None, None, None)
    shown = [
        await heart.database.ask(f"show {name}")
        for name in ("idle_in_transaction_session_timeout", "lock_timeout", "default_transaction_isolation")
    ]

    assert new == 1
    assert shown == ["15s", "15s", "read committed"]


# --- ends of a crawl ----------------------------------------------------------------------------------------------------


async def test_seed_while_finishing(heart: Frontiers) -> None:
    """A seed that arrives while its crawl is being declared finished sets it running again."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn)])
    async with slow(heart.database) as (session, _):
        await session.value("finish_lock", crawl)
        seeding = asyncio.create_task(heart.seed(crawl, B))
        await blocked(heart.database)
        finished = await session.value("finish", crawl)
    await seeding
    now = await heart.crawls.by_id(crawl)

    assert finished == crawl
    assert now
    assert now.state is CrawlState.RUNNING
    assert list(await heart.take()) == ["b.example"]


async def test_finishing_while_seeding(heart: Frontiers) -> None:
    """A crawl is not declared finished while somebody is seeding it."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn)])
    async with slow(heart.database) as (session, _):
        await session.fetch("crawl_hold", crawl)
        finishing = asyncio.create_task(heart.crawls.finish(crawl))
        await blocked(heart.database)
        await insert(session, link(crawl, B))
    finished = await finishing

    assert finished is False
    assert await heart.database.ask("select state from crawls") == "running"


async def test_finish(heart: Frontiers) -> None:
    """A crawl is finished when none of its URLs is open, and not before."""
    crawl = await heart.crawl(A)
    early = await heart.crawls.finish(crawl)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0], settled(Outcome.GONE))], [release("a.example", turn)])

    assert early is False
    assert await heart.crawls.finish(crawl) is True
    assert await heart.crawls.finish(crawl) is False


async def test_seed_wakes_the_whole_crawl(heart: Frontiers) -> None:
    """A seed that sets a finished crawl running makes all its due URLs count again, not only the new one."""
    crawl = await heart.crawl(A, B, max_pages=1)
    turns = await heart.take()
    for name, (turn, urls) in turns.items():
        accepted = await heart.accept(name, turn)
        assert accepted
        await heart.record([visit(urls[0])], budgeted=[crawl])
        await heart.record(releases=[release(name, accepted.turn)])
    full = await heart.crawls.by_id(crawl)
    await heart.crawl(
        "https://c.example/", max_pages=10
    )  # the same crawl with a higher limit and one more seed
    await heart.crawls.start(crawl)
    taken = {name: [url.url for url in urls] for name, (_, urls) in (await heart.take()).items()}

    assert full
    assert full.state is CrawlState.FINISHED
    assert taken == {"b.example": [B], "c.example": ["https://c.example/"]}


# --- budgets ------------------------------------------------------------------------------------------------------------


async def test_two_at_the_edge_of_a_budget(heart: Frontiers) -> None:
    """Of two recorders at the edge of a budget the second waits, is cut, and leaves its page as it was."""
    crawl = await heart.crawl(A, B, max_pages=1)
    turns = await heart.take()
    async with slow(heart.database) as (session, _):
        await session.fetch("record_budget", [crawl], [1])
        other = asyncio.create_task(heart.record([visit(turns["b.example"][1][0])], budgeted=[crawl]))
        await blocked(heart.database)
    cut = await other
    url = await heart.url(B)

    assert cut.stored == {}
    assert cut.full == (crawl,)
    assert (url["outcome"], url["open"]) == (None, True)
    assert await heart.database.ask("select pages from crawls") == 1
    assert await heart.database.ask("select count(*) from pages") == 0


async def test_budget_cut(heart: Frontiers) -> None:
    """A batch over the budget is cut to what fits, errors and known pages included, and the crawl is full."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(6)), max_pages=10)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], budgeted=[crawl])
    again, gone = visit(urls[0]), visit(urls[1], settled(Outcome.GONE))
    await heart.crawl(max_pages=3)  # lowered meanwhile
    found = await heart.record(
        [again, gone, *map(visit, urls[2:])], [release("a.example", turn)], budgeted=[crawl]
    )
    now = await heart.crawls.by_id(crawl)

    assert found.stored == {crawl: 2}
    assert found.full == (crawl,)
    assert len(found.written) == 4
    assert now
    assert now.state is CrawlState.FINISHED
    assert await heart.database.ask("select pages from crawls") == 3
    assert await heart.counts(crawl) == {"": (2, 0), "gone": (1, 1), "ok": (3, 4)}
    assert all(urls == [] for _, urls in (await heart.take()).values())


async def test_a_limit_given_to_a_running_crawl_holds_at_once(heart: Frontiers) -> None:
    """A recorder that does not know yet that its crawl was given a limit counts against it all the same."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(6)))
    _, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])])
    await heart.crawl(max_pages=3)
    recorded = await heart.record([visit(item) for item in urls[1:]])

    assert recorded.stored == {crawl: 2}
    assert recorded.full == (crawl,)


async def test_budget_of_a_crawl_that_is_gone(heart: Frontiers) -> None:
    """A batch for a crawl that was cancelled or deleted meanwhile stores no page of it, and the rest."""
    gone = await heart.crawl(A, name="gone", max_pages=5)
    left = await heart.crawl(B, name="left", max_pages=5)
    turns = await heart.take()
    batch = [visit(turns["a.example"][1][0]), visit(turns["b.example"][1][0])]
    await heart.database.script(f"update crawls set state = 'cancelled' where crawl_id = {gone}")
    cancelled = await heart.record(batch, budgeted=[gone, left])
    await heart.database.script(f"delete from crawls where crawl_id = {gone}")
    deleted = await heart.record(batch[:1], budgeted=[gone, left])

    assert cancelled.stored == {left: 1}
    assert deleted.stored == {}


async def test_domain_budget(heart: Frontiers) -> None:
    """A domain whose pages are used up gives no more URLs, is closed, and opens again when the limit is raised."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(4)), max_pages_per_domain=2)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(url) for url in urls], [release("a.example", turn)])
    taken = await heart.frontier.dispatch(10, 600)
    rest = await heart.frontier.turn_urls([(t.domain_id, 9) for t in taken])
    await heart.frontier.release_empty(taken)
    closed = await heart.counts(crawl)
    asleep = await heart.take()
    finished = await heart.crawls.finish(crawl)
    await heart.crawl(max_pages_per_domain=3)
    await heart.crawls.start(crawl)
    reopened = await heart.take()

    assert (len(urls), rest, asleep) == (2, {}, {})
    assert closed == {"ok": (2, 2), "scope_refused": (2, 0)}
    assert finished
    assert len(reopened["a.example"][1]) == 1
    assert await heart.counts(crawl) == {"": (2, 0), "ok": (2, 2)}


async def test_domain_budget_keeps_what_is_closed(heart: Frontiers) -> None:
    """Closing a domain over its budget keeps the outcome of what had one, such as a page that is gone."""
    crawl = await heart.crawl(*(f"{A}{n}" for n in range(3)), max_pages_per_domain=1)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])])
    taken = await heart.database.ask("select due_at from urls where url = $1", f"{A}1")
    await heart.database.script(
        f"update urls set outcome = 'gone', open = false where url = '{A}1';"
        "insert into crawl_counts (crawl_id, slot, outcome, urls) select crawl_id, 0, '', -1 from crawls"
        " on conflict (crawl_id, slot, outcome) do update set urls = crawl_counts.urls - 1;"
        "insert into crawl_counts (crawl_id, slot, outcome, urls) select crawl_id, 0, 'gone', 1 from crawls"
    )
    await heart.record(releases=[release("a.example", turn)])
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    gone = await heart.url(f"{A}1")

    assert taken is not None
    assert (gone["outcome"], gone["due_at"]) == ("gone", None)
    assert await heart.counts(crawl) == {"gone": (1, 0), "ok": (1, 1), "scope_refused": (1, 0)}


# --- recording ----------------------------------------------------------------------------------------------------------


async def test_recorded_twice(heart: Frontiers) -> None:
    """A batch recorded twice, the answer to COMMIT having been lost, writes and counts nothing the second time."""
    crawl = await heart.crawl(A, A + "gone", max_pages=10)
    turn, urls = await heart.hold("a.example")
    batch = [
        visit(urls[0], links=(link(crawl, B), link(crawl, A + "2"))),
        visit(urls[1], settled(Outcome.TIMEOUT, again_in=60)),
    ]
    once = await heart.record(batch, [release("a.example", turn)], [crawl])
    tables = ("urls", "pages", "bodies", "domain_pages", "crawls", "crawl_counts", "fetches", "domains")
    before = [await rows(heart.database, f"select * from {table} order by 1, 2, 3") for table in tables]
    twice = await heart.record(batch, [release("a.example", turn)], [crawl])
    after = [await rows(heart.database, f"select * from {table} order by 1, 2, 3") for table in tables]

    assert once.stored == {crawl: 1}
    assert twice.stored == {}
    assert after == before


async def test_one_url_twice_in_a_batch(heart: Frontiers) -> None:
    """A URL that is in a batch twice is settled once, its last visit is the page, and both requests are counted."""
    crawl = await heart.crawl(A)
    _, urls = await heart.hold("a.example")
    first, second = visit(urls[0]), visit(urls[0])
    found = await heart.record([first, second])
    page = await row(heart.database, "select * from pages")

    assert found.stored == {crawl: 1}
    assert page["digest"] == second.digest
    assert await heart.counts(crawl) == {"ok": (1, 2)}


async def test_error_then_page(heart: Frontiers) -> None:
    """A URL that failed for good and is stored later is counted once, as new, when it is stored."""
    crawl = await heart.crawl(A, max_pages=10)
    turn, urls = await heart.hold("a.example")
    failed = await heart.record(
        [visit(urls[0], settled(Outcome.HTTP_ERROR))], [release("a.example", turn)], [crawl]
    )
    await heart.seed(crawl, A)
    stored = []
    for _ in range(2):
        turn, urls = await heart.hold("a.example")
        found = await heart.record([visit(urls[0])], [release("a.example", turn)], [crawl])
        stored.append(found.stored)
        await heart.database.script("update urls set due_at = now(); update domains set due_at = now()")

    assert failed.stored == {}
    assert stored == [{crawl: 1}, {}]
    assert await heart.database.ask("select pages from crawls") == 1
    assert await heart.database.ask("select pages from domain_pages") == 1
    assert await heart.counts(crawl) == {"http_error": (0, 1), "ok": (1, 2)}


async def test_older_visit(heart: Frontiers) -> None:
    """An older visit that is recorded later does not replace a newer page."""
    await heart.crawl(A)
    _, urls = await heart.hold("a.example")
    older, newer = visit(urls[0]), visit(urls[0])
    await heart.record([newer])
    await heart.record([older])
    page = await row(heart.database, "select * from pages")

    assert page["digest"] == newer.digest


async def test_seed_and_recorder(heart: Frontiers) -> None:
    """Seeding what a recorder is just inserting makes neither wait for the other in a circle."""
    crawl = await heart.crawl(A, max_pages=10)
    async with slow(heart.database) as (session, _):
        await record_links(session, [link(crawl, B)])
        seeding = asyncio.create_task(heart.seed(crawl, B))
        await blocked(heart.database)
        fits = await session.fetch("record_budget", [crawl], [1])
    new = await seeding

    assert len(fits) == 1
    assert new == 0


async def test_buried_and_settled(heart: Frontiers) -> None:
    """Burying a URL that a late worker has settled meanwhile changes nothing, and counts nothing."""
    crawl = await heart.crawl(A, A + "2")
    _, urls = await heart.hold("a.example")
    await heart.database.script("update domains set ready_at = now()")
    taken = await heart.frontier.dispatch(10, 600)
    await heart.record([visit(urls[0])])
    await heart.frontier.bury(taken, [(taken[0].domain_id, url) for url in urls], "deadly")
    counts = await heart.counts(crawl)

    assert counts == {"decode_error": (1, 0), "ok": (1, 1)}
    assert await heart.take() == {}
