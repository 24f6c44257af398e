"""Every command, variable, secret, port, path, metric and file that the files for containers name exists."""

import copy
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import ClientSession

from crawler.core.metrics import Group
from crawler.monitoring import answered as answering
from crawler.settings import Settings
from tests.broker import LOOPBACK, free_port
from tests.deploy.files import PROMETHEUS, ROOT, family, wanted
from tests.deploy.name_rules import (
    ANSWERS,
    IMAGE,
    METRICS,
    faults,
    lost_files,
    lost_metrics,
    lost_variables,
    sought,
    usage,
)
from tests.deploy.parts import (
    COMPOSE,
    IN_CLUSTER,
    KEDA,
    KUBERNETES,
    STACK,
    Document,
    Part,
    Probe,
    cluster,
    clustered,
    composed,
    named,
    read,
)

PAGES: Final = [ROOT / "docs" / name for name in ("compose.md", "swarm.md", "kubernetes.md")]
TEXTS: Final = sorted(
    file
    for file in (COMPOSE, *PAGES, *(ROOT / "deploy").rglob("*"))
    if file.is_file() and file.suffix not in {".json", ".pyc"}
)
"""The files in which a setting may be named."""
SCRIPT: Final = ROOT / "deploy" / "secrets.sh"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def started() -> dict[str, list[Part]]:
    """Who starts what."""
    return {
        "Compose": composed(read(COMPOSE), COMPOSE.name),
        "Swarm": composed(read(STACK), "stack.yml"),
        "Kubernetes": clustered(cluster(KEDA), "kubernetes"),
    }


def made() -> frozenset[str]:
    """The files that `make secrets` makes."""
    return frozenset(re.findall(r"(?m)^make_one (\w+)", SCRIPT.read_text("utf-8")))


@pytest.mark.parametrize("who", ["Compose", "Swarm", "Kubernetes"])
def test_what_is_started_exists(who: str) -> None:
    """Every command, setting, secret, port and path of a container exists, and all of ours are of this version."""
    parts = started()[who]

    assert {part.words[0] for part in parts if part.ours and part.words} == {
        "migrate",
        "scheduler",
        "worker",
        "dashboard",
    }
    assert faults(parts) == []


def test_prometheus_finds_them() -> None:
    """Whom Prometheus looks for by a name, in Compose and in Swarm and in a cluster, listens where it looks."""
    prometheus = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    services = set(named(cluster(KEDA), "Service"))
    looked_for = {
        name for job in prometheus["scrape_configs"] for one in job["dns_sd_configs"] for name in one["names"]
    }
    ours = {"worker", "scheduler", "dashboard"}

    assert list(sought(prometheus, started()["Compose"])) == []
    assert looked_for & services == ours
    for name in ours:
        jobs = {
            "scrape_configs": [
                job for job in prometheus["scrape_configs"] if job["job_name"] == f"crawl-{name}"
            ]
        }
        assert jobs["scrape_configs"]
        assert [list(sought(jobs, started()[who])) for who in ("Swarm", "Kubernetes")] == [[], []]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(file: Path) -> None:
    """Every CRAWL_... of a file is a setting, or the file of one."""
    assert list(lost_variables(file.read_text("utf-8"), file.name)) == []


@pytest.mark.parametrize(
    "file", [COMPOSE, STACK, *sorted(KUBERNETES.rglob("*.yaml")), *PAGES], ids=lambda file: file.name
)
def test_every_metric_that_is_named_exists(file: Path) -> None:
    """Every crawl_... of a file is a metric, or a secret."""
    assert list(lost_metrics(file.read_text("utf-8"), file.name)) == []


def test_every_metric_that_is_asked_for_exists() -> None:
    """Every metric of ours that a rule or a panel names is one that the program tells."""
    assert [name for name in sorted(wanted()) if not {name, family(name)} & METRICS] == []


@pytest.mark.parametrize("file", [COMPOSE, STACK], ids=lambda file: file.name)
def test_every_file_that_is_mounted_exists(file: Path) -> None:
    """What is mounted from the repository is there, and what is mounted from secrets/ is made by `make secrets`."""
    assert list(lost_files(read(file), file.parent, made())) == []


def test_secrets_are_made_or_told_of() -> None:
    """Of the secrets of a swarm or a cluster, `make secrets` makes all but those that its page tells how to write."""
    in_swarm = set(read(STACK)["secrets"]) - made()
    in_cluster = set(IN_CLUSTER) - made()

    assert in_swarm == {"dashboard_users"}
    assert in_cluster == {"rabbitmq_http_url"}
    assert "secrets/dashboard_users" in PAGES[1].read_text("utf-8")
    assert "secrets/rabbitmq_http_url" in PAGES[2].read_text("utf-8")


def test_the_environment_of_the_image() -> None:
    """What we take the image to set is what deploy/Dockerfile says."""
    text = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")

    assert dict(re.findall(r"\b(CRAWL_\w+)=(\S+)", text)) == dict(IMAGE)
    assert 'ENTRYPOINT ["crawl"]' in text
    assert re.search(r"(?m)^USER 10001:10001$", text)


async def test_the_program_answers_what_is_asked() -> None:
    """A worker and a scheduler answer at the paths that probes and Prometheus ask."""

    async def nothing() -> Sequence[Group]:
        return ()

    async def well() -> dict[str, str]:
        return {"database": "ok"}

    port = free_port()
    settings = Settings(metrics_port=port, metrics_host=LOOPBACK)
    async with answering(settings, nothing, well, quiet=True), ClientSession() as session:
        found = {
            path: (await session.get(f"http://{LOOPBACK}:{port}{path}")).status
            for path in (*ANSWERS, "/other")
        }

    assert found == {**dict.fromkeys(ANSWERS, 200), "/other": 404}


def shell(page: Path) -> Iterator[str]:
    """The lines for a shell, those that go on in the next as one, without comments."""
    for block in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```", page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"(?:^|\s)#.*$", "", line)


def told(page: Path) -> list[list[str]]:
    """The words of every `crawl ...`, whoever runs it."""
    lines = [line.replace('"$@"', "").replace("'$@'", "") for line in shell(page)]
    found = [one for line in lines for one in re.findall(r"(?:^|[\s(;&|])crawl +([^|&;()<>]*)", line)]
    return [shlex.split(one) for one in found if one.strip()]


@each_page
def test_commands_of_a_page(page: Path) -> None:
    """Every `crawl ...` of a page is one that the program takes."""
    words = told(page)

    assert words
    assert [(one, said) for one in words if (said := usage(one))] == []


@each_page
def test_objects_of_a_page(page: Path) -> None:
    """The services, deployments and jobs of ours that the commands of a page name exist."""
    text = "\n".join(shell(page))
    services = set(read(STACK)["services"])
    in_cluster = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in cluster(KEDA)}
    objects = set(re.findall(r"\b(?:deployment|job|service|scaledobject|networkpolicy)/[a-z-]+", text))
    swarm = set(re.findall(r"\bfaircrawl_([a-z]+)\b", text))

    assert objects - in_cluster == set()
    assert swarm - services - {"crawl", "public"} - set(read(STACK)["volumes"]) == set()


@each_page
def test_files_of_a_page(page: Path) -> None:
    """The files under deploy/ that a page names exist."""
    files = {one.rstrip("./") for one in re.findall(r"\bdeploy/[\w./-]+", page.read_text("utf-8"))}

    assert [one for one in sorted(files) if not (ROOT / one).exists()] == []


def test_the_shell_of_the_pages(tmp_path: Path) -> None:
    """A shell reads each of their blocks without complaint."""
    for page in PAGES:
        for number, block in enumerate(re.findall(r"(?ms)^ *```sh\n(.*?)^ *```", page.read_text("utf-8"))):
            script = tmp_path / f"{page.stem}-{number}.sh"
            script.write_text(block, "utf-8")
            done = subprocess.run(
                ["sh", "-n", script], capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")


GOOD: Final = Part(
    "here: worker",
    "worker",
    "registry.example.com/faircrawl:0.1.0",
    ("worker",),
    {"CRAWL_CONTACT": "https://example.com/", "CRAWL_METRICS_PORT": "9100"},
    frozenset({"crawl_database_url", "crawl_amqp_url"}),
    {"metrics": 9100},
    (Probe("metrics", "/healthz"),),
)
BROKEN: Final[Sequence[tuple[Part, str]]] = (
    (replace(GOOD, words=("wroker",)), "there is no command wroker"),
    (replace(GOOD, words=("worker", "--prot", "9100")), "No such option"),
    (replace(GOOD, words=("worker", "--port", "many")), "many"),
    (
        replace(GOOD, environment={"CRAWL_CONTCAT": "x"}),
        "nothing reads the environment variable CRAWL_CONTCAT",
    ),
    (replace(GOOD, environment={"CRAWL_GRACE": "long"}), "grace from environment CRAWL_GRACE"),
    (replace(GOOD, environment={"CRAWL_METRICS_PORT": "9200"}), "nothing listens at port 9100"),
    (replace(GOOD, secrets=GOOD.secrets | {"crawl_token"}), "no setting for the secret crawl_token"),
    (replace(GOOD, secrets=frozenset({"crawl_database_url"})), "has no secret crawl_amqp_url"),
    (replace(GOOD, ports={"metrics": 9101}), "nothing listens at port 9101"),
    (replace(GOOD, probes=(Probe(8080, "/healthz"),)), "a probe asks port 8080"),
    (replace(GOOD, probes=(Probe(9100, "/health"),)), "nothing answers at /health"),
    (
        replace(GOOD, words=("dashboard", "--port", "8081"), ports={"http": 8080}),
        "nothing listens at port 8080",
    ),
    (replace(GOOD, image="faircrawl:0.0.9"), "is of version 0.0.9"),
    (Part("here: db", "postgres", "postgres"), "is of any version"),
    (Part("here: db", "postgres", "postgres:18", ports={"sql": 5433}), "nothing listens at port 5433"),
)


def test_what_is_good_is_not_told() -> None:
    """The container that the next test breaks is none to complain of."""
    assert faults([GOOD]) == []


@pytest.mark.parametrize(("part", "fault"), BROKEN, ids=[fault for _, fault in BROKEN])
def test_what_is_broken_is_told(part: Part, fault: str) -> None:
    """A name that leads nowhere is found."""
    assert [one for one in faults([part]) if fault in one]


@pytest.mark.parametrize(
    ("rule", "text", "fault"),
    [
        (lost_variables, "set CRAWL_GRACE_PERIOD to more", "there is no setting CRAWL_GRACE_PERIOD"),
        (lost_metrics, "rate(crawl_fetched_total[5m])", "there is no metric crawl_fetched_total"),
    ],
)
def test_a_wrong_name_in_a_text_is_told(
    rule: Callable[[str, str], Iterator[str]], text: str, fault: str
) -> None:
    """A setting or a metric that there is not is found, wherever it stands."""
    assert list(rule(text, "here")) == [f"here: {fault}"]


def _changed(document: Document, place: str, value: Any) -> Document:
    changed = copy.deepcopy(document)
    *steps, last = place.split("/")
    inner: Any = changed
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        ("configs/postgresql/file", "./postgres.conf", "configs: postgresql: there is no ./postgres.conf"),
        (
            "secrets/other",
            {"file": "../../secrets/other"},
            "secrets: other: nothing makes ../../secrets/other",
        ),
        ("services/worker/volumes", ["./data:/data"], "worker: there is no ./data"),
    ],
)
def test_a_lost_file_is_told(place: str, value: object, fault: str) -> None:
    """A file that is mounted and not there is found, and so is a secret that nothing makes."""
    assert list(lost_files(_changed(read(STACK), place, value), STACK.parent, made())) == [fault]


@pytest.mark.parametrize(
    ("name", "port", "fault"),
    [("workers", 9100, "there is no workers"), ("worker", 9101, "does not listen at port 9101")],
)
def test_a_wrong_target_is_told(name: str, port: int, fault: str) -> None:
    """A name that nobody has, or a port at which nobody listens, is found."""
    prometheus = {
        "scrape_configs": [{"job_name": "crawl", "dns_sd_configs": [{"names": [name], "port": port}]}]
    }

    assert fault in " ".join(sought(prometheus, [GOOD]))
