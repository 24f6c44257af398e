"""Work in a thread of its own, with a loop of its own: what it makes is handed over, a batch at a time, to whoever asks.

    any thread                       the thread
    ask() ──────────► wanted ──► give(batch) ──► Future: the batch        nobody asks: nothing more is made
    stop() ─────────► told to stop, or cancelled ──► it cleans up ──► ended

1. Whoever asks is answered: with a batch, with an empty one when the work is done, or with the error that it ended with.
2. `stop` returns at once, may be called from anywhere (also while an object is finalized), and again: nothing happens then.
3. A loop or a thread of whoever asks may stand still for as long as it likes: the work goes on, and holds one batch.
4. When the interpreter ends, the work is stopped, and waited for, while threads can still be had.
"""

import asyncio
import concurrent.futures
import concurrent.futures.thread
import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar

import uvloop

T = TypeVar("T")
R = TypeVar("R")


Asked: TypeAlias = concurrent.futures.Future[Sequence[T]]


class Counter(Generic[T]):
    """Where the work hands over what it has made."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        """Nobody wants more."""
        self.is_careful = False
        """Whether the work looks at `stopped`: then it is not cancelled."""
        self._wanted = asyncio.Event()
        self._asked: Asked[T] | None = None

    def be_careful(self) -> None:
        """From now on the work sees to `stopped` by itself."""
        self.is_careful = True

    async def give(self, batch: Sequence[T]) -> bool:
        """Hand over a batch, once somebody asks for it; False: nobody wants more."""
        await self._wanted.wait()
        future, self._asked = self._asked, None
        if future is None:
            return False
        if not self.stopped.is_set():
            self._wanted.clear()
        future.set_result(batch)
        return True

    def ask(self, future: "Asked[T]") -> None:
        """Somebody asks."""
        self._asked = future
        self._wanted.set()

    def stop(self) -> None:
        """Nobody wants more."""
        self.stopped.set()
        self._wanted.set()


Work: TypeAlias = Callable[[Counter[T]], Coroutine[Any, Any, R]]


class Apart(Generic[T, R]):
    """The work, seen from outside. Only one asks at a time."""

    def __init__(self, work: "Work[T, R]", name: str) -> None:
        """Begin."""
        self.ended: concurrent.futures.Future[R | None] = concurrent.futures.Future()
        """What came of it, or None if it was cancelled: there when all is cleaned up."""
        self._loop = _new_loop()
        self._counter: Counter[T] = Counter()
        self._task: asyncio.Task[R] | None = None
        self._open: Asked[T] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._be, work), name=name
        )
        _at_work.add(self)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Apart {self._thread.name} {'ended' if self.ended.done() else 'at work'}>"

    def ask(self) -> "Asked[T]":
        """The next batch; an empty one: that was all. Raises what the work ended with."""
        future: Asked[T] = concurrent.futures.Future()
        with self._lock:
            if self.ended.done():
                self._answer_last(future)
            else:
                self._open = future
                with contextlib.suppress(
                    RuntimeError
                ):  # its loop is closed: it is about to answer this by itself
                    self._loop.call_soon_threadsafe(self._counter.ask, future)
        return future

    def stop(self) -> None:
        """Let it end soon."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._told)

    def join(self) -> None:
        """Wait for the end of its thread."""
        if threading.current_thread() is not self._thread:  # which may happen to find our garbage
            self._thread.join()

    def _told(self) -> None:
        first = not self._counter.stopped.is_set()
        self._counter.stop()
        if first and self._task is not None and not self._counter.is_careful:
            self._task.cancel()

    def _be(self, work: "Work[T, R]") -> None:
        result, error = None, None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                result = runner.run(self._work(work))
        except asyncio.CancelledError:
            pass
        except BaseException as raised:  # noqa: BLE001 - raised again where somebody asks
            error = raised
        with self._lock:
            if error is None:
                self.ended.set_result(result)
            else:
                self.ended.set_exception(error)
            if self._open is not None and not self._open.done():
                self._answer_last(self._open)

    def _answer_last(self, future: "Asked[T]") -> None:
        if (error := self.ended.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(())

    async def _work(self, work: "Work[T, R]") -> R:
        self._task = asyncio.current_task()
        if self._counter.stopped.is_set():
            raise asyncio.CancelledError
        return await work(self._counter)


def _new_loop() -> asyncio.AbstractEventLoop:
    """A loop that starts processes from any thread and leaves the program's signals alone: uvloop's takes SIGCHLD for itself."""
    # Before Python 3.14 the policy knows how to wait for processes, and uvloop's says that only its loops do.
    if sys.version_info < (3, 14) and isinstance(asyncio.get_event_loop_policy(), uvloop.EventLoopPolicy):
        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


_at_work: Final["weakref.WeakSet[Apart[Any, Any]]"] = weakref.WeakSet()


def _leave() -> None:
    """The interpreter ends: so does all work. Loops need threads for that, which cannot be had later."""
    found = [one for one in _at_work if not one.ended.done()]
    for one in found:
        one.stop()
    for one in found:
        one.join()


# `atexit` comes too late: it is called when all threads have been waited for, ours too, and when no loop gets new ones any more.
threading._register_atexit(_leave)  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures does, whose turn comes after ours
