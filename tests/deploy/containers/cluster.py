"""The Compose file, started: a copy of it with secrets of its own, its containers, and what they say.

docker-compose.yml, deploy/, override.yml ──copied──► a folder ──podman-compose──► containers ──► logs, health, API
"""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tests.deploy.containers.images import HERE, version
from tests.deploy.containers.machinery import PLACE, ROOT, FailedError, environment, run

PROJECT: Final = "faircrawl-test"
DIRECT: Final = build_opener(ProxyHandler({}))
DASHBOARD: Final = "http://127.0.0.1:8080"
"""As it is published."""
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks at what tells nobody when it changes."""
STOPPING: Final = 300
OF_THE_ENGINE: Final = {
    "conmon", "runc", "podman", "netavark", "aardvark-dns", "postgres", "beam.smp", "crawl", "prometheus"
}  # fmt: skip
"""Programs that run only because containers do: how the kernel calls them."""


def until(what: str, within: float, look: Callable[[], object]) -> Any:
    """The first thing that *look* finds that is true. What is not there yet, or says no, is asked again."""
    deadline, why = time.monotonic() + within, "nothing was found"
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (FailedError, URLError, OSError, ValueError, KeyError) as error:
            why = str(error)
        time.sleep(LOOK_AGAIN)
    raise AssertionError(f"{what}: not within {within:g} s ({why[-500:]})")


def get(url: str, token: str = "", **query: str) -> Any:
    """What an address answers, from JSON."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = Request(f"{url}?{urlencode(query)}" if query else url, headers=headers)  # noqa: S310 - of ours
    with DIRECT.open(asked, timeout=10) as answer:
        return json.loads(answer.read())


@dataclass(frozen=True, slots=True)
class Container:
    """One that was started."""

    name: str
    service: str

    def facts(self) -> dict[str, Any]:
        """All that the engine knows of it."""
        (found,) = json.loads(run("podman", "container", "inspect", self.name))
        return dict(found)

    @property
    def state(self) -> dict[str, Any]:
        """Whether it runs, since when, and how it ended."""
        return dict(self.facts()["State"])

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return bool(self.state["Running"])

    def log(self) -> str:
        """What it has said, on both channels."""
        done = subprocess.run(
            ["podman", "logs", self.name], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")

    def says(self, words: str) -> bool:
        """Whether its log has these words."""
        return words in self.log()

    def address(self, network: str) -> str:
        """Where it is in a network of the project's."""
        return str(self.facts()["NetworkSettings"]["Networks"][f"{PROJECT}_{network}"]["IPAddress"])

    def is_healthy(self) -> bool:
        """Whether its health check passes; nobody runs them by themselves where there is no systemd."""
        try:
            run("podman", "healthcheck", "run", self.name, within=60)
        except FailedError:
            return False
        return True


class Cluster:
    """The project, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("docker-compose.yml", "deploy"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            else:
                shutil.copy(source, folder / name)
        for name in ("override.yml", "web.py"):
            shutil.copy(HERE / name, folder / name)
        (folder / ".env").write_text(
            f"CRAWL_CONTACT=https://example.com/our-crawler\nFAIRCRAWL_VERSION={version()}\n"
        )
        self.told = run("sh", folder / "deploy" / "secrets.sh")

    def secrets(self) -> dict[str, str]:
        """What nobody may say, by the names of the files."""
        return {
            file.name: text
            for file in sorted((self.folder / "secrets").iterdir())
            if (text := file.read_text().strip())
        }

    @property
    def token(self) -> str:
        """What the API asks for."""
        return self.secrets()["crawl_api_token"]

    def compose(self, *words: str, within: float = 300) -> str:
        """Run podman-compose."""
        files = ("-f", "docker-compose.yml", "-f", "override.yml")
        profiles = ("--profile", "monitoring", "--profile", "tools")
        return run(
            "podman-compose", "-p", PROJECT, *files, *profiles, *words, within=within, folder=self.folder
        )

    def start(self, *services: str, scale: str = "") -> None:
        """Start these services and no others."""
        scaled = ("--scale", scale) if scale else ()
        self.compose("up", "-d", "--no-build", "--no-deps", *scaled, *services)

    def containers(self, *services: str) -> list[Container]:
        """Those of these services, or all, in the order of their names."""
        listed = json.loads(
            run(
                "podman",
                "ps",
                "--all",
                "--format",
                "json",
                "--filter",
                f"label=io.podman.compose.project={PROJECT}",
            )
        )
        found = [Container(one["Names"][0], one["Labels"]["com.docker.compose.service"]) for one in listed]
        return sorted(
            (one for one in found if not services or one.service in services), key=lambda one: one.name
        )

    def one(self, service: str) -> Container:
        """The only one of a service."""
        (found,) = self.containers(service)
        return found

    def api(self, path: str, **query: str) -> Any:
        """What the dashboard's API answers."""
        return get(f"{DASHBOARD}/api/{path}", self.token, **query)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Those that the web has answered, in order."""
        for line in self.one("web").log().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def stop(self) -> None:
        """Everything, with its volumes and networks; what depends on something first, as Docker does it."""
        at_work = self.containers("worker", "scheduler", "dashboard")
        run("podman", "stop", "--time", "45", *(one.name for one in at_work), within=STOPPING)
        ended = {one.name: one.state["ExitCode"] for one in at_work}
        assert not any(ended.values()), ended
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "45", within=STOPPING)


def leftovers() -> dict[str, list[str]]:
    """What of containers, volumes, networks and pods the engine still has, and which processes of it run."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            name, _, state = (folder / "stat").read_text("utf-8").partition(" (")[2].rpartition(") ")
            if name in OF_THE_ENGINE and not state.startswith("Z"):
                processes.append(f"{folder.name} {name}")
    return {
        "containers": run("podman", "ps", "--all", "--format", "{{.Names}}").split(),
        "pods": run("podman", "pod", "ps", "--format", "{{.Name}}").split(),
        "volumes": run("podman", "volume", "ls", "--format", "{{.Name}}").split(),
        "networks": [
            name
            for name in run("podman", "network", "ls", "--format", "{{.Name}}").split()
            if name != "podman"
        ],
        "processes": processes,
        "bridges": [
            line.split(":")[1].strip()
            for line in run("ip", "-o", "link", "show", "type", "bridge").splitlines()
        ],
    }


def sweep() -> None:
    """What a run that was killed has left in the engine's files."""
    run("podman", "pod", "rm", "--all", "--force")
    run("podman", "rm", "--all", "--force", "--volumes", "--time", "0")
    for one in run("podman", "ps", "--all", "--external", "--quiet").split():
        run("podman", "rm", "--force", one)
    run("podman", "volume", "rm", "--all", "--force")
    shutil.rmtree(PLACE / "storage" / "volumes", ignore_errors=True)
    run("podman", "network", "prune", "--force")
