"""The web server of the bench: nginx, started for one run alone, and its log, which says of every crawler the same.

    Site(127.0.1.1), Site(127.0.1.2), ... ──serving──► nginx of one worker ──► log: when, where, what, how it ended

1. A site is an address of its own of loopback, so that no name has to be resolved, and each is asked for its robots.txt.
2. nginx is started anew for each run: what it has used when it ends is what this run has cost it.
3. The log is complete when nginx has ended.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.measuring import BenchError
from tests.bench.peers.installing import install
from tests.bench.peers.launching import Program, launched

HTML: Final = ("text/html", "application/xhtml+xml")
TYPES: Final = Path("/etc/nginx/mime.types")
BOOT: Final = 10.0
CONF: Final = """\
daemon off; worker_processes 1; pid nginx.pid; error_log error.log warn; {user}
events {{ worker_connections 4096; multi_accept on; }}
http {{
  include {types}; default_type application/octet-stream; server_tokens off;
  sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 75s; keepalive_requests 100000;
  open_file_cache max=4096 inactive=60s; open_file_cache_valid 60s; log_not_found off;
  gzip_comp_level 1; gzip_min_length 500;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  log_format bench escape=json '$msec\\t$request_time\\t$server_addr\\t$status\\t$sent_http_content_type\\t$request_uri';
  access_log access.log bench buffer=256k flush=1s;
{servers}
}}
"""
SERVER: Final = (
    "  server {{ listen {address}:{port} backlog=4096; root {root}; index index.html; gzip {gzip}; }}"
)


@dataclass(frozen=True, slots=True)
class Site:
    """A folder that is served at an address of its own."""

    name: str
    address: str
    root: Path
    made_of: str
    """The package and its version."""
    compressed: bool

    def url(self, port: int) -> str:
        """Where a crawl of it begins."""
        return f"http://{self.address}:{port}/"


@dataclass(frozen=True, slots=True)
class Log:
    """What a crawler has asked for."""

    requests: int
    first: float
    """When its first request began, in seconds of the clock on the wall."""
    pages: frozenset[str]
    """The pages of HTML that it got, robots.txt not among them."""

    @classmethod
    def read(cls, path: Path) -> "Log":
        """All of it.

        Raises:
            BenchError: Nothing was asked for.
        """
        requests, first, pages = 0, float("inf"), set()
        for line in path.read_text(errors="replace").splitlines():
            ended, took, address, status, kind, uri = line.split("\t", 5)
            requests += 1
            first = min(first, float(ended) - float(took))
            if status == "200" and kind.partition(";")[0] in HTML:
                pages.add(f"{address}{uri}")
        if not requests:
            raise BenchError("nobody has asked the web server for anything")
        return cls(requests, first, frozenset(pages))


@contextlib.asynccontextmanager
async def serving(sites: Sequence[Site], port: int, folder: Path) -> AsyncIterator[Program]:
    """Serve the sites while the body runs; then its costs are known, and the log in the folder is complete."""
    program = _nginx()
    folder.mkdir()  # noqa: ASYNC240  # nobody else waits meanwhile
    # As root the workers would become somebody else, who may not look into our cache.
    user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
    servers = "\n".join(
        SERVER.format(
            address=site.address, port=port, root=site.root, gzip="on" if site.compressed else "off"
        )
        for site in sites
    )
    (folder / "nginx.conf").write_text(CONF.format(user=user, types=TYPES, servers=servers))
    command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf"]
    async with launched("nginx", command, folder, how=signal.SIGQUIT) as nginx:
        over = time.monotonic() + BOOT
        while not all(_answers(site.address, port) for site in sites):
            nginx.check()
            if time.monotonic() > over:
                raise BenchError(f"nginx does not answer on port {port}: {nginx.last_words()}")
            await asyncio.sleep(0.05)
        yield nginx


def log_of(folder: Path) -> Log:
    """What was asked of the server that worked in this folder."""
    return Log.read(folder / "access.log")


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None and install("nginx-light"):
        found = shutil.which("nginx", path="/usr/sbin")
    if found is None:
        raise BenchError("there is no nginx: install it (apt-get install nginx-light)")
    return found


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), 1.0):
            return True
    except OSError:
        return False
