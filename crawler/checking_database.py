"""Whether the database will do: what it says of itself, judged by plain functions; and who else works with it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from crawler import __version__
from crawler.adapters.migrations import Applied, Migration, applied, known_migrations, unknown
from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseError, DatabaseUnavailableError, SchemaError
from crawler.findings import Finding, Level
from crawler.opening import located
from crawler.phrases import span
from crawler.processes import POOL
from crawler.settings import Settings, mask

OLDEST: Final = 150_000
"""PostgreSQL 15, as it numbers itself."""
LISTENERS: Final = 2
"""Connections of a worker that listen: for changed crawls, and for turns, unless RabbitMQ carries these."""
OURS: Final = 3
"""Connections of `crawl run` itself."""
CLOCKS_DIFFER: Final = 2.0
"""Seconds from which on two clocks differ."""
CLOCKS_DISAGREE: Final = 60.0
"""Seconds from which on a page that one machine fetched seems older than what another fetched before it."""
CARRIERS: Final[Mapping[str, str]] = MappingProxyType({"postgres": "PostgreSQL", "rabbit": "RabbitMQ"})
"""Who carries the turns, as `workers.queue` names it."""
REFUSALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "28P01": "see that the user and the password in --database are right",
        "28000": "see that the user in --database is right, and that pg_hba.conf lets it in from this machine",
        "3D000": "make it (createdb), or see that its name in --database is right",
        "42501": "grant the user that right, or name another in --database",
        "53300": "raise PostgreSQL's max_connections or the user's connection limit, or lower CRAWL_PROCESSES",
        "57P03": "wait until it has started",
    }
)
"""What to do when the server answers, but does not let us in: by SQLSTATE."""
_FREE: Final = """
    select least(
      current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) - s.everybody,
      case when r.rolconnlimit >= 0 and not r.rolsuper then r.rolconnlimit - s.ours end,
      case when d.datconnlimit >= 0 and not r.rolsuper then d.datconnlimit - s.here end) + 1
    from pg_roles r, pg_database d, (
      select count(*) as everybody, count(*) filter (where usename = current_user) as ours,
        count(*) filter (where datname = current_database()) as here
      from pg_stat_activity where datid is not null and coalesce(backend_type, 'client backend') = 'client backend') s
    where r.rolname = current_user and d.datname = current_database()"""
"""Connections that are left to us, this one included. Of other users' sessions their kind is not told to everybody."""


async def database(settings: Settings) -> list[Finding]:
    """What `crawl check` says of the database."""
    named = settings.database_url
    try:
        async with located(settings) as place, await Database.open(place.dsn, size=1) as found:
            return [
                Finding("database", Level.OK, f"{place.place if named is None else mask(named)} answers"),
                *await _says_of_itself(found, settings),
            ]
    except DatabaseError as error:
        hint = None if named is None else _what_to_do(error)
        return [Finding("database", Level.WRONG, f"{error}; {hint}" if hint else str(error))]


def _what_to_do(error: DatabaseError) -> str | None:
    state = getattr(error.__cause__, "sqlstate", None)
    if isinstance(state, str) and state in REFUSALS:
        return REFUSALS[state]
    away = isinstance(error, DatabaseUnavailableError)
    return "see that it runs, and that --database is right" if away else None


def version(number: int) -> Finding:
    """Is this PostgreSQL new enough? *number*: ``server_version_num``."""
    said = f"version {number // 10_000}.{number % 10_000}"
    if number >= OLDEST:
        return Finding("PostgreSQL", Level.OK, said)
    return Finding("PostgreSQL", Level.WRONG, f"{said} is too old: upgrade it to {OLDEST // 10_000} or later")


def schema(have: Mapping[int, Applied], known: Sequence[Migration], *, embedded: bool) -> Finding:
    """Are the tables those this program can work with?"""
    want = {one.number for one in known}
    newest = max(want, default=0)
    try:
        newer = unknown(have, known)
    except SchemaError as error:
        return Finding("tables", Level.WRONG, str(error))
    if newer and want <= have.keys():
        text = (
            f"made by a newer faircrawl (migration {newer[-1].number}, here {newest}), with which this one can go on: "
            "upgrade this program in the end"
        )
        return Finding("tables", Level.NOTE, text)
    if not want - have.keys():
        return Finding("tables", Level.OK, f"up to date, at migration {newest}")
    lacking = ", ".join(map(str, sorted(want - have.keys())))
    if embedded or not have:
        return Finding(
            "tables", Level.NOTE, f"migration {lacking} is not applied yet: the next crawl does it"
        )
    return Finding("tables", Level.WRONG, f"migration {lacking} is missing: run `crawl migrate`")


def connections(free: int, settings: Settings) -> Finding:
    """Are enough connections to the database left?"""
    listeners = LISTENERS - (settings.amqp_url is not None)
    wanted = settings.processes * (POOL + listeners) + OURS
    if free >= wanted:
        return Finding("connections", Level.OK, f"{free:,} free, up to {wanted:,} wanted")
    what_to_do = "raise max_connections (or the user's or the database's own limit), or lower CRAWL_PROCESSES"
    return Finding(
        "connections", Level.WRONG, f"{free:,} free, and up to {wanted:,} are wanted: {what_to_do}"
    )


def clocks(difference: float) -> Finding:
    """Does the database have the same time as this machine?

    Leases do not mind: each is measured by one clock alone. But a page carries the time of the machine that fetched it, and of two
    visits the later one counts.
    """
    if abs(difference) < CLOCKS_DIFFER:
        return Finding("clock", Level.OK, "as the database's")
    side = "ahead of" if difference > 0 else "behind"
    text = f"the database's is {span(abs(difference))} {side} this machine's: synchronize both (NTP)"
    if abs(difference) < CLOCKS_DISAGREE:
        return Finding("clock", Level.WARNING, text)
    return Finding("clock", Level.WRONG, f"{text}, or newer pages are taken for older ones")


def others(workers: Sequence[tuple[str, str]], settings: Settings) -> Iterator[Finding]:
    """Do all workers go together? *workers*: the queue and the version of each that was seen in the last minute."""
    if not workers:
        return
    ours = "postgres" if settings.amqp_url is None else "rabbit"
    queues, versions = Counter(queue for queue, _ in workers), Counter(version for _, version in workers)
    if set(queues) != {ours}:
        each = _each((CARRIERS.get(queue, queue), n) for queue, n in queues.items())
        what_to_do = "give all of them the same CRAWL_AMQP_URL, or none"
        text = f"they take their turns from {each}, and here {CARRIERS[ours]} is named: {what_to_do}"
        yield Finding("workers", Level.NOTE, text)
    if set(versions) != {__version__}:
        text = f"they are of version {_each(versions.items())}, and this is {__version__}: upgrade them all in the end"
        yield Finding("workers", Level.NOTE, text)
    if set(queues) == {ours} and set(versions) == {__version__}:
        yield Finding("workers", Level.OK, f"{len(workers):,} at work")


async def _says_of_itself(found: Database, settings: Settings) -> list[Finding]:
    have, known = await applied(found), known_migrations()
    has_all = have.keys() >= {one.number for one in known}
    findings = [
        version(int(await found.ask("show server_version_num"))),
        schema(have, known, embedded=settings.database_url is None),
        connections(int(await found.ask(_FREE)), settings),
        clocks(await _difference(found)),
    ]
    if await found.ask("select pg_is_in_recovery()"):
        text = "this is a stand-by, which cannot be written to: name the primary with --database"
        findings.append(Finding("database", Level.WRONG, text))
    encoding = await found.ask("show server_encoding")
    if encoding != "UTF8":
        text = f"{encoding} cannot hold every page: make the database with encoding 'UTF8'"
        findings.append(Finding("encoding", Level.WRONG, text))
    if not has_all and not await found.ask("select has_schema_privilege(current_schema(), 'create')"):
        schema_name, user = (
            await found.ask("select current_schema()"),
            await found.ask("select quote_ident(current_user)"),
        )
        text = f"{user} may not make tables: grant create on schema {schema_name} to {user}"
        findings.append(Finding("tables", Level.WRONG, text))
    if has_all:
        rows = await found.fetch("workers_shown")
        live = [(row["queue"], row["version"]) for row in rows if not row["silent"]]
        findings += others(live, settings)
    return findings


async def _difference(found: Database) -> float:
    """Seconds by which the database's clock is ahead of ours; half of the way there and back is taken off."""
    await found.ask("select 1")
    before = time.monotonic()
    theirs: datetime = await found.ask("select clock_timestamp()")
    return (theirs - datetime.now(UTC)).total_seconds() + (time.monotonic() - before) / 2


def _each(numbers: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({n:,})" for name, n in sorted(numbers))
