"""The message: what is encoded is decoded, and nothing else is taken for a turn."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import MessageError
from crawler.core.turns import VERSION, Turn, TurnUrl, decode, encode

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"))
URLS = st.builds(
    TurnUrl,
    crawl_id=st.integers(1, 2**31 - 1),
    url_hash=st.binary(min_size=16, max_size=16),
    url=TEXT,
    due_at=INT64,
    depth=st.integers(0, 32767),
    hops=st.integers(0, 32767),
    attempts=st.integers(0, 32767),
    seed=st.booleans(),
    outcome=st.none() | TEXT,
)
TURNS = st.builds(
    Turn,
    version=st.just(VERSION),
    domain_id=INT64,
    domain=TEXT,
    turn=st.integers(0, 2**63 - 1),
    urls=st.lists(URLS, max_size=5),
)


@given(TURNS)
def test_round_trip(turn: Turn) -> None:
    """A turn decodes to itself."""
    assert decode(encode(turn)) == turn


@given(TURNS, st.integers(-(2**63), 2**63 - 1).filter(lambda number: number != VERSION))
def test_other_version(turn: Turn, version: int) -> None:
    """A message of another version is refused and named, whatever else is in it."""
    body = msgspec.msgpack.encode([version, {"something": "new"}, *msgspec.to_builtins(turn)[1:]])

    with pytest.raises(MessageError, match=f"version {version}, this worker understands version {VERSION}"):
        decode(body)


@given(st.binary(max_size=200))
def test_noise(body: bytes) -> None:
    """Bytes that are no turn are refused as a message, never with another error."""
    with pytest.raises(MessageError):
        decode(body)


@given(TURNS, st.data())
def test_torn(turn: Turn, data: st.DataObject) -> None:
    """A turn that was cut short is refused."""
    body = encode(turn)
    kept = data.draw(st.integers(0, len(body) - 1))

    with pytest.raises(MessageError):
        decode(body[:kept])


@given(
    st.recursive(
        st.none() | INT64 | TEXT | st.binary(), lambda inner: st.lists(inner, max_size=4), max_leaves=12
    )
)
def test_other_shape(value: object) -> None:
    """A message of the right form and the wrong content is refused, also when its version is ours."""
    for body in (msgspec.msgpack.encode(value), msgspec.msgpack.encode([VERSION, value, value])):
        with pytest.raises(MessageError):
            decode(body)


def test_one_more_field() -> None:
    """A later worker of the same version may append a field to a URL: it is passed over."""
    turn = Turn(VERSION, 1, "a.example", 2, [TurnUrl(1, b"h", "https://a.example/", 3, 0, 0, 0, True, None)])  # noqa: FBT003 - a row
    plain = [
        VERSION,
        1,
        "a.example",
        2,
        [[1, b"h", "https://a.example/", 3, 0, 0, 0, True, None, "page", "new"]],
    ]

    assert decode(msgspec.msgpack.encode(plain)) == turn
