"""Alertmanager's file: what amtool says of it, who is told of what, and what is kept back."""

import re
import time
from pathlib import Path
from typing import Final

import pytest

from tests.broker import LOOPBACK, free_port
from tests.deploy.files import ALERTMANAGER, names, said
from tests.promtool import Server, checked, running

PATIENCE: Final = 10.0
KEPT_BACK: Final = {
    "CrawlDatabaseAway w:1": False,
    "CrawlFrontierStalled any": True,
    "CrawlLeaseRenewalsMissed w:2": True,
    "CrawlMemoryShort w:1": False,
    "CrawlRecorderStuck w:3": True,
}
"""Which alerts are, while the database is away."""


def test_configuration(tools: None) -> None:
    """Amtool finds no fault with the configuration."""
    assert "SUCCESS" in checked("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "call"), ("warning", "mail"), ("none", "mail")]
)
def test_who_is_told(tools: None, severity: str, receiver: str) -> None:
    """What is critical calls somebody; all else is a mail."""
    config = f"--config.file={ALERTMANAGER}"
    to = checked("amtool", "config", "routes", "test", config, f"severity={severity}", "alertname=Any")

    assert to.strip() == receiver


def test_no_secret() -> None:
    """A password or a token stands in a file of its own."""
    keys = re.findall(r"(?m)^\s*-?\s*(\S*(?:password|credentials|secret|token|key)\w*):", said(ALERTMANAGER))

    assert sorted(keys) == ["credentials_file", "smtp_auth_password_file"]


def test_only_alerts_of_ours_are_kept_back() -> None:
    """What explains and what is explained are alerts that there are."""
    named = set(re.findall(r"\bCrawl\w+", said(ALERTMANAGER)))

    assert named - set(names("alert")) == set()


def _inhibited(alertmanager: Server) -> dict[str, bool]:
    """Each alert, on each machine: whether it is kept back."""
    return {
        f"{one['labels']['alertname']} {one['labels']['instance']}": bool(one["status"]["inhibitedBy"])
        for one in alertmanager.get("/api/v2/alerts")
    }


def test_what_is_kept_back(tools: None, tmp_path: Path) -> None:
    """While the database is away nobody is told what follows from it, and is told of what does not."""
    port = free_port()
    options = (
        f"--config.file={ALERTMANAGER}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
    )
    with running(port, tmp_path, "prometheus-alertmanager", *options) as alertmanager:
        told = [
            {"labels": {"alertname": name, "instance": where}} for name, where in map(str.split, KEPT_BACK)
        ]
        alertmanager.post("/api/v2/alerts", told)
        deadline = time.monotonic() + PATIENCE
        while (found := _inhibited(alertmanager)) != KEPT_BACK and time.monotonic() < deadline:
            time.sleep(0.05)  # who explains is taken note of a moment later

    assert found == KEPT_BACK
