"""A server of a bench in a process of its own, which ends with its standard input, however we end.

hosted(module) ──starts──► process ──"port 40001"──► hosted
──end of input──► it ends
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from tests.bench.measuring import BenchError

PATIENCE: Final = 20.0
"""Seconds for it to end."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A server that is up."""

    pid: int
    ports: tuple[int, ...]
    """Where it listens, in the order it says."""
    to: IO[str]
    answers: IO[str]

    def ask(self, question: str) -> list[str]:
        """What it answers to a line, word by word. Raises BenchError if it has died."""
        try:
            self.to.write(f"{question}\n")
            self.to.flush()
            words = self.answers.readline().split()
        except OSError:
            words = []
        if not words:
            raise BenchError("the web has died: see above")
        return words


@contextlib.contextmanager
def hosted(module: str, *arguments: object) -> Iterator[Hosted]:
    """Run a module that begins by `announce`, while the body runs. Raises BenchError if it does not."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError(process)
    try:
        words = process.stdout.readline().split()
        if not words:
            raise BenchError("the web did not start: see above")
        yield Hosted(process.pid, tuple(map(int, words[1::2])), process.stdin, process.stdout)
    finally:
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.stdout.close()


async def announce(**ports: int) -> asyncio.StreamReader:
    """Say where we listen; what is asked then comes from the reader, until it ends and so do we."""
    reader = asyncio.StreamReader()
    connected = asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await connected
    answer(" ".join(f"{name} {port}" for name, port in ports.items()))
    return reader


def answer(text: str) -> None:
    """A line for whoever hosts us, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
