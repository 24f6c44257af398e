"""`crawl schedule`: the timetable's jobs, and when each crawl's pages are visited again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from crawler.cli.looking import print_facts, print_heading, print_json, print_table, run
from crawler.cli.options import database_options, settings_from
from crawler.naming import NothingYetError
from crawler.opening import opened_to_look
from crawler.phrases import at, relative, span
from crawler.settings import Settings
from crawler.timetables import CUT, MOST_DUE, Timetable, timetable
from crawler.upkeep import Job
from scheduler.jobs import EVERYBODY, leader_jobs


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
        found = await timetable(place.database)
        jobs = leader_jobs(place.database, settings.fetches_kept)
        if as_json:
            print_json(_as_dict(found, jobs))
        else:
            _print(found, jobs, embedded=settings.database_url is None)


def _as_dict(found: Timetable, jobs: Sequence[Job]) -> dict[str, Any]:
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
        "jobs": everybody + [_job_as_dict(job, found.rows.get(job.name)) for job in jobs],
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


def _print(found: Timetable, jobs: Sequence[Job], *, embedded: bool) -> None:
    print_facts([("scheduler", _who(found, embedded=embedded))])
    click.echo()
    print_table(
        ("job", ">every", ">last run", ">took", ">next run", "result"),
        [
            *((name, span(every), "", "", "", "by each scheduler") for name, (_, every) in EVERYBODY.items()),
            *(_job_row(job, found) for job in jobs),
        ],
    )
    click.echo()
    print_heading("what they do")
    about = [(name, text) for name, (text, _) in EVERYBODY.items()]
    print_facts([*about, *((job.name, job.about) for job in jobs)])
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
