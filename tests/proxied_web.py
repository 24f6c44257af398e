"""A web behind an HTTP proxy on loopback: any name, with and without TLS, and nothing of it leaves this machine.

crawl ──GET http://example.com/, CONNECT example.com:443──► here: TLS with a certificate for every name ──► the sites
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from crawler.demo.language import Site, answer_of
from crawler.demo.names import LOOPBACK


@dataclass(frozen=True, slots=True)
class ProxiedWeb:
    """How to get there."""

    proxy: str
    authority: Path
    """To be trusted."""


@contextmanager
def proxied(sites: Mapping[str, Site], folder: Path) -> Iterator[ProxiedWeb]:
    """Serve the sites, from a thread of its own."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*sites).configure_cert(tls)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ports: list[int] = []
    ready = threading.Event()

    async def run() -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
                await _serve(sites, tls, reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(visited, LOOPBACK, 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="proxied web")
    thread.start()
    ready.wait(10)
    try:
        yield ProxiedWeb(f"http://{LOOPBACK}:{ports[0]}", folder / "authority.pem")
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(
    sites: Mapping[str, Site], tls: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
        line, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Yes\r\n\r\n")
            await writer.drain()
            await writer.start_tls(tls)
            continue
        host = dict(one.lower().split(": ", 1) for one in lines)["host"].partition(":")[0]
        asked = urlsplit(target)
        reply = answer_of(sites.get(host, {}), asked.path + (f"?{asked.query}" if asked.query else ""))
        named = {"Content-Type": "text/html", "Content-Length": str(len(reply.body)), **reply.headers}
        said = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{said}\r\n".encode() + reply.body)
        await writer.drain()
