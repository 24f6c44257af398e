"""Prometheus and Alertmanager to test with: found, or fetched; and how tests run one.

    PATH ──► build/debian/ of an earlier test ──► apt-get download, unpacked there ──► the test fails, with one line

A package is unpacked, not installed: no service starts, and nobody needs to be root. Together they are 30 MB, fetched once.
Debian's Alertmanager wants its templates at a path of an installed one: unpacked, it takes them from the folder that it runs in.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tests.broker import LOOPBACK

ROOT: Final = Path(__file__).parent.parent
CACHE: Final = ROOT / "build" / "debian"
PACKAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prometheus": "prometheus",
        "promtool": "prometheus",
        "prometheus-alertmanager": "prometheus-alertmanager",
        "amtool": "prometheus-alertmanager",
    }
)
"""Which of Debian's packages a program comes with."""
TEMPLATES: Final = "/usr/share/prometheus/alertmanager"
BOOT: Final = 30.0
"""Seconds that a server may take to start on a busy machine."""
PATIENCE: Final = 600
"""Seconds for a download."""
DIRECT: Final = build_opener(ProxyHandler({}))
"""No proxy of this machine's stands between a test and loopback."""


class NoToolError(Exception):
    """There is no Prometheus to test with."""


def tool(name: str) -> Path:
    """A program of Prometheus or Alertmanager. Raises NoToolError."""
    if found := shutil.which(name):
        return Path(found)
    package = PACKAGES[name]
    program = CACHE / package / "usr" / "bin" / name
    if not program.exists():
        _fetch(package)
    if not program.exists():
        raise NoToolError(
            f"no {name} to test with: neither on the PATH, nor by apt-get download; install Debian's package {package}"
        )
    return program


def checked(name: str, *words: str | Path, folder: Path | None = None) -> str:
    """Run one of the tools to its end: what it said. It must say that all is well."""
    command = [tool(name), *words]
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{name} {' '.join(map(str, words))}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _fetch(package: str) -> None:
    """Unpack a package of Debian's, if this is a Debian: whole or not at all, once for all testers."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (CACHE / package).exists():
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as there:
            folder = Path(there)
            if not _apt(folder, "download", package):
                # A machine that nobody prepared has no lists: they are fetched to a folder of ours, which needs no root.
                lists = CACHE / "lists"
                (lists / "partial").mkdir(parents=True, exist_ok=True)
                ours = ["-o", f"Dir::State::lists={lists}"]
                if not (_apt(folder, *ours, "update") and _apt(folder, *ours, "download", package)):
                    return
            unpacked = folder / "unpacked"
            for file in folder.glob("*.deb"):
                subprocess.run(["dpkg", "-x", file, unpacked], capture_output=True, timeout=120, check=True)
            for program in (unpacked / "usr" / "bin").iterdir():
                if program.name == "prometheus-alertmanager":
                    _loosen(program)
            unpacked.rename(CACHE / package)


def _loosen(program: Path) -> None:
    """Have a program look for its templates in its folder, by a path that is as long."""
    here = "./" * (len(TEMPLATES) // 2)
    program.write_bytes(program.read_bytes().replace(TEMPLATES.encode(), here.encode()))


def _apt(folder: Path, *words: str) -> bool:
    """Run apt-get: whether it did what it was told."""
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", f"Dir::Cache={folder}", *words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class Server:
    """One of them that runs: its HTTP API on loopback."""

    port: int
    process: "subprocess.Popen[bytes]"
    output: Path

    def get(self, path: str, **query: str) -> Any:
        """What it answers, from JSON."""
        return self._ask(Request(f"{self._url(path)}?{urlencode(query)}"))  # noqa: S310 - of loopback

    def post(self, path: str, body: object) -> None:
        """Tell it something."""
        headers = {"Content-Type": "application/json"}
        self._ask(Request(self._url(path), json.dumps(body).encode(), headers))  # noqa: S310 - of loopback

    def is_ready(self) -> bool:
        """Whether it answers yet."""
        assert self.process.poll() is None, self.output.read_text("utf-8", errors="replace")[-2000:]
        try:
            with DIRECT.open(self._url("/-/ready"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def _url(self, path: str) -> str:
        return f"http://{LOOPBACK}:{self.port}{path}"

    def _ask(self, request: Request) -> Any:
        try:
            with DIRECT.open(request, timeout=10) as answer:
                said = answer.read()
        except URLError as error:
            why = error.read().decode() if hasattr(error, "read") else str(error)
            raise AssertionError(f"{request.full_url}: {why}") from error
        return json.loads(said) if said else None


@contextlib.contextmanager
def running(port: int, folder: Path, name: str, *options: str) -> Iterator[Server]:
    """One of the servers, in a process of its own, until left: it is ready."""
    output = folder / f"{name}.log"
    program = tool(name)
    home = CACHE / PACKAGES[name] / TEMPLATES.lstrip("/")
    # Whoever kills us with SIGKILL kills it too, where util-linux can see to that.
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with output.open("wb") as said:
        process = subprocess.Popen(
            [*leash, program, *options], cwd=home if home.exists() else folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        server = Server(port, process, output)
        deadline = time.monotonic() + BOOT
        while not server.is_ready():
            assert time.monotonic() < deadline, output.read_text("utf-8", errors="replace")[-2000:]
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()
