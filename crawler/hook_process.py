"""A hook process: loads the hooks it is told, then calls them with the pages it is handed, one at a time.

    stdin  ◄── Hello                          ◄── Call, body
    stdout ──► Ready: what cannot be loaded   ──► Answer of the first hook ──► Answer of the next ──► ...

1. What a hook does costs this process, and nothing else: how long it may take is for the parent to see to.
2. What a hook prints goes to stderr, and it reads nothing: our pipes are out of its reach.
3. We are not left behind: the parent's end ends us at once (Linux), or at the latest when the hook at work has had its time.
4. Several hooks see the same page: what one of them has made of it, its tree or its text, the next need not make again.
"""

import asyncio
import contextlib
import ctypes
import inspect
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

import msgspec

from crawler.core.content import clean
from crawler.core.errors import FaircrawlError
from crawler.core.said import MOST_FIELDS, Said, WrongError, line_of, said
from crawler.hooking import function_of, shown
from crawler.page import Headers, Page
from crawler.service import limit_memory, place_of, questions, reply, settle_down

LEEWAY: Final = 2.0
"""Seconds after its time when a hook ends by the system's alarm, if nobody else has ended it."""
LONGEST_TRACE: Final = 4_000
"""Characters of a traceback: the last ones."""
_PR_SET_PDEATHSIG: Final = 1


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """What comes first."""

    hooks: tuple[str, ...]
    path: tuple[str, ...]
    """Where the parent looks for modules."""
    memory: int
    """Bytes of data that this process may have."""
    seconds: float
    """For each hook and page."""
    seconds_to_load: float


class Ready(msgspec.Struct, array_like=True, frozen=True):
    """The hooks are loaded."""

    faults: tuple[str, ...]
    """Why each of them is not; empty: it is."""


class Call(msgspec.Struct, array_like=True, frozen=True):
    """What goes with a body."""

    hooks: tuple[int, ...]
    """Those to be called, by their place."""
    url: str
    crawl: str
    depth: int
    status: int | None
    headers: tuple[tuple[str, str], ...]
    content_type: str
    charset: str | None
    title: str | None
    language: str | None
    directives: tuple[str, ...]
    links: tuple[str, ...]
    digest: str
    fields: bytes
    """What those before them said: a JSON object; empty: nothing."""


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """How the call of a hook ended."""

    ended: str
    """``ok``, ``refused``, ``raised``, ``wrong`` or ``slow``."""
    fields: bytes = b""
    links: tuple[str, ...] = ()
    reason: str = ""
    """Of a refusal, or what went wrong: it may quote the page."""
    place: str = ""
    """Of an exception: what it is and where it was raised, without what it says."""
    trace: str = ""
    """Of an exception."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    last: bool = False
    """Whether the process ends now."""


class _Caller:
    """Calls hooks. What is asynchronous runs on one loop, so that a session that a hook keeps goes on working."""

    def __init__(
        self, functions: tuple[Callable[..., Any], ...], seconds: float, runner: asyncio.Runner
    ) -> None:
        self._functions = functions
        self._seconds = seconds
        self._runner = runner

    def call_all(self, call: Call, body: bytes) -> Iterable[Answer]:
        """Call them one after the other, until one refuses the page or the process is spent."""
        fields: dict[str, Any] = json.loads(call.fields) if call.fields else {}
        page, taken = _page(call, body, MappingProxyType(fields)), len(call.fields)
        for number in call.hooks:
            answer = self._call(self._functions[number], page, MOST_FIELDS - taken)
            if answer.fields and number != call.hooks[-1]:
                fields.update(json.loads(answer.fields))
                taken += len(answer.fields)
            yield answer
            if answer.last or answer.ended == "refused":
                return

    def _call(self, function: Callable[..., Any], page: Page, room: int) -> Answer:
        began, spent, us = time.perf_counter(), time.process_time(), os.getpid()
        trace = place = ""
        signal.setitimer(signal.ITIMER_REAL, self._seconds + LEEWAY)
        try:
            value = function(page)
            if inspect.isawaitable(value):
                value = self._runner.run(_awaited(value, self._seconds))
            ended, what, last = "ok", said(value, page.url, room), False
            if what.refusal is not None:
                ended = "refused"
        except WrongError as error:
            ended, what, last = "wrong", Said(refusal=str(error)), False
        except _SlowError:
            ended, what, last = "slow", Said(), False
        except BaseException as error:  # noqa: BLE001 - whatever a hook raises is told to the parent
            ended, what, last = "raised", Said(refusal=_told(error)), isinstance(error, MemoryError)
            trace = clean("".join(traceback.format_exception(error))[-LONGEST_TRACE:])
            place = line_of(str(error) if isinstance(error, _MissingError) else _placed(error))
        if os.getpid() != us:  # it has forked, and this is the fork
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return Answer(
            ended,
            what.fields,
            what.links,
            line_of(what.refusal or ""),
            place,
            trace,
            time.perf_counter() - began,
            time.process_time() - spent,
            last,
        )


class _MissingError(FaircrawlError):
    """A hook is called that could not be loaded."""


class _SlowError(BaseException):
    """An asynchronous hook did not end in time, and was cancelled."""


async def _awaited(value: Awaitable[Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as time_limit:
            return await value
    except TimeoutError:
        if time_limit.expired():
            raise _SlowError from None
        raise


def main() -> None:
    """Serve until nothing more comes."""
    source, sink = _pipes()
    settle_down()
    _end_with_parent()
    asked, runner = questions(source), asyncio.Runner()
    with contextlib.suppress(BrokenPipeError, StopIteration):
        hello = msgspec.msgpack.decode(next(asked)[0], type=Hello)
        functions, faults = _loaded(hello)
        reply(sink, msgspec.msgpack.encode(Ready(faults)))
        caller = _Caller(functions, hello.seconds, runner)
        for question, body in asked:
            for answer in caller.call_all(msgspec.msgpack.decode(question, type=Call), body):
                reply(sink, msgspec.msgpack.encode(answer))
                if answer.last:
                    return


def _leave() -> None:
    """Wait for nothing that a hook has begun: no thread, no task, no last word."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our pipes, under numbers that nobody knows; what a hook prints goes to stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115 - for good
    return source, sink


def _end_with_parent() -> None:
    """Have the system end us with our parent, however busy we are then (prctl(2), Linux alone)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _loaded(hello: Hello) -> tuple[tuple[Callable[..., Any], ...], tuple[str, ...]]:
    """The hooks, and why they are not. Modules are looked for where the parent does, and in the current folder."""
    sys.path[:] = dict.fromkeys([*hello.path, str(Path.cwd())])
    limit_memory(hello.memory)
    signal.setitimer(signal.ITIMER_REAL, hello.seconds_to_load + LEEWAY)
    functions, faults = [], []
    for hook in hello.hooks:
        function, fault = _load(hook)
        functions.append(function)
        faults.append(fault)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return tuple(functions), tuple(faults)


def _load(hook: str) -> tuple[Callable[..., Any], str]:
    try:
        return function_of(hook), ""
    except BaseException as error:  # noqa: BLE001 - what a module raises when it is imported, sys.exit() included
        fault = line_of(_told(error))

    def missing(_: Page) -> Mapping[str, Any]:
        raise _MissingError(f"{shown(hook)} cannot be loaded: {fault}")

    return missing, fault


def _told(error: BaseException) -> str:
    """An exception in a line: a sentence of ours as it is, else what it is and where it was raised."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a hook's own exception may not even say what it is
        text = ""
    if isinstance(error, ModuleNotFoundError):
        return f"{text}: it was looked for in the current folder, and where Python looks"
    if isinstance(error, FaircrawlError):
        return text
    return f"{type(error).__name__}{': ' if text else ''}{text} at {place_of(error)}"


def _placed(error: BaseException) -> str:
    return f"{type(error).__name__} at {place_of(error)}"


def _page(call: Call, body: bytes, fields: Mapping[str, Any]) -> Page:
    page = Page(
        call.url,
        crawl=call.crawl,
        depth=call.depth,
        status=call.status,
        headers=Headers(call.headers),
        body=body,
        content_type=call.content_type,
        charset=call.charset,
        title=call.title,
        language=call.language,
        directives=call.directives,
        digest=call.digest,
        fetched_at=datetime.now(UTC),
        fields=fields,
    )
    vars(page)["links"] = (
        call.links
    )  # the worker has read them already: what is asked for first is kept there
    return page


if __name__ == "__main__":
    try:
        main()
    finally:
        _leave()
