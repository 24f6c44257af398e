"""A name server on loopback (DNS over UDP and TCP, RFC 1035) that says what it is told to."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from types import TracebackType
from typing import Final, Self, TypeAlias

LOOPBACK: Final = "127.0.0.1"
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
REFUSED: Final = 5
SILENCE: Final = -1
MAX_UDP: Final = 1232
"""Bytes: a longer answer is cut off, and whole over TCP."""

_A: Final = 1
_CNAME: Final = 5
_SOA: Final = 6
_AAAA: Final = 28
_CUT: Final = 0x0200
_ITSELF: Final = b"\xc0\x0c"
"""A pointer to the name that was asked for."""
_ATTEMPTS: Final = 20

Records: TypeAlias = list[str] | int
"""Addresses, or a response code; the addresses may be behind an alias (a name among them)."""


@dataclass
class NameServer:
    """A DNS server. What it does not know is NXDOMAIN; `otherwise` changes that."""

    names: dict[str, Records] = field(default_factory=dict)
    ttl: int = 300
    otherwise: Records = NXDOMAIN
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Name and type of every question, in order."""
    question: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something was asked."""
    held: asyncio.Event | None = None
    """If there is one, answers wait for it."""
    port: int = 0
    minimum: int | None = None
    """For how many seconds it says that there is nothing; None: it does not say."""
    by_tcp: int = 0
    """Questions that came by TCP."""

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for attempt in range(_ATTEMPTS):
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._asked), local_addr=(LOOPBACK, self.port)
            )
            self.where: tuple[str, int] = self._transport.get_extra_info("sockname")[:2]
            try:
                self._server = await asyncio.start_server(self._visited, *self.where)
            except OSError:  # somebody has that port for TCP
                self._transport.close()
                if self.port or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return self
        raise AssertionError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        self._transport.close()
        await asyncio.sleep(0)  # the transports say good-bye in the next round

    def count(self, name: str, kind: str = "A") -> int:
        """How often that was asked."""
        return self.asked.count((name, kind))

    def replies(self, query: bytes) -> list[bytes]:
        """What is sent back, nothing or many things."""
        name, kind, question = parse(query)
        records = self.names.get(name, self.otherwise)
        if records == SILENCE:
            return []
        code = records if isinstance(records, int) else 0
        found = [] if isinstance(records, int) else _answers(name, kind, records, self.ttl)
        authority = []
        if not found and self.minimum is not None:
            times = struct.pack("!5I", 1, 2, 3, 4, self.minimum)
            authority = [_record(b"\0", _SOA, self.ttl, b"\0\0" + times)]
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), len(authority), 0)
        return [head + question + b"".join(found + authority)]

    def _asked(self, query: bytes, sender: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(query, sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: bytes, sender: tuple[str, int]) -> None:
        for reply in await self._take(query):
            whole = len(reply) <= MAX_UDP
            self._transport.sendto(reply if whole else _cut(reply, len(parse(query)[2])), sender)

    async def _take(self, query: bytes) -> list[bytes]:
        name, kind, _ = parse(query)
        self.asked.append((name, {_A: "A", _AAAA: "AAAA"}.get(kind, str(kind))))
        self.question.set()
        if self.held is not None:
            await self.held.wait()
        return self.replies(query)

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            while True:
                query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                self.by_tcp += 1
                for reply in await self._take(query):
                    writer.write(len(reply).to_bytes(2) + reply)
                    await writer.drain()
        writer.transport.abort()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, asked: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._asked = asked

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._asked(data, addr)


def parse(query: bytes) -> tuple[str, int, bytes]:
    """Name, type and bytes of a question."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]


def _cut(reply: bytes, question: int) -> bytes:
    """The head of a reply, which says that the rest is missing."""
    number, flags = struct.unpack_from("!HH", reply)
    return struct.pack("!HHHHHH", number, flags | _CUT, 1, 0, 0, 0) + reply[12 : 12 + question]


def _answers(name: str, kind: int, records: list[str], ttl: int) -> list[bytes]:
    answers, owner = [], _ITSELF
    for record in records:
        try:
            address = ip_address(record)
        except ValueError:
            answers.append(_record(owner, _CNAME, ttl, _wire(record)))
            owner = _ITSELF if record == name else _wire(record)
            continue
        if kind == (_A if isinstance(address, IPv4Address) else _AAAA):
            answers.append(_record(owner, kind, ttl, address.packed))
    return answers


def _record(owner: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def _wire(name: str) -> bytes:
    labels = (label.encode("latin-1") for label in name.split("."))
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
