"""`crawl dead` by the real program, on letters that the dispatcher buried, and on what strangers put there."""

from collections.abc import Sequence

import msgspec
import pytest

from crawler.adapters.erasing import Erasing
from crawler.adapters.frontier import LOST_FOR_GOOD
from crawler.adapters.postgres import Database
from crawler.adapters.queue import PostgresQueue
from crawler.adapters.rabbit import RabbitQueue
from crawler.cli.summary import as_dict, as_text
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.turns import VERSION, Turn, TurnUrl, decode, encode
from crawler.core.urls import domain_id
from crawler.crawling import Summary
from crawler.dispatch import Dispatcher, TurnSizes
from crawler.letters import AT_ONCE, BURIED, Fate, Letters
from crawler.ports import DeadLetter
from tests.broker import free_port
from tests.making import QUEUE_LEASE, Frontiers, rows, settled, visit
from tests.system.told import Terminal

A = "https://a.example/"
STRANGE = b"\xc1"
LATER = msgspec.msgpack.encode([VERSION + 1, "whatever it holds"])


class Graveyard:
    """A database whose turns were lost too often."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database = database
        self.heart = Frontiers(database)
        self.queue = PostgresQueue(database)
        self.letters = Letters(database, self.queue)
        self.crawl = Terminal(dsn)
        sizes = TurnSizes(turn_seconds=60.0, per_domain=1)
        self._dispatcher = Dispatcher(self.heart.frontier, self.queue, queue_lease=QUEUE_LEASE, sizes=sizes)

    async def bury(self, *names: str) -> list[DeadLetter]:
        """Let the dispatcher find that the turns of these domains were lost too often: the letters."""
        for name in names:
            sql = f"update domains set lost = {LOST_FOR_GOOD + 1}, ready_at = now() where name = '{name}'"
            await self.database.script(sql)
        await self._dispatcher.dispatch_once()
        return await self.queue.dead_letters(1000)

    async def retried(self, letter: DeadLetter) -> Fate:
        """Retry one letter: what came of it."""
        (one,) = await self.letters.retry(await self.letters.named([letter.letter_id]))
        return one.fate

    async def on_queue(self) -> list[bytes]:
        """The bodies that wait for a worker."""
        sql = "select body from messages where queue = 'crawl.turns' order by message_id"
        return [found["body"] for found in await rows(self.database, sql)]


@pytest.fixture
def yard(database: Database, dsn: str) -> Graveyard:
    """A database whose turns will be lost."""
    return Graveyard(database, dsn)


async def test_list(yard: Graveyard) -> None:
    """The list names each letter with its domain, its URLs and the reason, in the order in which they were buried."""
    await yard.heart.crawl(A, "https://b.example/")
    await yard.bury("a.example")
    await yard.queue.bury([LATER, STRANGE], "not \x1b[31munderstood")
    listed, short = (
        await yard.crawl("dead", "list", "--json"),
        await yard.crawl("dead", "list", "--limit", "1"),
    )
    table = await yard.crawl("dead", "list")
    first, second, third = listed.json

    assert (first["kind"], first["domain"], first["urls"], first["first_url"]) == ("turn", "a.example", 1, A)
    assert "lost 6 times in a row" in first["reason"]
    assert (second["kind"], third["kind"]) == ("another version", "no turn")
    assert [line.split()[0] for line in table.out.splitlines()] == [
        "id",
        first["id"],
        second["id"],
        third["id"],
    ]
    assert "\x1b" not in table.out
    assert short.out.count("\n") == 2
    assert short.err == "crawl: 2 more letters: see --limit\n"


async def test_nothing_there(yard: Graveyard) -> None:
    """Without dead letters, each of the three says so and is done."""
    said = [
        await yard.crawl("dead", "list"),
        await yard.crawl("dead", "retry", "--all"),
        await yard.crawl("dead", "drop", "--all"),
    ]

    assert [(one.status, one.out) for one in said] == [(0, "there are no dead letters\n")] * 3


async def test_retry(yard: Graveyard) -> None:
    """A retry makes the buried URL due as it was, sets its finished crawl going with all that is due of it, and removes the letter."""
    crawl = await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    await yard.heart.seed(crawl, "https://revisited.example/")
    await yard.database.script(
        "update urls set open = false; update domains set due_at = null where lost = 0"
    )
    await yard.heart.crawls.finish(crawl)
    finished = (await yard.heart.crawls.by_id(crawl)).state  # type: ignore[union-attr]
    await yard.database.script("update domains set lost = 3")
    said = await yard.crawl("dead", "retry", letter.letter_id)
    url, domain = await yard.heart.url(A), await yard.heart.domain("a.example")
    taken = await yard.heart.take()

    assert finished == "finished"
    assert said.status == 0
    assert said.out == (
        f"{letter.letter_id} (a.example): 1 URL due again\nnobody works on them now: `crawl worker` goes on\n"
    )
    assert (url["open"], url["attempts"], url["outcome"], url["detail"]) == (True, 0, None, "")
    assert (domain["lost"], domain["due_at"]) == (0, url["due_at"])
    assert (await yard.heart.crawls.by_id(crawl)).state == "running"  # type: ignore[union-attr]
    assert await yard.heart.counts(crawl) == {"": (2, 0)}
    assert [one.url for one in taken["a.example"][1]] == [A]
    assert "revisited.example" in taken
    assert await yard.queue.dead_count() == 0


async def test_retry_of_a_revisit(yard: Graveyard) -> None:
    """A URL that had an outcome before it was buried is counted under that outcome again."""
    crawl = await yard.heart.crawl(A)
    _, (item,) = await yard.heart.hold("a.example")
    await yard.heart.record([visit(item, settled(again_in=0.0))])
    await yard.database.script("update domains set holder = null, ready_at = now(), due_at = now()")
    (letter,) = await yard.bury("a.example")
    buried = await yard.heart.counts(crawl)
    fate = await yard.retried(letter)

    assert {outcome: urls for outcome, (urls, _) in buried.items() if urls} == {"decode_error": 1}
    assert fate is Fate.ARMED
    assert {outcome: urls for outcome, (urls, _) in (await yard.heart.counts(crawl)).items()} == {"ok": 1}
    assert (await yard.heart.url(A))["outcome"] == "ok"


async def test_retry_twice(yard: Graveyard) -> None:
    """A retry that was cut short before the letter went finds nothing buried the second time, and counts nothing twice."""
    crawl = await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    body = letter.body
    await yard.retried(letter)
    await yard.queue.bury([body], letter.reason)
    (again,) = await yard.queue.dead_letters(10)
    fate = await yard.retried(again)

    assert fate is Fate.STILL_DUE
    assert await yard.heart.counts(crawl) == {"": (1, 0)}
    assert await yard.queue.dead_count() == 0


async def test_retry_of_what_was_never_buried(yard: Graveyard) -> None:
    """A turn whose visit failed by a fault of ours is still due by itself: only its letter goes, and that is said."""
    await yard.heart.crawl(A)
    turn, urls = (await yard.heart.take())["a.example"]
    await yard.queue.bury(
        [encode(Turn(VERSION, domain_id("a.example"), "a.example", turn, urls))], "KeyError: 1"
    )
    before = await yard.heart.url(A)
    (letter,) = await yard.queue.dead_letters(1)
    said = await yard.crawl("dead", "retry", letter.letter_id)

    assert said.status == 0
    assert "due by itself; only the letter is removed" in said.out
    assert (await yard.heart.url(A))["due_at"] == before["due_at"]
    assert await yard.queue.dead_count() == 0


async def test_a_fault_of_the_site_stays(yard: Graveyard) -> None:
    """A URL that ended with decode_error because of what the site sent is not armed by a letter that names it."""
    await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    await yard.database.script("update urls set detail = 'bad gzip'")
    fate = await yard.retried(letter)

    assert fate is Fate.VISITED
    assert (await yard.heart.url(A))["due_at"] is None


async def test_two_crawls_in_one_letter(yard: Graveyard) -> None:
    """A letter with URLs of two crawls arms both; the deleted one's URLs do not come back."""
    one, two = await yard.heart.crawl(A), await yard.heart.crawl(A, name="two")
    (first,) = await yard.bury("a.example")
    letters = await yard.bury("a.example")
    bodies = [decode(letter.body) for letter in letters]
    both = encode(
        Turn(VERSION, domain_id("a.example"), "a.example", 1, [url for turn in bodies for url in turn.urls])
    )
    await yard.letters.drop(None)
    await yard.queue.bury([both], first.reason)
    await Erasing(yard.database).crawl(two)
    (letter,) = await yard.queue.dead_letters(1)
    fate = await yard.retried(letter)

    assert len(letters) == 2
    assert fate is Fate.ARMED
    assert await yard.heart.counts(one) == {"": (1, 0)}
    assert await yard.heart.counts(two) == {}


@pytest.mark.parametrize("what", ["crawl", "domain"])
async def test_retry_of_what_is_gone(yard: Graveyard, what: str) -> None:
    """Nothing of a deleted crawl or a forgotten domain comes back by a retry: only the letter goes."""
    crawl = await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    erasing = Erasing(yard.database)
    await (erasing.crawl(crawl) if what == "crawl" else erasing.domain(domain_id("a.example"), "a.example"))
    fate = await yard.retried(letter)

    assert fate is Fate.ERASED
    assert await rows(yard.database, "select from urls") == []
    assert await yard.queue.dead_count() == 0


async def test_buried_urls_are_counted(yard: Graveyard) -> None:
    """The summary of a run tells how many URLs lie with the dead letters, and nothing of what failed otherwise."""
    crawl = await yard.heart.crawl(A)
    before = await yard.database.value("urls_buried", crawl, BURIED)
    await yard.bury("a.example")

    assert (before, await yard.database.value("urls_buried", crawl, BURIED)) == (0, 1)


def test_the_summary_names_what_was_buried() -> None:
    """A run whose URLs lie with the dead letters says so, and where to look."""
    ended = Summary(
        crawl=Crawl(1, "test", CrawlState.FINISHED, 1, ScopeKind.DOMAIN),
        new_seeds=0, interrupted=False, seconds=1.0, pages=1, requests=1, wire_bytes=1, cpu_seconds=1.0,
        totals=[], waiting=[], seeds_stored=True, seeds_failed=[], buried=2,
    )  # fmt: skip

    assert "2 URLs whose visits killed every worker: `crawl dead list --data x`" in as_text(
        ended, "x", " --data x"
    )
    assert as_dict(ended, "x")["buried"] == 2


async def test_hindrances(yard: Graveyard) -> None:
    """What is due again and still not visited is told with the command that lets it go on."""
    crawl = await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    await yard.heart.crawls.cancel(crawl)
    await yard.database.script("update domains set blocked = 'asked by its webmaster'")
    said = await yard.crawl("dead", "retry", letter.letter_id)

    assert "the crawl test is cancelled: `crawl resume test`" in said.out
    assert "blocked (asked by its webmaster): `crawl domain a.example --unblock`" in said.out
    assert (await yard.heart.url(A))["open"]


async def test_a_limit_stays(yard: Graveyard) -> None:
    """A crawl that is finished because its budget is used up stays so, and the limit is named."""
    crawl = await yard.heart.crawl(A, max_pages=1)
    (letter,) = await yard.bury("a.example")
    await yard.heart.seed(crawl, "https://b.example/")
    _, (item,) = await yard.heart.hold("b.example")
    await yard.heart.record([visit(item)], budgeted=[crawl])
    said = await yard.crawl("dead", "retry", letter.letter_id)

    assert "the crawl test has reached its limit: raise it with `crawl set test`" in said.out
    assert (await yard.heart.crawls.by_id(crawl)).state == "finished"  # type: ignore[union-attr]


async def test_another_version(yard: Graveyard) -> None:
    """A message of another version is on the queue again as it is; what is no turn is refused, told of, and stays."""
    await yard.queue.bury([STRANGE, LATER], "not understood")
    strange, later = await yard.queue.dead_letters(2)
    said = await yard.crawl("dead", "retry", strange.letter_id, later.letter_id)
    (left,) = await yard.queue.dead_letters(2)

    assert (said.status, said.err.count("\n")) == (1, 1)
    assert said.err.startswith(f"crawl: {strange.letter_id}: this is no turn")
    assert "another version wrote it: it is on the queue again" in said.out
    assert await yard.on_queue() == [LATER]
    assert left.letter_id == strange.letter_id


async def test_retry_all(yard: Graveyard) -> None:
    """All letters there are, more than are read at once, are tried again once; those that are no turns stay in front."""
    await yard.heart.crawl(A)
    await yard.queue.bury([STRANGE] * 3, "not understood")
    await yard.bury("a.example")
    await yard.queue.bury([LATER] * AT_ONCE, "not understood")
    said = await yard.crawl("dead", "retry", "--all")
    left = await yard.queue.dead_letters(1000)

    assert said.status == 1
    assert said.out.splitlines()[0] == (
        f"{AT_ONCE + 1:,} letters tried again (1 armed, {AT_ONCE} published); 1 URL due again"
    )
    assert said.err.count("it stays") == 3
    assert [one.body for one in left] == [STRANGE] * 3
    assert len(await yard.on_queue()) == AT_ONCE


async def test_retry_all_ends(yard: Graveyard) -> None:
    """Letters that come back at once, because nobody understands them, are tried once and not for ever."""
    await yard.queue.bury([LATER] * 3, "not understood")

    class Boomerang(PostgresQueue):
        async def publish(self, bodies: Sequence[bytes], *, urgent: bool = False) -> list[bool]:
            await self.bury(bodies, f"not understood, urgent: {urgent}")
            return [True] * len(bodies)

    done = await Letters(yard.database, Boomerang(yard.database)).retry_all()

    assert [one.fate for one in done] == [Fate.PUBLISHED] * 3
    assert await yard.queue.dead_count() == 3


async def test_drop(yard: Graveyard) -> None:
    """Dropping wants a yes, removes the letter and nothing else: what was buried stays unvisited."""
    await yard.heart.crawl(A)
    (letter,) = await yard.bury("a.example")
    unasked = await yard.crawl("dead", "drop", letter.letter_id)
    said = await yard.crawl("dead", "drop", letter.letter_id, "--yes")

    assert unasked.status == 2
    assert "Drop 1 dead letter for good?" in unasked.err
    assert (said.status, said.out) == (0, "1 dead letter dropped\n")
    assert (await yard.heart.url(A))["outcome"] == "decode_error"
    assert await yard.queue.dead_count() == 0


async def test_unknown_letter(yard: Graveyard) -> None:
    """A number that no letter has is a line and status 1, and the letters named with it are left alone."""
    await yard.queue.bury([STRANGE], "not understood")
    (letter,) = await yard.queue.dead_letters(1)
    said = [
        await yard.crawl("dead", *words)
        for words in (["retry", letter.letter_id, "0x"], ["drop", "0x", letter.letter_id, "--yes"])
    ]

    assert {(one.status, one.err) for one in said} == {
        (1, "crawl: there is no dead letter 0x: `crawl dead list` shows them; nothing was done\n")
    }
    assert await yard.queue.dead_count() == 1


@pytest.mark.parametrize(
    "words", [["retry"], ["drop"], ["retry", "1", "--all"], ["drop", "1", "--all", "--yes"]]
)
async def test_which_letters(yard: Graveyard, words: list[str]) -> None:
    """Neither a number nor --all, or both, is wrong usage and says what is wanted."""
    said = await yard.crawl("dead", *words)

    assert said.status == 2
    assert said.err.startswith(
        f"crawl dead {words[0]}: name the letters, as `crawl dead list` shows them, or say --all"
    )


@pytest.mark.parametrize(("domain", "crawl"), [(2**63, 1), (1, 2**31), (1, -1)])
async def test_a_forged_turn(yard: Graveyard, domain: int, crawl: int) -> None:
    """A turn with numbers that nothing in a database can have is no turn of ours: it is refused, and stops no other."""
    url = TurnUrl(crawl, b"x" * 16, A, 0, 0, 0, 0, False, None)  # noqa: FBT003 - a row
    await yard.queue.bury([encode(Turn(VERSION, domain, "a.example", 1, [url])), LATER], "forged")
    done = await yard.letters.retry_all()

    assert {one.fate for one in done} == {Fate.REFUSED, Fate.PUBLISHED}


async def test_on_rabbitmq(yard: Graveyard, amqp: tuple[str, str]) -> None:
    """The dead letters of RabbitMQ are listed, retried and dropped as those of PostgreSQL are."""
    url, prefix = amqp
    crawl = await yard.heart.crawl(A)
    (buried,) = await yard.bury("a.example")
    await yard.letters.drop(None)
    there = Terminal(yard.crawl.dsn, {"AMQP_URL": url, "AMQP_PREFIX": prefix})
    async with RabbitQueue(url, prefix=prefix) as queue:
        await queue.bury([buried.body, LATER, STRANGE], "for a reason")
        listed = (await there("dead", "list", "--json")).json
        first, second, third = (one["id"] for one in listed)
        retried = await there("dead", "retry", "--all")
        waiting = await queue.depth()
        unknown = await there("dead", "drop", third, first, "--yes")
        kept = await queue.dead_count()
        dropped = await there("dead", "drop", third, "--yes")
        left = await queue.dead_count()

    assert [one["kind"] for one in listed] == ["turn", "another version", "no turn"]
    assert {one["reason"] for one in listed} == {"for a reason"}
    assert f"{first} (a.example): 1 URL due again" in retried.out
    assert f"{second}: another version wrote it" in retried.out
    assert (retried.status, retried.err.count("it stays")) == (1, 1)
    assert await yard.heart.counts(crawl) == {"": (1, 0)}
    assert (waiting, kept, left) == (1, 1, 0)
    assert (unknown.status, dropped.status) == (1, 0)


async def test_broker_away(yard: Graveyard) -> None:
    """A broker that is away is a line and status 1, and nothing was done."""
    there = Terminal(yard.crawl.dsn, {"AMQP_URL": f"amqp://carl:hidden@127.0.0.1:{free_port()}/"})
    said = [await there("dead", *words) for words in (["list"], ["retry", "--all"], ["drop", "1", "--yes"])]

    assert {one.status for one in said} == {1}
    assert all("cannot be reached" in one.err and one.err.count("\n") == 1 for one in said)
    assert not any("hidden" in one.err for one in said)
