"""What the dashboard tells of a database: the overview, attempts over time, domains, errors, and what a search finds."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest

from crawler.adapters import postgres
from crawler.adapters.jobs import Jobs
from crawler.adapters.minutes import count_minutes
from crawler.adapters.partitions import make_partitions, roll_up
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.errors import (
    BrokerUnavailableError,
    DatabaseError,
    DatabaseUnavailableError,
    NotKnownError,
    UsageError,
)
from crawler.core.model import Outcome
from crawler.core.urls import domain_id
from crawler.dashboard import api_looking, domain_facts, error_facts, lately, views
from crawler.dashboard import search as searching
from crawler.dashboard.desk import Desk, JobLine
from crawler.dashboard.domain_facts import domain_full, domain_tops
from crawler.dashboard.error_facts import errors
from crawler.dashboard.fresh import Fresh
from crawler.dashboard.models import PageShort
from crawler.dashboard.overview import overview, workers
from crawler.dashboard.search import pages
from crawler.dashboard.timeline import series
from crawler.opening import Opened
from crawler.settings import load
from tests.making import Frontiers, release, rows, settled, slow, visit

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
ROW: Final = "insert into fetches (at, domain_id, crawl_id, url_hash, outcome, bytes, ms, worker) values ($1, $2, $3, $4, $5, 10, $6, 'w')"
SIGNED_IN: Final = (
    "insert into workers (worker_id, host, boot, pid, version, slots, vitals, seen_at)"
    " values ($1, 'h', '', 1, '1', $2, $3, now() - $4::interval)"
)


@pytest.fixture
async def desk(dsn: str) -> AsyncIterator[Desk]:
    """A desk as the dashboard has it, on a database of the test's own."""

    async def leave() -> None:
        """No server of ours."""

    settings = load(overrides={}, environ={"CRAWL_WORKER_PRICE": "0.36 EUR"}).settings
    jobs = (JobLine("minutes", "counts", 60, everybody=False), JobLine("dispatch", "puts", 1, everybody=True))
    async with await Database.open(dsn, size=3) as database:
        place = Opened(dsn, "here", "", leave, database)
        yield Desk(settings, place, PostgresQueue(database), "PostgreSQL", jobs)


async def attempt(
    desk: Desk, at: datetime, crawl: int, *, domain: str = "a.example", outcome: str = "ok", ms: int = 20
) -> None:
    """An attempt at some URL of the domain."""
    await desk.database.ask(ROW, at, domain_id(domain), crawl, random.randbytes(16), outcome, ms)


async def clock(desk: Desk) -> datetime:
    """The database's."""
    found: datetime = await desk.database.value("clock")
    return found


async def crawled(desk: Desk, ends: dict[str, Outcome], **more: Any) -> int:
    """A crawl that visited each of these URLs, with that end: its number."""
    heart = Frontiers(desk.database)
    crawl = await heart.crawl(*ends, **more)
    for name in sorted({url.split("/")[2] for url in ends}):
        turn, urls = await heart.hold(name)
        await heart.record(
            [
                visit(
                    url, settled(ends[url.url], again_in=3600 if ends[url.url] is Outcome.TIMEOUT else None)
                )
                for url in urls
            ],
            [release(name, turn)],
        )
        await desk.database.ask("update domains set ready_at = '-infinity'")
    return crawl


async def found(desk: Desk, *, limit: int = 50, **wanted: Any) -> list[PageShort]:
    """All that a search finds, page of the list by page."""
    told: list[PageShort] = []
    after: str | None = None
    for _ in range(500):
        some = await pages(desk, limit=limit, after=after, **wanted)
        assert len(some.pages) <= limit
        told += some.pages
        after = some.next
        if after is None:
            return told
    raise AssertionError("it goes on for ever")


# --- fresh


async def test_ten_viewers_ask_once() -> None:
    """Who asks while another asks has that one's answer; when it is older than it may be, it is asked again."""
    now, asked, gate = [0.0], [0], asyncio.Event()

    async def ask() -> int:
        asked[0] += 1
        await gate.wait()
        return asked[0]

    fresh = Fresh(lambda: now[0])
    tasks = [asyncio.create_task(fresh.get("x", 5, ask)) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    first = await asyncio.gather(*tasks)
    now[0] = 4.0
    young = await fresh.get("x", 5, ask)
    now[0] = 6.0
    old = await fresh.get("x", 5, ask)

    assert (first, young, old) == ([1] * 10, 1, 2)


async def test_a_failure_is_told_to_all_who_waited() -> None:
    """What went wrong is not asked for again by those who waited for it, but by the next who comes."""
    asked, gate = [0], asyncio.Event()

    async def ask() -> int:
        asked[0] += 1
        await gate.wait()
        raise DatabaseError("away")

    fresh = Fresh()
    tasks = [asyncio.create_task(fresh.get("x", 5, ask)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(DatabaseError):
        await fresh.get("x", 5, ask)

    assert [str(end) for end in ends] == ["away"] * 5
    assert asked == [2]


async def test_who_is_cut_off_leaves_nothing_behind() -> None:
    """When the one who asks is cut off, one of those who wait asks."""
    asked, gate = [0], asyncio.Event()

    async def ask() -> str:
        asked[0] += 1
        await gate.wait()
        return "there"

    fresh = Fresh()
    one, other = (asyncio.create_task(fresh.get("x", 5, ask)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait({one})
    gate.set()

    assert await other == "there"
    assert asked == [2]


async def test_only_so_many_answers_are_kept() -> None:
    """The oldest answers are forgotten for new ones."""
    fresh = Fresh()
    for number in range(200):

        async def ask(number: int = number) -> int:
            return number

        assert await fresh.get(number, 1000, ask) == number

    assert len(fresh._answers) <= 64


async def test_no_page_waits_for_a_frozen_server(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is frozen, and sends nothing more, is told as one that is away, on each page, within seconds."""
    monkeypatch.setattr(postgres, "SILENCE", 0.2)
    backend = await desk.database.ask("select pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(15):
            ends = await asyncio.gather(
                views.url(desk, {"url": "https://a.example/"}),
                views.schedule(desk, {}),
                views.errors(desk, {}),
                return_exceptions=True,
            )
    finally:
        os.kill(backend, signal.SIGCONT)

    assert [type(end) for end in ends] == [DatabaseUnavailableError] * 3


# --- the overview


async def test_the_overview_of_nothing(desk: Desk) -> None:
    """Where nothing was crawled, everything is none, and it says how to begin."""
    seen = await overview(desk)

    assert (seen.workers, seen.slots, seen.frontier.urls, seen.outcomes, seen.crawls) == (0, 0, 0, {}, {})
    assert (seen.rate.fetches, seen.queue.waiting, seen.queue.dead) == (0.0, 0, 0)
    assert len(seen.hour.points) in {60, 61}
    assert seen.limiting.what == "nothing"
    assert seen.cost is not None
    assert seen.cost.per_million_pages is None


async def test_the_overview_of_a_crawl(desk: Desk) -> None:
    """It tells the frontier, the workers, what they say of themselves, and what a million pages cost at that speed."""
    heart = Frontiers(desk.database)
    crawl = await heart.crawl("https://a.example/", "https://b.example/")
    now = await clock(desk)
    await attempt(desk, now - 5 * MINUTE, crawl)
    await attempt(desk, now, crawl, outcome="timeout")
    await count_minutes(desk.database)
    said = '{"seconds": 10, "pages": 20, "fetches": 25, "bytes": 1000, "turns": 10, "resting": 9}'
    await desk.database.ask(SIGNED_IN, "w", 100, said, timedelta())
    await desk.database.ask(SIGNED_IN, "x", 100, said, timedelta())
    await desk.database.ask(SIGNED_IN, "dead", 100, said, timedelta(minutes=2))
    await desk.database.ask(SIGNED_IN, "s", 0, "{}", timedelta())
    for number in range(3):
        await desk.database.ask(SIGNED_IN, f"t{number}", 0, "{}", timedelta(minutes=2))
    seen = await overview(desk)

    assert (seen.workers, seen.schedulers, seen.slots) == (2, 1, 200)
    assert (seen.silent, seen.silent_schedulers) == (1, 3)
    assert (seen.rate.pages, seen.rate.fetches, seen.rate.bytes) == (40, 50, 2000)
    assert (seen.frontier.ready, seen.frontier.urls, seen.frontier.waiting) == (2, 2, 2)
    assert seen.frontier.oldest_domain in {"a.example", "b.example"}
    assert seen.outcomes == {"ok": 1, "timeout": 1}
    assert seen.limiting.what == "politeness"
    assert seen.cost is not None
    assert seen.cost.per_million_pages == pytest.approx(2 * 0.36 / (40 * 3600) * 1_000_000)
    assert seen.database_bytes > 0
    assert [one.vitals.get("turns") for one in await workers(desk) if not one.scheduler] == [10, 10, 10]


async def test_a_crawl_that_was_killed_stands(desk: Desk) -> None:
    """What a worker said half a minute ago is not its speed any more: the attempts of the last seconds are, and there are none."""
    crawl = await Frontiers(desk.database).crawl("https://a.example/")
    await desk.database.ask(SIGNED_IN, "w", 100, '{"seconds": 10, "fetches": 25}', timedelta(seconds=40))
    before = (await overview(desk)).rate.fetches
    await attempt(desk, await clock(desk), crawl)
    desk.fresh = Fresh()
    after = (await overview(desk)).rate

    assert before == 0
    assert after.fetches == pytest.approx(1 / after.seconds)


async def test_a_broker_that_is_away_is_told(desk: Desk) -> None:
    """Without its broker the overview is there, and says what limits the crawl."""

    class Away(PostgresQueue):
        """A queue that does not answer."""

        async def depth(self) -> int:
            """Never."""
            raise BrokerUnavailableError

    desk.queue = Away(desk.database)
    seen = await overview(desk)

    assert (seen.queue.waiting, seen.limiting.what) == (None, "broker_away")
    assert "cannot be reached" in str(seen.queue.trouble)


async def test_jobs_in_trouble_are_told(desk: Desk) -> None:
    """A job that failed, and one that is late although a scheduler lives; without one, nobody is late."""
    jobs = Jobs(desk.database)
    await jobs.plan(["minutes", "bodies"])
    await jobs.claim({"bodies": 60}, "s")
    await jobs.end("bodies", 60, "s", 5, failed=True, detail="no room")
    await desk.database.ask("update jobs set next_at = now() - interval '1 hour' where name = 'minutes'")
    alone = (await overview(desk)).job_trouble
    await desk.database.ask(SIGNED_IN, "s", 0, "{}", timedelta())
    desk.fresh = Fresh()

    assert alone == ["bodies failed: no room"]
    assert (await overview(desk)).job_trouble == ["bodies failed: no room", "minutes is late"]


async def test_clocks_that_are_wrong_are_told(desk: Desk) -> None:
    """A live worker whose clock is more than five seconds off the database's is told, once for its host."""
    for name, skew, silent in (("a", -12.4, 0), ("b", -11, 0), ("c", 4.9, 0), ("d", 60, 2)):
        said = f'{{"seconds": 10, "clock_skew": {skew}}}'
        await desk.database.ask(SIGNED_IN, name, 10, said, timedelta(minutes=silent))
    await desk.database.ask("update workers set host = 'other' where worker_id = 'c'")

    assert (await overview(desk)).job_trouble == [
        "the clock of h is 12 s behind the database's: set both by NTP"
    ]


# --- attempts over time


async def test_the_last_hour_is_the_databases(desk: Desk) -> None:
    """The last hour is told by the clock of the database, on pages and by the API: the dashboard's own may be wrong."""
    async with desk.database.connection() as connection:  # sessions from now on have a clock of their own
        (name,) = await connection.fetchrow("select current_database()")
        await connection.execute(
            "create function public.now() returns timestamptz stable language sql"
            " as $$ select pg_catalog.now() + interval '3 hours' $$;"
            f"alter database {name} set search_path = public, pg_catalog"
        )
    crawl, now = await Frontiers(desk.database).crawl("https://a.example/"), await clock(desk)
    await attempt(desk, now, crawl)
    page = (await views.crawl(desk, {"name": "test"}))["hour"]
    told = await api_looking.stats(desk)

    assert abs(now - datetime.now(UTC) - 3 * HOUR) < MINUTE
    assert len(page.points) == 60
    assert [sum(sum(point.outcomes.values()) for point in one.points) for one in (page, told)] == [1, 1]


async def test_a_series_is_whole(desk: Desk) -> None:
    """Hours, minutes and what is not counted yet make one series, in which each attempt counts once, and empty steps are there."""
    crawl, now = await Frontiers(desk.database).crawl(), await clock(desk)
    other = await Frontiers(desk.database).crawl(name="other")
    await make_partitions(
        desk.database, (now - 4 * DAY).replace(hour=0, minute=0, second=0, microsecond=0), 6
    )
    dice = random.Random(3)
    moments = [now - dice.random() * 4 * DAY for _ in range(60)] + [
        now - 20 * HOUR / 3600 * n for n in range(9)
    ]
    for moment in moments:
        await attempt(desk, moment, crawl)
    await attempt(desk, now - HOUR, other, outcome="gone")
    await roll_up(desk.database)
    await count_minutes(desk.database)
    await attempt(desk, now, crawl, outcome="timeout")
    long = await series(desk, since=now - 5 * DAY, until=now + MINUTE, step=60)
    short = await series(desk, since=now - HOUR, until=now + MINUTE, step=90, crawl="test")

    assert long.step == 3600
    assert len(long.points) == len({point.at for point in long.points}) in {121, 120}
    assert sum(point.outcomes.get("ok", 0) for point in long.points) == len(moments)
    assert sum(point.bytes for point in long.points) == 10 * (len(moments) + 2)
    assert short.step == 120
    assert (
        sum(sum(point.outcomes.values()) for point in short.points)
        == sum(moment >= short.since for moment in moments) + 1
    )
    assert {name for point in short.points for name in point.outcomes} <= {"ok", "timeout"}


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"crawl": "none"}, NotKnownError),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, UsageError),
        ({"until": datetime(2001, 1, 1, tzinfo=UTC)}, UsageError),
        ({"since": datetime(2026, 1, 1)}, UsageError),  # noqa: DTZ001 - that is the case
        ({"since": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, UsageError),
        ({"step": 0}, UsageError),
        ({"step": 10**18}, UsageError),
    ],
)
async def test_a_series_that_cannot_be(desk: Desk, wanted: dict[str, Any], error: type[Exception]) -> None:
    """What cannot be told is refused: an unknown crawl, too many steps, an end before the beginning, a moment without a zone."""
    now = await clock(desk)
    asked: dict[str, Any] = {"since": now - 9000 * HOUR, "until": now, "step": 60} | wanted
    with pytest.raises(error):
        await series(desk, **asked)


# --- domains


@pytest.fixture(params=["counted", "estimated"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the frontier is small enough to be counted."""
    if request.param == "estimated":
        monkeypatch.setattr(domain_facts, "SMALL", 0)
        monkeypatch.setattr(domain_facts, "COUNTED", 5)
    return bool(request.param == "counted")


async def test_the_domains_to_look_at(desk: Desk, small: bool) -> None:  # noqa: FBT001 - a fixture
    """The slowest, the most failing and the most queued, of a frontier that is counted, and of one that is estimated.

    A page that was visited and will be again, some day, is not queued.
    """
    heart, now = Frontiers(desk.database), await clock(desk)
    crawl = await heart.crawl(
        "https://slow.example/",
        "https://bad.example/",
        *(f"https://many.example/{n}" for n in range(12)),
        *(f"https://slow.example/{n}" for n in range(20)),
        *(f"https://done.example/{n}" for n in range(20)),
    )
    await desk.database.ask(
        "update urls set outcome = 'ok', open = false, due_at = now() + interval '7 days'"
        " where url ~ '^https://(done|slow)\\.example/\\d+$'"
    )
    await desk.database.script("analyze urls")
    for n in range(3):
        await attempt(desk, now - n * MINUTE, crawl, domain="slow.example", ms=9000)
        await attempt(desk, now - n * MINUTE, crawl, domain="bad.example", outcome="timeout", ms=1)
    await count_minutes(desk.database)
    tops = await domain_tops(desk)

    assert tops.exact == small
    assert (tops.slowest[0].domain, tops.slowest[0].ms) == ("slow.example", 9000)
    assert [line.domain for line in tops.failing] == ["bad.example"]
    assert tops.failing[0].failed == tops.failing[0].fetches > 0
    assert [(line.domain, line.urls) for line in tops.queued] == [
        ("many.example", 12), ("bad.example", 1), ("slow.example", 1),
    ]  # fmt: skip


async def test_tops_of_a_crawl_that_has_just_begun(desk: Desk) -> None:
    """Before the first minute is counted, the attempts of that minute are looked at."""
    crawl = await Frontiers(desk.database).crawl("https://a.example/")
    await attempt(desk, await clock(desk), crawl)

    assert [line.domain for line in (await domain_tops(desk)).slowest] == ["a.example"]


async def test_one_domain(desk: Desk) -> None:
    """A domain is told with its crawls, its robots.txt and its last errors."""
    ends = {f"https://a.example/{n}": Outcome.OK if n else Outcome.TIMEOUT for n in range(3)}
    crawl = await crawled(desk, ends)
    await desk.database.ask("update urls set due_at = now() + interval '7 days'")
    await Frontiers(desk.database).seed(crawl, "https://a.example/new", "https://a.example/newer")
    await desk.database.ask(
        "insert into origins (domain_id, origin, status, body, sitemaps) values ($1, 'https://a.example', 200, $2, '{x}')",
        domain_id("a.example"),
        b"\xef\xbb\xbfUser-agent: *\nDisallow: /\xff",
    )
    full = await domain_full(desk, "a.example")

    assert [(one.crawl, one.state, one.urls, one.pages, one.waiting) for one in full.crawls] == [
        ("test", "running", 5, 2, 2)
    ]
    assert [(one.outcome, one.url) for one in full.errors] == [("timeout", "https://a.example/0")]
    assert [(one.body, one.sitemaps) for one in full.robots] == [("User-agent: *\nDisallow: /\ufffd", ["x"])]
    assert (full.blocked, full.ready_at, full.delay, full.errors_since) == (None, None, 1.0, None)


@pytest.fixture
async def past(desk: Desk) -> tuple[int, datetime]:
    """A crawl, and the database's time; the last month's attempts have their partitions."""
    now = await clock(desk)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await make_partitions(desk.database, midnight - 30 * DAY, 32)
    return await Frontiers(desk.database).crawl("https://a.example/"), now


async def test_the_last_errors_of_a_busy_domain(
    desk: Desk, past: tuple[int, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a domain with more attempts than are looked at, the errors among the last attempts at all are told, and since when that is."""
    monkeypatch.setattr(domain_facts, "LOOKED_AT", 10)
    monkeypatch.setattr(domain_facts, "ATTEMPTS", 30)
    crawl, now = past
    for n in range(40):
        await attempt(desk, now - n * MINUTE, crawl, outcome="timeout" if n % 8 == 3 else "ok")
        await attempt(desk, now - n * MINUTE, crawl, domain="b.example", outcome="gone")
    await count_minutes(desk.database)
    full = await domain_full(desk, "a.example")
    since = full.errors_since

    assert since is not None
    assert now - 20 * MINUTE < since < now - 10 * MINUTE
    assert [one.at for one in full.errors] == [
        now - n * MINUTE for n in range(40) if n % 8 == 3 and now - n * MINUTE >= since
    ]


async def test_the_errors_of_a_domain_that_has_become_busy(
    desk: Desk, past: tuple[int, datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far back as a domain's attempts are few, its errors are told, and that older ones were not looked for."""
    monkeypatch.setattr(domain_facts, "LOOKED_AT", 10)
    monkeypatch.setattr(domain_facts, "ATTEMPTS", 1)
    crawl, now = past
    for n in range(20):
        await attempt(desk, now - 20 * DAY - n * MINUTE, crawl, outcome="gone")
    times = [now, now - 2 * DAY, now - 4 * DAY]
    for moment in times:
        await attempt(desk, moment, crawl, outcome="timeout")
    full = await domain_full(desk, "a.example")

    assert [one.at for one in full.errors] == times
    assert full.errors_since is not None
    assert now - 8 * DAY < full.errors_since <= now - 7 * DAY


async def test_errors_that_take_too_long_to_find(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the attempts cannot be looked through in time, everything else of the domain is told."""
    monkeypatch.setattr(domain_facts, "LONGEST", 0.05)
    await crawled(desk, {"https://a.example/": Outcome.TIMEOUT})
    async with slow(desk.database) as (_, connection):
        await connection.execute("lock table fetches in access exclusive mode")
        full = await domain_full(desk, "a.example")

    assert [one.urls for one in full.crawls] == [1]
    assert full.errors == []
    assert full.errors_since is not None


async def test_many_viewers_of_a_domain_count_it_once(desk: Desk) -> None:
    """What is costly to find out of a domain is found out every few seconds; what was set of it is told at once."""
    await crawled(desk, {"https://a.example/": Outcome.TIMEOUT})
    before = await domain_full(desk, "a.example")
    await desk.database.ask("delete from fetches")
    await desk.database.ask("update domains set blocked = 'asked'")
    after = await domain_full(desk, "a.example")

    assert (before.errors, before.blocked) == (after.errors, None)
    assert after.blocked == "asked"


async def test_a_domain_that_nobody_knows(desk: Desk) -> None:
    """A domain that is in no crawl is not known."""
    with pytest.raises(NotKnownError):
        await domain_full(desk, "none.example")


# --- errors


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of attempts only a few are read at a time."""
    monkeypatch.setattr(lately, "ROWS", 6)
    monkeypatch.setattr(lately, "A_SPAN", 2)
    monkeypatch.setattr(error_facts, "STEPS", 12)


@pytest.mark.usefixtures("little")
async def test_errors_are_the_newest(desk: Desk) -> None:
    """The last attempts that went wrong, through all that is counted and what is not yet; of one crawl, or with one outcome."""
    heart, now = Frontiers(desk.database), await clock(desk)
    await make_partitions(
        desk.database, (now - 4 * DAY).replace(hour=0, minute=0, second=0, microsecond=0), 6
    )
    one, other = await heart.crawl(), await heart.crawl(name="other")
    times = [now - n * n * n * 3 * MINUTE for n in range(12)]
    for n, moment in enumerate(times):
        await attempt(desk, moment, one, outcome="timeout" if n % 2 else "dns_error")
        await attempt(desk, moment - MINUTE / 7, other)
    await roll_up(desk.database)
    await count_minutes(desk.database)

    assert [one.at for one in await errors(desk)] == times
    assert [one.at for one in await errors(desk, outcome="timeout", limit=3)] == times[1:6:2]
    assert await errors(desk, crawl="other") == []
    assert {one.outcome for one in await errors(desk, crawl="other", outcome="ok")} == {"ok"}
    with pytest.raises(UsageError, match="no such outcome"):
        await errors(desk, outcome="bad")


# --- search

ENDS: Final = {
    f"https://{name}.example/{n}": end
    for name in ("a", "b", "c")
    for n, end in enumerate(
        [Outcome.OK, Outcome.OK, Outcome.GONE, Outcome.TIMEOUT, Outcome.OK, Outcome.HTTP_ERROR]
    )
}


@pytest.fixture(params=["few", "many"])
def bounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a crawl's URLs are few enough to be read whole; and only a few are walked through at a time."""
    if request.param == "many":
        monkeypatch.setattr(searching, "FEW", 4)
        monkeypatch.setattr(searching, "WALK", 0.0)
        monkeypatch.setattr(searching, "CHUNK", 5)


WISHES: Final[list[tuple[dict[str, Any], Callable[[str, Outcome], bool]]]] = [
    ({"crawl": "test"}, lambda *_: True),
    ({"crawl": "test", "outcome": "ok"}, lambda _, end: end is Outcome.OK),
    ({"crawl": "test", "outcome": "gone"}, lambda _, end: end is Outcome.GONE),
    ({"crawl": "test", "outcome": "timeout"}, lambda _, end: end is Outcome.TIMEOUT),
    ({"crawl": "test", "outcome": "dns_error"}, lambda *_: False),
    ({"outcome": "http_error"}, lambda _, end: end is Outcome.HTTP_ERROR),
    ({}, lambda *_: True),
    ({"domain": "b.example"}, lambda url, _: "//b." in url),
    (
        {"domain": "b.example", "outcome": "ok", "crawl": "test"},
        lambda url, end: "//b." in url and end is Outcome.OK,
    ),
    ({"domain": "b.example", "crawl": "waiting"}, lambda *_: False),
    ({"until": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, lambda *_: True),
    ({"until": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, lambda *_: False),
    ({"domain": "b.example", "since": datetime(2026, 1, 1, tzinfo=UTC)}, lambda url, _: "//b." in url),
    ({"domain": "b.example", "until": datetime(2026, 1, 1, tzinfo=UTC)}, lambda *_: False),
]


@pytest.mark.usefixtures("bounds")
async def test_a_search_finds_what_there_is_once(desk: Desk) -> None:
    """Whatever is sought, and however much is told at a time: all that fits is found, nothing else, and nothing twice."""
    await crawled(desk, ENDS)
    await Frontiers(desk.database).crawl("https://z.example/1", "https://z.example/2", name="waiting")
    await count_minutes(desk.database)
    told = {
        (number, limit): sorted(page.url for page in await found(desk, limit=limit, **wish))
        for number, (wish, _) in enumerate(WISHES)
        for limit in (2, 50)
    }
    # A failure that will be tried again leaves no page, and so has no time by which a walk through a domain could find it.
    unpaged = {url for url, end in ENDS.items() if end is Outcome.TIMEOUT}
    expected = {
        (number, limit): sorted(
            url for url, end in ENDS.items() if fits(url, end) and not (number in {12, 13} and url in unpaged)
        )
        for number, (_, fits) in enumerate(WISHES)
        for limit in (2, 50)
    }

    assert told == expected


@pytest.mark.usefixtures("bounds")
async def test_what_waits_is_found(desk: Desk) -> None:
    """URLs that were not visited yet are found by the empty outcome, of a crawl or of all."""
    await crawled(desk, ENDS)
    waiting = [f"https://z.example/{n}" for n in range(7)]
    await Frontiers(desk.database).crawl(*waiting, name="waiting")

    for wish in (
        {"outcome": "unvisited"},
        {"outcome": "unvisited", "crawl": "waiting"},
        {"domain": "z.example", "outcome": "unvisited"},
    ):
        some = await found(desk, limit=3, **wish)

        assert sorted(page.url for page in some) == waiting
        assert {(page.outcome, page.status, page.crawl) for page in some} == {(None, None, "waiting")}


@pytest.mark.usefixtures("little")
async def test_a_url_is_told_by_its_last_attempt(desk: Desk) -> None:
    """A URL that was visited several times is found by time once, as the last visit left it."""
    crawl = await crawled(desk, {"https://a.example/": Outcome.OK})
    (key,) = await rows(desk.database, "select domain_id, url_hash from urls")
    now = await clock(desk)
    for n in range(1, 9):
        await desk.database.ask(ROW, now - n * MINUTE, key["domain_id"], crawl, key["url_hash"], "timeout", 1)
    await count_minutes(desk.database)
    (page,) = await found(desk, limit=1)

    assert (page.outcome, page.title is not None, page.status) == ("ok", True, 200)
    assert await found(desk, limit=1, outcome="timeout") == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"outcome": "bad"},
        {"outcome": "unvisited", "since": datetime(2026, 1, 1, tzinfo=UTC)},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is the case
        *(
            {"after": after}
            for after in ("", "x", "!!", "W10", "bnVsbA", "W251bGwsMSwyLDNd", "\ud800", "[" * 5000)
        ),
        {"after": str(replace(searching.Cursor("walk", key=(1, 2, b"x")), way="other"))},
        {"after": str(searching.Cursor("walk", key=(2**70, 2, b"x")))},
        {"after": str(searching.Cursor("lately"))},
    ],
)
async def test_what_cannot_be_sought(desk: Desk, wanted: dict[str, Any]) -> None:
    """What makes no sense together, and what no earlier answer said, is refused in a line."""
    with pytest.raises(UsageError):
        await pages(desk, **wanted)


async def test_a_crawl_that_nobody_knows(desk: Desk) -> None:
    """Neither errors nor pages of a crawl that is not there are sought."""
    for ask in (pages, errors):
        with pytest.raises(NotKnownError):
            await ask(desk, crawl="none")
