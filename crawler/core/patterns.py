"""The regular expressions of a crawl: what `re` takes for one, searched for no longer than a moment.

    text ──► re.compile: is it one? ──► the same for `regex`, which can be interrupted ──► search ──► found, not found, TOO_SLOW

1. An expression means what it means to `re`; what only `regex` knows (fuzzy matches, POSIX classes) is taken literally, as `re` does.
2. An expression that was too slow for a URL has half the time for the next, and the time again when many came in time:
   a page with thousands of hostile links costs a second, not a minute.
"""

import re
from functools import lru_cache
from typing import Final, Literal

import regex

from crawler.core.errors import UsageError

MOST_TIME: Final = 0.05
"""Seconds for one URL, of processor time. A sound expression needs some millionths."""
LEAST_TIME: Final = 0.0002
FORGIVEN: Final = 1000
"""After so many searches in time the time is doubled again."""
DEEPEST: Final = 12
"""Groups in groups: `regex` takes twice as long for each to read an expression."""
TOO_SLOW: Final = "too slow"

_QUANTIFIER: Final = re.compile(r"\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\}")


class Pattern:
    """An expression. Searching changes only how long the next search may take."""

    __slots__ = ("_in_time", "_search", "seconds", "text")

    def __init__(self, option: str, text: str) -> None:
        _check(option, text)
        self.text = text
        self.seconds = MOST_TIME
        self._in_time = 0
        try:
            self._search = regex.compile(_plain(option, text), regex.V0, cache_pattern=False).search
        except (regex.error, OverflowError, RecursionError) as error:
            raise _unreadable(option, text, str(error)) from None

    def __repr__(self) -> str:
        return f"<Pattern {self.text!r} {self.seconds * 1000:g} ms>"

    def search(self, url: str) -> "bool | Literal['too slow']":
        """Whether it is found in a URL, or `TOO_SLOW`: nobody knows. What is not known is never False."""
        try:
            found = self._search(url, timeout=self.seconds) is not None
        except TimeoutError:
            self.seconds = max(self.seconds / 2, LEAST_TIME)
            self._in_time = 0
            return TOO_SLOW
        if self.seconds < MOST_TIME:
            self._in_time += 1
            if self._in_time >= FORGIVEN:
                self.seconds = min(self.seconds * 2, MOST_TIME)
                self._in_time = 0
        return found


@lru_cache(maxsize=1024)
def compiled(option: str, text: str) -> Pattern:
    """The expression that an option was given, one for all who have the same: what is known of its pace holds for all.

    Raises:
        UsageError: it is none; the message shows the place.
    """
    return Pattern(option, text)


def _check(option: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        place = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise _unreadable(option, text, f"{error.msg}{place}") from None
    except (OverflowError, RecursionError) as error:
        raise _unreadable(option, text, str(error)) from None


def _unreadable(option: str, text: str, problem: str) -> UsageError:
    return UsageError(f"{option} {text!r} is not a regular expression: {problem}")


def _plain(option: str, text: str) -> str:
    """The same with what only `regex` would read something into escaped: a brace that counts nothing, a bracket in a class."""
    parts: list[str] = []
    depth = place = 0
    while place < len(text):
        sign, size = text[place], 1
        if sign == "\\":
            size = 2
        elif sign == "[":
            size = _class(text, place)
            inner = text[place + 1 : place + size]
            parts.append("[" + re.sub(r"\\.|\[", lambda found: found[0] if found[0] != "[" else r"\[", inner))
            place += size
            continue
        elif sign == "{":
            counts = _QUANTIFIER.match(text, place)
            size = len(counts[0]) if counts else 1
            parts.append("" if counts else "\\")
        elif sign == "(":
            depth += 1
            if depth > DEEPEST:
                raise UsageError(
                    f"{option} {text[:80]!r} has more than {DEEPEST} groups in one another: write it simpler"
                )
        elif sign == ")":
            depth -= 1
        parts.append(text[place : place + size])
        place += size
    return "".join(parts)


def _class(text: str, start: int) -> int:
    """How long the class that begins there is: a bracket that closes may stand first in it."""
    end = start + 1
    end += text.startswith("^", end)
    end += text.startswith("]", end)
    while end < len(text) and text[end] != "]":
        end += 2 if text[end] == "\\" else 1
    return end + 1 - start
