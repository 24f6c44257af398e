"""What a hook may say: whatever it is, what is kept of it can be stored."""

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.links import MAX_LINKS
from crawler.core.said import DEEPEST, LONGEST, Found, Refuse, Said, WrongError, cut, said, size_of

URL = "http://a.test/shop/"
texts = st.text(st.characters(exclude_categories=()), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, plain, max_size=5))
def test_fields_can_be_stored(fields: dict[str, Any]) -> None:
    """Whatever JSON has a word for is kept as JSON that PostgreSQL takes: no NUL, no half of a pair, no NaN."""
    kept = said(MappingProxyType(fields), URL).fields

    assert b"\\u0000" not in kept
    assert b"\\ud8" not in kept
    assert json.loads(kept or b"{}", parse_constant=pytest.fail).keys() == {
        "".join("\ufffd" if sign == "\0" or "\ud800" <= sign <= "\udfff" else sign for sign in key)
        for key in fields
    }


@given(st.lists(texts | st.sampled_from(["/a", "b", "//b.test", "https://c.test/?q=ö#x", "javascript:x"])))
def test_links_are_canonical(links: list[str]) -> None:
    """Links are canonical and unique, and none is the page itself."""
    kept = said(Found(links=links), URL).links

    assert len(set(kept)) == len(kept)
    assert all(link.startswith(("http://", "https://")) and link != URL for link in kept)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, Said()),
        ({}, Said()),
        ({"a": 1}, Said(b'{"a":1}')),
        ({"a": float("nan"), "b": {"x"}}, Said(b'{"a":null,"b":["x"]}')),
        (
            Found({"ö": "\0"}, ["../x", "/x", "y"]),
            Said('{"ö":"\ufffd"}'.encode(), ("http://a.test/x", "http://a.test/shop/y")),
        ),
        (Refuse("no  \n more"), Said(refusal="no more")),
        (Refuse(""), Said(refusal="not wanted")),
        (Refuse("x" * 500), Said(refusal="x" * (LONGEST - 3) + "...")),
    ],
)
def test_what_is_kept(value: object, kept: Said) -> None:
    """What each kind of answer means."""
    assert said(value, URL) == kept


@given(texts | st.text('"\\\n\x01aö\U0001f375', max_size=60), st.integers(2, 40))
def test_what_is_cut(text: str, most: int) -> None:
    """A text is cut where it would take more than so many bytes as JSON, quotes included, and no sooner."""
    kept = cut(text, most)
    whole = json.loads(said({"x": text}, URL).fields)["x"]

    assert size_of({"": kept}) - len('{"":}') <= most
    assert whole.startswith(kept)
    assert (kept == whole) == (size_of({"": whole}) - len('{"":}') <= most)


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    return {"x": deep(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    ("value", "about"),
    [
        (42, "returned an int"),
        ("x", "returned a str"),
        ([], "returned a list"),
        ({1: 2}, "a key of its fields is an int"),
        ({"a": {"b": object()}}, r"its fields\['a'\]\['b'\] is an object"),
        ({"a": b"x"}, "is a bytes"),
        ({"a": 10**5000}, "too long"),
        ({"a": "x" * 100}, "take 108 bytes, and there is room for 100"),
        (deep(DEEPEST + 2), "levels deep"),
        (Found(fields=[1]), "its fields are a list"),  # type: ignore[arg-type]
        (Found(links="http://a.test/"), "its links are a str"),
        (Found(links=[b"/x"]), "one of its links is a bytes"),  # type: ignore[list-item]
    ],
)
def test_what_is_wrong(value: object, about: str) -> None:
    """What cannot be kept is said in words for whoever wrote the hook."""
    with pytest.raises(WrongError, match=about):
        said(value, URL, 100)


def test_endless_links() -> None:
    """Of links without end the first are kept."""
    endless = (f"/{number}" for number in iter(int, 1))

    assert len(said(Found(links=endless), URL).links) <= MAX_LINKS
