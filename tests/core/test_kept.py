"""Answers kept for as long as they hold, and a while longer for emergencies."""

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.kept import MAX_STALE, STALE_TTL, KeptAnswers

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "believe"]), st.integers(0, 4), st.floats(0, 5000), st.floats(0, 2000)
    ),
    max_size=40,
)


def kept(ttl: float = 10.0) -> KeptAnswers[str]:
    """With one answer, given at 0."""
    made: KeptAnswers[str] = KeptAnswers(10)
    made.keep("a", "first", ttl, 0.0)
    return made


def test_fresh_until_its_time_is_over() -> None:
    """An answer is fresh, with the time it has left, until its time is over; then it is stale."""
    made = kept()

    assert made.fresh("a", 4.0) == ("first", 6.0)
    assert made.stale("a", 4.0) is None
    assert made.fresh("a", 10.0) is None
    assert made.stale("a", 10.0) == "first"


def test_believed_for_half_a_minute() -> None:
    """A stale answer that is believed is fresh for 30 s, and still the same."""
    made = kept()
    life = made.believe("a", 100.0)

    assert life == STALE_TTL == 30
    assert made.fresh("a", 129.0) == ("first", 1.0)
    assert made.fresh("a", 130.0) is None


def test_a_real_answer_replaces_it() -> None:
    """A new answer replaces one that is believed."""
    made = kept()
    made.believe("a", 100.0)
    made.keep("a", "second", 60.0, 101.0)

    assert made.fresh("a", 102.0) == ("second", 59.0)


@given(STEPS)
def test_laws(steps: list[tuple[str, int, float, float]]) -> None:
    """Nothing is believed longer than an hour after its time, and there are never more answers than there is room."""
    made: KeptAnswers[float] = KeptAnswers(3)
    now, ends = 0.0, dict[str, float]()
    for step, number, later, ttl in steps:
        now += later
        name = str(number)
        if step == "keep":
            made.keep(name, now + ttl, ttl, now)
            ends[name] = now + ttl
        elif made.stale(name, now) is not None:
            made.believe(name, now)
        for one, end in ends.items():
            fresh = made.fresh(one, now)

            assert fresh is None or fresh[0] == end
            assert fresh is None or now + fresh[1] <= end + MAX_STALE + 1e-6
            assert made.stale(one, now) is None or end <= now < end + MAX_STALE
        assert len(made) <= 3


def test_the_one_not_asked_for_longest_goes_first() -> None:
    """When there is no room, the answer goes that nobody has asked for longest."""
    made: KeptAnswers[str] = KeptAnswers(2)
    made.keep("a", "a", 10, 0)
    made.keep("b", "b", 10, 0)
    made.fresh("a", 1)
    made.keep("c", "c", 10, 1)

    assert [made.fresh(name, 2) is not None for name in "abc"] == [True, False, True]
