"""What is missing or wrong on this machine: measured here, judged by plain functions.

    settings ──► data folder or database ──► what it says of itself ──► name servers ──► this machine's limits

1. Nothing is made or changed: where no database is yet, it is only seen whether one could be made.
2. A finding says what is wrong and what to do; only what prevents crawling is WRONG.
"""

import asyncio
import os
import resource
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from crawler.adapters.binaries import find_binaries
from crawler.adapters.dns import DnsError, Resolver
from crawler.adapters.hosts import system_servers
from crawler.adapters.migrations import applied, known_migrations
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseError, DatabaseUnavailableError, FaircrawlError
from crawler.guards import connections_within
from crawler.opening import data_folder, has_cluster, located
from crawler.phrases import size, span
from crawler.processes import POOL
from crawler.settings import Settings, mask

OLDEST: Final = 150_000
"""PostgreSQL 15, as it numbers itself."""
LISTENERS: Final = 2
"""Connections of a worker that listen: for changed crawls, and for turns."""
OURS: Final = 3
"""Connections of `crawl run` itself."""
NO_ROOM, LITTLE_ROOM = 200 * 10**6, 2 * 10**9
"""Bytes on the disk with which nothing begins, and which a crawl of some size fills."""
A_PROCESS, A_DOMAIN = 150 * 10**6, 10**6
"""Bytes of memory that a process takes, and that each domain at work adds to it."""
ASKED_FOR: Final = "example.com"
"""A name that is always there (RFC 2606)."""
LONGEST_WAIT: Final = 5.0
CLOCKS_DIFFER: Final = 2.0
"""Seconds from which on two clocks differ."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    level: Level
    text: str


async def check(settings: Settings) -> list[Finding]:
    """Look at everything, in order."""
    findings = [Finding("settings", Level.OK, "valid; `crawl settings` shows them"), user_agent(settings)]
    folder = data_folder(settings)
    if folder is not None:
        findings += _folder(folder, settings)
    if folder is None or has_cluster(folder):
        findings += await _database(settings)
    return [
        *findings,
        *await _name_servers(settings),
        descriptors(settings, _hard_limit()),
        memory(settings, _free_memory()),
    ]


def user_agent(settings: Settings) -> Finding:
    """Can a webmaster reach us?"""
    if settings.contact or "@" in settings.user_agent or "://" in settings.user_agent:
        return Finding("user agent", Level.OK, settings.user_agent)
    text = f"{settings.user_agent} names no contact: set CRAWL_CONTACT to a URL or an e-mail address"
    return Finding("user agent", Level.NOTE, text)


def version(number: int) -> Finding:
    """Is this PostgreSQL new enough? *number*: ``server_version_num``."""
    said = f"version {number // 10_000}.{number % 10_000}"
    if number >= OLDEST:
        return Finding("PostgreSQL", Level.OK, said)
    return Finding("PostgreSQL", Level.WRONG, f"{said} is too old: upgrade it to {OLDEST // 10_000} or later")


def schema(have: set[int], want: set[int], *, embedded: bool) -> Finding:
    """Are the tables those this program knows?"""
    newest = max(want, default=0)
    if newer := have - want:
        text = f"made by a newer faircrawl (migration {max(newer)}, here {newest}): upgrade this program"
        return Finding("tables", Level.WRONG, text)
    if not want - have:
        return Finding("tables", Level.OK, f"up to date, at migration {newest}")
    lacking = ", ".join(map(str, sorted(want - have)))
    if embedded or not have:
        return Finding(
            "tables", Level.NOTE, f"migration {lacking} is not applied yet: the next crawl does it"
        )
    return Finding("tables", Level.WRONG, f"migration {lacking} is missing: run `crawl migrate`")


def connections(free: int, settings: Settings) -> Finding:
    """Are enough connections to the database left?"""
    wanted = settings.processes * (POOL + LISTENERS) + OURS
    if free >= wanted:
        return Finding("connections", Level.OK, f"{free:,} free, up to {wanted:,} wanted")
    what_to_do = "raise PostgreSQL's max_connections, or lower CRAWL_PROCESSES"
    return Finding(
        "connections", Level.WRONG, f"{free:,} free, and up to {wanted:,} are wanted: {what_to_do}"
    )


def clocks(difference: float) -> Finding:
    """Does the database have the same time as this machine?"""
    if abs(difference) < CLOCKS_DIFFER:
        return Finding("clock", Level.OK, "as the database's")
    side = "ahead of" if difference > 0 else "behind"
    text = f"the database's is {span(abs(difference))} {side} this machine's: synchronize both (NTP)"
    return Finding("clock", Level.WARNING, text)


def room(free: int, folder: Path) -> Finding:
    """Is there room for pages?"""
    text = f"{size(free)} free at {folder}"
    if free < NO_ROOM:
        return Finding("disk", Level.WRONG, f"{text}: make room, or give another --data")
    if free < LITTLE_ROOM:
        return Finding("disk", Level.WARNING, f"{text}: a crawl of some size fills that")
    return Finding("disk", Level.OK, text)


def descriptors(settings: Settings, hard: int) -> Finding:
    """May as many connections be open as are wanted at once? *hard*: the limit we may raise ours to."""
    files = hard if settings.max_open_files is None else min(hard, settings.max_open_files)
    most, wanted = connections_within(files), settings.domains_at_once * settings.per_domain
    if most >= wanted:
        text = f"{files:,} files may be open: enough for {wanted:,} requests at once"
        return Finding("descriptors", Level.OK, text)
    text = f"{files:,} files may be open: {most:,} requests at once and not {wanted:,}; raise ulimit -Hn"
    return Finding("descriptors", Level.WARNING, text)


def memory(settings: Settings, free: int | None) -> Finding:
    """Is there memory for the domains at once? *free*: bytes; None: unknown."""
    wanted = settings.processes * (A_PROCESS + A_DOMAIN * settings.domains_at_once)
    if free is None:
        return Finding("memory", Level.NOTE, f"about {size(wanted)} are wanted; what is free is unknown")
    if free >= wanted:
        return Finding("memory", Level.OK, f"{size(free)} free, about {size(wanted)} wanted")
    what_to_do = "lower CRAWL_DOMAINS_AT_ONCE or CRAWL_PROCESSES"
    return Finding(
        "memory", Level.WARNING, f"{size(free)} free, and about {size(wanted)} are wanted: {what_to_do}"
    )


def name_servers(answers: Sequence[tuple[str, str | None]]) -> list[Finding]:
    """Who finds names? *answers*: each server, and why it found nothing; None: it did."""
    silent = [f"{server} ({complaint})" for server, complaint in answers if complaint is not None]
    if silent and len(silent) == len(answers):
        left = "only addresses and names of the hosts file can be crawled"
        text = f"no name server answers: {', '.join(silent)}; {left}"
        return [Finding("DNS", Level.WARNING, text)]
    found = [
        Finding("DNS", Level.OK, f"{server} answers")
        if complaint is None
        else Finding(
            "DNS", Level.WARNING, f"{server} does not answer ({complaint}): the others are asked instead"
        )
        for server, complaint in answers
    ]
    return found or [
        Finding("DNS", Level.WARNING, "there is no name server: name some with CRAWL_DNS_SERVERS")
    ]


def _folder(folder: Path, settings: Settings) -> list[Finding]:
    there = next((one for one in (folder, *folder.absolute().parents) if _is_there(one)), Path("/"))
    found = []
    if has_cluster(folder):
        found.append(Finding("data folder", Level.OK, str(folder)))
    elif not there.is_dir():
        found.append(Finding("data folder", Level.WRONG, f"{there} is a file: give another --data"))
    elif not os.access(there, os.W_OK | os.X_OK):
        text = f"{folder} cannot be made, for {there} is not yours to write to: give another --data"
        found.append(Finding("data folder", Level.WRONG, text))
    else:
        found.append(
            Finding("data folder", Level.OK, f"{folder}: empty yet, the first crawl makes a database there")
        )
        try:
            programs = find_binaries(folder, settings.postgres_bin)
            found.append(Finding("PostgreSQL", Level.OK, f"version {programs.major} in {programs.bin_dir}"))
        except FaircrawlError as error:
            found.append(Finding("PostgreSQL", Level.WRONG, str(error)))
    try:
        return [*found, room(shutil.disk_usage(there).free, there)]
    except OSError as error:
        return [*found, Finding("disk", Level.WARNING, f"{there} cannot be measured: {error.strerror}")]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


async def _database(settings: Settings) -> list[Finding]:
    named = settings.database_url
    try:
        async with located(settings) as place, await Database.open(place.dsn, size=1) as database:
            return [
                Finding("database", Level.OK, f"{place.place if named is None else mask(named)} answers"),
                *await _says_of_itself(database, settings),
            ]
    except DatabaseError as error:
        away = named is not None and isinstance(error, DatabaseUnavailableError)
        hint = "; see that it runs, and that --database is right" if away else ""
        return [Finding("database", Level.WRONG, f"{error}{hint}")]


async def _says_of_itself(database: Database, settings: Settings) -> list[Finding]:
    free = await database.ask(
        "select current_setting('max_connections')::int "
        "- current_setting('superuser_reserved_connections')::int "
        "- (select count(*) from pg_stat_activity where backend_type = 'client backend') + 1"
    )
    encoding = await database.ask("show server_encoding")
    found = [
        version(int(await database.ask("show server_version_num"))),
        schema(
            set(await applied(database)),
            {one.number for one in known_migrations()},
            embedded=settings.database_url is None,
        ),
        connections(int(free), settings),
        clocks(await _difference(database)),
    ]
    if encoding != "UTF8":
        text = f"{encoding} cannot hold every page: make the database with encoding 'UTF8'"
        found.append(Finding("encoding", Level.WRONG, text))
    return found


async def _difference(database: Database) -> float:
    """Seconds by which the database's clock is ahead of ours; half of the way there and back is taken off."""
    await database.ask("select 1")
    before = time.monotonic()
    theirs: datetime = await database.ask("select clock_timestamp()")
    return (theirs - datetime.now(UTC)).total_seconds() + (time.monotonic() - before) / 2


async def _name_servers(settings: Settings) -> list[Finding]:
    servers = settings.dns_servers or system_servers()
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(_complaint(server, min(settings.dns_timeout, LONGEST_WAIT)))
            for server in servers
        ]
    return name_servers([(_shown(server), one.result()) for server, one in zip(servers, asked, strict=True)])


async def _complaint(server: tuple[str, int], patience: float) -> str | None:
    resolver = Resolver(servers=[server], timeout=patience, hosts_file=None, ipv6=False)
    try:
        await resolver.resolve(ASKED_FOR)
    except DnsError as error:
        return str(error)
    finally:
        await resolver.close()
    return None


def _shown(server: tuple[str, int]) -> str:
    host, port = server
    return host if port == 53 else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # noqa: PLR2004 - DNS


def _hard_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def _free_memory() -> int | None:
    """Bytes that the machine, or the container if that is less, has left; None: this system does not tell."""
    lines = _lines(Path("/proc/meminfo"))
    left = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    groups = Path("/sys/fs/cgroup")
    for most, used in (
        (groups / "memory.max", groups / "memory.current"),
        (groups / "memory/memory.limit_in_bytes", groups / "memory/memory.usage_in_bytes"),
    ):
        numbers = [line for file in (most, used) for line in _lines(file)[:1]]
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)):  # noqa: PLR2004 - both; "max" is no number
            left.append(int(numbers[0]) - int(numbers[1]))
    return min(left, default=None)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
