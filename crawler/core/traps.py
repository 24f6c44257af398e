"""The marks of a site without end, in the spelling of a URL.

    /a/a/a      /a/b/a/b/a/b      /a/1/b/a/2/b/a/3/b      /news/x/news/y/news/z/news
    ?a=1&a=1&a=1      ?f=1&f=2&...&f=9      ?next=%252525...      ?a&amp;amp;amp;b

1. Only what no person would link to is refused: of 65,000 URLs of published documentation not one.
2. What has no such mark and no end all the same (calendars, counters, host names) is told by what its pages say: its `gist`, and by
what that leaves of the budget of its domain (migrations/0004_traps.sql).

Heritrix refuses three equal segments in a row (PathologicalPathDecideRule), Nutch a segment that comes back twice with one between
(regex-urlfilter.txt, "to break loops").
"""

import re
from collections import Counter
from typing import Final

MAX_SEGMENTS: Final = 50
"""Deeper paths are made by a machine that knows no end (Heritrix: 20)."""

REPEATS: Final = 3
"""So many times in a row, a segment or a cycle of segments is a trap: ``/a/a/a``, ``/a/b/a/b/a/b``."""

OFTEN: Final = 4
"""So many times anywhere in a path, a segment is one: a relative link that is read against a deeper page each time."""

WORD: Final = 3
"""Characters from which on a segment counts for `OFTEN`: dates (``/1/1/``) and the folders of a hash (``/a/3/a/``) have fewer."""

MAX_PARAMETERS: Final = 30
"""More of them in a query, and it grows by itself: each link adds another."""

MAX_VALUES: Final = 8
"""More for one parameter (``f[0]``, ``f[1]``, ... are one), and it is a choice of facets without end."""

ESCAPES: Final = ("%252525", "amp;amp;amp;")
"""Escaped three times over: the address of a page handed on within the next one's (``?next=``), or a link that is escaped anew at
each step."""

SHOWN: Final = 40
"""Characters of a segment or a parameter in a reason."""

_DIGITS: Final = re.compile(r"\d+")

_OTHERS, _WORDS = 0x100, 0x200
"""From where on letters stand for segments, those without a nought being words."""
_CYCLE: Final = re.compile(rf"(.{{1,{MAX_SEGMENTS // REPEATS}}}?)\1{{{REPEATS - 1}}}")
_CYCLE_WITH_WORD: Final = re.compile(
    rf"([\u0100-\u01ff]{{0,{MAX_SEGMENTS // REPEATS}}}+[\u0200-\u02ff].{{0,{MAX_SEGMENTS // REPEATS}}}?)\1{{{REPEATS - 1}}}"
)


def trap(url: str) -> str | None:
    """Why a link (a canonical URL) leads into a trap, for a person; None: it bears no mark of one."""
    found = _trap_in_query(url) if "?" in url else None
    if found is not None or url.count("/") < REPEATS + 2:  # two in "//" and one before each segment
        return found
    path = url[url.index("/", 8) + 1 :].partition("?")[0].removesuffix("/")
    segments = path.split("/")
    if len(segments) > MAX_SEGMENTS:
        return f"path deeper than {MAX_SEGMENTS} segments"
    if len(segments) - len(set(segments)) < REPEATS - 1:
        return None
    return _trap_in_path(segments)


def _trap_in_path(segments: list[str]) -> str | None:
    """Of segments that come back."""
    if _repeats(segments):
        return "a path segment repeats: trap"
    for name, times in Counter(segments).most_common():
        if times >= OFTEN and len(name) >= WORD:
            return f"the path segment {name[:SHOWN]} comes back {times} times: trap"
    return "path segments repeat but for numbers: trap" if _counts_on(segments) else None


def _trap_in_query(url: str) -> str | None:
    """Of parameters that repeat or multiply, or are escaped again and again."""
    if ESCAPES[0] in url or ESCAPES[1] in url:
        return "escaped three times over: trap"
    count = url.count("&") + 1
    if count < REPEATS:
        return None
    if count > MAX_PARAMETERS:
        return f"a query of more than {MAX_PARAMETERS} parameters: trap"
    parameters = [piece for piece in url.partition("?")[2].split("&") if piece]
    if len(parameters) - len(set(parameters)) >= REPEATS - 1:
        piece, times = Counter(parameters).most_common(1)[0]
        if times >= REPEATS:
            return f"the parameter {piece[:SHOWN]} stands {times} times in the query: trap"
    if len(parameters) > MAX_VALUES:
        names = Counter(_DIGITS.sub("", piece.partition("=")[0]) for piece in parameters)
        name, times = names.most_common(1)[0]
        if times > MAX_VALUES:
            return f"more than {MAX_VALUES} values for the parameter {name[:SHOWN]}: trap"
    return None


def _repeats(segments: list[str]) -> bool:
    """Whether a run of segments follows itself often enough, whatever its length."""
    return _CYCLE.search(_lettered(segments)) is not None


def _counts_on(segments: list[str]) -> bool:
    """Whether a run of segments follows itself but for the numbers in it, with a word in it that stays: ``/a/1/a/2/a/3``."""
    return _CYCLE_WITH_WORD.search(_lettered([_DIGITS.sub("0", segment) for segment in segments])) is not None


def _lettered(segments: list[str]) -> str:
    """A letter for each segment, the same for equal ones: 50 short strings are compared too slowly for 5,000 links of a page."""
    numbers: dict[str, int] = {}
    return "".join(
        [
            chr((_WORDS if one and "0" not in one else _OTHERS) + numbers.setdefault(one, len(numbers)))
            for one in segments
        ]
    )
