"""One name server, asked through aiodns (c-ares).

1. What is asked of one server is asked of no other: which is next is decided by `crawler.adapters.dns`.
2. Giving up waiting costs nothing: what comes later is nobody's, and no error.
3. What c-ares remembers by itself is bounded: it is made to forget every `FLUSH_AFTER` questions.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import aiodns
import pycares

FLUSH_AFTER: Final = 5_000
"""Questions after which a server's channel is made to forget what it knows, and to ask from another port (RFC 5452 section 9.2)."""
MAX_ADDRESSES: Final = 16
TRIES: Final = 5
IPV6_GRACE: Final = 0.1
"""Seconds to wait for IPv6 addresses when the IPv4 ones are there (RFC 8305 section 3 has 50 ms)."""

# A server that says it failed is believed (c-ares would ask it four times more); EDNS is c-ares' default.
_FLAGS: Final = pycares.ARES_FLAG_NOCHECKRESP | pycares.ARES_FLAG_EDNS
_NAMELESS: Final = frozenset(
    {aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_EBADNAME}
)
_SENSELESS: Final = frozenset({aiodns.error.ARES_EBADRESP, aiodns.error.ARES_ECONNREFUSED})
_REASONS: Final = {
    aiodns.error.ARES_ENODATA: "the name has no address",
    aiodns.error.ARES_ENOTFOUND: "no such name",
    aiodns.error.ARES_ESERVFAIL: "the name server failed",
    aiodns.error.ARES_EREFUSED: "the name server refused to answer",
    aiodns.error.ARES_ETIMEOUT: "the name server did not answer",
    aiodns.error.ARES_ECONNREFUSED: "the name server cannot be reached",
    aiodns.error.ARES_EBADNAME: "not a name that DNS can hold",
    aiodns.error.ARES_EBADRESP: "the name server's answer makes no sense",
    aiodns.error.ARES_EFORMERR: "the name server did not understand",
    aiodns.error.ARES_ENOTIMP: "the name server cannot answer that",
}


class DnsError(Exception):
    """The name cannot be resolved; the text says why."""


class NoSuchNameError(DnsError):
    """A server knows that there is nothing: asking another would be rude."""


class SenselessError(DnsError):
    """An answer made no sense: c-ares then drops all questions that are under way, whosever they are. Worth asking again."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a name leads: IPv4 addresses first, at least one, and for how many seconds that holds."""

    addresses: tuple[str, ...]
    ttl: float


class Server:
    """One name server, with the channel (and thread) that aiodns gives it.

    Args:
        address: and port.
        timeout: seconds within which whoever asks will have given up.
    """

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        host, port = address
        self.name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # c-ares learns how fast a server is and shortens its waits, down to 0.25 s, doubling with each try:
        # five tries outlast our own limit whatever it learned.
        self._channel = aiodns.DNSResolver(
            nameservers=[self.name], timeout=timeout / (TRIES - 1), tries=TRIES, flags=_FLAGS
        )
        self._questions = 0
        self.answered = self.failed = 0
        """Names that it was asked for: what it knew, and what it did not tell. Counted by whoever asks several servers."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, {self._questions} questions>"

    async def ask(self, host: str, *, ipv6: bool) -> Resolution | DnsError:
        """The addresses, or why there are none: `NoSuchNameError` if the server knows that."""
        try:
            four = self._question(host, "A")
            six = self._question(host, "AAAA") if ipv6 else None
        except UnicodeError:
            return _failure(aiodns.error.ARES_EBADNAME)
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
            return Resolution(found[:MAX_ADDRESSES], ttl)
        return _failure(error)

    async def close(self) -> None:
        """Leave it; questions under way end as cancelled."""
        await self._channel.close()

    def _question(self, host: str, kind: str) -> "asyncio.Future[Any]":
        self._questions += 1
        if self._questions % FLUSH_AFTER == 0:
            # c-ares remembers answers too (1 kB each, for up to an hour) and has no bound but this.
            self._channel._channel.reinit()  # noqa: SLF001 - aiodns does not pass it on
        # The dot says that the name is whole, so that nothing is appended to it.
        future: asyncio.Future[Any] = self._channel.query_dns(f"{host}.", kind)
        # An answer that nobody waits for any more is no error either.
        future.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
        return future


def _failure(error: int) -> DnsError:
    reason = _REASONS.get(error, f"DNS error {error}")
    if error in _NAMELESS:
        return NoSuchNameError(reason)
    return SenselessError(reason) if error in _SENSELESS else DnsError(reason)


def _read(future: "asyncio.Future[Any]") -> tuple[tuple[str, ...], float, int]:
    """Return the addresses of a finished question, their TTL, and the error if there are none."""
    error = future.exception()
    if error is not None:
        if not isinstance(error, aiodns.error.DNSError):
            raise error
        return (), float("inf"), int(error.args[0])
    records = future.result().answer
    addresses = tuple(record.data.addr for record in records if hasattr(record.data, "addr"))
    # An alias in between may live shorter than what it leads to.
    ttl = min((float(record.ttl) for record in records), default=float("inf"))
    return addresses, ttl, aiodns.error.ARES_ENODATA
