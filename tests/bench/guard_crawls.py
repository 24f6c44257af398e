"""A crawl by one tree, from its start to its end: the processor time of its processes, to the last of it.

1. The crawler's own time is read when it has ended and nobody has taken note yet: nothing can be missed.
2. What its children have used passed to it when it waited for them: PostgreSQL with all its processes, and parsers if any were needed.
3. Nothing that was started here outlives it, however it ends.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.ground import environment, settings_for
from tests.bench.guard_trees import Tree
from tests.bench.measuring import BenchError, processor_time
from tests.bench.profile_web import Served

PACE: Final = ("--delay", "0", "--per-domain", "16")
PATIENCE: Final = 900.0
STOPPING: Final = 60.0
KINDS: Final = ("crawler", "PostgreSQL")


@dataclass(frozen=True, slots=True)
class Crawled:
    """What a crawl has cost."""

    pages: int
    cpu: Mapping[str, float]
    """Seconds of processor time, by kind of process."""

    def each(self, *kinds: str) -> float:
        """Milliseconds a page, of all these kinds."""
        return sum(self.cpu[kind] for kind in kinds) * 1000 / self.pages


async def crawl(tree: Tree, web: Served, python: str = sys.executable) -> Crawled:
    """Crawl that web with this tree, into a new database of its own. Raises `BenchError`."""
    settings = (
        settings_for(web.names)
        | {"PER_ADDRESS": "0"}
        | ({} if web.ca is None else {"TLS_CA_FILE": str(web.ca)})
    )
    environ = {**environment(settings), "PYTHONPATH": str(tree.path)}
    folder = Path(tempfile.mkdtemp(prefix="fc-bench-"))
    database = ("--data", str(folder / "data"))
    try:
        # First, for initdb and the migrations would be a third of what PostgreSQL takes.
        await _measured([python, "-m", "crawler", "migrate", *database], tree, environ, folder)
        command = [python, "-m", "crawler", "run", *web.site.seeds(), *PACE, *database, "--json", "--quiet"]
        cpu = await _measured(command, tree, environ, folder)
        return Crawled(int(json.loads((folder / "out").read_text("utf-8"))["pages"]), cpu)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measured(
    command: Sequence[str], tree: Tree, environ: Mapping[str, str], folder: Path
) -> Mapping[str, float]:
    """Run a command to its end: its processor time, by kind. What it said lies in the folder."""
    process = _start(command, tree, environ, folder)
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        own = processor_time(process.pid)
        everything = _take_note(process)
    except TimeoutError:
        raise BenchError(f"a crawl of {tree.name} did not end in {PATIENCE:.0f} s") from None
    finally:
        _end(process)
    if process.returncode:
        words = (folder / "said").read_text("utf-8", "replace").strip().splitlines()
        raise BenchError(
            f"a crawl of {tree.name} ended with {process.returncode}: {words[-1] if words else 'it said nothing'}"
        )
    return {"crawler": own, "PostgreSQL": everything - own}


def _start(
    command: Sequence[str], tree: Tree, environ: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    with (folder / "out").open("wb") as out, (folder / "said").open("wb") as said:
        return subprocess.Popen(
            command, env=environ, cwd=tree.path, stdout=out, stderr=said, start_new_session=True
        )


def _take_note(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process that has ended: what it and those that it waited for have used."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, if it has not by itself: gently, for it stops its PostgreSQL then."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPPING)
