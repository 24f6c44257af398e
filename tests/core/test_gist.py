"""What a page says: equal for pages that say the same, however they are called and numbered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.gist import FEW, gist

CALENDAR = "Calendar\nMo Tu We Th Fr Sa Su\n" + " ".join(map(str, range(1, 32)))


@pytest.mark.parametrize(
    ("one", "url", "other", "another_url"),
    [
        ("page 1 of 9", "http://h/1", "page 2 of 9", "http://h/2"),
        (f"{CALENDAR} 2024", "http://h/2024", f"{CALENDAR}\n\n2031", "http://h/2031"),
        ("No page /abc here", "http://h/abc", "No page /xyz?q here", "http://h/xyz?q"),
        ("No page /über here", "http://h/%C3%BCber", "No page /oder here", "http://h/oder"),
        ("Welcome to red.h.test!", "http://red.h.test/", "Welcome to blue.h.test!", "http://blue.h.test/"),
        ("17", "http://h/17", "18", "http://h/18"),
    ],
)
def test_same(one: str, url: str, other: str, another_url: str) -> None:
    """Numbers, white space and the page's own address are not what it says."""
    assert gist(one, url) == gist(other, another_url)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("May", "June"),
        ("a" + "1" * (FEW + 1), "a" + "2" * (FEW + 1)),
        ("Line 1: a", "Line 1: b"),
    ],
)
def test_different(one: str, other: str) -> None:
    """Words are what a page says, and so are the digits of a table that is full of them."""
    assert gist(one, "http://h/") != gist(other, "http://h/")


@pytest.mark.parametrize("text", ["", " \n\t", "/page", "http.example"])
def test_nothing(text: str) -> None:
    """A page without text says nothing, nor does one with its own address alone."""
    assert gist(text, "http://http.example/page") is None


def test_stored() -> None:
    """The number is the same on all machines and at all times, for it is stored."""
    assert (
        gist("What it says, 7 times", "http://h/") == 284212619219669720
    )  # b2sum -l 64 of "Whatitsays,times"


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(["http://h/", "http://h/a b?é"]))
def test_fits_a_bigint(text: str, url: str) -> None:
    """Any text has a number that PostgreSQL's bigint holds, or none."""
    assert -(2**63) <= (gist(text, url.replace(" ", "%20")) or 0) < 2**63
