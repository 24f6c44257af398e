"""SimHash: near for texts that say nearly the same, far for others; laws, and a few facts that were measured."""

import random
from itertools import combinations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.simhash import ALIKE, BITS, FEWEST, LONG, MOST, NEAR, SHORT, distance, simhash

TEXTS: Final = st.text(st.characters(exclude_categories=()), max_size=4000)
HASHES: Final = st.integers(-(2**63), 2**63 - 1)
WORDS: Final = [
    f"{a}{b}{c}{d}"
    for a in ("ka", "mo", "tru", "ble", "shi")
    for b in ("", "bal", "ga", "min", "o", "pe", "rut", "sky", "ti", "von")
    for c in ("al", "en", "ir", "ost", "utz", "ch")
    for d in ("ae", "es", "en", "a", "ig", "", "or", "ung", "s", "t")
]
"""Of a made language: 3,000."""
SIGNS: Final = [chr(0x4E00 + n) for n in range(2000)]


def words(seed: int, many: int) -> list[str]:
    """A text of so many words, some of which come often, as in any language."""
    dice = random.Random(seed)
    return [WORDS[int(len(WORDS) * dice.random() ** 4)] for _ in range(many)]


def edited(text: list[str], many: int, seed: int) -> list[str]:
    """The text with so many words changed, struck out or added."""
    dice, text = random.Random(seed), text.copy()
    for _ in range(many):
        place, word = dice.randrange(len(text)), dice.choice(WORDS)
        text[place : place + dice.randrange(2)] = [word] * dice.randrange(2)
    return text


def known(text: str) -> int:
    """The SimHash of a text that has one."""
    found = simhash(text)
    assert found is not None
    return found


@given(TEXTS)
def test_any_text(text: str) -> None:
    """Any text has a number that PostgreSQL's bigint holds, or none; always the same."""
    found = simhash(text)

    assert found is None or -(2**63) <= found < 2**63
    assert found == simhash(text)


@given(HASHES, HASHES, HASHES)
def test_a_distance(one: int, other: int, third: int) -> None:
    """Distances are those of a space: none to itself, the same there and back, and no way round is shorter."""
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) <= BITS
    assert (distance(one, other) == 0) == (one == other)
    assert distance(one, third) <= distance(one, other) + distance(other, third)


@given(st.integers(0, 10_000), st.sampled_from([40, 90, 600]))
def test_what_does_not_count(seed: int, many: int) -> None:
    """Neither the order of the words counts, nor their case, nor digits, signs and white space between them."""
    text = words(seed, many)
    mixed = random.Random(seed).sample(text, many)

    assert (
        simhash(" ".join(text))
        == simhash("\n".join(mixed))
        == simhash(" 17, ".join(word.upper() for word in text))
    )


@pytest.mark.parametrize("many", [300, 1000, 4000])
def test_near_and_far(many: int) -> None:
    """Of texts in which one word in fifty was changed nine of ten are within `NEAR`; of others of the same language none is."""
    texts = [words(seed, many) for seed in range(40)]
    hashes = [known(" ".join(text)) for text in texts]
    changed = [known(" ".join(edited(text, many // 50, seed))) for seed, text in enumerate(texts)]
    near = [distance(one, other) <= NEAR for one, other in zip(hashes, changed, strict=True)]

    assert sum(near) >= 36
    assert min(distance(one, other) for one, other in combinations(hashes, 2)) > NEAR


def test_signs_without_spaces() -> None:
    """A script without spaces is told too: of texts of which a sign in a hundred was changed most are near, and others are not."""
    hashes, changed = [], []
    for seed in range(30):
        dice = random.Random(seed)
        text = dice.choices(SIGNS, k=1500)
        hashes.append(known("".join(text)))
        for _ in range(15):
            text[dice.randrange(len(text))] = dice.choice(SIGNS)
        changed.append(known("".join(text)))
    near = [distance(one, other) for one, other in zip(hashes, changed, strict=True)]

    assert sum(near) / len(near) < 12
    assert min(distance(one, other) for one, other in combinations(hashes, 2)) > 12


@pytest.mark.parametrize("text", ["", " \n\t", "1 2 3", " ".join(WORDS[: FEWEST - 1]), "word " * 5000])
def test_too_little(text: str) -> None:
    """A text of fewer different words has none: one that changes might change any bit."""
    assert simhash(text) is None


@pytest.mark.parametrize("letter", ["n", "e", "ж", "語"])
def test_any_ending(letter: str) -> None:
    """A long text in which no word ends as those that count, or each does, has one all the same."""
    assert simhash(" ".join(f"{word}{letter}" for word in WORDS[:200])) is not None


def test_most() -> None:
    """What comes after so many words is not looked at."""
    text = " ".join(f"{word}n" for word in WORDS) * (2 * MOST // len(WORDS))

    assert simhash(text) == simhash(text + " ".join(words(1, 5000)))


def test_stored() -> None:
    """The number is the same on all machines and at all times, for it is stored; of a short text, a longer one and a long one."""
    short, longer, long = (" ".join(WORDS[:n]) for n in (40, 300, 1000))

    assert len(short) < SHORT < len(longer) < LONG < len(long)
    assert [simhash(short), simhash(longer), simhash(long)] == [
        176800977211903942,
        -8883814006235034219,
        8051605629397145286,
    ]


def test_bounds() -> None:
    """What costs a site its pages asks for more than what is shown to a person."""
    assert 0 < ALIKE < NEAR < BITS // 4
