"""The web of `crawl demo`: a few well-behaved villages, and a domain for each way in which the web is hostile.

Everything can be reached from `start.test`, but for `moved.test`, which is a seed of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crawler.demo.language import (
    Reply,
    Site,
    bomb,
    endless,
    further,
    huge,
    lettered,
    once,
    page,
    redirect,
    robots,
    silence,
    slow,
    status,
    text,
    trickle,
)
from crawler.demo.names import SILENCE, Records

VILLAGES: Final = 8
HOUSES: Final = 9
"""Pages of a village, but for its first."""
CRAWL_DELAY: Final = 1.5
"""Seconds that patient.test asks for."""
RETRY_AFTER: Final = 2
"""Seconds that busy.test asks for, once."""
HUGE: Final = 64
"""MiB of the page that is too large, and of what the bomb unpacks to."""

SEEDS: Final = ("start.test", "moved.test")
FORBIDDEN: Final[Mapping[str, tuple[str, ...]]] = {
    "rules.test": ("/private/", "/admin"),
    "start.test": ("/private/",),
}
"""What robots.txt disallows, by host: the beginnings of paths."""
UNTOLD: Final[Mapping[str, tuple[str, ...]]] = {
    "quiet.test": ("/unfollowed-page", "/unfollowed-link", "/unfollowed-header")
}
"""Pages that only nofollow links lead to."""
CLOSED: Final = "shut.test"
"""Whose robots.txt cannot be had."""
PRIVATE: Final = ("10.0.0.1", "169.254.169.254", "192.168.7.7", "10.1.2.3")
"""The addresses that the links of inside.test lead to, the trap apart."""
LETTERS: Final[Mapping[str, tuple[str, str]]] = {
    "/cyrillic": ("windows-1251", "in the header"),
    "/kana": ("shift_jis", "in a meta element"),
    "/mark": ("utf-8", "by a byte order mark"),
    "/nobody": ("windows-1251", "nowhere"),
}
"""The pages of letters.test: their charset, and where it is declared."""

ABOUT: Final[Mapping[str, str]] = {
    "start.test": "links to all of them, to pages that are missing, and to some that are forbidden",
    "village1-8.test": "ten well-behaved pages each, linked to one another",
    "rules.test": "robots.txt forbids what every page links to",
    "shut.test": "robots.txt answers 503",
    "patient.test": f"asks for a crawl-delay of {CRAWL_DELAY:g} s",
    "busy.test": f"says 429 once, Retry-After: {RETRY_AFTER}",
    "a/b.shop.test": "two hosts of one domain",
    "moved.test": "a seed that has moved to www.home.test",
    "round.test": "redirects without end",
    "calendar.test": "a calendar without end",
    "large.test": f"a page of {HUGE} MiB, and a gzip bomb as large",
    "slow.test": "a page that takes 3 s to begin, another that drips",
    "tar.test": "takes the request, and never answers",
    "gone.test, mute.test": "a name that does not exist, and one that no server tells",
    "inside.test": "leads to private addresses: by link, name and redirect",
    "letters.test": "Cyrillic, kana and more, declared here, there or nowhere",
    "quiet.test": "noindex and nofollow",
}
"""What is served, for people."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A page that must be stored, and its title."""

    host: str
    path: str
    title: str


NAMES: Final[Mapping[str, Records]] = {"intranet.test": ["192.168.7.7"], "mute.test": SILENCE}
"""What the name server says of names that have no site; all others do not exist."""


def hostile_web() -> dict[str, Site]:
    """The sites, by host. Make it anew for each crawl: some answers change."""
    return {
        "start.test": {"/robots.txt": robots("/private/"), "/": _start(), "/private/diary": page("diary")},
        **{f"village{n}.test": _village(n) for n in range(1, VILLAGES + 1)},
        "rules.test": _rules(),
        "shut.test": {"/robots.txt": status(503), "/": page("shut", "/a"), "/a": page("shut a")},
        "patient.test": {"/robots.txt": robots(crawl_delay=CRAWL_DELAY), **_ring("patient", 4)},
        "busy.test": {**_ring("busy", 5), "/2": once(status(429, retry_after=str(RETRY_AFTER)), _house("busy", 2, 5))},
        "a.shop.test": _ring("shop a", 5, "http://b.shop.test:PORT/"),
        "b.shop.test": _ring("shop b", 5, "http://a.shop.test:PORT/"),
        "moved.test": {"/": redirect("http://www.home.test:PORT/")},
        "www.home.test": {"/": page("home", "/old"), "/old": redirect("/new", 302), "/new": page("new home")},
        "round.test": {"/": page("round", "/to/1", "/here"), "/to/*": further, "/here": redirect("/there"),
                       "/there": redirect("/here")},
        "calendar.test": {"/": page("calendar", "/day/1"), "/day/*": endless},
        "large.test": {"/": page("large", "/film", "/bomb", "/after"), "/film": huge(HUGE), "/bomb": bomb(HUGE),
                       "/after": page("after all that")},
        "slow.test": {"/": page("slow", "/late", "/drip"), "/late": slow(page("late"), 3.0), "/drip": trickle("drip", 8, 0.25)},
        "tar.test": {"/": silence()},
        "inside.test": {"/": page("inside", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/",
                                  "http://intranet.test/", "/sneaky", "http://[::1]:TRAP/"),
                        "/sneaky": redirect("http://10.1.2.3/", 302)},
        "letters.test": _letters(),
        "quiet.test": _quiet(),
    }  # fmt: skip


def expected(sites: Mapping[str, Site]) -> list[Expected]:
    """Every page that must be stored, once: those with a title that nothing forbids."""
    found = []
    for host, site in sites.items():
        hidden = FORBIDDEN.get(host, ()) + UNTOLD.get(host, ())
        for path, answer in site.items():
            reply = answer if isinstance(answer, Reply) else None
            if host == "busy.test" and path == "/2":
                reply = _house("busy", 2, 5)  # what it says the second time
            if host != CLOSED and reply is not None and reply.title and not path.startswith(hidden or ("?",)):
                found.append(Expected(host, path, reply.title))
    return found


def _start() -> Reply:
    hosts = [
        *(f"village{n}" for n in range(1, VILLAGES + 1)), "tar", "mute", "gone", "patient", "slow", "rules", "shut", "busy",
        "a.shop", "b.shop", "round", "calendar", "large", "inside", "letters", "quiet",
    ]  # fmt: skip
    links = [f"http://{host}.test:PORT/" for host in hosts]
    return page(
        "start",
        *links,
        "/private/diary",
        "http://rules.test:PORT/private/1",
        "/missing",
        "mailto:me@start.test",
    )


def _ring(title: str, pages: int, *links: str) -> dict[str, Reply]:
    """A first page, and others in a ring with a shortcut."""
    return {
        "/": page(title, "/1", *links),
        **{f"/{n}": _house(title, n, pages, *links) for n in range(1, pages + 1)},
    }


def _house(title: str, number: int, pages: int, *links: str) -> Reply:
    return page(f"{title} {number}", f"/{number % pages + 1}", f"/{number * 2 % pages + 1}", *links)


def _village(number: int) -> Site:
    neighbour = f"http://village{number % VILLAGES + 1}.test:PORT/"
    forbidden = "http://rules.test:PORT/private/"
    return {"/robots.txt": robots(), **_ring(f"village {number}", HOUSES, neighbour, f"{forbidden}{number}")}


def _rules() -> Site:
    rules = text("User-agent: *\nDisallow: /private/\nAllow: /admin/help\nDisallow: /admin\n")
    links = [*(f"/private/{n}" for n in range(1, 13)), "/admin", "/1", "/2"]
    # What is forbidden is there, to be fetched by who does not ask.
    return {
        "/robots.txt": rules,
        "/": page("rules", *links),
        **{f"/{n}": page(f"rules {n}", *links) for n in (1, 2)},
        "/private/*": page("secret"),
        "/admin": page("admin"),
    }


def _letters() -> Site:
    russian = (
        "Съешь же ещё этих мягких французских булок да выпей чаю. Широкая электрификация южных губерний."
    )
    return {
        "/": page("letters", *LETTERS),
        "/cyrillic": lettered("Привет", russian, "cp1251", header="windows-1251"),
        "/kana": lettered("こんにちは", "いろはにほへと ちりぬるを", "shift_jis", meta="shift_jis"),
        "/mark": lettered("Grüße, 世界", "naïve café", "utf-8", bom=b"\xef\xbb\xbf"),
        "/nobody": lettered("Добрый вечер", russian, "cp1251"),
    }


def _quiet() -> Site:
    no_follow = page(
        "noindex, nofollow", "/unfollowed-page", head='<meta name="robots" content="noindex, nofollow">'
    )
    by_header = page("nofollow by header", "/unfollowed-header")
    return {
        "/": page("quiet", "/shy", "/header", body='<a rel="nofollow" href="/unfollowed-link">not this</a>'),
        "/shy": no_follow,
        "/header": Reply(by_header.body, headers={"X-Robots-Tag": "nofollow"}, title=by_header.title),
        **{path: page("nobody was to come here") for path in UNTOLD["quiet.test"]},
    }
