"""podman and buildah on a machine of Debian, with everything that they keep in one folder: nothing of the machine is changed.

    apt-get (what is missing) ──► build/containers/{storage,venv} ──► a namespace of our own ──► podman, buildah, podman-compose
                                     images, kept for the next run     network, mounts, processes: gone with the last of them

1. The engine's files, networks and sockets are below `PLACE` and on a /run of our own, never in /etc or /var.
2. What runs, runs in a network without a way out of the machine, and ends with us, also when we are killed.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

ROOT: Final = Path(__file__).parents[3]
PLACE: Final = ROOT / "build" / "containers"
CONFIG: Final = PLACE / "config"
COMPOSE: Final = "podman-compose==1.6.0"
PROGRAMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "podman": "podman",
        "buildah": "buildah",
        "runc": "runc",
        "iptables": "iptables",
        "debootstrap": "debootstrap",
        "/usr/lib/podman/netavark": "netavark",
        "/usr/lib/podman/aardvark-dns": "aardvark-dns",
        "ip": "iproute2",
        "unshare": "util-linux",
    }
)
"""What is needed, and the package of Debian's that it comes with."""
FETCHING: Final = 900
GROUPS: Final = Path("/sys/fs/cgroup")
INSIDE: Final = "FAIRCRAWL_TEST_INSIDE"
FOLDERS_OF_OURS: Final = (
    "/run/faircrawl-test",
    "/run/containers",
    "/run/netns",
    "/run/libpod",
    "/run/crun",
    "/run/runc",
)
"""Where the engine writes whatever it is told."""

# runc, because crun refuses hybrid cgroups; no systemd, and limits that any machine grants.
CONTAINERS: Final = """\
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
[network]
network_backend = "netavark"
network_config_dir = "{place}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "/run/faircrawl-test/libpod"
"""
STORAGE: Final = """\
[storage]
driver = "overlay"
graphroot = "{place}/storage"
runroot = "/run/faircrawl-test/storage"
"""


class MachineError(Exception):
    """This machine cannot run containers for the test, and why."""


class FailedError(Exception):
    """A program that must succeed did not."""


def environment() -> dict[str, str]:
    """That of every program here."""
    return {
        **os.environ,
        "CONTAINERS_CONF": str(CONFIG / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(CONFIG / "storage.conf"),
        "PATH": f"{PLACE / 'venv' / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
    }


def run(
    *command: str | Path, within: float = 120, folder: Path | None = None, given: bytes | None = None
) -> str:
    """Run a program to its end: what it printed. Raises FailedError."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment(), input=given or b"", capture_output=True, timeout=within, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FailedError(f"{' '.join(words)}: not done within {within:g} s") from None
    if done.returncode:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise FailedError(f"{' '.join(words)}: exit status {done.returncode}\n{said[-4000:]}")
    return done.stdout.decode("utf-8", "replace")


def prepare() -> None:
    """Install what is missing, and write the engine's configuration. Raises MachineError."""
    if os.geteuid() != 0:
        raise MachineError("it starts containers: run it as root")
    missing = sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})
    if missing:
        if not shutil.which("apt-get"):
            raise MachineError(
                f"this is no Debian: install {', '.join(missing)} (or what they are called here) first"
            )
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        run("apt-get", "-qq", "update", within=FETCHING)
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing, within=FETCHING)
    CONFIG.mkdir(parents=True, exist_ok=True)
    for name, text in (("containers.conf", CONTAINERS), ("storage.conf", STORAGE)):
        (CONFIG / name).write_text(text.format(place=PLACE))
    folder = PLACE / "venv"
    if not (folder / "bin" / "podman-compose").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, COMPOSE, within=FETCHING)


def withdraw(command: Sequence[str]) -> NoReturn:
    """Become this command in namespaces of its own: mounts, network, processes. All that it starts ends with it."""
    os.environ[INSIDE] = "1"
    ctypes.CDLL(None).prctl(
        1, 9, 0, 0, 0
    )  # PR_SET_PDEATHSIG: who kills us kills it, and with it all that it began
    spaces = (
        "--mount",
        "--propagation",
        "private",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    )
    os.execvp("unshare", ["unshare", *spaces, "--", *command])  # noqa: S606 - no shell, and that is meant


def settle() -> None:
    """Make the namespaces habitable: a loopback, and folders under /run that are ours alone."""
    run("ip", "link", "set", "lo", "up")
    for folder in FOLDERS_OF_OURS:
        Path(folder).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "faircrawl-test", folder)


def is_inside() -> bool:
    """Whether this is the process within the namespaces."""
    return os.environ.get(INSIDE) == "1"


def adopt() -> None:
    """Have orphans become children of ours: in the namespace we are the first process, or next to it."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def tidy() -> None:
    """Remove the empty folders that the engine leaves, of control groups and under /run; those in use stay."""
    groups = [folder for found in GROUPS.glob("*/libpod_parent") for folder in (*found.rglob("*/"), found)]
    for folder in (*sorted(groups, reverse=True), *map(Path, FOLDERS_OF_OURS[1:])):
        with contextlib.suppress(OSError):
            folder.rmdir()
    shutil.rmtree(FOLDERS_OF_OURS[0], ignore_errors=True)


def complain(words: str) -> NoReturn:
    """End with one line."""
    sys.exit(f"test-deploy: {words}")
