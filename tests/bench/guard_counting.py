"""Instructions of the work that is the same for every page: parse, text, links, digest, compress, under valgrind.

They are the same number each time, whatever else the machine does: a change of one in a thousand is a change of the code.
They are not time: an instruction may wait for memory. So they stand beside the processor time of whole crawls, not in its place.
"""

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.guard_trees import Tree
from tests.bench.measuring import BenchError
from tests.bench.profile_web import Site, host_of, path_of

PAGES: Final = 12
TIMES: Final = 2
PATIENCE: Final = 900.0
SCRIPT: Final = Path(__file__).with_name("guard_pages.py")
_COUNTED: Final = re.compile(r"^==(\d+)== I +refs: +([\d,]+)", re.MULTILINE)


def can_count() -> bool:
    """Whether there is a valgrind."""
    return shutil.which("valgrind") is not None


def write_pages(folder: Path) -> None:
    """The pages that are read, the same for all time."""
    site = Site(1, 500, "http://{}")
    for number in range(PAGES):
        page = site.page(host_of(0), path_of(number * 41))
        if page is None:
            raise AssertionError(number)
        (folder / f"{number:03}").write_bytes(page)


async def instructions(tree: Tree, pages: Path, python: str = sys.executable) -> float:
    """How many instructions a page takes in a tree.

    Raises:
        BenchError: its pages cannot be read in this way, or valgrind cannot run them.
    """
    command = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
        python,
        "-P",
    ]
    command += [str(SCRIPT), str(pages), str(TIMES)]
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(tree.path),
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environ,
        cwd=tree.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            _, said = await process.communicate()
    except TimeoutError:
        raise BenchError(
            f"valgrind did not end in {PATIENCE:.0f} s: leave it out with --no-instructions"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return counted(said.decode(errors="replace"), tree) / (PAGES * TIMES)


def counted(said: str, tree: Tree) -> int:
    """The difference between what the two processes took. Raises `BenchError`."""
    counts = sorted(int(count.replace(",", "")) for _, count in _COUNTED.findall(said))
    if len(counts) != 2:
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith("==")]
        raise BenchError(
            f"instructions of {tree.name}: {lines[-1] if lines else 'valgrind has counted none'}"
        )
    return counts[1] - counts[0]
