"""What workers and schedulers measure: real ones, at real sites, asked over HTTP as Prometheus asks."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import __version__
from crawler.adapters.crawls import Wish
from crawler.adapters.exposition import exposition
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.core.metrics import (
    BOTH,
    HOOK_ENDS,
    PHASES,
    SCHEDULER,
    SECONDS,
    SURVEY,
    WORKER,
    Buckets,
    Group,
    Metric,
    Reading,
    Sums,
)
from crawler.core.model import Outcome, ScopeKind
from crawler.crawling import Summary, crawl
from crawler.demo.language import page, robots, status
from crawler.demo.server import Web, serving
from crawler.monitoring import Watched, build, survey_groups, surveyed, watched
from crawler.opening import Opened
from crawler.processes import Crew, at_work
from crawler.settings import Settings
from crawler.surveying import Survey
from scheduler.timetable import Timetable
from tests.making import Frontiers, rows
from tests.scraping import LISTENS, Scraped, listens, parsed, ready, scraped
from tests.system.machines import until

FETCHED: Final = set(Outcome) - {Outcome.ROBOTS_REFUSED}
"""How what was asked for may end."""
TABLE: Final = Path(__file__).parent.parent / "docs/metrics.md"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """Two sites: pages, one that is missing, one that robots.txt forbids, and one whose robots.txt fails."""
    site = {
        "/": page("start", "/a", "/missing", "/private", "http://down.test:PORT/"),
        "/a": page("a", "/"),
        "/robots.txt": robots("/private"),
    }
    down = {"/": page("down"), "/robots.txt": status(500)}
    with serving({"one.test": site, "two.test": site, "down.test": down}) as web:
        yield web


@dataclass(slots=True)
class Place:
    """A database, the sites, and settings that fit."""

    dsn: str
    database: Database
    settings: Settings
    web: Web
    capsys: pytest.CaptureFixture[str]

    async def leave_alone(self) -> None:
        """The server is not ours."""

    def opened(self) -> Opened:
        """As a command has it."""
        return Opened(self.dsn, "the database", "", self.leave_alone, self.database)

    def where(self) -> str:
        """Where it listens, as it said last."""
        found = LISTENS.search(self.capsys.readouterr().err)
        assert found is not None
        return found[1]

    async def crawl(self, told: Watched, **settings: Any) -> Summary:
        """A whole crawl of the two sites."""
        seeds = [self.web.url(host) for host in ("one.test", "two.test")]
        return await crawl(
            replace(self.settings, **settings),
            self.opened(),
            Wish("test", ScopeKind.ANY),
            seeds,
            stop=asyncio.Event(),
            hurry=asyncio.Event(),
            tell=lambda *_: None,
            begun=told.begun,
        )


@pytest.fixture
def place(dsn: str, database: Database, web: Web, capsys: pytest.CaptureFixture[str]) -> Place:
    """A place to crawl from, that asks the sites' own name server."""
    settings = Settings(
        database_url=dsn,
        delay=0.01,
        allow_nets=(ip_network("127.0.0.0/8"),),
        dns_servers=(web.names.where,),
        hosts_file=None,
        run_patience=0.0,
        metrics_port=0,
    )
    return Place(dsn, database, settings, web, capsys)


def told(scrape: Scraped) -> set[str]:
    """The metrics of ours that have a series."""
    names = {name for name, _ in scrape.samples if name.startswith("crawl_")}
    return {name if name in scrape.kinds else name.rpartition("_")[0] for name in names}


async def counted(database: Database) -> dict[str, int]:
    """Attempts by outcome, as the table has them."""
    found = await rows(database, "select outcome, count(*)::int as n from fetches group by 1")
    return {row["outcome"]: row["n"] for row in found}


async def test_a_worker_tells_all_from_the_start(place: Place) -> None:
    """Before the first page a worker tells every metric of the table, as the kind it is there, every outcome among them at 0."""
    hurry = asyncio.Event()
    settings = replace(place.settings, hooks=("shop:prices",))
    async with (
        watched(place.settings, place.database) as seen,
        at_work(settings, place.dsn, hurry) as crew,
    ):
        where = place.where()
        before = await scraped(where)
        seen.begun(crew)
        await until(lambda: _resolves(crew), "it has begun")
        scrape = await scraped(where)

    names = {**BOTH, **WORKER}
    assert told(before) == {"crawl_build_info"}
    assert told(scrape) == set(names)
    assert {name: scrape.kinds[name] for name in names} == {name: one.kind for name, one in names.items()}
    assert scrape.values("crawl_fetches_total", "outcome") == FETCHED
    assert scrape.values("crawl_visits_total", "outcome") == set(Outcome)
    assert scrape.values("crawl_fetch_phase_seconds_count", "phase") == set(PHASES)
    assert scrape("crawl_fetches_total") == scrape("crawl_visits_total") == 0
    assert scrape.values("crawl_hook_calls_total", "ended") == set(HOOK_ENDS)
    assert scrape("crawl_build_info", version=__version__) == 1
    assert scrape("crawl_slots", process="0") == 200
    assert 0 < scrape("crawl_memory_bytes") < scrape("crawl_memory_limit_bytes")
    assert 0 < scrape("crawl_open_files") < scrape("crawl_open_files_limit")
    assert scrape("process_resident_memory_bytes") > 1 << 20


def _resolves(crew: Crew) -> bool:
    return any(name == "crawl_dns_answers_total" for name, _ in crew.readings()[0].values)


async def test_what_is_counted_is_in_the_tables(place: Place) -> None:
    """After a crawl the counters are what the tables say: attempts by outcome, pages, bytes; and what became of turns and robots."""
    async with watched(place.settings, place.database) as seen:
        where = place.where()
        summary = await place.crawl(seen)
        scrape = await scraped(where)
    by_outcome = await counted(place.database)
    (sums,) = await rows(place.database, "select count(*)::int as n, sum(bytes)::int as bytes from fetches")
    (pages,) = await rows(place.database, "select count(*)::int as n from pages where outcome = 'ok'")

    outcomes = {str(one): int(scrape("crawl_fetches_total", outcome=one)) for one in FETCHED}
    assert {one: n for one, n in outcomes.items() if n} == by_outcome
    assert by_outcome["ok"] == 4
    assert scrape("crawl_pages_stored_total") == pages["n"] == summary.pages
    assert scrape("crawl_received_bytes_total") == sums["bytes"]
    assert scrape("crawl_fetch_phase_seconds_count", phase="body") == sums["n"]
    assert scrape("crawl_fetch_phase_seconds_count", phase="tls") == 0
    assert scrape("crawl_recorder_commit_seconds_count") > 0
    assert scrape("crawl_recorder_last_commit_timestamp_seconds") > 1e9
    assert scrape("crawl_visits_total", outcome="ok") == pages["n"]
    assert scrape("crawl_visits_total", outcome="robots_refused") == scrape(
        "crawl_robots_decisions_total"
    ) - scrape("crawl_robots_decisions_total", decision="allowed")
    assert scrape("crawl_turns_accepted_total") >= 2
    assert scrape("crawl_turns_held") == scrape("crawl_open_requests") == 0
    assert scrape("crawl_robots_decisions_total", decision="disallowed") == 2
    assert scrape("crawl_robots_decisions_total", decision="unreachable") >= 1
    assert scrape("crawl_robots_decisions_total", decision="allowed") == sums["n"]
    assert scrape("crawl_dns_answers_total", result="answered") >= 3
    assert scrape("crawl_cpu_seconds_total", part="main") > 0


async def test_two_processes_and_a_death(place: Place) -> None:
    """Each process has a label of its own; the counters of one that is killed and replaced go on from where they were."""
    settings = replace(place.settings, processes=2)
    await Frontiers(place.database).crawl(*(place.web.url(host) for host in ("one.test", "two.test")))
    async with (
        watched(settings, place.database) as seen,
        at_work(settings, place.dsn, asyncio.Event()) as crew,
    ):
        where = place.where()
        seen.begun(crew)

        async def all_is_told() -> bool:
            scrape = await scraped(where)
            return scrape.values("crawl_slots", "process") == {"0", "1"} and bool(
                scrape("crawl_fetches_total") >= 6
            )

        async def both_again() -> bool:
            return (await scraped(where)).values("crawl_slots", "process") == {"0", "1"}

        await until(all_is_told, "both processes are told of, and all is fetched")
        before = await scraped(where)
        victim = await place.database.ask("select pid from workers order by started_at limit 1")
        os.kill(victim, signal.SIGKILL)
        await until(lambda: _gone(where), "the death is noticed")
        between = await scraped(where)
        await until(both_again, "another takes its place")
        after = await scraped(where)

    counters = [
        series for series in before.samples if series[0].startswith("crawl_") and series[0].endswith("_total")
    ]
    assert [s for s in counters if not before.samples[s] <= between.samples[s] <= after.samples[s]] == []
    assert before("crawl_fetches_total") == sum((await counted(place.database)).values())


async def _gone(where: str) -> bool:
    return len((await scraped(where)).values("crawl_slots", "process")) == 1


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["run", "--name", "x", "URL"], {"METRICS_PORT": "0"}),
        (["worker", "--port", "0", "--host", "localhost"], {}),
        (["scheduler", "--port", "0"], {"METRICS_HOST": "127.0.0.1"}),
    ],
    ids=["run", "worker", "scheduler"],
)
async def test_commands_listen(place: Place, words: list[str], settings: dict[str, str]) -> None:
    """A run by its setting, a worker and a scheduler by their options: each says where it listens, and answers there until it stops."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
    settings = {
        "DATABASE_URL": place.dsn, "CONTACT": "mailto:x@a.test", "DELAY": "60s", "ALLOW_NETS": "127.0.0.0/8", "HOSTS_FILE": "none",
        "DNS_SERVERS": "{}:{}".format(*place.web.names.where), **settings,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crawler", *(place.web.url("one.test") if word == "URL" else word for word in words),
        env=own | {f"CRAWL_{name}": value for name, value in settings.items()}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    where = await listens(process.stderr)
    try:
        await until(lambda: _is_ready(where), "it is ready")
        scrape = await scraped(where)
    finally:
        process.terminate()
        await process.communicate()

    assert process.returncode == (130 if words[0] == "run" else 0)
    assert ("crawl_scheduler_leads" in told(scrape)) == (words[0] == "scheduler")


async def _is_ready(where: str) -> bool:
    status, _ = await ready(where)
    return status == 200 and bool({"crawl_slots", "crawl_scheduler_leads"} & told(await scraped(where)))


async def test_a_scheduler_tells_of_what_all_share(place: Place) -> None:
    """A scheduler tells every metric of its tables, with what the database says, and whether it leads; it looks once in ten seconds."""
    heart = Frontiers(place.database)
    crawl_id = await heart.crawl("https://a.test/", "https://b.test/", name="all")
    queue, database = PostgresQueue(place.database), place.database
    await queue.bury([b"x"], "deadly")
    timetable = Timetable(place.settings, database, queue)
    async with surveyed(place.settings, database, queue, timetable):
        where = place.where()
        async with timetable.running():
            await until(lambda: timetable.leads, "it leads")
            await until(lambda: _done(database), "the jobs are done")
            scrape = await scraped(where)
            await heart.seed(crawl_id, "https://c.test/")
            again = await scraped(where)

    names = {**BOTH, **SURVEY, **SCHEDULER}
    assert told(scrape) == set(names)
    assert {name: scrape.kinds[name] for name in names} == {name: one.kind for name, one in names.items()}
    assert scrape("crawl_scheduler_leads") == 1
    assert scrape("crawl_frontier_urls", outcome="unvisited") == 2
    assert again("crawl_frontier_urls", outcome="unvisited") == 2
    assert scrape("crawl_crawls", state="running") == 1
    assert scrape("crawl_schedulers", state="live") == 1
    assert scrape("crawl_workers") == 0
    assert scrape("crawl_dead_letters") == 1
    assert scrape("crawl_frontier_domains") == 2
    assert scrape("crawl_database_bytes") > 1 << 20
    assert scrape.values("crawl_job_failed", "name") >= {"partitions", "refresh"}
    assert scrape("crawl_away") == 0


async def _done(database: Database) -> bool:
    """The jobs have been done once, and the seeds are on the queue."""
    left = await database.ask("select count(*) from jobs where result is null")
    return bool(left == 0 and await database.ask("select count(*) from domains where holder = 'queue'") == 2)


async def test_a_database_that_is_away(place: Place) -> None:
    """Of a database that does not answer it is told that it is away, and nothing that was so before."""
    async with await Database.open("postgresql://nobody@127.0.0.1:1/none") as nobody:
        survey = Survey(nobody, PostgresQueue(nobody))
        text, _ = exposition(await survey_groups(survey))
    scrape = parsed(text.decode())

    assert scrape("crawl_away", what="database") == 1
    assert told(scrape) == {"crawl_away", "crawl_build_info"}


async def test_one_look_for_all_who_ask(place: Place) -> None:
    """However many ask at once, one look is made; ten seconds later there is another."""
    now = [100.0]
    survey = Survey(place.database, PostgresQueue(place.database), clock=lambda: now[0])
    first = await asyncio.gather(*(survey.reading() for _ in range(20)))
    now[0] += 9.9
    later = await survey.reading()
    now[0] += 0.2

    assert all(one is first[0] for one in [*first, later])
    assert await survey.reading() is not first[0]


async def test_openmetrics_for_who_asks_for_it() -> None:
    """Whoever accepts OpenMetrics gets it; everybody else gets the plain text."""
    plain, modern = (
        exposition([build()], accept)[1] for accept in ("", "application/openmetrics-text;version=1.0.0")
    )

    assert plain.startswith("text/plain")
    assert modern.startswith("application/openmetrics-text")


def test_the_document_names_what_is_told() -> None:
    """docs/metrics.md has a line for each metric and no other: its kind, its labels, its meaning."""
    lines = re.findall(
        r"^\| `(crawl_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", TABLE.read_text("utf-8"), re.MULTILINE
    )
    process = dict.fromkeys(WORKER, ("process",))
    tables: dict[str, Metric] = {**BOTH, **WORKER, **SURVEY, **SCHEDULER}
    expected = [
        (
            name,
            one.kind,
            ", ".join(f"`{label}`" for label in (*process.get(name, ()), *one.labels)),
            one.about,
        )
        for name, one in tables.items()
    ]

    assert sorted(lines) == sorted(expected)


# --- laws


@given(st.lists(st.floats(0, 1000)))
def test_every_observation_falls_into_one_bucket(seconds: list[float]) -> None:
    """A histogram counts each observation once, below the first bound that it does not exceed."""
    buckets = Buckets()
    for one in seconds:
        buckets.observe(one)
    sums = buckets.sums()

    assert sums.below() == (*(sum(one <= bound for one in seconds) for bound in SECONDS), len(seconds))
    assert sums.total == pytest.approx(sum(seconds))


values = st.dictionaries(
    st.tuples(st.sampled_from(["a_total", "b_total", "c"]), st.tuples(st.sampled_from(["x", "y"]))),
    st.integers(0, 1000).map(float),
)
histograms = st.dictionaries(
    st.tuples(st.just("h"), st.tuples(st.sampled_from(["x", "y"]))),
    st.lists(st.integers(0, 9), min_size=len(SECONDS) + 1, max_size=len(SECONDS) + 1).map(
        lambda counts: Sums(tuple(counts), float(sum(counts)))
    ),
)
readings = st.builds(Reading, values, histograms)


@given(st.lists(readings, max_size=4))
def test_what_was_counted_stays_counted(lives: list[Reading]) -> None:
    """However many processes take each other's place, counters and histograms are those of all of them; gauges of the last."""
    ended = Reading()
    for life in lives:
        now = life.after(ended)
        ended = now.counted()
        assert {s: v for s, v in now.values.items() if s[0] == "c"} == {
            s: v for s, v in life.values.items() if s[0] == "c"
        }

    for name in ("a_total", "b_total"):
        assert sum(v for s, v in ended.values.items() if s[0] == name) == sum(
            v for life in lives for s, v in life.values.items() if s[0] == name
        )
    assert sum(s.total for s in ended.histograms.values()) == sum(
        s.total for life in lives for s in life.histograms.values()
    )


@given(readings)
def test_a_pipe_changes_nothing(reading: Reading) -> None:
    """What a process says arrives as it was said, also what is infinite."""
    endless = Reading({**reading.values, ("c", ("z",)): float("inf")}, reading.histograms)

    assert Reading.of(endless.packed()) == endless


def test_labels_are_escaped() -> None:
    """A label's value may have quotes, backslashes and lines in it."""
    odd = 'a"b\\c\nd'
    table = {"crawl_x": Metric("gauge", "x", ("label",))}
    text, _ = exposition([Group(table, (), [({}, Reading({("crawl_x", (odd,)): 1.0}))])])

    assert parsed(text.decode())("crawl_x", label=odd) == 1
