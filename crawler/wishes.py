"""What may be asked of a crawl, as a person writes it: the keys of `crawl set`, and the same words as options of `crawl run`.

    "max-bytes=10MiB" ──► the key ──► its kind ──► a field of Limits ──► shown again, with secrets masked

1. `none` takes a limit away, and so does 0 where 0 would mean nothing at all.
2. A key that nobody knows is told with the nearest one; one that cannot be changed, with the reason.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from crawler.adapters.crawls import Limits
from crawler.core.errors import SettingsError, UsageError
from crawler.core.headers import masked, parse_headers
from crawler.core.model import Crawl
from crawler.core.refresh_rule import OFF, parse_rule
from crawler.core.urls import domain_named
from crawler.kinds import AGENT_NAME, FLAG, Kind, duration, items, show_duration, show_size, size, whole, word

MOST_VERSIONS: Final = 1000
MOST: Final = 2**31 - 1
"""What the database can count of depths, and of pages of one domain."""
_TYPE: Final = re.compile(r"\*/\*|[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")


def _type(text: Any) -> str:
    name = str(text).lower()
    if not _TYPE.fullmatch(name):
        raise ValueError(f"{name[:80]} is none")
    return name


def _owned(text: Any) -> str:
    try:
        return domain_named(str(text))
    except UsageError as error:
        raise ValueError(str(error)) from None


TYPES: Final = items(_type, "a list of media types", "application/pdf,image/*")
OWNED: Final = items(_owned, "a list of domains", "example.com,example.org")


RULE: Final = Kind("a refresh rule", "7d", lambda value: parse_rule(str(value)).text)
NOTHING: Final[Mapping[str, Any]] = {
    "refresh": OFF,
    "sitemaps": False,
    "keep_versions": 0,
    "keep_links": False,
    "search": False,
}
"""What `none` says of a field that cannot be None."""
USUAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "refresh": (OFF,),
    "sitemaps": (True,),
    "keep_versions": (0,),
    "keep_links": (False,),
    "search": (False,),
}
"""What need not be shown of it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A limit that may be set."""

    field: str
    """Of `Limits`."""
    kind: Kind


KEYS: Final[Mapping[str, Key]] = {
    "max-pages": Key("max_pages", whole(0, 10**18 - 1, 1000)),
    "max-depth": Key("max_depth", whole(0, MOST, 5)),
    "max-pages-per-domain": Key("max_pages_per_domain", whole(0, MOST, 10_000)),
    "max-bytes": Key("max_bytes", size()),
    "delay": Key("delay", duration()),
    "per-domain": Key("per_domain", whole(1, 64, 2)),
    "user-agent": Key("user_agent", AGENT_NAME),
    "parser": Key("parser", word("turbohtml", "html5lib")),
    "types": Key("types", TYPES),
    "i-own": Key("owned_domains", OWNED),
    "refresh": Key("refresh", RULE),
    "sitemaps": Key("sitemaps", FLAG),
    "keep-versions": Key("keep_versions", whole(0, MOST_VERSIONS, 3)),
    "keep-links": Key("keep_links", FLAG),
    "search": Key("search", FLAG),
}
"""All but `header`, which may be repeated."""
HEADER: Final = "header"
ZERO_IS_NONE: Final = frozenset({"max-pages", "max-depth", "max-pages-per-domain", "max-bytes"})
FIXED: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("scope", "include", "exclude"),
        "is what the crawl is: make a new one with `crawl run --name OTHER`",
    ),
    "name": "is what the crawl is known by: it stays",
    "max-time": "is of a run, not of the crawl: `crawl run --max-time`",
    "ignore-robots": "follows from i-own: name the domains that are yours, i-own=example.com",
    **dict.fromkeys(
        ("proxy", "dns", "concurrency", "processes", "allow-net"),
        "is of a run, not of the crawl: give it to `crawl run`",
    ),
}
"""What can be said to `crawl run` and not be set, and why."""


def changed(crawl: Crawl, texts: Sequence[str], seed_domains: Iterable[str]) -> Limits:
    """The limits of the crawl after these ``key=value``.

    Raises:
        UsageError: a key that there is not, or a value that does not fit.
    """
    limits = Limits.of(crawl)
    headers: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().lower().replace("_", "-")
        if not equals:
            raise UsageError(f"{text!r} is not key=value, such as max-pages=1000; {_keys()}")
        if key == HEADER:
            headers.append(value.strip())
        else:
            limits = replace(limits, **_read(key, value.strip()))
    if headers:
        named = () if headers == ["none"] else parse_headers(headers)
        limits = replace(limits, headers=named, trusted_domains=tuple(seed_domains) if named else ())
    if limits.owned_domains != crawl.owned_domains:
        refuse_strangers(limits.owned_domains, seed_domains)
    return limits


def refuse_strangers(owned: Sequence[str], seed_domains: Iterable[str]) -> None:
    """Robots rules are ignored for one's own sites only.

    Raises:
        UsageError: a seed's domain is not named as one's own.
    """
    if owned and (others := sorted(set(seed_domains) - set(owned))):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise UsageError(
            f"robots.txt is ignored for your own sites only, and you do not say that {others[0]}{more} is yours: "
            f"name every seed's domain, --i-own {others[0]}"
        )


def _read(key: str, value: str) -> dict[str, Any]:
    if key in FIXED:
        raise UsageError(f"{key} cannot be set: it {FIXED[key]}")
    if key not in KEYS:
        near = difflib.get_close_matches(key, [*KEYS, HEADER], n=1)
        raise UsageError(
            f"there is no key {key[:80]!r}{f' (did you mean {near[0]}?)' if near else ''}; {_keys()}"
        )
    field, kind = KEYS[key].field, KEYS[key].kind
    several = isinstance(getattr(Limits(), field), tuple)
    if value.lower() == "none":
        return {field: () if several else NOTHING.get(field)}
    try:
        found = kind.accept(value)
    except SettingsError as error:
        raise UsageError(f"{key}: {error}") from None
    return {field: None if key in ZERO_IS_NONE and not found else found}


def _keys() -> str:
    return f"the keys are {', '.join([*KEYS, HEADER])}"


def shown(crawl: Crawl) -> dict[str, str]:
    """What is set of a crawl, as it would be written, with secrets masked."""
    told = {}
    for key, of in KEYS.items():
        value = getattr(crawl, of.field)
        if value not in (None, (), *USUAL.get(of.field, ())):
            told[key] = _show(of, value)
    if crawl.headers:
        told[HEADER] = "; ".join(f"{name}: {value}" for name, value in masked(crawl.headers))
    return told


def _show(key: Key, value: Any) -> str:
    match key.field:
        case "delay":
            return show_duration(value)
        case "max_bytes":
            return show_size(value)
    return key.kind.show(value)
