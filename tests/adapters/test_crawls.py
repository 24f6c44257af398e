"""Pausing, resuming, cancelling, deleting and forgetting, interleaved with those who are at work: each on a real PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest

from crawler.adapters.crawls import Crawls, Limits
from crawler.adapters.domains import Domains, Tuning
from crawler.adapters.erasing import Erasing
from crawler.adapters.fitting import not_erased
from crawler.adapters.postgres import Database
from crawler.core.errors import UsageError
from crawler.core.model import CrawlState, Outcome
from crawler.core.moments import NEVER
from crawler.core.urls import domain_id
from tests.making import Frontiers, blocked, link, release, rows, settled, slow, visit

A = "https://a.example/"
B = "https://b.example/"
LEFT = "select (select count(*) from urls) + (select count(*) from pages) + (select count(*) from fetches)"


@pytest.fixture
def heart(database: Database) -> Frontiers:
    """A worker's hands."""
    return Frontiers(database)


async def state(heart: Frontiers, crawl_id: int) -> CrawlState | None:
    """What a crawl is doing."""
    crawl = await heart.crawls.by_id(crawl_id)
    return None if crawl is None else crawl.state


# --- pause and resume ---------------------------------------------------------------------------------------------------


async def test_pause_and_resume(heart: Frontiers) -> None:
    """A paused crawl hands out nothing; resumed, everything that was due is due at once."""
    crawl = await heart.crawl(A, B)
    paused = await heart.crawls.pause(crawl)
    taken = await heart.frontier.dispatch(10, 600)
    urls = await heart.frontier.turn_urls([(t.domain_id, 9) for t in taken])
    await heart.frontier.release_empty(taken)
    resting = await heart.take()
    resumed = await heart.crawls.resume(crawl)

    assert (paused, urls, resting, resumed) == (True, {}, {}, True)
    assert {name: len(found) for name, (_, found) in (await heart.take()).items()} == {
        "a.example": 1,
        "b.example": 1,
    }


async def test_only_what_goes_on_is_paused(heart: Frontiers) -> None:
    """Pausing twice changes nothing; what is cancelled cannot be paused, and resuming takes both back."""
    crawl = await heart.crawl(A)
    once, twice = await heart.crawls.pause(crawl), await heart.crawls.pause(crawl)
    cancelled = await heart.crawls.cancel(crawl)
    late = await heart.crawls.pause(crawl)
    resumed = await heart.crawls.resume(crawl)

    assert (once, twice, cancelled, late, resumed) == (True, False, True, False, True)
    assert await state(heart, crawl) is CrawlState.RUNNING
    assert list(await heart.take()) == ["a.example"]


async def test_resume_while_releasing(heart: Frontiers) -> None:
    """A domain whose release had begun under the pause is due at once after a resume that came in between."""
    crawl = await heart.crawl(A, A + "2")
    turn, _ = await heart.hold("a.example")
    await heart.crawls.pause(crawl)
    async with slow(heart.database) as (session, _connection):
        await session.fetch("touch", [domain_id("a.example")], ["a.example"], [NEVER], [0])
        await session.fetch(
            "release", [domain_id("a.example")], [turn], [0.0], [1.0], [0], [0], [""], [False], [None]
        )
        resuming = asyncio.create_task(heart.crawls.resume(crawl))
        await blocked(heart.database)  # it has committed the state, and waits for the domain
        running = await heart.database.ask("select state from crawls")
    await resuming
    _, urls = (await heart.take())["a.example"]

    assert running == "running"
    assert len(urls) == 2


async def test_touching_first_would_lose(heart: Frontiers) -> None:
    """Touched before the new state is committed, a domain may be released under the old one, and sleeps for a day: hence the order."""
    crawl = await heart.crawl(A)
    turn, _ = await heart.hold("a.example")
    due = (await heart.url(A))["due_at"]
    await heart.crawls.pause(crawl)
    async with slow(heart.database) as (session, _connection):
        await session.fetch("crawl_resume", crawl)
        await heart.database.fetch("touch", [domain_id("a.example")], ["a.example"], [due], [0])
        await heart.record(releases=[release("a.example", turn)])  # sees the crawl paused
    lost = await heart.take()
    await heart.crawls.resume(crawl)  # as it is meant to be: the domains after the state

    assert lost == {}
    assert list(await heart.take()) == ["a.example"]


async def test_resume_is_taken_up(heart: Frontiers) -> None:
    """A resume that was cut short goes on where it was when it is given again, or when the crawl is run again."""
    heart.crawls = Crawls(heart.database, rearmed_at_once=1)
    urls = [f"https://d{n}.example/" for n in range(5)]
    crawl = await heart.crawl(*urls)
    await heart.crawls.pause(crawl)
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    await heart.database.fetch("crawl_resume", crawl)  # and dies
    second = sorted(domain_id(f"d{n}.example") for n in range(5))[1]
    await heart.database.script(f"update crawls set rearm = {second}")  # after two domains
    again = await heart.crawls.resume(crawl)
    taken = await heart.take()

    assert again is True
    assert len(taken) == 3
    assert await heart.database.ask("select rearm from crawls") is None


async def test_pause_ends_a_resume(heart: Frontiers) -> None:
    """A resume that meets a new pause stops, and does not count as having come any further."""
    heart.crawls = Crawls(heart.database, rearmed_at_once=1)
    crawl = await heart.crawl(A, B)
    await heart.crawls.pause(crawl)
    first = min(domain_id("a.example"), domain_id("b.example"))
    async with slow(heart.database) as (_, connection):
        await connection.execute("select from domains where domain_id = $1 for update", first)
        resuming = asyncio.create_task(heart.crawls.resume(crawl))
        await blocked(heart.database)
        paused = await heart.crawls.pause(crawl)
    await resuming

    assert paused is True
    assert await state(heart, crawl) is CrawlState.PAUSED
    assert await heart.database.ask("select rearm from crawls") is None


async def test_paused_does_not_slow_others(heart: Frontiers) -> None:
    """Thousands of due URLs of a paused crawl cost each of their domains one dispatch; then only the other crawl's are taken."""
    crawl = await heart.crawl(*(f"https://p{n}.example/{m}" for n in range(300) for m in range(10)))
    await heart.crawls.pause(crawl)
    empty = 0
    while taken := await heart.frontier.dispatch(100, 600):
        found = await heart.frontier.turn_urls([(t.domain_id, 9) for t in taken])
        assert found == {}
        await heart.frontier.release_empty(taken)
        empty += len(taken)
    other = await heart.crawl(A, "https://p0.example/other", name="other")
    turns = await heart.take()

    assert empty == 300
    assert {name: [u.crawl_id for u in urls] for name, (_, urls) in turns.items()} == {
        "a.example": [other],
        "p0.example": [other],
    }


async def test_paused_while_visited(heart: Frontiers) -> None:
    """What a worker brings of a crawl that was paused meanwhile is stored, and its links wait with the rest."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.crawls.pause(crawl)
    await heart.record([visit(urls[0], links=(link(crawl, B, depth=1),))], [release("a.example", turn)])
    await heart.frontier.release_empty(await heart.frontier.dispatch(10, 600))
    waiting = await heart.take()
    await heart.crawls.resume(crawl)

    assert waiting == {}
    assert await heart.counts(crawl) == {"": (1, 0), "ok": (1, 1)}
    assert list(await heart.take()) == ["b.example"]


# --- cancel -------------------------------------------------------------------------------------------------------------


async def test_cancel(heart: Frontiers) -> None:
    """A cancelled crawl is over: nothing of it is handed out, nothing is due, and a new seed does not wake it."""
    crawl = await heart.crawl(A)
    await heart.crawls.cancel(crawl)
    await heart.seed(crawl, A + "2")
    await heart.crawls.start(crawl)
    taken = await heart.frontier.dispatch(10, 600)
    await heart.frontier.release_empty(taken)

    assert await state(heart, crawl) is CrawlState.CANCELLED
    assert (await heart.domain("a.example"))["due_at"] is None


async def test_cancel_and_budget(heart: Frontiers) -> None:
    """A page that arrives after its crawl with a budget was cancelled is left out; its turn is released all the same."""
    crawl = await heart.crawl(A, max_pages=10)
    turn, urls = await heart.hold("a.example")
    await heart.crawls.cancel(crawl)
    await heart.record([visit(urls[0])], [release("a.example", turn)], budgeted=[crawl])

    assert await heart.counts(crawl) == {"": (1, 0)}
    assert (await heart.domain("a.example"))["holder"] is None


# --- delete -------------------------------------------------------------------------------------------------------------


async def test_delete(heart: Frontiers) -> None:
    """A deleted crawl leaves nothing behind: no URL, page, body, count, key, fetch, or domain that nobody else knows."""
    crawl = await heart.crawl(A, B)
    for name, (turn, urls) in (await heart.take()).items():
        accepted = await heart.accept(name, turn)
        assert accepted
        await heart.record([visit(urls[0])], [release(name, accepted.turn)])
    erased = await Erasing(heart.database).crawl(crawl)

    assert (erased.urls, erased.pages, erased.bodies) == (2, 2, 2)
    assert await heart.database.ask(LEFT) == 0
    tables = ("crawls", "crawl_counts", "scope_keys", "domain_pages", "domains", "bodies")
    assert [await heart.database.ask(f"select count(*) from {table}") for table in tables] == [0] * 6


async def test_delete_leaves_others_alone(heart: Frontiers) -> None:
    """What another crawl has too stays: its URLs and pages, the body that both share, and the domain."""
    one, other = await heart.crawl(A), await heart.crawl(A, name="other")
    turn, urls = await heart.hold("a.example")
    visits = [visit(url) for url in urls]
    same = [visits[0], visit(urls[1], digest=visits[0].digest, compressed=visits[0].compressed)]
    await heart.record(same, [release("a.example", turn)])
    erased = await Erasing(heart.database).crawl(one)

    assert (erased.urls, erased.pages, erased.bodies) == (1, 1, 0)
    assert await heart.counts(other) == {"ok": (1, 1)}
    assert await heart.database.ask("select count(*) from bodies") == 1
    assert (await heart.domain("a.example"))["name"] == "a.example"


async def test_delete_keeps_what_is_set_by_hand(heart: Frontiers) -> None:
    """A domain with a block or a pace of its own stays when its last crawl is deleted, and so does one that still rests."""
    crawl = await heart.crawl(A, B, "https://c.example/", "https://d.example/")
    await Domains(heart.database).block(["a.example"], "no")
    await Domains(heart.database).tune("b.example", Tuning(delay=(9.0,)))
    turn, urls = await heart.hold("c.example")
    await heart.record([visit(urls[0])], [release("c.example", turn, owed=60)])
    await heart.database.script("update domains set holder = null, ready_at = now() where name = 'd.example'")
    await Erasing(heart.database).crawl(crawl)

    kept = await rows(heart.database, "select name from domains order by name")
    assert [row["name"] for row in kept] == ["a.example", "b.example", "c.example"]


async def test_delete_while_recording(heart: Frontiers) -> None:
    """A deletion waits for whoever is writing, and what a worker brings afterwards is written nowhere."""
    crawl = await heart.crawl(A, B)
    turns = await heart.take()
    for name, (turn, _) in turns.items():
        assert await heart.accept(name, turn)
    first, second = (urls[0] for _, urls in turns.values())
    async with slow(heart.database) as (session, _connection):
        kept = await not_erased(session, [visit(first)])
        deleting = asyncio.create_task(Erasing(heart.database).crawl(crawl))
        await blocked(heart.database)
        meanwhile = await heart.database.ask("select count(*) from urls")
    await deleting
    late = visit(second, links=(link(crawl, "https://c.example/", depth=1),))
    await heart.record([late], [release("b.example", turns["b.example"][0] + 1)])

    assert (len(kept), meanwhile) == (1, 2)
    assert await heart.database.ask(LEFT) == 0
    assert await heart.database.ask("select count(*) from bodies") == 0
    assert (await heart.domain("b.example"))["holder"] is None


async def test_seed_while_deleting(heart: Frontiers) -> None:
    """A crawl that is being deleted takes no seeds, and cannot be resumed; deleting it again ends what was cut short."""
    crawl = await heart.crawl(A)
    await heart.database.fetch("crawl_delete_begin", crawl)  # and dies
    with pytest.raises(UsageError, match="being deleted"):
        await heart.seed(crawl, B)
    resumed = await heart.crawls.resume(crawl)
    await Erasing(heart.database).crawl(crawl)

    assert resumed is False
    assert await heart.database.ask("select count(*) from crawls") == 0


async def test_a_body_is_taken_while_it_is_dropped(heart: Frontiers) -> None:
    """A page that takes a body just when its last other page is deleted keeps it."""
    one, other = await heart.crawl(A), await heart.crawl(B, name="other")
    turns = await heart.take()
    (turn_a, [url_a]), (turn_b, [url_b]) = turns["a.example"], turns["b.example"]
    assert await heart.accept("a.example", turn_a)
    assert await heart.accept("b.example", turn_b)
    first = visit(url_a)
    await heart.record([first], [release("a.example", turn_a + 1)])
    second = visit(url_b, digest=first.digest, compressed=first.compressed)
    async with slow(heart.database) as (_, connection):  # holds the page up after it has taken the body
        await connection.execute("lock table domain_pages in exclusive mode")
        recording = asyncio.create_task(heart.record([second]))
        await blocked(heart.database)
        deleting = asyncio.create_task(Erasing(heart.database).crawl(one))
        await blocked(heart.database, 2)
    await asyncio.gather(recording, deleting)

    assert await heart.counts(other) == {"ok": (1, 1)}
    assert await heart.database.ask("select count(*) from pages join bodies using (digest)") == 1


async def test_a_number_never_comes_again(heart: Frontiers) -> None:
    """The fencing number of a domain that was removed and found again is larger than any it had: old messages stay void."""
    crawl = await heart.crawl(A)
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn)])
    await Erasing(heart.database).crawl(crawl)
    await heart.crawl(A)
    again, _ = (await heart.take())["a.example"]

    assert again > turn + 1


# --- domains ------------------------------------------------------------------------------------------------------------


async def test_block_and_unblock(heart: Frontiers) -> None:
    """A blocked domain is not handed out, whatever becomes due of it; unblocked, it is at once."""
    crawl = await heart.crawl(A)
    domains = Domains(heart.database)
    new = await domains.block(["a.example", "never.example"], "asked to")
    same = await domains.block(["a.example"], "asked to")
    await heart.seed(crawl, A + "2")
    blocked_now = await heart.take()
    unblocked, twice = await domains.unblock("a.example"), await domains.unblock("a.example")
    _, urls = (await heart.take())["a.example"]

    assert (new, same, blocked_now, unblocked, twice) == (2, 0, {}, True, False)
    assert len(urls) == 2


async def test_a_longer_pause_counts_at_once(heart: Frontiers) -> None:
    """A domain at rest that is given a longer pause rests until that is over."""
    await heart.crawl(A, A + "2")
    turn, urls = await heart.hold("a.example")
    await heart.record([visit(urls[0])], [release("a.example", turn, visited=True)])
    await Domains(heart.database).tune("a.example", Tuning(delay=(3600.0,), concurrency=(3,)))
    slowed = await heart.domain("a.example")
    await Domains(heart.database).tune("a.example", Tuning(delay=(None,)))
    free = await heart.domain("a.example")

    assert timedelta(minutes=59) < slowed["ready_at"] - slowed["now"] <= timedelta(hours=1)
    assert (slowed["delay_by_hand"], slowed["concurrency_by_hand"]) == (timedelta(hours=1), 3)
    assert (free["delay_by_hand"], free["concurrency_by_hand"]) == (None, 3)


async def test_forget(heart: Frontiers) -> None:
    """A forgotten domain leaves only its block: nothing of any crawl, and what still comes of it or leads to it is not written."""
    one, other = await heart.crawl(A, B, max_pages=10), await heart.crawl(A, name="other")
    turns = await heart.take()
    for name, (turn, _) in turns.items():
        assert await heart.accept(name, turn)
    turn, urls = turns["a.example"]
    mine = [url for url in urls if url.crawl_id == one]
    theirs = [url for url in urls if url.crawl_id == other]
    await heart.record([visit(mine[0])], budgeted=[one])
    erased = await Erasing(heart.database).domain(domain_id("a.example"), "a.example")
    turn_b, [url_b] = turns["b.example"]
    to_a = link(one, A + "new", depth=1)
    await heart.record([visit(theirs[0])], [release("a.example", turn + 1)])
    await heart.record([visit(url_b, links=(to_a,))], [release("b.example", turn_b + 1)], budgeted=[one])
    domain = await heart.domain("a.example")

    assert (erased.urls, erased.pages, erased.bodies) == (2, 1, 1)
    assert {
        row["name"]
        for row in await rows(heart.database, "select d.name from urls join domains d using (domain_id)")
    } == {"b.example"}
    assert (
        await heart.database.ask("select count(*) from pages where domain_id = $1", domain_id("a.example"))
        == 0
    )
    assert await heart.database.ask("select pages from crawls where crawl_id = $1", one) == 1
    assert await heart.counts(one) == {"ok": (1, 2)}
    assert (domain["blocked"], domain["due_at"], domain["holder"]) == ("forgotten by request", None, None)


async def test_forgotten_until_unblocked(heart: Frontiers) -> None:
    """A forgotten domain takes no seeds; unblocked, it is like one never seen."""
    crawl = await heart.crawl(A)
    queued = await heart.take()
    await Erasing(heart.database).domain(domain_id("a.example"), "a.example")
    refused = await heart.seed(crawl, A)
    late = await heart.accept("a.example", queued["a.example"][0])
    await Domains(heart.database).unblock("a.example")
    taken = await heart.seed(crawl, A)

    assert (refused, late, taken) == (0, None, 1)


# --- limits -------------------------------------------------------------------------------------------------------------


async def test_max_bytes(heart: Frontiers) -> None:
    """A crawl that has brought its bytes over the wire is finished for that reason; a higher limit sets it going again."""
    crawl = await heart.crawl(A, A + "2", max_bytes=10)
    turn, urls = await heart.hold("a.example")
    recorded = await heart.recording.record(
        [visit(urls[0])], [release("a.example", turn)], frozenset(), lambda _: 0.0, metered=frozenset([crawl])
    )
    finished = await heart.database.ask("select state || ' ' || finished_why from crawls")
    await heart.crawls.start(crawl)
    still = await state(heart, crawl)
    row = await heart.crawls.by_id(crawl)
    assert row
    await heart.crawls.change(row, Limits(max_bytes=10**6))
    await heart.crawls.start(crawl)

    assert recorded.full == (crawl,)
    assert (finished, still) == ("finished max_bytes", CrawlState.FINISHED)
    assert await state(heart, crawl) is CrawlState.RUNNING
    assert list(await heart.take()) == ["a.example"]


async def test_what_is_refused_no_longer(heart: Frontiers) -> None:
    """More types, or a domain of one's own, make due again what the rules before had refused, and nothing else."""
    crawl = await heart.crawl(A, A + "2", A + "3")
    turn, urls = await heart.hold("a.example")
    outcomes = [Outcome.TYPE_REFUSED, Outcome.ROBOTS_REFUSED, Outcome.GONE]
    visits = [visit(url, settled(outcome)) for url, outcome in zip(urls, outcomes, strict=True)]
    await heart.record(visits, [release("a.example", turn)])
    before = await heart.take()
    row = await heart.crawls.by_id(crawl)
    assert row
    await heart.crawls.change(row, Limits(types=("image/*",), owned_domains=("a.example",)))
    _, again = (await heart.take())["a.example"]

    assert before == {}
    assert {url.url for url in again} == {urls[0].url, urls[1].url}
