"""Names while name servers die, lie and come back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.adapters import dns
from crawler.adapters.dns import DnsError, Resolution
from crawler.core import kept
from crawler.demo.names import NXDOMAIN, REFUSED, SERVFAIL, SILENCE, NameServer, parse
from tests.adapters.resolving import resolver, why_not

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True

SOMEWHERE: Final[list[str] | int] = ["192.0.2.1"]
FOUND: Final = ("192.0.2.1",)
FEW: Final = 40
"""Descriptors for one name server, however many questions: a port is kept for many."""


def descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@asynccontextmanager
async def nothing_left_open() -> AsyncIterator[None]:
    """As many descriptors afterwards as before."""
    before = descriptors()
    yield
    async with asyncio.timeout(20):
        while descriptors() > before:  # noqa: ASYNC110 - c-ares ends its channels in a thread of its own, which tells nobody
            await asyncio.sleep(0.01)


class Liar(NameServer):
    """Sends `lies` for a question, made from it and its true answer, in front of that or instead."""

    lies: Callable[[bytes, bytes], list[bytes]] = staticmethod(lambda _query, _true: [])
    then_true: bool = True

    def replies(self, query: bytes) -> list[bytes]:
        """Lies first."""
        true = super().replies(query)
        return self.lies(query, true[0]) + (true if self.then_true else [])


def another_identifier(_query: bytes, true: bytes) -> list[bytes]:
    """As a forger who guesses."""
    number = int.from_bytes(true[:2])
    return [((number + guess) % 65536).to_bytes(2) + true[2:-1] + b"\x66" for guess in range(1, 50)]


def another_question(_query: bytes, true: bytes) -> list[bytes]:
    """The right identifier, for a name that nobody asked for."""
    return [(true[:-1] + b"\x66").replace(b"site", b"evil")]


def rubbish(query: bytes, _true: bytes) -> list[bytes]:
    """No message at all."""
    return [b"", query[:2], query[:2] + b"\xff" * 30, b"\0" * 12, query, b"\xff" * 1400]


LIES: Final = [another_identifier, another_question, rubbish]


@pytest.mark.parametrize("lies", [another_identifier, another_question])
async def test_what_is_no_answer_is_passed_over(lies: Callable[[bytes, bytes], list[bytes]]) -> None:
    """The true answer counts, whatever came in front of it."""
    async with Liar(otherwise=SOMEWHERE) as server, resolver(server) as made:
        server.lies = lies

        assert (await made.resolve("site.test")).addresses == FOUND


@pytest.mark.parametrize("lies", LIES)
async def test_a_server_that_only_lies(lies: Callable[[bytes, bytes], list[bytes]]) -> None:
    """When no true answer follows, another server answers."""
    async with Liar(otherwise=SOMEWHERE) as liar, NameServer(otherwise=SOMEWHERE) as good:
        liar.lies, liar.then_true = lies, False
        for order in ((liar, good), (good, liar)):
            async with resolver(*order, timeout=0.6) as made:
                assert (await made.resolve("site.test")).addresses == FOUND

        assert liar.asked


async def test_rubbish_for_one_name_disturbs_no_other() -> None:
    """Twenty names are found while twenty others, asked of the same server at once, bring rubbish."""

    def for_bad(query: bytes, true: bytes) -> list[bytes]:
        return rubbish(query, true) if parse(query)[0].startswith("bad") else []

    async with Liar(otherwise=SOMEWHERE) as server, resolver(server) as made:
        server.lies = for_bad
        bad = [asyncio.create_task(made.resolve(f"bad{n}.test")) for n in range(20)]
        found = await asyncio.gather(*(made.resolve(f"good{n}.test") for n in range(20)))
        await asyncio.wait(bad)

        assert {one.addresses for one in found} == {FOUND}
        assert {type(one.exception()) for one in bad} <= {DnsError, type(None)}


async def test_an_answer_that_breaks_off() -> None:
    """An answer whose records make no sense is a failure at once, and another server is asked."""

    def broken(_query: bytes, true: bytes) -> list[bytes]:
        return [true[:-2]]

    async with Liar(otherwise=SOMEWHERE) as liar, resolver(liar, timeout=30) as made:
        liar.lies, liar.then_true = broken, False
        async with asyncio.timeout(10):
            reason = await why_not(made, "site.test")

        assert reason == "the name server's answer makes no sense"


async def test_four_thousand_addresses() -> None:
    """An answer too long for UDP is asked for by TCP; its first sixteen addresses are kept."""
    many: list[str] | int = [f"11.0.{n >> 8}.{n & 255}" for n in range(4_000)]
    async with NameServer({"many.test": many}) as server:
        async with resolver(server) as made:
            found = await made.resolve("many.test")

        assert found.addresses == tuple(f"11.0.0.{n}" for n in range(16))
        assert server.by_tcp == 1


async def test_cut_off_and_no_tcp() -> None:
    """A server that cuts its answer off and does not take TCP has failed: another one is asked."""
    many: list[str] | int = ["192.0.2.1"] * 200
    async with NameServer({"many.test": many}) as deaf, NameServer({"many.test": many}) as good:
        deaf._server.close()
        for order in ((deaf, good), (good, deaf)):
            async with resolver(*order) as made:
                assert set((await made.resolve("many.test")).addresses) == set(FOUND)


async def test_a_long_chain_and_a_loop() -> None:
    """Ten aliases in a row are followed; aliases that lead to each other lead nowhere."""
    chain: list[str] | int = [*(f"{n}.cdn.test" for n in range(10)), "192.0.2.1"]
    loop: list[str] | int = ["b.test", "a.test", "b.test", "a.test"]
    async with NameServer({"long.test": chain, "a.test": loop}) as server, resolver(server) as made:
        assert (await made.resolve("long.test")).addresses == FOUND
        assert await why_not(made, "a.test") == "the name has no address"


async def test_names_at_the_edge() -> None:
    """A name of 253 characters and one with odd letters are asked for as they are; longer ones are not."""
    longest = ".".join(["a" * 61] * 4) + ".tests"
    async with NameServer(otherwise=SOMEWHERE) as server, resolver(server) as made:
        for name in (longest, "a_b.-c.test", "xn--bcher-kva.test"):
            assert (await made.resolve(name)).addresses == FOUND
        for name in ("a..test", f"{'a' * 64}.test"):
            assert await why_not(made, name) == "not a name that DNS can hold"

        assert [name for name, _ in server.asked] == [longest, "a_b.-c.test", "xn--bcher-kva.test"]


# ---------------------------------------------------------------- many servers


async def test_an_even_spread() -> None:
    """Names that are looked up together are spread evenly over the servers."""
    async with (
        NameServer(otherwise=SOMEWHERE) as one,
        NameServer(otherwise=SOMEWHERE) as two,
        NameServer(otherwise=SOMEWHERE) as three,
        resolver(one, two, three, timeout=10) as made,
    ):
        await asyncio.gather(*(made.resolve(f"{n}.test") for n in range(300)))

        assert [len(server.asked) for server in (one, two, three)] == [100, 100, 100]


@pytest.mark.parametrize("trouble", [SILENCE, SERVFAIL, REFUSED])
async def test_the_others_share_what_the_sick_one_had(trouble: int) -> None:
    """When one of three servers cannot answer, no lookup is lost and the others share its questions evenly."""
    async with (
        NameServer(otherwise=SOMEWHERE) as one,
        NameServer(otherwise=trouble) as sick,
        NameServer(otherwise=SOMEWHERE) as two,
        resolver(one, sick, two, timeout=2) as made,
    ):
        found = await asyncio.gather(*(made.resolve(f"first{n}.test") for n in range(30)))
        before = len(one.asked), len(two.asked)
        found += [await made.resolve(f"second{n}.test") for n in range(100)]
        after = len(one.asked) - before[0], len(two.asked) - before[1]

        assert {each.addresses for each in found} == {FOUND}
        assert abs(after[0] - after[1]) <= 2
        assert len(sick.asked) <= 24


async def test_a_server_dies_and_comes_back() -> None:
    """No lookup is lost when one of two servers dies in the middle, and when it is back it is asked again."""
    numbers = iter(range(10_000))
    async with NameServer() as nobody:
        place = nobody.where
    async with NameServer(otherwise=SOMEWHERE) as good, resolver(good, place, timeout=3) as made:

        async def look_up(count: int) -> Counter[tuple[str, ...]]:
            found = await asyncio.gather(*(made.resolve(f"{next(numbers)}.test") for _ in range(count)))
            return Counter(one.addresses for one in found)

        async with NameServer(otherwise=SOMEWHERE, port=place[1]) as other:
            alive = await look_up(50)
            half = len(other.asked)
        dead = await look_up(50)
        async with NameServer(otherwise=SOMEWHERE, port=place[1]) as back:
            async with asyncio.timeout(20):
                while not back.asked:
                    await look_up(1)
                    await asyncio.sleep(0.02)  # it is tried by the clock, two seconds after it failed
            before = len(back.asked)
            again = await look_up(40)

            assert (alive[FOUND], dead[FOUND], again[FOUND]) == (50, 50, 40)
            assert half == 25
            assert len(back.asked) - before == 20


async def test_two_thousand_names_at_once() -> None:
    """Two thousand names are looked up together, through few descriptors, and none is lost."""
    async with (
        NameServer(otherwise=SOMEWHERE) as server,
        nothing_left_open(),
        resolver(server, timeout=10, ipv6=True) as made,
    ):
        before = descriptors()
        waiting = [asyncio.create_task(made.resolve(f"{n}.test")) for n in range(2_000)]
        await server.question.wait()
        most = descriptors() - before
        found = await asyncio.gather(*waiting)

        assert Counter(one.addresses for one in found) == {FOUND: 2_000}
        assert most <= FEW


async def test_who_comes_too_late_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many lookups under way as there may be, another one begins later, and its time counts from then."""
    monkeypatch.setattr(dns, "MAX_LOOKUPS", 2)
    names: Any = {"slow1.test": SILENCE, "slow2.test": SILENCE}
    async with NameServer(names, otherwise=SOMEWHERE) as server, resolver(server, timeout=0.4) as made:
        slow = [asyncio.create_task(made.resolve(name)) for name in names]
        while made.lookups < len(slow):  # noqa: ASYNC110 - as said below
            await asyncio.sleep(0)  # a task begins in the next round
        found = await made.resolve("late.test")
        await asyncio.wait(slow)

        assert found.addresses == FOUND
        assert {name for name, _ in server.asked[:-1]} == set(names)


async def test_silent_servers_leave_nothing_behind() -> None:
    """Silent servers leave no descriptor behind."""
    async with (
        NameServer(otherwise=SILENCE) as one,
        NameServer(otherwise=SILENCE) as two,
        nothing_left_open(),
        resolver(one, two, timeout=0.3, ipv6=True) as made,
    ):
        reasons = await asyncio.gather(*(why_not(made, f"{n}.test") for n in range(100)))

        assert set(reasons) == {"no name server answered within 0.3 s"}


# ---------------------------------------------------------------- when nobody answers


@pytest.fixture
def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TTL of nothing is nothing."""
    monkeypatch.setattr(dns, "MIN_TTL", 0.0)


@pytest.mark.usefixtures("no_floor")
@pytest.mark.parametrize("trouble", [SILENCE, SERVFAIL, REFUSED])
async def test_a_stale_answer(trouble: int) -> None:
    """RFC 8767: when no server can tell, what held before is believed for half a minute."""
    async with NameServer(otherwise=SOMEWHERE, ttl=0) as server, resolver(server, timeout=0.3) as made:
        await made.resolve("site.test")
        server.otherwise = trouble
        found = await made.resolve("site.test")
        asked = len(server.asked)
        again = await made.resolve("site.test")

        assert found == Resolution(FOUND, 30)
        assert again.addresses == FOUND
        assert 20 < again.ttl <= 30
        assert len(server.asked) == asked
        assert "name server" in await why_not(made, "other.test")


@pytest.mark.usefixtures("no_floor")
async def test_a_real_answer_replaces_a_stale_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the servers are back, what they say counts: another address, or that there is none."""
    monkeypatch.setattr(kept, "STALE_TTL", 0.0)
    async with NameServer(otherwise=SOMEWHERE, ttl=0) as server, resolver(server, timeout=0.3) as made:
        answers: list[Any] = []
        for otherwise in (SOMEWHERE, REFUSED, ["192.0.2.7"], SERVFAIL, NXDOMAIN, SERVFAIL):
            server.otherwise = otherwise
            try:
                answers.append((await made.resolve("site.test")).addresses)
            except DnsError as error:
                answers.append(str(error))

    assert answers == [FOUND, FOUND, ("192.0.2.7",), ("192.0.2.7",), "no such name", "no such name"]


@pytest.mark.usefixtures("no_floor")
async def test_a_stale_answer_is_not_told_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended too long ago is told no more."""
    monkeypatch.setattr(kept, "MAX_STALE", 0.0)
    async with NameServer(otherwise=SOMEWHERE, ttl=0) as server, resolver(server, timeout=0.3) as made:
        await made.resolve("site.test")
        server.otherwise = SERVFAIL

        assert await why_not(made, "site.test") == "the name server failed"


@pytest.mark.usefixtures("no_floor")
async def test_nobody_waits_long_for_better_than_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a stale answer to fall back on is not kept waiting; the lookup goes on, and its answer replaces it."""
    monkeypatch.setattr(dns, "STALE_PATIENCE", 0.1)
    async with NameServer(otherwise=SOMEWHERE, ttl=0) as server, resolver(server, timeout=20) as made:
        await made.resolve("site.test")
        server.held, server.otherwise, server.ttl = asyncio.Event(), ["192.0.2.7"], 300
        async with asyncio.timeout(5):
            stale = await made.resolve("site.test")
        server.held.set()
        async with asyncio.timeout(5):
            # The lookup is nobody's any more: there is no one to wait for.
            while (fresh := await made.resolve("site.test")).addresses == FOUND:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert stale == Resolution(FOUND, 30)
    assert fresh.addresses == ("192.0.2.7",)


async def test_answers_are_counted_by_server() -> None:
    """Of each server it is counted what it told, a name that does not exist included, and what it did not; who was not asked has none."""
    good: dict[str, list[str] | int] = {"site.test": ["192.0.2.1"], "no.test": NXDOMAIN}
    async with (
        NameServer(good) as knows,
        NameServer({"site.test": SERVFAIL, "no.test": SERVFAIL}) as fails,
        resolver(knows) as one,
        resolver(fails) as other,
    ):
        await one.resolve("site.test")
        await one.resolve("site.test")
        await why_not(one, "no.test")
        await why_not(other, "site.test")
        answers = [*one.answers.values(), *other.answers.values()]

    assert answers == [(2, 0), (0, 1)]


async def test_a_lookup_that_is_given_up() -> None:
    """When a resolver is closed in the middle of a lookup, its servers have not failed: they had no time."""
    async with NameServer({"site.test": SILENCE}) as silent, resolver(silent, timeout=30) as made:
        waiting = asyncio.create_task(made.resolve("site.test"))
        await silent.question.wait()
        await made.close()
        await asyncio.wait([waiting])
        answers = list(made.answers.values())

    assert waiting.cancelled()
    assert answers == [(0, 0)]


async def test_silence_is_counted() -> None:
    """A server that is silent has failed each time it was asked before one that knew, or when nobody did."""
    async with (
        NameServer({"site.test": SILENCE}) as silent,
        NameServer({"site.test": SOMEWHERE}) as knows,
        resolver(silent, knows) as both,
        resolver(silent, timeout=0.3) as alone,
    ):
        await asyncio.gather(both.resolve("site.test"), why_not(alone, "site.test"))
        of_both, of_one = list(both.answers.values()), list(alone.answers.values())

    assert of_both[1] == (1, 0)
    assert of_both[0][0] == 0
    assert of_one[0][0] == 0 < of_one[0][1]
