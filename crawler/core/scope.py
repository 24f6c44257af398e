"""Which links a crawl follows, and why not.

    seed ──► scope_key ──► the crawl's keys (one signed 64-bit number each)
    link ──► candidate_keys: is any of them among the crawl's keys? ──► exclude, include, depth, traps

1. A crawl of a million seeds needs 8 MB to know its scope, and one look-up a link.
2. A seed (depth 0) was asked for by name: only --exclude refuses it. --include, which narrows what is
   *followed*, and the traps do not apply to it, as to a start URL of Scrapy or an argument of wget.
3. --exclude wins over --include.
4. An expression that takes too long for a URL refuses it, whatever it would have said.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self

from crawler.core.model import Crawl, ScopeKind
from crawler.core.patterns import TOO_SLOW, Pattern, compiled
from crawler.core.traps import trap
from crawler.core.urls import domain_id, domain_of, host_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

_ANY_KEY: Final = 0


def _host(url: str) -> str:
    return host_of(url).removesuffix(".")


def _directory(url: str) -> str:
    path = url.partition("?")[0]
    return path[: path.rindex("/") + 1]


UNIT: Final[Mapping[ScopeKind, "Callable[[str], str]"]] = MappingProxyType(
    {
        ScopeKind.PAGE: str,
        ScopeKind.PREFIX: _directory,
        ScopeKind.HOST: _host,
        ScopeKind.DOMAIN: domain_of,
        ScopeKind.ANY: lambda _: "",
    }
)
"""The part of a canonical URL that decides whether it is in scope."""


def scope_key(kind: ScopeKind, url: str) -> int:
    """What a seed (a canonical URL) adds to the scope of its crawl, as one signed 64-bit key.

    The URL itself for ``page``; its directory on its origin for ``prefix`` (everything up to the last slash
    of the path); its host, whatever the scheme and port, for ``host``; its registrable domain for ``domain``.
    """
    return next(candidate_keys(kind, url))


def candidate_keys(kind: ScopeKind, url: str) -> "Iterator[int]":
    """The keys of which one must be among a crawl's for a link (a canonical URL) to be in its scope.

    One; for ``prefix`` one for every directory the link lies in, the deepest first.
    """
    return _keys(kind, UNIT[kind](url))


class KeySet(Collection[int]):
    """Scope keys, compactly: 8 bytes each when there are many. Immutable."""

    __slots__ = ("_keys",)

    SMALL: Final = 4096
    """Up to here a frozenset: 60 bytes a key, and five times faster."""

    def __init__(self, keys: "Iterable[int]" = ()) -> None:
        unique = frozenset(keys)
        self._keys: frozenset[int] | array[int] = (
            unique if len(unique) <= self.SMALL else array("q", sorted(unique))
        )

    def __contains__(self, key: object) -> bool:
        keys = self._keys
        if isinstance(keys, frozenset):
            return key in keys
        if not isinstance(key, int):
            return False
        place = bisect_left(keys, key)
        return place < len(keys) and keys[place] == key

    def __iter__(self) -> "Iterator[int]":
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<KeySet {len(self):,} keys>"


@dataclass(frozen=True, eq=False)
class Scope:
    """A crawl's rules for links, compiled once. Make a new one when the crawl or its keys change."""

    kind: ScopeKind
    keys: "Container[int]"
    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    max_depth: int | None = None
    """Links from a seed; None or 0: no limit."""
    _unit: "Callable[[str], str]" = field(init=False, repr=False)
    _covers: "Callable[[str], bool]" = field(init=False, repr=False)
    """Links of a page name few hosts and directories: the answer for each is kept."""

    def __post_init__(self) -> None:
        covers = partial(_covered, self.kind, self.keys)
        if self.kind is not ScopeKind.PAGE:  # a URL is seldom asked about twice
            covers = lru_cache(maxsize=16_384)(covers)  # type: ignore[assignment]  # as good as a function
        object.__setattr__(self, "_unit", UNIT[self.kind])
        object.__setattr__(self, "_covers", covers)

    @classmethod
    def of(cls, crawl: Crawl, keys: "Container[int]") -> Self:
        """The scope of a crawl whose seeds have these keys.

        Raises:
            UsageError: an include or exclude is no regular expression; the message shows the place.
        """
        return cls(
            kind=crawl.scope,
            keys=keys,
            include=tuple(compiled("--include", text) for text in crawl.include),
            exclude=tuple(compiled("--exclude", text) for text in crawl.exclude),
            max_depth=crawl.max_depth,
        )

    def covers(self, url: str) -> bool:
        """Whether a canonical URL lies in the part of the web that the seeds span."""
        return self._covers(self._unit(url))

    def refusal(self, url: str, depth: int) -> str | None:
        """Why the crawl does not follow a link, for a person; None: it does.

        Args:
            url: Canonical.
            depth: How many links away from a seed; 0 for a seed itself.
        """
        if depth and self.max_depth and depth > self.max_depth:
            return f"deeper than --max-depth {self.max_depth}"
        if depth and not self.covers(url):
            return f"outside the scope {self.kind}"
        if (excluded := exclusion(self.exclude, url)) is not None or not depth:
            return excluded
        if self.include:
            for pattern in self.include:
                found = pattern.search(url)
                if found == TOO_SLOW:
                    return f"--include {pattern.text} takes too long for this URL"
                if found:
                    break
            else:
                return "matches no --include"
        return trap(url)


def exclusion(exclude: "Iterable[Pattern]", url: str) -> str | None:
    """Which --exclude names a URL, or takes too long to say, for a person; None: none does."""
    for pattern in exclude:
        found = pattern.search(url)
        if found == TOO_SLOW:
            return f"--exclude {pattern.text} takes too long for this URL"
        if found:
            return f"excluded by --exclude {pattern.text}"
    return None


def _keys(kind: ScopeKind, unit: str) -> "Iterator[int]":
    if kind is ScopeKind.ANY:
        yield _ANY_KEY
    elif kind is ScopeKind.DOMAIN:
        yield domain_id(unit)
    else:
        yield _key(unit)
        if kind is ScopeKind.PREFIX:
            yield from _keys_above(unit)


def _keys_above(directory: str) -> "Iterator[int]":
    root = directory.index("/", 8)
    end = len(directory) - 1
    while end > root:
        end = directory.rindex("/", 0, end)
        yield _key(directory[: end + 1])


def _key(unit: str) -> int:
    return int.from_bytes(blake2b(unit.encode(), digest_size=8).digest(), "big", signed=True)


def _covered(kind: ScopeKind, keys: "Container[int]", unit: str) -> bool:
    return kind is ScopeKind.ANY or any(key in keys for key in _keys(kind, unit))
