"""The files under deploy/: the rules, the panels, and the names in them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
ALERTMANAGER: Final = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
GRAFANA: Final = ROOT / "deploy" / "grafana"
RUNBOOK: Final = ROOT / "docs" / "monitoring.md"
RULES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))
TESTS: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
PARTS: Final = re.compile(r"_(?:bucket|sum|count)$")


def said(file: Path) -> str:
    """A file of YAML without its comments."""
    return re.sub(r"(?m)(?:^|\s)#\s.*$", "", file.read_text("utf-8"))


def names(kind: str) -> list[str]:
    """The rules of a kind: alert or record."""
    return [name for file in RULES for name in re.findall(rf"(?m)^ +- {kind}: (\S+)$", said(file))]


def metrics(text: str) -> set[str]:
    """The metrics of ours that stand in it, by their whole names: crawl_..., not those that rules record (crawl:...)."""
    return set(re.findall(r"(?<![:\w\"-])crawl_\w+", text))


def recorded(text: str) -> set[str]:
    """What rules record that stands in it."""
    return set(re.findall(r"(?<![\w\"-])crawl:[\w:]+", text))


def family(metric: str) -> str:
    """The histogram that a series is a part of, or itself."""
    return PARTS.sub("", metric)


@cache
def dashboard() -> dict[str, Any]:
    """Grafana's."""
    return dict(json.loads((GRAFANA / "dashboards" / "faircrawl.json").read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class Expression:
    """What a panel asks."""

    panel: str
    text: str
    legend: str = ""

    @property
    def labels(self) -> set[str]:
        """The labels that its lines are named by."""
        return set(re.findall(r"\{\{(\w+)\}\}", self.legend))

    @property
    def plain(self) -> str:
        """With what Grafana would put in: all instances, and a short time."""
        return self.text.replace("$instance", ".*").replace("$__rate_interval", "1m")


def expressions() -> Iterator[Expression]:
    """What the panels, the annotations and the variables ask."""
    board = dashboard()
    for panel in board["panels"]:
        for one in panel.get("targets", ()):
            yield Expression(panel["title"], one["expr"], one["legendFormat"])
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield Expression(annotation["name"], annotation["expr"])


def wanted() -> set[str]:
    """Every metric of ours that a rule, a panel or a variable names."""
    texts = [
        *(said(file) for file in RULES),
        *(one.text for one in expressions()),
        *(json.dumps(dashboard()["templating"]),),
    ]
    return set().union(*map(metrics, texts))
