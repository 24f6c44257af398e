"""What every process does that serves a worker: one question at a time comes in, what came of it goes out.

    stdin  ◄── length of the question, length of the body, question, body
    stdout ──► length of the reply, length of what is packed, reply, what is packed

1. It ends with its stdin: a parent that dies, however it dies, leaves nobody behind who waits for questions.
2. What the terminal or a service manager signals is for the parent; it ends us in its own time.
3. When the machine's memory ends, it goes first.
"""

import contextlib
import resource
import signal
import struct
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

LENGTHS: Final = struct.Struct(">II")


def questions(source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Each question with its body, until nothing more comes."""
    while len(lengths := source.read(LENGTHS.size)) == LENGTHS.size:
        of_question, of_body = LENGTHS.unpack(lengths)
        question, body = source.read(of_question), source.read(of_body)
        if len(body) < of_body:
            return
        yield question, body


def reply(sink: BinaryIO, said: bytes, packed: bytes = b"") -> None:
    """Say what came of it. Raises BrokenPipeError: nobody is there any more."""
    sink.write(LENGTHS.pack(len(said), len(packed)))
    sink.write(said)
    sink.write(packed)
    sink.flush()


def settle_down() -> None:
    """Take up no signal, leave no core, and be the first to go when the machine's memory ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def limit(which: int, most: int) -> None:
    """Have the system allow no more of it than that, nor more than it did before."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def limit_memory(most: int) -> None:
    """Allow so many bytes of data."""
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        limit(resource.RLIMIT_DATA, most)


def place_of(error: BaseException) -> str:
    """Where it was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
