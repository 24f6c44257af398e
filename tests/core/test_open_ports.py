"""Which ports may be connected to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.open_ports import BLOCKED, DEFAULT, refusal

PORT = st.integers(0, 65535)
RANGES = st.lists(st.tuples(PORT, PORT).map(lambda ends: (min(ends), max(ends))), max_size=4).map(tuple)


@pytest.mark.parametrize("port", [80, 443, 1024, 3306, 8080, 65535])
def test_open_by_default(port: int) -> None:
    """80, 443 and ports above 1023 are open."""
    assert refusal(port, DEFAULT) is None


@pytest.mark.parametrize("port", [0, 1, 22, 25, 79, 81, 442, 444, 1023])
def test_closed_by_default(port: int) -> None:
    """Other ports below 1024 are closed."""
    assert refusal(port, DEFAULT) == f"port {port} is not one of the ports that may be connected to"


@pytest.mark.parametrize("port", sorted(BLOCKED))
def test_what_browsers_block(port: int) -> None:
    """Ports that the Fetch Standard blocks are closed, and a range does not open them; their own number does."""
    reason = f"port {port} is for {BLOCKED[port]}, and closed to browsers too"

    assert refusal(port, DEFAULT) == refusal(port, ((1, 65535),)) == reason
    assert refusal(port, (*DEFAULT, (port, port))) is None


@given(PORT, RANGES)
def test_only_what_is_named_is_open(port: int, ports: tuple[tuple[int, int], ...]) -> None:
    """A port that no range holds is closed; one that a range holds is open, unless browsers block it."""
    inside = any(first <= port <= last for first, last in ports)

    assert inside or refusal(port, ports) is not None
    assert not inside or port in BLOCKED or refusal(port, ports) is None
