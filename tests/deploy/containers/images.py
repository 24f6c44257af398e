"""The images: stand-ins for those of a registry, made from Debian's packages, and our own, built as deploy/Dockerfile says.

    debootstrap ──► python:3.11-slim-bookworm ─┬─► deploy/Dockerfile ──► faircrawl
                    (Debian, and its Python)   └─► containers/*/Dockerfile ──► postgres, rabbitmq, prometheus

Layers are kept: a second run makes those again that something changed in.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.containers.machinery import FETCHING, ROOT, FailedError, run

HERE: Final = Path(__file__).parent
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
STAND_INS: Final = ("postgres", "rabbitmq", "prometheus")
"""Services with an image of a registry, which folders here stand in for."""
LIMIT: Final = 150_000_000
"""Bytes that our layers may take, as they lie on a disk."""
BUILD: Final = (
    "buildah",
    "bud",
    "--format",
    "docker",
    "--layers",
    "--isolation",
    "chroot",
    "--network",
    "host",
)
"""In a chroot: it needs no network of containers, and has the machine's."""


def version() -> str:
    """Of the program."""
    (found,) = re.findall(r"(?m)^version = (\S+)$", (ROOT / "setup.cfg").read_text("utf-8"))
    return str(found)


def base() -> str:
    """The image that deploy/Dockerfile begins with."""
    (found,) = re.findall(r"(?m)^ARG PYTHON=(\S+)$", DOCKERFILE.read_text("utf-8"))
    return str(found)


def image_of(service: str) -> str:
    """The image that the Compose file names for a service."""
    return str(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"][service]["image"])


def is_there(image: str) -> bool:
    """Whether it was made before."""
    try:
        run("podman", "image", "exists", image)
    except FailedError:
        return False
    return True


def make_base() -> bool:
    """Debian with its Python, under the name of the image that stands for it; False: it was there."""
    if is_there(base()):
        return False
    with tempfile.TemporaryDirectory(prefix="faircrawl-debian-") as folder:
        with_python = "--include=ca-certificates,python3,python3-venv,python3-pip"
        run("debootstrap", "--variant=minbase", with_python, "bookworm", folder, within=FETCHING)
        root = Path(folder)
        for package in root.glob("var/cache/apt/archives/*.deb"):
            package.unlink()
        (root / "usr" / "bin" / "python").symlink_to("python3")
        archive = f"tar -C {folder} -c . | podman import - {base()}"
        run("bash", "-o", "pipefail", "-c", archive, within=FETCHING)
    return True


def make_stand_in(service: str) -> None:
    """What stands for an image of a registry."""
    run(*BUILD, "-t", image_of(service), HERE / service, within=FETCHING)


def make_ours() -> str:
    """The image that is shipped: its name."""
    name = f"faircrawl:{version()}"
    # The machine's authorities, where a package index is behind one of its own; no layer has them.
    trusted = ("-v", "/etc/ssl/certs:/etc/ssl/certs:ro") if Path("/etc/ssl/certs").is_dir() else ()
    run(
        *BUILD, *trusted, "--build-arg", f"VERSION={version()}", "-f", DOCKERFILE, "-t", name, ROOT, within=FETCHING * 2
    )  # fmt: skip
    return name


def forget_old() -> None:
    """Remove the layers of yesterday and before that no image needs any more."""
    run("podman", "image", "prune", "--force", "--filter", "until=24h", within=FETCHING)


def layers(image: str) -> list[tuple[int, str]]:
    """What each layer over the base image takes on a disk, and what made it; the empty ones are left out."""
    history: list[dict[str, Any]] = json.loads(run("podman", "history", "--format", "json", image))
    below = len(json.loads(run("podman", "history", "--format", "json", base())))
    ours = history[: len(history) - below]
    return [(int(one["size"]), str(one["CreatedBy"])) for one in reversed(ours) if one["size"]]


def config(image: str) -> dict[str, Any]:
    """What an image says of itself."""
    (found,) = json.loads(run("podman", "image", "inspect", image))
    return dict(found)
