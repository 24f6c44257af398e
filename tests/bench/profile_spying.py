"""A crawl under py-spy: both are run to their end, and what they said is read.

1. Nothing that was started here outlives it, however it ends: it is a session of its own.
2. What keeps py-spy from looking is told in one line, with what to do about it.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.measuring import BenchError

STOPPING: Final = 20.0
REFUSED: Final = (
    "permission denied",
    "operation not permitted",
    "eperm",
    "ptrace",
    "no python processes found",
)
FORBIDDEN: Final = (
    "py-spy may not look into a process here (ptrace): run as root, in a container with --cap-add SYS_PTRACE, "
    "or with /proc/sys/kernel/yama/ptrace_scope at 0 or 1"
)


def spy_program() -> str:
    """Where py-spy is. Raises `BenchError`."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise BenchError("py-spy is not installed: make setup")
    return found


def stacks_of(raw: Path) -> list[str]:
    """What py-spy has written. Raises `BenchError`: nothing."""
    lines = raw.read_text("utf-8", "replace").splitlines() if raw.exists() else []
    if not lines:
        raise BenchError(f"py-spy saw nothing: ask for more --pages, or {FORBIDDEN}")
    return lines


def pages_of(summary: Mapping[str, Any]) -> int:
    """How many pages were visited. Raises `BenchError`."""
    if not summary["pages"] or not summary["cpu_seconds"]:
        raise BenchError(f"no page was stored: {summary['outcomes'] or 'nothing was visited'}")
    return int(summary["pages"])


async def run(command: Sequence[str], environ: Mapping[str, str], patience: float) -> dict[str, Any]:
    """Run the crawl to its end: its summary. Raises `BenchError`."""
    async with _process(command, environ) as process:
        try:
            async with asyncio.timeout(patience):
                out, said = await process.communicate()
        except TimeoutError:
            raise BenchError(
                f"the crawl did not end in {patience:.0f} s: ask for fewer --pages, or more --patience"
            ) from None
    return summary_in(out.decode(errors="replace"), said.decode(errors="replace"))


def summary_in(out: str, said: str) -> dict[str, Any]:
    """The crawl's summary among what it and py-spy have said. Raises `BenchError`: why there is none."""
    for line in out.splitlines():
        if line.startswith("{"):
            summary: dict[str, Any] = json.loads(line)
            return summary
    words = [line.strip() for line in said.splitlines() if line.strip()]
    if any(sign in line.lower() for line in words for sign in REFUSED):
        raise BenchError(FORBIDDEN)
    spy = next(
        (line for line in words if line.startswith("Error: ")), None
    )  # what follows are places in its source
    raise BenchError(f"the crawl came to no end: {spy or (words[-1] if words else 'it said nothing')}")


@contextlib.asynccontextmanager
async def _process(
    command: Sequence[str], environ: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with all its children in a session of their own, none of which outlives the body."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, TimeoutError):
                    os.killpg(process.pid, how)
                    async with asyncio.timeout(STOPPING):
                        await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
