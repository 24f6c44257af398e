"""What all crawls of a database share: the workers, the queue between them, and what waits there or was given up."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click

from crawler.adapters.postgres import Database
from crawler.cli.looking import print_heading, print_table
from crawler.core.errors import BrokerError
from crawler.opening import Opened
from crawler.phrases import count, relative, size, span
from crawler.queues import opened_queue
from crawler.settings import Settings

MOST_WORKERS: Final = 10
"""More of them are summed up by machine."""
MOST_MACHINES: Final = 10
BROKER_PATIENCE: Final = 10.0
LONG: Final = 120.0
"""Seconds for which a domain must have waited to be told of; a seed's `due_at` lies a minute in the past from the first."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What the queue says of itself."""

    waiting: int | None
    dead: int | None
    trouble: str | None
    """Why it says nothing."""
    carrier: str
    """RabbitMQ or PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Machinery:
    """What all crawls of a database share."""

    queue: Any
    """Of ``crawl_queue``."""
    slots: int
    """Domains that the workers seen in the last minute visit at once."""
    database_bytes: int
    workers: Sequence[Any]
    """Of ``workers_shown``."""
    oldest: Any | None
    """Of ``oldest_due``."""
    turns: Turns
    many: bool
    """Whether there may be many machines: a server or a broker was named."""
    option: str
    """The option that names the database."""

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        oldest = self.oldest
        return {
            "queue": dict(self.queue),
            "domains_at_once": self.slots,
            "database_bytes": self.database_bytes,
            "workers": [
                {
                    "id": row["worker_id"],
                    "host": row["host"],
                    "pid": row["pid"],
                    "version": row["version"],
                    "queue": row["queue"],
                    "slots": row["slots"],
                    "visiting": row["visiting"],
                    "started_at": row["started_at"].isoformat(),
                    "seen_at": row["seen_at"].isoformat(),
                    "silent": row["silent"],
                }
                for row in self.workers
            ],
            "turns_waiting": self.turns.waiting,
            "dead_letters": self.turns.dead,
            "queue_trouble": self.turns.trouble,
            "oldest_due": oldest and {"domain": oldest["name"], "since": oldest["next_at"].isoformat()},
        }

    def facts(self) -> Iterator[tuple[str, str]]:
        """For a person: nothing about what is empty, and nothing about many machines where there is one."""
        queue = self.queue
        parts = [
            f"{queue['resting']:,} resting",
            f"{queue['queued']:,} queued",
            f"{queue['held']:,} being visited",
        ]
        yield "queue", ", ".join([f"{count(queue['ready'], 'domain')} ready", *parts])
        if self.many:
            yield from self._turns()
            yield from self._oldest()
        if self.turns.dead:
            yield "dead letters", f"{self.turns.dead:,}; `crawl dead list{self.option}` shows them"
        yield "database", size(self.database_bytes)

    def print_workers(self) -> None:
        """The workers, where there may be many machines; more than ten by machine."""
        if not self.many or not self.workers:
            return
        click.echo()
        live = [row for row in self.workers if not row["silent"]]
        schedulers = sum(not row["slots"] for row in live)
        silent = len(self.workers) - len(live)
        parts = [
            count(len(live) - schedulers, "worker"),
            *([count(schedulers, "scheduler")] if schedulers else []),
            *([f"{silent:,} not seen for a minute"] if silent else []),
        ]
        print_heading(", ".join(parts))
        if len(self.workers) <= MOST_WORKERS:
            _print_each(self.workers)
        else:
            _print_machines(self.workers)

    def _turns(self) -> Iterator[tuple[str, str]]:
        turns = self.turns
        if turns.trouble is not None:
            yield "turns", f"unknown: {turns.trouble}"
            return
        others = {row["queue"] for row in self.workers if not row["silent"] and row["slots"]}
        if turns.carrier == "PostgreSQL" and others == {"rabbit"}:
            yield "turns", "the workers take them from RabbitMQ: name it with --amqp"
        else:
            held = self.queue["held"]
            yield "turns", f"{turns.waiting:,} waiting in {turns.carrier}, {held:,} with a worker"

    def _oldest(self) -> Iterator[tuple[str, str]]:
        if self.oldest is None:
            return
        waits = (self.oldest["now"] - self.oldest["next_at"]).total_seconds()
        if waits > LONG:
            yield "oldest due", f"{self.oldest['name']}, ready for {span(waits)} and on no queue"


async def machinery(settings: Settings, place: Opened) -> Machinery:
    """All of it, as it is now. A broker that is away is told of, in its place."""
    database = place.database
    return Machinery(
        queue=await database.row("crawl_queue"),
        slots=await database.value("workers_slots"),
        database_bytes=await database.ask("select pg_database_size(current_database())"),
        workers=await database.fetch("workers_shown"),
        oldest=await database.row("oldest_due"),
        turns=await _ask_queue(settings, database),
        many=settings.database_url is not None or settings.amqp_url is not None,
        option=place.option,
    )


async def _ask_queue(settings: Settings, database: Database) -> Turns:
    carrier = "PostgreSQL" if settings.amqp_url is None else "RabbitMQ"
    try:
        async with asyncio.timeout(BROKER_PATIENCE), opened_queue(settings, database) as queue:
            return Turns(await queue.depth(), await queue.dead_count(), None, carrier)
    except BrokerError as error:
        return Turns(None, None, str(error), carrier)
    except TimeoutError:
        return Turns(None, None, f"{carrier} did not answer within {span(BROKER_PATIENCE)}", carrier)


def _print_each(workers: Sequence[Any]) -> None:
    print_table(
        ("host", ">pid", "version", ">at once", ">visiting", "seen"),
        [
            (
                row["host"],
                str(row["pid"]),
                row["version"],
                _slots(row["slots"]),
                f"{row['visiting']:,}",
                _seen(row["seen_at"], row["now"], silent=row["silent"]),
            )
            for row in workers
        ],
        indent="  ",
    )


def _print_machines(workers: Sequence[Any]) -> None:
    """A row for each machine, those with the most workers first."""
    by_host: defaultdict[str, list[Any]] = defaultdict(list)
    for row in workers:
        by_host[row["host"]].append(row)
    hosts = sorted(by_host.items(), key=lambda item: (-len(item[1]), item[0]))
    print_table(
        ("host", ">workers", "version", ">at once", ">visiting", ">silent"),
        [
            (
                host,
                f"{len(rows):,}",
                ", ".join(sorted({row["version"] for row in rows})),
                f"{sum(row['slots'] for row in rows if not row['silent']):,}",
                f"{sum(row['visiting'] for row in rows):,}",
                f"{sum(row['silent'] for row in rows):,}",
            )
            for host, rows in hosts[:MOST_MACHINES]
        ],
        indent="  ",
    )
    if len(hosts) > MOST_MACHINES:
        rest = [row for _, rows in hosts[MOST_MACHINES:] for row in rows]
        click.echo(
            f"  and {count(len(rest), 'worker')} on {count(len(hosts) - MOST_MACHINES, 'machine')} more, "
            f"visiting {sum(row['visiting'] for row in rest):,}: --json has all of them"
        )


def _slots(slots: int) -> str:
    return f"{slots:,}" if slots else "scheduler"


def _seen(seen_at: datetime, now: datetime, *, silent: bool) -> str:
    return f"not for {span((now - seen_at).total_seconds())}" if silent else relative(seen_at, now)
