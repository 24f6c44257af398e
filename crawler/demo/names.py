"""A name server on loopback (DNS over UDP, RFC 1035) that says what it is told to."""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from types import TracebackType
from typing import Final, Self, TypeAlias

LOOPBACK: Final = "127.0.0.1"
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
SILENCE: Final = -1

_A: Final = 1
_CNAME: Final = 5
_AAAA: Final = 28

Records: TypeAlias = list[str] | int
"""Addresses, or a response code; the addresses may be behind an alias (a name among them)."""


@dataclass
class NameServer:
    """A DNS server (UDP). What it does not know is NXDOMAIN; `otherwise` changes that."""

    names: dict[str, Records] = field(default_factory=dict)
    ttl: int = 300
    otherwise: Records = NXDOMAIN
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Name and type of every question, in order."""
    question: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something was asked."""
    held: asyncio.Event | None = None
    """If there is one, answers wait for it."""

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._asked), local_addr=(LOOPBACK, 0)
        )
        self.where: tuple[str, int] = self._transport.get_extra_info("sockname")[:2]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        self._transport.close()

    def count(self, name: str, kind: str = "A") -> int:
        """How often that was asked."""
        return self.asked.count((name, kind))

    def _asked(self, query: bytes, sender: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(query, sender))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: bytes, sender: tuple[str, int]) -> None:
        name, kind, question = _parse(query)
        self.asked.append((name, {_A: "A", _AAAA: "AAAA"}.get(kind, str(kind))))
        self.question.set()
        if self.held is not None:
            await self.held.wait()
        records = self.names.get(name, self.otherwise)
        if records == SILENCE:
            return
        code = records if isinstance(records, int) else 0
        answers = [] if isinstance(records, int) else _answers(name, kind, records, self.ttl)
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        self._transport.sendto(head + question + b"".join(answers), sender)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, asked: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._asked = asked

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._asked(data, addr)


def _parse(query: bytes) -> tuple[str, int, bytes]:
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]


def _answers(name: str, kind: int, records: list[str], ttl: int) -> list[bytes]:
    answers, owner = [], name
    for record in records:
        try:
            address = ip_address(record)
        except ValueError:
            answers.append(_record(owner, _CNAME, ttl, _wire(record)))
            owner = record
            continue
        if kind == (_A if isinstance(address, IPv4Address) else _AAAA):
            answers.append(_record(owner, kind, ttl, address.packed))
    return answers


def _record(owner: str, kind: int, ttl: int, data: bytes) -> bytes:
    return _wire(owner) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def _wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
