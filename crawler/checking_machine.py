"""Whether this machine will do: its disk, descriptors, memory and name servers. Measured here, judged by plain functions."""

import asyncio
import contextlib
import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from crawler.adapters.binaries import find_binaries
from crawler.adapters.dns import DnsError, Resolver
from crawler.adapters.hosts import system_servers
from crawler.core.errors import FaircrawlError
from crawler.findings import Finding, Level
from crawler.guards import connections_within
from crawler.memory import left_in_groups, share_of
from crawler.opening import has_cluster
from crawler.phrases import size
from crawler.settings import Settings

NO_ROOM, LITTLE_ROOM = 200 * 10**6, 2 * 10**9
"""Bytes on the disk with which nothing begins, and which a crawl of some size fills."""
A_PROCESS, A_DOMAIN = 150 * 10**6, 10**6
"""Bytes of memory that a process takes, and that each domain at work adds to it."""
ASKED_FOR: Final = "example.com"
"""A name that is always there (RFC 2606)."""
LONGEST_WAIT: Final = 5.0


async def machine(settings: Settings) -> list[Finding]:
    """What `crawl check` says of this machine."""
    return [
        *await _name_servers(settings),
        descriptors(settings, _hard_limit()),
        *memory(settings, _free_memory(), share_of(settings.max_memory, 1)),
    ]


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


def memory(settings: Settings, free: int | None, limit: int | None) -> list[Finding]:
    """Is there memory for the domains at once? *free*: bytes; *limit*: of all our processes; None: unknown."""
    wanted = settings.processes * (A_PROCESS + A_DOMAIN * settings.domains_at_once)
    found = [_room_for(wanted, free)]
    if limit is None:
        return [
            *found,
            Finding("memory", Level.NOTE, "this system tells no limit: give CRAWL_MAX_MEMORY one"),
        ]
    text = f"new turns wait above {size(limit)}"
    if limit >= wanted:
        return [*found, Finding("memory", Level.OK, text)]
    return [
        *found,
        Finding(
            "memory", Level.WARNING, f"{text}, and about {size(wanted)} are wanted: raise CRAWL_MAX_MEMORY"
        ),
    ]


def _room_for(wanted: int, free: int | None) -> Finding:
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


def data_place(folder: Path, settings: Settings) -> list[Finding]:
    """Is the data folder one, or could it be made?"""
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
    return min([*left_in_groups(), *_free_of_machine()], default=None)


def _free_of_machine() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text("ascii", "replace").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
