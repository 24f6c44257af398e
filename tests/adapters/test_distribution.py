"""Could the database lie on several servers, by domain? Held against the schema, and against every statement of the program.

deploy/citus/distribute.sql says where each table lies. What does not go by domain stands here, with the reason; docs/growing.md says what
each reason means. Citus itself is not here: this is what its documents and its sources ask for.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from pglast import ast, parse_sql

from crawler.adapters.postgres import QUERIES, Database
from tests.adapters.distribution import Findings, Hindrance, Layout, read
from tests.adapters.meeting import inside
from tests.conftest import Server
from tests.making import rows

ROOT: Final = Path(__file__).parents[2]
SQL: Final = (ROOT / "deploy" / "citus" / "distribute.sql").read_text()
GUIDE: Final = (ROOT / "docs" / "growing.md").read_text()

EVERY_SHARD: Final[Mapping[str, str]] = {
    "which domains come next": (
        "dispatch next_due oldest_due look_frontier crawl_busy robots_expired stale_domains stale_domains_of rules_shown rearm_domains"
        " retime_rows retime_undone erase_domains"
    ),
    "what a crawl has, of whatever domain": (
        "reopen_budget grant_room rearm_refused rearm_sitemaps crawl_run crawl_recount crawl_touch finish crawl_waiting urls_buried"
        " seeds_stored seeds_failed crawl_seed_domains seed_run refresh_done export_domains look_few look_crawl_seeds look_crawl_waiting"
        " look_walk look_queued look_queued_sample"
    ),
    "what was attempted at a time": (
        "look_recent look_uncounted look_attempts_between look_tops look_domain_errors_lately look_crawl_tops crawl_domains crawl_recent"
        " fetches_between roll_up roll_up_minutes fetches_rest_hours fetches_rest_drop hours_rolled follow_attempts"
        " follow_strange follow_mend"
    ),
    "what is the same, and what has these words": (
        "duplicates_hashes duplicates_bodies duplicates_texts duplicates_members search_domains search_unwanted search_unread search_pages"
    ),
    "who holds what, and who is at an address": "look_workers workers_shown free_dead crawl_queue accept",
    "names that are alike": "domains_like",
    "bodies, which lie by their digest": (
        "look_pages show_page export follow show_version bodies_drop bodies_unused bodies_unused_drop search_bodies"
    ),
    "the page with the link, of another domain": "find_url",
}
"""Statements that ask all servers, by what they look for."""

MEETING: Final[Mapping[str, str]] = {
    "words that are wanted no more, if there are any": "search_unwanted",
    "lines of domains, by the crawl they are due for": "dispatch next_due oldest_due look_frontier crawl_busy",
    "domains of one address, or those that are accepted with them": "accept",
    "pages and their bodies": (
        "look_pages show_page export follow show_version bodies_drop bodies_unused bodies_unused_drop search_bodies"
    ),
    "a URL and the page on which it was found": "find_url",
    "a sitemap and the robots.txt of another domain that names it": "record_sitemap_vouched",
    "what was counted, beside what was found": "look_domain_errors",
    "rows by their place in a partition (ctid)": "fetches_rest_drop",
}
"""Statements in which rows of two distributed tables meet otherwise than by domain, by what these rows are."""

BLIND: Final = {"reopen_budget", "fetches_rest_drop", "follow_mend"}
"""Statements that write rows of all domains."""

HINDERED: Final = {
    Hindrance.LOCKS: (
        "dispatch close_over_budget grant_room give_back accept renew robots_rearm rearm_refused rearm_sitemaps retime_rows free_dead"
        " rearm_buried erase_urls erase_pages erase_versions erase_sitemaps erase_links erase_words bodies_lock"
        " domains_lock fetches_rest_drop robots_renew"
        " record_page_is_sitemap record_sitemap_vouched announce_again refresh_wish"
    ),
    Hindrance.VOLATILE: (
        "dispatch give_back accept renew record_settle release release_empty release_claim free_dead domains_drop refresh_wish urgent"
    ),
    Hindrance.CONFLICT: "claim record_bodies touch robots_put seed_again seed_touch",
    Hindrance.RECURSIVE: "look_frontier dispatch next_due crawl_busy oldest_due",
    Hindrance.SAMPLE: "look_queued_sample",
    Hindrance.REFERENCE: "crawl_run crawl_recount finish finish_full seed_run refresh_done",
}
"""What would have to be written otherwise before the program can run on Citus."""


def laid_out() -> tuple[dict[str, str], dict[str, str], set[str], set[str]]:
    """What distribute.sql says: the column and the neighbour of each distributed table; reference tables; tables that stay."""
    by: dict[str, str] = {}
    beside: dict[str, str] = {}
    replicated: set[str] = set()
    for call in inside([one.stmt for one in parse_sql(SQL)], ast.FuncCall):
        words = [
            str(const.val.sval)
            for const in inside(call.args, ast.A_Const)
            if isinstance(const.val, ast.String)
        ]
        if call.funcname[-1].sval == "create_reference_table":
            replicated.add(words[0])
        else:
            by[words[0]] = words[1]
            beside[words[0]] = words[2]
    (local,) = re.findall(r"^-- local: (.+)$", SQL, re.MULTILINE)
    return by, beside, replicated, set(local.split(", "))


async def tables(dsn: str) -> Layout:
    """Where the rows of the tables of a migrated database lie: partitions with their table."""
    by, _, replicated, _ = laid_out()
    async with await Database.open(dsn, size=1) as database:
        known = await rows(
            database,
            "select c.relname::text as name, i.inhparent::regclass::text as parent, array_agg(a.attname::text) as columns from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " left join pg_inherits i on i.inhrelid = c.oid"
            " where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace group by 1, 2",
        )
    columns = {row["name"]: frozenset(row["columns"]) for row in known}
    for text in re.findall(r"create temporary table [^;]+", QUERIES["seed_tables"]):
        table: Any = parse_sql(text)[0].stmt
        columns[table.relation.relname] = frozenset(one.colname for one in inside(table, ast.ColumnDef))
    lies = {row["name"]: by.get(row["parent"] or row["name"]) for row in known}
    distributed = {name: column for name, column in lies.items() if column is not None}
    return Layout(columns, distributed, frozenset(replicated))


@pytest.fixture(scope="module")
def layout(server: Server) -> Layout:
    """Of the database that the migrations make."""
    name = server.clone()
    try:
        return server.do(tables(server.dsn(name)))
    finally:
        server.drop(name)


@pytest.fixture(scope="module")
def findings(layout: Layout) -> dict[str, Findings]:
    """What is to be said of each statement of the program."""
    return {name: read(sql, layout) for name, sql in QUERIES.items()}


def names(reasons: Mapping[Any, str]) -> set[str]:
    """All that stand under a reason."""
    return {name for words in reasons.values() for name in words.split()}


async def test_every_table_has_its_place(database: Database) -> None:
    """No table is forgotten, and none has two places."""
    by, beside, replicated, local = laid_out()
    sql = (
        "select relname::text as name from pg_class where relkind in ('r', 'p') and not relispartition"
        " and relnamespace = 'public'::regnamespace"
    )
    found = sorted(row["name"] for row in await rows(database, sql))

    assert found == sorted([*by, *replicated, *local])
    assert {column for table, column in by.items() if table != "bodies"} == {"domain_id"}
    assert {table for table, neighbour in beside.items() if neighbour == "none"} == {"domains", "bodies"}
    assert set(beside.values()) == {"none", "domains"}


async def test_every_key_carries_the_column(database: Database) -> None:
    """What is unique is so on one server: each primary key, unique constraint and unique index of a distributed table."""
    by, *_ = laid_out()
    found = await rows(
        database,
        "select x.indrelid::regclass::text as table, array_agg(a.attname::text) as columns from pg_index x"
        " join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any(x.indkey)"
        " where x.indisunique or x.indisexclusion group by x.indexrelid, 1",
    )
    keys = [(row["table"], row["columns"]) for row in found if row["table"] in by]

    assert {table for table, _ in keys} == by.keys() - {"fetches"}
    assert [key for key in keys if by[key[0]] not in key[1]] == []


async def test_every_foreign_key_stays_on_its_server(database: Database) -> None:
    """A foreign key leads to a table that is the same everywhere, or carries the column on both sides."""
    by, _, replicated, _ = laid_out()
    found = await rows(
        database,
        "select conrelid::regclass::text as one, confrelid::regclass::text as other, array(select attname::text from pg_attribute"
        " where attrelid = conrelid and attnum = any(conkey)) as columns from pg_constraint where contype = 'f'",
    )
    astray = [
        row
        for row in found
        if row["other"] not in replicated
        and not (by.get(row["one"]) == by.get(row["other"]) and by.get(row["one"]) in row["columns"])
    ]

    assert found
    assert astray == []


def test_every_statement_goes_by_domain(findings: dict[str, Findings]) -> None:
    """Of a domain that is named, or of a set of them: what asks every server stands above."""
    assert {name for name, found in findings.items() if found.route == "all"} == names(EVERY_SHARD)


def test_every_join_carries_the_column(findings: dict[str, Findings]) -> None:
    """Rows of distributed tables meet by domain: where they do not, it stands above."""
    assert {name for name, found in findings.items() if found.apart} == names(MEETING)


def test_what_is_written_is_written_by_domain(findings: dict[str, Findings]) -> None:
    """Each INSERT names the column, and each UPDATE and DELETE goes by it."""
    assert {name for name, found in findings.items() if found.blind} == BLIND


@pytest.mark.parametrize("hindrance", Hindrance)
def test_what_citus_does_not_do(findings: dict[str, Findings], hindrance: Hindrance) -> None:
    """The list of what would have to change is exact."""
    expected = set(HINDERED[hindrance].split())

    assert {name for name, found in findings.items() if hindrance in found.hindrances} == expected


def test_the_guide_counts_them(findings: dict[str, Findings]) -> None:
    """docs/growing.md gives the numbers, and names each statement that would have to change."""
    words = {"one": "one domain", "set": "domains that are named", "all": "every server"}
    counts = {word: sum(found.route == route for found in findings.values()) for route, word in words.items()}
    hindered = names(HINDERED)

    assert re.findall(
        r"^\| (one domain|domains that are named|every server) \| (\d+) \|", GUIDE, re.MULTILINE
    ) == [(word, str(n)) for word, n in counts.items()]
    assert f"{len(hindered)} of {len(QUERIES)} statements" in GUIDE
    assert f"In {len(names(MEETING))} statements rows meet by something else" in GUIDE
    assert [f"- {len(words.split())} " in GUIDE for words in HINDERED.values()] == [True] * len(HINDERED)
    assert {name for name in hindered if f"`{name}`" not in GUIDE} == set()


@pytest.mark.parametrize(
    ("sql", "apart"),
    [
        ("select from urls u join pages p using (url_hash) where u.domain_id = $1", {"pages and urls"}),
        ("select from urls u join pages p on p.domain_id = u.crawl_id", {"pages and urls"}),
        ("select from urls u left join pages p on p.domain_id = u.domain_id or p.crawl_id = $1", {"pages and urls"}),
        ("select from urls u, pages p where u.domain_id = $1 and p.domain_id = $2", {"pages and urls"}),
        ("select from urls u where exists (select from pages p where p.url_hash = u.url_hash)", {"pages and urls"}),
        ("select (select max(fetched_at) from pages) from urls where domain_id = $1", {"pages and urls"}),
        ("select from domains d cross join lateral (select from urls u where u.due_at = d.due_at) x", {"domains and urls"}),
        ("with x as (select domain_id, url_hash from urls) select from pages p join x using (url_hash)", {"pages and x"}),
        ("with x as (select url_hash from urls) select from pages p join x using (url_hash)", {"pages and x"}),
        ("with x as (select found_domain_id as domain_id from urls) select from pages p join x using (domain_id)", {"pages and x"}),
        ("update urls u set open = false from pages p where p.url_hash = u.url_hash and u.domain_id = $1", {"pages and urls"}),
        ("delete from urls u using pages p where u.url_hash = p.url_hash and p.domain_id = u.found_domain_id", {"pages and urls"}),
        ("select from pages p join bodies b using (digest)", {"bodies and pages"}),
        ("select from domains d where d.domain_id = any(array(select found_domain_id from urls))", {"domains and urls"}),
    ],
)  # fmt: skip
def test_a_join_without_the_column_is_seen(layout: Layout, sql: str, apart: set[str]) -> None:
    """Through aliases, CTEs, subqueries and laterals."""
    assert read(sql, layout).apart == apart


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("record_links", "u.domain_id = x.domain_id and "),
        ("record_settle", "u.domain_id = x.domain_id and "),
        ("record_pages", "q.domain_id = n.domain_id and "),
        ("release", "domain_id = d.domain_id and "),
        ("turn_urls", "p.domain_id = d.domain_id and "),
        ("urls_past", "p.domain_id = $1 and "),
        ("erase_urls", "u.domain_id = x.domain_id and "),
        ("look_few", "domain_id, "),
    ],
)
def test_what_a_statement_of_ours_loses_is_seen(layout: Layout, name: str, lost: str) -> None:
    """Each of these goes by domain, and would not without those words."""
    whole, rest = QUERIES[name], QUERIES[name].replace(lost, "")

    assert read(whole, layout).apart | read(whole, layout).blind == set()
    assert read(rest, layout).apart | read(rest, layout).blind != set()


@pytest.mark.parametrize(
    "sql",
    [
        "select from urls u join pages p using (domain_id, url_hash)",
        "select from urls u, pages p where u.domain_id = $1 and p.domain_id = $1",
        "select from unnest($1::bigint[]) x(d) join urls u on u.domain_id = x.d join pages p on p.domain_id = x.d",
        "select from domains d cross join lateral (select from urls u where u.domain_id = d.domain_id limit 1) x",
        "with x as (select u.domain_id as d from urls u) select from pages p join x on x.d = p.domain_id",
        "with x(d) as (select u.domain_id from urls u join pages p using (domain_id)) select from x join domains y on y.domain_id = d",
        "with x as (delete from urls where crawl_id = $1 returning domain_id) select from domains join x using (domain_id)",
        "select from domains d join (select domain_id from urls union all select domain_id from pages) x using (domain_id)",
        "update urls u set open = false from crawls c where c.crawl_id = u.crawl_id and u.domain_id = $1",
        "select from domains where domain_id in (select domain_id from urls)",
    ],
)
def test_a_join_with_the_column_is_seen(layout: Layout, sql: str) -> None:
    """Directly, or through a chain of columns that are equal."""
    assert read(sql, layout).apart == set()


@pytest.mark.parametrize(
    ("sql", "route", "blind"),
    [
        ("select from urls where domain_id = $1", "one", set()),
        ("select from urls where domain_id = any($1)", "set", set()),
        ("select from urls where domain_id = $1 or open", "all", set()),
        ("select from urls where domain_id > $1", "all", set()),
        ("select from crawls", None, set()),
        ("insert into urls (domain_id, crawl_id) values ($1, $2)", "one", set()),
        ("insert into urls (domain_id, crawl_id) select d, c from unnest($1::bigint[], $2::int[]) x(d, c)", "set", set()),
        ("insert into urls (crawl_id) values ($1)", "all", {"urls"}),
        ("update urls set open = false where crawl_id = $1", "all", {"urls"}),
        ("update urls u set open = false where exists (select from pages p where p.domain_id = u.domain_id)", "all", {"urls"}),
        ("delete from pages where url_hash = $1", "all", {"pages"}),
    ],
)  # fmt: skip
def test_where_a_statement_goes(layout: Layout, sql: str, route: str | None, blind: set[str]) -> None:
    """To one server, to those of some domains, or to all; and whether it writes blindly."""
    found = read(sql, layout)

    assert (found.route, found.blind) == (route, blind)


@pytest.mark.parametrize(
    ("sql", "hindrance"),
    [
        ("select from urls where domain_id = any($1) for update", Hindrance.LOCKS),
        ("update urls set due_at = clock_timestamp() where domain_id = $1", Hindrance.VOLATILE),
        ("insert into domains as d (domain_id) values ($1) on conflict (domain_id) do update set due_at = now()", Hindrance.CONFLICT),
        ("with recursive x(d) as (select domain_id from urls union all select d from x) select from x", Hindrance.RECURSIVE),
        ("select from urls tablesample system (1)", Hindrance.SAMPLE),
        ("update crawls set pages = (select count(*) from pages p where p.crawl_id = crawls.crawl_id)", Hindrance.REFERENCE),
    ],
)  # fmt: skip
def test_a_hindrance_is_seen(layout: Layout, sql: str, hindrance: Hindrance) -> None:
    """Each of them, and no other."""
    assert read(sql, layout).hindrances == {hindrance}


def test_what_goes_to_one_server_may_lock_and_recurse(layout: Layout) -> None:
    """There, Citus does all that PostgreSQL does."""
    sql = (
        "with recursive x(d, h) as (select domain_id, url_hash from urls where domain_id = $1 union all"
        " select domain_id, found_hash from urls where domain_id = $1) select from urls where domain_id = $1 for update"
    )

    assert read(sql, layout).hindrances == set()
