"""The tools of Prometheus and Alertmanager: a test that cannot have them fails, with one line."""

import pytest

from tests.promtool import PACKAGES, NoToolError, tool


@pytest.fixture(scope="session")
def tools() -> None:
    """All of them are there."""
    why = ""
    try:
        for name in PACKAGES:
            tool(name)
    except NoToolError as error:
        why = str(error)
    if why:
        pytest.fail(why, pytrace=False)
