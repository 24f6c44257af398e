"""A world of its own: a network namespace in which every address of the internet leads to one canary, which writes down each visit.

Run as a program there: it lets loose all attacks through the real fetch path, and prints what came of each as JSON.
"""

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from crawler.adapters import dns
from crawler.adapters.attempt import Limits
from crawler.adapters.dns import Resolver
from crawler.adapters.proxying import Proxy
from crawler.adapters.web import Web
from crawler.core.addresses import AddressPolicy, parse_networks
from crawler.core.urls import canonical
from crawler.demo.names import NameServer
from tests.adapters.attacks import HOME_NAMES, LOOPBACK, NONSENSE, OTHERS, PRIVATE

PUBLIC: Final = ("93.184.215.14", "2606:4700::1111")
UNREACHABLE: Final = "8.8.4.4"
REBINDS: Final = ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:a00:1")
PORTS: Final = (22, 25, 80, 3306, 6000, 6667, 8000, 10080)
PORT: Final = 8000
PROXY: Final = Proxy("10.9.9.9", 3128)

_MAKE: Final = (
    "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo"
    f" && ip route add unreachable {UNREACHABLE}/32 table local"
)
_INTO: Final = (
    ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
)

Row: TypeAlias = list[Any]
"""Kind of attack, what it was made with, outcome, detail, the addresses that were reached."""


def possible() -> bool:
    """Whether this machine lets us make such a world."""
    with contextlib.suppress(OSError):
        return subprocess.run([*_INTO, "sh", "-c", _MAKE], check=False, capture_output=True).returncode == 0
    return False


def attack() -> list[Row]:
    """Let all attacks loose in a new world: what came of them."""
    here = Path(__file__).parents[2]
    words = [*_INTO, "sh", "-c", f'{_MAKE} && exec "$@"', "sh", sys.executable, "-m", __name__]
    done = subprocess.run(words, check=True, capture_output=True, timeout=120, cwd=here)
    return list(json.loads(done.stdout))


class Canary:
    """Listens at every address, and answers everybody."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.location: str | None = None
        self.servers: list[asyncio.Server] = []

    async def listen(self) -> None:
        """At all these ports, and where the proxy is."""
        for port in (*PORTS, PROXY.port):
            self.servers.append(await asyncio.start_server(self._visited, None, port))

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("sockname")[:2]
        self.reached.append(host if port == PORT else f"{host} port {port}")
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            head = "200 OK" if self.location is None else f"302 Found\r\nLocation: {self.location}"
            writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


class Attacker:
    """Makes requests, and looks each time whom the canary saw."""

    def __init__(self, canary: Canary) -> None:
        self.canary = canary
        self.rows: list[Row] = []

    async def ask(self, kind: str, what: str, web: Web, url: str | None) -> None:
        """One request; a URL that is none cannot be asked for."""
        self.canary.reached.clear()
        if url is None:
            self.rows.append([kind, what, "no URL", "", []])
            return
        answer = await web.get(url, accept_type=_anything, total_timeout=5)
        while answer.redirect_to is not None:  # as the crawl follows one: a link like any other
            url = canonical(answer.redirect_to, url)
            self.canary.location = None
            self.canary.reached.clear()
            if url is None:
                self.rows.append([kind, what, "no URL", "", []])
                return
            answer = await web.get(url, accept_type=_anything, total_timeout=5)
        self.rows.append([kind, what, str(answer.outcome), answer.detail, list(self.canary.reached)])


_NUMBERS: Final = itertools.count()


def _anything(_content_type: str | None) -> bool:
    return True


def _kind(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def _main() -> list[Row]:
    dns.MIN_TTL = 0.0  # type: ignore[misc]  # so that a name may be something else the next moment
    canary = Canary()
    await canary.listen()
    attacker = Attacker(canary)
    with TemporaryDirectory() as folder:
        hosts = Path(folder) / "hosts"
        hosts.write_text("".join(f"{address} h{n}.test\n" for n, address in enumerate(PRIVATE)))
        async with NameServer({"public.test": list(PUBLIC)}, ttl=0) as server:
            resolver = Resolver(servers=[server.where], hosts_file=hosts, ipv6=True, timeout=3)

            def browse(policy: AddressPolicy | None = None, proxy: Proxy | None = None) -> Web:
                return Web(
                    resolver=resolver, policy=policy or AddressPolicy(), limits=Limits(), user_agent="canary/1",
                    max_connections=10, proxy=proxy,
                )  # fmt: skip

            await _literals(attacker, browse)
            await _names(attacker, browse, server)
            await _exceptions(attacker, browse, server)
            await resolver.close()
    return attacker.rows


async def _literals(attacker: Attacker, browse: Callable[..., Web]) -> None:
    """Addresses in the URL itself, as a page writes them, as they come, in a redirect, and through a proxy."""
    for kind, proxy in (("", None), (" through a proxy", PROXY)):
        web = browse(proxy=proxy)
        for spelling in (*LOOPBACK, *OTHERS, *map(_kind, PRIVATE), *NONSENSE):
            raw = f"http://{spelling}:{PORT}/"
            await attacker.ask(f"link{kind}", spelling, web, canonical(raw))
            await attacker.ask(f"as it comes{kind}", spelling, web, raw)
            await attacker.ask(f"https{kind}", spelling, web, canonical(f"https://{spelling}:{PORT}/"))
            if proxy is None:
                attacker.canary.location = f"//{spelling}:{PORT}/"
                await attacker.ask("redirect", spelling, web, f"http://{PUBLIC[0]}:{PORT}/")
                attacker.canary.location = None
        await web.close()


async def _names(attacker: Attacker, browse: Callable[..., Web], server: NameServer) -> None:
    """Names that lead to private addresses: at once, in the end, or the second time."""
    web = browse()
    for number, address in enumerate(PRIVATE):
        for kind, records in (
            ("name", [address]),
            ("alias", ["alias.test", address]),
            ("mixed name", [address, *PUBLIC]),
            ("mixed name with nobody at the public one", [UNREACHABLE, address]),
        ):
            name = (
                f"evil{next(_NUMBERS)}.test"  # a new one each time: c-ares remembers that there was nothing
            )
            server.names = {**server.names, name: list(records)}
            await attacker.ask(kind, address, web, f"http://{name}:{PORT}/")
        await attacker.ask("hosts file", address, web, f"http://h{number}.test:{PORT}/")
    for name in HOME_NAMES:
        await attacker.ask("home", name, web, canonical(f"http://{name}:{PORT}/"))
    for address in REBINDS:
        name = f"evil{next(_NUMBERS)}.test"
        server.names = {**server.names, name: list(PUBLIC)}
        await attacker.ask("before rebinding", address, web, f"http://{name}:{PORT}/")
        server.names = {**server.names, name: [address]}
        await attacker.ask("rebinding", address, web, f"http://{name}:{PORT}/")
    await web.close()


async def _exceptions(attacker: Attacker, browse: Callable[..., Web], server: NameServer) -> None:
    """What may be reached: the public, what was allowed by name, and the ports for it."""
    web = browse()
    for address in PUBLIC:
        await attacker.ask("public", address, web, f"http://{_kind(address)}:{PORT}/")
    for port in PORTS:
        await attacker.ask("port", str(port), web, f"http://public.test:{port}/")
        attacker.canary.location = f"http://public.test:{port}/"
        await attacker.ask("redirect to port", str(port), web, f"http://{PUBLIC[0]}:{PORT}/")
        attacker.canary.location = None
    await web.close()
    web = browse(AddressPolicy(parse_networks(["10.1.0.0/16", "::1"])))
    for address in (
        "10.1.2.3",
        "10.2.0.1",
        "10.0.255.255",
        "::ffff:a01:203",
        "64:ff9b::a01:203",
        "2002:a01:203::",
        "::1",
        "127.0.0.1",
    ):
        await attacker.ask("allowed", address, web, f"http://{_kind(address)}:{PORT}/")
        name = f"own{next(_NUMBERS)}.test"
        server.names = {**server.names, name: [address]}
        await attacker.ask("allowed by name", address, web, f"http://{name}:{PORT}/")
    await web.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main())))  # noqa: T201 - it is read by who started it
