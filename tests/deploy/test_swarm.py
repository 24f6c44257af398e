"""The stack for a swarm: what a schema says of it, and what `docker stack deploy` would pass over, refuse or regret."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.files import ROOT
from tests.deploy.parts import GIVEN, STACK, UngivenError, read
from tests.deploy.swarm_rules import faults, stack

PAGE: Final = ROOT / "docs" / "swarm.md"
SCHEMA: Final = Path(sys.executable).parent / "check-jsonschema"
"""It brings the schema of the Compose specification with it."""


def valid(file: Path) -> tuple[bool, str]:
    """Whether the schema of the Compose specification has nothing against a file, and what it said."""
    done = subprocess.run(
        [SCHEMA, "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


def test_schema() -> None:
    """The stack is a file of the Compose specification."""
    good, said = valid(STACK)

    assert good, said


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("stop_grace_period: 45s", "stop_grace: 45s"),
        ("order: stop-first", "order: best"),
        ("replicas: 1", "replicas: [1]"),
    ],
)
def test_the_schema_is_asked(tmp_path: Path, text: str, other: str) -> None:
    """A key or a value that there is not is found."""
    file = tmp_path / "stack.yml"
    file.write_text(STACK.read_text("utf-8").replace(text, other), "utf-8")

    assert not valid(file)[0]


def test_nothing_is_at_fault() -> None:
    """A swarm does all that the stack says, everything in it is declared and used, and nothing is open, careless or hasty."""
    assert faults(stack()) == []


BROKEN: Final[Sequence[tuple[str, Any, str]]] = (
    ("services.worker.depends_on", {"migrate": {"condition": "service_completed_successfully"}}, "worker: a swarm knows no depends_on"),
    ("services.worker.container_name", "w", "worker: a swarm knows no container_name"),
    ("services.worker.build", ".", "worker: a swarm knows no build"),
    ("services.worker.networks", ["crawls"], "networks: crawls is not declared"),
    ("secrets.other", {"external": True}, "secrets: other is used by nobody"),
    ("services.postgres.environment.POSTGRES_PASSWORD_FILE", "/run/secrets/pg", "postgres: has no secret pg"),
    ("services.postgres.ports", [{"target": 5432, "published": 5432}], "postgres: port 5432 is published"),
    ("networks.crawl.driver_opts", {}, "crawl: not an encrypted overlay"),
    ("secrets.crawl_api_token", {"file": "../../secrets/crawl_api_token"}, "crawl_api_token: a secret stands outside"),
    ("services.socket.networks", ["public"], "socket: has Docker's socket, and can be reached"),
    ("services.worker.deploy.resources.limits.memory", "256M", "worker: needs memory that is reserved"),
    ("services.postgres.deploy.placement", {}, "postgres: may be put on any machine"),
    ("services.traefik.logging", {}, "traefik: its log grows without end"),
    ("services.rabbitmq.healthcheck", {}, "rabbitmq: nobody asks"),
    ("services.migrate.deploy.update_config", {"order": "stop-first"}, "migrate: a job is not updated"),
    ("services.migrate.deploy.restart_policy", {}, "migrate: a job is not updated"),
    ("services.worker.deploy.update_config.failure_action", "pause", "worker: an update that fails"),
    ("services.worker.stop_grace_period", "30s", "worker: is killed before its open requests end"),
    ("services.scheduler.healthcheck.start_period", "60s", "scheduler: is killed while it waits"),
    ("services.dashboard.deploy.labels.traefik.http.routers.dashboard.middlewares", "strict", "dashboard: everything is open"),
    ("services.dashboard.deploy.labels.traefik.http.routers.dashboard.entrypoints", "web", "dashboard: without TLS"),
    ("services.dashboard.deploy.labels.traefik.http.routers.webmasters.middlewares", "lax", "there is no middleware lax"),
    ("services.dashboard.deploy.labels.traefik.http.routers.webmasters.rule", "PathPrefix(`/bot`)", "webmasters: /botany is open"),
    ("services.dashboard.deploy.labels.traefik.http.routers.webmasters.rule", "Path(`/docs`)", "webmasters: /docs is open"),
    ("services.dashboard.deploy.labels.traefik.http.middlewares.people.basicauth.removeheader", "false", "people: the dashboard"),
    ("services.dashboard.networks", ["crawl"], "dashboard: Traefik does not reach it"),
)  # fmt: skip


@pytest.mark.parametrize(("place", "value", "told"), BROKEN, ids=[told for *_, told in BROKEN])
def test_what_is_broken_is_told(place: str, value: object, told: str) -> None:
    """Each rule finds what it is for."""
    document = copy.deepcopy(stack())
    top, _, rest = place.partition(".labels.")
    *steps, last = [*top.split("."), *(["labels", rest] if rest else [])]
    inner: Any = document
    for step in steps:
        inner = inner[step]
    inner[last] = value

    assert [fault for fault in faults(document) if told in fault]


@pytest.mark.parametrize("name", GIVEN)
def test_what_must_be_given(name: str) -> None:
    """Without a contact, a name or an address the stack is not deployed."""
    with pytest.raises(UngivenError, match=name):
        read(STACK, {key: value for key, value in GIVEN.items() if key != name})


def test_what_is_said_has_no_hyphen() -> None:
    """Docker takes what follows a hyphen for a default, even in the words that say what is missing: then nothing would be."""
    words = re.findall(r"\$\{\w+:\?([^}]*)\}", STACK.read_text("utf-8"))

    assert words
    assert [one for one in words if "-" in one or ":+" in one] == []


def test_the_longer_rule_wins() -> None:
    """Traefik asks the router with the longest rule first: the one for webmasters."""
    labels = stack()["services"]["dashboard"]["deploy"]["labels"]

    assert len(labels["traefik.http.routers.webmasters.rule"]) > len(
        labels["traefik.http.routers.dashboard.rule"]
    )


def test_traefik_may_read_and_no_more() -> None:
    """Of Docker's API Traefik reaches what it finds services by, and can change nothing."""
    environment = stack()["services"]["socket"]["environment"]

    assert {name for name, value in environment.items() if value != "0"} == {
        "SERVICES",
        "TASKS",
        "NODES",
        "NETWORKS",
    }
    assert environment["POST"] == "0"


def test_connections() -> None:
    """PostgreSQL has connections for all, also while an update has two of each."""
    services = stack()["services"]
    most = {"worker": 8, "scheduler": 9, "dashboard": 9}
    wanted = 2 * sum(int(services[name]["deploy"]["replicas"]) * each for name, each in most.items())
    allowed = re.search(
        r"(?m)^max_connections = (\d+)", (STACK.parent / "postgresql.conf").read_text("utf-8")
    )

    assert allowed
    assert wanted < int(allowed[1])


def test_what_never_changes_has_a_number() -> None:
    """Secrets and configs of a swarm never change: a new one gets another name, by one variable."""
    document = read(STACK, {**GIVEN, "FAIRCRAWL_SECRETS": "7", "FAIRCRAWL_CONFIGS": "8"})

    assert {one["name"].rpartition("_")[2] for one in document["secrets"].values()} == {"7"}
    assert {one["name"].rpartition("_")[2] for one in document["configs"].values()} == {"8"}


def test_the_page_tells_of_every_label_and_variable() -> None:
    """Each label that places a service is given on the page, and each variable explained."""
    text, page = STACK.read_text("utf-8"), PAGE.read_text("utf-8")
    labels = set(re.findall(r"node\.labels\.([\w.]+) == true", text))
    variables = set(re.findall(r"\$\{(\w+)", text))

    assert labels == set(re.findall(r"docker node update --label-add ([\w.]+)=true", page))
    assert [name for name in sorted(variables) if f"`{name}`" not in page] == []


DOCKER: Final = """#!/bin/sh
case "$2" in
inspect) test -e "$KEPT/$3" ;;
create) for name; do last="$before"; before="$name"; done; cat > "$KEPT/$last" ;;
esac
"""
"""A docker that keeps its secrets in a folder."""


def _handed_over(
    tmp_path: Path, **files: str
) -> tuple[Callable[..., "subprocess.CompletedProcess[str]"], Path]:
    """How deploy/swarm/secrets.sh is run, with these files in secrets/; and where the swarm's secrets are."""
    (tmp_path / "deploy" / "swarm").mkdir(parents=True)
    script = tmp_path / "deploy" / "swarm" / "secrets.sh"
    script.write_bytes((ROOT / "deploy" / "swarm" / "secrets.sh").read_bytes())
    for folder in ("secrets", "bin", "kept"):
        (tmp_path / folder).mkdir()
    for name, text in files.items():
        (tmp_path / "secrets" / name).write_text(text, "utf-8")
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER, "utf-8")
    docker.chmod(0o755)
    environment = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "KEPT": str(tmp_path / "kept")}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", script, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run, tmp_path / "kept"


def test_secrets_are_handed_over(tmp_path: Path) -> None:
    """The script makes the secrets that the stack names, also of an empty file; those that are there it leaves, and prints none."""
    document = stack()
    files = {name: "" if name == "crawl_sentry_dsn" else f"word-{name}" for name in document["secrets"]}
    run, kept = _handed_over(tmp_path, **files)
    first, again = run(), run()

    assert (first.returncode, again.returncode, first.stderr) == (0, 0, "")
    assert {file.name for file in kept.iterdir()} == {one["name"] for one in document["secrets"].values()}
    assert all(file.stat().st_size for file in kept.iterdir())
    assert "word-" not in first.stdout + again.stdout
    assert set(re.findall(r"is (\w+)", again.stdout)) == {"there"}
    assert run("2").returncode == 0
    assert {file.name.rpartition("_")[2] for file in kept.iterdir()} == {"1", "2"}


@pytest.mark.parametrize(
    ("lacks", "how"), [("crawl_api_token", "make secrets"), ("dashboard_users", "htpasswd")]
)
def test_a_secret_is_missing(tmp_path: Path, lacks: str, how: str) -> None:
    """Without one of the files nothing is made, and one line says what to do."""
    run, kept = _handed_over(tmp_path, **{name: "word" for name in stack()["secrets"] if name != lacks})
    done = run()

    assert done.returncode == 1
    assert re.fullmatch(rf"secrets/{lacks} is missing: {how}.*\n", done.stderr)
    assert list(kept.iterdir()) == []


def test_a_wrong_number(tmp_path: Path) -> None:
    """The number of the secrets is a number."""
    run, _ = _handed_over(tmp_path)

    assert run("two").returncode == 2
