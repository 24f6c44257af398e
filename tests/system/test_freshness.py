"""Pages are looked at again as the crawl's rule says, and never sooner; time is moved by the tests."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Final

import pytest

from crawler.adapters.crawls import Wish
from crawler.adapters.postgres import Database
from crawler.core.model import ScopeKind
from crawler.crawling import crawl
from crawler.opening import opened
from crawler.settings import load
from tests.forking import crawled
from tests.making import rows, until
from tests.system.changing import DAY, Changing, ChangingWeb, changing

LOOK: Final = 2.25
"""How often anybody looks here where pages are visited by how they change, in days: no interval comes near a multiple of it."""
SETTINGS: Final = {"ALLOW_NETS": "127.0.0.0/8", "DELAY": "0", "CONTACT": "mailto:test@example.com"}


class Crawler:
    """`crawl` on a database of the test's own."""

    def __init__(self, dsn: str, web: ChangingWeb, database: Database) -> None:
        self.dsn = dsn
        self.web = web
        self.database = database

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        """Start a command, and do not wait."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler", *words, "--database", self.dsn, env=self._environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        return own | {f"CRAWL_{name}": value for name, value in SETTINGS.items()}

    async def command(self, *words: str, status: int = 0) -> str:
        """Run a command to its end: what it printed, on either channel if it failed as expected."""
        done = await crawled(*words, "--database", self.dsn, env=self._environment())
        out, err = done.stdout, done.stderr
        assert done.returncode == status, f"{words}: {done.returncode}\n{out.decode()}\n{err.decode()}"
        return (out if not status else out + err).decode()

    async def run(self, *options: str) -> dict[str, Any]:
        """Run the crawl of the whole web to its end: its summary."""
        words = ("run", self.web.url(), "--name", "web", "--json", "--quiet", *options)
        return dict(json.loads(await self.command(*words)))

    async def go_on(self) -> None:
        """Run the crawl again, as `run` does, but here: a program for every day of a season costs a minute."""
        given = {"DATABASE_URL": self.dsn, **SETTINGS}
        settings = load(
            overrides={}, environ={f"CRAWL_{name}": value for name, value in given.items()}
        ).settings
        wish = Wish("web", ScopeKind.DOMAIN)
        async with opened(settings) as place:
            await crawl(
                settings, place, wish, [self.web.url()], stop=asyncio.Event(), hurry=asyncio.Event(), tell=_say_nothing
            )  # fmt: skip

    async def set_rule(self, rule: str) -> None:
        """Give the crawl another refresh rule."""
        await self.command("set", "web", f"refresh={rule}")

    async def due_in(self, path: str) -> float | None:
        """Seconds until a page is due; None: never."""
        sql = "select extract(epoch from due_at - now())::float8 as due from urls where url = $1"
        due: float | None = (await rows(self.database, sql, self.web.url(path)))[0]["due"]
        return due


def _say_nothing(*_: object) -> None:
    pass


@pytest.fixture
async def crawler(dsn: str, database: Database) -> AsyncIterator[Crawler]:
    """`crawl`, and a small web to look at again and again."""
    pages = {
        "/": Changing(links=("/often", "/seldom", "/never")),
        "/often": Changing(every=DAY / 4, etag="strong"),
        "/seldom": Changing(every=20 * DAY, etag="weak", last_modified=True),
        "/never": Changing(last_modified=True),
    }
    with changing(pages) as web:
        yield Crawler(dsn, web, database)


async def test_pages_are_visited_by_how_they_change(crawler: Crawler) -> None:
    """Over 90 days a page that changes four times a day is visited ever more often, one that never does ever more seldom."""
    web = crawler.web
    await crawler.run("--refresh", "adaptive")
    for _ in range(40):
        await web.pass_by(crawler.database, LOOK)
        await crawler.go_on()
    visits = Counter(one.path for one in web.log)
    often, seldom, never = (web.asked(f"/{name}") for name in ("often", "seldom", "never"))
    gaps = {name: _gaps(crawler, name) for name in ("often", "never")}

    # 7 d, then what 14 d and half of each quiet time suggest, all rounded up to when anybody looks.
    looks = [0, 4, 8, 12, 16, 21, 26, 31, 36]
    assert [one.now for one in never] == [n * LOOK * DAY for n in looks]
    assert gaps["often"] == sorted(gaps["often"], reverse=True)
    assert gaps["often"][-1] == 2 * LOOK < gaps["never"][-1]
    assert visits["/often"] > 1.5 * visits["/never"]
    assert visits["/seldom"] > visits["/never"]
    assert {one.status for one in never[1:]} == {304}
    assert {one.status for one in often} == {200}
    assert {304, 200} == {one.status for one in seldom}
    stored = await rows(crawler.database, "select * from pages where outcome = 'ok'")
    assert len(stored) == 4
    by_path = {row["title"]: row for row in stored}
    assert by_path["state 0"]["changed_at"] <= by_path["state 0"]["fetched_at"]


def _gaps(crawler: Crawler, name: str) -> list[float]:
    times = [one.now / DAY for one in crawler.web.asked(f"/{name}")]
    return [b - a for a, b in pairwise(times)]


async def test_validators(crawler: Crawler) -> None:
    """What is kept is asked for with the validators it came with, weak ones as they are, and 304 leaves the page as it was."""
    web = crawler.web
    await crawler.run("--refresh", "1d")
    before = await _pages(crawler)
    await web.pass_by(crawler.database, 1.5)
    summary = await crawler.run()
    first, second = web.asked("/seldom")
    after = await _pages(crawler)

    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"].startswith('W/"')
    assert "if-modified-since" in second.headers
    assert "if-none-match" not in web.asked("/never")[1].headers
    assert [one.status for one in web.asked("/often")] == [200, 200]
    assert summary["pages"] == 0
    assert summary["outcomes"] == {"not_modified": 3, "ok": 1}
    for path in ("/", "/seldom", "/never"):
        old, new = before[web.url(path)], after[web.url(path)]
        assert new["fetched_at"] > old["fetched_at"]
        assert all(new[name] == old[name] for name in ("status", "title", "etag", "digest", "text_digest"))
        # A day and a half ago by the clock that was turned, and not touched since.
        assert (old["changed_at"] - new["changed_at"]).total_seconds() == pytest.approx(1.5 * DAY)


async def _pages(crawler: Crawler) -> dict[str, Any]:
    sql = "select u.url, p.* from pages p join urls u using (domain_id, crawl_id, url_hash)"
    return {row["url"]: row for row in await rows(crawler.database, sql)}


async def test_the_same_bytes_without_validators(crawler: Crawler) -> None:
    """A server that knows no validators sends all again: the same bytes are no change, and are not stored again."""
    crawler.web.pages = {"/": Changing()}
    await crawler.run("--refresh", "1h")
    await crawler.web.pass_by(crawler.database, 1)
    summary = await crawler.run()

    assert [one.status for one in crawler.web.asked("/")] == [200, 200]
    assert summary["outcomes"] == {"not_modified": 1}
    assert await crawler.database.ask("select count(*) from bodies") == 1
    assert await crawler.database.ask("select count(*) from pages where fetched_at > changed_at") == 1


async def test_conditions_that_are_refused(crawler: Crawler) -> None:
    """A server that answers 412 to conditions is asked once more without any: that is no failure, and no change."""
    crawler.web.pages = {"/": Changing(etag="strong", refuses=True)}
    await crawler.run("--refresh", "1h")
    await crawler.web.pass_by(crawler.database, 1)
    summary = await crawler.run()

    assert [one.status for one in crawler.web.asked("/")] == [200, 412, 200]
    assert summary["outcomes"] == {"not_modified": 1}


async def test_by_the_clock(crawler: Crawler) -> None:
    """A cron expression makes every page due at its next time; an outage of a month is made up for once."""
    await crawler.run("--refresh", "0 3 * * *")
    due = await crawler.due_in("/never")
    assert due is not None
    assert 0 < due <= DAY
    await crawler.web.pass_by(crawler.database, 30)
    await crawler.run()
    nothing = await crawler.run()

    assert [len(crawler.web.asked(f"/{name}")) for name in ("often", "seldom", "never")] == [2, 2, 2]
    assert nothing["requests"] == 0
    again = await crawler.due_in("/never")
    assert again is not None
    assert 0 < again <= DAY


async def test_another_rule_holds_for_what_was_visited(crawler: Crawler) -> None:
    """A new rule gives every page its next visit anew, from its last one; off takes it away."""
    await crawler.run()
    never = [await crawler.due_in("/never")]
    for rule in ("3d", "adaptive", "0 0 1 1 *", "off"):
        await crawler.set_rule(rule)
        never.append(await crawler.due_in("/never"))

    assert never[0] is None
    assert never[1] == pytest.approx(3 * DAY, abs=120)
    assert never[2] == pytest.approx(7 * DAY, abs=120)
    assert never[3] is not None
    assert 0 < never[3] <= 366 * DAY
    assert never[4] is None
    await crawler.set_rule("1h")
    await crawler.web.pass_by(crawler.database, 0.5)
    assert (await crawler.run())["requests"] == 4
    assert await crawler.database.ask("select count(*) from crawls where retime is null") == 1


async def test_a_run_without_the_option_keeps_the_rule(crawler: Crawler) -> None:
    """Running a crawl again without --refresh, --sitemaps or --keep-versions leaves them as they were set."""
    await crawler.run("--refresh", "7d", "--no-sitemaps", "--keep-versions", "2")
    await crawler.run()
    kept = await rows(crawler.database, "select refresh, sitemaps, keep_versions from crawls")

    assert [tuple(row) for row in kept] == [("7d", False, 2)]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ("0 25 * * *", "the hour '25' (character 3)"),
        ("* * *", "3 fields of cron instead of five"),
        ("7 parsecs", "for example"),
        ("CRON_TZ=Mars/Olympus 0 3 * * *", "the zone 'Mars/Olympus'"),
        ("0 0 30 2 *", "never comes"),
        ("5s", "1m"),
    ],
)
async def test_bad_rules(crawler: Crawler, rule: str, place: str) -> None:
    """A rule that is none is refused in one line that says where the mistake is, with an example; nothing is done."""
    told = await crawler.command("run", crawler.web.url(), "--refresh", rule, status=2)

    assert place in told
    assert "example" in told
    assert len(told.strip().splitlines()) == 1
    assert crawler.web.log == []


async def test_no_refresh_is_lost(crawler: Crawler) -> None:
    """A run that is killed in the middle of refreshing leaves what it had not done due, and nothing is forgotten or hurried."""
    paths = [f"/{n}" for n in range(40)]
    crawler.web.pages = {
        "/": Changing(links=tuple(paths), etag="strong"),
        **{path: Changing(every=DAY, etag="strong") for path in paths},
    }
    await crawler.run("--refresh", "1d")
    for round_ in range(1, 4):
        await crawler.web.pass_by(crawler.database, 1.5)
        process = await crawler.start(
            "run", crawler.web.url(), "--name", "web", "--quiet", "--delay", "0.05s"
        )
        seen = len(crawler.web.log) + 7 * round_
        await until(_true_when(lambda: len(crawler.web.log) >= seen))  # noqa: B023 - awaited within the round
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await crawler.run()
        now = crawler.web.now
        assert {one.path for one in crawler.web.log if one.now == now} >= {"/", *paths}

    late = await crawler.database.ask("select count(*) from urls where due_at < now()")
    assert late == 0


def _true_when(fact: Any) -> Any:
    async def ask() -> bool:
        return bool(fact())

    return ask


async def test_what_failed_is_looked_at_again(crawler: Crawler) -> None:
    """A page that was given up after its tries is looked at again by the rule; one that is gone, once more and then never."""
    crawler.web.pages = {
        "/": Changing(links=("/broken", "/gone")),
        "/broken": Changing(status=403),
        "/gone": Changing(status=410),
    }
    await crawler.run("--refresh", "1d")
    visits = []
    for _ in range(10):
        await crawler.web.pass_by(crawler.database, 1.1)
        await crawler.go_on()
        visits.append((len(crawler.web.asked("/broken")), len(crawler.web.asked("/gone"))))

    assert visits[-1] == (11, 2)


async def test_a_full_crawl_goes_on_refreshing(crawler: Crawler) -> None:
    """With its budget used up, a crawl with a rule stores no new page and looks again at those it has."""
    first = await crawler.run("--refresh", "1d", "--max-pages", "2")
    await crawler.web.pass_by(crawler.database, 1.5)
    second = await crawler.run("--max-pages", "2")
    stored = await crawler.database.ask("select count(*) from pages where first_at is not null")
    more = await crawler.run("--max-pages", "0")

    assert (first["pages"], second["pages"]) == (2, 0)
    assert second["requests"] == 2
    assert stored == 2
    assert more["pages"] == 2


async def test_new_links(crawler: Crawler) -> None:
    """New pages that a refreshed page links to are crawled."""
    await crawler.run("--refresh", "1d")
    crawler.web.pages |= {"/": Changing(links=("/often", "/new")), "/new": Changing()}
    await crawler.web.pass_by(crawler.database, 1.5)
    await crawler.run()

    assert len(crawler.web.asked("/new")) == 1
