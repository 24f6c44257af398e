"""Seeds: what a person names, checked, as rows for the frontier.

    pieces of a file ──► Lines ──► a line each ──► seed_in: a URL? ──► Sieve: one that this crawl may have? ──► frontier

1. A line that is empty or begins with # is passed over. Any other is one URL, in UTF-8, and nothing else.
2. A line, however long, takes no more memory than `LONGEST_LINE` and a piece (`core.lines`).
"""

import asyncio
import os
import re
import select
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from crawler.adapters.hosts import HostsFile
from crawler.core.addresses import AddressPolicy, literal
from crawler.core.errors import UrlError, UsageError
from crawler.core.lines import LONGEST_LINE, Lines
from crawler.core.model import FoundLink, ScopeKind
from crawler.core.patterns import compiled
from crawler.core.scope import exclusion, scope_key
from crawler.core.urls import canonical, canonical_or_error, domain_id, domain_of, host_of, url_hash

PIECE: Final = 1 << 16
"""Bytes of a file read at once."""
SHOWN: Final = 80
_UNREADABLE: Final = "\ufffd"
_BY_HOST: Final = frozenset({ScopeKind.HOST, ScopeKind.DOMAIN, ScopeKind.ANY})


def seed_in(text: str) -> str | None:
    """The canonical URL that a line is; None: it is no URL, or something stands beside it."""
    if len(text) > LONGEST_LINE or "\t" in text or _UNREADABLE in text:  # a tab would be taken out of the URL
        return None
    return canonical(text)


def refuse_line(text: str) -> str:
    """Why `seed_in` made nothing of a line, for a person."""
    shown = repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
    if len(text) > LONGEST_LINE:
        return f"{shown} is longer than {LONGEST_LINE:,} characters"
    if "\t" in text:
        return f"{shown} has a tab in it: one URL a line, and nothing else"
    if _UNREADABLE in text:
        return f"{shown} is not UTF-8"
    try:
        canonical_or_error(text)
    except UrlError as error:
        return str(error)
    raise AssertionError(text)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Canonical URLs, each once and in order, and the lines of a file that are none."""

    urls: tuple[str, ...]
    bad: tuple[str, ...] = ()

    @property
    def domains(self) -> set[str]:
        """The registrable domains of the seeds."""
        return {domain_of(url) for url in self.urls}


def gather(arguments: Sequence[str], file: Path | None) -> Seeds:
    """The seeds of a command line: every argument must be a URL, a bad line of a file is told and skipped.

    Raises:
        UrlError: an argument is no URL that can be fetched.
        UsageError: the file cannot be read, or there is no seed at all.
    """
    urls = dict.fromkeys(canonical_or_error(text) for text in arguments)
    bad: list[str] = []
    for number, line in enumerate(() if file is None else _lines(file), 1):
        text = line.strip()
        if is_remark(text):
            continue
        if (url := seed_in(text)) is not None:
            urls[url] = None
        else:
            bad.append(f"line {number}: {refuse_line(text)}")
    if not urls:
        if bad:
            raise UsageError(f"no line of {file} is a URL; {bad[0]}")
        raise UsageError(
            "no URL to begin with: name one, as in `crawl run https://example.com/`, or give --file FILE"
        )
    return Seeds(tuple(urls), tuple(bad))


def is_remark(text: str) -> bool:
    """Whether a line, without white space at its ends, names nothing."""
    return not text or text[0] == "#"


def refuse_private(seeds: Iterable[str], policy: AddressPolicy, hosts: HostsFile) -> None:
    """Tell a person at once what would only turn out in the end: a seed on a network that is not fetched from.

    Raises:
        UsageError: a seed is an address, or a name of the hosts file, that the policy refuses.
    """
    for url in seeds:
        if (why := _private(host_of(url), policy, hosts)) is not None:
            raise UsageError(f"{url} {why}")


def _private(host: str, policy: AddressPolicy, hosts: HostsFile) -> str | None:
    name = host.rstrip(".")
    local = ("127.0.0.1",) if name == "localhost" or name.endswith(".localhost") else ()
    found = literal(host)
    addresses = (found,) if found is not None else hosts.addresses(name) or local
    refusals = [
        (address, refusal) for address in addresses if (refusal := policy.refusal(address)) is not None
    ]
    if not addresses or len(refusals) < len(addresses):
        return None
    address, refusal = refusals[0]
    width = 128 if ":" in address else 8 if address.startswith("127.") else 32
    net = f"{'127.0.0.0' if width == 8 else address}/{width}"  # noqa: PLR2004 - the loopback network
    return f"is at {address}, which is not fetched from ({refusal}): if that network is yours, name it: --allow-net {net}"


class Place(NamedTuple):
    """What a seed's host says of it."""

    domain: str
    domain_id: int
    refusal: str | None
    """Why it is not taken; None: it is."""
    key: int | None
    """What it adds to the scope of the crawl, if that hangs on the host alone."""


class Sieve:
    """What a crawl does not take, though it is a URL. What hangs on the host alone is worked out once."""

    MOST: Final = 1 << 16
    """Hosts remembered: some 25 MB."""

    def __init__(
        self,
        kind: ScopeKind,
        policy: AddressPolicy,
        hosts: HostsFile,
        *,
        exclude: Sequence[str],
        owned: Collection[str],
    ) -> None:
        self._kind = kind
        self._policy = policy
        self._hosts = hosts
        self._exclude = [compiled("--exclude", text) for text in exclude]
        self._owned = frozenset(owned)
        self._places: dict[str, Place] = {}

    def place(self, url: str) -> Place:
        """Where a canonical URL belongs."""
        host = host_of(url)
        known = self._places.get(host)
        if known is None:
            if len(self._places) >= self.MOST:
                self._places.clear()
            known = self._places[host] = self._look(host, url)
        return known

    def refusal(self, url: str, place: Place) -> str | None:
        """Why it is not taken; None: it is."""
        if (why := exclusion(self._exclude, url)) is not None:
            return _not_taken(why)
        return place.refusal

    def key(self, url: str, place: Place) -> int:
        """What it adds to the scope of the crawl."""
        return scope_key(self._kind, url) if place.key is None else place.key

    def _look(self, host: str, url: str) -> Place:
        name = domain_of(url)
        if self._owned and name not in self._owned:
            why: str | None = (
                f"is not of a domain that is yours, and robots.txt is ignored for those only: --i-own {name}"
            )
        else:
            why = _private(host, self._policy, self._hosts)
        return Place(
            name, domain_id(name), why, scope_key(self._kind, url) if self._kind in _BY_HOST else None
        )


def excluded(seeds: Seeds, exclude: Sequence[str]) -> Seeds:
    """The seeds that no --exclude names; the others are told as bad.

    Raises:
        UsageError: none is left.
    """
    patterns = [compiled("--exclude", text) for text in exclude]
    out = {url: why for url in seeds.urls if (why := exclusion(patterns, url)) is not None}
    if not out:
        return seeds
    if len(out) == len(seeds.urls):
        url, why = next(iter(out.items()))
        raise UsageError(f"the seed {url} {_not_taken(why)}: leave one of them out")
    bad = (f"{url} {_not_taken(why)}" for url, why in out.items())
    return Seeds(tuple(url for url in seeds.urls if url not in out), (*seeds.bad, *bad))


def _not_taken(why: str) -> str:
    return f"is {why}" if why.startswith("excluded") else f"is not taken: {why}"


def refuse_name(name: str) -> str:
    """The name of a crawl, as it may stand in a command, a table and a file's name.

    Raises:
        UsageError: it may not.
    """
    if re.fullmatch(r"[\w\[][\w.:@+\[\] -]{0,99}", name) and name == name.strip():
        return name
    raise UsageError(
        "a crawl's name is at most 100 letters, digits, spaces and . : @ + _ - and begins with a letter or digit: "
        f"{name[:100]!r} is none"
    )


def links(crawl_id: int, urls: Iterable[str]) -> list[FoundLink]:
    """The seeds as rows."""
    found = []
    for url in urls:
        name = domain_of(url)
        found.append(FoundLink(name, domain_id(name), crawl_id, url_hash(url), url, depth=0, seed=True))
    return found


def open_input(file: Path, shown: str | None = None) -> int:
    """A file that seeds are read from, opened; ``-`` is standard input. *shown*: what it is called in an error.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return os.dup(sys.stdin.fileno()) if str(file) == "-" else os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError, AttributeError) as error:  # None: it was closed before we began
        reason = getattr(error, "strerror", None) or "it is closed"
        raise UsageError(f"{shown or _named(file)} cannot be read: {reason}") from error


def read_piece(fd: int, file: Path, shown: str | None = None) -> bytes:
    """The next bytes of what `open_input` opened; empty at its end. Raises UsageError."""
    try:
        return os.read(fd, PIECE)
    except OSError as error:
        raise UsageError(f"{shown or _named(file)} cannot be read: {error.strerror}") from error


class Source:
    """A file, a pipe or a terminal, read without holding up the loop."""

    def __init__(self, fd: int, file: Path, shown: str | None = None) -> None:
        self._fd = fd
        self._file = file
        self._shown = shown
        self._woken = asyncio.Event()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.stopped = False

    def stop(self) -> None:
        """Let it end here."""
        self.stopped = True
        self._woken.set()

    async def read(self, until: float | None) -> bytes | None:
        """What has come; empty: that was the end. None: nothing until that time of the loop's clock."""
        while not self.stopped:
            if self._poll.poll(0):
                return read_piece(self._fd, self._file, self._shown)
            if not await self._waited(until):
                return None
        return b""

    async def _waited(self, until: float | None) -> bool:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._fd, self._woken.set)
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._fd)
            self._woken.clear()
        return True


def _named(file: Path) -> str:
    return "standard input" if str(file) == "-" else f"--file {file}"


def _lines(file: Path) -> Iterator[str]:
    lines, fd = Lines(), open_input(file)
    try:
        while piece := read_piece(fd, file):
            yield from lines.feed(piece)
        yield from lines.end()
    finally:
        os.close(fd)
