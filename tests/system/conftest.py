"""What the tests of many machines have in common."""

import pytest


@pytest.fixture(params=["postgres", "rabbit"])
def carrier(request: pytest.FixtureRequest) -> tuple[str, str] | None:
    """The queue that carries the turns: RabbitMQ and what the queues' names begin with; None: PostgreSQL."""
    if request.param == "postgres":
        return None
    found: tuple[str, str] = request.getfixturevalue("amqp")
    return found
