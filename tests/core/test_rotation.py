"""Whose turn it is to answer."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.rotation import LONGEST_REST, Rotation

EVENTS = st.lists(
    st.tuples(st.sampled_from(["knew", "failed", "order"]), st.integers(0, 3), st.floats(0, 30)), max_size=60
)


@given(st.integers(1, 8), st.integers(1, 10))
def test_healthy_servers_are_first_equally_often(count: int, rounds: int) -> None:
    """In any number of rounds each server is asked first once a round."""
    rotation = Rotation(count)
    first = Counter(rotation.order(0.0)[0] for _ in range(count * rounds))

    assert first == dict.fromkeys(range(count), rounds)


@given(EVENTS)
def test_nobody_is_left_out(events: list[tuple[str, int, float]]) -> None:
    """Whatever has happened, an order names every server once, and the healthy before those that rest."""
    rotation, now = Rotation(4), 0.0
    for event, number, later in events:
        now += later
        match event:
            case "knew":
                rotation.knew(number, now)
            case "failed":
                rotation.failed(number, now - later, now)
            case _:
                rotation.order(now)

        assert sorted(rotation.order(now)) == [0, 1, 2, 3]


def test_evenly_without_the_one_that_rests() -> None:
    """While one server rests, the others share its questions evenly."""
    rotation = Rotation(3)
    rotation.failed(1, 0.0, 1.0)
    first = Counter(rotation.order(1.5)[0] for _ in range(100))

    assert first == {0: 50, 2: 50}


def test_one_question_tries_a_server_that_has_rested() -> None:
    """When a rest is over, one question goes there first, and the others wait for nobody."""
    rotation = Rotation(2)
    rotation.failed(0, 0.0, 1.0)
    orders = [rotation.order(3.5)[0] for _ in range(5)]

    assert orders == [0, 1, 1, 1, 1]


def test_a_server_that_answers_on_trial_is_healthy() -> None:
    """A server that answers is in the rotation again at once."""
    rotation = Rotation(2)
    rotation.failed(0, 0.0, 1.0)
    rotation.order(3.5)
    rotation.knew(0, 3.6)

    assert Counter(rotation.order(3.7)[0] for _ in range(10)) == {0: 5, 1: 5}


def test_rests_grow_to_a_minute() -> None:
    """A server that never comes back is tried after 2, 4, 8, 16, 32 s, then every minute, fifteen hundred times over."""
    rotation, now = Rotation(2), 1.0
    trials: list[float] = []
    rotation.failed(0, 0.0, now)
    while len(trials) < 1_500:
        now += 1.0
        if rotation.order(now)[0] == 0:
            trials.append(now)
    waits = [later - sooner for sooner, later in zip([1.0, *trials], trials, strict=False)]

    assert waits[:5] == [2, 4, 8, 16, 32]
    assert set(waits[5:]) == {LONGEST_REST}


def test_one_rest_for_a_burst() -> None:
    """Two hundred questions that fail together are one failure."""
    rotation = Rotation(2)
    for _ in range(200):
        rotation.failed(0, 0.0, 1.0)

    assert rotation.order(3.5)[0] == 0


def test_a_server_that_answers_others_is_not_blamed() -> None:
    """A server that answered something since it was asked does not rest for a name that it could not resolve."""
    rotation = Rotation(2)
    rotation.knew(0, 5.0)
    rotation.failed(0, 4.0, 6.0)

    assert {rotation.order(6.0)[0] for _ in range(2)} == {0, 1}
