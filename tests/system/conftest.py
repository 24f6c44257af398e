"""What the tests of whole programs have in common."""

import subprocess
from pathlib import Path

import pytest

from crawler.opening import opened
from crawler.settings import Settings
from tests.broker import run_apart


@pytest.fixture(params=["postgres", "rabbit"])
def carrier(request: pytest.FixtureRequest) -> tuple[str, str] | None:
    """The queue that carries the turns: RabbitMQ and what the queues' names begin with; None: PostgreSQL."""
    if request.param == "postgres":
        return None
    found: tuple[str, str] = request.getfixturevalue("amqp")
    return found


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which a command was run that left nothing: initdb costs more than most crawls here."""
    folder = tmp_path_factory.mktemp("begun") / "data"

    async def begin() -> None:
        async with opened(Settings(data=folder)):
            pass

    run_apart(begin())
    return folder


@pytest.fixture
def data(begun: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own: the database is made, and empty."""
    folder = tmp_path / "data"
    # What belongs to the server's user stays that user's, which shutil does not see to.
    subprocess.run(["cp", "-a", begun, folder], check=True)
    return folder
