"""Connections: resolved by us, checked by address, timed by phase, bounded in number.

    idle one ──────────────────────────────────────────────┐
    resolve ──► address policy ──► TCP (happy eyeballs) ──► TLS ──► Wire

1. No socket is made for an address that the policy refuses: the list is filtered, and the gate looks again.
2. Open and idle connections together stay within the limit: the one idle for longest makes room.
3. What goes wrong on the way leaves here as a `Failure`, except what is our own lack.
"""

import asyncio
import errno
import functools
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohappyeyeballs
import aiohttp
from aiohttp import abc

from crawler.adapters.attempt import ATTEMPT, Attempt, Failure
from crawler.adapters.dns import DnsError, Resolution
from crawler.adapters.proxying import Proxy
from crawler.adapters.wire import Wire
from crawler.core.addresses import AddressPolicy, literal
from crawler.core.errors import FaircrawlError
from crawler.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from aiohttp.client_reqrep import ClientRequest, ConnectionKey

KEEPALIVE: Final = 75.0
"""Seconds an idle connection is kept: longer than most servers do, so that it is they who decide."""
HAPPY_EYEBALLS: Final = 0.25
"""Seconds before the next address is tried too (RFC 8305 section 5)."""

_OUR_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class SocketsExhaustedError(FaircrawlError):
    """This machine can open no more connections: raise the limit (ulimit -n), or lower DOMAINS_AT_ONCE."""


class Resolves(Protocol):
    """What turns names into addresses, e.g. `crawler.adapters.dns.Resolver`."""

    async def resolve(self, host: str) -> Resolution:
        """Find the addresses of `host`. Raises `DnsError`."""


def tls_context(*, verify: bool, ca_file: "Path | None") -> ssl.SSLContext:
    """Make the one TLS context (20 ms). `ca_file` is trusted besides the system's authorities."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class _NoResolver(abc.AbstractResolver):
    """Stands where aiohttp would otherwise put a resolver of its own. It is never asked."""

    async def resolve(self, host: str, *_: Any, **__: Any) -> list[abc.ResolveResult]:
        raise OSError(f"{host} is not for aiohttp to resolve")

    async def close(self) -> None:
        """Nothing is open."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's pool, with our own way of connecting."""

    def __init__(
        self,
        *,
        resolver: Resolves,
        policy: AddressPolicy,
        context: ssl.SSLContext,
        max_connections: int,
        max_headers: int,
        connect_timeout: float,
        tls_timeout: float,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(
            limit=max_connections,
            limit_per_host=0,  # politeness is decided elsewhere
            keepalive_timeout=KEEPALIVE,
            resolver=_NoResolver(),
            use_dns_cache=False,
            ssl=context,
        )
        wire = functools.partial(Wire, asyncio.get_running_loop(), max_headers)
        self._factory = wire  # type: ignore[assignment]  # a Wire is a ResponseHandler
        self._names = resolver
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._tls_timeout = tls_timeout
        self._proxy = proxy

    def __repr__(self) -> str:
        idle = sum(map(len, self._conns.values()))
        return f"<{type(self).__name__} {len(self._acquired)} busy, {idle} idle of {self._limit}>"

    def forget(self, domain: str) -> None:
        """Close the idle connections to a domain and the hosts below it."""
        name = domain.strip("[]").rstrip(".")
        below = f".{name}"
        hosts = [key for key in self._conns if (host := key.host.rstrip(".")) == name or host.endswith(below)]
        self._drop(hosts)

    def _drop(self, keys: "Iterable[ConnectionKey]") -> None:
        for key in keys:
            for wire, _ in self._conns.pop(key, ()):
                wire.close()

    async def connect(self, req: "ClientRequest", traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        """A connection on which the request is sent at once: none for one whose time is over.

        A process that was frozen meanwhile finds the connection made when it wakes, before any timer tells it how late it is.
        """
        connection = await super().connect(req, traces, timeout)
        attempt = ATTEMPT.get()
        if time.monotonic() >= min(attempt.until, attempt.deadline()):
            connection.close()
            raise Failure(Outcome.TIMEOUT, "the time for it was over")
        return connection

    async def _get(self, key: "ConnectionKey", traces: Any) -> Any:
        if ATTEMPT.get().fresh:
            self._drop([key])
        return await super()._get(key, traces)

    async def _create_direct_connection(self, req: "ClientRequest", *_: Any, **__: Any) -> Any:
        attempt = ATTEMPT.get()
        self._make_room()
        host = (req.url.raw_host or "").rstrip(".")
        proxy = self._proxy
        began = time.monotonic()
        if proxy is not None:
            connection = await self._reach_proxy(proxy, attempt)
            try:
                if req.is_ssl():
                    target = f"{req.url.host_subcomponent}:{req.port}"
                    await proxy.tunnel(connection, target, self._connect_timeout)
            except BaseException:
                connection.close()
                raise
            attempt.connect = time.monotonic() - began
        else:
            addresses = await self._allowed(host, attempt)
            began = time.monotonic()
            try:
                connection = await self._reach(addresses, req.port or 0, attempt, self._gate)
            finally:
                attempt.connect = time.monotonic() - began
        context = self._get_ssl_context(req)
        began = time.monotonic()
        try:
            wire = await self._secure(connection, context, host, attempt)
        finally:
            if context is not None:
                attempt.tls = time.monotonic() - began
        wire.address = attempt.address
        return wire.transport, wire

    async def _reach_proxy(self, proxy: Proxy, attempt: Attempt) -> socket.socket:
        """Connect to the proxy: it was named, so its address is allowed, whatever network it is in."""
        try:
            address = literal(f"[{proxy.host}]" if ":" in proxy.host else proxy.host)
            found = (address,) if address else (await self._names.resolve(proxy.host)).addresses
            connection = await self._reach(list(found), proxy.port, attempt, _socket)
        except (DnsError, Failure) as error:
            raise proxy.unreachable(error) from None
        attempt.address = None  # to whom it connects is not known
        return connection

    def _make_room(self) -> None:
        idle = sum(map(len, self._conns.values()))
        while self._limit and idle and len(self._acquired) + idle > self._limit:
            key = min(self._conns, key=lambda key: self._conns[key][0][1])
            wire, _ = self._conns[key].popleft()
            if not self._conns[key]:
                del self._conns[key]
            wire.close()
            idle -= 1

    async def _allowed(self, host: str, attempt: Attempt) -> list[str]:
        address = literal(f"[{host}]" if ":" in host else host)
        if address is not None:
            found: tuple[str, ...] = (address,)
        else:
            attempt.phase = "dns"
            began = time.monotonic()
            try:
                found = (await self._names.resolve(host)).addresses
            except DnsError as error:
                _blame_nobody_for_our_lack()
                raise Failure(Outcome.DNS_ERROR, str(error)) from None
            finally:
                attempt.dns = time.monotonic() - began
        refusals = [(address, self._policy.refusal(address)) for address in found]
        allowed = [address for address, refusal in refusals if refusal is None]
        if not allowed:
            detail = ", ".join(f"{address}: {refusal}" for address, refusal in refusals[:3])
            raise Failure(Outcome.ADDRESS_REFUSED, detail)
        return allowed

    async def _reach(
        self, addresses: list[str], port: int, attempt: Attempt, gate: "Callable[[Any], socket.socket]"
    ) -> socket.socket:
        attempt.phase = "connect"
        infos = [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await aiohappyeyeballs.start_connection(
                    infos, happy_eyeballs_delay=HAPPY_EYEBALLS, interleave=1, socket_factory=gate
                )
                attempt.address = connection.getpeername()[0]
                return connection
        except TimeoutError:
            detail = f"no connection within {self._connect_timeout:g} s"
            raise Failure(Outcome.TIMEOUT, detail) from None
        except OSError as error:
            if error.errno in _OUR_LACK:
                raise SocketsExhaustedError from error
            _blame_nobody_for_our_lack()  # the errors of several addresses come as one, without a number
            outcome = Outcome.ADDRESS_REFUSED if error.errno == errno.EACCES else Outcome.CONNECT_ERROR
            raise Failure(outcome, reason(error)) from None
        except RuntimeError as error:  # uvloop has it for some errors of the system
            raise Failure(Outcome.CONNECT_ERROR, str(error)) from None

    def _gate(self, info: Any) -> socket.socket:
        """Make the socket for one address: the last moment at which it can be refused."""
        refusal = self._policy.refusal(info[4][0])
        if refusal is not None:
            raise OSError(errno.EACCES, f"{info[4][0]}: {refusal}")
        return _socket(info)

    async def _secure(
        self, connection: socket.socket, context: ssl.SSLContext | None, host: str, attempt: Attempt
    ) -> Wire:
        tls: dict[str, Any] = {}
        if context is not None:
            attempt.phase = "tls"
            try:
                host.encode("idna")  # as ssl will; by then uvloop would no longer let go of the socket
            except UnicodeError:
                connection.close()
                raise Failure(Outcome.TLS_ERROR, "not a name for TLS") from None
            tls = {"ssl": context, "server_hostname": host, "ssl_handshake_timeout": self._tls_timeout}
        try:
            _, wire = await self._loop.create_connection(self._factory, sock=connection, **tls)
        except ssl.SSLCertVerificationError as error:
            raise Failure(Outcome.TLS_ERROR, f"certificate: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise Failure(Outcome.TLS_ERROR, reason(error)) from None
        except OSError as error:
            if context is None:
                raise Failure(Outcome.CONNECT_ERROR, reason(error)) from None
            if error.errno is None and isinstance(error, ConnectionAbortedError):
                detail = f"no TLS within {self._tls_timeout:g} s"
                raise Failure(Outcome.TIMEOUT, detail) from None
            raise Failure(Outcome.TLS_ERROR, f"{reason(error)} during the handshake") from None
        assert isinstance(wire, Wire)  # noqa: S101 - tells mypy what the factory makes
        return wire


def _blame_nobody_for_our_lack() -> None:
    """What failed may have failed for want of a descriptor. Raises SocketsExhaustedError if there is none now."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in _OUR_LACK:
            raise SocketsExhaustedError from error


def _socket(info: Any) -> socket.socket:
    return socket.socket(*info[:3])


def reason(error: OSError) -> str:
    """Say in one short phrase what the system or the TLS library said."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    if error.errno == errno.EACCES and error.strerror:
        return error.strerror
    if error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError):
        return "closed"  # the loop's own, without a number: an end of file where more was due
    return (str(error).splitlines() or [type(error).__name__])[0][:100].lower()
