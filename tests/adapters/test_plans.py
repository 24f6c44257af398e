"""The hot statements look rows up by an index, whatever the tables hold: the plans a session keeps for good.

A plan is asked for as the session would have it: prepared, and generic.
"""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import asyncpg
import pytest

from crawler.adapters.postgres import LOOKUPS, QUERIES, SESSION, Database
from tests.conftest import Server
from tests.making import Frontiers

pytestmark = pytest.mark.xdist_group("plans")  # they share a database that is costly to fill

URLS: Final = 200_000
DOMAINS: Final = 200
FILL: Final = f"""
insert into crawls (name, scope, max_pages, max_pages_per_domain) values ('a', 'any', 1000000, 10000), ('b', 'any', null, null);
insert into domains (domain_id, name, due_at) select n * 7919, n || '.example', now() - interval '1 h' from generate_series(1, {DOMAINS}) n;
insert into urls (domain_id, crawl_id, url_hash, url, due_at, open, outcome, seed)
  select (1 + n % {DOMAINS}) * 7919, 1 + (n % 10 = 0)::int, decode(md5(n::text), 'hex'), 'https://x.example/' || n,
    case when n % 4 = 0 then now() - interval '1 h' + n * interval '1 s' end, n % 4 = 0,
    case when n % 4 > 0 then 'ok' end, n % 1000 = 0
  from generate_series(1, {URLS}) n;
insert into pages (domain_id, crawl_id, url_hash, first_at, fetched_at, outcome, status)
  select domain_id, crawl_id, url_hash, now(), now(), 'ok', 200 from urls where outcome = 'ok';
insert into domain_pages select domain_id, crawl_id, count(*) from pages group by 1, 2;
insert into fetches (at, domain_id, crawl_id, url_hash, outcome, worker)
  select fetched_at, domain_id, crawl_id, url_hash, outcome, 'w' from pages;
insert into messages (queue, body, consumer)
  select 'crawl.turns', 'x', case when n % 2 = 0 then 1 end from generate_series(1, 2000) n;
"""
WORKERS: Final = (  # noqa: SIM905 - twenty pairs of quotes would hide the names
    "dispatch turn_urls urls_past record_unchanged record_versions record_sitemaps record_sitemaps_unchanged record_promises"
    " announced_so_far announced_urls promises_open urgent_urls urgent_wished"
    " sitemaps_above origins_vouching announced_known announce_again close_over_budget bury_urls give_back"
    " next_due accept claim renew record_bodies record_links record_settle"
    " record_pages record_no_targets pages_stored record_fetches record_domain_pages record_counts record_budget touch release"
    " release_empty robots_get robots_put robots_rearm robots_wished"
    " record_erased domains_by_hand erase_urls erase_digests erase_pages bodies_drop"
    " erase_version_digests erase_versions erase_sitemaps erase_links erase_words"
    " search_range search_bodies search_gone search_forget search_write search_begin search_place search_done"
).split()
OTHERS: Final = (
    "rearm_seeds", "record_links", "touch", "seeds_stored", "seeds_failed", "rearm_domains", "erase_domains",
    "erase_fetches", "domains_drop", "follow", "page_likeness", "domain_crawls", "crawl_seed_domains",
)  # fmt: skip
LOOKED_UP: Final = ("crawl_busy", "finish")
LOOKING: Final = tuple(
    name
    for name in QUERIES
    if name.startswith("look_") and name not in {"look_up", "look_up_all", "look_queued_sample"}
)
"""What the dashboard asks. The last one reads blocks that it draws by lot, and how many these are it is told."""
HUGE: Final = r"(urls|pages|fetches|domains|origins|bodies)(_\w+)?"


@pytest.fixture(scope="module")
def filled(server: Server) -> Iterator[str]:
    """The DSN of a database with a crawl of some size in it."""
    name = server.clone()

    async def fill() -> None:
        connection = await asyncpg.connect(server.dsn(name))
        await connection.execute(FILL)
        await connection.execute("vacuum analyze")
        await connection.close()

    server.do(fill())
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture(scope="module")
def young(server: Server) -> Iterator[str]:
    """The DSN of an empty database."""
    name = server.clone()
    yield server.dsn(name)
    server.drop(name)


@pytest.fixture(params=["young", "filled"])
async def looked_up(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A session with a worker's settings, on an empty database and on one of some size."""
    where = request.getfixturevalue(request.param)
    connection = await asyncpg.connect(where, server_settings=SESSION | LOOKUPS)
    yield connection
    await connection.close()


@pytest.fixture
async def plain(filled: str) -> AsyncIterator[Any]:
    """A session of whoever is no worker, on a database of some size; what it does is undone."""
    connection = await asyncpg.connect(filled, server_settings=SESSION)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def plan(connection: Any, name: str) -> str:
    """The generic plan of a named statement."""
    prepared = await connection.prepare(QUERIES[name])
    await connection.execute(f"prepare generic as {QUERIES[name]}")
    nulls = ", ".join(["null"] * len(prepared.get_parameters()))
    await connection.execute("set plan_cache_mode = force_generic_plan")
    rows = await connection.fetch(f"explain execute generic({nulls})" if nulls else "explain execute generic")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", [*WORKERS, *LOOKED_UP])
async def test_worker_plans(looked_up: Any, name: str) -> None:
    """A worker's statement reads no big table from end to end."""
    text = await plan(looked_up, name)

    assert re.findall(rf"Seq Scan on {HUGE}\b", text) == [], text


async def actual(connection: Any, name: str, *args: object) -> str:
    """How the statement was carried out with these arguments, once the session knows it."""
    values = ", ".join(f"'{argument}'" for argument in args)
    await connection.fetch(QUERIES["look_up"])
    await connection.execute(f"prepare known as {QUERIES[name]}")
    for _ in range(6):  # from then on PostgreSQL may settle on the generic plan
        rows = await connection.fetch(f"explain (analyze, timing off) execute known({values})")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", OTHERS)
async def test_plain_plans(plain: Any, name: str) -> None:
    """On a session without a worker's settings too, the generic plan of what `crawl run` asks reads no big table whole."""
    text = await plan(plain, name)

    assert re.findall(r"Seq Scan on (urls|pages|fetches)(_\w+)?\b", text) == [], text


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("crawl_busy", (2, "5 minutes", "-infinity")),
        ("crawl_busy", (2, "0 s", "2200-01-01")),
        ("finish", (2,)),
    ],
)
async def test_questions_are_cheap(plain: Any, name: str, args: tuple[object, ...]) -> None:
    """What `crawl run` asks time and again looks at few rows, also when nothing is open and the statistics are old."""
    await plain.execute("update urls set open = false, due_at = null where crawl_id = 2")
    text = await actual(plain, name, *args)

    assert re.findall(r"Seq Scan on urls", text) == [], text


@pytest.mark.parametrize("name", LOOKING)
async def test_looking_plans(plain: Any, name: str) -> None:
    """What a dashboard asks reads no big table whole, also not those that lie in partitions by time."""
    await plain.fetch(QUERIES["look_around"], "2000")
    text = await plan(plain, name)

    assert re.findall(rf"Seq Scan on {HUGE}\b", text) == [], text


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("look_recent", ("15", None)),
        ("look_uncounted", ("yesterday", "now", None)),
        ("look_tops", ("yesterday", "now", "10", "{ok}")),
        ("look_attempts_between", ("yesterday", "now", None, None, None, None, None, None, "50")),
        ("look_domain_errors_lately", ("7919", "yesterday", "{ok}", "20")),
        ("roll_up_minutes", ("yesterday", "now")),
        ("follow_attempts", ("1", "1", "4097", "201")),
        ("follow_strange", ()),
        ("follow_mend", ()),
    ],
)
async def test_what_happened_lately_is_found_by_its_time(
    plain: Any, name: str, args: tuple[str | None, ...]
) -> None:
    """Attempts of a time, or of some transactions, are read by a BRIN index, and summed up without being sorted."""
    await plain.fetch(
        QUERIES["scan_freely" if name == "roll_up_minutes" else "look_around"],
        *([] if name == "roll_up_minutes" else ["2000"]),
    )
    await plain.execute("set local enable_seqscan = off")
    await plain.execute(f"prepare lately as {QUERIES[name]}")
    values = ", ".join("null" if argument is None else f"'{argument}'" for argument in args)
    text = "\n".join(row[0] for row in await plain.fetch(f"explain execute lately{values and f'({values})'}"))

    assert "Bitmap Index Scan on fetches" in text, text
    assert not re.search(r"GroupAggregate", text), text


@pytest.mark.parametrize(
    ("name", "args", "most"),
    [
        ("look_walk", ("0", "0", "", "1000", None, "ok", "50"), 1100),
        ("look_walk_domain", ("7919", "0", "", "500", None, "ok", "50", None, None), 700),
        ("look_frontier", ("100",), 700),
        ("look_few", ("2", "ok", "300", "0", "0", "", "50", "false"), 700),
        ("look_lines", ("{7919,15838}", "100"), 400),
        ("look_domain_crawls", ("7919", "100"), 700),
        ("look_domain_errors", ("7919", "yesterday", "tomorrow", "100", "{ok}", "20"), 300),
    ],
)
async def test_looking_is_bounded(plain: Any, name: str, args: tuple[str | None, ...], most: int) -> None:
    """However many rows there are, no step of the plan touches more than were to be looked at."""
    await plain.fetch(QUERIES["look_around"], "2000")
    await plain.execute(f"prepare bounded as {QUERIES[name]}")
    values = ", ".join("null" if argument is None else f"'{argument}'" for argument in args)
    rows = await plain.fetch(f"explain (analyze, timing off, costs off) execute bounded({values})")
    text = "\n".join(row[0] for row in rows)
    touched = [
        float(n) * int(loops)
        for n, loops in re.findall(r"on (?:urls|pages|domains|fetches)\w* .*rows=([\d.]+) loops=(\d+)", text)
    ]
    removed = [int(n) for n in re.findall(r"Rows Removed by Filter: (\d+)", text)]

    assert touched, text
    assert max([*touched, *removed]) <= most, text


async def test_a_young_table_grows(database: Database) -> None:
    """A session that prepared its statements on empty tables still looks up by index when they have grown."""
    heart = Frontiers(database)
    crawl = await heart.crawl(*(f"https://a.example/{n}" for n in range(10)))
    for _ in range(7):
        await heart.take()
        await database.script("update domains set ready_at = now()")
    new = await heart.seed(crawl, *(f"https://a.example/{n}" for n in range(3000)))
    turns = await heart.take(most=10)

    assert new == 2990
    assert len(turns["a.example"][1]) == 10
