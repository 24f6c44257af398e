"""What a page says about itself in the small languages of headers, ``<meta>`` and ``rel``.

Whatever stands there, reading it takes linear time and raises nothing.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

AGENT: Final = "faircrawl"
"""The product token that ``<meta name>`` and X-Robots-Tag may address."""

MAX_KEPT: Final = 32
MAX_VALUE: Final = 4_096
"""Characters of a robots value that are read. The longest seen in the wild have a few hundred."""
NO_FOLLOW: Final = frozenset({"nofollow", "none"})
"""Either of them, and the page has no links for us."""

_VALUED: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives with a colon: what stands before any other colon is the name of a user agent."""
_PART: Final = re.compile(r"\s*unavailable_after\s*:\s*(?:[a-z]{3,9},)?[^,;]*|[^,;]+")
_PREFIX: Final = re.compile(r"\s*([a-z*][a-z0-9_.*/-]*)\s*:(.*)", re.DOTALL)
_WORD: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_KNOWN: Final = frozenset(
    {
        *(
            "all",
            "follow",
            "index",
            "indexifembedded",
            "noai",
            "noarchive",
            "nocache",
            "nofollow",
            "noimageai",
        ),
        *("noimageindex", "noindex", "none", "nositelinkssearchbox", "nosnippet", "notranslate"),
    }
)


def robots_directives(values: Iterable[str]) -> frozenset[str]:
    """The directives for us in the values of robots ``<meta>`` tags and X-Robots-Tag headers, lower case.

    In a header, a part like ``otherbot: nofollow`` speaks to that agent alone, and so does what follows it in
    the same value, up to the next agent. Several directives for us add up: the strictest holds.
    """
    told: set[str] = set()
    for value in values:
        ours = True
        for part in _PART.findall(value[:MAX_VALUE].lower()):
            rest = part
            if (prefix := _PREFIX.match(part)) is not None and prefix[1] not in _VALUED:
                ours, rest = prefix[1] in {AGENT, "*"}, prefix[2]
                prefix = _PREFIX.match(rest)
            if not ours:
                continue
            if prefix is not None:
                told.add(f"{prefix[1]}:{' '.join(prefix[2].split())[:60]}")
            else:
                told.update(word for word in rest.split() if _WORD.fullmatch(word))
    return frozenset(told)


def kept(directives: frozenset[str]) -> tuple[str, ...]:
    """The directives as they are stored; of a suspicious number only those that mean something."""
    return tuple(sorted(directives if len(directives) <= MAX_KEPT else directives & _KNOWN))


_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,7}")
_SCRIPT_LENGTH: Final = 4
_REGION_LENGTH: Final = 2


@lru_cache(maxsize=1024)
def _language(value: str) -> str | None:
    tag = value.partition(",")[0].strip()
    if _LANGUAGE.fullmatch(tag) is None:
        return None
    first, *others = tag.replace("_", "-").lower().split("-")
    return "-".join((first, *map(_cased, others)))


def _cased(subtag: str) -> str:
    if len(subtag) == _REGION_LENGTH:
        return subtag.upper()
    return subtag.title() if len(subtag) == _SCRIPT_LENGTH and subtag.isalpha() else subtag


def language_tag(value: str | None) -> str | None:
    """The first tag of a declared language if it looks like BCP 47, as ``zh-Hant-TW`` (RFC 5646, 2.1.1)."""
    return _language(value[:100]) if value else None


_REFRESH: Final = re.compile(
    r"[\t\n\f\r ]*+(?:[0-9]++[0-9.]*+|\.[0-9.]*+)(?=[;,\t\n\f\r ])[\t\n\f\r ]*+[;,]?+[\t\n\f\r ]*+"
    r"(?:[uU][rR][lL][\t\n\f\r ]*+=[\t\n\f\r ]*+)?+(?:\"([^\"]*+)|'([^']*+)|(.*+))",
    re.DOTALL,
)
"""HTML, "shared declarative refresh steps", as one expression that never looks back."""


def refresh_target(value: str) -> str | None:
    """Where ``<meta http-equiv=refresh content=value>`` leads, unresolved; None if only to itself."""
    found = _REFRESH.match(value)
    return next(filter(None, found.groups()), None) if found else None


PAGE_RELATIONS: Final = frozenset(
    {
        *("alternate", "canonical", "next", "prev", "previous"),
        # What old documentation tells a browser's navigation bar (HTML 4.01, section 6.12, and habit).
        *(
            "appendix",
            "author",
            "chapter",
            "child",
            "contents",
            "copyright",
            "first",
            "glossary",
            "help",
            "home",
        ),
        *(
            "index",
            "last",
            "license",
            "parent",
            "section",
            "sibling",
            "start",
            "subsection",
            "toc",
            "top",
            "up",
        ),
    }
)
"""``<link rel>`` that leads to another page."""
NO_PAGE: Final = frozenset({"nofollow", "stylesheet", "icon", "preload", "prefetch", "manifest"})
"""``<link rel>`` that leads to none, whatever else stands beside it."""


def may_follow(rel: str | None) -> bool:
    """Whether a link's ``rel`` lets us follow it.

    Only ``nofollow`` asks crawlers not to. ``ugc`` and ``sponsored`` tell a ranking engine who wrote or paid
    for a link, and this crawler ranks nothing.
    """
    return rel is None or "nofollow" not in rel.lower().split()


def leads_to_page(rel: str) -> bool:
    """Whether a ``<link>`` of those relations leads to a page that we may follow."""
    words = rel.lower().split()
    return NO_PAGE.isdisjoint(words) and not PAGE_RELATIONS.isdisjoint(words)
