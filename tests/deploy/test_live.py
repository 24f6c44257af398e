"""A real Prometheus watches a real crawl: what rules and panels ask for is there, and no rule is at fault."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from crawler.demo.language import page, robots, slow
from crawler.demo.server import serving
from tests.broker import LOOPBACK, free_port
from tests.deploy.files import PROMETHEUS, expressions, names, wanted
from tests.promtool import Server, running
from tests.system.machines import LEASE, machines, until, wide_web

PATIENCE: Final = 60.0
LOOK_AGAIN: Final = 0.2
SOON: Final = "1s"
"""Between two looks, of Prometheus and of its rules: a test does not wait for a quarter of a minute."""
EMPTY: Final = {
    "Alerts": "none is firing",
    "Visits that fail": "no visit may have failed yet",
}
"""What may have no answer, in a crawl that goes well."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A crawl that was watched for a moment."""

    prometheus: Server

    def series(self) -> set[str]:
        """The names of all series."""
        return set(self.prometheus.get("/api/v1/label/__name__/values")["data"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, and how it is."""
        groups = self.prometheus.get("/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def ask(self, expression: str) -> Sequence[dict[str, Any]]:
        """What an expression gives now."""
        found: list[dict[str, Any]] = self.prometheus.get("/api/v1/query", query=expression)["data"]["result"]
        return found


def local(folder: Path, ports: dict[int, int]) -> Path:
    """The configuration for one machine, with other ports, and in a hurry."""
    copy = folder / "prometheus"
    shutil.copytree(PROMETHEUS, copy)
    config = copy / "local.yml"
    text = config.read_text("utf-8")
    for usual, port in ports.items():
        assert f"localhost:{usual}" in text
        text = text.replace(f"localhost:{usual}", f"{LOOPBACK}:{port}")
    text, hurried = re.subn(r"(scrape|evaluation)(_interval|_timeout): \S+", rf"\1\2: {SOON}", text)
    assert hurried == 3
    config.write_text(text, "utf-8")
    return config


@pytest.fixture
async def watched(tools: None, dsn: str, tmp_path: Path) -> AsyncIterator[Watched]:
    """A worker of two processes, a scheduler and a dashboard; Prometheus has seen every metric that is asked for, or waited long."""
    ports = {usual: free_port() for usual in (9090, 9093, 9100, 9101, 8080)}
    own = ports.pop(9090)
    # An answer that takes longer than half a lease: it is renewed.
    slow_site = {"slow.test": {"/robots.txt": robots(), "/": slow(page("slow"), LEASE * 0.65)}}
    with serving(wide_web(10, 5) | wide_web(30, 15, "late") | slow_site) as web:
        names_at = "{}:{}".format(*web.names.where)
        settings = {"HOSTS_FILE": "none", "DNS_SERVERS": names_at, "PROCESSES": "2"}
        async with machines(web, dsn, tmp_path, None, **settings) as hall:
            hall.start(METRICS_PORT=str(ports[9100]))
            hall._spawn("scheduler", "crawler", "scheduler", METRICS_PORT=str(ports[9101]))
            hall._spawn("dashboard", "crawler", "dashboard", "--port", str(ports[8080]))
            options = (
                f"--config.file={local(tmp_path, ports)}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={LOOPBACK}:{own}",
            )
            with running(own, tmp_path, "prometheus", *options) as prometheus:
                one = Watched(prometheus)
                await hall.seed("first", [web.url("site0.test")])
                # Only what becomes more while it is watched has a rate.
                await until(lambda: "crawl_dns_answers_total" in one.series(), "it is watched")
                await hall.seed("then", [web.url("late0.test"), web.url("slow.test")])
                everything = wanted() | set(names("record"))
                deadline = time.monotonic() + PATIENCE

                async def all_seen() -> bool:
                    await asyncio.sleep(LOOK_AGAIN)
                    return everything <= one.series() or time.monotonic() > deadline

                await until(all_seen, "every metric was seen, or never will be", PATIENCE * 2)
                yield one
            await hall.dismiss()


async def test_all_that_is_asked_for_is_there(watched: Watched) -> None:
    """Every metric that a rule or a panel names exists, every rule is well, and every panel shows something, by labels that are there."""
    rules = watched.rules()
    ill = [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"]
    states = {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}
    found = {one: watched.ask(one.plain) for one in expressions()}
    up = {one["metric"]["job"]: one["value"][1] for one in watched.ask("up")}
    jobs = {one["metric"]["name"] for one in watched.ask("crawl_job_late_seconds")}
    processes = {one["metric"]["process"] for one in watched.ask("crawl_slots")}

    assert sorted((wanted() | set(names("record"))) - watched.series()) == []
    assert ill == []
    assert len(rules) == len(names("alert")) + len(names("record"))
    assert [name for name, state in states.items() if state == "firing"] == []
    assert [one for one, answer in found.items() if not answer and one.panel not in EMPTY] == []
    assert [
        one for one, answer in found.items() for line in answer if one.labels - line["metric"].keys()
    ] == []
    assert up == {"crawl-worker": "1", "crawl-scheduler": "1", "crawl-dashboard": "1"}
    assert {"bodies", "partitions", "counters"} <= jobs
    assert processes == {"0", "1"}
