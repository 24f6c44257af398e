"""Sites without end beside an honest one: the crawl ends by itself, nothing of the honest site is lost, and `crawl why` says why."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from crawler.core.urls import domain_of
from crawler.demo.language import Answer, Reply, Site, page, redirect, robots
from crawler.demo.server import Web, serving
from tests.system.program import Program

pytestmark = pytest.mark.xdist_group("traps")  # they share what is costly to make

HONEST: Final = 230
"""Pages of the honest site: more than a new domain has room for."""
HOSTS: Final = 40
"""Names that the site of many names has in the hosts file."""
WORDS: Final = "amber birch cedar delta ember fjord grove heath inlet jetty knoll larch".split()  # noqa: SIM905 - easier to read


def site_page(title: str, *links: str, body: str = "") -> Reply:
    """A page as the programs of sites make them: its links are called the same on every page."""
    anchors = "".join(f'<p><a href="{link}">more</a>' for link in links)
    return page(title, body=f"{anchors}<p>{body}")


def number(path: str) -> int:
    """The digits of a path."""
    return int("".join(filter(str.isdigit, path.partition("?")[0])) or "0")


def calendar(path: str) -> Reply:
    """A month that knows those around it, and those of other years."""
    month = number(path)
    others = (f"/cal/{month + step}" for step in (1, 2, 3, 12, 24, 120))
    return site_page(
        f"Calendar {month}", *others, body=f"Mo Tu We Th Fr Sa Su {' '.join(map(str, range(1, 31)))}"
    )


def soft(path: str) -> Reply:
    """There is no such page, it says with status 200, and links to more of them."""
    here = hashlib.sha256(path.encode()).hexdigest()
    return site_page(
        "Page not found", *(f"/{here[n : n + 9]}z" for n in range(4)), body=f"There is no {path} here."
    )


def session(path: str) -> Reply:
    """Seven pages, whose links bear another session identifier each time."""
    fresh = hashlib.sha256(repr(next(_numbers)).encode()).hexdigest()[:32]
    here = number(path.partition(";")[0]) % 7
    text = f"This is the page that is called {WORDS[here]}."
    return site_page(
        WORDS[here],
        f"/p{(here + 1) % 7}?PHPSESSID={fresh}",
        f"/p{(here + 2) % 7};jsessionid={fresh}?x=1",
        body=text,
    )


def wants_session(path: str) -> Reply:
    """Nothing is shown without a session identifier in the path."""
    return redirect(f"/(S(mwvbqymyemg5hjnnqjswh555)){path}", 302)


def facets(path: str) -> Reply:
    """One list of goods, to be narrowed by ever more facets, in any order."""
    query = path.partition("?")[2]
    links = [f"/list?{query}{'&' if query else ''}f[{n}]={word}" for n, word in enumerate(WORDS)]
    return site_page("Goods", *links, body="All that we have for you.")


def deeper(path: str) -> Reply:
    """Relative links that are read against a deeper page each time."""
    return page(
        "Deeper",
        "more/",
        f"x{number(path)}/more/",
        body=f"You are deep in {hashlib.sha256(path.encode()).hexdigest()}",
    )


def many_names(path: str) -> Reply:
    """The same pages under every name."""
    return site_page(
        "One of many",
        *(f"http://n{n}.names.test:PORT/" for n in range(HOSTS)),
        "/a",
        "/b",
        "/c",
        "/d",
        "/e",
        "/f",
        body="Buy.",
    )


def honest() -> dict[str, Answer]:
    """Pages that each say something of their own, in a tree."""
    site: dict[str, Answer] = {"/robots.txt": robots("/private/")}
    for n, words in enumerate(itertools.islice(itertools.permutations(WORDS, 3), HONEST)):
        links = [f"/{m}" for m in (2 * n + 1, 2 * n + 2) if m < HONEST]
        site[f"/{n}" if n else "/"] = page(
            " ".join(words), *links, body=f"Here are {' and '.join(words)}, {n} in all."
        )
    return site


_numbers = itertools.count()
TRAPS: Final[Mapping[str, Callable[[str], Reply]]] = {
    "calendar.test": calendar, "soft.test": soft, "session.test": session, "wants.test": wants_session, "facets.test": facets,
    "deeper.test": deeper,
}  # fmt: skip


@dataclass
class Crawled:
    """What came of the crawl."""

    program: Program
    web: Web
    summary: dict[str, Any]
    asked: Counter[str]
    """Requests by domain."""

    def why(self, host: str, path: str = "/") -> dict[str, Any]:
        """What `crawl why` says of a URL, for a program."""
        told = json.loads(self.program.run("why", self.web.url(host, path), "--json"))
        return dict(told["crawls"][0])

    def urls(self, host: str) -> list[dict[str, Any]]:
        """The exported pages of a domain."""
        pages = self.program.pages("traps")
        return [page for url, page in pages.items() if domain_of(url) == host]


@contextmanager
def crawled(folder: Path, sites: Mapping[str, Site], *options: str) -> Iterator[Crawled]:
    """Crawl these sites to the end."""
    with serving(sites) as web:
        hosts = str(web.hosts_file(folder))
        given = {"ALLOW_NETS": "127.0.0.0/8", "RUN_PATIENCE": "0", "HOSTS_FILE": hosts}
        program = Program(folder / "data", given)
        seeds = [web.url(host) for host in sites if not host.startswith("n") or host == "n0.names.test"]
        summary = program.crawl(
            *seeds, "--name", "traps", "--delay", "0", "--max-pages-per-domain", "0", *options
        )
        yield Crawled(program, web, summary, Counter(domain_of(f"http://{one.host}/") for one in web.log))


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    """Every trap beside the honest site, crawled once."""
    sites: dict[str, Site] = {"honest.test": honest()}
    sites |= {host: {"/robots.txt": robots(), "/*": answer} for host, answer in TRAPS.items()}
    sites |= {f"n{n}.names.test": {"/robots.txt": robots(), "/*": many_names} for n in range(HOSTS)}
    with crawled(tmp_path_factory.mktemp("traps"), sites) as found:
        yield found


def test_it_ends(traps: Crawled) -> None:
    """The crawl ends by itself, without a limit of any kind, and every URL is final."""
    assert traps.summary["state"] == "finished"
    assert traps.summary["waiting"] == []


def test_the_honest_site_is_complete(traps: Crawled) -> None:
    """Every page of the honest site is stored, and asked for once."""
    asked = [path for path in traps.web.asked("honest.test") if path != "/robots.txt"]

    assert len(traps.urls("honest.test")) == HONEST
    assert Counter(asked) == dict.fromkeys(["/", *(f"/{n}" for n in range(1, HONEST))], 1)


@pytest.mark.parametrize(
    ("domain", "most"),
    [
        ("calendar.test", 1007),
        ("soft.test", 1012),
        ("facets.test", 1007),
        ("session.test", 20),
        ("wants.test", 3),
        ("names.test", 1050),
    ],
)
def test_requests_are_bounded(traps: Crawled, domain: str, most: int) -> None:
    """A trap is asked some 1,000 times, and the names of one domain bring no robots.txt each for ever."""
    assert 0 < traps.asked[domain] <= most


def test_deeper_links_are_refused(traps: Crawled) -> None:
    """A relative link that leads deeper each time ends with its third round."""
    assert traps.asked["deeper.test"] < 60


def test_session_identifiers_are_dropped(traps: Crawled) -> None:
    """A site that names its pages anew for each visit has as many pages as it has."""
    assert {urlsplit(page["url"]).path for page in traps.urls("session.test")} == {
        "/",
        *(f"/p{n}" for n in range(7)),
    }
    assert len(traps.urls("session.test")) <= 15


def test_why_a_page_is_like_others(traps: Crawled) -> None:
    """`why` tells how many other pages say the same, that it looks like an error page, and how the budget shrank."""
    told = traps.why("soft.test", traps.web.asked("soft.test")[-1])

    assert told["outcome"]["alike"] == 1008
    assert "the same, but for digits, as that of 1,008 other pages of this domain" in told["outcome"]["words"]
    assert "a soft 404" in told["outcome"]["words"]
    assert [told["domain"][fact] for fact in ("pages", "fresh", "alike", "room")] == [1010, 2, 1008, 0]
    assert "1,008 of its 1,010 pages with text say what another page of it says" in told["domain"]["words"]
    assert "so its budget shrank to 1,010 pages" in told["domain"]["words"]


def test_why_a_url_was_left_out(traps: Crawled) -> None:
    """`why` tells of a URL over the budget that it was not asked for, why, and what would change that."""
    asked = traps.web.asked("facets.test")
    led = (f"{page}&f[{n}]={word}" for page in reversed(asked) for n, word in enumerate(WORDS))
    left = (traps.why("facets.test", path) for path in led if path not in asked)
    # What the very last pages led to came when the domain was closed, and is not known.
    told = next(one for one in islice(left, 50) if one["visits"]["outcome"] is not None)

    assert told["visits"]["outcome"] == "scope_refused"
    assert (
        told["visits"]["detail"] == "most pages of the domain say the same: its budget shrank to 1005 pages"
    )
    assert "the domain has used up its pages in this crawl" in told["outcome"]["words"]
    assert "another --max-pages-per-domain" in told["next"]["words"]


def test_why_a_redirect_leads_nowhere(traps: Crawled) -> None:
    """A site that shows nothing without a session identifier ends as a redirect to itself, which is told."""
    told = traps.why("wants.test")

    assert told["visits"]["outcome"] == "redirect"
    assert (
        "redirects to itself with a session identifier ((S(mwvbqymyemg5hjnnqjswh555)))"
        in told["visits"]["words"]
    )
    assert traps.asked["wants.test"] == 2


def test_why_a_typed_url_is_another(traps: Crawled) -> None:
    """`why` tells that a session identifier in the URL that was typed is no part of it."""
    typed = traps.web.url("session.test", "/p1?PHPSESSID=9682993c8daa2c5497996114facdc805")
    told = traps.program.run("why", typed)
    facts = json.loads(traps.program.run("why", typed, "--json"))

    assert "Without PHPSESSID=9682993c8daa2c5497996114facdc805: a session identifier" in told
    assert facts["url"] == traps.web.url("session.test", "/p1")
    assert facts["dropped"] == ["PHPSESSID=9682993c8daa2c5497996114facdc805"]
