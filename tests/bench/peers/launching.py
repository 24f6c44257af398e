"""Programs that are started, waited for, and asked afterwards what they have used.

    launched(command) ──► Program: pid, until ended() ──► wait4: processor time of all its processes, to the last

1. What a program used is what the kernel says when it has ended: children that lived for a moment count too.
2. A program ends with the body that it was launched for, whatever happens; it is killed if it does not stop.
3. While it runs, memory is read twice a second: the proportional share (PSS) of each tree, and the most of it is kept.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.measuring import BenchError, Meter

LOOK: Final = 0.02
SAMPLE: Final = 0.5
STOPPING: Final = 30.0
COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")


@dataclass(slots=True)
class Program:
    """A program at work, or one that has ended."""

    name: str
    process: subprocess.Popen[bytes]
    said: Path
    """What it wrote on standard error."""
    cpu: float = 0.0
    """Seconds of processor time of it and of all it waited for; known when it has ended."""

    @property
    def pid(self) -> int:
        """Its first process."""
        return self.process.pid

    def ended(self) -> bool:
        """Whether it has come to its end; its costs are known then."""
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)  # so nobody waits for it again
                self.cpu = usage.ru_utime + usage.ru_stime
        return self.process.returncode is not None

    async def end(self, patience: float, *, good: frozenset[int] = frozenset({0})) -> None:
        """Wait for its end.

        Raises:
            BenchError: It takes longer than *patience* seconds, or ends with another status than the *good* ones.
        """
        over = time.monotonic() + patience
        while not self.ended():
            if time.monotonic() > over:
                raise BenchError(f"{self.name} did not end in {patience:.0f} s: it was stopped")
            await asyncio.sleep(LOOK)
        if self.process.returncode not in good:
            raise BenchError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")

    def check(self) -> None:
        """Raise if it has ended: it was not told to."""
        if self.ended():
            raise BenchError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """What it said last."""
        words = COLOUR.sub("", self.said.read_text(errors="replace")).strip().splitlines()
        return words[-1] if words else "it said nothing"

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop, and wait."""
        if self.ended():
            return
        self.process.send_signal(how)
        with contextlib.suppress(BenchError):
            await self.end(STOPPING, good=frozenset(range(-64, 256)))

    def kill(self) -> None:
        """End it, with all that it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process.returncode is None:
            self.process.wait()


@contextlib.asynccontextmanager
async def launched(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    how: signal.Signals = signal.SIGTERM,
) -> AsyncIterator[Program]:
    """A program at work while the body runs; what it says goes to files in *folder*, *how* stops it."""
    said = folder / f"{name.replace(' ', '-')}.said"
    with said.open("wb") as err, said.with_suffix(".out").open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220  # asyncio waits for its own, and then nobody can ask what they used
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    program = Program(name, process, said)
    try:
        yield program
        await program.stop(how)
    finally:
        program.kill()


@dataclass(slots=True)
class Peaks:
    """The most memory that each tree had, in bytes."""

    most: dict[str, int] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def watched(peaks: Peaks, trees: Mapping[str, int]) -> AsyncIterator[None]:
    """Keep the most memory of each tree, by its first process, while the body runs."""
    meter = Meter({name: [pid] for name, pid in trees.items()})

    async def watch() -> None:
        while True:
            for name, cost in meter.read(0).costs.items():
                peaks.most[name] = max(peaks.most.get(name, 0), cost.memory)
            await asyncio.sleep(SAMPLE)

    # No TaskGroup: it would wrap what the body raises, and that is for whoever reads one line.
    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
