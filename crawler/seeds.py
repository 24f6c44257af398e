"""Seeds: what a person names, checked, as rows for the frontier."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crawler.adapters.hosts import HostsFile
from crawler.core.addresses import AddressPolicy, literal
from crawler.core.errors import UrlError, UsageError
from crawler.core.model import FoundLink
from crawler.core.urls import canonical_or_error, domain_id, domain_of, host_of, url_hash


@dataclass(frozen=True, slots=True)
class Seeds:
    """Canonical URLs, each once and in order, and the lines of a file that are none."""

    urls: tuple[str, ...]
    bad: tuple[str, ...] = ()

    @property
    def domains(self) -> set[str]:
        """The registrable domains of the seeds."""
        return {domain_of(url) for url in self.urls}


def gather(arguments: Sequence[str], file: Path | None, lines: Iterable[str] = ()) -> Seeds:
    """The seeds of a command line: every argument must be a URL, a bad line of a file is told and skipped.

    Raises:
        UrlError: an argument is no URL that can be fetched.
        UsageError: the file cannot be read, or there is no seed at all.
    """
    urls = dict.fromkeys(canonical_or_error(text) for text in arguments)
    bad: list[str] = []
    for number, line in enumerate(lines if file is None else _lines(file), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            urls[canonical_or_error(text)] = None
        except UrlError as error:
            bad.append(f"line {number}: {error}")
    if not urls:
        if bad:
            raise UsageError(f"no line of {file or 'standard input'} is a URL; {bad[0]}")
        raise UsageError(
            "no URL to begin with: name one, as in `crawl run https://example.com/`, or give --file FILE"
        )
    return Seeds(tuple(urls), tuple(bad))


def refuse_private(seeds: Iterable[str], policy: AddressPolicy, hosts: HostsFile) -> None:
    """Tell a person at once what would only turn out in the end: a seed on a network that is not fetched from.

    Raises:
        UsageError: a seed is an address, or a name of the hosts file, that the policy refuses.
    """
    for url in seeds:
        host = host_of(url)
        name = host.rstrip(".")
        local = ("127.0.0.1",) if name == "localhost" or name.endswith(".localhost") else ()
        found = literal(host)
        addresses = (found,) if found is not None else hosts.addresses(name) or local
        refusals = [
            (address, refusal) for address in addresses if (refusal := policy.refusal(address)) is not None
        ]
        if addresses and len(refusals) == len(addresses):
            address, refusal = refusals[0]
            width = 128 if ":" in address else 8 if address.startswith("127.") else 32
            net = f"{'127.0.0.0' if width == 8 else address}/{width}"  # noqa: PLR2004 - the loopback network
            raise UsageError(
                f"{url} is at {address}, which is not fetched from ({refusal}): if that network is yours, name it: --allow-net {net}"
            )


def excluded(seeds: Seeds, exclude: Sequence[str]) -> Seeds:
    """The seeds that no --exclude names; the others are told as bad.

    Raises:
        UsageError: none is left.
    """
    named = [(url, pattern) for url in seeds.urls for pattern in exclude if re.search(pattern, url)]
    if not named:
        return seeds
    out = dict(named)
    if len(out) == len(seeds.urls):
        url, pattern = named[0]
        raise UsageError(f"--exclude {pattern} excludes the seed {url}: leave one of them out")
    bad = (f"{url} is excluded by --exclude {pattern}" for url, pattern in out.items())
    return Seeds(tuple(url for url in seeds.urls if url not in out), (*seeds.bad, *bad))


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


def _lines(file: Path) -> Iterable[str]:
    if str(file) == "-":
        return sys.stdin
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"--file {file} cannot be read: {error.strerror}") from error
