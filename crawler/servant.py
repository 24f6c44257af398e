"""Processes of our own that serve this one: parsers and hooks. What they say to each other stands in `crawler.service`.

    idle ──one()──► busy ──fit──► idle
                     └──died, late, cancelled, or said that it is spent──► killed

1. A process serves one at a time, and never again after a question that was not answered to its end.
2. Cancelled, nobody leaves a process at work behind; `close` leaves none at all.
3. What one that is apart has started ends when its own end is noticed, and its group is never touched again: the number may be another's.
   If we are killed ourselves, nobody notices.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Self

from crawler.service import LENGTHS

LONGEST: Final = 600 << 20
"""Bytes of an answer: more than the longest body, packed. Who says it will say more says nonsense."""


class DiedError(Exception):
    """The process ended before it had answered, or answers nonsense."""


class LateError(DiedError):
    """The process did not answer in time."""


class Servant:
    """One process.

    Args:
        process: with pipes to its stdin and from its stdout.
        apart: it leads a session of its own, and what it has started there ends with it.
    """

    def __init__(self, process: asyncio.subprocess.Process, *, apart: bool = False) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError(process)
        self._process = process
        self._group: int | None = process.pid if apart else None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.pid = process.pid
        self.fit = True
        """Whether it may be asked again."""
        self._ending = asyncio.create_task(self._end()) if apart else None

    @classmethod
    async def start(cls, module: str, *, stderr: int | None, apart: bool = False) -> Self:
        """Start one: a third of a second, once. *stderr*: as of `subprocess`; None: where ours goes."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=apart,
            limit=1 << 20,
        )
        return cls(process, apart=apart)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    def tell(self, question: bytes, body: bytes = b"") -> None:
        """Send a question. Until the answer has come and was found good, it is not `fit`."""
        self.fit = False
        self._stdin.write(LENGTHS.pack(len(question), len(body)) + question)
        self._stdin.write(body)

    async def hear(self, seconds: float) -> tuple[bytes, bytes]:
        """The next answer: what it says, and what is packed. Raises DiedError; LateError: not in so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._stdin.drain()
                of_reply, of_packed = LENGTHS.unpack(await self._stdout.readexactly(LENGTHS.size))
                if of_reply + of_packed > LONGEST:
                    raise DiedError
                return await self._stdout.readexactly(of_reply), await self._stdout.readexactly(of_packed)
        except TimeoutError:
            raise LateError from None
        except (OSError, asyncio.IncompleteReadError):
            raise DiedError from None

    async def kill(self) -> None:
        """End it now."""
        self._kill_group()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._stdin.close()
        await self._process.wait()

    async def _end(self) -> None:
        await self._process.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


class Servants:
    """Processes of one kind, started when there is none idle. How many at once is for who asks them to see to."""

    def __init__(self, start: Callable[[], Awaitable[Servant]]) -> None:
        self._start = start
        self._idle: list[Servant] = []
        self._busy: set[Servant] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._busy)} busy, {len(self._idle)} idle>"

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes there are now."""
        return tuple(servant.pid for servant in (*self._idle, *self._busy) if servant.is_alive)

    @property
    def has_idle(self) -> bool:
        """Whether one waits for work."""
        return bool(self._idle)

    def add(self, servant: Servant) -> None:
        """One more that waits for work."""
        self._idle.append(servant)

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Servant]:
        """A process to be asked: an idle one, or a new one. It is killed afterwards if it is not `fit`.

        Raises:
            DiedError, OSError: as who starts one does.
        """
        # One that ended while it was idle (the system takes these first when memory ends) is nobody's fault.
        self._idle = [servant for servant in self._idle if servant.is_alive]
        servant = self._idle.pop() if self._idle else await self._start()
        self._busy.add(servant)
        try:
            yield servant
        finally:
            self._busy.discard(servant)
            if servant.fit:
                self._idle.append(servant)
            else:
                await servant.kill()

    async def close(self) -> None:
        """End all, also those at work."""
        for servant in (*self._idle, *self._busy):
            await servant.kill()
        self._idle.clear()
