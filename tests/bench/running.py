"""`crawl run` as a process of its own, watched from outside while it works: for benches that measure the whole program.

seeds ──► crawl run --data FOLDER ──► Running: its processes, its embedded PostgreSQL, its summary
"""

import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.ground import STOPPING, environment
from tests.bench.measuring import PROC, BenchError, Meter, note, processor_time


@dataclass(frozen=True, slots=True)
class Used:
    """What a crawl has used so far, in seconds."""

    crawler: float = 0.0
    """Processor time of the crawler and its parsers."""
    postgres: float = 0.0
    """Processor time of its PostgreSQL."""
    waited: float = 0.0
    """As `waited`, of the crawler."""

    def most(self, other: "Used") -> "Used":
        """The larger of each: what has ended says nothing any more."""
        return Used(
            max(self.crawler, other.crawler),
            max(self.postgres, other.postgres),
            max(self.waited, other.waited),
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A crawl under way."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.process.poll() is not None

    @property
    def postgres(self) -> int | None:
        """The first process of its embedded PostgreSQL; None: there is none yet, or no more."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.folder / "data/pg/postmaster.pid").read_text().split()[0])
        return None

    @property
    def parsers(self) -> list[int]:
        """Its parser processes."""
        return [pid for pid in children(self.process.pid) if b"parser_process" in _words(pid)]

    def used(self) -> "Used":
        """What it has used so far. Its PostgreSQL is its child, and told apart."""
        crawler = processor_time(self.process.pid) + sum(map(processor_time, self.parsers))
        pid = self.postgres
        postgres = 0.0 if pid is None else Meter({"it": [pid]}).read(0).costs["it"].cpu
        return Used(crawler, postgres, waited(self.process.pid))

    def check(self) -> None:
        """Raise if it has ended: it was not told to."""
        if self.ended:
            raise BenchError(f"crawl run ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """What it said last on standard error."""
        words = (self.folder / "said").read_text(errors="replace").strip().splitlines()
        return words[-1] if words else "it said nothing"

    def stop(self) -> dict[str, Any]:
        """Let it end (told to, if it has not yet): its summary."""
        if not self.ended:
            self.process.terminate()
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            raise BenchError(f"crawl run did not stop in {STOPPING:.0f} s") from None
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """What it said in the end."""
        text = (self.folder / "summary").read_text()
        if not text:
            raise BenchError(f"crawl run ended with {self.process.returncode}: {self.last_words()}")
        summary: dict[str, Any] = json.loads(text)
        return summary


@contextlib.contextmanager
def running(
    urls: Sequence[str], options: Sequence[str], settings: Mapping[str, str], dsn: str | None = None
) -> Iterator[Running]:
    """Crawl from these seeds while the body runs, into the database that is named, or one in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    try:
        seeds = folder / "seeds"
        seeds.write_text("\n".join(urls))
        command = [sys.executable, "-m", "crawler", "run", "--file", str(seeds), "--name", "bench", *options]
        command += ["--data", str(folder / "data")] if dsn is None else ["--database", dsn]
        command += ["--json", "--quiet"]
        with (folder / "summary").open("wb") as out, (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                command, env=environment(settings), stdout=out, stderr=said, start_new_session=True
            )
        try:
            yield Running(process, folder)
        finally:
            _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def children(pid: int) -> set[int]:
    """The processes that this one has started, and that live."""
    found: set[int] = set()
    for task in (PROC / str(pid) / "task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(int(word) for word in task.read_text().split())
    return found


def waited(pid: int | str = "self") -> float:
    """Seconds for which a process' first thread was ready to work and had no processor: others had them (proc(5), schedstat)."""
    try:
        return int((PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # it has ended, or this system does not tell
        return 0.0


def many_files() -> None:
    """Let this process and those that it starts open as many files as they may: a web has a connection for each domain."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end(process: subprocess.Popen[bytes]) -> None:
    for patience in (STOPPING, 10.0):  # told twice, it waits for no open request
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    note("crawl run did not stop: it was killed")
    process.kill()
    process.wait()


def _words(pid: int) -> bytes:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""
