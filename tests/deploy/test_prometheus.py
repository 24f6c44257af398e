"""Prometheus' files: what promtool says of them, and whether they agree with each other, with the runbook and with what is measured."""

import re
from collections import Counter
from typing import Final

import pytest

from crawler.core.metrics import BOTH, SCHEDULER, SURVEY, WORKER
from crawler.core.model import Outcome
from tests.deploy.files import (
    PROMETHEUS,
    RULES,
    RUNBOOK,
    TESTS,
    family,
    metrics,
    names,
    recorded,
    said,
    wanted,
)
from tests.promtool import checked

CONFIGS: Final = ["prometheus.yml", "local.yml"]
MEASURED: Final = {**BOTH, **WORKER, **SURVEY, **SCHEDULER}
ALERTS: Final = (PROMETHEUS / "rules" / "alerting.yml").read_text("utf-8")


def block(alert: str) -> str:
    """A rule, from its name to the next."""
    return re.split(r"(?m)^ +- alert: ", ALERTS.partition(f"- alert: {alert}\n")[2])[0]


@pytest.mark.parametrize("config", CONFIGS)
def test_configuration(tools: None, config: str) -> None:
    """Promtool finds no fault with a configuration and the rules that it names."""
    report = checked("promtool", "check", "config", PROMETHEUS / config)

    assert f"{len(RULES)} rule files found" in report


def test_rules(tools: None) -> None:
    """Every alert fires when it should, not before, and ends; every recording rule records what it should."""
    report = checked("promtool", "test", "rules", *TESTS)

    assert report.count("SUCCESS") == len(TESTS) > 0


def test_every_rule_is_tried() -> None:
    """Each alert is seen to fire and not to fire, each recording rule is asked."""
    tests = "\n".join(said(file) for file in TESTS)
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts: *(?:&\w+)?\n", tests))
    quiet = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tests))
    alerts, records = set(names("alert")), set(names("record"))

    assert alerts == fires == quiet
    assert records == recorded("\n".join(re.findall(r"expr: (.+)", tests)))


def test_every_name_is_given_once() -> None:
    """No two rules have the same name."""
    assert [name for name, n in Counter([*names("alert"), *names("record")]).items() if n > 1] == []


@pytest.mark.parametrize("alert", names("alert"))
def test_an_alert_tells_what_to_do(alert: str) -> None:
    """An alert has a severity that somebody is called for, says what is so, and leads to its heading in the runbook."""
    rule = block(alert)
    heading = re.search(rf"(?m)^### {alert}\n\n(.+?)(?=^### |^## |\Z)", RUNBOOK.read_text("utf-8"), re.DOTALL)

    assert re.search(r"severity: (critical|warning)\n", rule)
    assert re.search(r"summary: \S", rule)
    assert re.search(r"description: \S", rule)
    assert f"runbook_url: docs/monitoring.md#{alert.lower()}\n" in rule
    assert heading
    assert all(f"**{part}**" in heading[1] for part in ("Means", "Look", "Do"))


def test_the_runbook_has_no_other_alerts() -> None:
    """What has a heading in the runbook is an alert."""
    headings = re.findall(r"(?m)^### (Crawl\w+)$", RUNBOOK.read_text("utf-8"))

    assert headings == names("alert")


def test_every_metric_is_measured() -> None:
    """A metric that a rule, a panel or a test of a rule names is one that somebody tells."""
    named = wanted() | metrics("\n".join(said(file) for file in TESTS))

    assert {family(name) for name in named} - MEASURED.keys() == set()


def test_every_record_is_made() -> None:
    """What an alert asks of what rules record is recorded."""
    assert recorded(said(PROMETHEUS / "rules" / "alerting.yml")) - set(names("record")) == set()


def test_outcomes() -> None:
    """The outcomes that count as failures are outcomes, and none of them is one that we chose."""
    (failed,) = re.findall(r'outcome=~"([\w|]+)"', said(PROMETHEUS / "rules" / "recording.yml"))
    fine = {"ok", "not_modified", "redirect", "gone", "too_large"}
    refused = {outcome for outcome in Outcome if outcome.endswith("_refused")}

    assert set(failed.split("|")) == set(Outcome) - fine - refused


@pytest.mark.parametrize("config", CONFIGS)
def test_jobs(config: str) -> None:
    """Either configuration scrapes the three programs under the names that rules and dashboard go by."""
    jobs = re.findall(r"job_name: (\S+)", said(PROMETHEUS / config))

    ours = [job for job in jobs if job.startswith("crawl-")]

    assert ours == ["crawl-worker", "crawl-scheduler", "crawl-dashboard"]


def test_what_is_mounted_stands_alone() -> None:
    """Nothing that a container mounts names a folder of this machine, or of a container, but secrets."""
    folders = [PROMETHEUS.parent / name for name in ("prometheus", "alertmanager", "grafana")]
    files = [file for folder in folders for file in folder.rglob("*.yml") if file.parent.name != "tests"]
    paths = {path for file in files for path in re.findall(r"(?m)(?<=[ \"])(/[\w./-]+)", said(file))}

    assert {path for path in paths if not path.startswith(("/run/secrets/", "/etc/grafana/"))} == set()
