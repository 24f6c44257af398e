"""What is done to the cluster, and what must come of it: a step is a function of the cluster, and tells what it found."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.error import HTTPError
from urllib.request import Request

from crawler.core.urls import domain_of
from crawler.demo.server import Request as Asked
from crawler.demo.server import hurried
from tests.deploy.containers.cluster import DASHBOARD, DIRECT, PROJECT, Cluster, Container, get, until
from tests.deploy.containers.images import version
from tests.deploy.containers.machinery import run
from tests.deploy.containers.web import PAGES, PORT, SITES

Notes: TypeAlias = Sequence[str]

WORKERS: Final = 3
NAME: Final = "villages"
DELAY: Final = 1.0
"""Seconds between the requests to a domain: the default."""
GRACE: Final = 30.0
"""Seconds: CRAWL_GRACE."""
BOOT: Final = 120.0
"""Seconds for what certainly happens, on a busy machine."""
CRAWLED: Final = 300.0
AT_WORK: Final = ("scheduler", "worker", "dashboard")
WITH_TURNS: Final = ("scheduler", "worker")
"""Those that do nothing without RabbitMQ; the dashboard shows that it is away."""


def begin(cluster: Cluster) -> Notes:
    """Those who need something are started before it: each says what it waits for, and stays."""
    cluster.start("web", "prometheus")
    cluster.start(*AT_WORK, scale=f"worker={WORKERS}")
    found = cluster.containers(*AT_WORK)
    assert len(found) == WORKERS + 2, found
    for one in found:
        until(
            f"{one.name} says that it waits for the database",
            BOOT,
            partial(one.says, "database.awaited"),
        )
    assert all(one.is_running for one in found)
    return [f"{len(found)} containers wait for the database"]


def arrive(cluster: Cluster) -> Notes:
    """What they wait for comes, piece by piece: each waits for the next piece, and begins when nothing is missing."""
    cluster.start("postgres")
    for one in cluster.containers(*WITH_TURNS):
        until(f"{one.name} waits for RabbitMQ", BOOT, partial(one.says, "broker.awaited"))
    cluster.start("rabbitmq", "migrate")
    migrate = cluster.one("migrate")
    until("the tables are seen to", BOOT, lambda: migrate.state["Status"] == "exited")
    assert migrate.state["ExitCode"] == 0, migrate.log()
    for one in cluster.containers(*AT_WORK):
        until(f"{one.name} is ready", BOOT, partial(ready, one))
        assert one.facts()["RestartCount"] == 0, one.log()
    return [f"migrate: {migrate.log().strip().splitlines()[-1]}"]


def ready(one: Container) -> bool:
    """Whether it says at /readyz that all is well."""
    port = 8080 if one.service == "dashboard" else 9100
    with DIRECT.open(Request(f"http://{one.address('inner')}:{port}/readyz"), timeout=10) as answer:
        return bool(answer.status == 200)


def guarded(cluster: Cluster) -> Notes:
    """The dashboard is published on the loopback alone and asks for the token; nothing else is published."""
    published = {
        one.service: places
        for one in cluster.containers()
        for places in one.facts()["HostConfig"]["PortBindings"].values()
        if places
    }
    assert published == {"dashboard": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, published
    assert refusal(f"{DASHBOARD}/api/crawls") == 401
    assert cluster.api("crawls") == []
    return []


def refusal(url: str) -> int:
    """The status that an address refuses us with; 0: it does not."""
    try:
        get(url)
    except HTTPError as error:
        return error.code
    return 0


def seed(cluster: Cluster) -> Notes:
    """The web's villages, as a stranger would: with the service that is there for commands."""
    urls = [f"http://{host}:{PORT}/" for host in SITES]
    said = cluster.compose("run", "--rm", "--no-deps", "crawl", "seed", NAME, *urls, "--refresh", "off")
    return said.strip().splitlines()[-1:]


def kill(cluster: Cluster) -> Notes:
    """A worker is killed in the middle of its work, and the rule for restarts starts it again."""
    until("a quarter is crawled", CRAWLED, lambda: pages(cluster) >= PAGES // 4)
    busy = until(
        "a worker has turns", BOOT, lambda: [one for one in cluster.api("workers") if one["visiting"]]
    )
    hosts = {one["host"] for one in busy}
    victim = next(one for one in cluster.containers("worker") if one.facts()["Config"]["Hostname"] in hosts)
    before, stored = victim.state["Pid"], pages(cluster)
    os.kill(int(before), signal.SIGKILL)
    until("the worker that was killed is started again", BOOT, lambda: victim.state["Pid"] not in {0, before})
    return [f"{victim.name} was killed when {stored} of {PAGES} pages were stored, and started again"]


def pages(cluster: Cluster) -> int:
    """Pages stored so far."""
    return int(cluster.api(f"crawls/{NAME}")["crawl"]["pages"])


def finish(cluster: Cluster) -> Notes:
    """The crawl ends, and every page of the web is stored, once; what is forbidden is not asked for, and nobody was hurried."""
    crawl: Mapping[str, Any] = until(
        "every URL has an outcome",
        CRAWLED,
        lambda: (found := cluster.api(f"crawls/{NAME}")["crawl"])["waiting"] == 0 and found,
    )
    assert crawl["pages"] == PAGES, crawl
    assert crawl["outcomes"] == {"ok": PAGES, "robots_refused": len(SITES)}, crawl
    titles = set()
    for host in SITES:
        found = cluster.api("pages/search", domain=host, outcome="ok", limit="100")
        titles |= {one["title"] for one in found["pages"]}
    assert len(titles) == PAGES, sorted(titles)
    log = [Asked(**one, headers={}) for one in cluster.requests()]
    assert not [one for one in log if one.path.startswith("/private/")]
    rushed = hurried(log, DELAY, lambda host: str(domain_of(f"http://{host}/")))
    assert rushed == [], rushed
    return [
        f"{crawl['pages']} pages of {len(SITES)} domains with {len(log)} requests, none sooner than {DELAY:g} s"
    ]


def measured(cluster: Cluster) -> Notes:
    """Prometheus finds all of them by their names, and has what they tell; all rules are loaded and none complains."""
    url = f"http://{cluster.one('prometheus').address('inner')}:9090/api/v1"

    def asked(query: str) -> dict[str, float]:
        found = get(f"{url}/query", query=query)["data"]["result"]
        return {str(one["metric"].get("job", "")): float(one["value"][1]) for one in found}

    up = {"crawl-worker": float(WORKERS), "crawl-scheduler": 1.0, "crawl-dashboard": 1.0}
    until("Prometheus has asked all of them", BOOT, lambda: up.items() <= asked("sum by (job) (up)").items())
    told = until(
        "Prometheus has the pages",
        BOOT,
        lambda: asked("sum(crawl_pages_stored_total) > 0"),
    )
    groups = get(f"{url}/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert not [rule for rule in rules if rule["health"] == "err"], rules
    return [
        f"targets: {asked('sum by (job) (up)')}",
        f"pages stored, as they tell: {told}",
        f"{len(rules)} rules",
    ]


def healthy(cluster: Cluster) -> Notes:
    """Every service's own health check passes; migrate, which has ended, has none."""
    checked = []
    for one in cluster.containers():
        if one.is_running and one.service != "web":
            until(f"{one.name} is healthy", BOOT, one.is_healthy)
            checked.append(one.name.removeprefix(f"{PROJECT}_"))
    return [", ".join(checked)]


def sparse(cluster: Cluster) -> Notes:
    """No container may write to its own files, or has a capability, or is root."""
    for one in cluster.containers():
        if one.service == "web":
            continue
        facts = one.facts()
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"], one
        assert facts["EffectiveCaps"] in (None, []), (one, facts["EffectiveCaps"])
        assert "no-new-privileges" in " ".join(host["SecurityOpt"]), one
        assert host["Memory"] > 0, one
        if one.is_running:
            (line,) = (line for line in status_of(facts["State"]["Pid"]) if line.startswith("Uid:"))
            assert "0" not in line.split()[1:], one
    return []


def status_of(process: int) -> list[str]:
    """What the kernel says of a process."""
    with open(f"/proc/{process}/status", encoding="utf-8") as file:  # noqa: PTH123 - a number's folder
        return file.read().splitlines()


def silent(cluster: Cluster) -> Notes:
    """No secret stands in a log, nor in what the engine knows of a container."""
    secrets = cluster.secrets()
    assert {
        "postgres_password",
        "rabbitmq_password",
        "crawl_api_token",
        "crawl_database_url",
        "crawl_amqp_url",
    } <= secrets.keys()
    told = {one.name: one.log() + json.dumps(one.facts()) for one in cluster.containers()}
    found = [
        (name, container)
        for name, secret in secrets.items()
        for container, text in told.items()
        if secret in text
    ]
    assert found == [], found
    return [
        f"{len(secrets)} secrets, {len(told)} containers, {sum(map(len, told.values())) / 1e3:,.0f} kB looked through"
    ]


def stop_one(cluster: Cluster) -> Notes:
    """A worker that is told to stop ends by itself, in time, with status 0."""
    worker = cluster.containers("worker")[-1]
    began = time.monotonic()
    run("podman", "stop", "--time", "45", worker.name)
    took = time.monotonic() - began
    state = worker.state
    assert (state["Status"], state["ExitCode"]) == ("exited", 0), state
    assert took < GRACE, took
    return [f"within {took:.1f} s"]


def restart(cluster: Cluster) -> Notes:
    """PostgreSQL and RabbitMQ are stopped and started again: what they hold is on their volumes."""
    for service in ("postgres", "rabbitmq"):
        run("podman", "stop", "--time", "60", cluster.one(service).name)
        run("podman", "start", cluster.one(service).name)
    for one in cluster.containers(*AT_WORK):
        if one.is_running:
            until(f"{one.name} is ready again", BOOT, partial(ready, one))
    assert until("the API answers again", BOOT, lambda: pages(cluster)) == PAGES
    return [f"faircrawl {version()} goes on"]


STEPS: Final[Sequence[tuple[str, Callable[[Cluster], Notes]]]] = (
    ("workers, scheduler and dashboard are started first, and wait", begin),
    ("PostgreSQL comes later, then RabbitMQ, and the work begins", arrive),
    ("nothing is published but the dashboard, which asks for its token", guarded),
    ("a crawl is seeded", seed),
    ("a worker is killed on the way, and started again", kill),
    ("the crawl is finished, and its result is right", finish),
    ("Prometheus finds everybody by name", measured),
    ("every health check passes", healthy),
    ("containers are sparse: read-only, no capability, no root, a limit", sparse),
    ("no secret is told", silent),
    ("the database and the broker are restarted", restart),
    ("SIGTERM ends a worker in time, with status 0", stop_one),
)
