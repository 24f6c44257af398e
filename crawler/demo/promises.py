"""What a crawl of the demo's web must have kept, and how each promise is judged: pure.

    the servers' log ───┐
                        ├──► Witness ──► judge ──► a Verdict for each promise, with its evidence
    the database's URLs ┘

1. What the crawler did to the web is taken from the web's log, never from what the crawler says of itself.
2. A promise that was not put to the test counts as broken: no judge is content with nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from crawler.core.model import Outcome
from crawler.core.sitemaps import usual_places
from crawler.core.urls import domain_of, host_of, path_of
from crawler.demo.language import MIB
from crawler.demo.server import Request, pauses
from crawler.demo.webs import (
    CLOSED,
    CRAWL_DELAY,
    FORBIDDEN,
    HUGE,
    LETTERS,
    PRIVATE,
    RETRY_AFTER,
    UNTOLD,
    Expected,
)
from crawler.phrases import count

ROBOTS: Final = "/robots.txt"
APART: Final = frozenset({ROBOTS, *map(path_of, usual_places("http://a.test"))})
"""What every site is asked for, whatever it links to."""
MOST_HOPS: Final = 11
"""Requests of a chain of redirects: ten hops, and the URL they begin with."""
LIVELY: Final = 20
"""So many requests to others must have been made while one domain kept us waiting."""


@dataclass(frozen=True, slots=True)
class Found:
    """A URL as the database has it after the crawl."""

    url: str
    outcome: str | None
    detail: str
    fetches: int
    bytes: int
    """Over the wire, of all fetches."""
    title: str | None
    charset: str | None
    directives: Sequence[str]
    redirect_to: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Witness:
    """What was seen of a crawl, and what was asked of it."""

    log: Sequence[Request]
    found: Mapping[str, Found]
    """By URL."""
    expected: Sequence[Expected]
    port: int
    delay: float
    """Seconds."""
    max_body: int
    budget: int
    """Pages of a domain."""
    trap_port: int
    trapped: int

    def of(self, host: str, path: str = "/") -> Found | None:
        """What became of a page of a site."""
        return self.found.get(f"http://{host}:{self.port}{path}")

    def outcome(self, host: str, path: str = "/") -> str | None:
        """How that page ended."""
        found = self.of(host, path)
        return None if found is None else found.outcome

    def asked(self, host: str, *beginnings: str) -> list[Request]:
        """The requests to a host for paths that begin so, in order; robots.txt and the usual places of sitemaps apart."""
        begin = beginnings or ("/",)
        log = (
            one
            for one in self.log
            if one.host == host and one.path.startswith(begin) and one.path not in APART
        )
        return sorted(log, key=lambda one: one.began)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A promise, whether it was kept, and what shows it."""

    promise: str
    kept: bool
    evidence: str


Finding = tuple[bool, str]


def judge(witness: Witness) -> list[Verdict]:
    """Judge every promise."""
    return [Verdict(promise, *judged(witness)) for promise, judged in PROMISES.items()]


def _unhurried(it: Witness) -> Finding:
    return _paced(it.log, it.delay)


def _paced(log: Iterable[Request], delay: float) -> Finding:
    requests = list(log)
    found = sorted((pause, one.host + one.path) for _, one, pause in pauses(requests, _domain))
    if not found:
        return False, "nobody was asked twice"
    least, where = found[0]
    if least < delay:
        hurries = sum(pause < delay for pause, _ in found)
        return (
            False,
            f"{where} was asked {_seconds(least)} after an answer, of {delay:g} s: {count(hurries, 'pause')} too short",
        )
    domains = {_domain(one.host) for one in requests}
    said = f"{count(len(requests), 'request')} to {count(len(domains), 'domain')}"
    return True, f"{said}, the shortest pause after an answer {_seconds(least)} of {delay:g} s asked"


def _one_domain(it: Witness) -> Finding:
    log = sorted((one for one in it.log if _domain(one.host) == "shop.test"), key=lambda one: one.began)
    changes = sum(a.host != b.host for a, b in pairwise(log))
    kept, words = _paced(log, it.delay)
    return kept and changes > 0, f"a.shop.test and b.shop.test in turns ({count(changes, 'change')}): {words}"


def _patient(it: Witness) -> Finding:
    log = [one for one in it.log if one.host == "patient.test"]
    return _paced(log, CRAWL_DELAY)


def _robots(it: Witness) -> Finding:
    hosts = {one.host for one in it.log}
    for host in sorted(hosts):
        rules = [one.ended for one in it.log if one.host == host and one.path == ROBOTS]
        pages = [one.began for one in it.asked(host)]
        if pages and (not rules or min(pages) < min(rules)):
            return False, f"{host} was asked for a page before its robots.txt"
    fetched = [one for host, paths in FORBIDDEN.items() for one in it.asked(host, *paths)]
    if fetched:
        return False, f"{fetched[0].host}{fetched[0].path} was fetched, which robots.txt forbids"
    refused = [
        one for one in it.found.values() if one.outcome == Outcome.ROBOTS_REFUSED and _forbidden(one.url)
    ]
    said = f"{count(len(hosts), 'robots.txt')} asked for first".replace("txts", "txt")
    return bool(refused), f"{said}; {count(len(refused), 'forbidden URL')} found, 0 requests"


def _closed(it: Witness) -> Finding:
    pages, rules = it.asked(CLOSED), [one for one in it.log if one.host == CLOSED]
    found = it.of(CLOSED)
    kept = bool(rules) and not pages and found is not None and found.outcome == Outcome.ROBOTS_REFUSED
    return kept, f"robots.txt of {CLOSED} answered 503: {count(len(pages), 'request')} for pages"


def _private(it: Witness) -> Finding:
    refused = {_host(one.url): one for one in it.found.values() if one.outcome == Outcome.ADDRESS_REFUSED}
    known = " ".join([*refused, *(one.detail for one in refused.values())])
    asked = [*PRIVATE, *(["::1"] if it.trap_port else [])]
    missed = [address for address in asked if address not in known]
    if missed:
        return False, f"not refused: {', '.join(missed)}"
    reached = {one.address for one in it.found.values() if one.address not in (None, "127.0.0.1")}
    if reached or it.trapped:
        return False, f"connected to {', '.join(map(str, reached)) or '[::1]'}"
    trap = "; the server waiting at [::1] was not called" if it.trap_port else ""
    return True, f"{len(refused)} refused: {', '.join(refused)}{trap}"


def _cut(it: Witness) -> Finding:
    film, gzipped = it.of("large.test", "/film"), it.of("large.test", "/bomb")
    if film is None or gzipped is None:
        return False, "the large pages were not found"
    kept = film.outcome == gzipped.outcome == Outcome.TOO_LARGE and 0 < film.bytes <= 2 * it.max_body
    went_on = it.outcome("large.test", "/after") == Outcome.OK
    return kept and went_on, (
        f"{film.bytes / MIB:.1f} of {HUGE} MiB read, and {gzipped.bytes / 1024:.0f} KiB of gzip that hold {HUGE} MiB: "
        f"{film.outcome}, {gzipped.outcome}; then the next page"
    )


def _ended(it: Witness) -> Finding:
    days = [one for one in it.found.values() if _host(one.url) == "calendar.test"]
    stored = sum(one.outcome == Outcome.OK for one in days)
    asked, hops = len(it.asked("calendar.test")), len(it.asked("round.test", "/to/"))
    kept = stored == asked == it.budget and len(days) > it.budget and 1 < hops <= MOST_HOPS
    over = len(days) - stored
    return kept, (
        f"calendar: {stored} of at most {it.budget} pages, {over} more known and left; "
        f"redirects in a row: given up after {hops - 1} hops"
    )


def _throttled(it: Witness) -> Finding:
    log = sorted((one for one in it.log if _domain(one.host) == "busy.test"), key=lambda one: one.began)
    for one, then in pairwise(log):
        if one.status == 429:  # noqa: PLR2004 - Too Many Requests
            waited = then.began - one.ended
            came = it.outcome("busy.test", one.path) == Outcome.OK
            words = f"Retry-After {RETRY_AFTER} s: next request {_seconds(waited)} later"
            return waited >= RETRY_AFTER and came, words + (", and the page was had" if came else "")
    return False, "nothing was asked after a 429"


def _held_up(it: Witness) -> Finding:
    tar = it.asked("tar.test")
    gone, mute = it.outcome("gone.test"), it.outcome("mute.test")
    if not tar:
        return False, "tar.test was not asked"
    began, ended = tar[0].began, tar[0].ended
    others = [one for one in it.log if one.host != "tar.test" and began < one.began < ended]
    domains = {_domain(one.host) for one in others}
    kept = (
        len(others) >= LIVELY
        and gone == mute == Outcome.DNS_ERROR
        and it.outcome("tar.test") == Outcome.TIMEOUT
    )
    return kept, (
        f"while tar.test said nothing for {ended - began:.1f} s: {count(len(others), 'request')} to "
        f"{count(len(domains), 'domain')}; gone.test and mute.test: {gone}, {mute}"
    )


def _stored(it: Witness) -> Finding:
    served = Counter((one.host, one.path) for one in it.log if one.status == 200)  # noqa: PLR2004 - OK
    for one in it.expected:
        found = it.of(one.host, one.path)
        if found is None or found.outcome != Outcome.OK:
            return False, f"{one.host}{one.path} is missing ({found.outcome if found else 'not found'})"
        if found.title != one.title:
            return False, f"{one.host}{one.path} has the title {found.title!r}, not {one.title!r}"
        if served[one.host, one.path] != 1:
            return False, f"{one.host}{one.path} was fetched {served[one.host, one.path]} times"
    hosts = {one.host for one in it.expected}
    return bool(it.expected), (
        f"{count(len(it.expected), 'page')} of {count(len(hosts), 'host')}: every one stored, served once, its title as written"
    )


def _letters(it: Witness) -> Finding:
    titles = {one.path: one.title for one in it.expected if one.host == "letters.test"}
    words, kept = [], True
    for path, (charset, where) in LETTERS.items():
        found, wanted = it.of("letters.test", path), titles.get(path)
        title = None if found is None else found.title
        right = found is not None and title is not None and (title, found.charset) == (wanted, charset)
        kept = kept and right
        words.append(f"{title} ({charset}, declared {where})" if right else f"{path}: {title}, not {wanted}")
    return kept, "; ".join(words)


def _wishes(it: Witness) -> Finding:
    shy = it.of("quiet.test", "/shy")
    followed = [one for host, paths in UNTOLD.items() for one in it.asked(host, *paths)]
    marked = shy is not None and shy.outcome == Outcome.OK and "noindex" in shy.directives
    links = sum(map(len, UNTOLD.values()))
    return marked and not followed, (
        f"{links} nofollow links (page, header, link): {count(len(followed), 'request')}; "
        f"the noindex page is {'marked' if marked else 'not marked'}"
    )


def _moved(it: Witness) -> Finding:
    seed, old = it.of("moved.test"), it.of("www.home.test", "/old")
    homes = [it.outcome("www.home.test", path) for path in ("/", "/new")]
    kept = all(one is not None and one.outcome == Outcome.REDIRECT for one in (seed, old))
    asked = sum(one.status in (301, 302) for one in it.log)
    return kept and homes == [Outcome.OK] * 2, (
        f"{count(asked, 'redirect')}, each target a URL of its own; the seed moved.test led to www.home.test, its /old to /new"
    )


def _accounted(it: Witness) -> Finding:
    nowhere = [one for one in it.log if one.path != ROBOTS and it.of(one.host, one.path) is None]
    blank = [one.url for one in it.found.values() if one.outcome is None]
    if nowhere or blank:
        unknown = [f"{one.host}{one.path}" for one in nowhere]
        return False, f"no outcome: {', '.join([*blank, *unknown][:3])}"
    totals = Counter(one.outcome for one in it.found.values())
    said = ", ".join(f"{n} {outcome}" for outcome, n in totals.most_common())
    return totals[Outcome.GONE] > 0, f"{count(len(it.found), 'URL')}: {said}"


PROMISES: Final[Mapping[str, Callable[[Witness], Finding]]] = {
    "nobody was hurried": _unhurried,
    "the hosts of a domain shared its pace": _one_domain,
    "a longer crawl-delay was obeyed": _patient,
    "robots.txt came first, and what it forbids was left": _robots,
    "no rules, no fetch": _closed,
    "no private address was connected to": _private,
    "a 429 was heeded": _throttled,
    "what was too large was cut": _cut,
    "what had no end was ended": _ended,
    "the dead and the slow held up nobody": _held_up,
    "every page was stored, and fetched once": _stored,
    "every charset was read right": _letters,
    "noindex and nofollow were respected": _wishes,
    "redirects were followed politely": _moved,
    "every URL has an outcome": _accounted,
}
"""Each promise, and who judges it."""


def _domain(host: str) -> str:
    return domain_of(f"http://{host}/")


def _host(url: str) -> str:
    return host_of(url)


def _forbidden(url: str) -> bool:
    return path_of(url).startswith(FORBIDDEN.get(host_of(url), ("?",)))


def _seconds(value: float) -> str:
    """Rounded down: a pause is never told longer than it was."""
    return f"{math.floor(value * 100) / 100:.2f} s"
