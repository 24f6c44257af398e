"""The day partitions of fetches: made ahead of the clock, so that an insert finds one."""

import contextlib
from datetime import datetime, timedelta

from crawler.adapters.postgres import Database
from crawler.core.errors import DatabaseBusyError


async def make_partitions(database: Database, today: datetime, days: int = 3) -> None:
    """Make the partitions of fetches for today and the next days; a day that began without one stays in fetches_rest."""
    for ahead in range(days):
        day = today + timedelta(days=ahead)
        name = f"fetches_{day:%Y%m%d}"
        if await database.ask("select to_regclass($1)", name) is not None:
            continue
        bounds = f"from ('{day.isoformat()}') to ('{(day + timedelta(days=1)).isoformat()}')"
        occupied = f"select exists (select from fetches_rest where at >= '{day.isoformat()}' and at < '{day + timedelta(days=1)}')"
        if not await database.ask(occupied):
            with contextlib.suppress(DatabaseBusyError):
                await database.script(
                    # Two of these at once collide in spite of "if not exists".
                    "select pg_advisory_xact_lock(20015); "
                    f"create table if not exists {name} partition of fetches for values {bounds}"
                )
