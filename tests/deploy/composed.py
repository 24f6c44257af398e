"""docker-compose.yml as it is read, for the tests of it and of the secrets that it asks for."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import yaml

from tests.deploy.files import ROOT

COMPOSE: Final = ROOT / "docker-compose.yml"


@cache
def composed() -> dict[str, Any]:
    """The Compose file."""
    return dict(yaml.safe_load(COMPOSE.read_text("utf-8")))


def services() -> dict[str, dict[str, Any]]:
    """What it starts."""
    return dict(composed()["services"])


def secrets_of(service: Mapping[str, Any]) -> set[str]:
    """The secrets that a service is given."""
    return set(service.get("secrets", ()))
