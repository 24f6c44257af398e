"""URLs that were visited elsewhere, on the frontier: as visited, due again by the crawl's rule, and in nobody's way."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from crawler.adapters.crawls import Limits
from crawler.adapters.erasing import Erasing
from crawler.adapters.importing import Importing
from crawler.adapters.postgres import QUERIES, Database
from crawler.adapters.seeding import Row, Seeding, Sown, Told
from crawler.core.errors import UsageError
from crawler.core.model import ScopeKind
from crawler.core.scope import scope_key
from crawler.core.urls import domain_id, domain_of, url_hash
from tests.making import Frontiers, link, release, rows, settled, slow, visit

A: Final = "https://a.example/"
B: Final = "https://b.example/"
OLD: Final = datetime(2020, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)


def told(url: str, outcome: str = "ok", **more: Any) -> Told:
    """A URL as it was visited elsewhere."""
    name = domain_of(url)
    return Told(
        domain_id(name), url_hash(url), url, name, scope_key(ScopeKind.ANY, url), outcome=outcome, **more
    )


class Field(Frontiers):
    """A worker's hands, and what others have visited."""

    async def seen(self, crawl_id: int, *given: Told) -> Sown:
        """Put it on the frontier, as `crawl import --seen` does."""
        return await Importing(self.database, crawl_id).put(given)

    async def seeded(self, crawl_id: int, *urls: str) -> Sown:
        """Put seeds there, as `crawl seed` does."""
        return await Seeding(self.database, crawl_id).put([Row(*told(url)[:5]) for url in urls])

    async def counted(self, crawl_id: int) -> dict[str, int]:
        """Its URLs by outcome, as counted; and the same from the rows."""
        found = await rows(
            self.database, "select coalesce(outcome, '') as outcome, count(*) as n from urls where crawl_id = $1 group by 1", crawl_id
        )  # fmt: skip
        counts = {outcome: urls for outcome, (urls, _) in (await self.counts(crawl_id)).items()}
        assert counts == {row["outcome"]: row["n"] for row in found}
        return counts


@pytest.fixture
def field(database: Database) -> Field:
    """A worker's hands."""
    return Field(database)


async def test_as_visited(field: Field) -> None:
    """They are not open, have the outcome of their visit, and count by it; their domains are there; nothing of them is stored."""
    crawl = await field.crawl()
    at = datetime.now(UTC) - DAY
    sown = await field.seen(
        crawl, told(A, at=at, status=200, content_type="text/html"), told(A + "2", "gone", status=404), told(B, "http_error", status=500)
    )  # fmt: skip
    url, domain = await field.url(A), await field.domain("a.example")
    (page,) = await rows(field.database, "select * from pages where url_hash = $1", url_hash(A))

    assert (sown.new, sown.known, sown.domains, sown.overdue) == (3, 0, 0, 0)
    assert (url["open"], url["seed"], url["outcome"], url["detail"]) == (False, False, "ok", "imported")
    assert (page["fetched_at"], page["first_at"], page["status"], page["content_type"], page["digest"]) == (
        at,
        None,
        200,
        "text/html",
        None,
    )
    assert domain["due_at"] == url["due_at"]
    assert await field.counted(crawl) == {"ok": 1, "gone": 1, "http_error": 1}
    assert await field.take() == {}


@pytest.mark.parametrize(
    ("rule", "days"),
    [("off", None), ("adaptive", 7), ("3d", 3), ("adaptive", 2)],
    ids=["off", "adaptive", "3d", "learned"],
)
async def test_due_by_the_rule(field: Field, rule: str, days: int | None) -> None:
    """They are due when the crawl's rule wants them again after that visit; what is gone never is, nor anything without a rule."""
    crawl = await field.crawl(refresh=rule)
    at = datetime.now(UTC) - DAY
    revisit = 2 * 86400.0 if days == 2 else None
    await field.seen(crawl, told(A, at=at, revisit=revisit, period=revisit), told(A + "gone", "gone", at=at))
    domain = await field.domain("a.example")

    assert (await field.url(A))["due_at"] == domain["due_at"] == (None if days is None else at + days * DAY)
    assert (await field.url(A + "gone"))["due_at"] is None


async def test_due_together(field: Field) -> None:
    """Where the rule is one of times, they are due at its next one, whenever they were visited."""
    crawl = await field.crawl(refresh="0 3 * * *")
    await field.seen(crawl, told(A, at=OLD))
    url = await field.url(A)

    assert url["now"] < url["due_at"] <= url["now"] + DAY
    assert (url["due_at"].hour, url["due_at"].minute) == (3, 0)


async def test_overdue(field: Field) -> None:
    """What was visited long ago is due now, behind the seeds, and is visited in its turn; a time to come counts as now."""
    crawl = await field.crawl(refresh="adaptive")
    sown = await field.seen(crawl, told(A, at=OLD), told(A + "2", at=datetime(2100, 1, 1, tzinfo=UTC)))
    await field.seed(crawl, A + "seed")
    (taken,) = (await field.take()).values()
    later = await field.url(A + "2")

    assert (sown.overdue, sown.domains) == (1, 1)
    assert [url.url for url in taken[1]] == [A + "seed", A]
    assert later["due_at"] - later["now"] < 7 * DAY


async def test_what_is_known_stays(field: Field) -> None:
    """A URL that the crawl knows stays as it is, visited or not; and the same batch again changes nothing."""
    crawl = await field.crawl(A, B)
    turn, urls = await field.hold("a.example")
    await field.record([visit(url, settled()) for url in urls], [release("a.example", turn)])
    before = await rows(field.database, "select * from urls order by url")
    sown = await field.seen(crawl, told(A, "gone", at=OLD), told(B, "gone", at=OLD))
    first = await field.seen(crawl, told(A + "new"))
    again = await field.seen(crawl, told(A + "new", "gone"))

    assert (sown.new, sown.known, first.new, again.new, again.known) == (0, 2, 1, 0, 1)
    assert await rows(field.database, "select * from urls where url <> $1 order by url", A + "new") == before
    assert await field.counted(crawl) == {"": 1, "ok": 2}


async def test_the_latest_visit(field: Field) -> None:
    """Of visits that others tell of the latest counts, in whatever order they come; it is counted once, and due by when it was."""
    crawl = await field.crawl(refresh="30d")
    now = datetime.now(UTC)
    old, new = (
        told(A, what, at=now - days * DAY, status=n) for what, days, n in (("gone", 9, 404), ("ok", 5, 200))
    )
    put = [
        await field.seen(crawl, *some)
        for some in ([old, told(B, "gone", at=OLD)], [new, told(B)], [old], [new])
    ]
    (page,) = await rows(field.database, "select * from pages where url_hash = $1", url_hash(A))
    url, domain = await field.url(A), await field.domain("a.example")

    assert [(sown.new, sown.known) for sown in put] == [(2, 0), (0, 2), (0, 1), (0, 1)]
    assert (page["fetched_at"], page["outcome"], page["status"]) == (now - 5 * DAY, "ok", 200)
    assert (url["outcome"], url["due_at"]) == ("ok", domain["due_at"]) == ("ok", now + 25 * DAY)
    assert (url["open"], url["detail"]) == (False, "imported")
    assert await field.counted(crawl) == {"gone": 1, "ok": 1}


@pytest.mark.parametrize("there", [0, 20_000])
async def test_looks_up_by_key(field: Field, there: int) -> None:
    """Each URL is looked up by its whole key, whatever the statistics say, and nothing is compared each with each."""
    crawl = await field.crawl()
    await field.database.script(
        f"insert into urls (domain_id, crawl_id, url_hash, url) select n % 100, {crawl}, decode(md5(n::text), 'hex'), n::text"
        f" from generate_series(1, {there}) n"
    )
    plans = []
    async with slow(field.database) as (session, connection):
        await session.fetch("look_up")
        await session.fetch("seed_tables")
        for name in ("import_put", "import_later"):
            await connection.execute(f"prepare {name} as {QUERIES[name]}")
            found = await connection.fetch(f"explain execute {name}({crawl}, 'every', 60, null)")
            plans.append("\n".join(row[0] for row in found))

    for plan in plans:
        assert re.search(r"Seq Scan on (urls|pages|domains)|Materialize|Join Filter", plan) is None
        assert re.search(r"Index Cond: .*\(url_hash = ", plan) is not None


async def test_what_we_saw_stays(field: Field) -> None:
    """Once we have visited it, or are to visit it as a seed, no later visit elsewhere changes anything, nor the visit that is going on."""
    crawl = await field.crawl(refresh="30d")
    await field.seen(crawl, *(told(url, at=OLD) for url in (A, B, A + "going")))
    await field.seed(crawl, A, B)
    turn, urls = await field.hold("a.example")
    seen = [one for one in urls if one.url == A]
    await field.record([visit(url, settled()) for url in seen])
    before = await rows(field.database, "select * from urls where open or detail <> 'imported' order by url")
    at = datetime.now(UTC) + DAY
    await field.seen(crawl, *(told(url, "gone", at=at) for url in (A, B, A + "going")))
    await field.record(
        [visit(url, settled()) for url in urls if url not in seen], [release("a.example", turn)]
    )

    assert [row["url"] for row in before] == [A, B]
    assert (
        await rows(field.database, "select * from urls where url <> $1 order by url", A + "going") == before
    )
    assert await field.counted(crawl) == {"gone": 1, "ok": 2}


async def test_links_to_them(field: Field) -> None:
    """A page that links to one of them finds nothing new, so that it is not fetched."""
    crawl = await field.crawl(A, refresh="off")
    await field.seen(crawl, told(A + "seen"))
    turn, (url,) = await field.hold("a.example")
    links = (link(crawl, A + "seen", depth=1), link(crawl, A + "new", depth=1))
    await field.record([visit(url, settled(), links=links)], [release("a.example", turn)])
    (taken,) = (await field.take()).values()

    assert [url.url for url in taken[1]] == [A + "new"]
    assert await field.counted(crawl) == {"": 1, "ok": 2}


@pytest.mark.parametrize("many", [True, False])
async def test_seeded_after_all(field: Field, *, many: bool) -> None:
    """Who names one of them as a seed has it visited now: a crawl begins with its seeds. Naming it twice changes nothing."""
    crawl = await field.crawl(refresh="off")
    await field.seen(crawl, told(A))
    seed = field.seeded if many else field.seed
    await seed(crawl, A)
    await seed(crawl, A)
    turn, (url,) = await field.hold("a.example")
    row = await field.url(A)
    done = await field.record([visit(url, settled())], [release("a.example", turn)])

    assert (row["seed"], row["open"], row["depth"]) == (True, True, 0)
    assert done.stored == {crawl: 1}
    assert await field.counted(crawl) == {"ok": 1}


async def test_visited_again(field: Field) -> None:
    """When its time has come it is visited as any other, stored for the first time, and counts against the budgets from then on."""
    crawl = await field.crawl(refresh="adaptive", max_pages=5)
    await field.seen(crawl, told(A, at=OLD, status=200))
    turn, (url,) = await field.hold("a.example")
    await field.record([visit(url, settled(again_in=3600.0))], [release("a.example", turn)], [crawl])
    (page,) = await rows(field.database, "select first_at = fetched_at as first, digest from pages")

    assert page["first"]
    assert page["digest"] is not None
    assert await field.database.ask("select pages from crawls") == 1
    assert await field.counted(crawl) == {"ok": 1}


async def test_where_nothing_is_written(field: Field) -> None:
    """Of a forgotten domain nothing is written, of a blocked one it is said, and a crawl that is being deleted takes nothing."""
    crawl = await field.crawl()
    await Erasing(field.database).domain(domain_id("b.example"), "b.example")
    sown = await field.seen(crawl, told(A), told(B))
    await field.database.script("update crawls set deleting = true")

    assert (sown.new, sown.forgotten, [name for name, _ in sown.blocked]) == (1, 1, ["b.example"])
    with pytest.raises(UsageError, match="being deleted"):
        await field.seen(crawl, told(A + "2"))


async def test_the_rule_of_the_moment(field: Field) -> None:
    """A batch follows the rule that the crawl has when it is put, and a new rule is applied to what was put before."""
    crawl = await field.crawl(refresh="off")
    at = datetime.now(UTC)
    await field.seen(crawl, told(A, at=at))
    found = await field.crawls.by_id(crawl)
    assert found is not None
    await field.crawls.change(found, Limits(refresh="2d"))
    await field.seen(crawl, told(B, at=at))

    assert (await field.url(A))["due_at"] == (await field.url(B))["due_at"] == at + 2 * DAY


async def test_what_sitemaps_say(field: Field) -> None:
    """A seed of a sitemap's file has what that says of it, and comes the sooner the more important it is."""
    crawl = await field.crawl()
    seeds = [
        told(A + name)._replace(outcome=None, sooner=5 * (priority - 0.5), lastmod=OLD, changefreq=3600.0)
        for name, priority in (("last", 0.0), ("first", 1.0))
    ]
    await Seeding(field.database, crawl).put(seeds)
    (taken,) = (await field.take()).values()
    row = await field.url(A + "first")

    assert [url.url for url in taken[1]] == [A + "first", A + "last"]
    assert (row["seed"], row["lastmod"], row["changefreq"]) == (True, OLD, timedelta(hours=1))
