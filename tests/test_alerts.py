"""What is critical, told once: to the log, and to a Sentry that really listens."""

import asyncio
import errno
import itertools
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import __version__
from crawler.adapters.connecting import SocketsExhaustedError
from crawler.alerts import ADVICE, EVERY, Absences, Alerts, Hush, Trouble, alerting, trouble_of
from crawler.core.errors import (
    BrokerError,
    BrokerUnavailableError,
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnavailableError,
    FaircrawlError,
    SettingsError,
    UsageError,
)
from crawler.ports import Event
from crawler.settings import Settings, describe, load
from tests.sentry import Sentry, some_sentry

PASSWORD = "correct-horse-battery"
PAGE = "syas-egap-a-tahw"
"""Backwards: an event shows the lines of our source."""
DATABASE_URL = f"postgresql://crawl:{PASSWORD}@db.test/crawl?sslpassword={PASSWORD}x"
AMQP_URL = f"amqp://crawl:{PASSWORD}y@mq.test/crawl"


def settings(sentry: Sentry) -> Settings:
    """What a worker has, with a Sentry."""
    return Settings(
        database_url=DATABASE_URL, amqp_url=AMQP_URL, sentry_dsn=sentry.dsn, contact="me@example.com"
    )


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """As ``raise error from cause``."""
    error.__cause__ = cause
    return error


def test_every_trouble_has_advice() -> None:
    """Each kind has a sentence that says what to do."""
    assert set(Trouble) == ADVICE.keys()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DatabaseUnavailableError(), Trouble.DATABASE),
        (BrokerUnavailableError(), Trouble.BROKER),
        (BrokerError("it refuses"), Trouble.BROKER),
        (ExceptionGroup("", [DatabaseUnavailableError(), DatabaseBusyError()]), Trouble.DATABASE),
        (ExceptionGroup("", [DatabaseUnavailableError(), KeyError("x")]), Trouble.BUG),
        (DatabaseError("NotNullViolationError: no"), Trouble.BUG),
        (KeyError("x"), Trouble.BUG),
        (ExceptionGroup("", [OSError(errno.ECONNRESET, "reset")]), Trouble.BUG),
        (MemoryError(), Trouble.MEMORY),
        (OSError(errno.EMFILE, "Too many open files"), Trouble.DESCRIPTORS),
        (caused(SocketsExhaustedError(), OSError(errno.EADDRNOTAVAIL, "no port")), Trouble.DESCRIPTORS),
        (caused(DatabaseUnavailableError(), OSError(errno.EMFILE, "files")), Trouble.DESCRIPTORS),
        (OSError(errno.ENOENT, "no such file"), None),
        (UsageError("wrong"), None),
        (FaircrawlError("told to the user"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_what_an_exception_means(error: BaseException, kind: Trouble | None) -> None:
    """An exception is the kind of trouble that it came from; what the user did is none."""
    assert trouble_of(error) is kind


@given(st.lists(st.tuples(st.sampled_from(list(Trouble)), st.floats(0, 120)), min_size=1, max_size=60))
def test_once_in_five_minutes_and_none_is_forgotten(steps: list[tuple[Trouble, float]]) -> None:
    """Two tellings of a kind lie five minutes apart, and each says how many were held back before it."""
    hush, now = Hush(), 0.0
    told: dict[Trouble, list[float]] = {}
    counted: dict[Trouble, int] = {}
    happened: dict[Trouble, int] = {}
    for kind, later in steps:
        now += later
        happened[kind] = happened.get(kind, 0) + 1
        held = hush.admits(kind, now)
        if held is not None:
            told.setdefault(kind, []).append(now)
            counted[kind] = counted.get(kind, 0) + 1 + held
            assert counted[kind] == happened[kind]

    assert told.keys() == happened.keys()
    for moments in told.values():
        assert all(later - before >= EVERY for before, later in itertools.pairwise(moments))


def test_absence_is_counted_from_the_first_failure_in_a_row() -> None:
    """Attempts that fail within half a minute of each other are one absence; after more than that a new one begins."""
    absences = Absences()
    seconds = [absences.failed("database", now) for now in (100.0, 110.0, 139.0, 170.0, 171.0)]

    assert seconds == [0.0, 10.0, 39.0, 0.0, 1.0]


class Told:
    """A sender that remembers, and a clock that is set by hand."""

    def __init__(self, after: float = 60.0) -> None:
        self.now = 1000.0
        self.kinds: list[tuple[str, int]] = []
        self.alerts = Alerts(self, after=after, clock=lambda: self.now)

    def send(self, event: Event) -> None:
        """Take note."""
        assert event.message
        self.kinds.append((event.kind, int(event.facts["held_back"])))


def test_away_is_critical_after_a_while() -> None:
    """A database that is away is told when it has been so for a minute, and again five minutes later with a count."""
    told = Told()
    moments = []
    for _ in range(0, 400, 10):
        before = len(told.kinds)
        told.alerts.away(DatabaseUnavailableError())
        moments += [told.now - 1000] * (len(told.kinds) - before)
        told.now += 10

    assert moments == [60, 360]
    assert told.kinds == [("database", 0), ("database", 29)]


def test_lack_of_descriptors_is_no_absence() -> None:
    """A database that cannot be reached for want of descriptors is told at once, as that."""
    told = Told()
    error = DatabaseUnavailableError()
    error.__cause__ = OSError(errno.EMFILE, "files")
    told.alerts.away(error)

    assert told.kinds == [("descriptors", 0)]


@pytest.mark.parametrize(("at_work", "kinds"), [(False, []), (True, [("database", 0)])])
def test_what_is_away_at_the_beginning(kinds: list[tuple[str, int]], *, at_work: bool) -> None:
    """A database that ends us is critical once work had begun; before, whoever started us sees it."""
    told = Told()
    told.alerts.at_work = at_work
    told.alerts.ended_by(DatabaseUnavailableError())

    assert told.kinds == kinds


def test_an_event() -> None:
    """An event has a release, a machine, a kind to group by, its tags, and a sentence that says what to do."""
    with some_sentry() as sentry:
        with alerting(settings(sentry), crawl="news") as alerts:
            alerts.tags["worker"] = "host-1-abc"
            alerts.critical(Trouble.DEAD_LETTER, "lost 6 times", domain="site.test")
            alerts.critical(Trouble.DEAD_LETTER, "lost 6 times", domain="other.test")
            alerts.critical(Trouble.MEMORY, "810 MiB of 800 MiB")
        dead, memory = sentry.events

    assert dead["release"] == f"faircrawl@{__version__}"
    assert dead["server_name"]
    assert dead["level"] == "fatal"
    assert dead["logentry"]["formatted"] == ADVICE[Trouble.DEAD_LETTER]
    assert dead["fingerprint"] == ["faircrawl", "dead letter"]
    assert dead["tags"] == {
        "worker": "host-1-abc", "crawl": "news", "domain": "site.test", "kind": "dead letter",
    }  # fmt: skip
    assert dead["contexts"]["trouble"] == {"held_back": 0, "about": "lost 6 times"}
    assert memory["tags"] == {"worker": "host-1-abc", "crawl": "news", "kind": "memory"}
    assert sentry.others == []


def test_each_hook_is_grouped_by_itself() -> None:
    """What one hook does wrong is not hidden behind another's: each has a fingerprint of its own."""
    with some_sentry() as sentry:
        with alerting(settings(sentry)) as alerts:
            for hook in ("shop:prices", "shop:news"):
                alerts.critical(Trouble.HOOK, f"{hook} has raised", of=hook, hook=hook, domain="a.test")
        prints = [event["fingerprint"] for event in sentry.events]

    assert prints == [["faircrawl", "hook", "shop:prices"], ["faircrawl", "hook", "shop:news"]]


def test_nothing_else_in_an_event() -> None:
    """An event holds no variables, breadcrumbs, user, request, modules or arguments of the program; its frames are ours."""
    with some_sentry() as sentry:
        with pytest.raises(ZeroDivisionError), alerting(settings(sentry)):
            fail(PAGE[::-1])
        (event,) = sentry.events

    assert {"breadcrumbs", "user", "request", "modules", "extra"}.isdisjoint(event)
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "fail"
    assert all("vars" not in frame for frame in frames)
    assert PAGE[::-1] not in sentry.raw


def fail(body: str) -> None:
    """Meet a bug with a body at hand."""
    assert len(body) // 0


def chained() -> Exception:
    """An exception with secrets in every place that one can have."""
    value = ValueError(f"Cookie: sid={PASSWORD}; x")
    value.__cause__ = OSError(f"connect to {DATABASE_URL} failed")
    runtime = RuntimeError(f"Authorization: Basic {PASSWORD}", (b"Set-Cookie", f"sid={PASSWORD}".encode()))
    runtime.__context__ = KeyError(f"<html>{PASSWORD} in a body</html>")
    runtime.add_note(f"a note: {AMQP_URL}")
    return ExceptionGroup(f"in {AMQP_URL}", [value, runtime, DatabaseError(f"x\nDETAIL: ({PASSWORD})")])


def tell_all(sentry: Sentry) -> None:
    """Tell a thing with secrets in it, and end by an exception with more of them."""
    with alerting(settings(sentry), crawl=f"of {AMQP_URL}") as alerts:
        alerts.critical(Trouble.DEAD_LETTER, f"token={PASSWORD}", domain=f"u:{PASSWORD}@site.test")
        raise chained()


def test_no_secret_leaves() -> None:
    """No password, cookie, body or key is in an event: in no text, tag, note, cause or context, nor in an inner exception."""
    with some_sentry() as sentry:
        with pytest.raises(ExceptionGroup):
            tell_all(sentry)
        kinds = sentry.kinds
        types = {one["type"] for one in sentry.events[-1]["exception"]["values"]}
        told = sentry.raw.replace("sentry_key=0123456789abcdef", "")  # how the SDK says who it is

    assert kinds == ["dead letter", "bug"]
    assert types == {"ExceptionGroup", "ValueError", "OSError", "RuntimeError", "KeyError", "DatabaseError"}
    assert PASSWORD not in told
    assert "0123456789abcdef" not in told
    assert told.count("********") > 5


def test_without_a_dsn_nothing_is_imported() -> None:
    """Without a DSN the SDK is not imported, and what is critical is one line of the log."""
    program = (
        "import sys\n"
        "from crawler.alerts import Trouble, alerting\n"
        "from crawler.settings import Settings\n"
        "from crawler.telemetry import configure\n"
        "configure()\n"
        "with alerting(Settings()) as alerts:\n"
        "    for _ in range(3): alerts.critical(Trouble.MEMORY, '9 of 8')\n"
        "assert 'sentry_sdk' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()

    assert "trouble.met" in line
    assert ADVICE[Trouble.MEMORY] in line


UNWELL: dict[str, Callable[[], object]] = {
    "silent": lambda: some_sentry(silent=True),
    "broken": lambda: some_sentry(500),
    "throttling": lambda: some_sentry(429),
}


@pytest.mark.parametrize("how", UNWELL)
async def test_a_sentry_that_is_unwell_costs_nothing(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    """However many events there are, nobody waits for Sentry but two seconds at the end, and nothing of it is told on stderr."""
    with UNWELL[how]() as sentry:  # type: ignore[attr-defined]
        before = time.monotonic()
        with alerting(settings(sentry)) as alerts:
            slowest = await slowest_round(alerts)
            assert await asyncio.to_thread(sentry.asked.wait, 10)
            ending = time.monotonic()
        ended = time.monotonic()

    assert slowest < 0.5
    assert ended - ending < 4
    assert ended - before < 15
    assert "[sentry]" not in capfd.readouterr().err


async def slowest_round(alerts: Alerts) -> float:
    """Tell a thousand things, each of another kind for the throttle's sake: the longest that the loop stood still, in seconds."""
    slowest = 0.0
    for number in range(300):
        began = time.monotonic()
        alerts._hush = Hush()
        alerts.critical(Trouble.MEMORY, f"event {number}")
        await asyncio.sleep(0)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_a_sentry_that_is_away_costs_nothing() -> None:
    """Where nobody listens, the end waits for two seconds at most."""
    with some_sentry() as sentry:
        gone = settings(sentry)
    before = time.monotonic()
    with alerting(gone) as alerts:
        alerts.critical(Trouble.MEMORY)

    assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    "dsn",
    [
        "s.test/42",
        "https://s.test/42",
        "https://key@s.test/",
        "https://key@s.test/project",
        "https://key@s.test/42?x=y",
        "https://key@s.test:port/42",
        "ftp://key@s.test/42",
        "https://key@/42",
    ],
)
def test_nonsense_for_a_dsn(dsn: str) -> None:
    """What is no DSN is refused with an example, and not shown."""
    with pytest.raises(
        SettingsError, match=r"sentry_dsn .*: \*+ is not a Sentry DSN.*, for example https"
    ) as caught:
        load(overrides={}, environ={"CRAWL_SENTRY_DSN": dsn})

    assert dsn not in str(caught.value)


@pytest.mark.parametrize(
    "dsn", ["https://pwd4ae@o1.ingest.sentry.io/42", "http://key:pwd4ae@s.test:9000/path/42"]
)
def test_a_dsn_is_a_secret(dsn: str) -> None:
    """A DSN is taken as it is, and its key is shown nowhere."""
    loaded = load(overrides={}, environ={"CRAWL_SENTRY_DSN": dsn})
    (row,) = (row for row in describe(loaded) if row.name == "sentry_dsn")

    assert loaded.settings.sentry_dsn == dsn
    assert "pwd4ae" not in repr([row.value, row.raw, loaded.settings])
