"""A Sentry on loopback: it speaks the envelope protocol (develop.sentry.dev/sdk/data-model/envelopes), and can be unwell."""

import contextlib
import gzip
import http.server
import json
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import brotli  # type: ignore[import-untyped]  # it has no stubs


class Sentry:
    """What it was sent."""

    def __init__(self, status: int, *, silent: bool) -> None:
        self.status = status
        self.silent = silent
        self.events: list[dict[str, Any]] = []
        self.others: list[str] = []
        """Types of items that are no events."""
        self.raw = ""
        """Everything that came, decoded, with the headers: what a leak would be seen in."""
        self.asked = threading.Event()
        """Somebody has called."""
        self.closing = threading.Event()
        self.port = 0

    @property
    def dsn(self) -> str:
        """Where it is, for whoever has something to tell."""
        return f"http://0123456789abcdef@127.0.0.1:{self.port}/42"

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events."""
        return [event["tags"]["kind"] for event in self.events]

    def take(self, body: bytes, headers: Any) -> None:
        """An envelope: a header, then items of a header and a payload each."""
        unpacked = unpack(body, headers.get("Content-Encoding", ""))
        self.raw += f"{headers}{unpacked.decode()}"
        _, _, rest = unpacked.partition(b"\n")
        while rest:
            line, _, rest = rest.partition(b"\n")
            item = json.loads(line)
            size = item.get("length", rest.find(b"\n"))
            payload, rest = rest[:size], rest[size:].lstrip(b"\n")
            if item["type"] == "event":
                self.events.append(json.loads(payload))
            else:
                self.others.append(item["type"])


def unpack(body: bytes, encoding: str) -> bytes:
    """The body as it was meant."""
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "br":
            return bytes(brotli.decompress(body))
        case "deflate":
            return zlib.decompress(body)
    return body


@contextlib.contextmanager
def some_sentry(status: int = 200, *, silent: bool = False) -> Iterator[Sentry]:
    """One that answers with this status, or takes the request and says nothing."""
    sentry = Sentry(status, silent=silent)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/api/42/envelope/"
            sentry.take(body, self.headers)
            sentry.asked.set()
            if sentry.silent:
                sentry.closing.wait(30)
                return
            self.send_response(sentry.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sentry.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="sentry")
    thread.start()
    try:
        yield sentry
    finally:
        sentry.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
