"""A web whose pages change at known times, by a clock that the test turns; and the turning of the database's clock with it.

clock.pass_by(days=1) ──► every moment in the database lies a day further back, and the pages are those of a day later
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from crawler.adapters.postgres import Database

DAY: Final = 86400.0
BEGAN: Final = 1_600_000_000
"""When the pages were made, in seconds of the epoch."""


@dataclass(frozen=True, slots=True)
class Changing:
    """A page that becomes another every so many seconds; 0: never."""

    every: float = 0.0
    etag: str = ""
    """``strong``, ``weak`` or none."""
    last_modified: bool = False
    body: Callable[[int, float], str] = lambda state, _: (
        f"<title>state {state}</title><p>This is state {state}."
    )
    """By its number of changes, and the time."""
    links: tuple[str, ...] = ()
    status: int = 200
    refuses: bool = False
    """Whether every condition is answered with 412."""

    def state(self, now: float) -> int:
        """How often it has changed until then."""
        return int(now // self.every) if self.every else 0


@dataclass(slots=True)
class Asked:
    """A request as it came, and what it was answered."""

    path: str
    headers: Mapping[str, str]
    now: float
    """Of the clock that the test turns."""
    status: int
    sent: int
    """Bytes of body."""


@dataclass(slots=True)
class ChangingWeb:
    """The web, its clock and its log."""

    pages: dict[str, Changing]
    now: float = 0.0
    port: int = 0
    log: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        """Where a page is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def asked(self, path: str) -> list[Asked]:
        """The requests for a page."""
        return [one for one in self.log if one.path == path]

    async def pass_by(self, database: Database, days: float) -> None:
        """Let time pass: here, and in the database."""
        self.now += days * DAY
        await turn_back(database, days * DAY)

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """What a request is answered now."""
        page = self.pages.get(path)
        if page is None:
            return 404, {}, b"no such page"
        state = page.state(self.now)
        links = "".join(f'<a href="{link}">{link}</a>' for link in page.links)
        body = (page.body(state, self.now) + links).encode()
        said = {"Content-Type": "text/html; charset=utf-8"}
        tag = f'"{sha256(path.encode()).hexdigest()[:8]}-{state}"'
        if page.etag:
            said["ETag"] = tag if page.etag == "strong" else f"W/{tag}"
        if page.last_modified:
            said["Last-Modified"] = formatdate(BEGAN + state * page.every, usegmt=True)
        known = headers.get("if-none-match"), headers.get("if-modified-since")
        if page.refuses and known != (None, None):
            return 412, {}, b""
        by_tag = page.etag and known[0] is not None  # RFC 9110, section 13.2.2: it goes before the other
        if known[0] == said["ETag"] if by_tag else page.last_modified and known[1] == said["Last-Modified"]:
            return 304, {name: said[name] for name in said if name != "Content-Type"}, b""
        return page.status, said, body


@contextlib.contextmanager
def changing(pages: Mapping[str, Changing]) -> Iterator[ChangingWeb]:
    """Serve the pages on loopback while the body runs."""
    web = ChangingWeb(dict(pages))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, said, body = web.answer(self.path, headers)
            web.log.append(Asked(self.path, headers, web.now, status, len(body)))
            self.send_response(status)
            for name, value in said.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="changing-web")
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def turn_back(database: Database, seconds: float) -> None:
    """Put every moment that the crawler knows so far back: for it, that much time has passed."""
    moments = {
        "urls": ("due_at", "found_at", "lastmod"),
        "pages": ("first_at", "fetched_at", "changed_at"),
        "sitemaps": ("fetched_at", "changed_at"),
        "versions": ("fetched_at",),
        "domains": ("due_at", "ready_at", "visited_at"),
        "origins": ("good_at", "fetched_at", "expires_at"),
        "fetches": ("at",),
        "jobs": ("last_at", "next_at"),
    }
    for table, columns in moments.items():
        changes = ", ".join(
            f"{column} = case when {column} > '1971-01-01' and {column} < 'infinity' then"
            f" {column} - make_interval(secs => {seconds}) else {column} end"
            for column in columns
        )
        await database.script(f"update {table} set {changes}")
