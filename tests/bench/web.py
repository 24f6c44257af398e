"""A web without end, in a process of its own: any name resolves, any host answers, quickly and with the same small page.

    python -m tests.bench.web ──► "port 40001 names 40002" ──► serves until its standard input ends

1. A name says how large the frontier is that it belongs to, so that a page can link to pages that the frontier holds.
2. Names spread over the addresses of 127.0.0.0/8, as sites do over hosters.
3. With ``--log``, every request is written down with the times of this process; what a crawler says of itself does not count.
"""

import argparse
import asyncio
import contextlib
import re
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import uvloop

from crawler.demo.server import Request
from tests.bench.hosting import announce, hosted

NAME: Final = "d{number}-of-{domains}-by-{each}.test"
_NAME: Final = re.compile(r"d(\d+)-of-(\d+)-by-(\d+)\.test")
WORDS: Final = "How a page is found matters less than that it is found once, kindly, and kept. " * 25
_A: Final = 1


def name_of(number: int, domains: int, each: int) -> str:
    """The domain of that number, of a frontier with so many domains of *each* URLs."""
    return NAME.format(number=number, domains=domains, each=each)


def url_of(number: int, domains: int, each: int, port: int, page: int) -> str:
    """A page of it, in canonical form."""
    return f"http://{name_of(number, domains, each)}:{port}/p/{page}"


def address_of(name: str) -> tuple[int, int, int, int]:
    """Where a name leads."""
    number = zlib.crc32(name.encode())
    return 127, 1 + number % 200, (number >> 8) & 0xFF, 1 + (number >> 16) % 250


@dataclass(frozen=True, slots=True)
class Web:
    """A web that is being served."""

    port: int
    names: int
    """The port of its name server, on 127.0.0.1."""
    log: Path | None
    pid: int

    def requests(self) -> list[Request]:
        """What was asked, by the log; complete once the web was left."""
        if self.log is None:
            return []
        found = []
        for line in self.log.read_text().splitlines():
            host, path, began, ended, status = line.split(" ")
            found.append(Request(host, path, float(began), float(ended), int(status), {}))
        return found


@contextlib.contextmanager
def served(*, latency: float = 0.0, links: int = 0, log: Path | None = None) -> Iterator[Web]:
    """Serve it from a process of its own while the body runs."""
    more = () if log is None else ("--log", log)
    with hosted("tests.bench.web", "--latency", latency, "--links", links, *more) as server:
        port, names = server.ports
        yield Web(port, names, log, server.pid)


class Log:
    """Requests, one a line."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def write(self, host: str, path: str, began: float, status: int) -> None:
        """One that is over."""
        if self._file is not None:
            self._file.write(f"{host} {path} {began:.6f} {time.monotonic():.6f} {status}\n")


class Line(asyncio.Protocol):
    """One connection: a request, an answer, and again."""

    def __init__(self, latency: float, links: int, log: Log) -> None:
        self._latency = latency
        self._links = links
        self._log = log
        self._heard = b""
        self._open: tuple[str, str, float] | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop's, which has no type
        """As `asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol`."""
        self._heard += data
        if b"\r\n\r\n" not in self._heard:
            return
        head, _, self._heard = self._heard.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        host = next((line[5:].strip() for line in lines if line[:5].lower() == "host:"), "")
        self._open = host.rpartition(":")[0] or host, lines[0].split(" ")[1], time.monotonic()
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._answer)
        else:
            self._answer()

    def connection_lost(self, _: Exception | None) -> None:
        """As `asyncio.Protocol`."""
        if self._open is not None:
            self._log.write(*self._open, 0)
            self._open = None

    def _answer(self) -> None:
        if self._open is None:  # they have left
            return
        (host, path, began), self._open = self._open, None
        if path == "/robots.txt":
            status, body = "404 Not Found", b"no rules"
        else:
            status, body = "200 OK", _page(host, path, self._port(), self._links)
        self._log.write(host, path, began, int(status[:3]))
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1])


def _page(host: str, path: str, port: int, links: int) -> bytes:
    found = _NAME.fullmatch(host)
    lines = []
    if links and found:
        domains, each = int(found[2]), int(found[3])
        seed = zlib.crc32(f"{host}{path}".encode())
        for n in range(links):
            dice = (
                seed + n * 2654435761
            ) % 2**32  # Knuth's multiplicative hash: spread, and the same each time
            url = url_of(dice % domains, domains, each, port, (dice >> 7) % each)
            lines.append(f'<li><a href="{url}">{n}</a></li>')
    title = f"{host}{path}"
    own = "".join(
        chr(97 + int(digit)) for digit in str(zlib.crc32(title.encode()))
    )  # no trap: each says something new
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title></head>"
        f"<body><h1>{title}</h1><p>{own} {WORDS}</p><ul>{''.join(lines)}</ul></body></html>"
    ).encode()


class _Names(asyncio.DatagramProtocol):
    """A name server (RFC 1035) that knows an IPv4 address for every name, and no other kind."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
        (kind,) = struct.unpack_from("!H", data, at + 1)
        answer = b""
        if kind == _A:
            address = bytes(address_of(".".join(labels).lower()))
            answer = struct.pack("!HHHIH", 0xC00C, _A, 1, 300, 4) + address
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(answer), 0, 0)
        self._transport.sendto(head + data[12 : at + 5] + answer, addr)


async def _serve(latency: float, links: int, log: TextIO | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Line, latency, links, Log(log)), "0.0.0.0", 0, backlog=4096)
    names, _ = await loop.create_datagram_endpoint(_Names, local_addr=("127.0.0.1", 0))
    port, at = server.sockets[0].getsockname()[1], names.get_extra_info("sockname")[1]
    asked = await announce(port=port, names=at)
    await asked.read()
    names.close()
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.web", description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--links", type=int, default=0, help="links of a page, to pages of the same frontier")
    parser.add_argument("--log", type=Path, help="write every request down here")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        log = None if given.log is None else stack.enter_context(given.log.open("w", buffering=1 << 20))
        uvloop.run(_serve(given.latency, given.links, log))


if __name__ == "__main__":
    main()
