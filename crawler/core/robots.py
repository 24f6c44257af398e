"""RFC 9309: may we fetch this path, by which line, and how slowly.

    bytes ──parse──► Rules of one product token ──ruling(path)──► allowed, and the line that says so

1. ``parse`` takes any bytes, never raises, and its time and memory are bounded by ``MAX_ROBOTS_BYTES``:
   some 0.2 s of a core and 20 MB at worst.
2. The longest rule decides, an allow wins a tie, and /robots.txt itself is always allowed.
3. No pattern makes a ruling slow: beyond ``MAX_STAR_BYTES`` of patterns with ``*``, a disallow is read up to
   its first ``*`` and an allow is not read at all, so that what is cut is cut on the side of the site.

Which lines are ours and what they allow is decided here, for protego cannot say which line decided, ends a group
at any unknown line, and reads ``$`` also as a literal dollar: it passes 128 of the 141 assertions of Google's.
It reads what is left, the pace that a site asks for. Written after Google's published parser, with these differences:

* ``Crawl-delay`` and ``Request-rate`` end a run of user-agent lines like any rule. To Google they are unknown
  lines, so that "*: Crawl-delay: 10" above "badbot: Disallow: /" shuts everybody out (google/robotstxt
  issue 51), which no webmaster means.
* Percent-encoded unreserved characters are decoded before comparing, as RFC 9309 section 2.2.2 demands:
  ``Disallow: /%70rivate`` covers ``/private``. Google compares them as they are.
* Digits belong to a product token (``MJ12bot``), on our side and on the site's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

import protego

from crawler.core.robots_lines import Line, read_lines

MAX_PACES: Final = 100
"""So many lines about the pace are read, of those that differ."""
MAX_STAR_BYTES: Final = 32 * 1024
"""So much of patterns with ``*`` costs some 25 ms at worst, on a path of 2,048 bytes made for them; 2,800 usual ones cost 2.5 ms."""

_ROBOTS_PATH: Final = "/robots.txt"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_DELAY: Final = re.compile(rb"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})")
_RATE: Final = re.compile(rb"(\d{1,9})[ \t]*/[ \t]*(\d{1,9})([smhd]?)", re.IGNORECASE)

# What two spellings of one path may differ in: hex digits, needless escapes, and what URLs hold only escaped.
# ``*`` and ``$`` stand here for themselves (RFC 9309 section 2.2.3): a rule writes them %2A and %24.
_SPELLINGS: Final = re.compile(r"""%[0-9A-Fa-f]{2}|[\x00-\x20"$'*<>\\^`{|}\x7f-\xff]""")
_NEEDS_SPELLING: Final = re.compile(r"""[\x00-\x20"$%'*<>\\^`{|}\x7f-\xff]""").search
_LITERAL_NEEDS_SPELLING: Final = re.compile(r"""[\x00-\x20"$%'<>\\^`{|}\x7f-\xff]""").search
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Ruling:
    """May we, and which line says so."""

    allowed: bool
    line: str | None
    """The deciding line, without its comment; None when no line matched, or none was needed."""
    line_number: int | None
    group: str | None
    """The user-agent lines that applied to us; None when the file names neither us nor everybody."""


class _Rule(NamedTuple):
    """A line that decides. The higher rank wins: twice the pattern's length, plus one for an allow."""

    rank: int
    allow: bool
    line: bytes | None
    number: int | None
    cut: bool = False
    """Read up to its first ``*``: there are too many."""


class _Star(NamedTuple):
    """A pattern with ``*`` inside: head, then parts in this order, then (if anchored) the end."""

    rule: _Rule
    head: str
    parts: tuple[str, ...]
    tail: str | None
    """What the path must end with, after all parts; None when it may go on."""


@dataclass(slots=True)
class _Group:
    agents: list[str] = field(default_factory=list)
    lines: list[tuple[int, Line]] = field(default_factory=list)


class Rules:
    """What one robots.txt says to one product token. Made by ``parse``; unchangeable by custom."""

    __slots__ = ("_exact", "_lengths", "_prefixes", "_stars", "crawl_delay", "digest", "group", "sitemaps")

    def __init__(
        self,
        rules: Iterable[tuple[str, _Rule]],
        *,
        group: str | None = None,
        crawl_delay: float | None = None,
        sitemaps: tuple[str, ...] = (),
    ) -> None:
        self.group = group
        self.crawl_delay = crawl_delay
        """Seconds between requests: the longest Crawl-delay or Request-rate for us; None if there is none."""
        self.sitemaps = sitemaps
        """As written, in order, each once; they may be relative."""
        self._prefixes: dict[str, _Rule] = {}
        self._exact: dict[str, _Rule] = {}
        stars: dict[str, _Star] = {}
        said = set()
        budget = MAX_STAR_BYTES
        for raw, raw_rule in rules:
            pattern, rule = raw, raw_rule
            body = pattern.rstrip("*")
            if "*" in body:
                budget -= 0 if body in stars else len(body)
                if budget < 0:
                    if rule.allow:
                        continue
                    pattern = body = body[: body.index("*")]
                    rule = rule._replace(cut=True)
            said.add(f"{'+' if rule.allow else '-'}{pattern}")
            if "*" in body:
                if body not in stars or stars[body].rule.rank < rule.rank:
                    stars[body] = _star(rule, body)
            elif body.endswith("$"):
                _keep_higher(self._exact, body[:-1], rule)
            else:
                _keep_higher(self._prefixes, body, rule)
        self._lengths = tuple(sorted({len(prefix) for prefix in self._prefixes}))
        self._stars = sorted(stars.values(), key=lambda star: -star.rule.rank)
        self.digest = blake2b("\n".join(sorted(said)).encode(), digest_size=16).digest()
        """128-bit, of what is allowed and disallowed: the delay and the sitemaps do not enter."""

    def __repr__(self) -> str:
        return f"<Rules for {self.group}: {len(self)} patterns, delay {self.crawl_delay}>"

    def __len__(self) -> int:
        """How many patterns there are."""
        return len(self._prefixes) + len(self._exact) + len(self._stars)

    def allows(self, path: str) -> bool:
        """May we fetch this path and query (of a canonical URL)?"""
        rule = self._deciding(path)
        return rule is None or rule.allow or path == _ROBOTS_PATH

    def ruling(self, path: str) -> Ruling:
        """As ``allows``, with the line that decides."""
        rule = self._deciding(path)
        if rule is None or path == _ROBOTS_PATH:
            return Ruling(allowed=True, line=None, line_number=None, group=self.group)
        line = None if rule.line is None else rule.line.decode("utf-8", "replace")
        if rule.cut:
            line = f"{line} [read up to its first *: too many]"
        return Ruling(allowed=rule.allow, line=line, line_number=rule.number, group=self.group)

    def _deciding(self, path: str) -> _Rule | None:
        if _NEEDS_SPELLING(path):
            path = _one_spelling(path)
        size = len(path)
        best = self._exact.get(path)
        rank = best.rank if best else -1
        prefixes = self._prefixes
        for length in self._lengths:
            if length > size:
                break
            rule = prefixes.get(path[:length])
            if rule and rule.rank > rank:
                best, rank = rule, rule.rank
        for star in self._stars:
            if star.rule.rank <= rank:
                break
            if path.startswith(star.head) and _star_matches(star, path):
                return star.rule
        return best


def _keep_higher(kept: dict[str, _Rule], pattern: str, rule: _Rule) -> None:
    known = kept.get(pattern)
    if known is None or known.rank < rule.rank:
        kept[pattern] = rule


def _star(rule: _Rule, body: str) -> _Star:
    anchored = body.endswith("$")
    head, *parts = body.removesuffix("$").split("*")
    tail = parts.pop() if anchored else None
    return _Star(rule, head, tuple(part for part in parts if part), tail)


def _star_matches(star: _Star, path: str) -> bool:
    """Leftmost fit for each part in turn: if any fit exists, this finds one, and it never goes back."""
    at = len(star.head)
    for part in star.parts:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    tail = star.tail
    return tail is None or (len(path) - len(tail) >= at and path.endswith(tail))


def _spelling(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 1:
        return f"%{ord(text):02X}"
    char = chr(int(text[1:], 16))
    return char if char in _UNRESERVED else text.upper()


def _one_spelling(text: str) -> str:
    """The one spelling in which paths and the literal parts of patterns are compared."""
    return _SPELLINGS.sub(_spelling, text)


def _pattern(value: bytes) -> str:
    """A pattern in the one spelling; ``*``, and ``$`` at the end, keep their meaning."""
    text = value.decode("latin-1")
    body = text.removesuffix("$")
    if not _LITERAL_NEEDS_SPELLING(body):
        return text
    literal = "*".join(_one_spelling(part) for part in body.split("*"))
    return literal if body == text else f"{literal}$"


ALLOW_ALL: Final = Rules(())
"""What an empty robots.txt says."""
DENY_ALL: Final = Rules([("/", _Rule(rank=2, allow=False, line=None, number=None))])
"""What we tell ourselves when the site cannot."""


def product_token(user_agent: str) -> str:
    """The name that robots.txt groups know us by: ``faircrawl`` of ``faircrawl/1.0 (+https://...)``.

    Lower case; empty when the user agent does not start with one. RFC 9309 section 2.2.1 knows only letters,
    ``_`` and ``-``; digits are taken too, for without them ``MJ12bot`` would answer to ``MJ``.
    """
    match = _TOKEN.match(user_agent.strip())
    return match[0].lower() if match else ""


def parse(body: bytes, token: str) -> Rules:
    """The rules for a product token: of all groups that name it, or else of all groups for ``*``."""
    wanted = token.lower()
    ours, everybody = _Group(), _Group()
    current: list[_Group] = []
    open_run = False  # between user-agent lines: the next one joins the group, a later one starts another
    sitemaps: dict[str, None] = {}
    for number, line in read_lines(body):
        if line.kind == "s":
            if line.value:
                sitemaps[line.value.decode("utf-8", "replace")] = None
        elif line.kind == "u":
            if not open_run:
                current = []
                open_run = True
            group = _group_named(line.value, wanted, ours, everybody)
            if group is not None:
                group.agents.append(line.text.decode("utf-8", "replace"))
                if group not in current:
                    current.append(group)
        else:
            open_run = False
            for group in current:
                group.lines.append((number, line))
    chosen = ours if ours.agents else everybody
    return Rules(
        _decisions(chosen.lines),
        group=", ".join(dict.fromkeys(chosen.agents)) or None,
        crawl_delay=_longest_delay(line for _, line in chosen.lines),
        sitemaps=tuple(sitemaps),
    )


def _group_named(value: bytes, wanted: str, ours: _Group, everybody: _Group) -> _Group | None:
    name = value.decode("latin-1")
    if name == "*" or name.startswith(("* ", "*\t")):
        return everybody
    # The value may be "Foo Bar" or "Foo/2.1": its first token counts.
    match = _TOKEN.match(name)
    return ours if match and match[0].lower() == wanted else None


def _decisions(lines: Iterable[tuple[int, Line]]) -> Iterator[tuple[str, _Rule]]:
    said = set()
    for number, line in lines:
        # A line that was there before decides nothing that the first did not.
        if line.kind not in "ad" or not line.value or line in said:
            continue
        said.add(line)
        allow = line.kind == "a"
        pattern = _pattern(line.value)
        yield pattern, _Rule(2 * len(pattern) + allow, allow, line.text, number)
        folder, slash, page = pattern.rpartition("/")
        if allow and slash and page.startswith("index.htm"):
            # As Google: who allows the index page allows its folder.
            yield f"{folder}/$", _Rule(2 * len(folder) + 5, allow, line.text, number)


def _longest_delay(lines: Iterable[Line]) -> float | None:
    """Seconds: the longest that any line asks for, each read by protego as if it stood alone."""
    asked = dict.fromkeys(field for line in lines if (field := _pace_field(line)) is not None)
    if not asked:
        return None
    # "1/10 0600-0845" is for a time of day; it is obeyed all day.
    names = [f"line-{number}" for number in range(min(len(asked), MAX_PACES))]
    text = "\n".join(f"user-agent: {name}\n{field}" for name, field in zip(names, asked, strict=False))
    read = protego.Protego.parse(text)
    delays = [delay for name in names if (delay := read.crawl_delay(name)) is not None]
    rates = [rate for name in names if (rate := read.request_rate(name)) is not None]
    return max([*delays, *(rate.seconds / rate.requests for rate in rates)], default=None)


def _pace_field(line: Line) -> str | None:
    """A line about the pace, mended: numbers alone, as protego wants them."""
    if line.kind == "c" and (match := _DELAY.match(line.value)):
        return f"crawl-delay: {match[1].decode()}"
    if line.kind == "r" and (match := _RATE.match(line.value)) and int(match[1]):
        return f"request-rate: {match[1].decode()}/{match[2].decode()}{match[3].decode().lower()}"
    return None
