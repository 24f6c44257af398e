"""Models made by hand, for pages that are rendered without a crawl: usual ones, empty ones, hostile ones."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from crawler.core.model import Outcome
from crawler.dashboard.models import (
    Attempt,
    CrawlFull,
    CrawlReasons,
    CrawlRule,
    CrawlShort,
    DomainCrawl,
    DomainFull,
    DomainLine,
    DomainTops,
    Frontier,
    JobState,
    LetterState,
    Limiting,
    Overview,
    PageFull,
    PageList,
    PageShort,
    Point,
    QueueState,
    Rate,
    Reason,
    RobotsRules,
    Schedule,
    Series,
    Version,
    WaitingDomain,
    Why,
    WorkerState,
)  # fmt: skip
from crawler.dashboard.views import BAD, LIMITS

NOW: Final = datetime(2026, 11, 21, 20, 44, 12, tzinfo=UTC)
HOSTILE: Final = (
    '"\'><script>document.title="owned"</script><img src=x onerror=alert(1)>{{7*7}}</title></textarea>'
    "\u202egnp.exe\u2066\u2069\u200f\x00\x1b[31m\n" + "A" * 10_000
)
"""All that a title can do to a page."""
HOSTILE_URL: Final = "https://xn--e1awd7f.test/<script>alert(1)</script>?\u202e=" + "a" * 3_000
SCRIPT_URL: Final = "javascript:alert(1)//https://example.com/"


def rate(pages: float = 12.5) -> Rate:
    """How fast."""
    return Rate(pages=pages, fetches=pages * 1.3, bytes=pages * 21_000, seconds=60)


def series(*, busy: bool = True) -> Series:
    """An hour; or one in which nothing happened."""
    points = [
        Point(
            at=NOW - timedelta(minutes=60 - n),
            outcomes={"ok": 500 + 7 * n, "redirect": 20 + n % 7, "robots_refused": n % 11, "timeout": n % 5, "throttled": n // 50}
            if busy
            else {},
            bytes=11_000_000 * busy,
            ms=90_000 * busy,
        )
        for n in range(60)
    ]  # fmt: skip
    return Series(since=points[0].at, until=points[-1].at + timedelta(minutes=1), step=60, points=points)


def frontier(**more: Any) -> Frontier:
    """A large frontier."""
    usual = {
        "ready": 0, "resting": 431, "queued": 88, "held": 200, "most": 10_000, "urls": 1_204_511, "waiting": 880_214,
        "oldest_domain": None, "oldest_since": None,
    }  # fmt: skip
    return Frontier(**usual | more)


def overview(text: str = "", **more: Any) -> Overview:
    """All at a glance."""
    usual: dict[str, Any] = {
        "now": NOW, "version": "0.1.0", "rate": rate(), "hour": series(),
        "outcomes": {"ok": 42_390, "redirect": 1_378, "robots_refused": 300, "timeout": 120, "gone": 12},
        "frontier": frontier(), "queue": QueueState(carrier="PostgreSQL", waiting=88, dead=0, trouble=None), "workers": 2,
        "schedulers": 1, "silent": 0, "slots": 400, "visiting": 200,
        "limiting": Limiting(what="politeness", words=text or "Most domains rest between two requests. More domains would help."),
        "cost": None, "crawls": {"running": 2, "finished": 1}, "database_bytes": 4_100_000_000, "job_trouble": [],
    }  # fmt: skip
    return Overview(**usual | more)


def short(name: str = "news", **more: Any) -> CrawlShort:
    """A crawl in a list."""
    usual: dict[str, Any] = {
        "name": name, "state": "running", "scope": "domain", "created_at": NOW - timedelta(days=3), "finished_at": None,
        "finished_why": None, "urls": 120_451, "pages": 40_112, "waiting": 80_339, "requests": 51_002, "bytes": 910_000_000,
        "outcomes": {"": 80_339, "ok": 40_112}, "refresh": "adaptive", "limits": {"max-pages": "100000", "delay": "2s"},
    }  # fmt: skip
    return CrawlShort(**usual | more)


def line(name: str = "example.com", **more: Any) -> DomainLine:
    """A domain in a list."""
    usual: dict[str, Any] = {
        "domain": name, "fetches": 310, "failed": 12, "ms": 812.4, "urls": 4_100, "blocked": None, "waits_for": "its pause",
        "ready_at": NOW + timedelta(seconds=5),
    }  # fmt: skip
    return DomainLine(**usual | more)


def attempt(text: str = "", **more: Any) -> Attempt:
    """A failure."""
    usual: dict[str, Any] = {
        "at": NOW - timedelta(minutes=3), "url": "https://example.com/a", "crawl": "news", "outcome": "timeout", "status": None,
        "bytes": 0, "ms": 20_003, "worker": "w1", "detail": text or "no answer within 20 s",
    }  # fmt: skip
    return Attempt(**usual | more)


def page(text: str = "A page", **more: Any) -> PageFull:
    """A page in full."""
    usual: dict[str, Any] = {
        "url": "https://example.com/a", "crawl": "news", "domain": "example.com", "outcome": "ok", "status": 200, "detail": "",
        "title": text, "content_type": "text/html", "charset": "utf-8", "language": "en", "length": 41_233,
        "first_at": NOW - timedelta(days=20), "fetched_at": NOW - timedelta(hours=3), "changed_at": NOW - timedelta(days=2),
        "redirect_to": None, "etag": '"abc"', "last_modified": None, "digest": "00" * 32, "text_digest": None, "directives": [],
        "address": "192.0.2.7", "protocol": "HTTP/1.1", "request_headers": [("User-Agent", "faircrawl/0.1.0")],
        "headers": [("Content-Type", "text/html"), ("X-Long", text)], "depth": 2, "fields": {text: text, "n": [text, None]},
        "has_body": True,
        "versions": [Version(version=1, seen_until=NOW - timedelta(days=2), status=200, length=4, title=text, digest=None)],
    }  # fmt: skip
    return PageFull(**usual | more)


def found(text: str = "A page", url: str = "https://example.com/a", **more: Any) -> PageShort:
    """A page in a list."""
    usual: dict[str, Any] = {
        "url": url, "crawl": "news", "domain": "example.com", "outcome": "ok", "status": 200, "title": text,
        "content_type": "text/html", "length": 812, "fetched_at": NOW, "due_at": NOW + timedelta(days=7), "depth": 1, "detail": "",
    }  # fmt: skip
    return PageShort(**usual | more)


def worker(**more: Any) -> WorkerState:
    """A worker."""
    usual: dict[str, Any] = {
        "id": "w1", "host": "crawl-1", "pid": 4711, "version": "0.1.0", "queue": "postgres", "scheduler": False, "slots": 200,
        "visiting": 150, "started_at": NOW - timedelta(hours=5), "seen_at": NOW - timedelta(seconds=4), "silent": False,
        "vitals": {
            "seconds": 10.0, "pages": 6.2, "fetches": 7.9, "bytes": 180_000.0, "cpu": 0.41, "parsing": 0.3, "memory": 210_000_000,
            "memory_limit": 2_000_000_000, "open_files": 310, "open_files_limit": 4096, "turns": 150, "resting": 120, "asking": 22,
            "writing": 8, "requests": 22, "lookups": 3, "unwritten": 14, "commit_ms": 9.4, "away": "", "lack": "",
            "renewals_missed": 0, "dns": {"192.0.2.53": [1200, 3]},
        },
    }  # fmt: skip
    return WorkerState(**usual | more)


def contexts(text: str, url: str) -> dict[str, dict[str, Any]]:
    """What each template may be given, with a stranger's *text* and *url* wherever one can stand."""
    robots = RobotsRules(
        origin="https://example.com", status=200, fetched_at=NOW, expires_at=NOW, good_at=NOW, failures=1, detail=text,
        body=f"User-agent: *\nDisallow: /x\n# {text}", sitemaps=[url],
    )  # fmt: skip
    lines = [line(text[:200] or "example.com", waits_for=text, blocked=None), line(blocked=text)]
    attempts = [attempt(text, url=url, outcome=one) for one in Outcome]
    return {
        "overview.html": {"since": "2026-11-21T19:44:00+00:00", "it": overview(text, job_trouble=[text], silent=1,
                          queue=QueueState(carrier="RabbitMQ", waiting=None, dead=3, trouble=text))},
        "crawls.html": {"crawls": [short(text[:100], refresh=text), short()], "LIMITS": LIMITS},
        "crawl.html": {
            "it": CrawlFull(
                crawl=short(text[:100], finished_why=text, finished_at=NOW, limits={"user-agent": text}), rate=rate(), seeds=[url],
                include=[text], exclude=[text], slowest=lines, failing=lines,
                waiting=[WaitingDomain(domain=text[:200], urls=4, next_at=NOW, why=text)],
            ),
            "hour": series(), "name": text[:100], "LIMITS": LIMITS, "nobody": True,
        },
        "domains.html": {"tops": DomainTops(slowest=lines, failing=lines, queued=lines, seconds=3600, exact=False)},
        "domain.html": {
            "it": DomainFull(
                domain=text[:200], blocked=text, delay=2, delay_by_hand=3, per_domain_by_hand=2, waits_for=text, ready_at=NOW,
                next_at=NOW, holder=text, failures=3, throttled=1, visited_at=NOW, address=text, forgotten_at=NOW,
                crawls=[DomainCrawl(crawl=text[:100], state="running", urls=4, pages=2, waiting=2)], robots=[robots], errors=attempts,
            ),
            "name": text[:200],
        },
        "url.html": {
            "url": url, "pages": [page(text, url=url, redirect_to=url, detail=text, etag=text, directives=[text])],
            "attempts": attempts,
            "why": Why(
                url=url, domain=text[:200], origin="https://example.com", known=True, dropped=[text],
                crawls=[CrawlReasons(crawl=text[:100], state="running", reasons=[Reason(part="known", words=text, facts={})])],
            ),
        },
        "search.html": {
            "found": PageList(pages=[found(text, url, detail=text, content_type=text)], next=text[:50]), "trouble": text,
            "crawls": [text[:100]],
            "asked": {"crawl": text[:100], "domain": text, "outcome": "ok", "since": text, "until": None, "after": text,
                      "since_local": "", "until_local": ""},
        },
        "workers.html": {"workers": [worker(host=text, version=text), worker(id="w2", vitals={}, silent=True),
                         worker(id="s", scheduler=True, host=text)]},
        "schedule.html": {
            "it": Schedule(
                schedulers=1, leader=text,
                jobs=[
                    JobState(name=text, about=text, every=60, everybody=False, last_at=NOW, ms=12, result="failed", detail=text,
                             next_at=NOW, late=True),
                    JobState(name="leases", about="x", every=5, everybody=True, last_at=None, ms=None, result=None, detail="",
                             next_at=None, late=False),
                ],
                crawls=[CrawlRule(crawl=text[:100], state="running", rule=text, words=text, due=1000, next_at=NOW)],
            ),
        },
        "errors.html": {
            "errors": attempts, "letters_trouble": None, "asked": {"crawl": text, "outcome": "timeout"}, "BAD": BAD,
            "letters": [
                LetterState(id=text, kind="turn", buried_at=NOW, reason=text, domain=text[:200], urls=[url], count=12),
                LetterState(id="2", kind="no turn", buried_at=None, reason="", domain=None, urls=[], count=0),
            ],
        },
    }  # fmt: skip


def empty() -> dict[str, dict[str, Any]]:
    """What each template is given on the first day."""
    crawl = CrawlFull(crawl=short(urls=0, pages=0, waiting=0, outcomes={}, limits={}), rate=rate(0), seeds=[], include=[],
                      exclude=[], slowest=[], failing=[], waiting=[])  # fmt: skip
    return {
        "overview.html": {"since": "2026-11-21T19:44:00+00:00", "it": overview(
            hour=series(busy=False), outcomes={}, crawls={}, rate=rate(0), workers=0, slots=0, visiting=0,
            frontier=frontier(resting=0, queued=0, held=0, urls=0, waiting=0),
        )},
        "crawls.html": {"crawls": [], "LIMITS": LIMITS},
        "crawl.html": {"it": crawl, "hour": series(busy=False), "name": "news", "LIMITS": LIMITS, "nobody": False},
        "domains.html": {"tops": DomainTops(slowest=[], failing=[], queued=[], seconds=3600, exact=True)},
        "search.html": {"found": PageList(pages=[], next=None), "trouble": None, "crawls": [],
                        "asked": dict.fromkeys(("crawl", "domain", "outcome", "since", "until", "after"))
                        | {"since_local": "", "until_local": ""}},
        "workers.html": {"workers": []},
        "schedule.html": {"it": Schedule(schedulers=0, leader=None, jobs=[], crawls=[])},
        "errors.html": {"errors": [], "letters": [], "letters_trouble": None, "asked": {"crawl": None, "outcome": None}, "BAD": BAD},
        "url.html": {"url": "", "why": None, "pages": [], "attempts": []},
    }  # fmt: skip
