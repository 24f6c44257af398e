"""What the bench needs besides us: the peers in an environment of their own, and programs of the system.

requirements.txt ──► cache/peers-KEY/ (venv, every version fixed) ──► python
wget2, nginx     ──► there, or apt-get install as root on Debian, or missing: which is said, never passed over
"""

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.measuring import BenchError, note

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
PATIENCE: Final = 900.0


def cache() -> Path:
    """Where what takes long to get is kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "faircrawl-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def peers_python() -> Path:
    """The Python that has the peers; made if it is not there.

    Raises:
        BenchError: They cannot be installed.
    """
    key = zlib.crc32(f"{REQUIREMENTS.read_text()}{sys.version}{sys.prefix}".encode())
    folder = cache() / f"peers-{key:08x}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        note(f"installing the peers into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        quietly([sys.executable, "-m", "venv", folder], "no environment can be made for the peers")
        install_all: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        quietly([*install_all, "--requirement", REQUIREMENTS], "the peers cannot be installed")
        (folder / "ready").touch()
    return python


def version_of(package: str) -> str:
    """The version of a peer: the one that is fixed."""
    found = re.search(
        rf"^{package}(?:\[\w+\])?==(\S+)$", REQUIREMENTS.read_text(), re.MULTILINE | re.IGNORECASE
    )
    if found is None:
        raise BenchError(f"{REQUIREMENTS} does not name {package}")
    return found[1]


def install(package: str) -> bool:
    """Install a package of the system, if we may; True: it is there now."""
    if os.getuid() or shutil.which("apt-get") is None:
        return False
    note(f"installing {package}")
    return apt("install", "--yes", "--no-install-recommends", package)


def apt(*words: str | Path, folder: Path | None = None) -> bool:
    """Let apt-get do something; when it cannot and we are root, with fresh lists once more. True: it is done."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def run(*more: str | Path) -> bool:
        # Its own user may not write where we want it to, and it warns of that.
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", *more]
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, timeout=PATIENCE, check=False
        )
        return not done.returncode

    return run(*words) or (not os.getuid() and run("update") and run(*words))


def quietly(command: Sequence[str | Path], failure: str, cwd: Path | None = None) -> None:
    """Run something that has nothing to say unless it fails.

    Raises:
        BenchError: *failure*, and what it said last.
    """
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
    )
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise BenchError(f"{failure}: {words[-1] if words else f'status {done.returncode}'}")
