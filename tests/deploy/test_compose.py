"""docker-compose.yml and the image: what can be told of them without starting them; `make test-deploy` starts them."""

import re
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from crawler.cli import COMMANDS
from crawler.kinds import parse_duration, parse_size
from crawler.settings import Settings
from tests.deploy.composed import COMPOSE, composed, secrets_of, services
from tests.deploy.files import ALERTMANAGER, GRAFANA, PROMETHEUS, ROOT, said

DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
PROGRAMS: Final = {"migrate", "scheduler", "worker", "dashboard", "crawl"}
MONITORING: Final = {"prometheus", "alertmanager", "grafana", "node-exporter", "cadvisor"}
ONCE: Final = {"migrate", "crawl"}
"""Those that end by themselves."""
SETTINGS: Final = {f"CRAWL_{field.name.upper()}" for field in fields(Settings)}
OUR_SECRETS: Final = {f"crawl_{field.name}" for field in fields(Settings) if field.metadata["secret"]}
GRACE: Final = Settings().grace
SCRAPED: Final = {
    "worker": 9100, "scheduler": 9100, "dashboard": 8080, "rabbitmq": 15692, "node-exporter": 9100, "cadvisor": 8080,
    "alertmanager": 9093,
}  # fmt: skip


def mounted() -> Iterator[tuple[str, Path, str]]:
    """The service, the file of ours and the place in the container, of everything that is mounted from the checkout."""
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source, target, *options = volume.split(":")
            if source.startswith("./"):
                assert options == ["ro"], volume
                yield name, ROOT / source, target


def test_services() -> None:
    """There is what a crawl needs, and, if asked for, what watches it; there is no version, which nobody reads any more."""
    by_profile = {name: service.get("profiles", []) for name, service in services().items()}

    assert "version" not in composed()
    assert {name for name, profiles in by_profile.items() if not profiles} == {
        "postgres",
        "rabbitmq",
        *PROGRAMS - {"crawl"},
    }
    assert {name for name, profiles in by_profile.items() if profiles == ["monitoring"]} == MONITORING
    assert by_profile["crawl"] == ["tools"]


def test_nothing_is_published_but_the_dashboard() -> None:
    """One port, on the loopback; no container has the machine's network."""
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert ports == {"dashboard": ["127.0.0.1:${FAIRCRAWL_PORT:-8080}:8080"]}
    assert not [name for name, service in services().items() if "network_mode" in service]


def test_who_reaches_whom() -> None:
    """The database and the broker have no way out; only who asks the web, or tells somebody outside, has one."""
    outside = {name for name, service in services().items() if "outer" in service["networks"]}

    assert composed()["networks"]["inner"]["internal"] is True
    assert all("inner" in service["networks"] for service in services().values())
    assert outside == {"worker", "scheduler", "dashboard", "crawl", "alertmanager"}


@pytest.mark.parametrize("name", services())
def test_a_service_is_bounded(name: str) -> None:
    """Memory, processor and log have limits, no limit is below what is reserved, and what ends is started again."""
    service = services()[name]
    resources = service["deploy"]["resources"]
    reserved = resources.get("reservations", {}).get("memory", "0")

    assert float(resources["limits"]["cpus"]) > 0
    assert size(resources["limits"]["memory"]) >= size(reserved)
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
    assert service["restart"] == {"migrate": "on-failure", "crawl": "no"}.get(name, "unless-stopped")


def size(text: str) -> int:
    """Bytes, as Compose writes them."""
    return parse_size(re.sub(r"([MG])$", r"\1iB", text))


@pytest.mark.parametrize("name", services())
def test_a_service_says_how_it_is(name: str) -> None:
    """Who stays has a health check; who ends by itself has none."""
    check = services()[name]["healthcheck"]

    assert check == {"disable": True} if name in ONCE else check["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(set(services()) - {"cadvisor"}))
def test_a_service_is_sparse(name: str) -> None:
    """Its files are read-only, it has no capability and gets none, and PostgreSQL and others do not begin as root either."""
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert name in PROGRAMS | {"node-exporter"} or re.fullmatch(r"[1-9]\d*:\d+", service["user"])


@pytest.mark.parametrize("name", sorted(PROGRAMS - {"crawl"}))
def test_a_command_exists(name: str) -> None:
    """A service of ours runs a command of the program, and the dashboard listens where it is published."""
    command = services()[name]["command"]

    assert command[0] in COMMANDS
    assert command[0] == name
    assert name != "dashboard" or command[1:] == ["--host", "0.0.0.0", "--port", "8080"]


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_settings_exist(name: str) -> None:
    """Every variable is a setting, with a value that the program takes; the contact must be given."""
    environment = services()[name]["environment"]

    assert environment.keys() <= SETTINGS
    assert environment["CRAWL_CONTACT"].startswith("${CRAWL_CONTACT:?")
    assert environment["CRAWL_LOG_FORMAT"] == "json"
    assert environment["CRAWL_METRICS_PORT"] == "9100"
    assert secrets_of(services()[name]) <= OUR_SECRETS


def test_waiting_and_stopping_have_time() -> None:
    """Who waits for the database is not called ill meanwhile; who ends its requests is not killed meanwhile, and can still write them."""
    for name in PROGRAMS:
        service = services()[name]
        waits = parse_duration(service["environment"]["CRAWL_START_PATIENCE"])

        assert parse_duration(service["stop_grace_period"]) > GRACE
        assert name in ONCE or parse_duration(service["healthcheck"]["start_period"]) >= waits
    assert all(services()[name]["depends_on"] == ["postgres", "rabbitmq"] for name in PROGRAMS - {"migrate"})


def test_no_password_stands_in_it() -> None:
    """What a container must know is in a file: no variable is a password, none is filled in from the shell but the contact."""
    text = said(COMPOSE)
    names = {name for service in services().values() for name in service.get("environment", {})}
    words = {name for name in names if re.search(r"PASS|SECRET|TOKEN|DSN|_URL", name)}

    assert all(name.endswith(("_FILE", "__FILE")) for name in words), words
    assert set(re.findall(r"\$\{(\w+)", text)) == {"CRAWL_CONTACT", "FAIRCRAWL_VERSION", "FAIRCRAWL_PORT"}
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)


def test_the_page_says_what_compose_says() -> None:
    """Without a contact Compose prints what stands behind :? after words of its own, and the page names the line."""
    (asked,) = re.findall(r"\$\{CRAWL_CONTACT:\?([^}]+)\}", said(COMPOSE))
    page = (ROOT / "docs" / "compose.md").read_text("utf-8")
    (named,) = re.findall(r"`required variable CRAWL_CONTACT is missing a value: (.+?) \.\.\.`", page)

    assert asked.startswith(named)
    assert "-" not in asked


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_secrets_leave_neither_by_git_nor_by_docker(file: str) -> None:
    """Neither the folder of secrets nor .env is committed, or sent to a builder."""
    lines = {line.strip("/") for line in (ROOT / file).read_text("utf-8").splitlines()}

    assert {"secrets", ".env"} <= {line.removeprefix("**/") for line in lines}


def test_what_is_mounted_exists() -> None:
    """Every file and folder that a container mounts is in the checkout, can be read by any user, and a script can be run by a shell."""
    for name, source, target in mounted():
        files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]

        assert files, (name, source)
        assert all(file.stat().st_mode & stat.S_IROTH for file in files), (name, source)
        assert target.startswith("/")
        assert source.suffix != ".sh" or source.read_text("utf-8").startswith("#!/bin/sh\n")


def test_monitoring_is_mounted_where_it_says() -> None:
    """Prometheus, Alertmanager and Grafana find their files, and the secrets that Alertmanager's names."""
    places = {source: target for _, source, target in mounted()}
    named = set(re.findall(r"/run/secrets/(\w+)", said(ALERTMANAGER)))
    ports = re.findall(r"names: \[([\w-]+)\]\s+type: A\s+port: (\d+)", said(PROMETHEUS / "prometheus.yml"))

    assert places[PROMETHEUS] == "/etc/prometheus"
    assert places[ALERTMANAGER.parent] == "/etc/alertmanager"
    assert places[GRAFANA / "provisioning"] == "/etc/grafana/provisioning"
    assert places[GRAFANA / "dashboards"] == "/etc/grafana/dashboards"
    assert named == secrets_of(services()["alertmanager"])
    assert {name: int(port) for name, port in ports} == SCRAPED
    assert SCRAPED.keys() <= services().keys()


def test_volumes_and_networks_are_declared() -> None:
    """Every volume and network that a service names is declared, and every one that is declared is named."""
    volumes = {
        volume.partition(":")[0]
        for service in services().values()
        for volume in service.get("volumes", ())
        if not volume.startswith((".", "/"))
    }

    assert volumes == composed()["volumes"].keys()
    assert {name for service in services().values() for name in service["networks"]} == composed()[
        "networks"
    ].keys()


def test_images_are_pinned() -> None:
    """Every image has a tag, and none that moves by itself to another major version."""
    tags = {name: service["image"].rpartition(":")[2] for name, service in services().items()}

    assert {tags[name] for name in PROGRAMS} == {"-0.1.0}"}
    assert all(re.match(r"v?\d+", tag) for name, tag in tags.items() if name not in PROGRAMS), tags
    assert f"FAIRCRAWL_VERSION:-{version()}}}" in COMPOSE.read_text("utf-8")


def version() -> str:
    """Of the program."""
    (found,) = re.findall(r"(?m)^version = (\S+)$", (ROOT / "setup.cfg").read_text("utf-8"))
    return str(found)


def test_the_image_is_made_in_two_stages() -> None:
    """The base is named once, with its tag; what builds is not in what is shipped, which is nobody's root and says how it is."""
    text = said(DOCKERFILE)
    _, build, shipped = re.split(r"(?m)^FROM ", text)

    assert re.findall(r"(?m)^ARG PYTHON=(\S+)$", text) == ["docker.io/library/python:3.11-slim-bookworm"]
    assert build.startswith("${PYTHON} AS build\n")
    assert shipped.startswith("${PYTHON}\n")
    assert "pip" not in shipped
    assert re.search(r"(?m)^USER 10001:10001$", shipped)
    assert re.search(r"(?m)^STOPSIGNAL SIGTERM$", shipped)
    assert re.search(r"(?m)^HEALTHCHECK .*CMD \[", shipped)
    assert re.search(r'(?m)^ENTRYPOINT \["crawl"\]$', shipped)
    assert set(re.findall(r"CRAWL_\w+", shipped)) <= SETTINGS


def test_what_the_image_is_made_of_exists() -> None:
    """Nothing is sent to a builder but what is named, and all of that is there."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]

    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    assert {"crawler", "migrations", "scheduler", "setup.cfg", "pyproject.toml"} <= set(sent)
    assert all((ROOT / name).exists() for name in sent)
