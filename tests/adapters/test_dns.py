"""Names against real name servers on loopback."""

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crawler.adapters.dns import Resolution, Resolver
from crawler.adapters.hosts import system_servers
from crawler.demo.names import REFUSED
from tests.adapters.resolving import resolver as some_resolver
from tests.adapters.resolving import why_not
from tests.adapters.servers import NXDOMAIN, SERVFAIL, SILENCE, NameServer

pytest_plugins = ["tests.adapters.loops"]
BOTH_LOOPS = True


resolver = partial(some_resolver, ipv6=True)
"""A resolver that asks for both families."""


async def test_ipv4_comes_first() -> None:
    """Both families are asked for, and IPv4 addresses come first."""
    names: Any = {"site.test": ["2001:db8::1", "192.0.2.1", "192.0.2.2"]}
    async with NameServer(names, ttl=300) as server, resolver(server) as made:
        found = await made.resolve("site.test")

    assert found == Resolution(("192.0.2.1", "192.0.2.2", "2001:db8::1"), 300)


async def test_without_ipv6_nobody_asks() -> None:
    """A machine without IPv6 does not ask for IPv6 addresses."""
    async with NameServer({"site.test": ["192.0.2.1"]}) as server, resolver(server, ipv6=False) as made:
        await made.resolve("site.test")

        assert server.asked == [("site.test", "A")]


async def test_only_ipv6() -> None:
    """A name with IPv6 addresses alone is found."""
    async with NameServer({"six.test": ["2001:db8::1"]}) as server, resolver(server) as made:
        assert (await made.resolve("six.test")).addresses == ("2001:db8::1",)


async def test_alias() -> None:
    """An alias leads to the addresses behind it."""
    async with NameServer({"www.site.test": ["cdn.test", "192.0.2.7"]}) as server, resolver(server) as made:
        assert (await made.resolve("www.site.test")).addresses == ("192.0.2.7",)


@pytest.mark.parametrize(("ttl", "clamped"), [(0, 10), (11, 11), (1_000_000, 3600)])
async def test_ttl_is_clamped(ttl: int, clamped: float) -> None:
    """What a name server says holds for at least 10 s and at most an hour."""
    async with NameServer({"site.test": ["192.0.2.1"]}, ttl=ttl) as server, resolver(server) as made:
        assert (await made.resolve("site.test")).ttl == clamped


async def test_an_answer_is_remembered() -> None:
    """A name is asked for once, whatever its spelling."""
    async with NameServer({"site.test": ["192.0.2.1"]}) as server, resolver(server) as made:
        for spelling in ("site.test", "SITE.test.", "site.test."):
            await made.resolve(spelling)

        assert server.count("site.test") == 1


async def test_nxdomain_is_remembered() -> None:
    """That there is no such name is believed, of the first server asked, and remembered."""
    async with NameServer(otherwise=NXDOMAIN) as one, NameServer(otherwise=NXDOMAIN) as two:
        async with resolver(one, two) as made:
            reasons = {await why_not(made, "no.test") for _ in range(3)}

        assert reasons == {"no such name"}
        assert one.count("no.test") + two.count("no.test") == 1


async def test_no_address() -> None:
    """A name without addresses is a failure that says so."""
    async with NameServer({"mail.test": []}) as server, resolver(server) as made:
        assert await why_not(made, "mail.test") == "the name has no address"


async def test_the_cache_is_bounded() -> None:
    """The name used least lately is forgotten first."""
    names: Any = {f"{n}.test": ["192.0.2.1"] for n in range(3)}
    async with NameServer(names, ttl=0) as server, resolver(server, cache_size=2) as made:
        for name in ("0.test", "1.test", "0.test", "2.test", "0.test", "1.test"):
            await made.resolve(name)

        assert (server.count("0.test"), server.count("1.test")) == (1, 2)


async def test_many_ask_once() -> None:
    """A hundred who want the same name cause one lookup."""
    async with NameServer({"site.test": ["192.0.2.1"]}) as server, resolver(server) as made:
        found = await asyncio.gather(*(made.resolve("site.test") for _ in range(100)))

        assert {resolution.addresses for resolution in found} == {("192.0.2.1",)}
        assert server.count("site.test") == 1


async def test_giving_up_stops_nobody_else() -> None:
    """One who stops waiting does not stop the lookup for another."""
    names: Any = {"site.test": ["192.0.2.1"]}
    async with NameServer(names, held=asyncio.Event()) as server, resolver(server) as made:
        first = asyncio.create_task(made.resolve("site.test"))
        await server.question.wait()
        second = asyncio.create_task(made.resolve("site.test"))
        await asyncio.sleep(0)
        first.cancel()
        assert server.held is not None
        server.held.set()
        found = await second

        assert found.addresses == ("192.0.2.1",)
        assert first.cancelled()
        assert server.count("site.test") == 1


async def test_servers_take_turns() -> None:
    """Different names go to different servers."""
    names: Any = {f"{n}.test": ["192.0.2.1"] for n in range(12)}
    async with NameServer(names) as one, NameServer(names) as two, NameServer(names) as three:
        async with resolver(one, two, three, ipv6=False) as made:
            for name in names:
                await made.resolve(name)

        assert [len(server.asked) for server in (one, two, three)] == [4, 4, 4]


@pytest.mark.parametrize("trouble", [SILENCE, SERVFAIL, REFUSED])
async def test_another_server_is_asked(trouble: int) -> None:
    """When one server is silent or fails, another one answers within the time."""
    async with NameServer(otherwise=trouble) as bad, NameServer({"site.test": ["192.0.2.1"]}) as good:
        for order in ((bad, good), (good, bad)):
            async with resolver(*order) as made:
                assert (await made.resolve("site.test")).addresses == ("192.0.2.1",)

        assert bad.asked


async def test_a_dead_server_is_rested() -> None:
    """A server that failed what another could answer is left alone for a while."""
    names: Any = {f"{n}.test": ["192.0.2.1"] for n in range(20)}
    async with NameServer(otherwise=SERVFAIL) as bad, NameServer(names) as good:
        async with resolver(bad, good, ipv6=False) as made:
            for name in names:
                await made.resolve(name)

        assert len(good.asked) == len(names)
        assert len(bad.asked) == 1


async def test_a_broken_name_is_no_servers_fault() -> None:
    """Servers that all fail for one name go on taking turns."""
    names: Any = {f"{n}.test": ["192.0.2.1"] for n in range(10)}
    async with NameServer(names, otherwise=SERVFAIL) as one, NameServer(names, otherwise=SERVFAIL) as two:
        async with resolver(one, two, ipv6=False) as made:
            reason = await why_not(made, "broken.test")
            before = len(one.asked), len(two.asked)
            for name in names:
                await made.resolve(name)

        assert reason == "the name server failed"
        assert (len(one.asked) - before[0], len(two.asked) - before[1]) == (5, 5)


async def test_silence_ends_in_time() -> None:
    """When every server is silent, the lookup ends when its time is over, and not later."""
    silent = NameServer(otherwise=SILENCE)
    async with silent as one, NameServer(otherwise=SILENCE) as two, resolver(one, two, timeout=0.5) as made:
        began = time.monotonic()
        reason = await why_not(made, "site.test")
        took = time.monotonic() - began

    assert reason == "no name server answered within 0.5 s"
    assert 0.45 < took < 1.5


async def test_nothing_listens() -> None:
    """A port where nobody listens is a failure and not a wait."""
    async with NameServer() as server:
        nowhere = server.where
    async with resolver(nowhere, timeout=5) as made:
        assert "name server" in await why_not(made, "site.test")


async def test_a_slow_ipv6_answer_is_not_waited_for() -> None:
    """IPv4 addresses are used although the question for IPv6 is never answered."""

    class FourOnly(NameServer):
        async def _answer(self, query: bytes, sender: tuple[str, int]) -> None:
            if b"\x00\x1c\x00\x01" not in query:  # the type AAAA
                await super()._answer(query, sender)

    async with FourOnly({"site.test": ["192.0.2.1"]}) as server, resolver(server, timeout=5) as made:
        began = time.monotonic()
        found = await made.resolve("site.test")

        assert found.addresses == ("192.0.2.1",)
        assert time.monotonic() - began < 1


async def test_hosts_file_goes_first(tmp_path: Path) -> None:
    """The hosts file is believed before any server, and read again when it changes."""
    hosts = tmp_path / "hosts"
    hosts.write_text("# ours\n::1 site.test\n10.1.2.3  site.test  other.test # both\nnonsense x\n\n")
    async with NameServer({"site.test": ["192.0.2.1"]}) as server, resolver(server, hosts_file=hosts) as made:
        first = await made.resolve("Site.test.")
        hosts.write_text("10.9.9.9 site.test\n")
        second = await made.resolve("site.test")
        hosts.unlink()
        third = await made.resolve("site.test")

    assert first.addresses == ("10.1.2.3", "::1")
    assert second.addresses == ("10.9.9.9",)
    assert third.addresses == ("192.0.2.1",)


async def test_localhost_is_never_asked_for() -> None:
    """RFC 6761: localhost, and all below it, is the loopback address."""
    async with NameServer() as server, resolver(server) as made:
        for name in ("localhost", "a.localhost", "LOCALHOST."):
            assert (await made.resolve(name)).addresses == ("127.0.0.1", "::1")

        assert server.asked == []


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", ".", "", "x." * 130 + "test"])
async def test_impossible_names(name: str) -> None:
    """A name that DNS cannot hold is a failure like any other."""
    async with NameServer() as server, resolver(server) as made:
        assert await why_not(made, name)


async def test_no_search_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is appended to a name that is not found."""
    monkeypatch.setitem(os.environ, "LOCALDOMAIN", "corp.test")
    async with NameServer({"intranet.corp.test": ["10.0.0.1"]}) as server, resolver(server) as made:
        await why_not(made, "intranet")

        assert {name for name, _ in server.asked} == {"intranet"}


async def test_close_during_a_lookup() -> None:
    """Closing ends the lookups under way, and whoever waits for them."""
    async with NameServer(otherwise=SILENCE) as server:
        made = Resolver(servers=[server.where], hosts_file=None)
        waiting = asyncio.create_task(made.resolve("site.test"))
        await server.question.wait()
        await made.close()
        await asyncio.wait([waiting], timeout=5)

        assert waiting.cancelled()


def test_system_servers(tmp_path: Path) -> None:
    """The servers are those resolv.conf names, or the local one."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "search corp.test\nnameserver 192.0.2.53\nnameserver\nnameserver 2001:db8::53\nnameserver x\n"
    )

    assert system_servers(conf) == [("192.0.2.53", 53), ("2001:db8::53", 53)]
    assert system_servers(tmp_path / "none") == [("127.0.0.1", 53)]
