"""`make test-deploy`: the image is built and the Compose file started, for real; every step is judged, and nothing is left behind.

    images ──► workers before what they need ──► seed ──► kill a worker ──► all is crawled ──► API, Prometheus, health, secrets
                                                                                └──► stop one, stop all, look for leftovers

It runs as root on Debian, without Docker and without an image registry. Images are kept in build/containers for the next run.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.deploy.containers import images
from tests.deploy.containers.cluster import Cluster, leftovers, sweep
from tests.deploy.containers.machinery import (
    PLACE,
    FailedError,
    MachineError,
    adopt,
    complain,
    is_inside,
    prepare,
    run,
    settle,
    tidy,
    withdraw,
)
from tests.deploy.containers.steps import STEPS

STOPPED: Final = 30.0
"""Seconds after which what was stopped has ended."""


def tell(words: str) -> None:
    """A line of progress."""
    print(words, flush=True)  # noqa: T201 - a program's output


@contextlib.contextmanager
def step(words: str) -> Iterator[list[str]]:
    """A step, with the seconds that it took; what is added to the list is told with it."""
    began, notes = time.monotonic(), list[str]()
    try:
        yield notes
    except BaseException:
        tell(f"FAILED {words} ({time.monotonic() - began:.1f} s)")
        raise
    tell(f"ok     {words} ({time.monotonic() - began:.1f} s)" + "".join(f"\n       {note}" for note in notes))


def build() -> None:
    """Everything that needs the network of the machine."""
    with step("podman, buildah and podman-compose are here"):
        prepare()
    with step("Debian with its Python stands for " + images.base()) as notes:
        notes.append("made" if images.make_base() else "kept from an earlier run")
    for service in images.STAND_INS:
        with step(f"Debian's {service} stands for {images.image_of(service)}"):
            images.make_stand_in(service)
    with step("the image is built"):
        name = images.make_ours()
        images.forget_old()
    with step("its layers are small, and what it says of itself is right") as notes:
        judge(name, notes)


def judge(name: str, notes: list[str]) -> None:
    """The image, as it lies there."""
    sizes = images.layers(name)
    notes += [f"{size / 1e6:7.1f} MB  {' '.join(made.split())[:90]}" for size, made in sizes]
    total = sum(size for size, _ in sizes)
    notes.append(f"{total / 1e6:7.1f} MB  in all, of {images.LIMIT / 1e6:.0f}")
    assert total < images.LIMIT
    said = images.config(name)["Config"]
    assert (said["User"], said["StopSignal"], said["Entrypoint"]) == ("10001:10001", "SIGTERM", ["crawl"])
    assert said["Labels"]["org.opencontainers.image.version"] == images.version()
    found = run(
        "podman", "run", "--rm", "--net", "none", "--read-only", "--no-healthcheck", "--entrypoint", "sh", name, "-c",
        "id -u; command -v cc gcc c99 tcc clang ld as; find / -xdev -writable -type f -not -path '/proc/*' 2>/dev/null; crawl --version",
    )  # fmt: skip
    assert found.split("\n") == ["10001", f"faircrawl {images.version()}", ""], found


def live(folder: Path) -> None:
    """All that happens while containers run."""
    with step("the namespace is ours"):
        settle()
        adopt()
        sweep()
        assert not any(leftovers().values()), leftovers()
    cluster = Cluster(folder)
    try:
        for words, judged in STEPS:
            with step(words) as notes:
                notes.extend(judged(cluster))
        with step("everything is stopped, and nothing is left") as notes:
            cluster.stop()
            deadline = time.monotonic() + STOPPED
            while any(left := leftovers().values()) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert not any(left), leftovers()
    except BaseException:
        show(cluster)
        raise
    finally:
        with contextlib.suppress(FailedError):
            sweep()


def show(cluster: Cluster) -> None:
    """The last words of every container."""
    with contextlib.suppress(Exception):
        for one in cluster.containers():
            state = one.state
            tell(f"---- {one.name}: {state['Status']}, exit status {state['ExitCode']}\n{one.log()[-3000:]}")


def main() -> int:
    """The whole, or the part of it that runs within the namespaces."""
    began = time.monotonic()
    try:
        if is_inside():
            live(Path(sys.argv[1]))
            return 0
        build()
        folder = tempfile.mkdtemp(prefix="faircrawl-test-deploy-")
        try:
            child = os.fork()
            if child == 0:
                withdraw([sys.executable, "-m", "tests.deploy.containers.run", folder])
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        with step("the machine is as it was"):
            tidy()
            assert not [
                line for line in Path("/proc/mounts").read_text("utf-8").splitlines() if str(PLACE) in line
            ]
    except MachineError as error:
        complain(str(error))
    except (FailedError, AssertionError) as error:
        complain(str(error) or "that is not as it should be")
    if status == 0:
        tell(f"passed in {time.monotonic() - began:.0f} s")
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
