"""A transaction whose client stands still, in the middle of a statement.

    BEGIN ──► Parse ──► what it will return ──frozen here──► Bind, Execute, Sync
                           └── to the server it is at work: no idle_in_transaction_session_timeout ends it, and it keeps its locks

asyncpg asks so when it meets a statement for the first time. From version 17 on PostgreSQL can end such a transaction by its age.
"""

from typing import Any, Final

LONGEST: Final = "60s"
"""A worker's transaction takes a part of a second; waiting for a lock, 15 s for each of a few statements."""
SINCE: Final = (17,)
"""The version of PostgreSQL that knows ``transaction_timeout``."""


async def end_old_transactions(connection: Any) -> None:
    """For a new connection: none of its transactions lasts longer than `LONGEST`, where the server can see to that."""
    if connection.get_server_version() >= SINCE:
        await connection.execute(f"set transaction_timeout = '{LONGEST}'")
