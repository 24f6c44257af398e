"""`crawl schedule`: the timetable's jobs, and when each crawl's pages are visited again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import click

from crawler.adapters.jobs import Jobs
from crawler.cli.looking import NothingYetError, print_facts, print_heading, print_json, print_table, run
from crawler.cli.options import database_options, settings_from
from crawler.opening import Opened, opened_to_look
from crawler.phrases import at, relative, span
from crawler.settings import Settings
from crawler.upkeep import OF_RUNS, Job
from scheduler.jobs import EVERYBODY, leader_jobs

MOST_DUE: Final = 1000
"""More are not counted: there may be ten million."""
NAME_BYTES: Final = 63
"""What PostgreSQL keeps of the name of a session."""
CUT: Final = timedelta(minutes=10)
"""After so long a job that has no end was cut off (jobs_claim)."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """All that is shown."""

    jobs: tuple[Job, ...]
    """The leader's."""
    rows: dict[str, Any]
    """What is remembered of each (jobs_shown)."""
    schedulers: Sequence[Any]
    leader: str | None
    """Of those that live: as in ``workers``."""
    rules: Sequence[Any]
    now: datetime | None
    """By the database's clock; None: nothing was ever planned here."""

    @property
    def alive(self) -> list[Any]:
        """The schedulers that said so in the last minute."""
        return [one for one in self.schedulers if one["alive"]]

    @property
    def last_alive(self) -> datetime | None:
        """When a scheduler was last heard of; None: none ever was."""
        by_jobs = [
            row["last_at"] + timedelta(milliseconds=row["ms"] or 0)
            for row in self.rows.values()
            if row["last_at"] is not None and not row["ran_by"].endswith(OF_RUNS)
        ]
        return max([*by_jobs, *(one["seen_at"] for one in self.schedulers)], default=None)


@click.command("schedule")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object with the jobs and the crawls.")
@database_options
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **_named: object) -> int:
    """List the jobs of the timetable, with their last and next runs, and the refresh rule of each crawl.

    What is due of a crawl is counted up to 1,000.

    \b
    Example:
      crawl schedule
      crawl schedule --json | jq -r '.jobs[] | select(.result == "failed") | .name'
    """  # noqa: D301  # \b tells click to keep the lines
    return run(_schedule(settings_from(ctx).settings, as_json=as_json))


async def _schedule(settings: Settings, *, as_json: bool) -> None:
    async with opened_to_look(settings) as place:
        if place is None:
            if as_json:
                print_json({"schedulers": [], "leader": None, "jobs": [], "crawls": []})
            else:
                click.echo(str(NothingYetError()))
            return
        found = await _timetable(settings, place)
        if as_json:
            print_json(_as_dict(found))
        else:
            _print(found, embedded=settings.database_url is None)


async def _timetable(settings: Settings, place: Opened) -> Timetable:
    jobs = Jobs(place.database)
    rows = {row["name"]: row for row in await jobs.rows()}
    schedulers, rules = await jobs.schedulers(), await jobs.rules()
    name = await jobs.leader()
    leads = [one["worker_id"] for one in schedulers if name and _cut(one["worker_id"]) == name]
    times = [row["now"] for row in (*rows.values(), *schedulers, *rules)]
    return Timetable(
        leader_jobs(place.database, settings.fetches_kept),
        rows,
        schedulers,
        leads[0] if leads else None,
        rules,
        max(times, default=None),
    )


def _cut(name: str) -> str:
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def _as_dict(found: Timetable) -> dict[str, Any]:
    everybody = [
        {"name": name, "about": about, "every": every, "of": "each scheduler"}
        for name, (about, every) in EVERYBODY.items()
    ]
    return {
        "schedulers": [
            {"id": one["worker_id"], "seen_at": one["seen_at"].isoformat(), "alive": one["alive"]}
            for one in found.schedulers
        ],
        "leader": found.leader,
        "jobs": everybody + [_job_as_dict(job, found.rows.get(job.name)) for job in found.jobs],
        "crawls": [
            {
                "name": row["name"],
                "state": row["state"],
                "refresh": row["refresh"],
                "retiming": row["retiming"],
                "due": min(row["due"], MOST_DUE),
                "due_is_all": not (row["cut"] or row["due"] > MOST_DUE),
                "next_at": _iso(row["next_at"]),
            }
            for row in found.rules
        ],
    }


def _job_as_dict(job: Job, row: Any) -> dict[str, Any]:
    told = {"name": job.name, "about": job.about, "every": job.every, "of": "the leader"}
    if row is None:
        return told | dict.fromkeys(("last_at", "ms", "result", "detail", "next_at", "ran_by"))
    return told | {
        "last_at": _iso(row["last_at"]),
        "ms": row["ms"],
        "result": row["result"],
        "detail": row["detail"],
        "next_at": _iso(row["next_at"]),
        "ran_by": row["ran_by"],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _print(found: Timetable, *, embedded: bool) -> None:
    print_facts([("scheduler", _who(found, embedded=embedded))])
    click.echo()
    print_table(
        ("job", ">every", ">last run", ">took", ">next run", "result"),
        [
            *((name, span(every), "", "", "", "by each scheduler") for name, (_, every) in EVERYBODY.items()),
            *(_job_row(job, found) for job in found.jobs),
        ],
    )
    click.echo()
    print_heading("what they do")
    about = [(name, text) for name, (text, _) in EVERYBODY.items()]
    print_facts([*about, *((job.name, job.about) for job in found.jobs)])
    if found.rules:
        click.echo()
        print_heading("when the pages of a crawl are visited again")
        print_table(
            ("crawl", "state", "refresh", ">due now", ">next due"),
            [
                (
                    row["name"],
                    row["state"],
                    row["refresh"] + (" (being applied)" if row["retiming"] else ""),
                    _due(row),
                    _next_due(row),
                )
                for row in found.rules
            ],
        )


def _who(found: Timetable, *, embedded: bool) -> str:
    alive = found.alive
    if alive:
        ids = ", ".join(one["worker_id"] for one in alive)
        if found.leader is None:
            return f"{ids}; none of them leads yet"
        others = len(alive) - 1
        return f"{found.leader} leads" + (
            f", {others:,} more {'stand' if others > 1 else 'stands'} by" if others else ""
        )
    if embedded:
        return "none runs, and none is needed: `crawl run` does what is due while it runs"
    how = "start one with `crawl scheduler` on the same database"
    if found.last_alive is None or found.now is None:
        return f"none has ever run here: {how}"
    return f"none is alive, the last one was seen {at(found.last_alive, found.now)}: {how}"


def _job_row(job: Job, found: Timetable) -> tuple[str, str, str, str, str, str]:
    row, now = found.rows.get(job.name), found.now
    if row is None or now is None:
        return job.name, span(job.every), "never", "", "", ""
    last = "never" if row["last_at"] is None else relative(row["last_at"], now)
    took = "" if row["ms"] is None else span(row["ms"] / 1000)
    due = row["next_at"] <= now
    if row["last_at"] is not None and row["result"] is None:
        cut = now - row["last_at"] > CUT
        return (
            job.name,
            span(job.every),
            last,
            "",
            "now" if due else "",
            "was cut off" if cut else "under way",
        )
    result = row["detail"] if row["result"] == "done" else f"failed: {row['detail']}"
    return (
        job.name,
        span(job.every),
        last,
        took,
        "now" if due else relative(row["next_at"], now),
        result if row["result"] else "",
    )


def _due(row: Any) -> str:
    if row["state"] != "running":
        return "-"
    if row["due"] > MOST_DUE:
        return f"{MOST_DUE:,}+"
    return f"{row['due']:,}{'+' if row['cut'] else ''}"


def _next_due(row: Any) -> str:
    if row["state"] != "running":
        return "-"
    if row["due"]:
        return "now"
    return "never" if row["next_at"] is None else relative(max(row["next_at"], row["now"]), row["now"])
