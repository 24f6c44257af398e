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

from crawler.adapters.standstill import end_old_transactions
from crawler.adapters.translating import connected, translated
from crawler.core.errors import DatabaseBusyError, DatabaseSlowError, DatabaseUnavailableError

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

LOOKING: Final = 2.0
"""Seconds after which a question of who only looks is given up."""
SILENCE: Final = 3.0
"""Seconds beyond that after which a server that says nothing is taken for gone: a frozen one does not even give up."""
PREFETCH: Final = 25
"""Rows of `Database.rows` in memory at once: with bodies, each may have megabytes."""


def load_queries(text: str) -> dict[str, str]:
    """The named statements of a file: ``-- name: x`` begins each."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (body.strip().rstrip(";") for body in parts[1::2]), strict=True))


def _all_queries() -> dict[str, str]:
    """The statements of every SQL file beside this module; a name stands in one of them."""
    known: dict[str, str] = {}
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            found = load_queries(file.read_text(encoding="utf-8"))
            if twice := known.keys() & found.keys():
                raise AssertionError(f"{file.name} names again: {', '.join(sorted(twice))}")
            known |= found
    return known


QUERIES: Final = _all_queries()


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


class _Impatient(Session):
    """One that waits so many seconds for each answer, and then breaks the connection."""

    def __init__(self, connection: Any, patience: float) -> None:
        super().__init__(connection)
        self._patience = patience
        self.broken = False

    async def fetch(self, name: str, *args: object) -> list[Record]:
        async with self.answering():
            return await super().fetch(name, *args)

    async def value(self, name: str, *args: object) -> Any:
        async with self.answering():
            return await super().value(name, *args)

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Whatever is asked in here is answered in time. Raises DatabaseUnavailableError: it was not."""
        try:
            async with asyncio.timeout(self._patience):
                yield
        except TimeoutError:
            self.broken = True
            self._connection.terminate()
            raise DatabaseUnavailableError(f"the database gave no answer for {self._patience:g} s") from None


class Database:
    """A pool of connections to one database. Use `open`."""

    def __init__(self, dsn: str, pool: Any, session: dict[str, str]) -> None:
        self.dsn = dsn
        self._pool = pool
        self._session = session

    @classmethod
    async def open(cls, dsn: str, *, size: int = 4, lookups: bool = False, brief: bool = False) -> Self:
        """A pool, which connects when it is first asked.

        Args:
            dsn: where the server is.
            size: connections at most.
            lookups: for workers, whose statements are all look-ups by key.
            brief: and none of whose transactions lasts.
        """
        session = SESSION | (LOOKUPS if lookups else {})
        with translated():
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=size,
                server_settings=session,
                connect=connected,
                reset=_keep,
                init=end_old_transactions if brief else None,
                timeout=10,
                command_timeout=120,
            )
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

    @contextlib.asynccontextmanager
    async def looking(self, seconds: float = LOOKING) -> AsyncIterator[Session]:
        """As `transaction`, for who only reads, by indexes and with one processor; each statement is given up after so long.

        Raises:
            DatabaseSlowError: it was.
            DatabaseUnavailableError: the server did not even say so.
        """
        patience = seconds + SILENCE
        with translated():
            async with self._pool.acquire(timeout=patience) as connection:
                session = _Impatient(connection, patience)
                reading = connection.transaction(readonly=True)
                async with session.answering():
                    await reading.start()
                try:
                    await session.fetch("look_around", f"{seconds * 1000:.0f}")
                    yield session
                except asyncpg.QueryCanceledError as error:
                    raise DatabaseSlowError from error
                finally:
                    if not session.broken and not connection.is_closed():
                        async with session.answering():
                            await reading.rollback()

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
            connection = await connected(self.dsn, server_settings=self._session, timeout=10)
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


def columns(rows: Iterable[Sequence[object]], width: int) -> list[list[object]]:
    """Rows turned into as many lists as there are columns: what `unnest` takes."""
    turned: list[list[object]] = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]
