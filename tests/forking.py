"""`crawl`, run to its end in a fork of a process that has imported it: half of what a short command costs is to import itself.

    tester ──► fork server (multiprocessing's: it has imported crawler, and has no thread) ──► one fork a command

What is started and not waited for, or stopped by a signal, is a program of its own: `tests.system.program`, `tests.system.machines`.
"""

import asyncio
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from crawler.cli import COMMANDS, main

ROOT: Final = Path(__file__).parents[1]
CONTEXT: Final = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forking", *(module for module, _ in COMMANDS.values())])


def crawl(
    *arguments: str, env: Mapping[str, str], cwd: Path = ROOT, stdin: bytes = b"", timeout: float = 120
) -> "subprocess.CompletedProcess[bytes]":
    """Run it to its end: its status, and what it wrote. Raises subprocess.TimeoutExpired."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stdin").write_bytes(stdin)
        process = CONTEXT.Process(target=_be, args=(arguments, dict(env), str(cwd), folder))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
            raise subprocess.TimeoutExpired(arguments, timeout)
        status = process.exitcode
        process.close()
        out, err = ((folder / stream).read_bytes() for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess(arguments, status, out, err)


async def crawled(*arguments: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """As `crawl`, while the loop goes on."""
    return await asyncio.to_thread(crawl, *arguments, env=env)


def _be(arguments: Sequence[str], env: Mapping[str, str], cwd: str, folder: Path) -> None:
    be(arguments, env, cwd, [str(folder / stream) for stream in ("stdin", "stdout", "stderr")])


def be(arguments: Sequence[str], env: Mapping[str, str], cwd: str, files: Sequence[str]) -> None:
    """Be the program, in a process that was made for it. *files*: where it reads, where it writes, and where it complains."""
    os.setsid()
    gc.freeze()
    random.seed()
    for number, (file, flags) in enumerate(
        zip(files, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it ends with the process
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [str(ROOT / "crawler" / "__main__.py"), *arguments]
    main(list(arguments))
