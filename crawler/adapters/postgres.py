"""PostgreSQL by named query: connections, transactions, listening. asyncpg and its exceptions stay in here.

    Database ──pool──► fetch("accept", ...)          one statement, one round trip, autocommit
             ├────────► transaction() ──► several      READ COMMITTED, lock order as in queries.sql
             └────────► listen(channel, heard)         a connection of its own, taken up again when it breaks

1. No asyncpg exception leaves: what can be tried again is `DatabaseBusyError`, a lost server is `DatabaseUnavailableError`,
   anything else is a fault of ours and `DatabaseError`.
2. A session keeps no state (no SET, no temporary table, no open cursor), so a connection needs no reset between uses:
   the reset query would double the cost of a call.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from importlib import resources
from typing import Any, Final, Self, TypeAlias

import asyncpg

from crawler.core.errors import DatabaseBusyError, DatabaseError, DatabaseUnavailableError

Record: TypeAlias = asyncpg.Record

SESSION: Final = {
    "application_name": "faircrawl",
    "default_transaction_isolation": "read committed",
    # A worker frozen between touch and COMMIT would make everybody wait who links to a popular domain.
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "15s",
    # An accept that the server forgets when it dies would give the turn twice.
    "synchronous_commit": "on",
    "jit": "off",
    "client_min_messages": "warning",
}
LOOKUPS: Final = {
    # A worker's statements are look-ups by key of a set of some hundreds: nested loops over indexes, with partitions pruned at run
    # time. Statistics of a young table say otherwise, and a seq scan of a big one would be chosen once and kept.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
}

PREFETCH: Final = 25
"""Rows of `Database.rows` in memory at once: with bodies, each may have megabytes."""

_GONE: Final = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
)
_BUSY: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


def load_queries(text: str) -> dict[str, str]:
    """The named statements of a file: ``-- name: x`` begins each."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (body.strip().rstrip(";") for body in parts[1::2]), strict=True))


QUERIES: Final = load_queries(
    resources.files(__package__).joinpath("queries.sql").read_text(encoding="utf-8")
)


@contextlib.contextmanager
def translated() -> Any:
    """Turn what asyncpg raises into what this house raises."""
    try:
        yield
    except _BUSY as error:
        raise DatabaseBusyError(str(error)) from error
    except asyncpg.DiskFullError as error:
        raise DatabaseError(f"the database's disk is full ({error}): make room, then start again") from error
    except asyncpg.InvalidPasswordError as error:
        raise DatabaseUnavailableError(f"the database refuses the password: {error}") from error
    except (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise DatabaseUnavailableError(f"the database refuses the connection: {error}") from error
    except asyncpg.UndefinedTableError as error:
        raise DatabaseError(f"{error}: run `crawl migrate`") from error
    except _GONE as error:
        raise DatabaseUnavailableError(
            f"the database cannot be reached: {error or type(error).__name__}"
        ) from error
    except asyncpg.InterfaceError as error:
        if "closed" in str(error) or "connection" in str(error):
            raise DatabaseUnavailableError(f"the database connection is lost: {error}") from error
        raise DatabaseError(str(error)) from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"{type(error).__name__}: {error}") from error


class Session:
    """One connection in a transaction: the same calls as `Database`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, name: str, *args: object) -> list[Record]:
        """Rows of the named statement."""
        return list(await self._connection.fetch(QUERIES[name], *args))

    async def value(self, name: str, *args: object) -> Any:
        """First column of the first row, or None."""
        return await self._connection.fetchval(QUERIES[name], *args)


class Database:
    """A pool of connections to one database. Use `open`."""

    def __init__(self, dsn: str, pool: Any, session: dict[str, str]) -> None:
        self.dsn = dsn
        self._pool = pool
        self._session = session

    @classmethod
    async def open(cls, dsn: str, *, size: int = 4, lookups: bool = False) -> Self:
        """Connect. *lookups*: for workers, whose statements are all look-ups by key.

        Raises:
            DatabaseUnavailableError: nobody answers there, or they refuse us.
        """
        session = SESSION | (LOOKUPS if lookups else {})
        with translated():
            try:
                pool = await asyncpg.create_pool(
                    dsn,
                    min_size=0,
                    max_size=size,
                    server_settings=session,
                    reset=_keep,
                    timeout=10,
                    command_timeout=120,
                )
            except (ValueError, asyncpg.ClientConfigurationError) as error:
                raise DatabaseUnavailableError(f"{_masked(dsn)} is no database address: {error}") from error
        return cls(dsn, pool, session)

    async def close(self) -> None:
        """Close every connection, waiting a moment for what they do."""
        with contextlib.suppress(TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            async with asyncio.timeout(5):
                await self._pool.close()
            return
        self._pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, name: str, *args: object) -> list[Record]:
        """Rows of the named statement, in a transaction of its own."""
        with translated():
            return list(await self._pool.fetch(QUERIES[name], *args))

    async def row(self, name: str, *args: object) -> Record | None:
        """The first row, or None."""
        with translated():
            return await self._pool.fetchrow(QUERIES[name], *args)

    async def value(self, name: str, *args: object) -> Any:
        """First column of the first row, or None."""
        with translated():
            return await self._pool.fetchval(QUERIES[name], *args)

    async def script(self, sql: str) -> None:
        """Run SQL text of ours that takes no arguments (a migration, a partition)."""
        with translated():
            await self._pool.execute(sql)

    async def ask(self, sql: str, *args: object) -> Any:
        """First column of the first row of a statement of ours that has no name (a check, a setting)."""
        with translated():
            return await self._pool.fetchval(sql, *args)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Several statements that happen together or not at all, each with a snapshot of its own."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                yield Session(connection)

    async def rows(self, name: str, *args: object) -> AsyncGenerator[Record, None]:
        """The rows of the named statement, a few at a time: for answers that do not fit into memory.

        A generator (close it with `contextlib.aclosing`) and no context manager: what goes wrong in the caller's
        loop, a broken pipe for example, must not be taken for the database's fault. The caller may take its time.
        """
        with translated():
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute("set local idle_in_transaction_session_timeout = 0")
                async for row in connection.cursor(QUERIES[name], *args, prefetch=PREFETCH):
                    yield row

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A raw connection of its own, outside the pool (locks that are held, LISTEN, COPY)."""
        with translated():
            connection = await asyncpg.connect(self.dsn, server_settings=self._session, timeout=10)
            try:
                yield connection
            finally:
                connection.terminate() if connection.is_closed() else await connection.close(timeout=5)

    async def notify(self, channel: str, payload: str = "") -> None:
        """Tell everybody who listens, once this has committed."""
        with translated():
            await self._pool.execute("select pg_notify($1, $2)", channel, payload)

    async def listen(
        self,
        channels: Sequence[str],
        heard: Callable[[str, str], None],
        *,
        connected: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """Call *heard(channel, payload)* for every notification, for ever; after a lost connection, connect again.

        What was said while nobody listened is lost, so *heard* is called once for each channel, with an empty payload,
        whenever listening (re)starts. *connected* is told the connection first (to take a lock that lives as long as it).
        """
        pause = 0.1
        while True:
            with contextlib.suppress(DatabaseUnavailableError, DatabaseBusyError):
                async with self.connection() as connection:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda *_, lost=lost: lost.set())
                    if connected is not None:
                        await connected(connection)
                    for channel in channels:
                        await connection.add_listener(
                            channel, lambda _c, _p, name, payload: heard(name, payload)
                        )
                        heard(channel, "")
                    pause = 0.1
                    await lost.wait()
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)


async def _keep(_connection: object) -> None:
    """Leave the session as it is (law 2)."""


def _masked(dsn: str) -> str:
    return re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", dsn)


def columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows turned into as many lists as there are columns: what `unnest` takes."""
    turned: list[list[object]] = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]
