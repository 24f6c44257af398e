"""Which links a crawl follows, and why not."""

import re
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import UsageError
from crawler.core.model import Crawl, CrawlState, ScopeKind
from crawler.core.scope import UNIT, KeySet, Scope, candidate_keys, scope_key
from crawler.core.urls import canonical, domain_id

SEED = "https://www.example.com/docs/intro?v=1/2"

bigints = st.integers(-(2**63), 2**63 - 1)
urls = st.builds(
    "{}://{}{}/{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["example.com", "www.example.com", "example.com.", "[::1]", "127.0.0.1", "localhost"]),
    st.sampled_from(["", ":8080"]),
    st.lists(st.sampled_from(["a", "b", "", "%2F"]), max_size=5).map("/".join),
    st.sampled_from(["", "?", "?q=/a/b"]),
)


def crawl(**changes: Any) -> Crawl:
    """A crawl of which only the scope matters."""
    return Crawl(
        **{"crawl_id": 1, "name": "x", "state": CrawlState.RUNNING, "version": 1, "scope": "any", **changes}
    )


def scope(kind: ScopeKind = ScopeKind.ANY, *seeds: str, **changes: Any) -> Scope:
    """The compiled scope of a crawl with these seeds."""
    return Scope.of(crawl(scope=kind, **changes), KeySet(scope_key(kind, seed) for seed in seeds))


@pytest.mark.parametrize(
    ("kind", "url", "inside"),
    [
        (ScopeKind.PAGE, SEED, True),
        (ScopeKind.PAGE, "https://www.example.com/docs/intro", False),
        (ScopeKind.PREFIX, SEED, True),
        (ScopeKind.PREFIX, "https://www.example.com/docs/", True),
        (ScopeKind.PREFIX, "https://www.example.com/docs/a/b/c?x=/", True),
        (ScopeKind.PREFIX, "https://www.example.com/docs", False),
        (ScopeKind.PREFIX, "https://www.example.com/docs2/", False),
        (ScopeKind.PREFIX, "https://www.example.com/", False),
        (ScopeKind.PREFIX, "https://www.example.com/?/docs/", False),
        (ScopeKind.PREFIX, "http://www.example.com/docs/", False),
        (ScopeKind.PREFIX, "https://www.example.com:444/docs/", False),
        (ScopeKind.HOST, "http://www.example.com:8080/elsewhere", True),
        (ScopeKind.HOST, "https://www.example.com./", True),
        (ScopeKind.HOST, "https://example.com/", False),
        (ScopeKind.DOMAIN, "http://other.example.com:81/", True),
        (ScopeKind.DOMAIN, "https://example.com./", True),
        (ScopeKind.DOMAIN, "https://example.org/", False),
        (ScopeKind.ANY, "http://anywhere.test/", True),
    ],
)
def test_kind(kind: ScopeKind, url: str, inside: bool) -> None:  # noqa: FBT001  # a column of the table
    """Each kind of scope reaches as far as its name says."""
    expected = None if inside else f"outside the scope {kind}"

    assert expected == scope(kind, SEED).refusal(url, 1)
    assert inside == any(key == scope_key(kind, SEED) for key in candidate_keys(kind, url))


@given(st.sampled_from(ScopeKind), urls)
def test_seed_is_in_its_scope(kind: ScopeKind, seed: str) -> None:
    """Found again as a link, a seed is in scope: its key is the first of its candidates."""
    url = canonical(seed)
    assert url is not None

    assert scope_key(kind, url) == next(candidate_keys(kind, url))
    assert -(2**63) <= scope_key(kind, url) < 2**63


@given(urls, urls)
def test_prefix_law(seed: str, link: str) -> None:
    """A link is in a prefix scope exactly if it starts with the seed's directory."""
    directory = seed.partition("?")[0].rpartition("/")[0] + "/"
    inside = link.partition("?")[0].startswith(directory)

    assert inside == (scope(ScopeKind.PREFIX, seed).refusal(link, 1) != "outside the scope prefix")


def test_every_kind_has_a_unit() -> None:
    """No kind of scope is forgotten."""
    assert set(UNIT) == set(ScopeKind)


def test_key_of_a_domain() -> None:
    """The key of a domain scope is the domain's own, so that SQL can compare the two."""
    assert domain_id("example.com") == scope_key(ScopeKind.DOMAIN, SEED)


def test_any_of_many_seeds() -> None:
    """One seed of many is enough to be in scope."""
    many = scope(ScopeKind.DOMAIN, "http://a.test/", "http://b.test/", SEED)

    assert [
        many.refusal(url, 1) for url in ("http://b.test/x", "https://example.com/", "http://c.test/")
    ] == [None, None, "outside the scope domain"]


def test_exclude_wins() -> None:
    """A URL that is included and excluded is excluded, and the reason names the expression."""
    picky = scope(include=("/docs/",), exclude=("x$", r"\.pdf$"))

    assert picky.refusal("http://h/docs/a.pdf", 1) == r"excluded by --exclude \.pdf$"


def test_include() -> None:
    """With --include, a link is followed if any of the expressions is found in it."""
    picky = scope(include=("/docs/", "^https:"))

    assert [picky.refusal(url, 1) for url in ("http://h/docs/", "https://h/", "http://h/")] == [
        None,
        None,
        "matches no --include",
    ]


def test_seed_is_only_excluded() -> None:
    """A seed was asked for by name: of all rules only --exclude refuses it."""
    picky = scope(ScopeKind.DOMAIN, "http://h/", include=("/docs/",), exclude=("private",), max_depth=1)

    assert picky.refusal("http://other/a/a/a", 0) is None
    assert picky.refusal("http://h/private", 0) == "excluded by --exclude private"


def test_max_depth() -> None:
    """Links farther from a seed than --max-depth are not followed."""
    shallow = scope(max_depth=3)

    assert [shallow.refusal("http://h/", depth) for depth in (3, 4)] == [None, "deeper than --max-depth 3"]


@pytest.mark.parametrize("max_depth", [None, 0])
def test_no_max_depth(max_depth: int | None) -> None:
    """Without a limit, or with 0, no link is too deep."""
    assert scope(max_depth=max_depth).refusal("http://h/", 1_000_000) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/a/a", "a path segment repeats: trap"),
        ("a/a/a/", "a path segment repeats: trap"),
        ("x/a/a/a/y?q", "a path segment repeats: trap"),
        ("a/b/a/b/a/b", "a path segment repeats: trap"),
        ("x/a/b/c/a/b/c/a/b/c.html/", None),
        ("x/a/b/c/a/b/c/a/b/c", "a path segment repeats: trap"),
        ("a/a/b/a/a/b/a/a/b/", "a path segment repeats: trap"),
        ("///", "a path segment repeats: trap"),
        ("a/a", None),
        ("a/a/aa", None),
        ("a/a/b/a/a", None),
        ("a/x/a/y/a/z", None),
        ("web/2024/https://example.com/2024/", None),
        ("?a/a/a/a", None),
        ("a/a/?a/a", None),
    ],
)
def test_repetition(path: str, reason: str | None) -> None:
    """A path in which segments follow themselves three times or more leads into a trap."""
    assert reason == scope().refusal(f"http://h/{path}", 1)


def test_path_depth() -> None:
    """A path of 50 segments is followed, one of 51 is not; a final slash does not count."""
    deep = "http://h/" + "/".join(str(number) for number in range(50))

    assert [scope().refusal(url, 1) for url in (deep, deep + "/", deep + "/x")] == [
        None,
        None,
        "path deeper than 50 segments",
    ]


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_every_cycle_is_found(before: list[str], cycle: list[str]) -> None:
    """Whatever stands before it, a cycle of any length is found at its third round."""
    url = "http://h/" + "/".join(before + cycle * 3)

    assert scope().refusal(url, 1) == "a path segment repeats: trap"


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=12))
def test_only_cycles_are_found(segments: list[str]) -> None:
    """A path is called a trap exactly if a regular expression for repetition agrees."""
    path = "/" + "/".join(segments)
    repeats = re.search(r"((?:/[^/]+)+?)\1\1(?=/|$)", path) is not None

    assert repeats == (scope().refusal(f"http://h{path}", 1) is not None)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        (
            "include",
            "a(b",
            "--include 'a(b' is not a regular expression: missing ), unterminated subpattern at character 2",
        ),
        ("exclude", "*", "--exclude '*' is not a regular expression: nothing to repeat at character 1"),
        ("exclude", "a{9999999999999}", "--exclude 'a{9999999999999}' is not a regular expression: "),
    ],
)
def test_bad_expression(option: str, text: str, message: str) -> None:
    """An expression that does not compile is refused in one line that shows where it is wrong."""
    with pytest.raises(UsageError) as caught:
        Scope.of(crawl(**{option: (text,)}), KeySet())

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.sets(bigints), bigints)
def test_small_and_large_key_sets_agree(keys: set[int], other: int) -> None:
    """Kept as a set or as an array, a key set holds what was put into it, once, and nothing else."""

    class Large(KeySet):
        SMALL = -1  # type: ignore[misc]  # to have an array of few keys

    for kept in (KeySet([*keys, *keys]), Large([*keys, *keys])):
        assert keys == set(kept)
        assert len(keys) == len(kept)
        assert all(key in kept for key in keys)
        assert (other in keys) == (other in kept)
        assert "x" not in kept  # type: ignore[comparison-overlap]  # a container answers any question


def test_large_key_set() -> None:
    """A million keys take less than 20 MB, are found, and are kept in order."""
    keys = range(-(2**62), 2**62, 2**63 // 1_000_000)
    tracemalloc.start()
    kept = KeySet(keys)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size < 20_000_000
    assert keys[123_456] in kept
    assert keys[123_456] + 1 not in kept
    assert 2**63 - 1 not in kept
    assert all(one < other for one, other in pairwise(kept))
    assert repr(kept) == f"<KeySet {len(keys):,} keys>"
