"""The real program: run to its end, or started in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forking import crawl


@dataclass(frozen=True, slots=True)
class Program:
    """`crawl` with a data folder and settings of its own."""

    data: Path
    settings: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Nothing of this machine's own CRAWL_ settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("CRAWL_")}
        return own | {f"CRAWL_{name}": value for name, value in self.settings.items()}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start it, and do not wait."""
        return subprocess.Popen(
            [sys.executable, "-m", "crawler", *arguments, "--data", str(self.data)],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run it to its end: what it printed."""
        done = self._done(*arguments)
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{out}\n{err}"
        return out

    def raw(self, *arguments: str) -> bytes:
        """Run it to its end: the bytes that it printed."""
        done = self._done(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _done(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return crawl(*arguments, "--data", str(self.data), env=self.environment())

    def crawl(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run `crawl run`: its summary. Without --sitemaps only what the test's web links to is asked for."""
        return dict(json.loads(self.run("run", "--json", "--no-sitemaps", *arguments, status=status)))

    def pages(self, name: str, *arguments: str) -> dict[str, dict[str, Any]]:
        """The exported pages of a crawl, by URL."""
        lines = self.run("export", name, *arguments).splitlines()
        return {page["url"]: page for page in map(json.loads, lines)}


def kill(process: "subprocess.Popen[str]") -> None:
    """End a program and all it started, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
