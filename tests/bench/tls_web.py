"""The web of `tests.bench.web` over TLS: a certificate for each domain, from an authority of its own; as many processes as wanted.

    certificates ──► folder/NAME.pem, ca.pem        python -m tests.bench.tls_web ──► "port 40001" ──► a line in: "connections requests" out

1. Each domain has a key and a certificate of its own (P-256, as most sites have now), chosen by the name that the client asks for.
2. The processes share a port: the system spreads the connections over them.
3. Connections are counted where they arrive, after the handshake.
"""

import argparse
import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
import uvloop

from tests.bench.hosting import Hosted, announce, answer, hosted
from tests.bench.measuring import processor_time
from tests.bench.web import Line, Log, Web, name_of, served

AUTHORITY: Final = "ca.pem"


@dataclass(frozen=True, slots=True)
class Counted:
    """What came in so far."""

    connections: int
    requests: int
    cpu: float
    """Seconds of processor time of all the processes."""

    def since(self, before: "Counted") -> "Counted":
        """What came in after that."""
        return Counted(
            self.connections - before.connections, self.requests - before.requests, self.cpu - before.cpu
        )


@dataclass(frozen=True, slots=True)
class TlsWeb:
    """A web that is being served."""

    domains: int
    each: int
    port: int
    names: Web
    """Whoever answers for its names."""
    authority: Path
    """The certificate to trust."""
    processes: Sequence[Hosted]

    def urls(self) -> list[str]:
        """All its pages, domain by domain."""
        names = [name_of(number, self.domains, self.each) for number in range(self.domains)]
        return [f"https://{name}:{self.port}/p/{page}" for name in names for page in range(self.each)]

    def counted(self) -> Counted:
        """What came in so far."""
        found = [list(map(int, process.ask("?"))) for process in self.processes]
        cpu = sum(processor_time(process.pid) for process in self.processes)
        return Counted(sum(one[0] for one in found), sum(one[1] for one in found), cpu)


@contextlib.contextmanager
def served_by_tls(domains: int, each: int, processes: int) -> Iterator[TlsWeb]:
    """Serve so many domains, with *each* pages, while the body runs."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fc-bench-")))
        _certify(folder, [name_of(number, domains, each) for number in range(domains)])
        names = stack.enter_context(served())
        port, running = 0, []
        for _ in range(processes):
            server = stack.enter_context(hosted("tests.bench.tls_web", "--folder", folder, "--port", port))
            (port,) = server.ports
            running.append(server)
        yield TlsWeb(domains, each, port, names, folder / AUTHORITY, running)


def _certify(folder: Path, names: Sequence[str]) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / AUTHORITY)
    for name in names:
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")


class _Served(Log):
    """Counts instead of writing down."""

    def __init__(self) -> None:
        super().__init__(None)
        self.connections = 0
        self.requests = 0

    def write(self, *_: Any) -> None:
        self.requests += 1


class _Line(Line):
    def __init__(self, log: _Served) -> None:
        super().__init__(0.0, 0, log)
        self._counts = log

    def connection_made(self, transport: Any) -> None:
        self._counts.connections += 1
        super().connection_made(transport)


def _chosen(folder: Path) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    known: dict[str, ssl.SSLContext] = {}

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if name not in known:
            known[name] = _context(folder / f"{name}.pem")
        connection.context = known[name]
        return None

    for file in sorted(folder.glob("d*.pem")):
        known[file.stem] = _context(file)
    return choose


def _context(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def _serve(folder: Path, port: int) -> None:
    loop = asyncio.get_running_loop()
    counts = _Served()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = _chosen(folder)
    server = await loop.create_server(
        lambda: _Line(counts), "0.0.0.0", port, backlog=4096, ssl=context, reuse_port=True
    )
    asked = await announce(port=server.sockets[0].getsockname()[1])
    while await asked.readline():
        answer(f"{counts.connections} {counts.requests}")
    server.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.tls_web", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="a certificate and its key for each name: NAME.pem"
    )
    parser.add_argument("--port", type=int, default=0, help="shared with others")
    given = parser.parse_args()
    uvloop.run(_serve(given.folder, given.port))


if __name__ == "__main__":
    main()
