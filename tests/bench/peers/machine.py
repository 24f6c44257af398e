"""On what it was measured, and with which versions."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from crawler.adapters.binaries import default_data_dir, find_binaries
from tests.broker import Programs

ROOT = Path(__file__).parents[3]


def machine() -> str:
    """Processors, memory and system, in one line."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    size = f"{int(memory[1]) * 1024 / 1e9:.0f} GB of memory" if memory else "memory unknown"
    return ", ".join(
        [f"{os.cpu_count()} processors ({model[1] if model else platform.machine()})", size, _system()]
    )


def versions() -> dict[str, str]:
    """Of all that took part on our side, and of the web server."""
    binaries = find_binaries(default_data_dir())
    found = {
        "Faircrawl": _faircrawl(),
        "Python": platform.python_version(),
        "uvloop": _package("uvloop"),
        "aiohttp": _package("aiohttp"),
        "PostgreSQL": _said([binaries.postgres, "--version"], r"([\d.]+)"),
        "RabbitMQ": _rabbit(),
        "nginx": _said(
            [shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nginx", "-v"], r"/([\d.]+)"
        ),
    }
    return {name: value for name, value in found.items() if value}


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux"
    return f"{name}, kernel {platform.release()}"


def _faircrawl() -> str:
    commit = _said(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], r"(\w+)")
    changed = _said(
        ["git", "-C", ROOT, "status", "--porcelain", "--", "crawler", "scheduler", "migrations"], r"(.)"
    )
    at = f" ({commit}{', and changes since' if changed else ''})" if commit else ""
    return _package("faircrawl") + at


def _rabbit() -> str:
    programs = Programs.find()
    if programs is None:
        return ""
    for path in Path(programs.folder).parent.glob("lib/rabbitmq_server-*"):
        return path.name.partition("-")[2]
    text = str(programs.folder)
    found = re.search(r"(\d+\.\d+\.\d+)", text)
    return found[1] if found else "version unknown"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _said(command: Sequence[str | Path], pattern: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return ""
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found and not done.returncode else ""
