"""Regular expressions of strangers: what they mean, and that none of them stops the house."""

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import UsageError
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.patterns import DEEPEST, FORGIVEN, LEAST_TIME, MOST_TIME, TOO_SLOW, Pattern, compiled
from crawler.core.scope import KeySet, Scope, exclusion
from tests.effort import Effort

HOSTILE = "http://h/" + "a" * 1000 + "!"
SLOW = ("(a+)+$", "(a|a)*$", "(.*?a){25}$", "(a+a+)+b", "(?:a?a?)*b|(a*)*c")
PARTS = (
    *"ab/.$^|*+?()",
    *(r"\.", r"\d", r"\w", r"\b", "(?:", "(?i:", "(?!", "(?=", "(?<!b", "*?", "{2}", "{1,3}", "{,2}", "{1,", "{e}", "{e<=1}"),
    *("{i}", "[ab]", "[^a]", "[]a]", "[[:alpha:]]", "[a||b]", "(?P<n>", "(?P=n)", r"\1", r"\{", r"\[", r"[\]]", "[\\[]"),
)  # fmt: skip
URLS = ("https://a.test/ab/ba1", "/a/b/aab", "abab", "A/\xc9/a.b?c=1", "{e}a[:l", "http://x/aaa-bbb_a|b")


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map("".join))
def test_an_expression_means_what_it_means_to_re(text: str) -> None:
    """What `re` takes is taken and finds the same URLs; what it does not take is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            usual = re.compile(text)
        except re.error:
            with pytest.raises(UsageError, match="is not a regular expression"):
                Pattern("--include", text)
            return
        ours = Pattern("--include", text)

    assert [usual.search(url) is not None for url in URLS] == [ours.search(url) for url in URLS]


@pytest.mark.parametrize("text", SLOW)
def test_a_slow_expression_is_interrupted(text: str) -> None:
    """An expression that would run for years is given up after a moment, and the next times sooner."""
    pattern = Pattern("--exclude", text)
    with Effort() as effort:
        found = {pattern.search(HOSTILE) for _ in range(1000)}

    assert found == {TOO_SLOW}
    assert pattern.seconds == LEAST_TIME
    assert effort.spent < 2


def test_an_expression_gets_its_time_back() -> None:
    """After many URLs in time an expression that had been slow may take longer again, up to the usual time."""
    pattern = Pattern("--exclude", "(a+)+$")
    pattern.search(HOSTILE)
    pattern.search(HOSTILE)
    for _ in range(FORGIVEN):
        pattern.search("http://h/")
    first = pattern.seconds
    for _ in range(2 * FORGIVEN):
        pattern.search("http://h/")

    assert (first, pattern.seconds) == (MOST_TIME / 2, MOST_TIME)


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_what_is_too_slow_is_refused(option: str) -> None:
    """A URL for which an expression takes too long is refused, and the reason names the expression."""
    crawl = Crawl(1, "x", CrawlState.RUNNING, 1, ScopeKind.ANY, **{option: ("(a+)+$",)})  # type: ignore[arg-type]

    assert Scope.of(crawl, KeySet()).refusal(HOSTILE, 1) == f"--{option} (a+)+$ takes too long for this URL"
    assert Scope.of(crawl, KeySet()).refusal("http://h/a", 1) == (
        None if option == "include" else "excluded by --exclude (a+)+$"
    )


def test_seeds_are_judged_in_time_too() -> None:
    """A seed for which --exclude takes too long is not taken."""
    assert (
        exclusion([compiled("--exclude", "(a+)+$")], HOSTILE)
        == "--exclude (a+)+$ takes too long for this URL"
    )
    assert exclusion([compiled("--exclude", "b")], HOSTILE) is None


def test_reading_an_expression_takes_no_longer_than_a_moment() -> None:
    """Groups in groups, for which the time to read an expression doubles, are refused beyond a depth that nobody needs."""
    deep = [f"{'(?:' * n}a{'{1,9})' * n}" for n in (DEEPEST, DEEPEST + 1, 1000)]
    with Effort() as effort:
        found = Pattern("--include", deep[0]).search("aaa")

    assert found is True
    assert effort.spent < 1
    for text in deep[1:]:
        with pytest.raises(UsageError, match=r"simpler|recursion"):
            Pattern("--include", text)
