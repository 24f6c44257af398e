"""Names in, addresses out: every name server asked in turn, the silent ones less, each name once at a time.

    resolve(host) ──► localhost, hosts file ──► cache ──► a lookup under way ──► a new one
                                                                                   │
                         server 1 ──no answer yet──► server 2 too ──► server 3 too │ the first answer counts

1. A lookup ends within `timeout` seconds, however many servers are silent.
2. A server is rested only when another one answered what it could not: a broken name is no server's fault.
3. Giving up waiting does not stop the lookup for those who still wait, and what it finds is remembered.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiodns
import pycares

from crawler.adapters.hosts import HOSTS_FILE, HostsFile, has_ipv6, system_servers
from crawler.core.addresses import literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIN_TTL: Final = 10.0
MAX_TTL: Final = 3600.0
NAMELESS_TTL: Final = 60.0
"""Seconds for which "there is no such name" is believed."""
FAILURE_TTL: Final = 10.0
"""Seconds before a name is looked up again after no server could tell."""

MAX_ADDRESSES: Final = 16
MAX_REST: Final = 60.0
FLUSH_AFTER: Final = 5_000
"""Queries after which a server's channel is made to forget what it knows."""
IPV6_GRACE: Final = 0.1
"""Seconds to wait for IPv6 addresses when the IPv4 ones are there (RFC 8305 section 3 has 50 ms)."""

# A server that says it failed is believed (c-ares would ask it four times more); EDNS is c-ares' default.
_FLAGS: Final = pycares.ARES_FLAG_NOCHECKRESP | pycares.ARES_FLAG_EDNS
_LOOPBACK: Final = ("127.0.0.1", "::1")
_NAMELESS: Final = frozenset({aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENOTFOUND})
_REASONS: Final = {
    aiodns.error.ARES_ENODATA: "the name has no address",
    aiodns.error.ARES_ENOTFOUND: "no such name",
    aiodns.error.ARES_ESERVFAIL: "the name server failed",
    aiodns.error.ARES_EREFUSED: "the name server refused to answer",
    aiodns.error.ARES_ETIMEOUT: "the name server did not answer",
    aiodns.error.ARES_ECONNREFUSED: "the name server cannot be reached",
    aiodns.error.ARES_EBADNAME: "not a name that DNS can hold",
}


class DnsError(Exception):
    """The name cannot be resolved; the text says why."""


class _NoSuchNameError(DnsError):
    """A server knows that there is nothing: asking another would be rude."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a name leads: IPv4 addresses first, at least one, and for how many seconds that holds."""

    addresses: tuple[str, ...]
    ttl: float


class _Server:
    """One name server, with the channel (and thread) that aiodns gives it, and how it has done lately."""

    __slots__ = ("_channel", "_queries", "failures", "name", "rests_until")

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        host, port = address
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # c-ares learns how fast a server is and shortens its waits, down to 0.25 s, doubling with each try:
        # five tries outlast our own limit whatever it learned.
        self._channel = aiodns.DNSResolver(
            nameservers=[self.name], timeout=timeout / 4, tries=5, flags=_FLAGS
        )
        self._queries = 0
        self.failures = 0
        self.rests_until = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.failures} failures>"

    def succeeded(self) -> None:
        self.failures = 0
        self.rests_until = 0.0

    def failed(self, now: float) -> None:
        self.failures += 1
        self.rests_until = now + min(2.0**self.failures, MAX_REST)

    async def ask(self, host: str, *, ipv6: bool) -> Resolution | DnsError:
        """Return the addresses, or why there are none: `_NoSuchNameError` if the server knows that."""
        four = self._query(host, "A")
        six = self._query(host, "AAAA") if ipv6 else None
        try:
            await asyncio.wait([four])
            found, ttl, error = _read(four)
            if six is not None:
                await asyncio.wait([six], timeout=IPV6_GRACE if found else None)
                if six.done():
                    more, ttl_six, error_six = _read(six)
                    found, ttl = (*found, *more), min(ttl, ttl_six)
                    # "there is no IPv4 address" is half an answer: the other half may have failed
                    error = error_six if error in _NAMELESS else error
        finally:
            four.cancel()
            if six is not None:
                six.cancel()
        if found:
            return Resolution(found[:MAX_ADDRESSES], max(MIN_TTL, min(ttl, MAX_TTL)))
        reason = _REASONS.get(error, f"DNS error {error}")
        return _NoSuchNameError(reason) if error in _NAMELESS else DnsError(reason)

    def _query(self, host: str, kind: str) -> "asyncio.Future[Any]":
        self._queries += 1
        if self._queries % FLUSH_AFTER == 0:
            # c-ares remembers answers too (1 kB each, for up to an hour) and has no bound but this.
            self._channel._channel.reinit()  # noqa: SLF001 - aiodns does not pass it on
        # The dot says that the name is whole, so that nothing is appended to it.
        future: asyncio.Future[Any] = self._channel.query_dns(f"{host}.", kind)
        # An answer that nobody waits for any more is no error either.
        future.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
        return future

    async def close(self) -> None:
        await self._channel.close()


def _read(future: "asyncio.Future[Any]") -> tuple[tuple[str, ...], float, int]:
    """Return the addresses of a finished query, their TTL, and the error if there are none."""
    error = future.exception()
    if error is not None:
        if not isinstance(error, aiodns.error.DNSError):
            raise error
        return (), MAX_TTL, int(error.args[0])
    records = future.result().answer
    addresses = tuple(record.data.addr for record in records if hasattr(record.data, "addr"))
    # An alias in between may live shorter than what it leads to.
    ttl = min((float(record.ttl) for record in records), default=MAX_TTL)
    return addresses, ttl, aiodns.error.ARES_ENODATA


class Resolver:
    """Resolves names; make it inside a running event loop, and close it.

    Args:
        servers: addresses and ports of name servers; none means those of /etc/resolv.conf.
        timeout: seconds for one lookup, all servers together.
        hosts_file: answered first, read again when it changes; None for no such file.
        ipv6: ask for IPv6 addresses too; None means only if this machine has a route there.
        cache_size: how many names are remembered.
    """

    def __init__(
        self,
        *,
        servers: "Sequence[tuple[str, int]]" = (),
        timeout: float = 5.0,
        hosts_file: "Path | None" = HOSTS_FILE,
        ipv6: bool | None = None,
        cache_size: int = 50_000,
    ) -> None:
        self._timeout = timeout
        self._servers = [_Server(address, timeout) for address in servers or system_servers()]
        self._hosts = HostsFile(hosts_file)
        self._ipv6 = has_ipv6() if ipv6 is None else ipv6
        self._cache_size = cache_size
        self._cache: OrderedDict[str, tuple[float, Resolution | DnsError]] = OrderedDict()
        self._lookups: dict[str, asyncio.Task[Resolution | DnsError]] = {}
        self._turn = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._servers)} servers, {len(self._cache)} names>"

    async def resolve(self, host: str) -> Resolution:
        """Find the addresses of `host`; no search domain is ever appended.

        Raises:
            DnsError: it has none, or no server could tell in time.
        """
        name = host.rstrip(".").lower()
        at_home = self._hosts.addresses(name)
        if at_home:
            return Resolution(at_home, MIN_TTL)
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3: never asked for
            return Resolution(_LOOPBACK, MAX_TTL)
        now = time.monotonic()
        found = self._remembered(name, now)
        if found is None:
            lookup = self._lookups.get(name)
            if lookup is None:
                lookup = self._lookups[name] = asyncio.create_task(self._look_up(name))
                lookup.add_done_callback(lambda _: self._lookups.pop(name, None))
            found = await asyncio.shield(lookup)
        if isinstance(found, DnsError):
            raise type(found)(*found.args)
        return found

    async def first_address(self, host: str) -> str | None:
        """The first of its addresses, or None."""
        if (found := literal(host)) is not None:
            return str(found)
        try:
            return (await self.resolve(host)).addresses[0]
        except DnsError:
            return None

    @property
    def lookups(self) -> int:
        """Names being looked up now."""
        return len(self._lookups)

    async def close(self) -> None:
        """Stop all lookups and the servers' threads."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        if lookups:
            await asyncio.wait(lookups)
        for server in self._servers:
            await server.close()

    def _remembered(self, name: str, now: float) -> Resolution | DnsError | None:
        entry = self._cache.get(name)
        if entry is None:
            return None
        expires, found = entry
        if expires <= now:
            del self._cache[name]
            return None
        self._cache.move_to_end(name)
        if isinstance(found, Resolution):
            return Resolution(found.addresses, expires - now)
        return found

    def _remember(self, name: str, found: Resolution | DnsError) -> None:
        match found:
            case Resolution():
                ttl = found.ttl
            case _NoSuchNameError():
                ttl = NAMELESS_TTL
            case _:
                ttl = FAILURE_TTL
        self._cache[name] = (time.monotonic() + ttl, found)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    async def _look_up(self, name: str) -> Resolution | DnsError:
        found = await self._ask_around(name)
        self._remember(name, found)
        return found

    async def _ask_around(self, name: str) -> Resolution | DnsError:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._first_to_know(name)
        except TimeoutError:
            return DnsError(f"no name server answered within {self._timeout:g} s")

    async def _first_to_know(self, name: str) -> Resolution | DnsError:
        """Ask one server, and the next when it cannot tell or is silent; all may still answer."""
        servers = self._order()
        patience = self._timeout / max(3, len(servers) + 1)
        asked: dict[asyncio.Task[Resolution | DnsError], _Server] = {}
        waiting: set[asyncio.Task[Resolution | DnsError]] = set()
        error = DnsError("there is no name server")
        try:
            while servers or waiting:
                if servers:
                    server = servers.pop(0)
                    task = asyncio.create_task(server.ask(name, ipv6=self._ipv6))
                    asked[task] = server
                    waiting.add(task)
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience if servers else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    found = task.result()
                    if isinstance(found, Resolution | _NoSuchNameError):
                        _score(list(asked.values()), asked[task])
                        return found
                    error = found
            return error
        finally:
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)

    def _order(self) -> "list[_Server]":
        """Every server once: the next in turn first, those that rest last."""
        self._turn = (self._turn + 1) % len(self._servers)
        servers = self._servers[self._turn :] + self._servers[: self._turn]
        now = time.monotonic()
        return sorted(servers, key=lambda server: max(server.rests_until - now, 0.0))


def _score(asked: "Sequence[_Server]", knew: _Server) -> None:
    """Rest those that were asked before the one that knew."""
    now = time.monotonic()
    for server in asked[: asked.index(knew)]:
        server.failed(now)
    knew.succeeded()
