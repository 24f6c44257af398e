"""Text as PostgreSQL's full text search is given it: words, and nothing that would make it think for long.

1. What is given fits: a page of any length can be searched by its first part.
2. A question is read as the pages were: quotes, a leading minus and "or" mean something, all other signs none.

PostgreSQL's parser knows URLs, addresses, paths, tags and words with hyphens, and stores each as a whole and in parts: a text of such
things can take it minutes, and more room than it has. Without signs there are only words and numbers.
"""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

MOST: Final = 256 << 10
"""Bytes of a text that are read: with 1 MB at most of words and places, PostgreSQL holds that of any text (textsearch limitations)."""
SIMPLE: Final = "simple"
"""The dictionary that takes words as they are."""
_SIGNS: Final = dict.fromkeys((n for n in range(0x80) if not chr(n).isalnum()), " ")
_BLANKS: Final = re.compile(r"[\s\x00-\x1f]+")
_SIGN: Final = re.compile(r"[!-/:-@\[-`{-~]")
_LANGUAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
        "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
        "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali", "nl": "dutch",
        "nn": "norwegian", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
        "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
    }
)  # fmt: skip


def words_of(text: str) -> str:
    """The words of a text with single spaces for the signs of ASCII, as much of it as fits."""
    return signs_out(text.encode("utf-8", "replace")[:MOST].decode("utf-8", "ignore"))


def signs_out(text: str) -> str:
    """The text with a space for each sign of ASCII: each character stays in its place."""
    return text.translate(_SIGNS)


def blanks_folded(text: str) -> str:
    """The text on one line, with one space where there were blanks and control characters."""
    return _BLANKS.sub(" ", text)


def asked(question: str) -> str:
    """A question as the pages were read: ``crash -"power loss" or sqlite3_open()``."""
    return _SIGN.sub(_kept, question.translate({0: " "}).encode("utf-8", "replace").decode())


def _kept(sign: "re.Match[str]") -> str:
    text = sign[0]
    return text if text == '"' or (text == "-" and _begins(sign)) else " "


def _begins(sign: "re.Match[str]") -> bool:
    """Whether it stands before a word, and not within or after one."""
    before, after = sign.string[: sign.start()], sign.string[sign.end() :]
    return (not before or before[-1].isspace()) and bool(after) and (after[0] == '"' or after[0].isalnum())


def dictionary(language: str | None, known: Collection[str]) -> str:
    """The dictionary for pages of a language (a BCP 47 tag), of those that the server knows."""
    primary = (language or "").partition("-")[0].lower()
    name = _LANGUAGES.get(primary, SIMPLE)
    return name if name in known else SIMPLE


def dictionaries(known: Collection[str]) -> list[str]:
    """Every dictionary that a page may have been read by."""
    return sorted({SIMPLE, *(name for name in _LANGUAGES.values() if name in known)})
