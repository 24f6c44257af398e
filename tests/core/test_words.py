"""Text as full text search is given it, and questions read as the text was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.words import MOST, SIMPLE, asked, dictionaries, dictionary, words_of

TEXTS = st.text(st.characters(exclude_categories=()))


@given(TEXTS)
def test_only_words(text: str) -> None:
    """Of a text no sign of ASCII is left, nor what UTF-8 cannot say, and it is never longer than PostgreSQL bears."""
    said = words_of(text)

    assert all(sign.isalnum() or sign == " " for sign in said if ord(sign) < 0x80)
    assert len(said.encode()) <= MOST


def test_cut() -> None:
    """A long text is cut between two signs."""
    assert words_of("é" * MOST) == "é" * (MOST // 2)


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("crash recovery", "crash recovery"),
        ('"write-ahead log" -checkpoint', '"write ahead log" -checkpoint'),
        ('fsync -"power loss" or -x', 'fsync -"power loss" or -x'),
        ("sqlite3_open() a.b@c.de <b> 3.14 --x", "sqlite3 open   a b c de  b  3 14   x"),
        ("naïve … Größe", "naïve … Größe"),
        ("a\0b - -", "a b    "),
    ],
)
def test_asked(question: str, read: str) -> None:
    """Quotes and a minus before a word keep their meaning; other signs part words, as they do in the pages."""
    assert asked(question) == read


@given(TEXTS)
def test_any_question(question: str) -> None:
    """Any question can be sent to the server."""
    assert "\0" not in asked(question).encode().decode()


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("de", "german"),
        ("en-GB", "english"),
        ("EN", "english"),
        ("pl", SIMPLE),
        ("xx", SIMPLE),
        (None, SIMPLE),
    ],
)
def test_dictionary(language: str | None, name: str) -> None:
    """A page is read in its language, if the server knows that; else its words are taken as they are."""
    known = {"english", "german", SIMPLE}

    assert dictionary(language, known) == name
    assert name in dictionaries(known)
