"""Names in, addresses out: every name server asked in turn, the silent ones less, each name once at a time.

    resolve(host) ──► localhost, hosts file ──► kept answers ──► a lookup under way ──► a new one
                                                                                           │
                                 server 1 ──no answer yet──► server 2 too ──► server 3 too │ the first answer counts
                                 └─ all of them silent: what held until not long ago

1. A lookup ends within `timeout` seconds, however many servers are silent, and asks nobody after that.
2. Which server is asked first is told by `crawler.core.rotation`; none is left out while a name is not found.
3. Giving up waiting does not stop the lookup for those who still wait, and what it finds is remembered.
4. There are never more than `MAX_LOOKUPS` lookups at once; who comes later waits, and its time counts from then on.
"""

import asyncio
import random
import time
from math import inf
from typing import TYPE_CHECKING, Final

from crawler.adapters.hosts import HOSTS_FILE, HostsFile, has_ipv6, system_servers
from crawler.adapters.nameserver import DnsError, NoSuchNameError, Resolution, SenselessError, Server
from crawler.core.addresses import literal
from crawler.core.kept import STALE_TTL, KeptAnswers
from crawler.core.rotation import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["DnsError", "Resolution", "Resolver"]

MIN_TTL: Final = 10.0
MAX_TTL: Final = 3600.0
NAMELESS_TTL: Final = 60.0
"""Seconds for which "there is no such name" is believed; aiodns does not tell what the zone says of it."""
FAILURE_TTL: Final = 10.0
"""Seconds before a name is looked up again after no server could tell."""

MAX_LOOKUPS: Final = 1000
LEAST_TRIES: Final = 3
"""Questions for one name, however few servers there are: a datagram may be lost."""
MOST_QUESTIONS: Final = 12
"""For one name, when answers make no sense."""
BREATH: Final = 0.05
"""Seconds at most before a question is asked again after an answer without sense."""
STALE_PATIENCE: Final = 1.8
"""Seconds to wait for a real answer when there is a stale one (RFC 8767 section 5)."""
_LOOPBACK: Final = ("127.0.0.1", "::1")


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
        self._servers = [Server(address, timeout) for address in servers or system_servers()]
        self._rotation = Rotation(len(self._servers))
        self._hosts = HostsFile(hosts_file)
        self._ipv6 = has_ipv6() if ipv6 is None else ipv6
        self._kept: KeptAnswers[Resolution | DnsError] = KeptAnswers(cache_size)
        self._lookups: dict[str, asyncio.Task[Resolution | DnsError]] = {}
        self._room = asyncio.Semaphore(MAX_LOOKUPS)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._servers)} servers, {len(self._kept)} names>"

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
        fresh = self._kept.fresh(name, time.monotonic())
        found, ttl = fresh if fresh is not None else (await self._find(name), None)
        if isinstance(found, Resolution):
            return found if ttl is None else Resolution(found.addresses, ttl)
        raise DnsError(*found.args)

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

    @property
    def answers(self) -> dict[str, tuple[int, int]]:
        """By server: names that it knew, or knew to be none, and names that it did not tell."""
        return {server.name: (server.answered, server.failed) for server in self._servers}

    async def close(self) -> None:
        """Stop all lookups."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        if lookups:
            await asyncio.wait(lookups)
        for server in self._servers:
            await server.close()

    async def _find(self, name: str) -> Resolution | DnsError:
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = asyncio.create_task(self._look_up(name))
            lookup.add_done_callback(lambda _: self._lookups.pop(name, None))
        if self._stale(name) is not None:
            await asyncio.wait([lookup], timeout=min(STALE_PATIENCE, self._timeout))
            if not lookup.done() and (stale := self._stale(name)) is not None:
                self._kept.believe(name, time.monotonic())
                return stale
        return await asyncio.shield(lookup)

    def _stale(self, name: str) -> Resolution | None:
        """What held until not long ago, believed for a little longer; None: nothing."""
        now = time.monotonic()
        found = self._kept.stale(name, now)
        return Resolution(found.addresses, STALE_TTL) if isinstance(found, Resolution) else None

    async def _look_up(self, name: str) -> Resolution | DnsError:
        async with self._room:
            found = await self._ask_around(name)
        match found:
            case Resolution():
                ttl = found.ttl
            case NoSuchNameError():
                ttl = NAMELESS_TTL
            case _:
                if (stale := self._stale(name)) is not None:
                    self._kept.believe(name, time.monotonic())
                    return stale
                ttl = FAILURE_TTL
        self._kept.keep(name, found, ttl, time.monotonic())
        return found

    async def _ask_around(self, name: str) -> Resolution | DnsError:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                found = await self._first_to_know(name, limit)
        except TimeoutError:
            return DnsError(f"no name server answered within {self._timeout:g} s")
        return Resolution(found.addresses, _clamped(found.ttl)) if isinstance(found, Resolution) else found

    async def _first_to_know(self, name: str, limit: asyncio.Timeout) -> Resolution | DnsError:
        """Ask one server, and the next when it cannot tell or is silent; all may still answer, until *limit*."""
        order = self._rotation.order(time.monotonic())
        tries = max(LEAST_TRIES, len(order) + 1)
        queue = (order * tries)[:tries]
        patience = self._timeout / tries
        asked: dict[asyncio.Task[Resolution | DnsError], tuple[int, float]] = {}
        waiting: set[asyncio.Task[Resolution | DnsError]] = set()
        cannot: set[int] = set()
        error = DnsError("there is no name server")
        knew: asyncio.Task[Resolution | DnsError] | None = None
        try:
            while queue or waiting:
                if queue and (number := queue.pop(0)) not in cannot:
                    task = asyncio.create_task(self._servers[number].ask(name, ipv6=self._ipv6))
                    asked[task] = number, time.monotonic()
                    waiting.add(task)
                if not waiting:
                    continue
                done, waiting = await asyncio.wait(
                    waiting, timeout=patience if queue else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    found = task.result()
                    if isinstance(found, Resolution | NoSuchNameError):
                        self._score(asked, task)
                        knew = task
                        return found
                    error = found
                    if isinstance(found, SenselessError) and len(asked) < MOST_QUESTIONS:
                        queue.append(asked[task][0])
                        await asyncio.sleep(random.uniform(0, BREATH))  # noqa: S311 - spreads questions, keeps no secret
                    else:
                        cannot.add(asked[task][0])
            return error
        finally:
            self._count(asked, knew, too_late=limit.expired())
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)

    def _count(
        self,
        asked: "dict[asyncio.Task[Resolution | DnsError], tuple[int, float]]",
        knew: "asyncio.Task[Resolution | DnsError] | None",
        *,
        too_late: bool,
    ) -> None:
        """Who was asked before the one that knew, and has not told, has failed; who was asked after it was not waited for.

        When nobody knew, and it is not *too_late*, the lookup was given up: who has not told had no time to.
        """
        nobody_knew = inf if too_late else -inf
        until = nobody_knew if knew is None else asked[knew][1]
        for task, (number, since) in asked.items():
            told = task.done() and not task.cancelled() and task.exception() is None
            if told and isinstance(task.result(), Resolution | NoSuchNameError):
                self._servers[number].answered += 1
            elif task.done() or since < until:
                self._servers[number].failed += 1

    def _score(
        self,
        asked: "dict[asyncio.Task[Resolution | DnsError], tuple[int, float]]",
        knew: "asyncio.Task[Resolution | DnsError]",
    ) -> None:
        """Blame those that were asked before the one that knew."""
        now = time.monotonic()
        who, when = asked[knew]
        self._rotation.knew(who, now)
        for number, since in asked.values():
            if number != who and since < when:
                self._rotation.failed(number, since, now)


def _clamped(ttl: float) -> float:
    return max(MIN_TTL, min(ttl, MAX_TTL))
