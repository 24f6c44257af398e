"""A shell in which `crawl` is a fork of a process that has imported it, and a notebook beside it.

    bash ──crawl ...──► a function of ten lines ──its arguments, environment, folder──► tester ──► fork server ──► crawl
                            └── what it writes and reads there is the shell's

An example costs a tenth of a second so, and pipes, redirections and variables are those of a real shell.
"""

import ast
import asyncio
import contextlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from inspect import CO_COROUTINE
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.forking import CONTEXT, be

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ASK: Final = """\
crawl() {{
  local there in out err pid status
  exec {{there}}<>/dev/tcp/127.0.0.1/{port} {{in}}<&0 {{out}}>&1 {{err}}>&2
  {{ printf '%s\\0' /proc/$BASHPID/fd/{{$in,$out,$err}} "$PWD" $# "$@"; env -0; printf '\\0'; }} >&$there
  read -r -u $there pid
  trap "kill -TERM $pid" TERM
  until read -r -u $there status; do :; done
  exec {{there}}>&- {{in}}<&- {{out}}>&- {{err}}>&-
  return $status
}}
"""
"""What `crawl` is in the shell: a function, for another program would cost as much as the command. It passes SIGTERM on."""
_DONE: Final = re.compile(rb"\n@@done (\d+)\n")
_PATIENCE: Final = 60.0


class Crawls:
    """Where the shells ask for their forks. A thread for each."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.function = ASK.format(port=self._server.getsockname()[1])
        """For the shell."""
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def close(self) -> None:
        """No more of them."""
        self._server.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                asked, _ = self._server.accept()
                thread = threading.Thread(target=self._serve, args=(asked,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, asked: socket.socket) -> None:
        with asked:
            files, cwd, arguments, env = _request(asked)
            process = CONTEXT.Process(target=be, args=(arguments, env, cwd, files))
            process.start()
            asked.sendall(b"%d\n" % (process.pid or 0))
            process.join()
            status = process.exitcode or 0
            process.close()
            with contextlib.suppress(OSError):  # the shell was killed
                asked.sendall(b"%d\n" % (status & 0xFF))


def _request(asked: socket.socket) -> tuple[list[str], str, list[str], dict[str, str]]:
    """Three files, a folder, the arguments and the environment: texts with a NUL behind each, and another one at the end."""
    said = b""
    while True:
        said += asked.recv(1 << 16)
        *texts, _ = said.decode().split("\0")
        start = 5 + int(texts[4]) if len(texts) > 4 else 0
        if start and len(texts) > start and not texts[-1]:
            return texts[:3], texts[3], texts[5:start], dict(text.split("=", 1) for text in texts[start:-1])


class Shell:
    """One bash, from the first statement to the last."""

    def __init__(self, crawls: Crawls, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self._bash = subprocess.Popen(
            ["bash", "--norc", "-o", "pipefail"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(env),
            process_group=0,  # and no session: a terminal that it opens would be its own, and end it
        )

        self._said(f'{crawls.function}printf "\\n@@done 0\\n"\n')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    def run(self, statement: str, typed: str = "") -> tuple[int, str]:
        """Its status, and what it wrote. *typed*: by somebody at a terminal; empty: there is nobody."""
        if not typed:
            return self._said(f'{{ {statement}\n}} < /dev/null; printf "\\n@@done %d\\n" $?\n')
        person, terminal = pty.openpty()
        try:
            os.write(person, typed.encode())
            return self._said(f'{{ {statement}\n}} < {os.ttyname(terminal)}; printf "\\n@@done %d\\n" $?\n')
        finally:
            os.close(person)
            os.close(terminal)

    def start(self, statement: str) -> "Service":
        """Start what goes on until it is told to stop."""
        out = self.folder / f".service-{os.urandom(4).hex()}"
        _, said = self._said(
            f'{statement} < /dev/null > {out} 2> {out}.err & printf "pid %d\\n\\n@@done 0\\n" $!\n'
        )
        return Service(int(said.split()[1]), out, self)

    def wait(self, pid: int) -> int:
        """The status of a service that ends."""
        return self._said(f'wait {pid}; printf "\\n@@done %d\\n" $?\n')[0]

    def _said(self, text: str) -> tuple[int, str]:
        stdin, stdout = self._bash.stdin, self._bash.stdout
        if stdin is None or stdout is None:
            raise AssertionError(self._bash)
        stdin.write(text.encode())
        stdin.flush()
        said = b""
        while (found := _DONE.search(said)) is None:
            readable, _, _ = select.select([stdout], [], [], _PATIENCE)
            piece = os.read(stdout.fileno(), 1 << 16) if readable else b""
            if not piece:
                raise AssertionError(
                    f"the shell has ended, or goes on and on: {text}{said.decode(errors='replace')}"
                )
            said += piece
        return int(found[1]), said[: found.start()].decode(errors="replace")


class Service:
    """A command that goes on."""

    def __init__(self, pid: int, out: Path, shell: Shell) -> None:
        self.folder = shell.folder
        self._pid = pid
        self._out = out
        self._shell = shell

    def said(self) -> str:
        """What it has written so far."""
        files = (self._out, self._out.with_name(f"{self._out.name}.err"))
        return "".join(file.read_text() for file in files if file.exists())

    def stop(self) -> int:
        """End it by SIGTERM: its status."""
        os.kill(self._pid, signal.SIGTERM)
        return self._shell.wait(self._pid)


class Notebook:
    """Cells that share their names, run in a fork while a loop runs, as a notebook does."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._here, there = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_cells, args=(there, str(folder), dict(env)))
        self._process.start()
        there.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.send(None)
        self._process.join(20)
        self._process.kill()
        self._process.close()

    def run(self, cell: str, timeout: float = 60) -> tuple[str, str]:
        """What it printed, and what it raised, as a traceback."""
        self._here.send(cell)
        if not self._here.poll(timeout):
            raise AssertionError(f"it goes on and on: {cell}")
        try:
            printed, raised = self._here.recv()
        except EOFError:
            raise AssertionError(f"the notebook died: {cell}") from None
        return printed, raised


def _cells(there: "Connection[Any, Any]", folder: str, env: dict[str, str]) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.path.insert(0, folder)
    printed = Path(folder) / ".printed"
    names: dict[str, Any] = {"__name__": "__main__"}

    async def run_all() -> None:
        while (cell := await asyncio.to_thread(there.recv)) is not None:
            with printed.open("w") as out, contextlib.redirect_stdout(out):
                raised = await _raised_by(cell, names)
            there.send((printed.read_text(), raised))

    asyncio.run(run_all())


async def _raised_by(cell: str, names: dict[str, Any]) -> str:
    try:
        code = compile(cell, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        found = eval(code, names)  # noqa: S307 - our own documents
        if code.co_flags & CO_COROUTINE:
            await found
    except Exception:  # noqa: BLE001 - it is told
        return traceback.format_exc()
    return ""


@contextlib.contextmanager
def crawls() -> Iterator[Crawls]:
    """As long as the body runs."""
    found = Crawls()
    try:
        yield found
    finally:
        found.close()
