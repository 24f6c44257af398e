"""The marks of a site without end, in the spelling of a URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.traps import trap
from crawler.core.urls import canonical
from tests.effort import Effort


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("/a/1/b/a/2/b/a/3/b", "path segments repeat but for numbers: trap"),
        ("/shop/page2/x/page3/x/page4/x", "path segments repeat but for numbers: trap"),
        ("/news/x/news/y/news/z/news", "the path segment news comes back 4 times: trap"),
        ("/x/x/x/x/", "a path segment repeats: trap"),
        ("/?a=1&a=1&a=1", "the parameter a=1 stands 3 times in the query: trap"),
        ("/?b&a=1&c&a=1&d&a=1", "the parameter a=1 stands 3 times in the query: trap"),
        ("/?" + "&".join(f"f[{n}]=v{n}" for n in range(9)), "more than 8 values for the parameter f[]: trap"),
        (
            "/?" + "&".join(f"{c}{d}=1" for c in "abcdefg" for d in "vwxyz"),
            "a query of more than 30 parameters: trap",
        ),
        ("/login?next=%2Flogin%3Fnext%3D%252Flogin%25252525", "escaped three times over: trap"),
        ("/?a=1&amp;amp;amp;b=2", "escaped three times over: trap"),
    ],
)
def test_trap(rest: str, reason: str) -> None:
    """Paths and queries that grow by themselves are refused, with what gave them away."""
    url = canonical(f"http://h{rest}")

    assert url is not None
    assert reason == trap(url)


@pytest.mark.parametrize(
    "rest",
    [
        "/2024/01/15/2024/01/16/",
        "/1/1/1x/1/2/1/3",
        "/a/3/a/4/b/a",
        "/images/a/a3/a/a3/x.png",
        "/chapter/1/section/2/paragraph/3",
        "/v1/users/5/posts/6/comments/7",
        "/news/x/news/y/news/z",
        "/org/apache/commons/lang/org/apache/x.html",
        "/?a=1&a=1&b=2",
        "/?f[0]=red&f[1]=blue&f[2]=green",
        "/?" + "&".join(f"{name}=1" for name in "abcdefghijklmnopqrst"),
        "/?next=%2Fa%3Fb%3D%2526",
        "/?q=&q=",
        "/?&&&&&&",
    ],
)
def test_no_trap(rest: str) -> None:
    """What people link to is followed, though a segment, a parameter or a number comes back."""
    url = canonical(f"http://h{rest}")

    assert url is not None
    assert trap(url) is None


@given(
    st.lists(st.sampled_from(["news", "archive", "x"]), min_size=1, max_size=3),
    st.lists(st.integers(0, 9999), min_size=3, max_size=5, unique=True),
)
def test_a_counting_cycle_is_found(words: list[str], numbers: list[int]) -> None:
    """Words that follow themselves with another number each time are a trap at the third round at the latest."""
    path = "".join(f"/{'/'.join(words)}/{number}" for number in numbers)

    assert trap(f"http://h/start{path}") is not None


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.randoms(use_true_random=False))
def test_order_of_parameters(names: list[str], chance: object) -> None:
    """The same parameters in another order are the same for the traps."""
    one = [f"{name}={n % 2}" for n, name in enumerate(names * 2)]
    other = list(one)
    chance.shuffle(other)  # type: ignore[attr-defined]  # a random.Random

    assert (trap("http://h/?" + "&".join(one)) is None) == (trap("http://h/?" + "&".join(other)) is None)


@given(st.text(st.sampled_from("ab1/?&=%25amp;"), max_size=80))
def test_never_raises(rest: str) -> None:
    """Any canonical URL has an answer, in few words."""
    url = canonical(f"http://h/{rest}")

    assert url is not None
    assert len(trap(url) or "") < 120


def test_a_page_of_them_is_told_soon() -> None:
    """As many links as a page may have, each of which repeats as often as it can without being a trap, take no seconds."""
    thue = ["ab"[n.bit_count() % 2] for n in range(47)]  # nothing in it stands three times in a row
    links = [f"http://h/{'/'.join(thue)}/{n}" for n in range(5_000)]
    with Effort() as effort:
        found = {trap(link) for link in links}

    assert found == {None}
    assert effort.spent < 1.5
