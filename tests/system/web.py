"""A small web on loopback for the system tests: many domains, one port, and a log of every request with its times."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a path answers. The body goes out as it is."""

    body: bytes = b""
    status: int = 200
    headers: Headers = field(default_factory=dict)
    after: float = 0.0
    """Seconds before the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the log; times are `time.monotonic`, taken by the server."""

    host: str
    path: str
    began: float
    ended: float
    status: int
    headers: Headers


Site = Mapping[str, Reply | Callable[[], Reply]]


class Web:
    """The sites, served until left."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites = sites
        self.log: list[Request] = []
        self.port = 0

    def url(self, host: str, path: str = "/") -> str:
        """The URL of a page of a site."""
        return f"http://{host}:{self.port}{path}"

    def asked(self, host: str | None = None) -> list[str]:
        """The paths asked for, in order."""
        return [one.path for one in self.log if host in (None, one.host)]

    def hosts_file(self, folder: Path) -> Path:
        """A hosts file that knows the sites."""
        file = folder / "hosts"
        file.write_text("".join(f"127.0.0.1 {name}\n" for name in self.sites))
        return file

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while (line := await reader.readline()).strip():
                began = time.monotonic()
                path = line.split()[1].decode("latin-1")
                headers = {}
                while (raw := await reader.readline()).strip():
                    name, _, value = raw.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                host = headers["host"].partition(":")[0]
                reply = self.sites.get(host, {}).get(path, Reply(b"no such page", 404))
                reply = reply if isinstance(reply, Reply) else reply()
                if reply.after:
                    await asyncio.sleep(reply.after)
                head = {"Content-Type": "text/html", "Content-Length": str(len(reply.body)), **reply.headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value)
                # The log is written before the answer leaves: whoever has read it finds it there.
                self.log.append(Request(host, path, began, time.monotonic(), reply.status, headers))
                writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode() + reply.body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextmanager
def serving(sites: Mapping[str, Site]) -> Iterator[Web]:
    """Serve the sites from a thread of their own."""
    web = Web(sites)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(web.serve, "127.0.0.1", 0, limit=1 << 20)
        web.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=_run, args=(loop, main), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield web
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def _run(loop: asyncio.AbstractEventLoop, main: Callable[[], Awaitable[None]]) -> None:
    asyncio.set_event_loop(loop)

    async def all_of_it() -> None:
        await main()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    loop.run_until_complete(all_of_it())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def page(title: str, *links: str, body: str = "") -> Reply:
    """An HTML page with links."""
    anchors = "".join(f'<p><a href="{link}">{link}</a></p>' for link in links)
    return Reply(f"<!doctype html><title>{title}</title>{anchors}{body}".encode())


def hurried(log: list[Request], delay: float, domain: Callable[[str], str]) -> list[tuple[str, str, float]]:
    """Requests of a domain that began sooner than *delay* after the answer before, or before it was there."""
    last: dict[str, Request] = {}
    found = []
    for one in sorted(log, key=lambda one: one.began):
        name = domain(one.host)
        if name in last and one.began - last[name].ended < delay:
            found.append((name, one.path, one.began - last[name].ended))
        last[name] = one
    return found
