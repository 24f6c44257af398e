"""Grafana's dashboard: whether it is whole, reads well, and asks nobody but the Prometheus that was chosen."""

import itertools
import json
import re
from collections import Counter
from typing import Any, Final

from tests.deploy.files import GRAFANA, dashboard, expressions, names, recorded, said

PANELS: Final[list[dict[str, Any]]] = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
WIDTH: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def _cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    across = range(place["x"], place["x"] + place["w"])
    return set(itertools.product(across, range(place["y"], place["y"] + place["h"])))


def test_layout() -> None:
    """No panel lies over another or beyond the edge, and no line has a hole."""
    taken = Counter(cell for panel in dashboard()["panels"] for cell in _cells(panel))
    height = max(y for _, y in taken) + 1

    assert set(taken) == set(itertools.product(range(WIDTH), range(height)))
    assert set(taken.values()) == {1}


def test_every_panel_is_one_of_its_own() -> None:
    """Numbers and titles are given once, and everything is explained."""
    ids = Counter(panel["id"] for panel in dashboard()["panels"])
    titles = Counter(panel["title"] for panel in PANELS)

    assert {*ids.values(), *titles.values()} == {1}
    assert [panel["title"] for panel in PANELS if not panel["description"].endswith(".")] == []


def test_units_and_legends() -> None:
    """Every graph has a unit and names its lines; what is counted by something is named by it."""
    plain = [
        p["title"]
        for p in PANELS
        if p["type"] in {"timeseries", "stat"} and not p["fieldConfig"]["defaults"]["unit"]
    ]
    nameless = [
        panel["title"]
        for panel in PANELS
        if panel["type"] in {"timeseries", "state-timeline"}
        for one in panel["targets"]
        if not one["legendFormat"]
    ]
    lost = [
        one["expr"]
        for panel in PANELS
        for one in panel["targets"]
        if panel["type"] in {"timeseries", "state-timeline"}
        and (by := re.match(r"\w+ by \(([\w, ]+)\)", one["expr"]))
        and not all(f"{{{{{label}}}}}" in one["legendFormat"] for label in by[1].split(", "))
    ]

    assert (plain, nameless, lost) == ([], [], [])


def test_one_source() -> None:
    """Every question goes to the Prometheus that was chosen, and nothing comes from elsewhere."""
    asked = [SOURCE, *(panel["datasource"] for panel in PANELS)]
    asked += [one["datasource"] for panel in PANELS for one in panel["targets"]]

    assert [one for one in asked if one != SOURCE] == []
    assert re.findall(r"https?://", json.dumps(dashboard())) == []


def test_variables() -> None:
    """Prometheus is chosen by one variable and the machines by another, which every panel about machines goes by."""
    kinds = {one["name"]: one["type"] for one in dashboard()["templating"]["list"]}
    used = {name for one in expressions() for name in re.findall(r"\$(?!__)(\w+)", one.text)}

    assert kinds == {"datasource": "datasource", "instance": "query"}
    assert used == {"instance"}


def test_every_record_is_made() -> None:
    """What a panel asks of what rules record is recorded."""
    asked = set().union(*(recorded(one.text) for one in expressions()))

    assert asked - set(names("record")) == set()


def test_provisioning() -> None:
    """The folder that Grafana is told to look into is the one that its file says to mount."""
    file = GRAFANA / "provisioning" / "dashboards" / "faircrawl.yml"

    assert "path: /etc/grafana/dashboards" in said(file)
    assert "deploy/grafana/dashboards at /etc/grafana/dashboards" in file.read_text("utf-8")
    assert "uid: prometheus" in said(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")
