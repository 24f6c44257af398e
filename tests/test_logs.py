"""What is logged: events by name, a level for each audience, a line each, and none for a page."""

import ast
import json
import logging
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from crawler.core.errors import DatabaseUnavailableError
from crawler.demo.language import page
from crawler.demo.server import serving
from crawler.telemetry import announce, configure
from tests.system.machines import machines, until
from tests.system.told import Terminal

ROOT: Final = Path(__file__).parent.parent
FILES: Final = sorted(path for top in ("crawler", "scheduler") for path in (ROOT / top).rglob("*.py"))
LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical"}
PAGES: Final = 60

log: Final = structlog.get_logger()


def logged() -> dict[str, tuple[str, list[str]]]:
    """Every call of a log in the sources, by where it stands: its level, and the events that it may write."""
    found = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                named = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                found[f"{path.relative_to(ROOT)}:{node.lineno}"] = node.func.attr, [str(one) for one in named]
    return found


def test_events_are_nouns_with_what_was_done_to_them() -> None:
    """Every event in the sources is called noun.past_participle, and has one of the levels there are."""
    calls = logged()
    irregular = {"met", "lost", "taken"}
    odd = {
        where: (level, events)
        for where, (level, events) in calls.items()
        if level not in LEVELS
        or not events
        or any(
            not re.fullmatch(r"[a-z]+\.[a-z]+", event)
            or not (event.endswith("ed") or event.partition(".")[2] in irregular)
            for event in events
        )
    }

    assert len(calls) > 20
    assert odd == {}


def test_an_event_has_one_level() -> None:
    """The same event is for the same audience wherever it is written.

    A job that fails is a bug only if nobody expected it; a page that fails is told to whoever waits for just that one.
    """
    levels: dict[str, set[str]] = {}
    for level, events in logged().values():
        for event in events:
            levels.setdefault(event, set()).add(level)

    assert {event for event, known in levels.items() if len(known) > 1} <= {
        "job.failed",
        "page.failed",
        "worker.stopped",
    }


def lines(text: str) -> list[dict[str, Any]]:
    """Every line, each an object."""
    return [dict(json.loads(line)) for line in text.splitlines()]


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An event says when it was, in UTC, how bad, who, and its facts; what is odd in them breaks no line."""
    configure(form="json", level="info")
    structlog.contextvars.bind_contextvars(worker="w1")
    log.info("page.tried", url="http://a.test/\n\u2028\x1b[31m\u202e", where=Path("/x"))
    log.debug("page.hidden")
    structlog.contextvars.clear_contextvars()
    (event,) = lines(capsys.readouterr().err)
    at = datetime.fromisoformat(event["timestamp"])

    assert list(event)[:5] == ["timestamp", "level", "event", "host", "pid"]
    assert (event["level"], event["event"], event["worker"]) == ("info", "page.tried", "w1")
    assert (event["pid"], event["url"], event["where"]) == (
        os.getpid(),
        "http://a.test/\n\u2028\x1b[31m\u202e",
        "/x",
    )
    assert at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - at < timedelta(minutes=1)


def gone() -> None:
    """The database is away."""
    raise DatabaseUnavailableError("gone")


@pytest.mark.parametrize(
    ("form", "debug", "has"),
    [("json", False, True), ("json", True, True), ("console", True, True), ("console", False, False)],
)
def test_an_exception_is_text(
    capsys: pytest.CaptureFixture[str], form: str, *, debug: bool, has: bool
) -> None:
    """A program gets the traceback; a person gets it with --debug, and else in one line what it was and where."""
    configure(debug=debug, form=form)
    try:
        gone()
    except DatabaseUnavailableError as error:
        log.error("turn.failed", exc_info=error)  # noqa: TRY400 - as the worker does
    said = capsys.readouterr().err

    assert ("Traceback" in said) == has
    assert "gone" in said
    assert form == "console" or "Traceback" in lines(said)[0]["exception"]
    assert has or (said.count("\n"), "at=" in said) == (1, True)


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, written: int) -> None:
    """What is below the level is not written."""
    configure(level=level)
    for one in ("debug", "info", "warning", "error"):
        getattr(log, one)("page.tried")

    assert capsys.readouterr().err.count("page.tried") == written


def test_what_libraries_tell(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library logs is an event too, once; that nobody waited for a connection to fail is for who looks closer."""
    configure(form="json")
    configure(form="json")
    logging.getLogger("asyncio").error("a task failed", exc_info=KeyError("x"))
    logging.getLogger("some.library").warning("be %s", "careful")
    logging.getLogger("some.library").info("all is well")
    logging.getLogger("asyncio").error("Future exception was never retrieved", exc_info=OSError("x"))
    first, second = lines(capsys.readouterr().err)

    assert (first["event"], first["level"], first["library"]) == ("library.failed", "error", "asyncio")
    assert "KeyError" in first["exception"]
    assert (second["event"], second["message"]) == ("library.warned", "be careful")


def test_announcements(capsys: pytest.CaptureFixture[str]) -> None:
    """What whoever started a program should know is told at any level: in words, or as an event."""
    configure(form="console", level="error")
    announce("console", "it works", "worker.started")
    announce("console", "it limps", "worker.started", level="warning")
    words = capsys.readouterr().err
    announce("json", "it works", "worker.started", slots=5)
    (event,) = lines(capsys.readouterr().err)

    assert words == "crawl: it works\ncrawl: warning: it limps\n"
    assert (event["event"], event["level"], event["message"], event["slots"]) == (
        "worker.started",
        "info",
        "it works",
        5,
    )


async def test_a_crawl_writes_no_line_a_page(dsn: str, tmp_path: Path) -> None:
    """At info and as JSON, workers of two processes that crawl a site, one of them killed, write an object a line and name no page."""
    site = {
        f"/{number or ''}": page(f"{number}", f"/{number + 1}", f"/{2 * number}", f"/missing{number}")
        for number in range(PAGES)
    }
    with serving({"one.test": site, "two.test": site}) as web:
        async with machines(
            web, dsn, tmp_path, None, LOG_LEVEL="info", LOG_FORMAT="json", DELAY="0s"
        ) as hall:
            worker = hall._spawn("worker", "crawler", "worker", "--processes", "2")
            await hall.seed("all", [web.url("one.test"), web.url("two.test")])
            await hall.until_pages("all", 20, "it has begun")
            pids = await hall.database.ask("select array_agg(pid) from workers where slots > 0")
            os.kill(pids[0], signal.SIGKILL)
            await hall.until_pages("all", 2 * PAGES, "all is stored")
            await until(lambda: "worker.buried" in worker.said, "the death is told")
            await hall.dismiss()
            events = lines(worker.said)
    told = {event["event"] for event in events}
    (buried,) = (event for event in events if event["event"] == "worker.buried")

    assert {"worker.started", "worker.buried", "worker.stopped"} <= told
    assert len(events) < 20
    assert [event for event in events if "http://" in str(event)] == []
    assert buried["pid"] not in {worker.pid, pids[0]}
    assert buried["worker"].split("-")[-2] == str(buried["pid"])


async def test_a_run_is_silent(dsn: str, tmp_path: Path) -> None:
    """By default a whole crawl logs nothing at all."""
    site = {"/": page("start", *(f"/{number}" for number in range(PAGES)))}
    with serving({"one.test": site}) as web:
        hosts = web.hosts_file(tmp_path)
        settings = {"ALLOW_NETS": "127.0.0.0/8", "HOSTS_FILE": str(hosts), "RUN_PATIENCE": "0", "DELAY": "0s"}
        said = await Terminal(dsn, settings)("run", web.url("one.test"), "--quiet")

    assert (said.status, said.err) == (0, "")
