"""The server of small webs: many names on one port of loopback, and a log of every request with its times.

1. A request is in the log before the end of its answer leaves: whoever has read it finds it there. One that the client cut short
   is there once the server has noticed.
2. Times are the machine's (`time.monotonic`), taken here: what a crawler says of itself does not count.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from crawler.demo.language import Headers, Reply, Site, answer_of
from crawler.demo.names import LOOPBACK, NameServer, Records

PIECE: Final = 1 << 16
"""Bytes of a big body handed over at once: what the client will not read is soon held back."""
PATIENCE: Final = 10.0
"""Seconds for starting and for stopping."""


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the log; times are `time.monotonic`."""

    host: str
    path: str
    began: float
    ended: float
    """When the last byte that was sent was handed over; for silence, when the client left."""
    status: int
    """0: nothing was answered."""
    headers: Headers
    sent: int = 0
    """Bytes of the body handed over; the client may have read less."""


class Web:
    """The sites, served until left. Use `serving`."""

    def __init__(self, sites: Mapping[str, Site], names: Mapping[str, Records]) -> None:
        self.sites = sites
        self.names = NameServer({**{name: [LOOPBACK] for name in sites}, **names})
        self.log: list[Request] = []
        self.port = 0
        self.trap_port = 0
        """Of `::1`, where nobody is meant to call; 0: this machine has none."""
        self.trapped = 0
        """How often somebody called there."""

    def __repr__(self) -> str:
        return f"<Web of {len(self.sites)} sites on port {self.port}, {len(self.log)} requests>"

    def url(self, host: str, path: str = "/") -> str:
        """The URL of a page of a site."""
        return f"http://{host}:{self.port}{path}"

    def asked(self, host: str | None = None) -> list[str]:
        """The paths asked for, in order."""
        return [one.path for one in self.log if host in (None, one.host)]

    def hosts_file(self, folder: Path) -> Path:
        """A hosts file that knows the sites."""
        file = folder / "hosts"
        file.write_text("".join(f"{LOOPBACK} {name}\n" for name in self.sites))
        return file

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Serve until *stop*; every connection is closed when this returns."""
        visits: set[asyncio.Task[None]] = set()

        async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                visits.add(task)
                task.add_done_callback(visits.discard)
            with contextlib.suppress(
                asyncio.CancelledError
            ):  # from below; the streams would report it as an error
                await self._serve(reader, writer)

        async with self.names, contextlib.AsyncExitStack() as stack:
            server = await asyncio.start_server(visit, LOOPBACK, 0, limit=1 << 20, backlog=1024)
            stack.callback(server.close)
            self.port = server.sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):
                trap = await asyncio.start_server(self._caught, "::1", 0)
                stack.callback(trap.close)
                self.trap_port = trap.sockets[0].getsockname()[1]
            ready()
            await stop.wait()
            server.close()
            for task in visits:
                task.cancel()
            if visits:
                await asyncio.wait(visits)

    def _caught(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trapped += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        writer.transport.set_write_buffer_limits(high=PIECE)
        try:
            while (line := await reader.readline()).strip():
                began = time.monotonic()
                path = line.split()[1].decode("latin-1")
                headers = {}
                while (raw := await reader.readline()).strip():
                    name, _, value = raw.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                host = headers["host"].partition(":")[0]
                reply = answer_of(self.sites.get(host, {}), path)
                asked = Request(host, path, began, began, 0, headers)
                if reply.silent:
                    with contextlib.suppress(ConnectionError):
                        await reader.read()
                    self.log.append(replace(asked, ended=time.monotonic()))
                    return
                if reply.after:
                    await asyncio.sleep(reply.after)
                await self._answer(writer, reply, replace(asked, status=reply.status))
                if reply.headers.get("Connection") == "close":
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, reply: Reply, asked: Request) -> None:
        body = self._placed(reply.body)
        usual = {"Content-Type": "text/html", "Content-Length": str(len(body) * reply.times)}
        own = {name: self._placed(value.encode()).decode() for name, value in reply.headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**usual, **own}.items() if value)
        head = f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode()
        if reply.times == 1:
            self.log.append(replace(asked, ended=time.monotonic(), sent=len(body)))
            writer.write(head + body)
            await writer.drain()
            return
        writer.write(head)
        sent, last = 0, time.monotonic()
        try:
            for number in range(reply.times):
                if number and reply.pause:
                    await asyncio.sleep(reply.pause)
                for start in range(0, len(body), PIECE):
                    piece = body[start : start + PIECE]
                    last = time.monotonic()
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
        finally:
            self.log.append(replace(asked, ended=last, sent=sent))

    def _placed(self, words: bytes) -> bytes:
        return words.replace(b":PORT/", b":%d/" % self.port).replace(
            b":TRAP/", b":%d/" % (self.trap_port or 9)
        )


@contextmanager
def serving(sites: Mapping[str, Site], names: Mapping[str, Records] | None = None) -> Iterator[Web]:
    """Serve the sites, and a name server that knows them and *names*, from a thread of their own."""
    web = Web(sites, names or {})
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(web.run(ready.set, stop))
            loop.run_until_complete(asyncio.sleep(0))  # the transports say good-bye in the next round
        except OSError as error:  # no port to be had: told where the web was asked for
            errors.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="web", daemon=True)
    thread.start()
    ready.wait(PATIENCE)
    if errors:
        raise errors[0]
    try:
        yield web
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


def pauses(log: list[Request], domain: Callable[[str], str]) -> Iterator[tuple[str, Request, float]]:
    """Each request of a domain but the first, and the seconds since the answer before; negative: it was not over."""
    last: dict[str, float] = {}
    for one in sorted(log, key=lambda one: one.began):
        name = domain(one.host)
        if name in last:
            yield name, one, one.began - last[name]
        last[name] = max(one.ended, last.get(name, 0.0))


def hurried(log: list[Request], delay: float, domain: Callable[[str], str]) -> list[tuple[str, str, float]]:
    """Requests of a domain that began sooner than *delay* after the answer before, or before it was there."""
    return [(name, one.path, pause) for name, one, pause in pauses(log, domain) if pause < delay]
