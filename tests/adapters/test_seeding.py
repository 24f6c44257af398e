"""Seeds by the ten thousand: what a file says, and what of it is on the frontier, whoever else is at work there."""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.adapters.crawls import CHANGED
from crawler.adapters.domains import Domains
from crawler.adapters.erasing import Erasing
from crawler.adapters.hosts import HostsFile
from crawler.adapters.postgres import QUERIES, Database
from crawler.adapters.recording import record_links, sooner
from crawler.adapters.seeding import SOONER, Row, Seeding, Sown
from crawler.core.addresses import AddressPolicy
from crawler.core.errors import DatabaseUnavailableError, UrlError, UsageError
from crawler.core.lines import LONGEST_LINE, Lines
from crawler.core.model import CrawlState, Outcome, ScopeKind
from crawler.core.scope import scope_key
from crawler.core.urls import canonical_or_error, domain_id, domain_of, url_hash
from crawler.seeding import PATIENCE, ROWS, Reader, Tally
from crawler.seeds import Sieve, Source, gather, refuse_line, seed_in
from tests.making import Frontiers, blocked, cut, link, release, rows, settled, slow, visit

A: Final = "https://a.example/"
B: Final = "https://b.example/"
HOSTS: Final = HostsFile(None)
SEED: Final = """
select u.url, u.url_hash, u.domain_id, u.seed, u.open, u.depth, u.hops, u.attempts, u.outcome, u.due_at - u.found_at as due, d.name,
  d.due_at = u.due_at as touched, d.due_for = u.crawl_id as in_line
from urls u join domains d using (domain_id) where u.crawl_id = $1 order by u.url"""


def seeds(*urls: str, kind: ScopeKind = ScopeKind.ANY) -> list[Row]:
    """These URLs, to be put together."""
    return [Row(domain_id(domain_of(u)), url_hash(u), u, domain_of(u), scope_key(kind, u)) for u in urls]


class Field(Frontiers):
    """A worker's hands, and seeds by the batch."""

    async def empty(self, name: str = "test", **limits: Any) -> int:
        """A crawl without a seed: its number."""
        return await self.crawl(name=name, **limits)

    async def put(self, crawl_id: int, *urls: str) -> Sown:
        """Put seeds, as `crawl seed` does."""
        return await Seeding(self.database, crawl_id).put(seeds(*urls))

    async def fetch_all(self, outcome: Outcome = Outcome.OK, again_in: float | None = None) -> None:
        """Visit whatever is due, each URL once."""
        for name, (turn, urls) in (await self.take()).items():
            accepted = await self.accept(name, turn)
            assert accepted
            visits = [visit(url, settled(outcome, again_in=again_in)) for url in urls]
            await self.record(visits, [release(name, accepted.turn)])


@pytest.fixture
def field(database: Database) -> Field:
    """A worker's hands."""
    return Field(database)


# --- one batch ----------------------------------------------------------------------------------------------------------


async def test_as_a_few(field: Field) -> None:
    """A batch leaves on the frontier exactly what the same seeds leave there that `crawl run` puts one by one."""
    urls = [f"https://{host}.example/{n}" for host in ("a", "www.b", "c") for n in range(40)]
    many, few = await field.empty("many"), await field.empty("few")
    sown = await field.put(many, *urls)
    found = [dict(row) for row in await rows(field.database, SEED, many)]
    await field.database.script("delete from domains")
    await field.seed(few, *urls)
    expected = [dict(row) for row in await rows(field.database, SEED, few)]

    assert (sown.new, sown.known, sown.domains) == (120, 0, 3)
    assert found == expected
    assert len(found) == 120
    assert all(row["touched"] and row["in_line"] for row in found)
    assert await field.counts(many) == await field.counts(few) == {"": (120, 0)}


def test_as_soon_as_a_few() -> None:
    """A seed has the same priority whichever way it comes."""
    assert sooner(link(1, A, seed=True)) == SOONER


def test_touched_as_by_others() -> None:
    """What a batch does to the row of a domain is what everybody does to it."""
    ours, touch = (QUERIES[name].partition("on conflict")[2].split() for name in ("seed_touch", "touch"))

    assert " ".join(ours).startswith(" ".join(touch))


async def test_put_twice(field: Field) -> None:
    """A batch that is put again, as after a lost answer, is known: nothing is counted and nothing changes."""
    crawl = await field.empty()
    await field.put(crawl, A, A + "2", B)
    before = await rows(field.database, SEED, crawl)
    sown = await field.put(crawl, A, A + "2", B)

    assert (sown.new, sown.known, sown.again, sown.domains) == (0, 3, 0, 0)
    assert await rows(field.database, SEED, crawl) == before
    assert await field.counts(crawl) == {"": (3, 0)}


async def test_workers_hear_of_it(field: Field) -> None:
    """Whoever listens for changed crawls is told of each batch, by the number of the crawl."""
    crawl = await field.empty()
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(field.database.listen([CHANGED], lambda _, said: heard.put_nowait(said)))
    async with asyncio.timeout(15):
        assert await heard.get() == ""  # it listens
        await field.put(crawl, A)
        said = await heard.get()
    listening.cancel()

    assert said == str(crawl)


async def test_failed_seeds_again(field: Field) -> None:
    """Of known seeds, those that had failed are due again at once, whether they waited for a retry or were given up."""
    crawl = await field.crawl(A)
    await field.fetch_all(Outcome.HTTP_ERROR)
    await field.put(crawl, B)
    await field.fetch_all(Outcome.TIMEOUT, again_in=3600)
    await field.put(crawl, "https://c.example/")
    await field.fetch_all()
    sown = await field.put(crawl, A, B, "https://c.example/")

    assert (sown.new, sown.known, sown.again) == (0, 3, 2)
    assert set(await field.take()) == {"a.example", "b.example"}
    assert await field.counts(crawl) == {"http_error": (1, 1), "ok": (1, 1), "timeout": (1, 1)}


async def test_finished_runs_again(field: Field) -> None:
    """A finished crawl runs again for a new seed, and what else is due of it is due again; for known ones it stays finished."""
    crawl = await field.crawl(A, B)
    await field.database.script("update urls set open = false; update domains set due_at = null")
    await field.crawls.finish(crawl)
    known = await field.put(crawl, A)
    still = await field.crawls.by_id(crawl)
    new = await field.put(crawl, A + "new")
    await field.crawls.start(crawl)
    now = await field.crawls.by_id(crawl)

    assert still
    assert now
    assert (known.woken, still.state) == (False, CrawlState.FINISHED)
    assert (new.woken, now.state) == (True, CrawlState.RUNNING)
    assert set(await field.take()) == {"a.example", "b.example"}


async def test_over_its_limit(field: Field) -> None:
    """A crawl that has used up its pages takes seeds, and stays finished."""
    crawl = await field.crawl(A, max_pages=1)
    turn, urls = await field.hold("a.example")
    await field.record([visit(urls[0])], [release("a.example", turn)], budgeted=[crawl])
    sown = await field.put(crawl, B)
    now = await field.crawls.by_id(crawl)

    assert now
    assert (sown.new, sown.woken, now.state) == (1, False, CrawlState.FINISHED)


@pytest.mark.parametrize("stop", ["pause", "cancel"])
async def test_stopped_by_hand(field: Field, stop: str) -> None:
    """A crawl that was stopped by hand stays so, whatever seeds come; they are handed out after a resume."""
    crawl = await field.empty()
    await getattr(field.crawls, stop)(crawl)
    await field.put(crawl, A)
    taken = await field.frontier.dispatch(10, 600)
    handed_out = await field.frontier.turn_urls([(t.domain_id, 9) for t in taken])
    await field.frontier.release_empty(taken)
    await field.crawls.resume(crawl)

    assert handed_out == {}
    assert list(await field.take()) == ["a.example"]


async def test_scope_widens_once(field: Field) -> None:
    """The crawl's version grows when a batch brings new scope keys, and not when it brings only known ones."""
    crawl = await field.empty()
    seeding = Seeding(field.database, crawl)
    versions = []
    for urls in ([A, B], [A + "2"], ["https://c.example/", A]):
        await seeding.put(seeds(*urls, kind=ScopeKind.DOMAIN))
        versions.append((await field.crawls.versions([crawl]))[crawl])

    assert [later - versions[0] for later in versions] == [0, 0, 1]
    assert set(await field.crawls.keys(crawl)) == {domain_id(f"{x}.example") for x in "abc"}


async def test_forgotten_domains(field: Field) -> None:
    """Of a forgotten domain nothing is written: its seeds are counted apart, and named as blocked."""
    crawl = await field.empty()
    await Erasing(field.database).domain(domain_id("a.example"), "a.example")
    await Domains(field.database).block(["b.example"], "asked to")
    sown = await field.put(crawl, A, A + "2", B, "https://c.example/")

    assert (sown.new, sown.known, sown.forgotten) == (2, 0, 2)
    assert sown.blocked == [("a.example", "forgotten by request"), ("b.example", "asked to")]
    assert list(await field.take()) == ["c.example"]


async def test_being_deleted(field: Field) -> None:
    """A crawl that is being deleted, or is gone, takes no seeds."""
    crawl = await field.empty()
    await field.database.fetch("crawl_delete_begin", crawl)
    for _ in range(2):
        with pytest.raises(UsageError, match="being deleted"):
            await field.put(crawl, A)
        await Erasing(field.database).crawl(crawl)

    assert await field.database.ask("select count(*) from urls") == 0


@pytest.mark.parametrize("before", ["left", "hand", "a run"])
async def test_adopted(field: Field, before: str) -> None:
    """A crawl that was adopted belongs to nobody, and no run that ends leaves it."""
    crawl = await field.empty()
    await field.database.fetch("crawl_attend", crawl, before)
    await field.database.fetch("crawl_adopt", crawl)
    await field.crawls.leave(crawl, before)
    now = await field.crawls.by_id(crawl)

    assert now
    assert (now.attendant, now.state) == (None, CrawlState.RUNNING)


# --- among others -------------------------------------------------------------------------------------------------------


async def test_finishing_meanwhile(field: Field) -> None:
    """While a batch is being put its crawl is not declared finished; a batch that comes during that sets it running again."""
    crawl = await field.empty()
    async with slow(field.database) as (session, _):
        await session.fetch("finish_lock", crawl)
        putting = asyncio.create_task(field.put(crawl, A))
        await blocked(field.database)
        finished = await session.value("finish", crawl)
    sown = await putting
    again = await field.crawls.finish(crawl)

    assert (finished, again) == (crawl, False)
    assert sown.woken
    assert list(await field.take()) == ["a.example"]


async def test_linked_meanwhile(field: Field) -> None:
    """A batch and a recorder that bring the same URLs wait for each other in one direction, and count each URL once."""
    crawl = await field.empty(max_pages=10)
    async with slow(field.database) as (session, _):
        await record_links(session, [link(crawl, B)])
        putting = asyncio.create_task(field.put(crawl, A, B))
        await blocked(field.database)
        await session.fetch("record_counts", 1, [crawl], [""], [1], [0], [0])
        fits = await session.fetch("record_budget", [crawl], [1])
    sown = await putting

    assert len(fits) == 1
    assert (sown.new, sown.known) == (1, 1)
    assert await field.counts(crawl) == {"": (2, 0)}


async def test_widened_meanwhile(field: Field) -> None:
    """A batch, and a moved seed that brings the same key, do not wait in a circle: the crawl's row comes before its keys."""
    crawl = await field.empty()
    async with slow(field.database) as (session, _):
        await session.fetch("crawl_lock", crawl)
        putting = asyncio.create_task(Seeding(field.database, crawl).put(seeds(A, kind=ScopeKind.DOMAIN)))
        await blocked(field.database)
        wider = await session.fetch("add_keys", crawl, [domain_id("a.example")])
    sown = await putting

    assert (len(wider), sown.new) == (1, 1)


async def test_two_at_once(field: Field) -> None:
    """Batches of the same URLs in different order, put at once, end, and together find each URL new once."""
    crawl = await field.empty()
    urls = [f"https://d{n % 50}.example/{n}" for n in range(2000)]
    sown = await asyncio.gather(*(field.put(crawl, *some) for some in (urls, urls[::-1], urls[1000:])))

    assert sum(one.new for one in sown) == 2000
    assert sum(one.known for one in sown) == 3000
    assert await field.counts(crawl) == {"": (2000, 0)}


async def test_cut_off(field: Field) -> None:
    """A batch whose connection is cut before it commits is not there; put again, it is."""
    crawl = await field.empty()
    async with slow(field.database) as (session, _):
        await session.fetch("crawl_lock", crawl)
        putting = asyncio.create_task(Seeding(field.database, crawl).put(seeds(A, kind=ScopeKind.DOMAIN)))
        await blocked(field.database)
        await cut(field.database, "update crawls set version%")
        with pytest.raises(DatabaseUnavailableError):
            await putting
    lost = await field.database.ask("select count(*) from urls")
    sown = await field.put(crawl, A)

    assert (lost, sown.new) == (0, 1)


@pytest.mark.parametrize("rows_there", [0, 50_000])
async def test_looks_up_by_key(field: Field, rows_there: int) -> None:
    """Each seed is looked up by its whole key, in a young table and in one of some size, whatever the statistics say."""
    crawl = await field.empty()
    await field.database.script(
        f"insert into urls (domain_id, crawl_id, url_hash, url) select n % 100, {crawl}, decode(md5(n::text), 'hex'), n::text"
        f" from generate_series(1, {rows_there}) n"
    )
    plans = []
    async with slow(field.database) as (session, connection):
        await session.fetch("look_up")
        await session.fetch("seed_tables")
        for name, args in (
            ("seed_put", f"{crawl}, 60"),
            ("seed_again", crawl),
            ("seed_forgotten", ""),
            ("seed_blocked", 9),
        ):
            await connection.execute(f"prepare {name} as {QUERIES[name]}")
            given = f"({args})" if args else ""
            plans.append("\n".join(r[0] for r in await connection.fetch(f"explain execute {name}{given}")))

    for plan in plans:
        assert "Seq Scan on urls" not in plan
        assert "Seq Scan on domains" not in plan
        assert "Materialize" not in plan
    assert [len(re.findall(r"Index Cond: .*\(url_hash = ", plan)) for plan in plans] == [8, 8, 0, 0]


# --- lines --------------------------------------------------------------------------------------------------------------


def lines_of(*pieces: bytes) -> list[str]:
    """What `Lines` makes of them."""
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)] + lines.end()


@given(
    st.lists(
        st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xc3", b"\xa4", b"\xff", b"x" * 50]), max_size=40
    ),
    st.data(),
)
def test_pieces(words: list[bytes], data: st.DataObject) -> None:
    """However a file is cut into pieces, its lines are those of `bytes.splitlines`, with what is not UTF-8 marked."""
    text = b"".join(words)
    pieces = []
    while text:
        n = data.draw(st.integers(1, len(text)))
        pieces.append(text[:n])
        text = text[n:]
    expected = [line.decode("utf-8", "replace") for line in b"".join(words).splitlines()]

    assert lines_of(*pieces) == expected


def test_mark_at_the_start() -> None:
    """A byte order mark is no part of the first line."""
    assert lines_of(b"\xef\xbb", b"\xbf" + A.encode(), b"\n\xef\xbb\xbfx") == [A, "\ufeffx"]


def test_a_line_without_end() -> None:
    """A hundred megabytes without a line end take the memory of a piece, and are one line, which is too long; the next one counts."""
    lines, piece = Lines(), b"x" * 65536
    found = [line for _ in range(1600) for line in lines.feed(piece)]
    kept = len(lines._rest)
    found += lines.feed(b"\n" + A.encode() + b"\n")

    assert kept <= LONGEST_LINE + 1
    assert [seed_in(line) for line in found] == [None, A]
    assert "is longer than 65,536 characters" in refuse_line(found[0])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("example.com", "is not a URL"),
        (A + "\tnote", "one URL a line"),
        (A + "\ufffd", "is not UTF-8"),
        ("ftp://a.example/", "only http"),
        (A + "x" * 3000, "too long"),
    ],
)
def test_bad_lines(line: str, reason: str) -> None:
    """A line that is no seed has a reason that a person understands."""
    assert seed_in(line) is None
    assert reason in refuse_line(line)


@given(st.text(max_size=60))
def test_every_line_is_one_or_the_other(text: str) -> None:
    """A line either is a seed, or has a reason why not."""
    url = seed_in(text)
    if url is not None:
        assert canonical_or_error(text) == url
    else:
        assert refuse_line(text)


def test_gather(tmp_path: Path) -> None:
    """`crawl run --file` reads the same lines: the good ones are kept, the bad ones told with their number."""
    file = tmp_path / "seeds"
    file.write_bytes(
        b"\xef\xbb\xbf# mine\r\n" + A.encode() + b"\r\n\r\nno\n" + B.encode() + b"\tx\n" + A.encode()
    )
    seeds = gather([B], file)

    assert seeds.urls == (B, A)
    assert [line.partition(":")[0] for line in seeds.bad] == ["line 4", "line 5"]
    with pytest.raises(UrlError):
        gather(["no"], file)


# --- batches of lines ---------------------------------------------------------------------------------------------------


class Told(list[str]):
    """A teller that remembers."""

    def __call__(self, tally: Tally) -> None:
        """Nothing to show."""

    def say(self, text: str) -> None:
        """Keep it."""
        self.append(text)


def sieve(
    *, exclude: tuple[str, ...] = (), owned: tuple[str, ...] = (), kind: ScopeKind = ScopeKind.DOMAIN
) -> Sieve:
    """What a crawl takes."""
    return Sieve(kind, AddressPolicy(()), HOSTS, exclude=exclude, owned=owned)


@contextlib.contextmanager
def pipe() -> Iterator[tuple[Source, Callable[[bytes], object], Callable[[], object]]]:
    """A source, how to write to it, and how to end it."""
    out, into = os.pipe()
    ends = contextlib.ExitStack()
    ends.callback(os.close, into)
    with ends:
        try:
            yield Source(out, Path("-")), lambda data: os.write(into, data), ends.close
        finally:
            os.close(out)


async def test_batches(tmp_path: Path) -> None:
    """A large file comes in batches of some twenty thousand seeds, in order, with each line counted once."""
    file = tmp_path / "seeds"
    file.write_text("".join(f"https://d{n % 90}.example/{n}\nbad\n" for n in range(3 * ROWS)))
    fd = os.open(file, os.O_RDONLY)
    told = Told()
    reader = Reader([B], Source(fd, file), sieve(), told)
    reads = []
    while not reader.ended:
        reads.append(await reader.next())
    os.close(fd)

    assert [url for read in reads for url in read.rows] == [
        B,
        *(f"https://d{n % 90}.example/{n}" for n in range(3 * ROWS)),
    ]
    assert all(len(read.rows) < 2 * ROWS for read in reads)
    assert sum(read.lines for read in reads) == 6 * ROWS + 1
    assert sum(read.bad for read in reads) == 3 * ROWS
    assert told == [f"skipped: line {n}: {refuse_line('bad')}" for n in (2, 4, 6)]


async def test_a_slow_pipe() -> None:
    """What comes through a pipe that is never full is a batch after a while; half a line waits for its other half."""
    with pipe() as (source, write, end):
        reader = Reader((), source, sieve(), Told())
        write(A.encode() + b"\nhttps://b.exa")
        clock = asyncio.get_running_loop().time
        began = clock()
        first = await reader.next()
        took = clock() - began
        write(b"mple/")
        end()
        second = await reader.next()

    assert (list(first.rows), list(second.rows), reader.ended) == ([A], [B], True)
    assert took >= PATIENCE


async def test_stopped_while_waiting() -> None:
    """A source that is stopped ends at once, with what had come; half a line is not taken for a whole one."""
    with pipe() as (source, write, _):
        reader = Reader((), source, sieve(), Told())
        write(A.encode() + b"\nhttps://b.example")
        reading = asyncio.create_task(reader.next())
        asyncio.get_running_loop().call_soon(source.stop)
        async with asyncio.timeout(10):
            read = await reading
            rest = await reader.next() if not reader.ended else None

    assert reader.ended
    assert {*read.rows, *(rest.rows if rest else ())} <= {A}


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        (ScopeKind.ANY, 1),
        (ScopeKind.DOMAIN, 2),
        (ScopeKind.HOST, 3),
        (ScopeKind.PREFIX, 4),
        (ScopeKind.PAGE, 5),
    ],
)
async def test_scope_keys(kind: ScopeKind, keys: int) -> None:
    """A batch brings the scope key of each of its seeds, whichever way the scope is measured."""
    urls = [A, A + "2", A + "x/1", "https://www.a.example/", B]
    read = await Reader(urls, None, sieve(kind=kind), Told()).next()

    assert [row.scope_key for row in read.rows.values()] == [scope_key(kind, url) for url in urls]
    assert len({row.scope_key for row in read.rows.values()}) == keys


async def test_what_is_not_taken() -> None:
    """A private address, an excluded URL and a stranger to --i-own are bad lines, and told as such."""
    told = Told()
    urls = [A, A + "private/1", "http://10.1.2.3/", "http://localhost:8080/", B]
    read = await Reader(
        urls, None, sieve(exclude=("/private/",), owned=("a.example", "10.1.2.3", "localhost")), told
    ).next()

    assert list(read.rows) == [A]
    assert read.bad == 4
    assert [line.split()[2:5] for line in told] == [
        ["is", "excluded", "by"],
        ["is", "at", "10.1.2.3,"],
        ["is", "at", "127.0.0.1,"],
    ]


async def test_hosts_are_forgotten() -> None:
    """What is remembered of hosts is bounded, and forgetting it changes nothing."""
    small = sieve()
    small.MOST = 2  # type: ignore[misc]  # to see it at work
    urls = [f"https://d{n}.example/" for n in (1, 2, 3, 4, 1)]
    places = [small.place(url) for url in urls]

    assert [place.domain for place in places] == [
        "d1.example",
        "d2.example",
        "d3.example",
        "d4.example",
        "d1.example",
    ]
    assert len(small._places) <= 2
